"""weight_pointwise: the weight gradient of a 1x1 convolution, or of windows that do not overlap.

One product, (K*C, P) @ (P, O) with P the positions: nothing is read twice. Channels first, small
images are gathered to one product, large ones are added up one by one, since moving the batch
behind the channels costs more than the product.

Source: K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for
document processing", 2006, section 3.2 (the gradients of an unrolled convolution).
"""

from __future__ import annotations

import numpy as np
from jax import Array, lax

from jaxconv import _compat
from jaxconv._form import Form
from jaxconv._methods import patches
from jaxconv._methods._base import Method
from jaxconv._methods._products import add_up, over_columns, over_rows, zeros
from jaxconv._methods.pointwise import used

# Positions of an image from which on a product of its own is worth its call.
LARGE = 128
# Entries of the products of all images, up to which JAX 0.12 takes them in one batched product;
# its loops cost more, and 0.10's batched products do.
BATCHED = 1 << 21
# Multiply-adds a second of a wide product and bytes a second of a copy, for JAX 0.10 and 0.12, and
# seconds of a call.
OLD, NEW, CALL = (42e9, 4.3e9), (58e9, 2e9), 1e-4


def weight(x: Array, y: Array, form: Form) -> Array:
    """w = x^T y, summed over all positions."""
    x = used(x, form) if form.taps == 1 else patches.cut(x, form)
    rows, columns = x.shape[-1], form.out_channels
    if form.layout == "last":
        w = over_rows(x.reshape(-1, rows), y.reshape(-1, columns), form.precision)
        return w.reshape(form.w_shape).astype(form.out_dtype)
    x = x.reshape(form.batch, -1, rows).swapaxes(1, 2)
    y = y.reshape(form.batch, -1, columns).swapaxes(1, 2)

    def images(acc: Array, x: Array, y: Array) -> Array:
        x, y = x.swapaxes(0, 1).reshape(rows, -1), y.swapaxes(0, 1).reshape(columns, -1)
        return acc + over_columns(x, y, form.precision)

    if _compat.JAX_VERSION >= (0, 12) and form.batch * rows * columns <= BATCHED:
        sums = (((2,), (2,)), ((0,), (0,)))
        w = lax.dot_general(x, y, sums, precision=form.precision).sum(0)
        return w.reshape(form.w_shape).astype(form.out_dtype)
    size = 1 if x.shape[2] >= LARGE else form.batch
    w = add_up(images, zeros(rows, columns, x), size, x, y)
    return w.reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """One group; one tap or windows that do not overlap."""
    if form.groups > 1:
        return "takes one group"
    return None if form.taps == 1 else patches.supports(form)


def cost(form: Form) -> float:
    """The product, slower where it is narrow, and a copy of what it reads."""
    rows, columns = form.taps * form.in_channels, form.out_channels
    narrow = 1 + 24 / min(rows, columns)
    moved = 0 if form.taps == 1 and set(form.strides) == {1} and form.plain else rows
    if form.layout == "first":
        moved += rows + columns
    product, copy = NEW if _compat.JAX_VERSION >= (0, 12) else OLD
    scale = 2 if form.dtype == np.float64 else 1
    seconds = form.macs * narrow / product + form.positions * moved * 4 / copy
    return form.examples * (seconds * scale + CALL)


METHOD = Method(
    "weight_pointwise",
    "weight gradient of 1x1 or windows that do not overlap: one product over positions",
    supports,
    None,
    weight,
    cost,
)
