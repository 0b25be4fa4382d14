"""group_products: grouped convolutions as one batched matrix product over the groups.

The patches of one image, (G, K*C, P) with P its positions, times (G, O, K*C) for the forward form, or times y,
(G, O, P), for the weight gradient. XLA runs a batched product group by group at a good rate once the
matrices lie so that P is contiguous, and a loop over the images keeps the patches small.

Source: K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for
document processing", 2006, for the patches; the groups are the batch of the product.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form
from jaxconv._methods._base import Method
from jaxconv._methods.shifts import pad_rows, window

MOST_TAPS = 64
# Bytes of one image's patches.
MOST_BYTES = 2**26


def _patches(x: Array, form: Form) -> Array:
    """Padded x of one image (G, C, *S) -> (G, K*C, P)."""
    seen = [window(x, tap, form, 2) for tap in np.ndindex(*form.kernel)]
    return jnp.stack(seen, 1).reshape(form.groups, form.taps * form.in_channels, -1)


def _images(x: Array, form: Form) -> Array:
    """x channels first, padded: (N, G, C, *S)."""
    x = pad_rows(jnp.moveaxis(x, -1, 1), form, 2)
    return x.reshape(form.batch, form.groups, form.in_channels, *x.shape[2:])


def weight(x: Array, y: Array, form: Form) -> Array:
    """w = sum over images of patches @ y^T."""
    x = _images(x.astype(form.accumulator), form)
    y = jnp.moveaxis(y.astype(form.accumulator), -1, 1)
    y = y.reshape(form.batch, form.groups, form.out_channels, -1)

    def add(i: Array, w: Array) -> Array:
        xs = lax.dynamic_index_in_dim(x, i, 0, keepdims=False)
        ys = lax.dynamic_index_in_dim(y, i, 0, keepdims=False)
        return w + jnp.einsum("gkp,gop->gko", _patches(xs, form), ys, precision=form.precision)

    shape = (form.groups, form.taps * form.in_channels, form.out_channels)
    w = lax.fori_loop(0, form.batch, add, jnp.zeros(shape, x.dtype))
    w = jnp.moveaxis(w, 0, 1)  # (K*C, G, O)
    return w.reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """Groups of several channels, an input that is not dilated, patches that fit."""
    if form.groups == 1:
        return "takes several groups"
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    if form.taps > MOST_TAPS:
        return f"takes at most {MOST_TAPS} taps"
    size = form.groups * form.in_channels * form.taps * math.prod(form.out_spatial)
    if size * form.accumulator.itemsize > MOST_BYTES:
        return f"takes patches of at most {MOST_BYTES} bytes"
    return None


def cost(form: Form) -> float:
    return 1e-5 + form.macs / 1e10


METHOD = Method(
    "group_products",
    "weight gradient of groups: patches, one batched product",
    supports,
    None,
    weight,
    cost,
)
