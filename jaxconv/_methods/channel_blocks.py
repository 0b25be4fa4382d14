"""channel_blocks: sums for eight output channels at a time, along a row of pixels.

Summed where they lie, the channels of one position need all weights before the next position
begins: those of many channels do not fit the first cache, and each product waits for both its
numbers. Here the innermost loops run along a row of pixels for one block of output channels, as
many as a vector has lanes; the block's weights stay in registers or the first cache meanwhile. y is
summed block by block and then brought to its place.

A block is eight channels of one group, all of which read the same number of x, or one channel each
of eight groups, as in a depthwise kernel: then x is brought into such blocks too, in the copy that
pads it. A few input channels of a group at a time are added to y, so that their weights fit the
registers.

Source: the blocked layout nChw8c and the loops of J. Zhang, F. Franchetti, T. M. Low, "High
performance zero-memory overhead direct convolutions", ICML 2018, sections 3 and 4.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, window
from jaxconv._methods._base import Method
from jaxconv._methods._rates import of_loops
from jaxconv._methods._terms import add_up, in_passes
from jaxconv._methods.shifts import pad_rows

# Output channels of a block, and partial sums: one alone waits for each addition to end.
BLOCK, CHAINS = 8, 2
# Terms of one loop. Of fewer XLA unrolls the loop over a block, which is then not vectorised; of
# 125 and more its compiler makes no vectors either.
FEWEST_TERMS, MOST_TERMS = 15, 121
# Terms whose weights fit the registers: so many a part of several input channels should have, and
# may have so that there are no more than MOST_PARTS, since each is compiled by itself.
PART_TERMS, MOST_PART_TERMS, MOST_PARTS = 27, 50, 8
# Input channels of a group: of more, products are faster.
MOST_CHANNELS = 48
# Positions that a row should have, for its loop to be worth loading the weights. Channels first,
# longer rows of depthwise kernels and small groups fill the vectors of `shifts` as they lie.
SHORTEST_ROW, LONGEST_ROW = 4, 32
# Multiply-adds a second, bytes a second of copies and passes, seconds of a call; two AVX-512 cores.
RATE, BANDWIDTH, CALL = 45e9, 10e9, 8e-5


def one_group(form: Form) -> bool:
    """Whether a block is of one group; else it has one channel each of eight groups."""
    return form.out_channels % BLOCK == 0


def cuts(form: Form) -> list[int]:
    """Where the parts of the input channels of a group begin, and the last one ends."""
    most = max(1, PART_TERMS // form.taps)
    count = min(-(-form.in_channels // most), MOST_PARTS)
    return [form.in_channels * i // count for i in range(count + 1)]


def _summed(x: Array, w: Array, form: Form, at: int, term: Callable[..., Array]) -> Array:
    """The sum of term(window, c, weights) over taps and input channels of a group, in parts.

    x has its spatial axes from `at` on; it is padded here. w has its taps and channels on axis 2.
    """

    def sums(channels: Sequence[int], x: Array, w: Array, *y: Array) -> Array:
        terms = []
        for k, tap in enumerate(np.ndindex(*form.kernel)):
            seen = window(x, tap, form, at)
            for c in channels:
                number = k * form.in_channels + c
                terms.append(term(seen, c, lax.index_in_dim(w, number, 2, keepdims=False)))
        return add_up([*terms, *y], CHAINS)

    parts = [range(begin, end) for begin, end in itertools.pairwise(cuts(form))]
    return in_passes(sums, parts, pad_rows(x, form, at), w)


def _of_one_group(x: Array, w: Array, form: Form) -> Array:
    """y (N, G*O/8, *S_out, 8); x is (N, G, *S, C), or (N, G, C, *S) where channels lie first."""
    first = form.layout == "first"
    at, channel = (3, 2) if first else (2, 2 + form.ndim)
    x = x.reshape(*x.shape[:-1], form.groups, form.in_channels)
    x = jnp.moveaxis(x, (-2, -1), (1, 2)) if first else jnp.moveaxis(x, -2, 1)
    # A block's weights side by side, in the order in which they are read.
    w = w.reshape(-1, form.groups, form.out_channels // BLOCK, BLOCK)
    w = jnp.moveaxis(w, 0, 2)
    shape = (form.batch, form.groups, w.shape[1], *form.out_spatial, BLOCK)
    *_, last = range(len(shape))

    def term(seen: Array, c: int, weights: Array) -> Array:
        seen = lax.index_in_dim(seen, c, channel, keepdims=False)
        seen = lax.broadcast_in_dim(seen, shape, (0, 1, *range(3, last)))
        return lax.mul(seen, lax.broadcast_in_dim(weights, shape, (1, 2, last)))

    y = _summed(x, w, form, at, term)
    return y.reshape(form.batch, -1, *form.out_spatial, BLOCK)


def _in_blocks(x: Array, form: Form) -> Array:
    """x (N, G/8 * C, *S, 8): a block has one channel each of eight groups, zeros in the last.

    Each layout by itself: with a reshape between them XLA would keep two transposes.
    """
    c_in, blocks = form.in_channels, -(-form.groups // BLOCK)
    missing = blocks * BLOCK - form.groups
    if form.layout == "first":
        x = jnp.moveaxis(x, -1, 1).reshape(form.batch, form.groups, c_in, *form.spatial)
        x = jnp.pad(x, [(0, 0), (0, missing), *[(0, 0)] * (1 + form.ndim)])
        x = jnp.moveaxis(x.reshape(form.batch, blocks, BLOCK, *x.shape[2:]), 2, -1)
    else:
        x = x.reshape(*x.shape[:-1], form.groups, c_in)
        x = jnp.pad(x, [*[(0, 0)] * (1 + form.ndim), (0, missing), (0, 0)])
        x = x.reshape(*x.shape[:-2], blocks, BLOCK, c_in)
        x = jnp.moveaxis(x, (-3, -1), (1, 2))
    return x.reshape(form.batch, -1, *form.spatial, BLOCK)


def _of_eight_groups(x: Array, w: Array, form: Form) -> Array:
    """y (N, G/8, O, *S_out, 8), without O where it is 1."""
    c_in, c_out = form.in_channels, form.out_channels
    x = _in_blocks(x, form)
    blocks = x.shape[1] // c_in
    rest = [(0, blocks * BLOCK - form.groups), (0, 0)]
    w = jnp.pad(w.reshape(form.taps * c_in, -1, c_out), [(0, 0), *rest])
    w = w.reshape(-1, blocks, BLOCK, c_out).transpose(1, 3, 0, 2)
    outputs = () if c_out == 1 else (c_out,)
    shape = (form.batch, blocks, *outputs, *form.out_spatial, BLOCK)
    *_, last = range(len(shape))
    space = range(last - form.ndim, last)

    def term(seen: Array, c: int, weights: Array) -> Array:
        seen = lax.slice_in_dim(seen, c, None, c_in, axis=1)
        seen = lax.broadcast_in_dim(seen, shape, (0, 1, *space, last))
        weights = weights.reshape(blocks, *outputs, BLOCK)
        axes = (*range(1, 2 + len(outputs)), last)
        return lax.mul(seen, lax.broadcast_in_dim(weights, shape, axes))

    return _summed(x, w, form, 2, term)


def _out_of_blocks(y: Array, form: Form) -> Array:
    """y (N, *S_out, G*O), of blocks (N, B, *S_out, 8) or (N, B, O, *S_out, 8) of eight groups."""
    y = y.reshape(form.batch, y.shape[1], -1, *form.out_spatial, BLOCK)
    channels = form.groups * form.out_channels
    if form.layout == "first":
        y = jnp.moveaxis(y, -1, 2).reshape(form.batch, -1, *form.out_spatial)
        return jnp.moveaxis(lax.slice_in_dim(y, 0, channels, axis=1), 1, -1)
    y = jnp.moveaxis(y, (1, 2), (-3, -1)).reshape(form.batch, *form.out_spatial, -1)
    return lax.slice_in_dim(y, 0, channels, axis=-1)


def forward(x: Array, w: Array, form: Form) -> Array:
    """y, summed block by block."""
    x, w = x.astype(form.accumulator), w.astype(form.accumulator)
    blocks = _of_one_group if one_group(form) else _of_eight_groups
    return _out_of_blocks(blocks(x, w, form), form).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """Sums of a moderate number of terms, for eight channels of a group or of eight groups."""
    single = form.in_channels == form.out_channels == 1
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    if form.groups == form.taps == 1:
        return "takes more than one tap, or groups"
    if form.ndim > 2 and not single:
        return "takes three dimensions for depthwise kernels alone"
    if not one_group(form):
        if form.groups < BLOCK:
            return f"takes multiples of {BLOCK} output channels, or {BLOCK} groups"
        if form.layout == "last" and single and max(form.strides) > 1:
            return "takes depthwise kernels with a stride channels first"
        if form.layout == "first" and form.out_spatial[-1] > LONGEST_ROW:
            row = form.out_spatial[-1]
            return f"takes rows of at most {LONGEST_ROW} positions channels first, here {row}"
    if form.in_channels > MOST_CHANNELS:
        return f"takes at most {MOST_CHANNELS} input channels a group, here {form.in_channels}"
    if form.out_spatial[-1] < SHORTEST_ROW:
        return f"takes rows of at least {SHORTEST_ROW} positions, here {form.out_spatial[-1]}"
    sizes = [b - a for a, b in itertools.pairwise(cuts(form))]
    few, most = min(sizes) * form.taps, max(sizes) * form.taps
    allowed = MOST_TERMS if single else MOST_PART_TERMS
    if few < FEWEST_TERMS or most > allowed:
        here = few if few == most else f"{few} to {most}"
        return f"takes {FEWEST_TERMS} to {allowed} products at a time, here {here}"
    return None


def cost(form: Form) -> float:
    """The multiply-adds, the copies of x and y, and a pass over y for each part."""
    passes = len(cuts(form))  # one more than there are parts: the way back
    moved = 2 * math.prod(form.dense_input.x_shape) + 2 * passes * math.prod(form.y_shape)
    return CALL + form.macs / RATE + moved * form.dtype.itemsize / BANDWIDTH


METHOD = Method(
    "channel_blocks",
    "sums for eight output channels at a time along a row of pixels",
    supports,
    forward,
    None,
    cost,
    fastest=of_loops,
)
