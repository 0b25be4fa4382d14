"""volume: a 3-D convolution as one 2-D convolution.

The depth taps go to the channels, the depth itself to the batch: a window of kD slices of C
channels is one slice of kD*C channels. XLA's 3-D convolution on a CPU is far from its 2-D one.

Source: the identity y[d] = sum_kd conv2d(x[d*s + kd], w[kd]), with the sum done by the channels.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
from jax import Array, lax

from jaxconv._form import Form, pad_positions
from jaxconv._methods import _inner
from jaxconv._methods._base import Method

# Bytes a second of stacking the slices; two AVX-512 cores.
COPY = 4e9


def flat(form: Form) -> Form:
    """The 2-D convolution of slices."""
    return dataclasses.replace(
        form,
        batch=form.batch * form.out_spatial[0],
        in_channels=form.kernel[0] * form.in_channels,
        spatial=form.spatial[1:],
        kernel=form.kernel[1:],
        out_spatial=form.out_spatial[1:],
        strides=form.strides[1:],
        padding=form.padding[1:],
        dilation=form.dilation[1:],
        lhs_dilation=form.lhs_dilation[1:],
    )


def slices(x: Array, form: Form) -> Array:
    """x (N, D, H, W, C) as (N*D_out, H, W, kD*C): what the depth taps see, side by side."""
    x = pad_positions(x, [(*form.padding[0], 0), (0, 0, 0), (0, 0, 0)], form.layout)
    reach = (form.out_spatial[0] - 1) * form.strides[0] + 1
    seen = [
        lax.slice_in_dim(x, k * form.dilation[0], k * form.dilation[0] + reach, form.strides[0], 1)
        for k in range(form.kernel[0])
    ]
    stacked = seen[0] if len(seen) == 1 else jnp.concatenate(seen, axis=-1)
    return stacked.reshape(-1, *stacked.shape[2:])


def forward(x: Array, w: Array, form: Form) -> Array:
    """y by the engine's choice for the slices."""
    w = jnp.moveaxis(w, 0, 2).reshape(*form.kernel[1:], -1, form.out_channels)
    return _inner.conv_form(slices(x, form), w, flat(form)).reshape(form.y_shape)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w by the engine's choice for the slices."""
    w = _inner.weight_form(slices(x, form), y.reshape(-1, *y.shape[2:]), flat(form))
    w = w.reshape(*form.kernel[1:], form.kernel[0], form.in_channels, form.out_channels)
    return jnp.moveaxis(w, 2, 0)


def supports(form: Form) -> str | None:
    """Three dimensions, one group, several taps in a slice, depth not dilated."""
    if form.ndim != 3:
        return "takes three dimensions"
    if form.groups > 1:
        return "takes one group"
    if form.taps == form.kernel[0]:
        return "takes several taps in a slice: its copy is for a convolution, not for a product"
    if form.lhs_dilation[0] > 1:
        return "takes no dilated depth"
    return None


def cost(form: Form) -> float:
    """The 2-D convolution, and the copy that stacks the slices."""
    inner = flat(form)
    stacked = math.prod(inner.x_shape) * form.examples * form.dtype.itemsize
    move = 0.0 if form.kernel[0] == 1 and form.strides[0] == 1 else stacked / COPY
    return _inner.best(inner)[1] + move


METHOD = Method(
    "volume",
    "3-D as one 2-D convolution: depth taps on the channels",
    supports,
    forward,
    weight,
    cost,
    composed=True,
)
