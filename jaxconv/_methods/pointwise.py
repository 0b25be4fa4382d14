"""pointwise: a 1x1 convolution is a matrix product over positions.

Source: M. Lin, Q. Chen, S. Yan, "Network in network", 2013, section 3.1. With a stride, the
positions that are used are cut out first. Channels first stays so: a product for each example,
with no transpose.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from jaxconv._form import Form, pad_input
from jaxconv._methods._base import Method


def used(x: Array, form: Form) -> Array:
    """The positions of x that have an output: (N, *S_out, C)."""
    x = pad_input(x, form)
    last = [(out - 1) * s + 1 for out, s in zip(form.out_spatial, form.strides, strict=True)]
    return lax.slice(x, [0] * x.ndim, [x.shape[0], *last, x.shape[-1]], [1, *form.strides, 1])


def forward(x: Array, w: Array, form: Form) -> Array:
    """y = x w at every position."""
    x, w = used(x, form), w.reshape(form.in_channels, form.out_channels)
    if form.layout == "first":
        x = x.reshape(form.batch, -1, form.in_channels).swapaxes(1, 2)  # cancels
        y = jnp.einsum("ncp,co->nop", x, w, precision=form.precision).swapaxes(1, 2)
    else:
        y = jnp.matmul(x.reshape(-1, form.in_channels), w, precision=form.precision)
    return y.reshape(form.y_shape).astype(form.out_dtype)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w = x^T y, summed over all positions."""
    x = used(x, form)
    if form.layout == "first":
        x = x.reshape(form.batch, -1, form.in_channels).swapaxes(1, 2)
        y = y.reshape(form.batch, -1, form.out_channels).swapaxes(1, 2)
        w = jnp.einsum("ncp,nop->co", x, y, precision=form.precision)
    else:
        x, y = x.reshape(-1, form.in_channels), y.reshape(-1, form.out_channels)
        w = jnp.matmul(x.T, y, precision=form.precision)
    return w.reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """One tap, one group."""
    if form.taps > 1:
        return "takes one tap (a 1x1 kernel)"
    return "takes one group" if form.groups > 1 else None


def cost(form: Form) -> float:
    """A product at 100 billion multiply-adds a second."""
    return 2e-5 + form.macs / 1e11


METHOD = Method(
    "pointwise", "1x1: a matrix product over positions", supports, forward, weight, cost
)
