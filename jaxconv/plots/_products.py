"""Convolutions rearranged until they are products of matrices: what more of the methods do."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxconv._conv import conv1d, conv3d
from jaxconv._conv_transpose import conv_transpose1d
from jaxconv.plots._sheet import Matrix, sheet, sheets
from jaxconv.plots._style import ThemeName, current, themed
from jaxconv.plots._vectors import vectors


@themed
def weight_gradient(x: Any, dy: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws the gradient of a kernel: for each tap, what it saw times the output's gradient.

    Args:
      x: (n,).
      dy: (n - k + 1,), the gradient of the output, of a kernel with k taps.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: x or dy is not a vector, or dy is longer than x.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.weight_gradient([0, 1, 3, 2], [1, -1, 2])
    """
    x, dy = vectors("weight_gradient", x=x, dy=dy)
    k = len(x) - len(dy) + 1
    if k < 1:
        raise ValueError(
            f"weight_gradient: dy must not be longer than x; got x {x.shape}, dy {dy.shape}."
        )
    dw = jax.vjp(lambda w: conv1d(x[None], w), jnp.zeros((1, 1, k)))[1](dy[None])[0][0, 0]
    colours = current()
    seen = np.stack([x[j : j + len(dy)] for j in range(k)])
    return sheet(
        Matrix(seen, "what each tap saw", marks=((0, 0, 1, len(dy), colours.orange),)),
        "\u00d7",
        Matrix(dy[:, None], "dy", colours.blue),
        "=",
        Matrix(np.asarray(dw)[:, None], "dw", colours.green),
    )


@themed
def groups(weight: Any, *, together: int = 2, theme: ThemeName = "light") -> Figure:
    """Draws groups apart, each with its own matrix, and some at a time in block-diagonal ones.

    Args:
      weight: (G, O, C), the kernel of size 1 of each group.
      together: how many groups share a matrix; it divides G.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: weight has not three axes, or together does not divide G.

    Example:
      >>> import numpy as np
      >>> from jaxconv import plots
      >>> fig = plots.groups(np.ones((4, 2, 2)))
    """
    weight = np.asarray(weight, np.float32)
    if weight.ndim != 3 or together < 1 or len(weight) % together:
        raise ValueError(
            "groups: weight must be (G, O, C) with G a multiple of together; "
            f"got weight {weight.shape}, together={together}."
        )
    colours = current()
    _, out, channels = weight.shape
    apart: list[Matrix | str] = []
    joined: list[Matrix | str] = []
    for g, matrix in enumerate(weight):
        apart += ["", Matrix(matrix, f"group {g}", colours.cycle[g % 4])]
    for first in range(0, len(weight), together):
        block = np.zeros((together * out, together * channels), np.float32)
        inside = np.zeros(block.shape, bool)
        marks = []
        for i in range(together):
            at = np.s_[i * out : (i + 1) * out, i * channels : (i + 1) * channels]
            block[at], inside[at] = weight[first + i], True
            colour = colours.cycle[(first + i) % 4]
            marks.append((i * out, i * channels, out, channels, colour))
        label = f"groups {first} to {first + together - 1}"
        joined += ["", Matrix(block, label, faint=~inside, marks=tuple(marks))]
    return sheets([apart[1:], joined[1:]])


@themed
def pointwise(x: Any, weight: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws a convolution of kernel size 1: a matrix that meets every position by itself.

    Args:
      x: (C, n).
      weight: (O, C).
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: the shapes do not fit.

    Example:
      >>> import numpy as np
      >>> from jaxconv import plots
      >>> fig = plots.pointwise(np.ones((2, 5)), np.ones((3, 2)))
    """
    x, weight = np.asarray(x, np.float32), np.asarray(weight, np.float32)
    if x.ndim != 2 or weight.ndim != 2 or weight.shape[1] != len(x):
        raise ValueError(
            f"pointwise: x must be (C, n) and weight (O, C); got x {x.shape}, "
            f"weight {weight.shape}."
        )
    y = np.asarray(conv1d(x, weight[:, :, None]))
    colours = current()
    return sheet(
        Matrix(weight, "w", colours.orange),
        "\u00d7",
        Matrix(x, "x, a column a position", marks=((0, 1, len(x), 1, colours.blue),)),
        "=",
        Matrix(y, "y", marks=((0, 1, len(y), 1, colours.green),)),
    )


@themed
def patches(x: Any, kernel: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws a stride as long as the kernel: windows that do not overlap are a reshape.

    Args:
      x: (n,), n a multiple of k.
      kernel: (k,).
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: x or kernel is not a vector, or n is not a multiple of k.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.patches([0, 1, 3, 2, -1, -2], [1, 0, -1])
    """
    x, kernel = vectors("patches", x=x, kernel=kernel)
    k = len(kernel)
    if len(x) % k:
        raise ValueError(f"patches: n must be a multiple of k; got x {x.shape}, kernel ({k},).")
    y = np.asarray(conv1d(x[None], kernel[None, None], stride=k))[0]
    colours = current()
    marks = tuple((0, i, 1, k, colours.cycle[i // k % 4]) for i in range(0, len(x), k))
    rows = tuple((i, 0, 1, k, colours.cycle[i % 4]) for i in range(len(y)))
    return sheet(
        Matrix(x[None], "x", marks=marks), "\u2192",
        Matrix(x.reshape(-1, k), "reshaped", marks=rows), "\u00d7",
        Matrix(kernel[:, None], "w"), "=", Matrix(y[:, None], "y", colours.green),
    )  # fmt: skip


@themed
def overlap_add(x: Any, kernel: Any, *, stride: int = 2, theme: ThemeName = "light") -> Figure:
    """Draws a transposed convolution from the input's side: each sample sends a kernel, added up.

    Args:
      x: (n,).
      kernel: (k,).
      stride: samples of the output for each of the input.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      ValueError: x or kernel is not a vector, or stride is below 1.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.overlap_add([1, 3, 2], [1, 2, -1])
    """
    x, kernel = vectors("overlap_add", x=x, kernel=kernel)
    if stride < 1:
        raise ValueError(f"overlap_add: stride must be at least 1; got {stride}.")
    y = np.asarray(conv_transpose1d(x[None], kernel[None, None], stride=stride))[0]
    colours = current()
    k = len(kernel)
    sent = np.zeros((len(x), len(y)), np.float32)
    away = np.ones(sent.shape, bool)
    for i, value in enumerate(x):
        sent[i, i * stride : i * stride + k] = value * kernel
        away[i, i * stride : i * stride + k] = False
    marks = tuple((i, i * stride, 1, k, colours.orange) for i in range(len(x)))
    return sheet(
        Matrix(x[:, None], "x", colours.blue), "\u00d7", Matrix(kernel[None], "w"), "\u2192",
        Matrix(np.concatenate([sent, y[None]]), "where each product goes; last row: their sum, y",
               faint=np.concatenate([away, np.zeros((1, len(y)), bool)]),
               marks=(*marks, (len(x), 0, 1, len(y), colours.green))),
    )  # fmt: skip


@themed
def volume(x: Any, kernel: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws a 3-D convolution as one in 2-D: slices of a window's depth become channels.

    Args:
      x: (D, H, W).
      kernel: (kD, kH, kW).
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`: a row for each output slice.

    Raises:
      ValueError: x or kernel has not three axes, or the kernel is larger than x.

    Example:
      >>> import numpy as np
      >>> from jaxconv import plots
      >>> fig = plots.volume(np.ones((3, 2, 2)), np.ones((2, 1, 1)))
    """
    x, kernel = np.asarray(x, np.float32), np.asarray(kernel, np.float32)
    if x.ndim != 3 or kernel.ndim != 3 or any(np.subtract(x.shape, kernel.shape) < 0):
        raise ValueError(
            "volume: x must be (D, H, W) and kernel (kD, kH, kW), no larger; "
            f"got x {x.shape}, kernel {kernel.shape}."
        )
    y = np.asarray(conv3d(x[None], kernel[None, None]))[0]
    colours = current()
    rows = []
    for d, out in enumerate(y):
        row: list[Matrix | str] = []
        for j in range(len(kernel)):
            label, colour = f"channel {j}: slice {d + j}", colours.cycle[(d + j) % 4]
            row += [Matrix(x[d + j], label, colour), " "]
        rows.append([*row[:-1], "\u2192", Matrix(out, f"y, slice {d}", colours.green)])
    return sheets(rows)


@themed
def expand(x: Any, kernel: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws a padded convolution of one position: all but one product of a window are with zeros.

    Args:
      x: (1,).
      kernel: (k,).
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`: the padded signal under every window, and the product without zeros.

    Raises:
      ValueError: x or kernel is not a vector, or x is longer than 1.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.expand([3], [1, 2, -1])
    """
    x, kernel = vectors("expand", x=x, kernel=kernel)
    if len(x) != 1:
        raise ValueError(f"expand: x must be (1,); got x {x.shape}.")
    k = len(kernel)
    y = np.asarray(conv1d(x[None], kernel[None, None], padding=k - 1))[0]
    colours = current()
    windows = np.zeros((k, k), np.float32)
    for i in range(k):
        windows[i, k - 1 - i] = x[0]
    return sheets(
        [
            [Matrix(windows, "windows", faint=windows == 0), "\u00d7",
             Matrix(kernel[:, None], "w"), "=", Matrix(y[:, None], "y", colours.green)],
            [Matrix(x[None], "x", colours.blue), "\u00d7", Matrix(kernel[None, ::-1], "w, turned"),
             "=", Matrix(y[None], "y", colours.green)],
        ]
    )  # fmt: skip


# The transforms of F(2, 3): two outputs of a kernel of three taps, from four samples.
_INPUT = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_OUTPUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


@themed
def winograd(x: Any, kernel: Any, *, theme: ThemeName = "light") -> Figure:
    """Draws Winograd's way to two outputs: four multiplications where the definition takes six.

    Args:
      x: (4,).
      kernel: (3,).
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`: the transforms of both, their product, and the outputs.

    Raises:
      ValueError: x is not (4,) or kernel not (3,).

    Source:
      A. Lavin and S. Gray, Fast algorithms for convolutional neural networks, CVPR 2016, section 4.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.winograd([0, 1, 3, 2], [1, 2, 3])
    """
    x, kernel = vectors("winograd", x=x, kernel=kernel)
    if (len(x), len(kernel)) != (4, 3):
        raise ValueError(
            f"winograd: x must be (4,) and kernel (3,); got x {x.shape}, kernel {kernel.shape}."
        )
    colours = current()
    d, g = _INPUT @ x, _KERNEL @ kernel
    return sheets(
        [
            [Matrix(_INPUT, "B\u1d40"), "\u00d7", Matrix(x[:, None], "x", colours.blue), "=",
             Matrix(d[:, None], "d"), "   ", Matrix(_KERNEL, "G"), "\u00d7",
             Matrix(kernel[:, None], "w", colours.orange), "=", Matrix(g[:, None], "g")],
            [Matrix(_OUTPUT, "A\u1d40"), "\u00d7", "(", Matrix(d[:, None], "d"), "\u2299",
             Matrix(g[:, None], "g"), ")", "=",
             Matrix((_OUTPUT @ (d * g))[:, None], "y", colours.green)],
        ],
        below="d \u2299 g: four multiplications for two outputs",
    )  # fmt: skip
