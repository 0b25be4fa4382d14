"""extra_row: lax's convolution, asked for a row of outputs more than the input has rows.

XLA has two libraries for convolutions on a CPU. YNNPACK comes first, and it splits the work of a
row of outputs among threads, but not the rows: a layer of 64 channels and 56 columns, which is one
tile of its product, runs on one core (JAX 0.10; docs/xla.md has the numbers). It does not take a
convolution with more rows of outputs than of inputs. Eigen does, and uses all cores. So the padding
is that much longer, one row where the input is padded to its own size, and what is too much of the
result is dropped.

Source: XLA's own rule (`IsConvolutionOpSupportedByYnn` in xla/backends/cpu/ynn_support.cc).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jax import Array

from jaxconv._form import Form
from jaxconv._methods import lax
from jaxconv._methods._base import Method
from jaxconv._methods._transposes import apart_if_large

# YNNPACK takes only convolutions with more channels than this, on one side.
FEW = 16
# Input channels that Eigen reads in vectors; of fewer it is slow.
MANY = 8
# Rows that may be computed in vain, as a part of those wanted.
MOST_IN_VAIN = 0.25
# Multiply-adds, and bytes of the result's copy, a second; seconds of a call; two AVX-512 cores.
RATE, COPY, CALL = 130e9, 6e9, 3e-5


def rows_in_vain(form: Form) -> int:
    """How many rows to add, so that there is one more than the input has."""
    return form.spatial[0] + 1 - form.out_spatial[0]


def forward(x: Array, w: Array, form: Form) -> Array:
    """y without its last rows."""
    more = rows_in_vain(form)
    (lo, hi), columns = form.padding
    tall = dataclasses.replace(
        form,
        padding=((lo, hi + more), columns),
        out_spatial=(form.out_spatial[0] + more, form.out_spatial[1]),
    )
    y = lax.forward(x, w, tall)

    def wanted(y: Array) -> Array:
        return y[:, : form.out_spatial[0]]

    return apart_if_large(wanted, y) if form.layout == "first" else wanted(y)


def supports(form: Form) -> str | None:
    """What YNNPACK takes and Eigen too: float32, two dimensions, stride 1 down, no dilated input.

    And about as many rows of outputs as of inputs.
    """
    if form.dtype != np.float32:
        return f"takes float32, not {form.dtype}"
    if form.ndim != 2:
        return "takes two dimensions"
    if form.groups > 1:
        return "takes one group"
    if max(form.lhs_dilation) > 1 or form.strides[0] > 1:
        return "takes no dilated input and no stride down"
    if max(form.in_channels, form.out_channels) <= FEW:
        return f"takes more than {FEW} channels"
    if form.in_channels < MANY:
        return f"takes at least {MANY} input channels, here {form.in_channels}"
    sizes = zip(form.spatial, form.out_spatial, form.kernel, strict=True)
    if any(size < max(out, k) for size, out, k in sizes):
        return "takes no output or kernel larger than its input, which lax gives to Eigen anyway"
    if rows_in_vain(form) > MOST_IN_VAIN * form.out_spatial[0]:
        return f"takes a result that needs few rows more, here {rows_in_vain(form)}"
    return None


def cost(form: Form) -> float:
    """The product, and a copy of the result."""
    more = rows_in_vain(form) / form.out_spatial[0]
    copied = math.prod(form.y_shape) * form.dtype.itemsize
    return (1 + more) * form.macs / RATE + copied / COPY + CALL


METHOD = Method(
    "extra_row",
    "lax with more rows than the input has, which XLA gives to its other library",
    supports,
    forward,
    None,
    cost,
)
