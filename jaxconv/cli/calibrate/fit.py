"""Fit the cost model to measurements.

Its coefficients by least squares with relative errors, all positive; how many times as long another
processor takes by means of logarithms.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from jaxconv._cost import SUFFIXES

# Rows with fewer measurements than this, in both layouts, are left to the methods' own estimates.
LEAST_SAMPLES = 5
# Measurements of arrays beyond the last cache (the last quantity is what of them is) for which it
# has a coefficient: of fewer any number would do, and be that of the next large convolution.
LEAST_LARGE = 10
# What a measurement in the other layout counts: few rows have enough of their own. Less where there
# are more of them than of one's own.
OTHER_LAYOUT = 0.35
# How many measurements a factor counts for in those of longer names.
PRIOR = 3

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
            own = layouts == layout
            mine, theirs = trust[own].sum(), trust[~own].sum()
            share = min(1.0, mine / theirs) if mine and theirs else 1.0
            weights = trust * np.where(own, 1.0, OTHER_LAYOUT * share)
            known = quantities.copy()
            if weights[known[:, -1] > 0].sum() < LEAST_LARGE:
                known[:, -1] = 0
            solution = positive(known, seconds, weights)
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


def beginnings(name: str) -> list[str]:
    """The name of a row, and what it begins with, longest first: "a/b-c", "a/b", "a", ""."""
    found = [name]
    while name:
        name = name[: max(name.rfind("/"), name.rfind("-"), 0)]
        found.append(name)
    return found


def factors(ratios: list[tuple[str, float]]) -> Callable[[str], float]:
    """How many times its estimate a row takes, from (row, seconds / estimate): a function of rows.

    A geometric mean, in which that of the shorter name counts as PRIOR measurements: few in a row
    say little, and none take what their like take.
    """
    logarithms: dict[str, list[float]] = defaultdict(list)
    for name, ratio in ratios:
        for part in beginnings(name):
            logarithms[part].append(math.log(ratio))
    means = {"": sum(logarithms[""]) / max(1, len(logarithms[""]))}
    for name in sorted(logarithms, key=len)[1:]:
        found = [*logarithms[name], *[means[beginnings(name)[1]]] * PRIOR]
        means[name] = sum(found) / len(found)
    return lambda name: math.exp(next(means[part] for part in beginnings(name) if part in means))


def _median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    half = np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)
    return float(values[order[half]])
