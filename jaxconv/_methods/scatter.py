"""scatter: one product for all taps, then each input position is added where its taps send it.

Read the other way round, y[p] = sum_k xd[p + k d - lo] w[k] says that the input position i sends
x[i] w[k] to the output at i L - k d + lo. All the x[i] w[k] together are one product,
(positions of x, C) @ (C, K*O), with no zero multiplied however large the dilation L of x is; the
rest is a sum of shifted slices. Outputs with the same remainder by L (a phase) receive the same
taps:

    y[L m + r] = sum of z[m + (r + k d - lo)/L, k] over the taps k for which that is an integer.

It suits transposed convolutions and input gradients of strided ones, and few output channels.
Where no output receives more than one tap (kernel <= L), there is nothing to add: a product and a
reshape.

Source: col2im in Caffe's deconvolution layer, Y. Jia et al., 2014; overlap-add of a transposed
convolution, V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _compat
from jaxconv._form import Form
from jaxconv._methods._base import Method
from jaxconv._methods._products import of_few_rows, product
from jaxconv._methods._rates import by_inputs
from jaxconv._methods._transposes import MANY_TERMS

# Multiply-adds a second of the product, bytes a second of the sums, seconds of a phase and a call.
PRODUCT, NARROW, SUM, PHASE, CALL = 130e9, 40e9, 5e9, 3e-6, 3e-5
# Each tap is traced on its own, each phase compiled on its own.
MOST_TAPS, MOST_PHASES = 128, 64
# How many times the products of the direct sum it may take: those of outputs that are cut off.
MOST_WASTE = 2
# Entries that may lie between product and sums, beyond 1.5 times the arrays.
SPARE = 6 << 20
# Channels first, an example is worth a step of a loop, which saves transposing it, from this many
# entries on.
WORTH_A_STEP = 1 << 16

# A weight is heavy if it has more entries, each counted so many times, than x and the product.
HEAVY = 1.5

Term = tuple[int, int]


def terms(form: Form, dim: int) -> list[list[Term]]:
    """For each phase of a dimension: its taps k, and the shift of x that each reads."""
    step, d, lo = form.lhs_dilation[dim], form.dilation[dim], form.padding[dim][0]
    return [
        [
            (k, (r + k * d - lo) // step)
            for k in range(form.kernel[dim])
            if (r + k * d - lo) % step == 0
        ]
        for r in range(min(step, form.out_spatial[dim]))
    ]


def disjoint(form: Form) -> bool:
    """Whether each output receives one tap at most."""
    pairs = zip(form.kernel, form.lhs_dilation, form.dilation, strict=True)
    return all(k == 1 or (k <= step and d == 1) for k, step, d in pairs)


def forward(x: Array, w: Array, form: Form) -> Array:
    """y: the product, then the sums, in the layout that x has in memory."""
    if one_product(form):
        z = products(x.reshape(-1, form.in_channels), w, form)
        z = z.reshape(form.batch, *form.spatial, -1)
        y = spread(z, form) if disjoint(form) else overlap_add(z, form)
    else:
        y = by_example(x, w, form)
    return y.astype(form.out_dtype)


def products(x: Array, w: Array, form: Form) -> Array:
    """x (P, C) times w for all taps: (P, K*O), in groups of a tap; w moved as little as it may."""
    if not stays(form):
        return product(x, jnp.moveaxis(w, -2, 0).reshape(form.in_channels, -1), form)
    if form.outputs_first:  # (*K, O, C) in memory
        return of_few_rows(x, jnp.swapaxes(w, -1, -2).reshape(-1, form.in_channels), form)
    w = jnp.moveaxis(w, (-2, -1), (0, 1)).reshape(form.in_channels, -1)
    # The barrier keeps XLA from moving the weight for the product's sake.
    z = lax.optimization_barrier(product(x, w, form))
    z = jnp.swapaxes(z.reshape(-1, form.out_channels, form.taps), 1, 2)
    return z.reshape(z.shape[0], -1)


def by_example(x: Array, w: Array, form: Form) -> Array:
    """Channels first: (K*O, C) @ (C, positions) for each example, with nothing transposed."""
    w = jnp.moveaxis(w, -2, -1).reshape(-1, form.in_channels)

    def one(x: Array) -> Array:  # (C, *S) -> (O, *S_out)
        z = product(w, x.reshape(form.in_channels, -1), form)
        if disjoint(form):
            z = jnp.moveaxis(z.reshape(-1, *form.spatial), 0, -1)
            return jnp.moveaxis(spread(z[None], form)[0], -1, 0)
        z = z.reshape(form.taps, form.out_channels, *form.spatial)
        return assemble(lambda k: lax.index_in_dim(z, k, keepdims=False), 1, form)

    x = jnp.moveaxis(x, -1, 1)
    y = one(x[0])[None] if form.batch == 1 else lax.map(one, x)
    return jnp.moveaxis(y, 1, -1)


def overlap_add(z: Array, form: Form) -> Array:
    """z (N, *S, K*O) -> y."""
    o = form.out_channels
    return assemble(lambda k: lax.slice_in_dim(z, k * o, (k + 1) * o, axis=-1), 1, form)


def assemble(tap: Callable[[int], Array], first: int, form: Form) -> Array:
    """The phases' sums of `tap(k)`, interleaved; spatial dimensions begin at axis `first`."""
    plans = [terms(form, dim) for dim in range(form.ndim)]
    sizes = [-(-out // len(plan)) for out, plan in zip(form.out_spatial, plans, strict=True)]

    def phase(chosen: tuple[list[Term], ...]) -> Array:
        total = None
        for number, shifts in combined(chosen, form.kernel):
            z = tap(number)
            config = [(0, 0, 0)] * z.ndim
            for dim, (shift, size) in enumerate(zip(shifts, sizes, strict=True)):
                config[first + dim] = (-shift, size + shift - form.spatial[dim], 0)
            moved = lax.pad(z, jnp.zeros((), z.dtype), config)
            total = moved if total is None else lax.add(total, moved)
        if total is None:
            like = tap(0)
            shape = list(like.shape)
            shape[first : first + form.ndim] = sizes
            total = jnp.zeros(shape, like.dtype)
        return total

    def build(chosen: tuple[list[Term], ...]) -> Array:
        dim = len(chosen)
        if dim == form.ndim:
            many = math.prod(len(plan) for plan in chosen) >= MANY_TERMS
            if form.layout == "first" and many:  # see MANY_TERMS
                return _compat.apart(lambda: phase(chosen))
            return phase(chosen)
        parts = [build((*chosen, plan)) for plan in plans[dim]]
        return interleaved(parts, first + dim, form.out_spatial[dim])

    return build(())


def combined(
    chosen: tuple[list[Term], ...], kernel: tuple[int, ...]
) -> Iterator[tuple[int, list[int]]]:
    """The taps of a phase: their number in row order, and their shifts."""
    for index in np.ndindex(*(len(plan) for plan in chosen)):
        picked = [plan[i] for plan, i in zip(chosen, index, strict=True)]
        number = 0
        for (k, _), size in zip(picked, kernel, strict=True):
            number = number * size + k
        yield number, [shift for _, shift in picked]


def interleaved(parts: list[Array], axis: int, size: int) -> Array:
    """parts[r] at every position m * len(parts) + r of an axis, cut to `size`."""
    if len(parts) == 1:
        return parts[0]
    y = jnp.stack(parts, axis + 1)
    y = y.reshape(*y.shape[:axis], -1, *y.shape[axis + 2 :])
    return lax.slice_in_dim(y, 0, size, axis=axis)


def spread(z: Array, form: Form) -> Array:
    """z (N, *S, K*O) -> y where taps never meet: each tap to its own place, zeros between."""
    batch = z.shape[0]
    z = z.reshape(batch, *form.spatial, *form.kernel, form.out_channels)
    z = jnp.flip(z, [form.ndim + 1 + dim for dim in range(form.ndim) if form.kernel[dim] > 1])
    # One dimension after the other keeps the rank low: (S_1, .., S_n, K_n, O) -> (.., S_n*K_n, O).
    z = z.reshape(batch, *form.spatial, -1)
    for dim in range(form.ndim):
        axis, k, step, n = 1 + dim, form.kernel[dim], form.lhs_dilation[dim], form.spatial[dim]
        if step > 1:
            z = z.reshape(*z.shape[:-1], k, -1)
            config = [(0, 0, 0)] * z.ndim
            config[-2] = (0, step - k, 0)
            z = jnp.moveaxis(lax.pad(z, jnp.zeros((), z.dtype), config), -2, axis + 1)
            z = z.reshape(*z.shape[:axis], n * step, *z.shape[axis + 2 :])
        # Position 0 is where the last tap of the first input goes.
        start = k - 1 - form.padding[dim][0]
        config = [(0, 0, 0)] * z.ndim
        config[axis] = (-start, form.out_spatial[dim] + start - z.shape[axis], 0)
        z = lax.pad(z, jnp.zeros((), z.dtype), config)
    return z


def entries(form: Form) -> int:
    """Entries of the product: positions of x times taps times output channels."""
    return form.batch * math.prod(form.spatial) * form.taps * form.out_channels


def one_product(form: Form) -> bool:
    """Whether the batch is taken at once, or else example by example."""
    largest = max(entries(form), math.prod(form.x_shape), math.prod(form.y_shape))
    small = largest // form.batch < WORTH_A_STEP
    return form.layout == "last" or small or stays(form)


def stays(form: Form) -> bool:
    """Whether the weight is multiplied as it lies, (C, O, *K) or (*K, O, C): if it is heavy.

    It is x and the product that are moved then, if anything.
    """
    heavy = HEAVY * math.prod(form.w_shape) > math.prod(form.x_shape) + entries(form)
    return heavy and form.outputs_within


def supports(form: Form) -> str | None:
    """One group, stride 1, a bounded number of taps (unless they never meet) and of entries."""
    if form.groups > 1:
        return "takes one group"
    if form.taps == 1 and max(form.lhs_dilation) == 1:
        return "takes more than one tap, or a dilated input"
    if max(form.strides) > 1:
        return "takes stride 1"
    if not disjoint(form):
        if form.taps > MOST_TAPS:
            return f"takes at most {MOST_TAPS} taps, here {form.taps}"
        if math.prod(form.lhs_dilation) > MOST_PHASES:
            return f"takes at most {MOST_PHASES} phases"
    if entries(form) * form.in_channels > MOST_WASTE * form.macs:
        return "most of its products would be for outputs that are cut off"
    arrays = sum(math.prod(shape) for shape in (form.x_shape, form.w_shape, form.y_shape))
    held = entries(form) if one_product(form) else entries(form) // form.batch
    if held > 1.5 * arrays + SPARE:
        return "its product would take too much memory"
    return None


def cost(form: Form) -> float:
    """One product, its entries written and read, the result written."""
    rate = PRODUCT if min(form.in_channels, form.taps * form.out_channels) >= 16 else NARROW
    macs = entries(form) * form.in_channels
    moved = (2 * entries(form) + 2 * math.prod(form.y_shape)) * form.dtype.itemsize
    phases = math.prod(form.lhs_dilation) * PHASE
    return macs / rate + moved / SUM + phases + CALL


METHOD = Method(
    "scatter",
    "one product for all taps, added up where each tap goes",
    supports,
    forward,
    None,
    cost,
    fastest=by_inputs,
)
