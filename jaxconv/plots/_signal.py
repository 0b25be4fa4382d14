"""A signal: a map from the points 1, 2, 3, ... to c numbers each."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxconv.plots._style import ThemeName, current, figure, themed

NAMES = {1: ("monophonic",), 2: ("left", "right")}


@themed
def signal(
    x: Any, *, rate: float | None = None, zoom: int | None = None, theme: ThemeName = "light"
) -> Figure:
    """Draws a signal, and beside it a few of its samples one by one.

    Args:
      x: (n,) or (c, n); c is 1 for a monophonic signal, 2 for stereo.
      rate: samples a second; with it the axis is in seconds.
      zoom: the first of the 25 samples drawn one by one; around the largest value by default.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`, one row a channel.

    Raises:
      ValueError: x is not of rank 1 or 2.

    Example:
      >>> import numpy as np
      >>> from jaxconv import plots
      >>> plots.signal(np.sin(np.arange(100) / 5)).axes[0].get_title("left")
      'monophonic: x of shape (1, 100)'
    """
    x = np.asarray(x)
    if x.ndim not in (1, 2):
        raise ValueError(f"signal: x must be (n,) or (c, n); got x {x.shape}. Drop the batch.")
    x = np.atleast_2d(x)
    channels, length = x.shape
    colours = current()
    few = min(25, length)
    start = int(np.abs(x).sum(0).argmax()) - few // 2 if zoom is None else zoom
    start = min(max(start, 0), length - few)
    shown = np.arange(start, start + few)
    time = np.arange(1, length + 1) / (rate or 1)

    fig = figure(9.5, 1.1 + 1.5 * channels)
    axes = fig.subplots(channels, 2, squeeze=False, sharex="col", sharey="row", width_ratios=[2, 1])
    names = NAMES.get(channels, tuple(f"channel {c}" for c in range(channels)))
    for (whole, part), row, name, colour in zip(
        axes, x, names, colours.cycle * channels, strict=False
    ):
        whole.plot(time, row, color=colour, linewidth=1.3)
        whole.axvspan(time[shown[0]], time[shown[-1]], color=colours.faint, alpha=0.5, linewidth=0)
        whole.margins(x=0.01)
        part.vlines(shown + 1, 0, row[shown], color=colour, linewidth=1.6)
        part.plot(shown + 1, row[shown], "o", color=colour, markersize=4)
        part.axhline(0, color=colours.muted, linewidth=0.8)
        whole.set_title(name)
        part.tick_params(labelleft=False)
    axes[0, 0].set_title(f"{names[0]}: x of shape {x.shape}")
    axes[0, 1].set_title("the shaded samples")
    axes[-1, 0].set_xlabel("time in seconds" if rate else "sample")
    axes[-1, 1].set_xlabel("sample")
    return fig
