"""A kernel slides over a signal: one output a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxconv._arguments import Ints, ints
from jaxconv._conv import conv1d
from jaxconv.plots._style import ThemeName, blank, cell, current, figure, number, outline, themed

HEIGHT = 4.6
MANY = 16


class _Slide:
    """The arrays of one convolution, and how one step of it is drawn."""

    def __init__(
        self, name: str, x: Any, kernel: Any, stride: Ints, padding: Ints, dilation: Ints
    ) -> None:
        x, kernel = np.asarray(x, np.float32), np.asarray(kernel, np.float32)
        if x.ndim != 1 or kernel.ndim != 1:
            raise ValueError(
                f"{name}: x and kernel must have one axis; got x {x.shape}, kernel {kernel.shape}. "
                "Draw one channel."
            )
        ((stride,), (padding,), (dilation,)) = (
            ints(name, argument, value, 1)
            for argument, value in (
                ("stride", stride),
                ("padding", padding),
                ("dilation", dilation),
            )
        )
        y = conv1d(
            x[None, None], kernel[None, None], stride=stride, padding=padding, dilation=dilation
        )
        self.y = np.asarray(y)[0, 0]
        self.padded = np.pad(x, padding)
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation
        self.theme = current()
        self.scale = float(np.abs(x).max()) or 1.0
        self.kernel_scale = float(np.abs(kernel).max()) or 1.0
        self.out_scale = float(np.abs(self.y).max()) or 1.0

    @property
    def width(self) -> float:
        """In cells: the longer of the padded signal and the outputs."""
        return max(len(self.padded), len(self.y))

    def tint(self, value: float, scale: float) -> Any:
        """The colour of a cell, at most two thirds of the full blue or orange."""
        return self.theme.diverging(0.5 + 0.33 * float(value) / scale)

    def step(self, axes: Axes, number_of: int) -> None:
        """Draws output number `number_of`: signal above, kernel under its window, outputs below."""
        theme = self.theme
        start = number_of * self.stride
        taps = [start + self.dilation * j for j in range(len(self.kernel))]
        for i, value in enumerate(self.padded):
            outside = i < self.padding or i >= len(self.padded) - self.padding
            cell(
                axes, i, 3.1, number(value), dashed=outside, edge=theme.muted if outside else None,
                fill=theme.background if outside else self.tint(value, self.scale),
                colour=theme.muted if outside else None,
            )  # fmt: skip
        outline(axes, start, 3.1, taps[-1] - start + 1, 1, theme.orange)
        for tap, weight in zip(taps, self.kernel, strict=True):
            cell(
                axes, tap, 1.75, number(weight), edge=theme.orange,
                fill=self.tint(weight, self.kernel_scale),
            )  # fmt: skip
            axes.plot([tap + 0.5] * 2, [2.78, 3.07], color=theme.orange, linewidth=1.2)
        for i, value in enumerate(self.y):
            if i <= number_of:
                fill = self.tint(value, self.out_scale)
                cell(axes, i, 0, number(value), fill=fill)
            else:
                cell(axes, i, 0, fill=theme.background, dashed=True)
        outline(axes, number_of, 0, 1, 1, theme.green)
        for height, label in ((3.6, "x"), (2.25, "w"), (0.5, "y")):
            axes.text(-0.35, height, label, ha="right", va="center", style="italic", fontsize=11)
        terms = " + ".join(
            f"{_factor(self.padded[tap])}\u00b7{_factor(weight)}"
            for tap, weight in zip(taps, self.kernel, strict=True)
        )
        axes.text(
            self.width + 0.5, 2.25, f"y[{number_of}] = {terms}", va="center", fontsize=10,
        )  # fmt: skip
        axes.text(
            self.width + 0.5, 1.45, f"       = {number(self.y[number_of])}", va="center",
            fontsize=10, color=theme.green, weight="bold",
        )  # fmt: skip
        blank(axes, (-1.0, self.width + 1 + self.text_width), (-0.25, HEIGHT - 0.3))

    @property
    def text_width(self) -> float:
        """Room for the sum, in cells."""
        letters = max(len(number(value)) for value in (*self.padded, *self.kernel))
        return 1.8 + (0.7 + 0.45 * letters) * len(self.kernel)


def _factor(value: float) -> str:
    return f"({number(value)})" if value < 0 else number(value)


@themed
def sliding(
    x: Any,
    kernel: Any,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    steps: int = 3,
    theme: ThemeName = "light",
) -> Figure:
    """Draws a kernel on its way over a signal, one row a step, with the sum written out.

    Args:
      x: (n,), at most a dozen samples read well.
      kernel: (k,).
      stride: as in `jaxconv.conv1d`, which computes the outputs.
      padding: zeros on each side, drawn dashed.
      dilation: as in `jaxconv.conv1d`.
      steps: how many outputs to draw, from the first; all of them if there are fewer.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: x or kernel has more than one axis, or steps is below 1.

    Example:
      >>> from jaxconv import plots
      >>> len(plots.sliding([1, 2, 3, 4], [1, -1], steps=2).axes)
      2
    """
    if steps < 1:
        raise ValueError(f"sliding: steps must be at least 1; got {steps}.")
    slide = _Slide("sliding", x, kernel, stride, padding, dilation)
    steps = min(steps, len(slide.y), MANY)
    width = slide.width + 2 + slide.text_width
    fig = figure(0.46 * width, 0.46 * HEIGHT * steps)
    for i, axes in enumerate(fig.subplots(steps, 1, squeeze=False)[:, 0]):
        slide.step(axes, i)
    return fig


@themed
def sliding_animation(
    x: Any,
    kernel: Any,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    interval: int = 700,
    theme: ThemeName = "light",
) -> FuncAnimation:
    """The same as a film, one frame an output.

    Args:
      x: (n,).
      kernel: (k,).
      stride: as in `jaxconv.conv1d`.
      padding: zeros on each side.
      dilation: as in `jaxconv.conv1d`.
      interval: milliseconds a frame.
      theme: "light" or "dark".

    Returns:
      A matplotlib `FuncAnimation`; `.save("film.gif", writer="pillow")` writes it,
      `.to_jshtml()` puts it in a notebook.

    Raises:
      ValueError: x or kernel has more than one axis.

    Example:
      >>> from jaxconv import plots
      >>> film = plots.sliding_animation([1, 2, 3, 4], [1, -1])
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     film.save(f"{folder}/film.gif", writer="pillow")
    """
    slide = _Slide("sliding_animation", x, kernel, stride, padding, dilation)
    fig = figure(0.46 * (slide.width + 2 + slide.text_width), 0.46 * HEIGHT)
    axes = fig.subplots()

    # Frames are drawn after this function has returned: each enters the theme again.
    @themed
    def with_theme(number_of: int, *, theme: ThemeName) -> None:
        slide.step(axes, number_of)

    def frame(number_of: int) -> list[Any]:
        axes.clear()
        with_theme(number_of, theme=theme)
        return []

    return FuncAnimation(fig, frame, frames=len(slide.y), interval=interval, blit=False)
