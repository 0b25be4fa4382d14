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

from jax import Array

from jaxconv._form import Form, positions_as
from jaxconv._methods import _inner
from jaxconv._methods._base import Method


def pair(form: Form) -> int | None:
    """The first of two neighbouring dimensions along which `form` does nothing, of three."""
    attributes = zip(form.kernel, form.strides, form.padding, form.lhs_dilation, strict=True)
    idle = [a == (1, 1, (0, 0), 1) for a in attributes]
    return next((i for i in range(form.ndim - 1) if idle[i] and idle[i + 1]), None)


def flat(form: Form) -> Form:
    """The convolution with the two dimensions as one."""
    first = pair(form) or 0

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
    """Three dimensions, two neighbours of which have one tap each and no stride or padding."""
    if form.ndim != 3:
        return "takes three dimensions"
    if form.taps == 1:
        return "takes more than one tap"
    if pair(form) is None:
        return "takes two neighbouring dimensions of one tap, without stride, padding or dilation"
    return None


def cost(form: Form) -> float:
    """That of the flat convolution."""
    return _inner.best(flat(form))[1]


METHOD = Method(
    "flatten",
    "two dimensions along which the kernel does nothing as one",
    supports,
    forward,
    weight,
    cost,
)
