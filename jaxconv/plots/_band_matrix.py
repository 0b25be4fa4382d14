"""The convolution as a matrix: zeros outside a band, the same numbers down every diagonal."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxconv.plots._style import ThemeName, blank, cell, current, figure, number, outline, themed

READABLE = 24


@themed
def band_matrix(matrix: Any, x: Any = None, *, theme: ThemeName = "light") -> Figure:
    """Draws a matrix with its zeros faint, one row framed; with x also the product y = A x.

    Args:
      matrix: (rows, columns), such as `jaxconv.conv_matrix(...).todense()`. Up to 24 rows and
        columns are drawn number by number, larger ones as a picture.
      x: (columns,), or None.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: matrix is not of rank 2, or x does not fit it.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> from jaxconv import plots
      >>> A = jaxconv.conv_matrix(jnp.array([[[1.0, 2.0, 3.0]]]), (6,)).todense()
      >>> fig = plots.band_matrix(A)
    """
    a = np.asarray(matrix)
    if a.ndim != 2:
        raise ValueError(f"band_matrix: matrix must have two axes; got {a.shape}. Call todense().")
    if x is not None and np.shape(x) != (a.shape[1],):
        raise ValueError(
            f"band_matrix: x must be ({a.shape[1]},), one entry a column of matrix {a.shape}; "
            f"got x {np.shape(x)}."
        )
    return _picture(a) if max(a.shape) > READABLE else _cells(a, x)


def _cells(a: np.ndarray, x: Any) -> Figure:
    theme = current()
    rows, columns = a.shape
    scale = float(np.abs(a).max()) or 1.0
    size = 9 if columns <= 16 else 7.5
    extra = 0 if x is None else 7.2
    height = max(rows, 0 if x is None else columns)
    middle = height / 2
    fig = figure(0.42 * (columns + extra + 1.2), 0.42 * (height + 1.6))
    axes = fig.subplots()
    left = 0.0
    if x is not None:
        left = 3.2
        y = a @ np.asarray(x)
        _column(axes, 0.4, middle + rows / 2, y, "y", theme.green)
        axes.text(2.3, middle, "=", ha="center", va="center", fontsize=16)
        _column(axes, left + columns + 1.0, middle + columns / 2, np.asarray(x), "x", theme.blue)
    top = middle + rows / 2
    first = np.nonzero(a[0])[0]
    for i in range(rows):
        for j in range(columns):
            value = float(a[i, j])
            cell(
                axes, left + j, top - 1 - i, number(value) if value else "0", size=size,
                fill=theme.diverging(0.5 + 0.4 * value / scale) if value else theme.background,
                colour=None if value else theme.faint,
            )  # fmt: skip
    if first.size:
        outline(axes, left + first[0], top - 1, first[-1] - first[0] + 1, 1, theme.orange)
        last = np.nonzero(a[-1])[0]
        if last.size:
            outline(axes, left + last[0], top - rows, last[-1] - last[0] + 1, 1, theme.orange)
    axes.text(left, top + 0.25, "A", style="italic", fontsize=12, va="bottom")
    axes.text(
        left + columns, top + 0.3, f"{rows} \u00d7 {columns}", ha="right", va="bottom",
        color=theme.muted,
    )  # fmt: skip
    blank(axes, (-0.2, columns + extra + 0.2), (-0.2, height + 1.1))
    return fig


def _column(axes: Any, x: float, top: float, values: np.ndarray, label: str, colour: str) -> None:
    theme = current()
    scale = float(np.abs(values).max()) or 1.0
    for i, value in enumerate(values):
        fill = theme.diverging(0.5 + 0.33 * float(value) / scale)
        cell(axes, x, top - 1 - i, number(float(value)), fill=fill, width=1.25, size=8.5)
    axes.text(x + 0.62, top + 0.25, label, style="italic", fontsize=12, va="bottom", ha="center")
    outline(axes, x, top - len(values), 1.25, len(values), colour)


def _picture(a: np.ndarray) -> Figure:
    theme = current()
    scale = float(np.abs(a).max()) or 1.0
    ratio = a.shape[0] / a.shape[1]
    fig = figure(7.5, 1.0 + 6 * ratio) if ratio < 1 else figure(2.0 + 6 / ratio, 6.5)
    axes = fig.subplots()
    image = axes.imshow(
        a, cmap=theme.diverging, vmin=-scale, vmax=scale, interpolation="nearest", aspect="equal"
    )
    zeros = 100 * (1 - np.count_nonzero(a) / a.size)
    axes.set_title(f"A: {a.shape[0]} \u00d7 {a.shape[1]}, {zeros:.1f} % zeros")
    axes.set_xlabel("input sample")
    axes.set_ylabel("output sample")
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_edgecolor(theme.faint)
    fig.colorbar(image, ax=axes, shrink=0.7, label="weight")
    return fig
