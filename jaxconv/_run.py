"""Run the chosen method on the arrays of a general convolution."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxconv._choose import Choice, real_spec, view_of
from jaxconv._form import channels_last, place
from jaxconv._methods import METHODS
from jaxconv._spec import ConvSpec


def run(lhs: Array, rhs: Array, *, spec: ConvSpec, choice: Choice) -> Array:
    """The convolution that `spec` describes, by the method of `choice`.

    Narrow floats are computed in float32, or as wide as the result, and rounded once, at the end.
    Complex numbers take three real convolutions (Gauss), as in lax.
    """
    real = real_spec(spec)

    def real_conv(lhs: Array, rhs: Array) -> Array:
        return _real(lhs, rhs, real, choice)

    if jnp.issubdtype(spec.lhs_dtype, jnp.complexfloating):
        out = _gauss(real_conv, lhs.astype(spec.out_dtype), rhs.astype(spec.out_dtype))
    else:
        out = real_conv(lhs.astype(real.lhs_dtype), rhs.astype(real.rhs_dtype))
    return out.astype(spec.out_dtype)


def run_lax(lhs: Array, rhs: Array, *, spec: ConvSpec) -> Array:
    """lax's convolution, with channels last and the kernel as (*K, I, O).

    XLA brings a convolution to this order, the only one it has fast paths for, at the top level of
    a program; in a loop's body, and in every other computation, it does not.
    """
    x, w, y = spec.dimension_numbers
    result = lax.conv_general_dilated(
        lhs.transpose(x[0], *x[2:], x[1]),
        rhs.transpose(*w[2:], w[1], w[0]),
        spec.window_strides,
        spec.padding,
        spec.lhs_dilation,
        spec.rhs_dilation,
        channels_last(spec.ndim),
        feature_group_count=spec.feature_group_count,
        batch_group_count=spec.batch_group_count,
        precision=spec.precision,
        preferred_element_type=spec.preferred_element_type,
    )
    return place(jnp.moveaxis(result, -1, 1), y)


def _real(lhs: Array, rhs: Array, spec: ConvSpec, choice: Choice) -> Array:
    view = view_of(spec, choice.kind)
    method = METHODS[choice.method]
    function = method.of(choice.kind)
    if function is None:
        raise NotImplementedError(f"{method.name} has no {choice.kind} form")

    def compute(x: Array, other: Array) -> Array:
        return function(x, other, view.form)

    x, other = view.bring(lhs, rhs)
    return view.give(jax.vmap(compute)(x, other) if view.form.examples > 1 else compute(x, other))


def _gauss(conv: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    """A complex product of three real ones, five additions (C. F. Gauss; Knuth, TAOCP 4.6.4)."""
    a, b, c, d = lax.real(x), lax.imag(x), lax.real(y), lax.imag(y)
    first, second, third = conv(a + b, c), conv(a, d - c), conv(b, c + d)
    return lax.complex(first - third, first + second)
