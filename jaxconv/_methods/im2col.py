"""im2col: unfold the input into a matrix of windows, then one matrix product.

Source: K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for
document processing", 2006, section 3; the layout of windows is that of Caffe's im2col.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxconv._form import Form, pad_input, window
from jaxconv._methods._base import Method
from jaxconv._methods.direct import MOST_TAPS, by_group


def unfold(x: Array, form: Form) -> Array:
    """The windows of x: (positions, groups, taps, C)."""
    x = pad_input(x, form)
    taps = [by_group(window(x, tap, form), form.groups) for tap in np.ndindex(*form.kernel)]
    windows = jnp.stack(taps, axis=-2)
    return windows.reshape(form.positions, form.groups, form.taps, form.in_channels)


def forward(x: Array, w: Array, form: Form) -> Array:
    """y = windows @ w, a product for each group."""
    w = w.reshape(form.taps, form.in_channels, form.groups, form.out_channels)
    y = jnp.einsum(
        "pgkc,kcgo->pgo",
        unfold(x, form),
        w,
        precision=form.precision,
        preferred_element_type=form.accumulator,
    )
    return y.reshape(form.y_shape).astype(form.out_dtype)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w = windows^T @ y, a product for each group."""
    y = y.reshape(form.positions, form.groups, form.out_channels)
    w = jnp.einsum(
        "pgkc,pgo->kcgo",
        unfold(x, form),
        y,
        precision=form.precision,
        preferred_element_type=form.accumulator,
    )
    return w.reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """Everything but kernels whose program would be too long."""
    if form.taps > MOST_TAPS:
        return f"takes at most {MOST_TAPS} taps, here {form.taps}"
    return None


def cost(form: Form) -> float:
    """Not a candidate for "auto": its whole matrix of windows leaves the cache."""
    return float("inf")


METHOD = Method(
    "im2col",
    "unfold into a matrix of windows, one matrix product",
    supports,
    forward,
    weight,
    cost,
    auto=False,
)
