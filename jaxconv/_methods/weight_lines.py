"""weight_lines: the weight gradient as a convolution along lines of pixels and channels.

A row of an image that lies channels last is one long line of W*C numbers. A window that takes every
C-th of them sees one channel at neighbouring positions, and the window one number further along
sees the next channel, or the next position's first. So all column taps and channels of the weight
gradient are neighbouring outputs of one convolution, whose input has a single channel, whose kernel
is the gradient of the output, spread out to every C-th place, and whose rows of outputs are the row
taps:

    w[i, j, c, o] = sum_{h, v} line[h + i, v*C + (j*C + c)] y[h, v, o].

Nothing is unfolded, here or inside XLA: its library for convolutions (YNNPACK) reads the windows
where they lie. A sum over many positions leaves the cache, so a loop adds up blocks of them. Where
y has far fewer channels than x, the two change places.

Source: the sum itself, read along the line; the idea of windows that are not copied is that of
M. Dukhan, "The indirect convolution algorithm", 2019, section 3.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _processor
from jaxconv._form import (
    Form,
    channels_last,
    in_the_plane,
    may_turn,
    pad_positions,
    turned_back,
    turned_form,
)
from jaxconv._methods._base import Method
from jaxconv._methods._loop import Index, cut, even_part, traced_once
from jaxconv._methods.extra_row import FEW

# Positions of a block at most, and numbers of y in it: with more they leave the second cache.
POSITIONS, ENTRIES = 2048, 1 << 17
# Blocks in a step of the loop: XLA runs the products of one after the other at the same time where
# there is enough to choose from, and one alone does not always keep all cores busy.
TOGETHER = 4
# More column taps that are dilated make a long program: they are a convolution each.
MOST_COLUMNS = 16
# Multiply-adds, and bytes of a block's result, a second; seconds of a block, and of a call; two
# AVX-512 cores.
RATE, BANDWIDTH, STEP, CALL = 80e9, 100e9, 1.5e-5, 5e-5
# How much of its cost a line with a stride takes beyond its estimate on an early AVX-512 processor.
STRIDED_LINE = 0.5


def turns(form: Form) -> bool:
    """Whether x and y change places: products with few columns are slow."""
    fewer = form.out_channels <= FEW or 2 * form.out_channels <= form.in_channels
    return fewer and form.out_channels < form.in_channels and may_turn(form)


def block_of(form: Form) -> tuple[int, int]:
    """(rows, columns) of a block: some rows, or some columns of one row; of about equal size."""
    tall, wide = form.out_spatial
    most = min(POSITIONS, max(1, ENTRIES // form.out_channels))
    if wide > most:
        return 1, -(-wide // -(-wide // most))
    return -(-tall // -(-tall // max(1, most // wide))), wide


def block_product(x: Array, y: Array, form: Form) -> Array:
    """(kH, kW*C, O) of a block: x (H, W, C), what its windows see, and y (rows, columns, O)."""
    channels, taps = form.in_channels, form.kernel[1]
    step = form.dilation[1]
    lines = x.reshape(1, x.shape[0], -1, 1)

    def columns(first: int, number: int) -> Array:
        """The products of `number` neighbouring column taps."""
        size = ((y.shape[1] - 1) * form.strides[1] + number) * channels
        seen = lax.slice_in_dim(lines, first * channels, first * channels + size, axis=2)
        return lax.conv_general_dilated(
            seen,
            y[:, :, None],
            (form.dilation[0], 1),
            "VALID",
            rhs_dilation=(form.strides[0], form.strides[1] * channels),
            dimension_numbers=channels_last(2),
            precision=form.precision,
        )[0]

    if step == 1:
        return columns(0, taps)
    return jnp.concatenate([columns(j * step, 1) for j in range(taps)], 1)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w, summed over images and blocks."""
    if turns(form):
        turned = turned_form(form)
        return turned_back(weight(y, x, turned), turned)
    plane = in_the_plane(form)
    x, y = x.reshape(plane.x_shape), y.reshape(plane.y_shape)
    x = pad_positions(x, [(lo, hi, 0) for lo, hi in plane.padding], plane.layout)
    (tall, wide), (rows, columns) = plane.out_spatial, block_of(plane)
    down, beside = tall // rows, wide // columns

    def product(image: Index, at: tuple[Index, Index], size: tuple[int, int]) -> Array:
        """The block of outputs `size` from `at` on, and what its windows see."""
        steps = zip(size, plane.strides, plane.kernel, plane.dilation, strict=True)
        seen = [(out - 1) * s + (k - 1) * d + 1 for out, s, k, d in steps]
        begin = [p * s for p, s in zip(at, plane.strides, strict=True)]
        xs = cut(x, (image, *begin, 0), (1, *seen, x.shape[-1]))
        ys = cut(y, (image, *at, 0), (1, *size, y.shape[-1]))
        return block_product(lax.squeeze(xs, (0,)), lax.squeeze(ys, (0,)), plane)

    def block(i: Index) -> Array:
        at = (i // beside % down * rows, i % beside * columns)
        return product(i // (down * beside), at, (rows, columns))

    def below(i: Index) -> Array:
        """The rows of image i that are no whole block."""
        return product(i, (down * rows, 0), (tall - down * rows, wide))

    def at_the_end(i: Index) -> Array:
        """The columns of row i of all images that are no whole block."""
        return product(i // tall, (i % tall, beside * columns), (1, wide - beside * columns))

    shape = (plane.kernel[0], plane.kernel[1] * plane.in_channels, y.shape[-1])
    w = add_blocks(block, plane.batch * down * beside, jnp.zeros(shape, x.dtype))
    if tall > down * rows:
        w = add_blocks(below, plane.batch, w)
    if wide > beside * columns:
        w = add_blocks(at_the_end, plane.batch * tall, w)
    return w.reshape(form.w_shape).astype(form.out_dtype)


def add_blocks(block: Callable[[Index], Array], count: int, w: Array) -> Array:
    """w and block(0), block(1), ..., of which a step of the loop adds up a few."""
    block = traced_once(block)

    def step(first: Index, number: int, w: Array) -> Array:
        return w + functools.reduce(lax.add, [block(first + j) for j in range(number)])

    number = even_part(count, TOGETHER)
    steps, rest = divmod(count, number)
    if steps == 1:
        w = step(0, number, w)
    else:
        w = lax.fori_loop(0, steps, lambda i, w: step(i * number, number, w), w)
    return step(steps * number, rest, w) if rest else w


def supports(form: Form) -> str | None:
    """What YNNPACK is fast at: float32, one group of more than 16 channels; x not dilated."""
    if form.dtype != np.float32:
        return f"takes float32, not {form.dtype}"
    if form.groups > 1 or form.examples > 1:
        return "takes one group"
    if form.ndim > 2:
        return "takes one or two dimensions"
    if form.taps == 1:
        return "takes more than one tap"
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    form = turned_form(form) if turns(form) else form
    if form.out_channels <= FEW:
        return f"takes more than {FEW} channels, here {form.out_channels}"
    if form.dilation[-1] > 1 and form.kernel[-1] > MOST_COLUMNS:
        return f"takes at most {MOST_COLUMNS} dilated columns of taps"
    return None


def cost(form: Form) -> float:
    """The products, and for each block of the loop a call and an addition to the whole result."""
    form = turned_form(form) if turns(form) else form
    plane = in_the_plane(form)
    counts = zip(plane.out_spatial, block_of(plane), strict=True)
    blocks = form.batch * math.prod(-(-out // size) for out, size in counts)
    added = 3 * math.prod(form.w_shape) * form.dtype.itemsize / BANDWIDTH
    return form.macs / RATE + blocks * (STEP + added) + CALL


def strided_line(form: Form) -> float:
    """Seconds beyond the estimate, an AMD EPYC's, of a strided line on an early AVX-512 processor.

    As measured on an Intel Xeon (docs/engine.md).
    """
    slow = form.ndim == 1 and form.strides[0] > 1 and _processor.early_avx512()
    return STRIDED_LINE * cost(form) if slow else 0.0


METHOD = Method(
    "weight_lines",
    "weight gradient: a convolution along lines of pixels and channels",
    supports,
    None,
    weight,
    cost,
    besides=strided_line,
)
