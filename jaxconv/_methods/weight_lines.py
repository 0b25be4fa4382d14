"""weight_lines: the weight gradient as a convolution along lines of pixels and channels.

A row of an image that lies channels last is one long line of W*C numbers. A window that takes every
C-th of them sees one channel at neighbouring positions, and the window one number further along
sees the next channel, or the next position's first. So all column taps and channels of the weight
gradient are neighbouring outputs of one convolution, whose input has a single channel, whose kernel
is the gradient of the output, spread out to every C-th place, and whose rows of outputs are the row
taps:

    w[i, j, c, o] = sum_{h, v} line[h + i, v*C + (j*C + c)] y[h, v, o].

Nothing is unfolded, here or inside XLA: its library reads the windows where they lie. A sum over
many positions leaves the cache, so a loop adds up blocks of them. Where y has far fewer channels
than x, the two change places.

Source: the sum itself, read along the line; the idea of windows that are not copied is that of
M. Dukhan, "The indirect convolution algorithm", 2019, section 3.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, channels_last, pad_positions, turned_back, turned_form
from jaxconv._methods._base import Method
from jaxconv._methods._loop import Index, even_part

# Positions of a block at most, and numbers of y in it: with more they leave the second cache.
POSITIONS, ENTRIES = 2048, 1 << 17
# Blocks in a turn of the loop: XLA runs the products of one after the other at the same time where
# there is enough to choose from, and one alone does not always keep all cores busy.
TOGETHER = 4
# XLA's library takes convolutions of more channels than this only.
FEW = 16
# More column taps that are dilated make a long program: they are a convolution each.
MOST_COLUMNS = 16
# Multiply-adds a second, of two cores with AVX-512; seconds of a block, and of a call.
RATE, STEP, CALL = 80e9, 1.5e-5, 5e-5


def swaps(form: Form) -> bool:
    """Whether x and y change places: products with few columns are slow."""
    fewer = form.out_channels <= FEW or 2 * form.out_channels <= form.in_channels
    return fewer and form.out_channels < form.in_channels and set(form.strides) == {1}


def in_the_plane(form: Form) -> Form:
    """A 1-D form as a 2-D one of a single row."""
    if form.ndim == 2:
        return form
    ones = ("spatial", "kernel", "out_spatial", "strides", "dilation", "lhs_dilation")
    rows = {name: (1, *getattr(form, name)) for name in ones}
    return dataclasses.replace(form, padding=((0, 0), *form.padding), **rows)


def block_of(form: Form) -> tuple[int, int]:
    """(rows, columns) of a block."""
    tall, wide = form.out_spatial
    most = min(POSITIONS, max(1, ENTRIES // form.out_channels))
    columns = even_part(wide, most)
    return (even_part(tall, most // wide) if columns == wide else 1), columns


def blocks_of(form: Form) -> tuple[int, int]:
    """How many blocks lie below and beside each other in an image."""
    (tall, wide), (rows, columns) = form.out_spatial, block_of(form)
    return -(-tall // rows), -(-wide // columns)


def whole(a: Array, sizes: list[int]) -> Array:
    """`a` (N, H, W, C), cut and then filled with zeros to `sizes`."""
    a = a[:, : sizes[0], : sizes[1]]
    edges = [(0, size - n, 0) for size, n in zip(sizes, a.shape[1:3], strict=True)]
    return pad_positions(a, edges, "last")


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
    if swaps(form):
        turned = turned_form(form)
        return turned_back(weight(y, x, turned), turned).astype(form.out_dtype)
    plane = in_the_plane(form)
    x, y = x.reshape(plane.x_shape), y.reshape(plane.y_shape)
    (rows, columns), (down, beside) = block_of(plane), blocks_of(plane)

    def seen(outputs: tuple[int, ...]) -> list[int]:
        """The rows and columns of the padded x that so many outputs see."""
        sizes = zip(outputs, plane.strides, plane.kernel, plane.dilation, strict=True)
        return [(out - 1) * s + (k - 1) * d + 1 for out, s, k, d in sizes]

    # Rows that no window sees are cut off before blocks are filled up with zeros.
    x = pad_positions(x, [(lo, hi, 0) for lo, hi in plane.padding], plane.layout)
    x = whole(whole(x, seen(plane.out_spatial)), seen((down * rows, beside * columns)))
    y = whole(y, [down * rows, beside * columns])

    def block(i: Index) -> Array:
        image, at = i // (down * beside), (i // beside % down * rows, i % beside * columns)
        begin = [p * s for p, s in zip(at, plane.strides, strict=True)]
        xs = lax.dynamic_slice(x, (image, *begin, 0), (1, *seen((rows, columns)), x.shape[-1]))
        ys = lax.dynamic_slice(y, (image, *at, 0), (1, rows, columns, y.shape[-1]))
        return block_product(xs[0], ys[0], plane)

    def turn(first: Index, count: int, acc: Array) -> Array:
        return functools.reduce(jnp.add, [block(first + j) for j in range(count)], acc)

    blocks = plane.batch * down * beside
    count = even_part(blocks, TOGETHER)
    turns, rest = divmod(blocks, count)
    w = jnp.zeros((plane.kernel[0], plane.kernel[1] * plane.in_channels, y.shape[-1]), x.dtype)
    if turns == 1:
        w = turn(0, count, w)
    else:
        w = lax.fori_loop(0, turns, lambda i, w: turn(i * count, count, w), w)
    w = turn(turns * count, rest, w)
    return w.reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """One group of more than 16 channels, one or two dimensions, x not dilated."""
    if form.groups > 1 or form.examples > 1:
        return "takes one group"
    if form.ndim > 2:
        return "takes one or two dimensions"
    if form.taps == 1:
        return "takes more than one tap"
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    form = turned_form(form) if swaps(form) else form
    if form.out_channels <= FEW:
        return f"takes more than {FEW} channels, here {form.out_channels}"
    if form.dilation[-1] > 1 and form.kernel[-1] > MOST_COLUMNS:
        return f"takes at most {MOST_COLUMNS} dilated columns of taps"
    return None


def cost(form: Form) -> float:
    """The products, and the loop's blocks."""
    form = turned_form(form) if swaps(form) else form
    blocks = form.batch * math.prod(blocks_of(in_the_plane(form)))
    scale = 2 if form.dtype == np.float64 else 1
    return scale * form.macs / RATE + blocks * STEP + CALL


METHOD = Method(
    "weight_lines",
    "weight gradient: a convolution along lines of pixels and channels",
    supports,
    None,
    weight,
    cost,
)
