"""One output: the scalar product of a kernel and the window under it, channel by channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxconv.plots._style import ThemeName, blank, cell, current, figure, number, outline, themed


@themed
def scalar_product(x: Any, kernel: Any, *, position: int = 0, theme: ThemeName = "light") -> Figure:
    """Draws how one kernel and one window make one number.

    Args:
      x: (c, n).
      kernel: (c, k), as thick as the signal.
      position: which output, from 0 to n - k.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`: for each channel the window, the kernel, their products and the sum.

    Raises:
      ValueError: the shapes do not fit, or there is no such output.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.scalar_product([[1, 2, 3], [4, 5, 6]], [[1, 0], [0, 1]], position=1)
      >>> fig.axes[0].texts[-1].get_text()
      'y[1] = 2 + 6 = 8'
    """
    x, kernel = np.asarray(x), np.asarray(kernel)
    if x.ndim != 2 or kernel.ndim != 2 or len(x) != len(kernel):
        raise ValueError(
            "scalar_product: x must be (c, n) and kernel (c, k); "
            f"got x {x.shape}, kernel {kernel.shape}."
        )
    (channels, n), k = x.shape, kernel.shape[1]
    if not 0 <= position <= n - k:
        raise ValueError(
            f"scalar_product: position must be from 0 to n - k = {n - k}; got {position}."
        )
    colours = current()
    window = x[:, position : position + k]
    products = window * kernel
    sums = products.sum(1)
    scales = [float(np.abs(a).max()) or 1.0 for a in (x, kernel, products)]
    starts = [0.0, n + 1.4, n + k + 2.8, n + 2 * k + 4.2]
    fig = figure(0.46 * (starts[3] + 2.4), 0.46 * (1.7 * channels + 2.9))
    axes = fig.subplots()
    top = 1.7 * channels + 1.3
    heads = ("signal x", "kernel w", "products", "sum")
    for start, head in zip(starts, heads, strict=True):
        axes.text(start, top + 0.35, head, fontsize=10.5, color=colours.muted, va="bottom")
    for c in range(channels):
        y = top - 1 - 1.7 * c
        colour = colours.cycle[c % len(colours.cycle)]
        for start, row, scale in zip(starts, (x[c], kernel[c], products[c]), scales, strict=False):
            for j, value in enumerate(row):
                inside = start or position <= j < position + k
                fill = colours.diverging(0.5 + 0.33 * float(value) / scale)
                cell(
                    axes, start + j, y, number(float(value)),
                    fill=fill if inside else colours.background,
                    colour=None if inside else colours.muted,
                )  # fmt: skip
        outline(axes, position, y, k, 1, colour)
        outline(axes, starts[1], y, k, 1, colour)
        axes.text(starts[1] - 0.7, y + 0.5, "\u00d7", ha="center", va="center", fontsize=13)
        axes.text(starts[2] - 0.7, y + 0.5, "=", ha="center", va="center", fontsize=13)
        axes.text(starts[3] - 0.7, y + 0.5, "\u03a3", ha="center", va="center", fontsize=12)
        cell(
            axes, starts[3], y, number(float(sums[c])), fill=colours.panel, edge=colour, width=1.5,
            line=2,
        )  # fmt: skip
        axes.text(-0.35, y + 0.5, f"c={c}", ha="right", va="center", color=colour)
    terms = " + ".join(
        f"({number(float(s))})" if s < 0 and i else number(float(s)) for i, s in enumerate(sums)
    )
    blank(axes, (-1.7, starts[3] + 2.2), (-0.1, top + 1.4))
    axes.text(
        starts[3] + 1.5, 0.35, f"y[{position}] = {terms} = {number(float(sums.sum()))}",
        ha="right", va="center", fontsize=11.5, color=colours.green, weight="bold",
    )  # fmt: skip
    return fig
