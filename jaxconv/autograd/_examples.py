"""What the examples of a vmap tell each other, in a loop that runs until the last one is done.

Outside vmap each of these is the identity. An example that is done stands still while others go on,
but its numbers pass through the loop's body all the same, forward and backward. Whatever they meet
there must not matter: 0 times an infinite derivative would be NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def _identity(name: str) -> Primitive:
    """A primitive that gives back its first operand."""
    primitive = Primitive(name)
    primitive.def_impl(lambda x, *_: x)
    primitive.def_abstract_eval(lambda x, *_: x)
    mlir.register_lowering(primitive, lambda ctx, x, *_: [x])
    return primitive


# One answer for the whole batch: a predicate that is batched would make `lax.cond` compute both of
# its branches.
_any_p = _identity("any_example")


def any_example(flag: Array) -> Array:
    """Whether the flag of any example is set."""
    return _any_p.bind(flag)


def _any_batch(args: Any, dims: Any) -> Any:
    return _any_p.bind(jnp.any(args[0], axis=dims[0])), None


batching.primitive_batchers[_any_p] = _any_batch


def live(x: Array, goes: Array) -> Array:
    """x where the example goes, else that of one that does; no gradient reaches the others.

    What all examples share stays shared.
    """
    return _live_p.bind(x, goes)


_live_p = _identity("live_example")
_masked_p = _identity("masked_example")


def _like(goes: Array, x: Array) -> Array:
    """(B,) as an array of x's rank."""
    return goes.reshape(goes.shape + (1,) * (x.ndim - 1))


def _entry(x: Array, index: Array) -> Array:
    """x[index]; as a sum, since the axis may be split over several devices."""
    if jnp.issubdtype(x.dtype, jax.dtypes.extended):  # keys
        return lax.dynamic_index_in_dim(x, index, 0, keepdims=False)
    x = jnp.where(_like(jnp.arange(x.shape[0]) == index, x), x, jnp.zeros((), x.dtype))
    return jnp.any(x, 0) if x.dtype == bool else jnp.sum(x, 0, dtype=x.dtype)


def _batch(primitive: Primitive, other: Callable[[Array, Array], Array]) -> Any:
    """The batching of either: `other(x, goes)` in place of the examples that do not go."""

    def rule(args: Any, dims: Any) -> Any:
        (x, goes), (dim, at) = args, dims
        if at is None or dim is None:
            return primitive.bind(x, goes if at is None else jnp.any(goes, axis=at)), dim
        x = jnp.moveaxis(x, dim, 0)
        return jnp.where(_like(goes, x), x, other(x, goes)), 0

    return rule


def _one_that_goes(x: Array, goes: Array) -> Array:
    """The first, or one of another vmap around, if none of these goes."""
    return _live_p.bind(_entry(x, jnp.argmax(goes)), jnp.any(goes))


def _jvp(primitive: Primitive) -> Any:
    """The derivative of either: the mask of the tangent."""

    def rule(primals: Any, tangents: Any) -> Any:
        x, goes = primals
        tangent = tangents[0]
        if not isinstance(tangent, ad.Zero):
            tangent = _masked_p.bind(tangent, goes)
        return primitive.bind(x, goes), tangent

    return rule


def _masked_transpose(cotangent: Any, x: Any, goes: Any) -> Any:
    if isinstance(cotangent, ad.Zero):
        return [ad.Zero(x.aval), None]
    return [_masked_p.bind(cotangent, goes), None]


batching.primitive_batchers[_live_p] = _batch(_live_p, _one_that_goes)
batching.primitive_batchers[_masked_p] = _batch(_masked_p, lambda x, _: jnp.zeros((), x.dtype))
ad.primitive_jvps[_live_p] = _jvp(_live_p)
ad.primitive_jvps[_masked_p] = _jvp(_masked_p)
ad.primitive_transposes[_masked_p] = _masked_transpose
