"""lax: `jax.lax.conv_general_dilated`, whatever XLA makes of it."""

from __future__ import annotations

from typing import Any

from jax import Array, lax

from jaxconv._form import Form
from jaxconv._methods._base import Method
from jaxconv._spec import dilated


def _params(form: Form) -> dict[str, Any]:
    return {
        "precision": form.precision,
        "preferred_element_type": None if form.out_dtype == form.dtype else form.out_dtype,
    }


def _spec(form: Form) -> tuple[int, ...]:
    """Where batch, channels and space lie, in lax's order, for x and y in memory order."""
    space = range(1, form.ndim + 1)
    if form.layout == "last":
        return (0, form.ndim + 1, *space)
    return (0, 1, *(d + 1 for d in space))


def _native(x: Array, form: Form) -> Array:
    """x back in the order it has in memory; XLA cancels the two transposes."""
    return x if form.layout == "last" else x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def forward(x: Array, w: Array, form: Form) -> Array:
    """y by one call of lax, in the layout that x has in memory."""
    *space, c, o = range(w.ndim)
    x_spec = _spec(form)
    y = lax.conv_general_dilated(
        _native(x, form),
        w,
        form.strides,
        form.padding,
        form.lhs_dilation,
        form.dilation,
        lax.ConvDimensionNumbers(x_spec, (o, c, *space), x_spec),
        feature_group_count=form.groups,
        **_params(form),
    )
    return y if form.layout == "last" else y.transpose(0, *range(2, y.ndim), 1)


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
    batch, channels, *space = _spec(form)
    swapped = (channels, batch, *space)
    return lax.conv_general_dilated(
        _native(x, form),
        _native(y, form),
        form.dilation,
        padding,
        form.lhs_dilation,
        form.strides,
        lax.ConvDimensionNumbers(swapped, swapped, (form.ndim, form.ndim + 1, *range(form.ndim))),
        batch_group_count=form.groups,
        **_params(form),
    )


def cost(form: Form) -> float:
    """What XLA takes, by rule of thumb; the fitted model is in `_calibration`."""
    return 1e-5 + 2 * form.macs / 100e9


METHOD = Method("lax", "jax.lax.conv_general_dilated", lambda form: None, forward, weight, cost)
