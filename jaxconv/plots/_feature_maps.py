"""Kernels stacked, and the m feature maps of length n - k + 1 that they make."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxconv._conv import conv1d
from jaxconv.plots._style import ThemeName, current, figure, themed


@themed
def feature_maps(x: Any, weight: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws a signal, m kernels under each other, and the feature map of each kernel beside it.

    Args:
      x: (c, n), or (n,) for one channel.
      weight: (m, c, k), or (m, k) for one channel.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`: the signal on top, then one row a kernel.

    Raises:
      ValueError: the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> from jaxconv import plots
      >>> fig = plots.feature_maps(np.arange(9.0), [[1, -1], [0.5, 0.5]])
      >>> fig.axes[-1].get_xlabel()
      '2 feature maps of length 9 \N{MINUS SIGN} 2 + 1 = 8'
    """
    x, weight = np.asarray(x, np.float32), np.asarray(weight, np.float32)
    x = x[None] if x.ndim == 1 else x
    weight = weight[:, None] if weight.ndim == 2 else weight
    if x.ndim != 2 or weight.ndim != 3 or weight.shape[1] != len(x):
        raise ValueError(
            "feature_maps: x must be (c, n) and weight (m, c, k); "
            f"got x {x.shape}, weight {weight.shape}. Drop the batch."
        )
    y = np.asarray(conv1d(x[None], weight))[0]
    (channels, n), (m, _, k) = x.shape, weight.shape
    colours = current()
    fig = figure(9.5, 1.7 + 0.72 * m)
    grid = fig.add_gridspec(m + 1, 2, width_ratios=[1, 4.2], height_ratios=[1.6] + [1] * m)

    top = fig.add_subplot(grid[0, 1])
    for row, colour in zip(x, colours.cycle * channels, strict=False):
        top.plot(np.arange(n), row, color=colour, linewidth=1.3)
    top.set_title(f"x: {channels} channel{'s' * (channels > 1)} of length n = {n}")
    top.set_xlim(-0.5, n - 0.5)
    top.tick_params(labelbottom=False)

    largest = np.abs(weight).max((1, 2)) + 1e-30
    for i in range(m):
        colour = colours.cycle[i % len(colours.cycle)]
        left, right = fig.add_subplot(grid[i + 1, 0]), fig.add_subplot(grid[i + 1, 1])
        left.imshow(
            weight[i], cmap=colours.diverging, vmin=-largest[i], vmax=largest[i], aspect="auto"
        )
        left.set_xticks(np.arange(k + 1) - 0.5, minor=True)
        left.set_yticks(np.arange(channels + 1) - 0.5, minor=True)
        left.grid(which="minor", color=colours.background, linewidth=1.5)
        left.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
        left.set_ylabel(f"w[{i}]", rotation=0, ha="right", va="center", style="italic")
        for spine in left.spines.values():
            spine.set_visible(False)
        right.plot(np.arange(n - k + 1) + (k - 1) / 2, y[i], color=colour, linewidth=1.3)
        right.axhline(0, color=colours.faint, linewidth=0.8)
        right.set_xlim(-0.5, n - 0.5)
        highest = float(np.abs(y[i]).max()) * 1.15 or 1.0
        right.set_ylim(-highest, highest)
        right.tick_params(labelbottom=i == m - 1)
        if i == 0:
            size = f"{channels} \u00d7 {k}"
            left.set_title(f"{m} kernels, {size}")
            right.set_title(f"y: {m} feature maps, {m} \u00d7 {n - k + 1}")
    right.set_xlabel(f"{m} feature maps of length {n} \N{MINUS SIGN} {k} + 1 = {n - k + 1}")
    return fig
