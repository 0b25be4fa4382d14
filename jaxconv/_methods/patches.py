"""patches: windows that do not overlap are a reshape, so the convolution is one matrix product.

Kernel = stride, as in the patch embedding of a vision transformer (A. Dosovitskiy et al., "An image
is worth 16x16 words", 2020, section 3.1), or a kernel that sees the whole input. Each dimension is
cut on its own: the last needs no copy, the others move runs of contiguous memory. Channels first,
they stay before the taps, as in PyTorch's weight, which is multiplied as it lies; where that is
small, the patches of each image are multiplied by themselves, as in `pointwise`. The weight
gradient is the product of the same patches with y.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, pad_input
from jaxconv._methods._base import Method
from jaxconv._methods._products import of_few_rows, over_rows, product
from jaxconv._methods.pointwise import (
    by_images,
    forward_of_images,
    small_weight,
    weight_of_images,
)

# Multiply-adds and copied bytes a second, and the seconds of a call; two cores of an AVX-512
# machine.
PRODUCT, NARROW, COPY, CALL = 140e9, 40e9, 4e9, 15e-6


def covered(x: Array, form: Form) -> Array:
    """What the windows cover of the padded x: (N, *(S_out * K), C)."""
    x = pad_input(x, form)
    sizes = [out * k for out, k in zip(form.out_spatial, form.kernel, strict=True)]
    return lax.slice(x, [0] * x.ndim, [x.shape[0], *sizes, x.shape[-1]])


def cut(x: Array, form: Form) -> Array:
    """x (N, *S, C) as its patches (N, *S_out, prod(K)*C): the taps in row order, then channels."""
    x = covered(x, form)
    for dim in reversed(range(form.ndim)):  # (…, out*k, rest…, C) -> (…, out, rest…, k*C)
        axis, out, k = dim + 1, form.out_spatial[dim], form.kernel[dim]
        x = x.reshape(*x.shape[:axis], out, k, *x.shape[axis + 1 :])
        x = jnp.moveaxis(x, axis + 1, -2)
        x = x.reshape(*x.shape[:-2], -1)
    return x


def cut_first(x: Array, form: Form, *, rows: bool = False) -> Array:
    """The same where channels lie first, the channels before the taps: (N, C*prod(K), P).

    As rows, (N*P, C*prod(K)): a row of a window is copied at once.
    """
    x = jnp.moveaxis(covered(x, form), -1, 1)
    pairs = [n for pair in zip(form.out_spatial, form.kernel, strict=True) for n in pair]
    x = x.reshape(form.batch, form.in_channels, *pairs)
    places, taps = range(2, x.ndim, 2), range(3, x.ndim, 2)
    if rows:
        return x.transpose(0, *places, 1, *taps).reshape(form.positions, -1)
    return x.transpose(0, 1, *taps, *places).reshape(
        form.batch, form.in_channels * form.taps, form.positions // form.batch
    )


def channels_before_taps(form: Form) -> bool:
    """Whether the patches are cut as x lies, channels first, in an order of rank up to 6."""
    return form.layout == "first" and form.ndim <= 2


def image_by_image(form: Form) -> bool:
    """Whether each image is a product of its own: channels first, a small weight, rank up to 6."""
    return channels_before_taps(form) and small_weight(form)


def forward(x: Array, w: Array, form: Form) -> Array:
    """y = patches @ w."""
    if channels_before_taps(form):
        # Moved right beside the transpose that brought it here, so that the two cancel.
        by_output = jnp.moveaxis(w, (-1, -2), (0, 1)).reshape(form.out_channels, -1)
        if form.positions == form.batch:
            y = of_few_rows(cut_first(x, form)[..., 0], by_output, form)
        elif image_by_image(form):
            y = forward_of_images(cut_first(x, form), by_output[None], form)
        elif form.like_pytorch:
            y = product(cut_first(x, form, rows=True), by_output, form, transpose_b=True)
        else:
            w = jnp.moveaxis(w, -2, 0).reshape(-1, form.out_channels)
            y = product(cut_first(x, form, rows=True), w, form)
    else:
        patches, w = cut(x, form).reshape(form.positions, -1), w.reshape(-1, form.out_channels)
        y = product(patches, w, form)
    return y.reshape(form.y_shape).astype(form.out_dtype)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w = patches^T @ y."""
    if image_by_image(form):
        w = weight_of_images(cut_first(x, form), by_images(y), form)
        w = w.reshape(form.in_channels, form.taps, -1).swapaxes(0, 1)
    elif channels_before_taps(form):
        x, y = cut_first(x, form, rows=True), y.reshape(form.positions, -1)
        if form.like_pytorch:
            w = over_rows(y, x, form).reshape(form.out_channels, form.in_channels, -1)
            w = jnp.moveaxis(w, (0, 1), (-1, -2))
        else:
            w = over_rows(x, y, form).reshape(form.in_channels, form.taps, -1).swapaxes(0, 1)
    else:
        patches = cut(x, form).reshape(form.positions, -1)
        w = over_rows(patches, y.reshape(form.positions, -1), form)
    return w.reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """One group, kernel = stride (or a single window), no dilation that matters."""
    if form.groups > 1:
        return "takes one group"
    if form.taps == 1:
        return "takes more than one tap"
    if any(d > 1 and k > 1 for d, k in zip(form.dilation, form.kernel, strict=True)):
        return "takes no dilation"
    if form.kind == "forward" and max(form.lhs_dilation) > 1:
        return "takes no dilated input: its product would be with zeros"
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
    return (scale * form.macs / rate + move + CALL) * form.examples


METHOD = Method(
    "patches",
    "windows that do not overlap: a reshape and one product",
    supports,
    forward,
    weight,
    cost,
)
