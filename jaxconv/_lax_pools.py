"""lax's max pooling in a traced program, and its gradient, by our own windows.

XLA looks for the maximum of each window anew to find where its gradient goes (select_and_scatter),
with plain loops: on a CPU it takes ten to thirty times as long as the pooling. `_window` has the
same as comparisons of slices and a transposed choice.

Where windows tie, the first maximum in row order has the gradient, as in lax. A NaN has it where
there is one, and so has the first of nothing but -inf, as in PyTorch; in lax that may be what comes
after, or nothing. The derivative in forward mode (select_and_gather_add) is left as it is: at ties
beside padding it is not that of lax's own gradient.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.extend.core import primitives

from jaxconv import _compat
from jaxconv._window import UNROLL, Window, at_maximum, maximum

Windows = tuple[Window, ...]


def as_ours(eqn: Any) -> Any:
    """The equation with our windows in it, if it is lax's max pooling or a gradient of it."""
    if eqn.primitive not in FUNCTIONS:
        return eqn
    windows = windows_of(eqn.params, [a.aval for a in eqn.invars], eqn.outvars[0].aval)
    if not windows:
        return eqn
    avals = tuple((a.aval.shape, a.aval.dtype) for a in eqn.invars)
    call = _call(eqn.primitive, windows, avals)
    return eqn.replace(primitive=call.primitive, params=call.params, effects=call.effects)


def lower_cpu(ctx: Any, *operands: Any, primitive: Any, **params: Any) -> Any:
    """The CPU lowering of such a primitive, under `install`."""
    windows = windows_of(params, ctx.avals_in, ctx.avals_out[0])
    if not windows or _compat.partitioned(ctx):
        return _compat.lower_as_before(primitive, ctx, *operands, **params)

    def pool(*operands: Array) -> Array:
        return FUNCTIONS[primitive](*operands, windows)

    return _compat.lower_as(pool, ctx, *operands)


def windows_of(params: dict[str, Any], operands: Sequence[Any], out: Any) -> Windows:
    """The windows of lax's pooling, one for each dimension pooled; none if it is left to lax."""
    operand = operands[-1]
    ones = (1,) * operand.ndim
    dilated = any(params.get(name, ones) != ones for name in ("base_dilation", "window_dilation"))
    least = params.get("select_prim", lax.ge_p) is lax.le_p
    floating = jnp.issubdtype(operand.dtype, jnp.floating)
    wide = operand.dtype.itemsize > 4 and not jax.config.read("jax_enable_x64")
    known = all(isinstance(size, int) and size > 0 for size in (*operand.shape, *out.shape))
    # A weak type would be lost in the call.
    plain = _compat.is_unsharded(operand) and not operand.weak_type
    if dilated or least or wide or not floating or not known or not plain:
        return ()
    windows = []
    rows = zip(
        params["window_dimensions"], params["window_strides"], params["padding"], strict=True
    )
    for axis, (size, stride, (low, high)) in enumerate(rows):
        if min(low, high) < 0 or max(low, high) >= size:
            return ()
        places = (operand.shape[axis] + low + high - size) // stride + 1
        if (size, stride) != (1, 1):
            windows.append(Window(axis, size, stride, 1, low, places))
    return tuple(windows) if math.prod(w.size for w in windows) <= UNROLL else ()


def scattered(source: Array, operand: Array, windows: Windows) -> Array:
    """The gradient: each number of source goes where its window has its first maximum."""
    like = jax.ShapeDtypeStruct(operand.shape, source.dtype)
    back = jax.linear_transpose(lambda tangent: at_maximum(tangent, operand, windows), like)
    return back(source)[0]


FUNCTIONS: dict[Any, Callable[..., Array]] = {
    primitives.reduce_window_max_p: maximum,
    primitives.select_and_scatter_add_p: scattered,
}


@functools.lru_cache(maxsize=1024)
def _call(primitive: Any, windows: Windows, avals: tuple[Any, ...]) -> Any:
    """The equation that calls ours on operands of these types, the same one for the same call."""

    def jaxconv_max_pool(*operands: Array) -> Array:
        return FUNCTIONS[primitive](*operands, windows)

    inputs = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in avals]
    with jax.disable_jit(False):
        traced = jax.make_jaxpr(jax.jit(jaxconv_max_pool))(*inputs)
    (equation,) = traced.eqns
    return equation
