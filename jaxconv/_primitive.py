"""The convolution as JAX sees it: a primitive whose method is chosen when it is lowered.

It has the parameters, types, derivatives and batching rules of lax's convolution (lax's own rules,
replayed with our primitive in place of lax's). On a CPU, its lowering asks `_choose` for a method,
after differentiation and batching, on the real shapes. On every other platform it is lax's.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax import Array, lax

from jaxconv import _compat
from jaxconv._choose import Choice
from jaxconv._heaps import keep_in_heaps
from jaxconv._rewrite import replay
from jaxconv._run import run, run_lax
from jaxconv._spec import ConvSpec
from jaxconv._tuned import decide

_lowering = threading.local()
_WIDE = frozenset(map(np.dtype, ("float64", "complex128", "int64", "uint64")))


def as_ours(method: str) -> Any:
    """A function from an equation to the same with our primitive, if it is lax's convolution."""

    def rename(eqn: Any) -> Any:
        if eqn.primitive is not _compat.lax_conv_p:
            return eqn
        return eqn.replace(primitive=conv_p, params={**eqn.params, "method": method})

    return rename


def spec_of(eqn: Any) -> tuple[ConvSpec, str]:
    """The convolution of an equation, ours or lax's, and the method asked for."""
    params = dict(eqn.params)
    method = params.pop("method", "auto")
    return ConvSpec.of(eqn.invars[0].aval, eqn.invars[1].aval, params), method


def lower_cpu(ctx: Any, lhs: Any, rhs: Any, *, method: str, **params: Any) -> Any:
    """The CPU lowering: the method that `choose` names, or lax where nothing else can be had."""
    keep_in_heaps(ctx)
    if (
        getattr(_lowering, "inside", False)  # a method's own use of lax
        or params["out_sharding"] is not None
        or _compat.partitioned(ctx)
    ):
        return _compat.lower_as_lax(ctx, lhs, rhs, **params)
    portable = _compat.travels(ctx)
    spec = ConvSpec.of(ctx.avals_in[0], ctx.avals_in[1], params, portable=portable)
    if method == "lax" or not spec.is_static:
        return _compat.lower_as_lax(ctx, lhs, rhs, **params)
    choice = decide(spec, method)
    program = _program(spec, choice, _compat.exported(ctx))
    _lowering.inside = True
    try:
        with _settings(spec):
            return _compat.lower_as(program, ctx, lhs, rhs)
    finally:
        _lowering.inside = False


@functools.lru_cache(maxsize=4096)
def _program(spec: ConvSpec, choice: Choice, exported: bool) -> Any:
    """The convolution as a JAX function; the same one for the same convolution.

    What a method makes of x lies in plain order. XLA would leave a transpose at its end to those
    who use the result, and compute it in one fusion with each of them, a column at a time. (Not for
    jax.export, which refuses to ask for an order.) A weight's gradient has few users, and between
    two convolutions of lax XLA needs no transpose: there it costs more than it saves.
    """
    plain = choice.kind == "forward" and not exported
    if choice.method == "lax":
        return functools.partial(run_lax, spec=spec)

    def chosen(lhs: Array, rhs: Array) -> Array:
        result = run(lhs, rhs, spec=spec, choice=choice)
        return _compat.in_plain_order(result) if plain else result

    chosen.__name__ = f"jaxconv_{choice.method}"  # what a profile shows
    return functools.partial(_compat.apart, chosen)


@contextlib.contextmanager
def _settings(spec: ConvSpec) -> Iterator[None]:
    """JAX's settings while a method is traced: what the user's forbid is meant for their program.

    A program of 64-bit numbers can be lowered where only 32 bits are enabled.
    """
    wide = not _WIDE.isdisjoint((spec.lhs_dtype, spec.rhs_dtype, spec.out_dtype))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        with jax.enable_x64(True) if wide else contextlib.nullcontext():
            yield


def _eager(lhs: Any, rhs: Any, **params: Any) -> Array:
    with jax.disable_jit(False):  # a primitive is compiled even then, or it would call itself
        return _compiled(tuple(sorted(params.items())))(lhs, rhs)


@functools.lru_cache(maxsize=4096)
def _compiled(params: tuple[tuple[str, Any], ...]) -> Any:
    return jax.jit(functools.partial(conv_p.bind, **dict(params)))


def _replay(rule: Any, method: str, *args: Any) -> Any:
    return replay(rule, as_ours(method), *args, keep_lines=False)


conv_p = _compat.twin_primitive("jaxconv", run=_eager, replay=_replay, lower_cpu=lower_cpu)


def convolve(
    lhs: Array,
    rhs: Array,
    *,
    window_strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    lhs_dilation: tuple[int, ...],
    rhs_dilation: tuple[int, ...],
    dimension_numbers: lax.ConvDimensionNumbers,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
    method: str = "auto",
) -> Array:
    """One general convolution; its parameters complete, as `conv_general_dilated` makes them."""
    lhs, rhs = _compat.reshard_operands(lhs, rhs)
    return conv_p.bind(
        lhs,
        rhs,
        window_strides=tuple(window_strides),
        padding=tuple((lo, hi) for lo, hi in padding),
        lhs_dilation=tuple(lhs_dilation),
        rhs_dilation=tuple(rhs_dilation),
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=_compat.canonical_precision(precision),
        preferred_element_type=preferred_element_type,
        out_sharding=out_sharding,
        method=method,
    )
