"""taps: the weight gradient as one matrix product for each kernel tap.

The weights of a tap are the product of what the tap sees with the gradient of the output, summed
over all positions: (C, P) @ (P, O). Nothing is unfolded, the slices are the only copies.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxconv._form import Form, pad_input, window
from jaxconv._methods._base import Method
from jaxconv._methods._products import product

MOST_TAPS = 64


def weight(x: Array, y: Array, form: Form) -> Array:
    """w[k] = (what tap k sees)^T y."""
    x = pad_input(x, form)
    if form.layout == "first":
        flat = y.reshape(form.batch, -1, form.out_channels).swapaxes(1, 2)
    else:
        flat = y.reshape(-1, form.out_channels)
    found = []
    for tap in np.ndindex(*form.kernel):
        seen = window(x, tap, form)
        if form.layout == "first":
            seen = seen.reshape(form.batch, -1, form.in_channels).swapaxes(1, 2)
            found.append(jnp.einsum("ncp,nop->co", seen, flat, precision=form.precision))
        else:
            seen = seen.reshape(-1, form.in_channels)
            found.append(product(seen, flat, form, transpose_a=True))
    return jnp.stack(found).reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """One group, more than one tap, and a bounded number of them."""
    if form.groups > 1:
        return "takes one group"
    if form.taps == 1:
        return "takes more than one tap"
    if form.taps > MOST_TAPS:
        return f"takes at most {MOST_TAPS} taps"
    return None


def cost(form: Form) -> float:
    """Products at 70 billion multiply-adds a second, and a slice for each tap."""
    macs = form.macs * form.examples
    return form.taps * 2e-5 + macs / 7e10 + macs / form.out_channels * 1e-9


METHOD = Method("taps", "weight gradient: a matrix product a tap", supports, None, weight, cost)
