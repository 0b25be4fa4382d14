"""Rewrite a traced program: every convolution of lax's becomes one of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.tree_util import tree_flatten, tree_unflatten

from jaxconv import _compat

Rename = Callable[[Any], Any]


def rewrite_jaxpr(jaxpr: Any, rename: Rename, done: dict[int, Any] | None = None) -> Any:
    """`jaxpr` with `rename(eqn)` in place of each equation, in all its sub-programs too.

    Sub-programs that are one object before are one object after, so that a jitted function called
    twice is still compiled once. The rules inside custom_jvp and custom_vjp are rewritten when they
    are called.
    """
    done = {} if done is None else done
    if id(jaxpr) in done:
        return done[id(jaxpr)][1]

    def inside(value: Any) -> Any:
        if id(value) in done:
            return done[id(value)][1]
        mapped = _compat.map_jaxpr(value, lambda j: rewrite_jaxpr(j, rename, done))
        if mapped is not None:
            done[id(value)] = (value, mapped)
            return mapped
        if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
            return type(value)(inside(v) for v in value)
        return value

    equations = []
    for eqn in jaxpr.eqns:
        params = {name: inside(value) for name, value in eqn.params.items()}
        params |= _custom_rules(params, rename)
        if any(params[name] is not eqn.params[name] for name in params):
            eqn = eqn.replace(params=params)
        equations.append(rename(eqn))
    new = jaxpr.replace(eqns=equations)
    done[id(jaxpr)] = (jaxpr, new)  # the old one is kept so that its id stays its own
    return new


def _custom_rules(params: dict[str, Any], rename: Rename) -> dict[str, Any]:
    """The functions of custom derivative rules, rewritten as they run."""

    def first_jaxpr(result: Any) -> Any:
        jaxpr, *rest = result
        return (rewrite_jaxpr(jaxpr, rename), *rest)

    found = {}
    if "jvp_jaxpr_fun" in params:
        found["jvp_jaxpr_fun"] = _compat.map_thunk(params["jvp_jaxpr_fun"], first_jaxpr)
    if "fwd_jaxpr_thunk" in params:
        found["fwd_jaxpr_thunk"] = _compat.map_thunk(params["fwd_jaxpr_thunk"], first_jaxpr)
        found["bwd"] = _compat.around_thunk(
            params["bwd"], lambda call, *args: replay(call, rename, *args)
        )
    return found


def is_array(value: Any) -> bool:
    """Whether `value` is an array or a tracer, something to be traced."""
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype != object
    return isinstance(value, jax.Array)


class Traced(NamedTuple):
    """A function traced on arguments: its closed jaxpr, the arrays that go in, and the way out."""

    closed: Any
    arrays: list[Any]
    rebuild: Callable[[list[Any]], Any]


def trace(fun: Callable[..., Any], *args: Any) -> Traced:
    """`fun` traced on `args`.

    The leaves of args are arrays, shapes (`jax.ShapeDtypeStruct`) or anything else; what is neither
    array nor shape reaches fun, and comes out of it, as it is.
    """
    leaves, tree = tree_flatten(args)
    traced = [is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves]
    out: dict[str, Any] = {}

    def flat(*arrays: Any) -> list[Any]:
        given = iter(arrays)
        full = [next(given) if t else leaf for t, leaf in zip(traced, leaves, strict=True)]
        results, out["tree"] = tree_flatten(fun(*tree_unflatten(tree, full)))
        out["static"] = [None if is_array(r) else (r,) for r in results]
        return [r for r in results if is_array(r)]

    def rebuild(values: list[Any]) -> Any:
        given = iter(values)
        full = [next(given) if s is None else s[0] for s in out["static"]]
        return tree_unflatten(out["tree"], full)

    arrays = [leaf for t, leaf in zip(traced, leaves, strict=True) if t]
    return Traced(jax.make_jaxpr(flat)(*arrays), arrays, rebuild)


def replay(
    fun: Callable[..., Any],
    rename: Rename,
    *args: Any,
    keep_lines: bool = True,
    then: Callable[[Any], Any] = lambda closed: closed,
) -> Any:
    """`fun(*args)` traced, rewritten with `rename` and run.

    Unless `keep_lines`, what it computes is said to come from where this is called in the user's
    program: so where `fun` is no function of theirs.
    """
    closed, arrays, rebuild = trace(fun, *args)
    rewritten = _compat.map_jaxpr(closed, lambda j: rewrite_jaxpr(j, rename))
    results = _compat.eval_jaxpr(then(rewritten), *arrays, keep_lines=keep_lines)
    # The constants of a program are no arrays yet.
    pairs = zip(results, closed.out_avals, strict=True)
    return rebuild([r if isinstance(r, jax.Array) else _compat.as_array(r, a) for r, a in pairs])
