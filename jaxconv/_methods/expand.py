"""expand: where the input has one position along a dimension, its outputs there are channels.

Each output position then sees that one position through one tap, and all other products are with
padding: a convolution whose kernel spans the whole input has such an input gradient. The taps that
are seen become output channels of a convolution that is one position long.

Source: the definition, for an input of size 1; V. Lawhern et al., "EEGNet", 2018, section 2.2.1,
for a layer (all electrodes at once) that this is the input gradient of.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxconv._form import Form
from jaxconv._methods import _inner
from jaxconv._methods._base import Method

# Bytes a second of moving the result's channels to positions.
COPY = 1.5e9


def dimension(form: Form) -> int | None:
    """The dimension with one input and several output positions, of the most taps."""
    found = [
        i
        for i in range(form.ndim)
        if form.spatial[i] == 1 < min(form.out_spatial[i], form.kernel[i])
    ]
    return max(found, key=lambda i: form.kernel[i], default=None)


def seen(form: Form, dim: int) -> np.ndarray:
    """The tap through which each output along `dim` sees the input, -1 where it sees none."""
    reach = form.padding[dim][0] - np.arange(form.out_spatial[dim]) * form.strides[dim]
    tap, rest = np.divmod(reach, form.dilation[dim])
    return np.where((rest == 0) & (tap >= 0) & (tap < form.kernel[dim]), tap, -1)


def inner(form: Form, dim: int) -> Form:
    """The convolution of one position along `dim`, with that many times the output channels."""

    def but(values: tuple, value) -> tuple:
        return (*values[:dim], value, *values[dim + 1 :])

    return dataclasses.replace(
        form,
        out_channels=form.out_channels * form.out_spatial[dim],
        kernel=but(form.kernel, 1),
        out_spatial=but(form.out_spatial, 1),
        strides=but(form.strides, 1),
        padding=but(form.padding, (0, 0)),
        dilation=but(form.dilation, 1),
        lhs_dilation=but(form.lhs_dilation, 1),
    )


def forward(x: Array, w: Array, form: Form) -> Array:
    """y: the inner convolution, of which some channels are positions."""
    dim = dimension(form)
    if dim is None:
        raise ValueError(str(supports(form)))
    tap, one = seen(form, dim), inner(form, dim)
    shape = tuple(tap.size if i == dim else 1 for i in range(w.ndim))
    w = jnp.where(np.reshape(tap >= 0, shape), jnp.take(w, np.maximum(tap, 0), dim), 0)
    w = jnp.moveaxis(w.reshape(*w.shape[:-1], form.groups, form.out_channels), dim, -1)
    w = jnp.expand_dims(w, dim).reshape(one.w_shape)
    y = _inner.conv_form(x, w, one)
    y = jnp.squeeze(y, dim + 1).reshape(
        *one.y_shape[: dim + 1], *one.y_shape[dim + 2 : -1], form.groups * form.out_channels, -1
    )
    return jnp.moveaxis(y, -1, dim + 1)


def supports(form: Form) -> str | None:
    """One input position along a dimension of several taps and outputs."""
    if dimension(form) is None:
        return "takes an input of one position along a dimension with several taps and outputs"
    return None


def cost(form: Form) -> float:
    """The inner convolution's, and a transpose of the result."""
    dim = dimension(form)
    if dim is None:
        return float("inf")
    moved = form.positions * form.groups * form.out_channels * form.dtype.itemsize
    return _inner.best(inner(form, dim))[1] + moved / COPY


METHOD = Method(
    "expand",
    "one input position along a dimension: its taps become output channels",
    supports,
    forward,
    None,
    cost,
    composed=True,
)
