"""group_split and group_blocks: groups apart, as convolutions without groups.

XLA computes a grouped convolution group by group in plain loops, and turns its weight gradient into
a dense one that multiplies every pair of groups. A group cut out is a dense convolution, for which
there are fast methods (group_split). Groups of few channels are taken several at a time, with a
block-diagonal kernel: the products with its zeros cost less than narrow products do. But zero times
NaN is NaN: one reaches the other groups of its block (group_blocks).

Source: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional
neural networks", 2012, section 3.2: groups are convolutions side by side.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jaxconv._form import Form
from jaxconv._methods import _inner
from jaxconv._methods._base import Method
from jaxconv._methods._loop import Index, join, part

# Each block is a step of a loop, and channels first it is compiled by itself. More steps are worth
# it for groups that are wide enough alone.
MOST_BLOCKS, MOST_STEPS, WIDE = 16, 32, 24
# Channels that a block should have, and the most groups in it: it does so many times the work.
WIDTH, MOST_IN_BLOCK = 16, 8
# Bytes a second of cutting the groups out and joining them; seconds a block.
COPY, BLOCK = 5e9, 1e-5


def in_block(form: Form) -> int | None:
    """How many groups a block takes: the fewest for few and wide blocks, or None."""
    for size in range(1, MOST_IN_BLOCK + 1):
        channels = size * min(form.in_channels, form.out_channels)
        most = MOST_STEPS if channels >= WIDE and form.layout == "last" else MOST_BLOCKS
        enough = channels >= WIDTH or size == form.groups
        if form.groups % size == 0 and form.groups // size <= most and enough:
            return size
    return None


def blocks(form: Form) -> tuple[Form, int, int]:
    """The dense convolution that a block is, the groups in a block, and the number of blocks."""
    size = in_block(form) or 1
    c, o = size * form.in_channels, size * form.out_channels
    one = dataclasses.replace(form, groups=1, in_channels=c, out_channels=o)
    return one, size, form.groups // size


def diagonal(w: Array, size: int) -> Array:
    """The kernels (*K, C, size*O) of a block's groups -> (*K, size*C, size*O), zeros between."""
    *kernel, c, o = w.shape
    w = w.reshape(-1, c, size, 1, o // size)
    same = jnp.eye(size, dtype=w.dtype)[None, None, :, :, None]
    return jnp.moveaxis(w * same, 3, 1).reshape(*kernel, size * c, o)


def of_diagonal(w: Array, size: int) -> Array:
    """(*K, size*C, size*O) -> (*K, C, size*O): what lies on the diagonal."""
    *kernel, c, o = w.shape
    w = w.reshape(-1, size, c // size, size, o // size)
    parts = [w[:, i, :, i] for i in range(size)]
    return jnp.stack(parts, 2).reshape(*kernel, c // size, o)


def side_by_side(block: Callable[[Index], Array], count: int, form: Form) -> Array:
    """The blocks' results along the last axis.

    In a loop, which is compiled once. Not so channels first: what the loop writes must lie in plain
    order, and the blocks took 1.3 to 2 times as long.
    """
    if form.layout == "first":
        return jnp.concatenate([block(i) for i in range(count)], -1)
    return join(count, block, -1)


def forward(x: Array, w: Array, form: Form) -> Array:
    """y: the blocks' results side by side."""
    one, size, count = blocks(form)
    c, o = one.in_channels, one.out_channels

    def block(i: Index) -> Array:
        kernel = part(w, i, o, -1)
        kernel = kernel if size == 1 else diagonal(kernel, size)
        return _inner.conv_form(part(x, i, c, -1), kernel, one)

    return side_by_side(block, count, form)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w: the blocks' weight gradients side by side."""
    one, size, count = blocks(form)
    c, o = one.in_channels, one.out_channels

    def block(i: Index) -> Array:
        kernel = _inner.weight_form(part(x, i, c, -1), part(y, i, o, -1), one)
        return kernel if size == 1 else of_diagonal(kernel, size)

    return side_by_side(block, count, form)


def supports(form: Form, together: bool) -> str | None:
    """Groups of more than one channel, in a few blocks of one (or, `together`, several) groups."""
    if form.groups == 1:
        return "takes several groups"
    if form.in_channels == 1 or form.out_channels == 1:
        return "takes groups of several channels"
    size = in_block(form)
    if size is None:
        return f"takes at most {MOST_BLOCKS} blocks of {MOST_IN_BLOCK} groups, here {form.groups}"
    if together != (size > 1):
        return "takes groups of few channels" if together else "takes few groups of many channels"
    return None


def cost(form: Form) -> float:
    """The blocks' own costs, and a copy of everything."""
    copied = math.prod(form.x_shape) + math.prod(form.y_shape)
    one, _, count = blocks(form)
    return count * (_inner.best(one)[1] + BLOCK) + copied * form.dtype.itemsize / COPY


METHOD = Method(
    "group_split",
    "each group by itself, as a dense convolution",
    functools.partial(supports, together=False),
    forward,
    weight,
    cost,
    composed=True,
)
BLOCKS = Method(
    "group_blocks",
    "a few groups at a time, as a dense convolution with a block-diagonal kernel",
    functools.partial(supports, together=True),
    forward,
    weight,
    cost,
    composed=True,
    exact=False,
)
