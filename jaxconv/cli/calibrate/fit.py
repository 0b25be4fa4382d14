"""Fit the cost model to measurements: least squares with positive coefficients, relative errors."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

# Rows with fewer measurements than this are left to the methods' own estimates.
LEAST_SAMPLES = 6


def fit(samples: list[tuple[str, tuple[float, ...], float]]) -> dict[str, tuple[float, ...]]:
    """Coefficients for each row name, from (row, features, seconds)."""
    by_row: dict[str, list[Any]] = defaultdict(list)
    for row, quantities, seconds in samples:
        by_row[row].append((quantities, seconds))
    return {
        row: tuple(float(f"{c:.4g}") for c in positive(*map(np.array, zip(*found, strict=True))))
        for row, found in sorted(by_row.items())
        if len(found) >= LEAST_SAMPLES
    }


def positive(quantities: np.ndarray, seconds: np.ndarray, rounds: int = 20000) -> np.ndarray:
    """min |quantities c / seconds - 1|^2 over c >= 0, then the median error scaled away.

    Lawson and Hanson's active set method ("Solving Least Squares Problems", 1974, chapter 23) as
    SciPy has it; seconds differ by orders of magnitude, hence the relative errors.
    """
    from scipy.optimize import nnls

    scaled = quantities / seconds[:, None]
    sizes = np.maximum(scaled.max(axis=0), 1e-300)
    weights = np.ones(len(seconds))
    solution = np.zeros(quantities.shape[1])
    for _ in range(8):  # a few rounds of reweighting: errors count by their size, not its square
        solution = nnls(scaled / sizes * weights[:, None], weights, maxiter=rounds)[0] / sizes
        error = np.abs(np.log(np.maximum(scaled @ solution, 1e-3)))
        weights = 1 / np.sqrt(np.maximum(error, 0.05))
    return solution / np.median(scaled @ solution)
