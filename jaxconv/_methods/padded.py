"""padded: a small image with its padding written out.

XLA computes a convolution in plain loops where the window has more positions than the input. 3x3 on
the 2x2 pixels that VGG ends with on CIFAR took thirty times as long as with the zeros written out
as a part of the input.

Source: measured (docs/xla.md, "Two libraries behind one operation").
"""

from __future__ import annotations

import math

from jax import Array

from jaxconv._form import Form, pad_positions
from jaxconv._methods import _inner
from jaxconv._methods._base import Method

# Bytes a second of the copy; two AVX-512 cores.
COPY = 3e9


def forward(x: Array, w: Array, form: Form) -> Array:
    """y by the engine's choice for the padded x."""
    # As rows of pixels and channels: XLA would put a plain padding back into the convolution.
    x = pad_positions(x, [(lo, hi, 0) for lo, hi in form.padding], "last")
    return _inner.conv_form(x, w, form.dense_input)


def supports(form: Form) -> str | None:
    """A window with more positions than the input, one group, an input that is not dilated."""
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    if form.groups > 1:
        return "takes one group"
    if form.plain or not form.outgrown:
        return "takes a padded input with fewer positions than the kernel has taps"
    return None


def cost(form: Form) -> float:
    """The convolution of the padded input, and its copy."""
    inner = form.dense_input
    return _inner.best(inner)[1] + math.prod(inner.x_shape) * form.dtype.itemsize / COPY


METHOD = Method(
    "padded",
    "a small image with its padding written out",
    supports,
    forward,
    None,
    cost,
    composed=True,
    linear=False,
)
