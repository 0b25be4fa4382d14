"""shifts: few channels a group, as one sum over taps of shifted slices times weights.

A group with one input channel (or a few) has too little work for a matrix product: each number of
the input meets only a few weights. Written as a sum over the kernel's taps (and the channels of a
group), XLA compiles the whole of it to one vectorised loop that reads the input once, in registers
and caches; of many channels a group, to a few. The lanes of the vectors are the groups where memory
is channels last and the row of pixels where it is channels first, so neither layout is transposed.
(Channels last, three cases are: groups of several channels, whose lanes are the same channel of all
groups; few groups, and weights too many for the cache, whose lanes are a row of pixels.)

Zero padding costs a copy of the input, and a large new array costs more in page faults than in
traffic. It is avoided where that pays: each of a few taps of a depthwise kernel reads through its
own `lax.pad`, which compiles to masked loads. Channels last, some kernels of more taps are summed
so too, a few taps to a loop. A row that many taps read with a stride is brought apart first
(`_columns`).

Source: the definition; for the shape of the loop, J. Zhang, F. Franchetti, T. M. Low, "High
performance zero-memory overhead direct convolutions", ICML 2018, section 4.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _compat
from jaxconv._form import Form, pad_input, window
from jaxconv._methods._base import Method
from jaxconv._methods._columns import column_window, columns
from jaxconv._methods._loop import cut_along, total
from jaxconv._methods._rates import of_loops
from jaxconv._methods._terms import add_up, in_passes, times

# Terms in one fused loop over rows and over channels: what is split into several pays for copies of
# its parts and for passes over the result; more terms leave the cache or, over rows, the registers
# (docs/xla.md). A small sum, where there is one group, is one such loop.
MOST_BY_ROWS, MOST_BY_CHANNELS = 245, 144
# Taps of a 1-D kernel in one loop, where it is split.
ROW = 32
# Bytes of weights that a loop over channels reads at each position: where a group has several
# channels, it takes no more at once, but two channels at least, since a single one is cut out of
# every group with a copy that costs more; one group has no more in all.
CACHED, PAIR, MOST_BYTES = 24 << 10, 2, 32 << 10
# Where weights outgrow CACHED, taps of a depthwise kernel from which on rows are worth two
# transposes, if they have so many positions. Groups of several channels are worth them on JAX 0.12;
# on 0.10 both ways take about the same time.
MANY_TAPS, SHORT = 31, 7
# How often a number of a strided row is read, so that bringing its columns apart pays.
READS = 6.5
# Independent partial sums of masked loads by channels and by rows, of many terms and of fewer, as
# measured (docs/xla.md). Of one or three by channels, XLA's compiler often makes no vectors; why
# was not found.
MASKED_CHAINS, FEW_MASKED_CHAINS, MANY = (5, 4), (2, 1), 7
# Channels of a group: of more, products are faster.
MOST_CHANNELS = 16
# Channels of a 1x1 kernel without groups: of more, a product is.
MOST_OF_ONE_TAP = 4
# Not if so few outputs of each of several groups make a product of a few columns. (Of one group,
# XLA's own products are still faster.)
FEW_OUTPUTS = 2
# Masked loads are cheaper than a padded copy up to so many terms, and with a stride of 2, not of 3.
MASKED_TERMS, MASKED_STRIDE = 9, 2
# By rows, they are for so many outputs a group; by channels each further output asks anew what is
# padding.
MASKED_OUTPUTS = 4
# By channels, a kernel of more terms is taken MASKED_TERMS at a time, in up to so many passes over
# y; at stride 1, if there are no more than so many in one.
MASKED_PASSES, MASKED_ROW = 7, 5
# Channels last, up to this many output channels a transpose to channels first is worth its time.
# Of a depthwise kernel with few taps, only for so many.
FEW, FEW_OF_FEW_TAPS, FEW_TAPS = 16, 2, 16
# Lanes of a vector, and how many of them a number takes that fills none (3x3, 12 and 20 channels
# took 2 and 1.8 times as long a channel as 16 did, AVX2).
LANES, LEFT_OVER = 8, 4
# Multiply-adds a second by rows and by channels, bytes a second, seconds of a call; two AVX-512
# cores.
ROWS_RATE, CHANNELS_RATE, BANDWIDTH, CALL = 20e9, 15e9, 6e9, 5e-5


def pad_rows(x: Array, form: Form, at: int) -> Array:
    """x padded on its spatial axes (from axis `at`), or cropped: copied row by row into zeros.

    XLA compiles `lax.pad` of the innermost axis to a loop that asks at each element.
    """
    size, start = form.dense_input.spatial, [0] * x.ndim
    for axis, (n, (lo, _)) in enumerate(zip(size, form.padding, strict=True), at):
        begin, end = max(0, -lo), min(x.shape[axis], n - lo)
        x = lax.slice_in_dim(x, begin, max(begin, end), axis=axis)
        start[axis] = max(0, lo)
    whole = (*x.shape[:at], *size, *x.shape[at + form.ndim :])
    if x.shape == whole or x.size == 0:
        return x if x.shape == whole else jnp.zeros(whole, x.dtype)
    return lax.dynamic_update_slice(jnp.zeros(whole, x.dtype), x, start)


def masked_window(x: Array, tap: tuple[int, ...], form: Form, at: int) -> Array:
    """What `window` gives, of an x that is not padded: the loop asks what is inside.

    XLA pads first and crops afterwards. Before the stride this is no smaller than x, so that what
    is padded differs from tap to tap: two with the same would share one copy.
    """
    config, reach, strides = [(0, 0, 0)] * x.ndim, list(x.shape), [1] * x.ndim
    places = zip(tap, form.dilation, form.out_spatial, form.strides, form.padding, strict=True)
    for axis, (k, d, out, s, (lo, _)) in enumerate(places, at):
        low, reach[axis], strides[axis] = lo - k * d, (out - 1) * s + 1, s
        config[axis] = (low, max(0, reach[axis] - x.shape[axis]) - low, 0)
    return lax.slice(lax.pad(x, jnp.zeros((), x.dtype), config), [0] * x.ndim, reach, strides)


def _terms(
    x: Array | tuple[Array, ...],
    w: Array,
    form: Form,
    at: int,
    channel: int,
    seen: Callable[..., Array] = window,
) -> list[Array]:
    """The products: each tap and channel of a group's window (`seen` of x) times its weights."""
    *kernel, channels = w.shape[: form.ndim + 1]
    weights = lax.reshape(w, (math.prod(kernel) * channels, *w.shape[form.ndim + 1 :]))
    windows = (seen(x, tap, form, at) for tap in np.ndindex(*kernel))
    parts = [
        lax.slice_in_dim(whole, c, c + 1, axis=channel)
        for whole in windows
        for c in range(channels)
    ]
    return [times(p, lax.index_in_dim(weights, i, keepdims=False)) for i, p in enumerate(parts)]


def masked_terms(form: Form) -> int:
    """How many taps one loop of masked loads adds up: whole rows of them, 0 if one is too long."""
    row = form.taps // form.kernel[0]
    return min(form.kernel[0], MASKED_TERMS // row) * row


def masks(form: Form) -> bool:
    """Whether the padding is read by masked loads.

    A stride must be that of the loop just outside the vectors: of the rows where a vector is part
    of one, else of the columns.
    """
    rows, terms, stride = by_rows(form), masked_terms(form), max(form.strides)
    if form.plain or not form.depthwise or terms == 0:
        return False
    if form.out_channels > (MASKED_OUTPUTS // stride if rows else 1):
        return False
    passes = -(-form.taps // terms)
    if passes > (1 if rows else MASKED_PASSES):
        return False
    if stride == 1:
        return passes == 1 or terms <= MASKED_ROW
    around = form.strides[-2:-1] if rows else form.strides[-1:]
    return around == (stride,) == (MASKED_STRIDE,)


def masked_sum(terms: list[Array], form: Form) -> Array:
    """The sum of masked loads, in so many partial sums as are compiled to vectors."""
    rows = by_rows(form)
    many = len(terms) >= MANY and not (rows and form.ndim == 1)
    return add_up(terms, (MASKED_CHAINS if many else FEW_MASKED_CHAINS)[rows])


def columns_apart(form: Form) -> bool:
    """Whether the columns of rows with a stride are brought apart: each is read often enough."""
    reads = form.taps * form.out_channels / math.prod(form.strides)
    often = (form.groups == 1 or form.depthwise) and reads >= READS
    return often and _at_once(form) and form.strides[-1] > 1 and form.kernel[-1] > 1


def weight_bytes(form: Form) -> int:
    """Bytes of all weights, as they are read."""
    return math.prod(form.w_shape) * form.accumulator.itemsize


def _blocks(form: Form) -> tuple[int, int]:
    """How many taps along the first axis, and channels, one fused loop adds up."""
    rows = by_rows(form)
    most = MOST_BY_ROWS if rows else MOST_BY_CHANNELS
    weights = weight_bytes(form) // form.in_channels

    def fits(channels: int) -> bool:
        free = rows or form.groups == 1 or channels <= PAIR
        cached = free or channels * weights <= CACHED
        return cached and form.taps * channels <= most

    divisors = [c for c in range(1, form.in_channels + 1) if form.in_channels % c == 0]
    channels = max(c for c in divisors if c == 1 or fits(c))
    if form.taps * channels <= most:
        return form.kernel[0], channels
    return (min(form.kernel[0], ROW) if form.ndim == 1 else 1), channels


def _at_once(form: Form) -> bool:
    """Whether one fused loop adds up everything."""
    return _blocks(form) == (form.kernel[0], form.in_channels)


def _total(x: Array, w: Array, form: Form, at: int, channel: int) -> Array:
    """The sum over all taps and channels: one fused loop, or a loop over blocks of them."""
    if _at_once(form):
        return add_up(_terms(x, w, form, at, channel))
    rows, channels = _blocks(form)
    blocks, rest = divmod(form.kernel[0], rows)
    parts = form.in_channels // channels
    step = form.dilation[0]
    reach = (form.out_spatial[0] - 1) * form.strides[0] + 1

    def block(start: Array | int, part: Array | int, rows: int) -> Array:
        size = (rows - 1) * step + reach
        xs = cut_along(cut_along(x, start * step, size, at), part * channels, channels, channel)
        ws = cut_along(cut_along(w, start, rows, 0), part * channels, channels, form.ndim)
        return add_up(_terms(xs, ws, form, at, channel))

    y = total(blocks * parts, lambda i: block(i // parts * rows, i % parts, rows))
    return y + total(parts, lambda i: block(blocks * rows, i, rest)) if rest else y


def _transposes(form: Form) -> bool:
    """Whether x and y, channels last, are transposed: to (C, groups), or to rows of pixels."""
    several = form.groups > 1 and max(form.in_channels, form.out_channels) > 1
    return form.layout == "last" and (several or by_rows(form))


def _summed(sums: Callable[[Array, Array], Array], x: Array, w: Array, form: Form) -> Array:
    """sums(x, w), not in one fusion with a transpose: it would run over the transposed result.

    Small sums too: 64 channels of 14x14 in groups of 2 took half the time so.
    """
    return _compat.apart(sums, x, w) if _transposes(form) else sums(x, w)


def _first(x: Array, w: Array, form: Form) -> Array:
    """Channels first: x as (N, G, C, *S), y as (N, G, O, *S_out); the lanes are a row."""
    ones = (1,) * form.ndim
    x = jnp.moveaxis(x, -1, 1)
    x = x.reshape(form.batch, form.groups, form.in_channels, *form.spatial)
    w = w.reshape(*w.shape, *ones)

    def sums(x: Array, w: Array) -> Array:
        if masks(form):
            return masked_sum(_terms(x, w, form, 3, 2, masked_window), form)
        x = pad_rows(x, form, 3)
        if columns_apart(form):
            return add_up(_terms(columns(x, form.strides[-1]), w, form, 3, 2, column_window))
        return _total(x, w, form, 3, 2)

    y = _summed(sums, x, w, form)
    y = y.reshape(form.batch, form.groups * form.out_channels, *form.out_spatial)
    return jnp.moveaxis(y, 1, -1)


def _by_channel(x: Array, form: Form) -> Array:
    """x (N, *S, G*C) as (N, *S, C, G)."""
    return jnp.swapaxes(x.reshape(*x.shape[:-1], form.groups, form.in_channels), -1, -2)


def _last(x: Array, w: Array, form: Form) -> Array:
    """Channels last: x as (N, *S, C, G), y as (N, *S_out, O, G); the lanes are the groups."""
    if masks(form):
        return _masked(x, w.reshape(form.taps, -1), form)
    x, w = _by_channel(pad_input(x, form), form), jnp.swapaxes(w, -1, -2)
    y = _summed(lambda x, w: _total(x, w, form, 1, 1 + form.ndim), x, w, form)
    return jnp.swapaxes(y, -1, -2).reshape(form.y_shape)


def _masked(x: Array, w: Array, form: Form) -> Array:
    """One output a group: the sum over all taps of masked windows, some at a time."""
    numbered, most = list(enumerate(np.ndindex(*form.kernel))), masked_terms(form)

    def sums(first: int, x: Array, w: Array, *y: Array) -> Array:
        terms = [
            times(masked_window(x, tap, form, 1), lax.index_in_dim(w, i, keepdims=False))
            for i, tap in numbered[first : first + most]
        ]
        return masked_sum([*terms, *y], form)

    if most == form.taps:
        return sums(0, x, w)
    return in_passes(sums, range(0, form.taps, most), x, w)


def forward(x: Array, w: Array, form: Form) -> Array:
    """y = sum over taps and channels of a group of (shifted x) * (weights)."""
    w = w.reshape(*form.kernel, form.in_channels, form.groups, form.out_channels)
    x, w = x.astype(form.accumulator), w.astype(form.accumulator)
    y = _first(x, w, form) if by_rows(form) else _last(x, w, form)
    return y.astype(form.out_dtype)


def by_rows(form: Form) -> bool:
    """Whether the lanes are a row of pixels.

    Channels first; groups too few for the lanes; weights too many for the cache, of which a row
    needs one number at a time.
    """
    little = form.depthwise and form.out_channels == 1 and form.taps <= FEW_TAPS
    most = FEW_OF_FEW_TAPS if little else FEW
    few = form.groups > 1 and form.groups * form.out_channels <= most and form.out_spatial[-1] > FEW
    return form.layout == "first" or few or _outgrows_cache(form)


def _outgrows_cache(form: Form) -> bool:
    """Whether two transposes cost less than weights that are read anew at each position."""
    if form.groups == 1 or weight_bytes(form) <= CACHED or form.out_spatial[-1] < SHORT:
        return False
    if form.depthwise:
        return set(form.strides) == {1} and form.taps >= MANY_TAPS
    return _compat.JAX_VERSION >= (0, 12)


def supports(form: Form) -> str | None:
    """Groups of few channels or a small sum of few weights, an input that is not dilated."""
    if form.groups == 1 and form.taps * form.in_channels > MOST_BY_ROWS:
        return f"takes several groups, or at most {MOST_BY_ROWS} products for an output"
    if form.groups == 1 and not by_rows(form) and weight_bytes(form) > MOST_BYTES:
        return f"takes at most {MOST_BYTES} bytes of weights for one group, channels last"
    if form.groups == form.taps == 1 and form.in_channels > MOST_OF_ONE_TAP:
        return f"takes 1x1 kernels of at most {MOST_OF_ONE_TAP} channels without groups"
    few = form.groups > 1 and form.out_channels <= FEW_OUTPUTS
    if form.in_channels > MOST_CHANNELS and not few:
        return f"takes at most {MOST_CHANNELS} channels a group, here {form.in_channels}"
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    if form.ndim > 1 and math.prod(form.kernel[1:]) > MOST_BY_CHANNELS:
        return f"takes at most {MOST_BY_CHANNELS} taps behind the first axis of the kernel"
    return None


def in_whole_vectors(form: Form) -> Form:
    """`form` with its groups, where they are the lanes, counted by the vectors they fill or not."""
    if form.kind == "weight" or form.groups == 1 or by_rows(form):
        return form
    whole, rest = divmod(form.groups, LANES)
    return dataclasses.replace(form, groups=whole * LANES + rest * LEFT_OVER)


def cost(form: Form) -> float:
    """The multiply-adds, and each array read or written once; the result once for each block.

    Once more where it is transposed, and x where its columns are brought apart.
    """
    rows, channels = _blocks(form)
    passes = -(-form.kernel[0] // rows) * (form.in_channels // channels)
    more = _transposes(form)
    copies = 1 + more + (by_rows(form) and columns_apart(form))
    moved = copies * math.prod(form.x_shape) + (2 * passes - 1 + more) * math.prod(form.y_shape)
    rate = ROWS_RATE if by_rows(form) else CHANNELS_RATE
    return CALL + form.macs / rate + moved * form.dtype.itemsize / BANDWIDTH


METHOD = Method(
    "shifts",
    "few channels a group: a sum over taps of shifted slices times weights",
    supports,
    forward,
    None,
    cost,
    work=in_whole_vectors,
    fastest=of_loops,
)
