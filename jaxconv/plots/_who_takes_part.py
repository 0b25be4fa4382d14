"""z = w . x: which of the two receives a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from jaxconv import autograd
from jaxconv.plots._gradient_paths import PITCH, WIDTH
from jaxconv.plots._style import ThemeName, blank, bubble, cell, current, figure, number, themed
from jaxconv.plots._vectors import of_one_length


@themed
def who_takes_part(x: Any, w: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws z = w . x three times: both marked, only w marked, and inside `autograd.no_grad`.

    Args:
      x: (n,).
      w: (n,).
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure` with three panels; the gradients are those of `autograd.grad`.

    Raises:
      ValueError: x and w are not vectors of one length.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.who_takes_part([1.0, 2.0], [1.0, 1.0])
      >>> len(fig.axes)
      3
    """
    x, w = of_one_length("who_takes_part", x=x, w=w)

    def dot(x, w):
        return w @ x

    both = autograd.grad(dot, argnums=(0, 1))(x, w)
    only = autograd.grad(dot, argnums=1)(x, w)
    try:
        autograd.grad(autograd.no_grad(dot), argnums=(0, 1))(x, w)
        refused = ""
    except autograd.NoGradientError as error:
        refused = type(error).__name__
    z = float(dot(x, w))
    fig = figure(6.4, 7.6)
    panels = fig.subplots(3, 1)
    _panel(panels[0], "both marked", (x, w), both, z, "each receives the other")
    _panel(panels[1], "only w marked", (x, w), (None, only), z, "x is a constant")
    _panel(panels[2], "inside no_grad", (x, w), (None, None), z, f"cut: {refused}")
    return fig


def _panel(axes: Axes, title: str, values: Any, slopes: Any, z: float, said: str) -> None:
    theme = current()
    size = len(values[0]) * PITCH
    centre = size + 3.2
    cut = all(slope is None for slope in slopes)
    bubble(axes, centre, 0, 2.1, 1.2, fill=theme.panel, edge=theme.faint if cut else theme.green)
    axes.text(centre, 0, "w \u00b7 x", ha="center", va="center", weight="bold", zorder=4)
    for name, y, value, slope in zip("xw", (1.9, -1.9), values, slopes, strict=True):
        _row(axes, 0, y + (0.05 if slope is not None else -0.45), value, theme.blue)
        axes.text(-0.4, y, name, ha="right", va="center", style="italic", fontsize=12)
        tilt = float(np.sign(y)) * 0.25
        _arrow(axes, (size + 0.15, y + 0.35), (centre - 1.15, tilt + 0.16), theme.blue)
        if slope is not None:
            _row(axes, 0, y - 1.05, slope, theme.orange, back=True)
            _arrow(axes, (centre - 1.15, tilt - 0.16), (size + 0.15, y - 0.45), theme.orange)
    right = centre + 3.2
    _row(axes, right, 0.05 if not cut else -0.45, [z], theme.blue)
    axes.text(right + WIDTH / 2, 1.25, "z", ha="center", va="bottom", style="italic", fontsize=12)
    _arrow(axes, (centre + 1.15, 0.16), (right - 0.15, 0.3), theme.blue)
    if cut:
        axes.text(
            (centre + right) / 2 + 0.5, -0.62, "\u2715", color=theme.orange, ha="center",
            va="center", fontsize=15, weight="bold",
        )  # fmt: skip
    else:
        _row(axes, right, -1.05, [1.0], theme.orange, back=True)
        _arrow(axes, (right - 0.15, -0.5), (centre + 1.15, -0.16), theme.orange)
    axes.text(right + WIDTH / 2, -2.3, said, ha="center", va="center", color=theme.orange)
    blank(axes, (-1.2, right + WIDTH + 3.4), (-3.3, 3.4))
    axes.set_title(title)


def _row(axes: Axes, left: float, y: float, values: Any, colour: str, back: bool = False) -> None:
    theme = current()
    for i, value in enumerate(values):
        cell(
            axes, left + i * PITCH, y, number(float(value)), edge=colour, size=9.5, width=WIDTH,
            fill=theme.background if back else None, colour=colour if back else None,
        )  # fmt: skip


def _arrow(axes: Axes, start: Any, end: Any, colour: str) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, color=colour, linewidth=1.5,
            shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip
