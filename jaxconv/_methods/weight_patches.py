"""weight_patches: the weight gradient as products of transposed patches, a block at a time.

A block of positions is unfolded channels first, (K*C, P), one dimension after the other, so that
each copy moves long contiguous runs: k[0] + k[1] copies, not k[0] * k[1]. The product with the
output's gradient (P, O) then has both operands as XLA's product likes them. A block is so many
images, or rows of one image, as keep the patches in the cache, and the loop over the blocks reuses
their memory. Where y has fewer channels than x it is y that is unfolded: the same sum with x and y
in each other's place.

A weight that lies as PyTorch's do, (O, C, *K), and is larger than x and y together, is made in that
order from y^T (O, P) and patches (P, C*K), if these are few: to transpose it takes longer.

Source: K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for
document processing", 2006, section 3.2; the order of the copies is our own.
"""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _compat
from jaxconv._form import Form, may_turn, turned_back, turned_form
from jaxconv._methods._base import Method
from jaxconv._methods._loop import accumulate, cut_along, even_part
from jaxconv._methods._products import product
from jaxconv._methods._transposes import apart_if_large

# Entries of a block of patches: 8 MiB of float32, in the last cache.
BLOCK = 2 << 20
# Multiply-adds, bytes of patches and bytes moved a second, and seconds of a step of the loop, for
# JAX 0.10 and 0.12; seconds of a call.
OLD, NEW, CALL = (37e9, 47e9, 2.3e9, 2e-5), (62e9, 82e9, 1.2e9, 4e-4), 1e-4
# What it must be estimated to gain: the estimates err by more, and lax is the norm.
CAUTION = 1.15
# Patches for a weight that is made in place, at most, in sizes of the weight.
PATCHES = 4


def blocks(form: Form) -> tuple[int, int]:
    """(images, rows) of a block; without a rest where possible, which would be compiled too."""
    rows = form.out_spatial[0]
    row = form.taps * form.in_channels * math.prod(form.out_spatial[1:])
    if row * rows <= BLOCK:
        return even_part(form.batch, BLOCK // (row * rows)), rows
    return 1, even_part(rows, BLOCK // row)


def in_place(form: Form) -> bool:
    """Whether w is made in the order in which it lies, (O, C, *K): see the module."""
    return form.like_pytorch and form.heavy and form.positions <= PATCHES * form.out_channels


def turns(form: Form) -> bool:
    """Whether to unfold y, of fewer channels, and not x."""
    fewer = 2 * form.out_channels <= form.in_channels
    return fewer and may_turn(form) and not in_place(form)


def along(x: Array, dim: int, size: int, form: Form) -> Array:
    """The windows of x (C, N, *S) along one dimension as channels; taps first, in place last."""
    k, s, d = form.kernel[dim], form.strides[dim], form.dilation[dim]
    seen = [lax.slice_in_dim(x, j * d, j * d + (size - 1) * s + 1, s, dim + 2) for j in range(k)]
    if in_place(form):
        return jnp.stack(seen, 1).reshape(-1, *seen[0].shape[1:])
    return jnp.concatenate(seen) if k > 1 else seen[0]


def unfold(x: Array, out: tuple[int, ...], form: Form) -> Array:
    """x (C, N, *S) as (K*C, N*P), the taps of the last dimension outermost; in place (C*K, N*P)."""
    # What is not padded comes from a transpose, and would be read through it once for each tap.
    first = next(dim for dim, k in enumerate(form.kernel) if k > 1) if form.plain else None
    for dim, size in enumerate(out):
        windows = functools.partial(along, dim=dim, size=size, form=form)
        x = _compat.apart(windows, x) if dim == first else windows(x)
        # Fused into one loop, the copies would not be of contiguous runs.
        x = lax.optimization_barrier(x)
    return x.reshape(x.shape[0], -1)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w = patches^T y, summed over the blocks."""
    if turns(form):
        turned = turned_form(form)
        return turned_back(weight(y, x, turned), turned)
    images, rows = blocks(form)
    stride, reach = form.strides[0], (form.kernel[0] - 1) * form.dilation[0] + 1
    pads = [(lo, hi, d - 1) for (lo, hi), d in zip(form.padding, form.lhs_dilation, strict=True)]

    def padded(x: Array) -> Array:
        return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0)] * 2 + pads)

    def part(acc: Array, x: Array, y: Array, start: Array | int, rows: int) -> Array:
        x = cut_along(x, start * stride, (rows - 1) * stride + reach, 2)
        y = cut_along(y, start, rows, 1)
        x = unfold(x, (rows, *form.out_spatial[1:]), form)
        y = y.reshape(-1, form.out_channels)
        if in_place(form):
            return acc + product(y, x, form, transpose_a=True, transpose_b=True)
        return acc + product(x, y, form)

    def block(acc: Array, x: Array, y: Array) -> Array:
        x = jnp.moveaxis(x, -1, 0)
        # In the body of a loop XLA has no tiles for a transpose, padded or not.
        x = apart_if_large(padded, x) if x.shape[1] == form.batch and not form.plain else padded(x)
        x = lax.optimization_barrier(x)
        whole, rest = divmod(form.out_spatial[0], rows)
        if whole > 1:
            acc = lax.fori_loop(0, whole, lambda i, acc: part(acc, x, y, i * rows, rows), acc)
        else:
            acc = part(acc, x, y, 0, rows)
        return part(acc, x, y, whole * rows, rest) if rest else acc

    shape = (form.taps * form.in_channels, form.out_channels)
    acc = jnp.zeros(shape[::-1] if in_place(form) else shape, x.dtype)
    w = accumulate(block, acc, images, x, y)
    if in_place(form):
        w = w.reshape(form.out_channels, form.in_channels, *form.kernel)
        return jnp.moveaxis(w, (0, 1), (-1, -2)).astype(form.out_dtype)
    w = w.reshape(*form.kernel[::-1], form.in_channels, form.out_channels)
    dims = range(form.ndim)
    w = w.transpose(*reversed(dims), form.ndim, form.ndim + 1)
    return w.astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """One group, more than one tap, and patches of one row within the memory allowed."""
    if form.groups > 1:
        return "takes one group"
    if form.taps == 1:
        return "takes more than one tap"
    if form.taps > 1024 or max(form.kernel) > 64:
        return "takes at most 1024 taps, 64 a dimension"
    return None


def cost(form: Form) -> float:
    """The product, the copies of the patches, one of the input, and the loop's steps."""
    form = turned_form(form) if turns(form) else form
    images, rows = blocks(form)
    patch, columns = form.taps * form.in_channels, form.out_channels
    steps = math.ceil(form.batch / images) * math.ceil(form.out_spatial[0] / rows)
    narrow = 1 + 16 / min(patch, columns)
    size = form.dtype.itemsize
    moved = math.prod(form.x_shape) + (math.prod(form.y_shape) if form.layout == "first" else 0)
    product, patches, move, step = NEW if _compat.JAX_VERSION >= (0, 12) else OLD
    seconds = form.macs * narrow / product * (2 if form.dtype == np.float64 else 1)
    seconds += form.positions * patch * size / patches + moved * size / move + steps * step
    # Each step adds to the whole accumulator.
    seconds += steps * 3 * patch * columns * size / 100e9
    return form.examples * CAUTION * (seconds + CALL)


METHOD = Method(
    "weight_patches",
    "weight gradient: products of transposed patches, a cache-sized block at a time",
    supports,
    None,
    weight,
    cost,
)
