"""shift_weight: the weight gradient of groups with few channels, without reductions in the loop.

A sum over all positions into a handful of weights is what XLA does badly: one reduction a tap reads
everything once a tap, on one core, without vectors. Here a loop carries wide accumulators, to which
each step adds products of slices (a fused, vectorised loop of multiply-adds); what is left is
added up once at the end.

  channels last:  an accumulator for each tap and channel of y (*K, O, G), whose lanes are the
      groups. A step takes a run of positions; each adds (the window at the position) * (y there).
      Nothing is left to be added up, but the images.
  channels first: an accumulator for each group, pair of channels, tap and column
      (G, C, O, *K, W). A step takes the rows of an image; each adds (the rows of x under it,
      shifted) * (the row of y). In 1-D the rows are blocks of the signal.

Few channels a group (but more than one) that lie channels last are transposed to channels first,
one channel a group that lies channels first in short rows to channels last.

Source: the partial sums are those of a vectorised dot product (several accumulators, added at the
end), e.g. A. Fog, "Optimizing software in C++", section 12.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import Array, lax

from jaxconv._form import Form
from jaxconv._methods._base import Method
from jaxconv._methods._images import total_padded
from jaxconv._methods._loop import Index, cut
from jaxconv._methods._terms import add_up, every, times
from jaxconv._methods._transposes import channels_first

# Products added up in one fused loop.
MOST_TERMS = 64
# Terms of all loops of a step, which is what the compile time goes with.
MOST_IN_STEP = 448
# Positions of a run, channels last: two pointers each, as many as there are registers for. Rows of
# a run, channels first, where a pointer is good for a row.
RUN, ROWS = 7, 28
# Elements of a block, the row of a 1-D signal that lies channels first.
BLOCK = 64
# Channels first, of depthwise kernels: rows of so many positions fill no vectors, and so many
# groups do; then two transposes are worth it.
SHORT_ROW, LEAST_GROUPS = 8, 16
# Channels of a group (input times output): from here on products are faster.
MOST_PAIRS = 64
# Bytes of an accumulator.
MOST_BYTES = 2**24
# XLA has miscompiled products and sums of a higher rank.
MOST_RANK = 6
# Multiply-adds a second with up to 16 pairs of channels and with more; bytes a second of copies
# and transposes; seconds of a call, and of a step of rows and of positions; two AVX-512 cores.
FEW_RATE, MANY_RATE, BANDWIDTH, TRANSPOSE = 8e9, 4e9, 3e9, 1.5e9
CALL, STEP, SHORT_STEP = 5e-5, 8e-6, 8e-7


def _sweep(
    parts: int, rows: int, most: int, step: Callable[..., tuple[Array, ...]], sums: tuple
) -> tuple[Array, ...]:
    """sums after step(sums, part, start, size) over runs of at most `most` of `rows` rows.

    There are at least two runs: XLA inlines a loop of one, and then fuses the sum into its users.
    """
    runs = max(-(-rows // most), 2 if parts == 1 and rows > 1 else 1)
    size = rows // runs
    runs, rest = divmod(rows, size)
    sums = lax.fori_loop(
        0, parts * runs, lambda i, s: step(s, i // runs, i % runs * size, size), sums
    )
    if rest:
        sums = lax.fori_loop(0, parts, lambda i, s: step(s, i, runs * size, rest), sums)
    return sums


def _unravel(index: Array, sizes: tuple[int, ...]) -> list[Array]:
    """A flat index as one for each of `sizes`, the last fastest."""
    found = []
    for size in reversed(sizes):
        found.insert(0, index % size)
        index = index // size
    return found


def _last(x: Array, y: Array, form: Form) -> Array:
    """One input channel a group, channels last: a (*K, O, G) accumulator, runs of positions.

    Each product reads its own part of x and y: a part cut out for several would be copied at each
    step, and the copies took longer than the products.
    """
    groups, outputs, stride = form.groups, form.out_channels, form.strides
    # No axis of size 1 in y, which the loop reads: XLA would copy it all to give that a stride.
    if outputs > 1:
        y = y.reshape(*y.shape[:-1], groups, outputs).swapaxes(-1, -2)
    y = y.reshape(*y.shape[: form.ndim + 1], outputs * groups)
    reach = [(k - 1) * d + 1 for k, d in zip(form.kernel, form.dilation, strict=True)]
    lead, ones = form.out_spatial[:-1], (1,) * form.ndim
    zeros = jnp.zeros((*form.kernel, outputs, groups), x.dtype)

    def of_image(x: Array, at_x: Index, image: Index) -> Array:
        def step(sums: tuple[Array], part: Array, start: Array, size: int) -> tuple[Array]:
            at, terms = _unravel(part, lead), []
            for place in range(size):
                here = (*at, start + place)
                begin = [i * s for i, s in zip(here, stride, strict=True)]
                seen = cut(x, (at_x, *begin, 0), (1, *reach, groups))
                seen = lax.reshape(every(seen, (*form.dilation, 1)), (*form.kernel, 1, groups))
                other = cut(y, (image, *here, 0), (1, *ones, y.shape[-1]))
                terms.append(times(seen, lax.reshape(other, (*ones, outputs, groups))))
            return (sums[0] + add_up(terms),)

        return _sweep(math.prod(lead), form.out_spatial[-1], RUN, step, (zeros,))[0]

    # A sum for each image: one accumulator for all would round too often.
    return jnp.swapaxes(total_padded(x, form, of_image), -1, -2)


def _first(x: Array, y: Array, form: Form) -> Array:
    """Channels first: for each column tap (G, C, O, *K[:-1], W) accumulators, runs of rows."""
    n, ndim, stride, width = form.batch, form.ndim, form.strides, form.out_spatial[-1]
    channels = (form.in_channels, form.out_channels)
    pairs = tuple(c for c in channels if c > 1)
    x = channels_first(x, form)
    y = jnp.moveaxis(y, -1, 1)
    # What the loop reads has no axis of size 1; a part of it gets those that it needs.
    inputs = (form.groups, *(c if i == 0 else 1 for i, c in enumerate(channels) if c > 1))
    outputs = (form.groups, *(c if i == 1 else 1 for i, c in enumerate(channels) if c > 1))
    columns = [k * form.dilation[-1] for k in range(form.kernel[-1])]
    most = run_of(form)
    thinned = (*form.dilation[:-1], stride[-1])
    span = (width - 1) * stride[-1] + 1

    def of_image(a: Array, image: Array, begin: list, size: list) -> Array:
        seen = cut(a, (image, 0, *begin), (1, a.shape[1], *size))
        return lax.reshape(seen, (*(inputs if a is x else outputs), *size))

    def across(a: Array, column: int, size: int) -> Array:
        return lax.slice_in_dim(
            a, column, column + (size - 1) * stride[-1] + 1, stride[-1], axis=-1
        )

    if ndim == 1:
        block = min(BLOCK, width)

        def step(sums: tuple, image: Array, start: Array, size: int) -> tuple:
            run = (size * block - 1) * stride[0] + columns[-1] + 1
            xs = of_image(x, image, [start * block * stride[0]], [run])
            ys = of_image(y, image, [start * block], [size * block])

            def blocks(a: Array) -> Sequence[Array]:
                return lax.split(a, (block,) * size, a.ndim - 1)

            others = blocks(ys)
            return tuple(
                total + add_up(list(map(times, blocks(across(xs, c, size * block)), others)))
                for total, c in zip(sums, columns, strict=True)
            )

        zeros = jnp.zeros((form.groups, *pairs, block), x.dtype)
        sums = _sweep(n, width // block, most, step, (zeros,) * len(columns))
        rest = width % block
        tails = [0.0] * len(columns)
        if rest:
            begin = (width - rest) * stride[0]
            x_end = x.reshape(n, *inputs, -1)
            y_end = y.reshape(n, *outputs, -1)[..., width - rest :]
            tails = [jnp.sum(across(x_end, begin + c, rest) * y_end, axis=(0, -1)) for c in columns]
    else:
        *outer, rows = form.out_spatial[:-1]
        reach = [(k - 1) * d + 1 for k, d in zip(form.kernel, form.dilation, strict=True)][:-1]

        def step_of_rows(sums: tuple, part: Array, start: Array, size: int) -> tuple:
            image, *at = _unravel(part, (n, *outer))
            added = []
            for total, c in zip(sums, columns, strict=True):
                terms = []
                for row in range(size):
                    here = (*at, start + row)
                    begin = [i * s for i, s in zip(here, stride[:-1], strict=True)]
                    seen = of_image(x, image, [*begin, c], [*reach, span])
                    other = of_image(y, image, [*here, 0], [*(1 for _ in here), width])
                    terms.append(times(every(seen, thinned), other))
                added.append(total + add_up(terms))
            return tuple(added)

        zeros = jnp.zeros((form.groups, *pairs, *form.kernel[:-1], width), x.dtype)
        sums = _sweep(
            n * math.prod(outer), rows, min(most, ROWS), step_of_rows, (zeros,) * len(columns)
        )
        tails = [0.0] * len(columns)
    found = [jnp.sum(s, axis=-1) + t for s, t in zip(sums, tails, strict=True)]
    w = jnp.stack(found, -1).reshape(form.groups, form.in_channels, form.out_channels, *form.kernel)
    return jnp.moveaxis(w, (0, 1, 2), (-2, -3, -1))


def run_of(form: Form) -> int:
    """How many rows (1-D: blocks) a step takes, channels first."""
    most = max(1, min(MOST_TERMS, MOST_IN_STEP // form.kernel[-1]))
    return most if form.ndim == 1 else min(most, ROWS)


def by_rows(form: Form) -> bool:
    """Whether the channels-first way is taken: not for long 1-D kernels, nor for short rows."""
    if form.in_channels > 1:
        return True
    if form.ndim == 1:
        rows = form.taps <= 8
    else:
        rows = form.out_spatial[-1] > SHORT_ROW or form.groups < LEAST_GROUPS
    return form.layout == "first" and rows


def weight(x: Array, y: Array, form: Form) -> Array:
    """w[tap] = the sum over positions of (shifted x) * y."""
    x, y = x.astype(form.accumulator), y.astype(form.accumulator)
    w = _first(x, y, form) if by_rows(form) else _last(x, y, form)
    return w.reshape(form.w_shape).astype(form.out_dtype)


def accumulators(form: Form) -> int:
    """How many numbers the loop carries."""
    if not by_rows(form):
        return math.prod(form.w_shape)
    width = min(BLOCK, form.out_spatial[-1]) if form.ndim == 1 else form.out_spatial[-1]
    return math.prod(form.w_shape) * width


def supports(form: Form) -> str | None:
    """Groups of few channels, an input that is not dilated, accumulators that fit."""
    if form.groups == 1:
        return "takes several groups"
    if form.in_channels * form.out_channels > MOST_PAIRS:
        return f"takes at most {MOST_PAIRS} pairs of channels a group"
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    if form.kernel[-1] > MOST_TERMS and by_rows(form):
        return f"takes at most {MOST_TERMS} taps in a row"
    if accumulators(form) * form.accumulator.itemsize > MOST_BYTES:
        return f"takes accumulators of at most {MOST_BYTES} bytes"
    pairs = (form.in_channels > 1) + (form.out_channels > 1)
    rank = form.ndim + (1 + pairs if by_rows(form) else 2 + (form.out_channels > 1))
    if rank + (form.examples > 1) > MOST_RANK:
        return "takes no examples of so many dimensions"
    return None


def cost(form: Form) -> float:
    """The multiply-adds, a pass over x and y, a transpose if there is one, and the loop's steps."""
    moved = (math.prod(form.x_shape) + math.prod(form.y_shape)) * form.accumulator.itemsize
    if by_rows(form):
        width = form.out_spatial[-1]
        rows = -(-width // BLOCK) if form.ndim == 1 else form.out_spatial[-2]
        parts = form.batch * math.prod(form.out_spatial[:-2])
        looped = parts * -(-rows // run_of(form)) * form.kernel[-1] * STEP
    else:
        width = form.out_spatial[-1]
        looped = form.positions // width * -(-width // RUN) * SHORT_STEP
    pairs = form.in_channels * form.out_channels
    seconds = CALL + looped + form.macs / (FEW_RATE if pairs <= 16 else MANY_RATE)
    transposes = by_rows(form) == (form.layout == "last")
    seconds += moved / BANDWIDTH + (moved / TRANSPOSE if transposes else 0.0)
    return seconds * form.examples


METHOD = Method(
    "shift_weight",
    "weight gradient of few channels a group: wide accumulators in a loop",
    supports,
    None,
    weight,
    cost,
)
