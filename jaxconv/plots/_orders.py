"""One convolution, summed up in different orders: what the methods of the library do."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxconv._conv import conv1d
from jaxconv._conv_transpose import conv_transpose1d
from jaxconv.plots._style import ThemeName, blank, cell, current, figure, number, outline, themed


def _vectors(name: str, x: Any, kernel: Any) -> tuple[np.ndarray, np.ndarray]:
    x, kernel = np.asarray(x, np.float32), np.asarray(kernel, np.float32)
    if x.ndim != 1 or kernel.ndim != 1 or len(kernel) > len(x):
        raise ValueError(
            f"{name}: x must be (n,) and kernel (k,) with k <= n; "
            f"got x {x.shape}, kernel {kernel.shape}. Draw one channel."
        )
    return x, kernel


def _row(axes: Axes, x: float, y: float, values: Any, scale: float, faint: Any = ()) -> None:
    """Boxes in a row; those in `faint` without colour."""
    theme = current()
    for j, value in enumerate(np.asarray(values)):
        off = j in faint
        fill = theme.background if off else theme.diverging(0.5 + 0.33 * float(value) / scale)
        text = number(float(value))
        cell(axes, x + j, y, text, fill=fill, colour=theme.muted if off else None, dashed=off)


def _scale(values: np.ndarray) -> float:
    return float(np.abs(values).max()) or 1.0


@themed
def shifted_slices(x: Any, kernel: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws the sum with the taps outside: each a slice of the signal, times one weight.

    Args:
      x: (n,).
      kernel: (k,).
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: x or kernel is not a vector, or k > n.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.shifted_slices([0, 1, 3, 2], [1, -1])
    """
    x, kernel = _vectors("shifted_slices", x, kernel)
    y = np.asarray(conv1d(x[None], kernel[None, None]))[0]
    colours = current()
    k, out = len(kernel), len(y)
    right = len(x) + 5.0
    fig = figure(0.46 * (right + out + 1), 0.46 * (1.5 * (k + 1) + 1.2))
    axes = fig.subplots()
    top = 1.5 * (k + 1)
    for j, weight in enumerate(kernel):
        level = top - 1.5 * (j + 1)
        seen = range(j, j + out)
        _row(axes, 0, level, x, _scale(x), [i for i in range(len(x)) if i not in seen])
        outline(axes, j, level, out, 1, colours.blue)
        axes.text(len(x) + 0.9, level + 0.5, "\u00d7", ha="center", va="center", fontsize=13)
        fill = colours.diverging(0.5 + 0.33 * float(weight) / _scale(kernel))
        cell(axes, len(x) + 1.5, level, number(float(weight)), edge=colours.orange, fill=fill)
        axes.text(len(x) + 3.3, level + 0.5, "=", ha="center", va="center", fontsize=13)
        if j:
            axes.text(right - 0.6, level + 0.5, "+", ha="center", va="center", fontsize=13)
        _row(axes, right, level, x[j : j + out] * weight, _scale(y))
    _row(axes, right, 0, y, _scale(y))
    outline(axes, right, 0, out, 1, colours.green)
    axes.text(right - 0.6, 0.5, "y", ha="center", va="center", style="italic", fontsize=12)
    often = {1: "once", 2: "twice", 3: "three times"}.get(k, f"{k} times")
    for at, label in ((0, f"x, {often}"), (len(x) + 1.5, "w"), (right, "added up")):
        axes.text(at, top - 0.25, label, color=colours.muted, va="bottom")
    blank(axes, (-0.3, right + out + 0.3), (-0.3, top + 0.6))
    return fig


@themed
def window_matrix(x: Any, kernel: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws the sum with the windows outside: a matrix of windows times the kernel.

    Args:
      x: (n,).
      kernel: (k,).
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: x or kernel is not a vector, or k > n.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.window_matrix([0, 1, 3, 2], [1, -1])
    """
    x, kernel = _vectors("window_matrix", x, kernel)
    y = np.asarray(conv1d(x[None], kernel[None, None]))[0]
    colours = current()
    k, out = len(kernel), len(y)
    start = len(x) + 2.0
    fig = figure(0.46 * (start + k + 6.5), 0.46 * (out + 1.6))
    axes = fig.subplots()
    _row(axes, 0, out / 2 - 0.5, x, _scale(x))
    axes.text(len(x) + 1.0, out / 2, "\u2192", ha="center", va="center", fontsize=16)
    for i in range(out):
        _row(axes, start, out - 1 - i, x[i : i + k], _scale(x))
    outline(axes, start, out - 1, k, 1, colours.orange)
    outline(axes, 0, out / 2 - 0.5, k, 1, colours.orange)
    middle = start + k
    axes.text(middle + 0.7, out / 2, "\u00d7", ha="center", va="center", fontsize=13)
    for j, weight in enumerate(kernel):
        fill = colours.diverging(0.5 + 0.33 * float(weight) / _scale(kernel))
        cell(axes, middle + 1.4, out / 2 + k / 2 - 1 - j, number(float(weight)), fill=fill)
    outline(axes, middle + 1.4, out / 2 - k / 2, 1, k, colours.orange)
    axes.text(middle + 3.1, out / 2, "=", ha="center", va="center", fontsize=13)
    for i, value in enumerate(y):
        fill = colours.diverging(0.5 + 0.33 * float(value) / _scale(y))
        cell(axes, middle + 3.8, out - 1 - i, number(float(value)), fill=fill)
    outline(axes, middle + 3.8, 0, 1, out, colours.green)
    for at, label in ((0.0, "x"), (start, f"windows, {out} \u00d7 {k}"), (middle + 3.8, "y")):
        high = out / 2 + 0.5 if label == "x" else out
        axes.text(at, high + 0.25, label, color=colours.muted, va="bottom")
    blank(axes, (-0.3, middle + 5.2), (-0.3, out + 1.2))
    return fig


@themed
def spectrum(x: Any, kernel: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws signal, kernel and output, and under each the size of its Fourier transform.

    Args:
      x: (n,).
      kernel: (k,).
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure` with six panels.

    Raises:
      ValueError: x or kernel is not a vector, or k > n.

    Example:
      >>> import numpy as np
      >>> from jaxconv import plots
      >>> fig = plots.spectrum(np.sin(np.arange(64)), np.ones(9) / 9)
    """
    x, kernel = _vectors("spectrum", x, kernel)
    n, k = len(x), len(kernel)
    y = np.asarray(conv1d(x[None], kernel[None, None], padding=k - 1))[0]
    colours = current()
    fig = figure(9.5, 3.6)
    axes = fig.subplots(2, 3)
    pictures = [("x", x, colours.blue), ("w", kernel, colours.orange), ("y", y, colours.green)]
    for column, (name, values, colour) in enumerate(pictures):
        above, below = axes[:, column]
        above.plot(values, color=colour, linewidth=1.3)
        above.set_title(f"{name}, {len(values)} samples")
        size = np.abs(np.fft.rfft(values, n + k - 1)) + 1e-12
        below.plot(np.linspace(0, 0.5, len(size)), size, color=colour, linewidth=1.1)
        below.set_yscale("log")
        below.set_ylim(1e-3 * size.max(), 2 * size.max())
        below.minorticks_off()
        below.set_xlabel("frequency, cycles a sample")
    for column, sign in ((1, "\u00d7"), (2, "=")):
        axes[1, column].annotate(
            sign, (-0.33, 0.5), xycoords="axes fraction", ha="center", va="center", fontsize=17
        )
    axes[1, 0].set_ylabel("|transform|")
    return fig


@themed
def phases(x: Any, kernel: Any, *, stride: int = 2, theme: ThemeName = "light") -> Figure:
    """Draws a transposed convolution: zeros between the samples, and which taps meet no zero.

    Args:
      x: (n,).
      kernel: (k,).
      stride: samples of the output for each of the input.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`: two neighbouring outputs, of different phases.

    Raises:
      ValueError: x or kernel is not a vector, k > n, stride is below 1, or there is but one window.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.phases([1, 3, 2, -1], [1, 2, -1])
    """
    x, kernel = _vectors("phases", x, kernel)
    if stride < 1:
        raise ValueError(f"phases: stride must be at least 1; got {stride}.")
    y = np.asarray(conv_transpose1d(x[None], kernel[None, None], stride=stride))[0]
    colours = current()
    k = len(kernel)
    spread = np.zeros((len(x) - 1) * stride + 1)
    if len(spread) <= k:
        raise ValueError(
            "phases: x must be long enough for two windows, (n - 1) stride + 1 > k; got "
            f"n={len(x)}, stride={stride} and k={k}. Give a longer x."
        )
    spread[::stride] = x
    turned = kernel[::-1]
    # An output in the middle of the signal and the next one: the window begins at `first`.
    first = (len(spread) - k) // 2 // stride * stride
    fig = figure(0.46 * (len(spread) + 9.5), 0.46 * 7.4)
    axes = fig.subplots()
    for row, start in enumerate((first, first + 1)):
        level = 3.7 * (1 - row)
        zeros = [i for i in range(len(spread)) if i % stride]
        _row(axes, 0, level + 1.6, spread, _scale(x), zeros)
        outline(axes, start, level + 1.6, k, 1, colours.orange)
        terms = []
        for j, weight in enumerate(turned):
            used = (start + j) % stride == 0
            fill = colours.diverging(0.5 + 0.33 * float(weight) / _scale(kernel))
            cell(
                axes, start + j, level + 0.3, number(float(weight)), dashed=not used,
                fill=fill if used else colours.background, colour=None if used else colours.muted,
            )  # fmt: skip
            if used:
                factors = (float(spread[start + j]), float(weight))
                terms.append(
                    "\u00b7".join(f"({number(f)})" if f < 0 else number(f) for f in factors)
                )
        at = start + k - 1
        axes.text(
            len(spread) + 0.7, level + 1.25, f"y[{at}] = {' + '.join(terms) or 0}", va="center"
        )
        axes.text(
            len(spread) + 0.7, level + 0.5, f"= {number(float(y[at]))}, phase {at % stride}",
            va="center", color=colours.green, weight="bold",
        )  # fmt: skip
    axes.text(-0.35, 3.7 + 2.1, "x", ha="right", va="center", style="italic", fontsize=12)
    axes.text(-0.35, 3.7 + 0.8, "w", ha="right", va="center", style="italic", fontsize=12)
    blank(axes, (-1.0, len(spread) + 8.2), (0, 6.7))
    return fig
