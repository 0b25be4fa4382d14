"""conv_general_dilated: the door in lax's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jax import Array, lax

from jaxconv._arguments import one_of
from jaxconv._choose import refused_by_name
from jaxconv._errors import fail
from jaxconv._methods import METHODS
from jaxconv._primitive import as_ours
from jaxconv._rewrite import replay
from jaxconv._spec import ConvSpec


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
    *,
    method: str = "auto",
) -> Array:
    """`jax.lax.conv_general_dilated`, computed by this library's engine.

    The signature, the meaning and the errors are lax's, so that it can be handed to anything that
    takes that function: `flax.nnx.Conv(..., conv_general_dilated=jaxconv.conv_general_dilated)`.

    Args:
      lhs: the input, rank n + 2, its dimensions in the order that `dimension_numbers` says.
      rhs: the kernel, rank n + 2.
      window_strides: n ints.
      padding: 'SAME', 'SAME_LOWER' or 'VALID' in any case, or n pairs (low, high), which may be
        negative.
      lhs_dilation: n ints, or None for ones.
      rhs_dilation: n ints, or None for ones.
      dimension_numbers: None (channels first), three strings such as ("NHWC", "HWIO", "NHWC"), or
        `lax.ConvDimensionNumbers`.
      feature_group_count: groups of features.
      batch_group_count: groups of the batch.
      precision: None, a `lax.Precision`, a string, or a pair. "high" and "highest" rule out
        Winograd and FFT.
      preferred_element_type: dtype of the result, or None for that of the operands.
      out_sharding: as in lax; a convolution with one is lax's.
      method: "auto", or a name from `jaxconv.methods`.

    Returns:
      The convolution, its dimensions in the order that `dimension_numbers` says.

    Raises:
      ValueError, TypeError: as lax does; and for an unknown method.
      NotImplementedError: the method asked for cannot compute this convolution.

    Source: jax.lax.conv_general_dilated, JAX 0.10.2 to 0.12.0.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> x = jnp.arange(6.0).reshape(1, 6, 1)
      >>> w = jnp.array([1.0, 0.0, -1.0]).reshape(3, 1, 1)
      >>> y = jaxconv.conv_general_dilated(
      ...     x, w, (1,), "valid", dimension_numbers=("NWC", "WIO", "NWC"))
      >>> print(y.ravel())
      [-2. -2. -2. -2.]
    """
    check_method("conv_general_dilated", method)
    if isinstance(padding, str):
        padding = padding.upper()

    def of_lax(lhs: Array, rhs: Array) -> Array:
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation,
            rhs_dilation,
            dimension_numbers,
            feature_group_count,
            batch_group_count,
            precision,
            preferred_element_type,
            out_sharding,
        )

    ours = as_ours(method)

    def rename(eqn: Any) -> Any:
        new = ours(eqn)
        if new is not eqn and method != "auto":
            spec = ConvSpec.of(eqn.invars[0].aval, eqn.invars[1].aval, eqn.params)
            check_supported("conv_general_dilated", method, spec, in_words(spec))
        return new

    return replay(of_lax, rename, lhs, rhs, keep_lines=False)


def check_method(function: str, method: Any) -> None:
    """Raise if `method` is neither "auto" nor a method's name."""
    one_of(function, "method", method, ("auto", *METHODS))


def in_words(spec: ConvSpec) -> dict[str, Any]:
    """What `spec` was given by, in lax's words."""
    names = ("window_strides", "padding", "lhs_dilation", "rhs_dilation")
    groups = ("feature_group_count", "batch_group_count")
    numbers = {name: getattr(spec, name) for name in (*names, *groups)}
    return {"lhs": spec.lhs_shape, "rhs": spec.rhs_shape, **numbers}


def check_supported(function: str, method: str, spec: ConvSpec, given: dict[str, Any]) -> None:
    """Raise if the method asked for by name cannot compute `spec`, made of what was `given`."""
    reason = refused_by_name(spec, method)
    if reason:
        raise fail(
            NotImplementedError,
            function,
            f"method={method!r} {reason}",
            ", ".join(f"{name} {value}" for name, value in given.items()),
            'Use method="auto" or another of jaxconv.methods',
        )
