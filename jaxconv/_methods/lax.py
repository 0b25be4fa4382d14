"""lax: `jax.lax.conv_general_dilated`, whatever XLA makes of it."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxconv._form import Form, channels_last
from jaxconv._methods._base import Method
from jaxconv._spec import dilated

# Bytes a second of XLA's transpose of a weight whose outputs lie first, on two AVX2 cores; see
# `weight_transpose`.
TRANSPOSE = 2e9


def _params(form: Form) -> dict[str, Any]:
    return {
        "precision": form.precision,
        "preferred_element_type": None if form.out_dtype == form.dtype else form.out_dtype,
    }


def forward(x: Array, w: Array, form: Form) -> Array:
    """y by one call of lax.

    x, w and y have channels last here, wherever they lie in memory: the one order that XLA has
    fast paths for outside the top level of a program.
    """
    return lax.conv_general_dilated(
        x,
        w,
        form.strides,
        form.padding,
        form.lhs_dilation,
        form.dilation,
        channels_last(form.ndim),
        feature_group_count=form.groups,
        **_params(form),
    )


def weight(x: Array, y: Array, form: Form) -> Array:
    """w by one call of lax: batch and channels change places, and stride and dilation."""
    # What the last window leaves over is cut off, or lax would see more taps than there are.
    padding = [
        (lo, (out - 1) * s + (k - 1) * d + 1 - dilated(n, ld) - lo)
        for n, ld, out, s, k, d, (lo, _) in zip(
            form.spatial,
            form.lhs_dilation,
            form.out_spatial,
            form.strides,
            form.kernel,
            form.dilation,
            form.padding,
            strict=True,
        )
    ]
    last = form.ndim + 1
    w = lax.conv_general_dilated(
        jnp.swapaxes(x, 0, last),
        jnp.moveaxis(y, 0, last - 1),
        form.dilation,
        padding,
        form.lhs_dilation,
        form.strides,
        channels_last(form.ndim),
        batch_group_count=form.groups,
        **_params(form),
    )
    return jnp.moveaxis(w, 0, last - 1)


def cost(form: Form) -> float:
    """What XLA takes, by rule of thumb; the fitted model is in `_calibration`."""
    return 1e-5 + 2 * form.macs * form.examples / 100e9


def weight_transpose(form: Form) -> float:
    """Seconds to transpose the weight of one position, if its outputs lie first.

    XLA does so element by element before the product, and that takes longer than the product. The
    fitted rows cannot tell: an image of one position counts as channels last, however it is named.
    """
    one = form.groups == form.taps == form.positions // form.batch == 1
    if not (one and form.outputs_first and form.kind == "forward"):
        return 0.0
    return math.prod(form.w_shape) * form.dtype.itemsize / TRANSPOSE


METHOD = Method(
    "lax",
    "jax.lax.conv_general_dilated",
    lambda form: None,
    forward,
    weight,
    cost,
    besides=weight_transpose,
)
