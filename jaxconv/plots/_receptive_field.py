"""How much of the input one unit of a deep layer sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxconv.plots._style import ThemeName, current, figure, themed


@themed
def receptive_field(
    kernel_sizes: Sequence[int],
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    theme: ThemeName = "light",
) -> Figure:
    """Draws stacked layers, one unit on top, and every unit it depends on.

    The field grows by (k - 1) d times the strides of the layers below, for each layer. It may have
    holes.

    Args:
      kernel_sizes: one a layer, from the input up.
      strides: one a layer; 1 by default.
      dilations: one a layer; 1 by default.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: the lists are empty or of different lengths, or an entry is below 1.

    Example:
      >>> from jaxconv import plots
      >>> plots.receptive_field([3, 3]).axes[0].get_title()
      'one unit of layer 2 sees 5 samples'
    """
    kernel_sizes = list(map(int, kernel_sizes))
    ones = [1] * len(kernel_sizes)
    strides = ones if strides is None else list(map(int, strides))
    dilations = ones if dilations is None else list(map(int, dilations))
    if not len(kernel_sizes) == len(strides) == len(dilations) > 0:
        raise ValueError(
            "receptive_field: kernel_sizes, strides and dilations must have one entry a layer; "
            f"got {len(kernel_sizes)}, {len(strides)} and {len(dilations)}."
        )
    if min(*kernel_sizes, *strides, *dilations) < 1:
        raise ValueError(
            "receptive_field: every entry must be at least 1; got "
            f"{kernel_sizes}, {strides} and {dilations}."
        )
    layers = list(zip(kernel_sizes, strides, dilations, strict=True))
    # units[l]: the indices in layer l (0 is the input) that the one unit on top depends on.
    units = [{0}]
    for k, s, d in reversed(layers):
        units.append({u * s + j * d for u in units[-1] for j in range(k)})
    units.reverse()
    # places[l]: where unit 0 of layer l lies over the input, and how far apart its units are.
    places = [(0.0, 1)]
    for k, s, d in layers:
        start, pitch = places[-1]
        places.append((start + pitch * (k - 1) * d / 2, pitch * s))
    field = max(units[0]) - min(units[0]) + 1
    used = len(units[0])
    of_all = f"{used} of " if used < field else ""

    theme_now = current()
    fig = figure(max(6.0, 0.42 * (field + 6)), 1.3 + 1.05 * len(layers))
    axes = fig.subplots()
    margin = 2
    for level, ((start, pitch), seen) in enumerate(zip(places, units, strict=True)):
        low = int(np.ceil((-margin - start) / pitch))
        high = int(np.floor((field - 1 + margin - start) / pitch))
        colour = theme_now.cycle[level % len(theme_now.cycle)]
        for unit in range(low, high + 1):
            inside = unit in seen
            axes.plot(
                start + unit * pitch, level, "o", markersize=11, zorder=3,
                color=colour if inside else theme_now.panel,
                markeredgecolor=colour if inside else theme_now.faint,
            )  # fmt: skip
        if level:
            k, s, d = layers[level - 1]
            below, step = places[level - 1]
            for unit in seen:
                for j in range(k):
                    axes.plot(
                        [start + unit * pitch, below + (unit * s + j * d) * step],
                        [level, level - 1], color=theme_now.muted, linewidth=1.0, zorder=1,
                    )  # fmt: skip
            text = f"layer {level}: k {k}"
            text += f", stride {s}" if s > 1 else ""
            text += f", dilation {d}" if d > 1 else ""
        else:
            text = "input"
        axes.text(-margin - 0.8, level, text, ha="right", va="center", color=colour, fontsize=10.5)
    axes.annotate(
        "", (-0.45, -0.5), (field - 0.55, -0.5),
        arrowprops={"arrowstyle": "<->", "color": theme_now.ink, "linewidth": 1.2},
    )  # fmt: skip
    axes.text((field - 1) / 2, -0.62, f"{field} samples", ha="center", va="top")
    axes.set_title(
        f"one unit of layer {len(layers)} sees {of_all}{field} samples", loc="center",
        x=((field - 1) / 2 + margin + 6.6) / (field + 2 * margin + 6.6),
    )  # fmt: skip
    axes.set_xlim(-margin - 6.6, field + margin)
    axes.set_ylim(-1.05, len(layers) + 0.4)
    axes.axis("off")
    return fig
