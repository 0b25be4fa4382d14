"""Matrices side by side with signs between them, each as boxes with its numbers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxconv.plots._style import blank, cell, current, figure, number, outline

UNIT = 0.42  # inches a box


class Matrix(NamedTuple):
    """A matrix of a sheet.

    Attributes:
      values: (rows, columns).
      label: what stands above it.
      frame: the colour of its outline, or "" for none.
      faint: a mask of boxes without colour, those that take no part.
      marks: outlines inside it, (row, column, rows, columns, colour) each.
    """

    values: Any
    label: str = ""
    frame: str = ""
    faint: Any = None
    marks: tuple[tuple[int, int, int, int, str], ...] = ()


def sheet(*items: Matrix | str, below: str = "") -> Figure:
    """A figure of matrices and signs in a row, with a line of text below."""
    return sheets([items], below=below)


def sheets(rows: Any, *, below: str = "") -> Figure:
    """Several rows of them, one under the other."""
    heights = [max(np.shape(i.values)[0] for i in row if isinstance(i, Matrix)) for row in rows]
    widths = [sum(_width(item) for item in row) for row in rows]
    total = sum(heights) + 1.5 * len(rows) + (1.0 if below else 0.0)
    fig = figure(UNIT * (max(widths) + 1), UNIT * total)
    axes = fig.subplots()
    top = total
    for row, height, width in zip(rows, heights, widths, strict=True):
        middle = top - 1.2 - height / 2
        x = (max(widths) - width) / 2
        for item in row:
            if isinstance(item, Matrix):
                _matrix(axes, x, middle, item)
            else:
                axes.text(x + _width(item) / 2, middle, item, ha="center", va="center", fontsize=13)
            x += _width(item)
        top -= height + 1.5
    if below:
        axes.text(
            max(widths) / 2, 0.35, below, ha="center", va="center", color=current().green,
            weight="bold",
        )  # fmt: skip
    blank(axes, (-0.4, max(widths) + 0.4), (-0.1, total))
    return fig


def _width(item: Matrix | str) -> float:
    if isinstance(item, Matrix):
        return np.shape(item.values)[1]
    return 1.3 + 0.28 * max(0, len(item) - 1)


def _matrix(axes: Axes, x: float, middle: float, item: Matrix) -> None:
    theme = current()
    values = np.asarray(item.values, np.float64)
    rows, columns = values.shape
    bottom = middle - rows / 2
    scale = float(np.abs(values).max()) or 1.0
    off = np.zeros(values.shape, bool) if item.faint is None else np.asarray(item.faint)
    for i, j in np.ndindex(values.shape):
        value = float(values[i, j])
        fill = theme.diverging(0.5 + 0.33 * value / scale)
        cell(
            axes, x + j, bottom + rows - 1 - i, number(value), dashed=bool(off[i, j]),
            fill=theme.background if off[i, j] else fill,
            colour=theme.muted if off[i, j] else None, size=9,
        )  # fmt: skip
    if item.frame:
        outline(axes, x, bottom, columns, rows, item.frame)
    for i, j, high, wide, colour in item.marks:
        outline(axes, x + j, bottom + rows - i - high, wide, high, colour)
    axes.text(x, bottom + rows + 0.2, item.label, color=theme.muted, va="bottom")
