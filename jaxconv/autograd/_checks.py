"""What add, split and max ask of their inputs, asked before JAX does."""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypeVar, cast

import jax.numpy as jnp

from jaxconv._errors import fail
from jaxconv.autograd._names import differentiable, is_array, kind, thing

T = TypeVar("T")


def checked(rule: T) -> T:
    """A `jax.custom_vjp` whose inputs are looked at first: JAX refuses some in words of its own."""
    signature = inspect.signature(cast(Any, rule))

    @functools.wraps(cast(Any, rule), updated=())
    def door(*args, **kwargs):
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError as error:
            asked = f"the arguments must be {' and '.join(signature.parameters)}"
            given = f"{len(args) + len(kwargs)} ({error})"
            raise fail(TypeError, door.__name__, asked, given, "Give these alone") from None
        _check(door.__name__, given.arguments)
        return cast(Any, rule)(*given.args)

    cast(Any, door).defvjp = cast(Any, rule).defvjp
    return cast(T, door)


def _check(function: str, inputs: dict[str, Any]) -> None:
    for name, x in inputs.items():
        if not is_array(x):
            remedy = "Convert it with jnp.asarray"
            if isinstance(x, str | bytes) or callable(x) or hasattr(x, "dtype"):
                remedy = "Give an array of floats"
            raise fail(TypeError, function, f"{name} must be an array", thing(x), remedy)
        if not differentiable(jnp.result_type(x)):
            raise fail(
                TypeError,
                function,
                f"{name} must be of a float or complex dtype, only those have a gradient",
                f"{name} {kind(x)}",
                f"Convert it, e.g. {name}.astype(jnp.float32)",
            )
    first, *rest = inputs
    for name in rest:
        got = f"{first} {kind(inputs[first])}, {name} {kind(inputs[name])}"
        if jnp.shape(inputs[name]) != jnp.shape(inputs[first]):
            remedy = "Broadcast with jnp.broadcast_to first: that is an operation with a gradient"
            raise fail(ValueError, function, f"{first} and {name} must have one shape", got, remedy)
        if jnp.result_type(inputs[name]) != jnp.result_type(inputs[first]):
            raise fail(
                TypeError, function, f"{first} and {name} must have one dtype", got,
                "Convert one of them",
            )  # fmt: skip
