"""Where the gradient goes: add copies it, split adds it up, max sends it to the largest."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from jaxconv import autograd
from jaxconv.plots._style import ThemeName, blank, bubble, cell, current, figure, number, themed
from jaxconv.plots._vectors import of_one_length

PITCH, WIDTH = 1.5, 1.45


@themed
def gradient_paths(x1: Any, x2: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws `autograd.add`, `split` and `max`, values forward and gradients back.

    Args:
      x1: (n,); add takes it, split copies it, max takes its largest entry.
      x2: (n,), what add adds to it.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure` with three panels. The gradients come from the rules themselves, for
      z = mean(y); with split y is the sum of the two copies, with max it is the maximum.

    Raises:
      ValueError: x1 and x2 are not vectors of one length.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.gradient_paths([1.0, 3.0], [2.0, 0.0])
      >>> len(fig.axes)
      3
    """
    a, b = of_one_length("gradient_paths", x1=x1, x2=x2)
    added, back_add = jax.vjp(autograd.add, a, b)
    (one, two), back_split = jax.vjp(autograd.split, a)
    largest, back_max = jax.vjp(autograd.max, a)
    mean = jnp.full_like(a, 1 / len(a))
    to_a, to_b = back_add(mean)
    (to_split,) = back_split((mean, mean))
    (to_max,) = back_max(jnp.ones_like(largest))

    colours = current()
    n = len(a)
    fig = figure(6.4, 8.2)
    panels = fig.subplots(3, 1, height_ratios=[8.3, 8.3, 5.5])
    pictures = [
        ("add", [("x\u2081", a, to_a), ("x\u2082", b, to_b)], [("y", added, mean)],
         "the gradient is copied"),
        ("split", [("x", a, to_split)], [("x\u2081", one, mean), ("x\u2082", two, mean)],
         "the gradients are added"),
        ("max", [("x", a, to_max)], [("y", largest[None], jnp.ones(1))],
         "all of it to the largest"),
    ]  # fmt: skip
    for axes, (name, before, after, said) in zip(panels, pictures, strict=True):
        _panel(axes, name, before, after, said, n)
    fig.legend(
        handles=[
            FancyArrowPatch((0, 0), (1, 0), color=colours.blue, label="values, forward"),
            FancyArrowPatch((0, 0), (1, 0), color=colours.orange, label="gradients, backward"),
        ],
        loc="outside lower center", ncols=2, frameon=False, fontsize=9.5,
    )  # fmt: skip
    return fig


def _panel(axes: Axes, name: str, before: Any, after: Any, said: str, n: int) -> None:
    theme = current()
    width = n * PITCH
    gap = 2.6
    middle = 0.0
    centre = width + gap
    bubble(axes, centre, middle, 2.1, 1.2, fill=theme.panel, edge=theme.green)
    axes.text(centre, middle, name, ha="center", va="center", weight="bold", zorder=4)
    for arrays, left, forward in ((before, 0.0, True), (after, centre + gap, False)):
        heights = [0.0] if len(arrays) == 1 else [2.1, -2.1]
        for (label, values, gradient), y in zip(arrays, heights, strict=True):
            _arrays(axes, left, y, label, np.asarray(values), np.asarray(gradient))
            size = len(values) * PITCH
            near = left + size + 0.1 if forward else left - 0.1
            far = centre - 1.1 if forward else centre + 1.1
            tilt = 0.0 if len(arrays) == 1 else np.sign(y) * 0.2
            up, down = (y + 0.55, tilt + 0.16), (y - 0.5, tilt - 0.16)
            if forward:
                _arrow(axes, (near, up[0]), (far, up[1]), theme.blue)
                _arrow(axes, (far, down[1]), (near, down[0]), theme.orange)
            else:
                _arrow(axes, (far, up[1]), (near, up[0]), theme.blue)
                _arrow(axes, (near, down[0]), (far, down[1]), theme.orange)
    spread = max(len(before), len(after)) > 1
    low, high = (-4.6, 3.7) if spread else (-3.2, 2.3)
    axes.text(centre, low + 0.7, said, ha="center", va="top", color=theme.orange, fontsize=10)
    # All panels are as wide as the widest, so that they have one scale.
    span = 2 * (width + gap)
    last = max(len(values) for _, values, _ in after) * PITCH
    spare = (span - (centre + gap + last)) / 2
    blank(axes, (-0.3 - spare, span + 0.3 - spare), (low, high))


def _arrays(
    axes: Axes, left: float, y: float, label: str, values: np.ndarray, gradient: np.ndarray
) -> None:
    theme = current()
    for i, (value, slope) in enumerate(zip(values, gradient, strict=True)):
        x = left + i * PITCH
        cell(axes, x, y + 0.05, number(float(value)), edge=theme.blue, size=8.5, width=WIDTH)
        cell(
            axes, x, y - 1.05, number(round(float(slope), 2)), edge=theme.orange, size=8,
            fill=theme.background, colour=theme.orange, width=WIDTH,
        )  # fmt: skip
    axes.text(
        left + len(values) * PITCH / 2, y + 1.25, label, ha="center", va="bottom", style="italic",
        color=theme.blue,
    )  # fmt: skip


def _arrow(axes: Axes, start: Any, end: Any, colour: str) -> None:
    axes.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=10, color=colour, linewidth=1.3,
            shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip
