"""Padding, stride and dilation in two dimensions, and the size of what comes out."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxconv._arguments import Ints, ints
from jaxconv._conv import conv2d
from jaxconv.plots._style import ThemeName, blank, cell, current, figure, number, outline, themed


@themed
def padding_2d(
    x: Any,
    kernel: Any,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    theme: ThemeName = "light",
) -> Figure:
    """Draws an image with its padding, the first and the last window, and the output beside it.

    Args:
      x: (H, W), at most about 10 by 16.
      kernel: (kH, kW).
      stride: (down, right), in pixels, or one int for both.
      padding: rows above and below, columns left and right, or one int for all.
      dilation: (down, right), in pixels, or one int for both.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`; its title is the formula of the output's size.

    Raises:
      ValueError: x or kernel is not of rank 2.

    Example:
      >>> import numpy as np
      >>> from jaxconv import plots
      >>> fig = plots.padding_2d(np.ones((4, 6)), np.ones((3, 5)), padding=(1, 2))
      >>> fig.axes[1].get_title("left")
      'y: 4 \u00d7 6'
    """
    x, kernel = np.asarray(x, np.float32), np.asarray(kernel, np.float32)
    if x.ndim != 2 or kernel.ndim != 2:
        raise ValueError(
            f"padding_2d: x and kernel must have two axes; got x {x.shape}, kernel {kernel.shape}. "
            "Draw one channel."
        )
    stride, padding, dilation = (
        ints("padding_2d", name, value, 2)
        for name, value in (("stride", stride), ("padding", padding), ("dilation", dilation))
    )
    y = np.asarray(
        conv2d(x[None, None], kernel[None, None], stride=stride, padding=padding, dilation=dilation)
    )[0, 0].round(5)
    colours = current()
    height, width = (n + 2 * p for n, p in zip(x.shape, padding, strict=True))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation, strict=True)]
    widths = [width + 0.6, y.shape[1] + 0.6]
    fig = figure(0.4 * (sum(widths) + 2), 0.4 * (height + 3.6))
    left, right = fig.subplots(1, 2, width_ratios=widths)
    _grid(left, np.pad(x, [(p, p) for p in padding]), padding)
    ends = [(n - 1) * s for n, s in zip(y.shape, stride, strict=True)]
    for (down, across), colour in (((0, 0), colours.orange), (tuple(ends), colours.purple)):
        outline(left, across, height - down - reach[0], reach[1], reach[0], colour)
        for i in range(kernel.shape[0]):
            for j in range(kernel.shape[1]):
                at = across + j * dilation[1] + 0.5, height - down - i * dilation[0] - 0.5
                left.plot(*at, "o", color=colour, markersize=14, alpha=0.25, zorder=2)
    left.set_title(f"x: {x.shape[0]} \u00d7 {x.shape[1]}, with padding {height} \u00d7 {width}")
    blank(left, (-0.3, width + 0.3), (-0.3, height + 0.3))
    _grid(right, y, (0, 0))
    outline(right, 0, y.shape[0] - 1, 1, 1, colours.orange)
    outline(right, y.shape[1] - 1, 0, 1, 1, colours.purple)
    right.set_title(f"y: {y.shape[0]} \u00d7 {y.shape[1]}")
    blank(right, (-0.3, y.shape[1] + 0.3), (-0.3, y.shape[0] + 0.3))
    lines = [
        _formula(name, n, k, s, p, d, out)
        for name, n, k, s, p, d, out in zip(
            "HW", x.shape, kernel.shape, stride, padding, dilation, y.shape, strict=True
        )
    ]
    fig.supxlabel("\n".join(lines), fontsize=10.5, color=colours.ink)
    return fig


def _grid(axes: Axes, values: np.ndarray, padding: tuple[int, ...]) -> None:
    colours = current()
    rows, columns = values.shape
    scale = float(np.abs(values).max()) or 1.0
    for i in range(rows):
        for j in range(columns):
            outside = min(i, rows - 1 - i) < padding[0] or min(j, columns - 1 - j) < padding[1]
            value = float(values[i, j])
            shade = colours.diverging(0.5 + 0.33 * value / scale)
            cell(
                axes, j, rows - 1 - i, number(value), dashed=outside, size=8,
                fill=colours.background if outside else shade,
                colour=colours.muted if outside else None,
            )  # fmt: skip


def _formula(name: str, n: int, k: int, s: int, p: int, d: int, out: int) -> str:
    minus = "\N{MINUS SIGN}"
    reach = f"{d}\u00b7({k} {minus} 1)" if d > 1 else f"({k} {minus} 1)"
    inside = f"{n} + 2\u00b7{p} {minus} {reach} {minus} 1"
    inside = f"\u230a({inside}) / {s}\u230b" if s > 1 else inside
    return f"${name}_{{out}}$ = {inside} + 1 = {out}"
