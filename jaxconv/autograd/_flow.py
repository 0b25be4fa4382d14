"""Following values through a traced program: what each equation holds, and what flows where.

A jaxpr is a straight line of equations; some of them hold programs themselves (jit, scan, while,
cond, custom rules, checkpoint). `bodies` opens those, `flow` runs an abstract value through all of
them, loops to a fixed point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend.core import Literal, primitives

from jaxconv import _compat

# A call runs its one program once, on its own operands.
SEEN_THROUGH = (primitives.jit_p, primitives.closed_call_p, primitives.call_p)


def bodies(eqn: Any) -> dict[str, Any]:
    """The programs an equation holds, by what they are to it; {} for an ordinary operation."""
    if eqn.primitive is primitives.while_p:
        return {"cond": eqn.params["cond_jaxpr"], "body": eqn.params["body_jaxpr"]}
    if eqn.primitive is primitives.cond_p:
        return {f"branch {i}": body for i, body in enumerate(eqn.params["branches"])}
    found = {}
    for name, value in eqn.params.items():
        several = isinstance(value, tuple | list)
        for i, item in enumerate(value if several else (value,)):
            if _compat.is_jaxpr(item):
                found[f"{name} {i}" if several else name] = item
    return dict(zip(["body"], found.values(), strict=True)) if len(found) == 1 else found


def flow(
    jaxpr: Any,
    values: Sequence[Any],
    step: Callable[..., Any],
    nothing: Any,
    path: tuple[Any, ...] = (),
) -> list[Any]:
    """The abstract values of a program's results.

    Args:
      jaxpr: the program.
      values: the abstract value of each input. They form a join-semilattice under `|`, with
        `nothing` at the bottom (constants have it), and must be hashable.
      step: `step(jaxpr, path, operands)` gives the values of the results of `path[-1]`, or None to
        let `through` go through the program which that equation holds.
      nothing: the value of constants.
      path: the equations that the program stands in, outermost first.

    Returns:
      One abstract value a result.
    """
    jaxpr = _compat.open_jaxpr(jaxpr)
    known = dict(zip(jaxpr.invars, values, strict=True))

    def read(atom):
        return nothing if isinstance(atom, Literal) else known.get(atom, nothing)

    for eqn in jaxpr.eqns:
        operands = [read(a) for a in eqn.invars]
        here = (*path, eqn)
        results = step(jaxpr, here, operands)
        if results is None:
            results = through(here, operands, step, nothing)
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(a) for a in jaxpr.outvars]


def through(
    path: tuple[Any, ...], operands: list[Any], step: Callable[..., Any], nothing: Any
) -> list[Any]:
    """The abstract values of the results of `path[-1]`, by way of the programs it holds."""
    eqn = path[-1]
    inside = bodies(eqn)

    def run(name, values):
        return flow(inside[name], values, step, nothing, path)

    if eqn.primitive is primitives.scan_p:
        consts, carried = _compat.scan_parts(eqn)
        fixed, carry, scanned = _cut(operands, consts, carried)
        return _scan(
            lambda carry: run("body", fixed + carry + scanned),
            carry,
            len(eqn.outvars) - carried,
            eqn.params["length"],
            nothing,
        )
    if eqn.primitive is primitives.while_p:
        of_cond, of_body, carry = _cut(
            operands, eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
        )
        while True:
            # How often the body runs is part of what comes out.
            choice = run("cond", of_cond + carry)[0]
            joined = _join(carry, [r | choice for r in run("body", of_body + carry)])
            if joined == carry:
                return joined
            carry = joined
    if eqn.primitive is primitives.cond_p:
        choice, *rest = operands
        joined = [nothing] * len(eqn.outvars)
        for name in inside:
            joined = _join(joined, run(name, rest))
        return [choice | value for value in joined]
    if fits(eqn, inside):
        return run("body", operands)
    everything = nothing
    for value in operands:
        everything = everything | value
    return [everything] * len(eqn.outvars)


# A scan whose carried values neither settle nor repeat within so many steps is taken for a loop of
# any length.
_STEPS = 64


def _scan(
    body: Callable[[list[Any]], list[Any]],
    carry: list[Any],
    stacked: int,
    length: int,
    nothing: Any,
) -> list[Any]:
    """Exactly `length` steps: what only a scan of no steps would let through does not pass."""
    carried = len(carry)
    outputs = [nothing] * stacked
    seen: dict[tuple[Any, ...], int] = {}
    states = []
    for taken in range(length + 1):
        state = tuple(carry)
        if taken == length:
            return carry + outputs
        if state in seen:  # from here on it repeats, and every state it has was stacked already
            first = seen[state]
            return [*states[first + (length - first) % (taken - first)], *outputs]
        if taken == _STEPS:
            break
        seen[state] = taken
        states.append(state)
        results = body(carry)
        carry, outputs = results[:carried], _join(outputs, results[carried:])
    for state in states:
        carry = _join(carry, list(state))
    while True:
        results = body(carry)
        joined = _join(carry, results[:carried])
        if joined == carry:
            return results[:carried] + _join(outputs, results[carried:])
        carry = joined


def source_in(path: Sequence[Any]) -> str:
    """The user's line of the last of nested equations.

    The program of a function JAX compiles for itself, such as jnp.round, is traced once for all
    callers: its equations have no line, the call has.
    """
    known = next(filter(None, map(_compat.source_of, reversed(path))), "")
    # JAX notes frames from where tracing began, so a mark that is traced itself has no caller.
    return known or path[-1].params.get("defined", "")


def fits(eqn: Any, inside: dict[str, Any]) -> bool:
    """Whether an equation is a call: it holds one program, with its own operands and results."""
    if list(inside) != ["body"]:
        return False
    body = _compat.open_jaxpr(inside["body"])
    return len(body.invars) == len(eqn.invars) and len(body.outvars) == len(eqn.outvars)


def _cut(values: list[Any], first: int, second: int) -> tuple[list[Any], list[Any], list[Any]]:
    return values[:first], values[first : first + second], values[first + second :]


def _join(a: list[Any], b: list[Any]) -> list[Any]:
    return [x | y for x, y in zip(a, b, strict=True)]
