"""patches: windows that do not overlap are a reshape, so the convolution is one matrix product.

Kernel = stride, as in the patch embedding of a vision transformer (A. Dosovitskiy et al., "An image
is worth 16x16 words", 2020, section 3.1), or a kernel that sees the whole input. Each dimension is
cut on its own: the last needs no copy, the others move runs of contiguous memory.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, pad_input
from jaxconv._methods._base import Method

# Multiply-adds and copied bytes a second, and the seconds of a call; two cores of an AVX-512
# machine.
PRODUCT, NARROW, COPY, CALL = 140e9, 40e9, 4e9, 15e-6


def cut(x: Array, form: Form) -> Array:
    """x (N, *S, C) as its patches (N, *S_out, prod(K)*C): the taps in row order, then channels."""
    x = pad_input(x, form)
    used = [out * k for out, k in zip(form.out_spatial, form.kernel, strict=True)]
    x = lax.slice(x, [0] * x.ndim, [x.shape[0], *used, x.shape[-1]])
    for dim in reversed(range(form.ndim)):  # (…, out*k, rest…, C) -> (…, out, rest…, k*C)
        axis, out, k = dim + 1, form.out_spatial[dim], form.kernel[dim]
        x = x.reshape(*x.shape[:axis], out, k, *x.shape[axis + 1 :])
        x = jnp.moveaxis(x, axis + 1, -2)
        x = x.reshape(*x.shape[:-2], -1)
    return x


def forward(x: Array, w: Array, form: Form) -> Array:
    """y = patches @ w."""
    patches = cut(x, form).reshape(form.positions, -1)
    w = w.reshape(-1, form.out_channels)
    y = jnp.matmul(patches, w, precision=form.precision)
    return y.reshape(form.y_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """One group, kernel = stride (or a single window), no dilation that matters."""
    if form.groups > 1:
        return "takes one group"
    if any(d > 1 and k > 1 for d, k in zip(form.dilation, form.kernel, strict=True)):
        return "takes no dilation"
    apart = zip(form.kernel, form.strides, form.out_spatial, strict=True)
    if any(k != s and out > 1 for k, s, out in apart):
        return "takes windows that do not overlap: kernel = stride, or a single window"
    return None


def cost(form: Form) -> float:
    """One copy of the input and one product."""
    rate = PRODUCT if min(form.out_channels, form.positions) >= 16 else NARROW
    copied = form.positions * form.taps * form.in_channels * form.dtype.itemsize
    move = 0.0 if form.taps == 1 and form.plain else copied / COPY
    scale = 2 if form.dtype == np.float64 else 1
    return scale * form.macs / rate + move + CALL


METHOD = Method(
    "patches",
    "windows that do not overlap: a reshape and one product",
    supports,
    forward,
    None,
    cost,
)
