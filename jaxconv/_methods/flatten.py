"""flatten: two neighbouring dimensions along which a kernel does nothing are one dimension.

A 3-D kernel of kD x 1 x 1 sees the H x W positions of a slice each by itself: they may as well be
one row of H*W positions, and the convolution is a 2-D one, without a copy. So may D and H where the
kernel is 1 x 1 x kW.

Source: the definition; such kernels are those of D. Tran et al., "A closer look at spatiotemporal
convolutions for action recognition", CVPR 2018, section 3.3.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
from jax import Array

from jaxconv._form import Form
from jaxconv._methods import _inner
from jaxconv._methods._base import Method


def idle_pair(form: Form) -> int | None:
    """The first of two neighbouring dimensions along which each output sees its own input alone."""
    attributes = (form.kernel, form.strides, form.lhs_dilation, form.padding)
    sizes = (form.spatial, form.out_spatial)
    idle = [
        k == s == d == 1 and pad == (0, 0) and n == out
        for k, s, d, pad, n, out in zip(*attributes, *sizes, strict=True)
    ]
    return next((i for i in range(form.ndim - 1) if idle[i] and idle[i + 1]), None)


def flat(form: Form) -> Form:
    """The convolution with the two dimensions as one."""
    first = idle_pair(form)
    if first is None:
        raise ValueError(str(supports(form)))

    def product(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return (*sizes[:first], math.prod(sizes[first : first + 2]), *sizes[first + 2 :])

    def without(values: tuple) -> tuple:
        return values[:first] + values[first + 1 :]

    kept = ("kernel", "strides", "padding", "dilation", "lhs_dilation")
    return dataclasses.replace(
        form,
        spatial=product(form.spatial),
        out_spatial=product(form.out_spatial),
        **{name: without(getattr(form, name)) for name in kept},
    )


def positions_as(x: Array, sizes: tuple[int, ...], layout: str) -> Array:
    """x (N, *S, C) with its positions as `sizes`, reshaped as it lies in memory."""
    if layout == "last":
        return x.reshape(x.shape[0], *sizes, x.shape[-1])
    x = jnp.moveaxis(x, -1, 1)
    return jnp.moveaxis(x.reshape(*x.shape[:2], *sizes), 1, -1)


def forward(x: Array, w: Array, form: Form) -> Array:
    """y by the engine's choice for the flat convolution."""
    inner = flat(form)
    x = positions_as(x, inner.spatial, form.layout)
    y = _inner.conv_form(x, w.reshape(inner.w_shape), inner)
    return positions_as(y, form.out_spatial, form.layout)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w by the engine's choice for the flat convolution."""
    inner = flat(form)
    x = positions_as(x, inner.spatial, form.layout)
    y = positions_as(y, inner.out_spatial, form.layout)
    return _inner.weight_form(x, y, inner).reshape(form.w_shape)


def supports(form: Form) -> str | None:
    """Three dimensions, in two neighbours of which each output sees its own input alone."""
    if form.ndim != 3:
        return "takes three dimensions"
    if form.taps == 1:
        return "takes more than one tap"
    if idle_pair(form) is None:
        return "takes two neighbouring dimensions of one tap, no stride, no padding, all in use"
    return None


def cost(form: Form) -> float:
    """That of the flat convolution."""
    return _inner.best(flat(form))[1]


METHOD = Method(
    "flatten",
    "two dimensions along which the kernel has one tap, as one",
    supports,
    forward,
    weight,
    cost,
    composed=True,
    linear=False,
)
