"""Fit the cost model to measurements.

Its coefficients by least squares with relative errors, all positive; the factors that another
processor takes by means of logarithms.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from jaxconv._cost import SUFFIXES, beginnings

# Rows with fewer measurements than this, in both layouts, are left to the methods' own estimates.
LEAST_SAMPLES = 5
# What a measurement in the other layout counts: few rows have enough of their own.
OTHER_LAYOUT = 0.35
# How many measurements a factor counts for in those of longer names, and how far from it they must
# be to be written down.
PRIOR, NOTABLE = 3, 1.1

# Row name, quantities, seconds, and what the sample counts.
Sample = tuple[str, tuple[float, ...], float, float]


def fit(samples: list[Sample]) -> dict[str, tuple[float, ...]]:
    """Coefficients by row name (`method/kind/layout/category`)."""
    found: dict[tuple[str, ...], list[tuple]] = defaultdict(list)
    for row, *measured in samples:
        method, kind, layout, category = row.split("/")
        found[method, kind, category].append((layout, *measured))
    for (method, kind, category), measured in list(found.items()):
        for suffix in SUFFIXES:  # too few of a class stand for the wider one
            base = (method, kind, category.replace(suffix, ""))
            if base[2] != category and len(found.get(base, ())) < LEAST_SAMPLES:
                found[base] = found.get(base, []) + measured
            category = base[2]
    rows = {}
    for (method, kind, category), measured in found.items():
        if len(measured) < LEAST_SAMPLES:
            continue
        layouts, quantities, seconds, trust = map(np.array, zip(*measured, strict=True))
        for layout in ("first", "last"):
            weights = trust * np.where(layouts == layout, 1.0, OTHER_LAYOUT)
            solution = positive(quantities, seconds, weights)
            name = f"{method}/{kind}/{layout}/{category}"
            rows[name] = tuple(float(f"{c:.4g}") for c in solution)
    return dict(sorted(rows.items()))


def positive(quantities: np.ndarray, seconds: np.ndarray, trust: np.ndarray) -> np.ndarray:
    """min sum trust |quantities c / seconds - 1| over c >= 0, then the median error scaled away.

    Lawson and Hanson's active set method ("Solving Least Squares Problems", 1974, chapter 23) as
    SciPy has it; seconds differ by orders of magnitude, hence the relative errors.
    """
    from scipy.optimize import nnls

    scaled = quantities / seconds[:, None]
    sizes = np.maximum(scaled.max(axis=0), 1e-300)
    weights = np.ones(len(seconds))
    solution = np.zeros(quantities.shape[1])
    for _ in range(8):  # a few rounds of reweighting: errors count by their size, not its square
        heavy = weights * np.sqrt(trust)
        solution = nnls(scaled / sizes * heavy[:, None], heavy, maxiter=20000)[0] / sizes
        error = np.abs(np.log(np.maximum(scaled @ solution, 1e-3)))
        weights = 1 / np.sqrt(np.maximum(error, 0.05))
    return solution / _median(scaled @ solution, trust)


def fit_factors(samples: list[tuple[str, float]]) -> dict[str, float]:
    """The factor of each row and of each beginning of its name, from (row, seconds / estimate).

    A geometric mean, in which that of the shorter name counts as PRIOR measurements: few in a row
    say little. Those that are about what the shorter name has are left out.
    """
    logarithms: dict[str, list[float]] = defaultdict(list)
    for name, ratio in samples:
        for part in beginnings(name):
            logarithms[part].append(math.log(ratio))
    means: dict[str, float] = {}
    written: dict[str, float] = {}
    for name in sorted(logarithms, key=len):
        shorter = beginnings(name)[1:]
        known = PRIOR if shorter else 0
        prior = means[shorter[0]] if shorter else 0.0
        means[name] = (sum(logarithms[name]) + known * prior) / (len(logarithms[name]) + known)
        as_written = next((written[part] for part in shorter if part in written), math.inf)
        if abs(means[name] - as_written) > math.log(NOTABLE):
            written[name] = means[name]
    return {name: float(f"{math.exp(mean):.3g}") for name, mean in sorted(written.items())}


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    half = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return float(values[order[half]])
