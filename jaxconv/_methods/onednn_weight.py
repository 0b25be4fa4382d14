"""The weight gradient as a convolution of oneDNN: the output's gradient is its kernel.

    w[k, c, o] = sum_{n, p} x[n, p*stride + k*dilation, c] * y[n, p, o]

is a convolution of x by y, as long as an image and summed over the images: they are its input
channels, and its result has but as many positions as w has taps. oneDNN computes a row of positions
at once and would have a row of three. So the channels of x lie beside its positions, in one row
(W*C), and the kernel's taps C apart: the result's row has K*C positions. Nothing is unfolded, and
groups are oneDNN's. A line is an image of one column, with rows of C channels, so that strips of it
can be images and a dilation is one of rows; where a few channels alone would make too short a row,
it is an image of one row.

Source: that a weight gradient is a convolution with its operands in other places is the transpose
rule of `jax.lax.conv_general_dilated`; the row of positions and channels is our own.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _onednn_calls
from jaxconv._form import Form, in_the_plane, may_turn, pad_input, turned_back, turned_form
from jaxconv._methods._loop import Index, part, total
from jaxconv._spec import Shape

# Output channels computed at once.
LANES = 16
# Channels of a group; of a row of them alone.
LEAST, LEAST_ROW = 4, 8
# Images that a call sums over well, half of the most; positions whose part of y fits a cache.
MOST_IMAGES, CACHED = 16, 1 << 14
# Seconds of a call, and multiply-adds a second; two AVX-512 cores.
CALL, RATE = 2e-5, 60e9
# Strips of an image: each is a copy of its own in the program.
MOST_STRIPS = 64
# The strips of x may have so many entries, or so many times those of x and y: what they share is
# copied, and so is padding.
SMALL, MOST_COPIED = 1 << 20, 1.5


class Cut(NamedTuple):
    """Calls of so many strips each: `images` of them, of `rows` rows of y."""

    images: int
    rows: int
    calls: int


def reach(form: Form, rows: int) -> Shape:
    """The positions of padded x that `rows` rows of y see."""
    places = zip(
        (rows, *form.out_spatial[1:]), form.strides, form.kernel, form.dilation, strict=True
    )
    return tuple((n - 1) * s + (k - 1) * d + 1 for n, s, k, d in places)


@functools.lru_cache(maxsize=4096)
def cut(form: Form) -> Cut | None:
    """The best way to cut y into calls; None if there is none.

    oneDNN sums over two to sixteen images well. Where there is but one, strips of it stand for
    images; where there are many, or large ones, several calls share the work.
    """
    high, wide = form.out_spatial[0], math.prod(form.out_spatial[1:])
    channels = form.groups * form.in_channels
    arrays = math.prod(form.x_shape) + math.prod(form.y_shape)
    best: tuple[float, Cut] | None = None
    for each in range(1, min(high, MOST_STRIPS) + 1):
        rows, rest = divmod(high, each)
        if rest:
            continue
        strips = form.batch * each
        seen = reach(form, rows)
        shared = seen[0] / (rows * form.strides[0]) - 1
        if math.prod(seen) * strips * channels > max(SMALL, MOST_COPIED * arrays):
            continue
        for images in range(1 if form.groups == 1 else 2, 2 * MOST_IMAGES + 1):
            if strips % images:
                continue
            many = max(math.log2(images / MOST_IMAGES), 0)
            large = max(math.log2(images * rows * wide / CACHED), 0)
            slower = 1 + 0.2 / images + many + large / 10 + 0.3 * shared
            seconds = strips // images * CALL + form.macs / RATE * slower
            if best is None or seconds < best[0]:
                best = seconds, Cut(images, rows, strips // images)
    return best and best[1]


def strips_of_x(x: Array, form: Form, found: Cut) -> Array:
    """x (N, *S, G*C) -> (calls, rows that a strip sees, ..., W*C, G*images)."""
    space, step = reach(form, found.rows), found.rows * form.strides[0]
    x = pad_input(x, form)
    x = lax.slice(x, [0] * x.ndim, (*x.shape[:2], *space[1:], x.shape[-1]))
    begins = range(0, form.out_spatial[0] * form.strides[0], step)
    x = jnp.stack([lax.slice_in_dim(x, begin, begin + space[0], axis=1) for begin in begins], 1)
    x = x.reshape(found.calls, found.images, *space, form.groups, form.in_channels)
    x = jnp.moveaxis(x, (-1, -2, 1), (-3, -2, -1))  # (calls, *space, C, G, images)
    *between, last = space
    return x.reshape(found.calls, *between, last * form.in_channels, form.groups * found.images)


def strips_of_y(y: Array, form: Form, found: Cut) -> tuple[Array, tuple[int, ...]]:
    """y (N, ..., G*O) -> the kernels of all calls, and the places of their dimensions."""
    size, count = (found.rows, *form.out_spatial[1:]), found.images * found.calls
    if form.layout == "last":
        return y.reshape(count, *size, y.shape[-1]), (form.ndim + 1, 0, *range(1, form.ndim + 1))
    y = jnp.moveaxis(y, -1, 1).reshape(form.batch, y.shape[-1], -1, *size)
    y = jnp.moveaxis(y, 2, 1).reshape(count, y.shape[1], *size)
    return y, (1, 0, *range(2, form.ndim + 2))


def turns(form: Form) -> bool:
    """Whether x should be the kernel, in y's place: where y has too few channels to compute."""
    few = form.out_channels < min(LANES, form.in_channels)
    return few and may_turn(form)


def as_image(form: Form) -> Form:
    """A line as an image of one column, or of one row where its channels alone make none."""
    slim = form.groups == 1 and form.in_channels < LEAST_ROW and form.dilation == (1,)
    row = in_the_plane(form)
    return row if slim and cut(row) else in_the_plane(form, column=True)


def oriented(form: Form) -> Form:
    """What is computed: `form` with x and y in their own or each other's place, as an image."""
    return as_image(turned_form(form) if turns(form) else form)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w, the sum of the calls' convolutions."""
    if turns(form):
        turned = turned_form(form)
        return turned_back(weight(y, x, turned), turned)
    w_shape, form = form.w_shape, as_image(form)
    found = cut(form)
    assert found, "unsupported"
    x = strips_of_x(x.reshape(form.x_shape), form, found)
    y, kernel = strips_of_y(y, form, found)
    channels, ndim = form.in_channels, form.ndim

    def call(number: Index) -> Array:
        return _onednn_calls.convolution(
            part(x, number, 1),
            part(y, number, found.images),
            (1, *form.kernel[:-1], form.kernel[-1] * channels, form.groups * form.out_channels),
            images=(0, ndim + 1, *range(1, ndim + 1)),
            kernel=kernel,
            strides=(*form.dilation[:-1], 1),
            padding=((0, 0),) * ndim,
            dilation=(*form.strides[:-1], form.strides[-1] * channels),
            groups=form.groups,
        )

    return total(found.calls, call).reshape(w_shape)


def supports(form: Form) -> str | None:
    """Several taps, groups of several channels, no dilation in an image's last dimension.

    Groups of fewer channels took up to fifty times as long as by other methods.
    """
    if form.examples > 1:
        return "takes one weight gradient at a time"
    if form.taps == 1:
        return "takes weight gradients of several taps"
    if form.groups > 1 and min(form.in_channels, form.out_channels) < LEAST:
        return f"takes weight gradients of groups of at least {LEAST} channels"
    image = oriented(form)
    if image.dilation[-1] > 1 and image.kernel[-1] > 1:
        return "takes no weight gradient of kernels dilated in the last dimension"
    if cut(image) is None:
        return "takes weight gradients whose images and rows have an even cut into small strips"
    return None


def cost(form: Form) -> float:
    """The calls, and copies of x and y."""
    found = cut(oriented(form))
    moved = math.prod(form.x_shape) + math.prod(form.y_shape)
    calls = found.calls if found else 1
    return calls * CALL + form.macs / RATE + moved * np.dtype(np.float32).itemsize / 3e9
