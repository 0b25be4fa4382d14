"""Where the way from an argument to the output is cut, read from the traced program.

One abstract value follows an argument leaf through the program: whether a differentiable way has
led here, and which operations have cut a way that led here. Whether an operation cuts is not looked
up in a table: its own derivative is traced, and JAX's answer taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import numpy as np
from jax.extend.core import primitives

from jaxconv import _compat
from jaxconv.autograd._flow import bodies, fits, flow, source_in, through
from jaxconv.autograd._names import differentiable


class Cut(NamedTuple):
    """An operation that no gradient passes, and the user's line it comes from ("file.py:12")."""

    operation: str
    source: str

    def __str__(self) -> str:
        return f"{self.operation} at {self.source}" if self.source else self.operation


@dataclasses.dataclass(frozen=True)
class _Way:
    """What has led from the leaf to a value."""

    open: bool = False
    cuts: tuple[Cut, ...] = ()

    def __or__(self, other: _Way) -> _Way:
        return _Way(self.open or other.open, tuple(dict.fromkeys(self.cuts + other.cuts)))


_NO_WAY = _Way()
_CUSTOM = (primitives.custom_jvp_call_p, primitives.custom_vjp_call_p)


def find_cuts(jaxpr: Any, leaf: int) -> tuple[Cut, ...]:
    """The operations that cut every way from input `leaf` to output 0; () if there is no way."""
    return _walk(jaxpr, [leaf], [])[0].cuts


def find_loops(jaxpr: Any, leaves: Sequence[int]) -> list[str]:
    """The lines of the `lax.while_loop`s that a gradient of the inputs `leaves` would pass."""
    loops: list[str] = []
    _walk(jaxpr, leaves, loops)
    return list(dict.fromkeys(loops))


def _walk(jaxpr: Any, leaves: Sequence[int], loops: list[str]) -> list[_Way]:
    """The ways from the inputs `leaves` to each output; appends to `loops` on the way."""
    inputs = [_NO_WAY] * len(_compat.open_jaxpr(jaxpr).invars)
    for leaf in leaves:
        inputs[leaf] = _Way(open=True)
    derivatives: dict[Any, list[bool]] = {}

    def step(parent, path, ways):
        eqn = path[-1]
        if eqn.primitive is primitives.while_p and any(
            way.open and differentiable(v.aval.dtype)
            for way, v in zip(ways, eqn.invars, strict=True)
        ):
            # Inside a custom rule it is the rule that is differentiated.
            loops.extend([source_in(path)] * (not any(e.primitive in _CUSTOM for e in path)))
        custom = eqn.primitive in _CUSTOM
        if not custom and _opens(eqn):
            return None
        way = _NO_WAY
        for each in ways:
            way = way | each
        if not way.open:
            return [way] * len(eqn.outvars)
        active = tuple(each.open for each in ways)
        # A custom rule is its own; another operation's derivative has one form for all sizes.
        dtypes = tuple(v.aval.dtype for v in eqn.outvars)
        key = (id(eqn) if custom else eqn.primitive, active, dtypes)
        if key not in derivatives:
            derivatives[key] = _passes(parent, eqn, active)
        if all(derivatives[key]):
            return [way] * len(eqn.outvars)
        cut = Cut(_called(eqn), source_in(path))
        shut = dataclasses.replace(way | _Way(cuts=(cut,)), open=False)
        # Where what a custom rule stands for has no way inside either, the rule is not to blame.
        inside = [way] * len(eqn.outvars)
        if custom and fits(eqn, bodies(eqn)):
            inside = through(path, ways, step, _NO_WAY)
        return [
            way if passes else shut if within.open else within
            for passes, within in zip(derivatives[key], inside, strict=True)
        ]

    return flow(jaxpr, inputs, step, _NO_WAY)


def depends(jaxpr: Any, inputs: Sequence[bool]) -> list[bool]:
    """Which outputs of a program depend in any way on the inputs marked True."""

    def step(_, path, operands):
        return None if bodies(path[-1]) else [any(operands)] * len(path[-1].outvars)

    return flow(jaxpr, inputs, step, False)


def _opens(eqn: Any) -> bool:
    """Whether the cut can be looked for inside."""
    control = (primitives.scan_p, primitives.while_p, primitives.cond_p)
    return eqn.primitive in control or fits(eqn, bodies(eqn))


def _passes(parent: Any, eqn: Any, active: tuple[bool, ...]) -> list[bool]:
    """Which results of an equation pass a gradient to the active operands, as JAX has it."""
    passes = [differentiable(v.aval.dtype) for v in eqn.outvars]
    program = _compat.one_equation(parent, eqn)
    marked = {v for v, on in zip(eqn.invars, active, strict=True) if on}
    moving = [v for v in program.invars if v in marked]

    def backward(operands, cotangents):
        given = dict(zip(program.invars, operands, strict=True))

        def forward(values):
            now = {**given, **dict(zip(moving, values, strict=True))}
            return jax.core.eval_jaxpr(program, [], *[now[v] for v in program.invars])

        results, vjp = jax.vjp(forward, [given[v] for v in moving])
        zeros = [np.zeros(jax.numpy.shape(r), jax.dtypes.float0) for r in results]
        full = iter(cotangents)
        return vjp([next(full) if ok else z for ok, z in zip(passes, zeros, strict=True)])

    def like(v):
        return jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype)

    real = [i for i, ok in enumerate(passes) if ok]
    try:
        traced = jax.make_jaxpr(backward)(
            [like(v) for v in program.invars], [like(eqn.outvars[i]) for i in real]
        )
    except Exception:
        # No derivative of this operation alone; it stands in no one's way as far as we know.
        return passes
    for place, i in enumerate(real):
        seeds = [False] * len(program.invars) + [place == j for j in range(len(real))]
        passes[i] = any(depends(traced, seeds))
    return passes


def _called(eqn: Any) -> str:
    """What a user calls an operation: its name, the function's for a custom rule."""
    if eqn.primitive is primitives.custom_vjp_call_p:
        return f"the custom_vjp of {_compat.function_name(eqn.params['call_jaxpr'])}"
    if eqn.primitive is primitives.custom_jvp_call_p:
        return f"the custom_jvp of {_compat.function_name(eqn.params['call_jaxpr'])}"
    if eqn.primitive is primitives.convert_element_type_p:
        return f"conversion to {np.dtype(eqn.params['new_dtype']).name}"
    return eqn.primitive.name
