"""while_loop: a loop of data-dependent length that is jitted and differentiated in reverse.

Undifferentiated it is `jax.lax.while_loop`. Differentiated, the same steps run as a tree of scans:
with D levels of B iterations each, B**D >= max_steps, and every iteration above the lowest level
under `jax.checkpoint`. A level keeps the values its B iterations began with and recomputes what is
inside one of them when the backward pass comes to it, so B values are held a level, B D in all, and
a step is computed D times. This is multilevel checkpointing with fixed intervals, of memory order
log(max_steps) at fixed B and of order sqrt(max_steps) at D = 2; binomial placement (revolve) would
need fewer recomputations, but a table of checkpoints that no derivative can be taken through.

Source:
  A. Griewank, Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
  differentiation, Optimization Methods and Software 1 (1992), 35-54; A. Griewank and A. Walther,
  Algorithm 799: revolve, ACM Transactions on Mathematical Software 26 (2000), 19-45.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxconv import _compat
from jaxconv._errors import fail
from jaxconv.autograd._examples import any_example, live
from jaxconv.autograd._names import differentiable, is_array, kind, leaf_names, thing

T = TypeVar("T")

# Steps are counted in an int32.
MOST = 2**31 - 1

# Iterations a level. Up to here nothing is recomputed; up to its square each step runs twice.
WIDTH = 32


def while_loop(
    cond_fun: Callable[[T], Any], body_fun: Callable[[T], T], init_val: T, *, max_steps: int
) -> T:
    """`jax.lax.while_loop`, differentiable in reverse.

    The value is that of `while cond_fun(val): val = body_fun(val)`. Forward and reverse mode, to
    any order, under jit and vmap, in any nesting. cond_fun only looks: it takes no part in the
    gradient.

    Cost: the loop follows the steps taken, not max_steps. Undifferentiated it is one
    `lax.while_loop`. Differentiated in reverse with D = ceil(log(max_steps) / log(32)) levels, each
    step taken is computed D times (once up to 32 steps, twice up to 1,024, four times up to
    1,048,576) and differentiated once, besides at most about 32 D empty iterations. Under vmap the
    loop runs until the last example is done.

    Memory of the backward pass: 32 D values of the loop, and what body_fun saves for 32 steps. A
    body_fun that saves much is best wrapped in `jax.checkpoint`.

    A loop that has not ended after max_steps is a RuntimeError outside jit, also under grad and
    vmap. Inside jit, and inside a scan, cond or checkpoint of JAX's, which trace as well, nothing
    can be raised: every float or complex leaf of the result is NaN, and so are the gradients
    through it; under vmap only those of the examples concerned. `jnp.isnan(result)` tests for it.
    Integer and boolean leaves hold the value after max_steps: a counter among them equals
    max_steps, and cond_fun of a result of such leaves is still True.

    Args:
      cond_fun: from the value to a boolean scalar.
      body_fun: from the value to the next, of the same structure, shapes and dtypes.
      init_val: the first value: an array, number or container of them.
      max_steps: the most steps the loop may take, 1 to 2**31 - 1, known when traced.

    Returns:
      The first value for which cond_fun is False.

    Raises:
      RuntimeError: outside jit, the loop takes more than max_steps steps.
      TypeError: body_fun changes the structure, a shape or a dtype (the message names the leaf);
        cond_fun does not return a boolean scalar; a leaf is no array; max_steps is no integer.
      ValueError: max_steps is less than 1, or more than 2**31 - 1.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxconv import autograd
      >>> def double_to_1000(x):
      ...     return autograd.while_loop(
      ...         lambda y: jnp.linalg.norm(y) < 1000, lambda y: 2 * y, 2 * x, max_steps=100
      ...     )
      >>> x = jnp.array([1.0, 0.5, -1.0])
      >>> _, backward = jax.vjp(jax.jit(double_to_1000), x)
      >>> backward(jnp.array([0.1, 1.0, 0.0001]))
      (Array([1.024e+02, 1.024e+03, 1.024e-01], dtype=float32),)
    """
    max_steps = _checked_steps(max_steps)
    loop, consts, init = _trace(cond_fun, body_fun, init_val, max_steps)
    leaves, ended = _while_loop(loop, consts, init)
    # One answer for all examples of a vmap; without jit around, it is known here.
    known = _known(any_example(~ended))
    if known is None:
        leaves = [_nan_unless(ended, x) for x in leaves]
    elif known:
        raise RuntimeError(
            f"while_loop: the loop must end within max_steps={max_steps}; got a loop that goes on. "
            "Raise max_steps, or look whether cond_fun ever becomes False."
        )
    return jax.tree.unflatten(loop.tree, leaves)


class _Loop(NamedTuple):
    """A while loop as programs of flat lists; what they close over comes as `consts`."""

    cond: Callable[..., Any]  # (consts, leaves) -> bool
    body: Callable[..., Any]  # (consts, leaves) -> leaves
    max_steps: int
    tree: Any


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _while_loop(loop: _Loop, consts: list[Any], init: list[Any]) -> tuple[list[Any], Any]:
    """The final leaves, and whether the loop came to its end: no derivative asked for."""

    def wants(state):
        step, leaves = state
        return (step < loop.max_steps) & loop.cond(consts, leaves)

    def advance(state):
        step, leaves = state
        return step + 1, loop.body(consts, leaves)

    leaves = lax.while_loop(wants, advance, (jnp.int32(0), init))[1]
    return leaves, ~loop.cond(consts, leaves)


@functools.partial(_while_loop.defjvp, symbolic_zeros=True)
def _run_derivative(loop, primals, tangents):
    """The derivative of the loop is JAX's own, of the tree of scans."""
    values, tree = jax.tree.flatten(primals)
    moving = [not isinstance(t, SymbolicZero) for t in jax.tree.leaves(tangents, is_leaf=_is_zero)]

    def tree_of_scans(moved):
        moved = iter(moved)
        return _run_checkpointed(
            loop,
            *tree.unflatten(
                [next(moved) if moves else v for v, moves in zip(values, moving, strict=True)]
            ),
        )

    chosen = [v for v, moves in zip(values, moving, strict=True) if moves]
    directions = [
        t
        for t, moves in zip(jax.tree.leaves(tangents, is_leaf=_is_zero), moving, strict=True)
        if moves
    ]
    return jax.jvp(tree_of_scans, (chosen,), (directions,))


def _is_zero(x):
    return isinstance(x, SymbolicZero)


# --- the loop that can be differentiated ------------------------------------------------------


def _run_checkpointed(loop: _Loop, consts: list[Any], init: list[Any]) -> tuple[list[Any], Any]:
    """What `_while_loop` computes, by scans of fixed length whose iterations may be empty."""
    depth = levels(loop.max_steps)
    width = _root(loop.max_steps, depth)
    first = loop.cond(consts, init)
    # Under vmap an example that is done stands still while others go on. The body sees its first
    # value meanwhile, one it has seen before, or one of another example, if it never takes a step:
    # at any other its derivative may be infinite, and infinity times no gradient would be NaN.
    seen = [live(x, first) for x in consts]
    still = [live(x, first) for x in lax.stop_gradient(init)]

    def iterate(level):
        inside = one_step if level == 1 else iterate(level - 1)

        def iteration(state, _):
            go = any_example(state[1])
            return lax.cond(go, inside, lambda state: state, state), None

        # The lowest level keeps what its steps save: its values are about to be used.
        if level > 1:
            iteration = jax.checkpoint(iteration, prevent_cse=False)
        return lambda state: lax.scan(iteration, state, length=width)[0]

    def one_step(state):
        step, goes, leaves = state
        inputs = [_where(goes, x, at) for x, at in zip(leaves, still, strict=True)]
        after = loop.body(seen, inputs)
        leaves = [_where(goes, new, old) for new, old in zip(after, leaves, strict=True)]
        step = step + 1
        return step, goes & (step < loop.max_steps) & loop.cond(consts, leaves), leaves

    _, _, leaves = iterate(depth)((jnp.int32(0), first, list(init)))
    return leaves, ~loop.cond(consts, leaves)


def levels(max_steps: int) -> int:
    """How many levels of scans hold max_steps: how often a step is computed in reverse mode."""
    depth = 1
    while WIDTH**depth < max_steps:
        depth += 1
    return depth


def _root(n: int, degree: int) -> int:
    """The smallest integer whose power of that degree is at least n."""
    root = math.floor(n ** (1 / degree))
    while root**degree < n:
        root += 1
    return root


def _where(condition, x, y):
    return lax.select(jnp.broadcast_to(condition, jnp.shape(x)), x, y)


# --- the end ----------------------------------------------------------------------------------


def _known(flag: Any) -> bool | None:
    """The flag's value, None inside jit."""
    try:
        return bool(flag)
    except jax.errors.ConcretizationTypeError:
        return None


def _nan_unless(ended, x):
    """x where the loop ended, else NaN, with a gradient that is NaN as well."""
    if not differentiable(x.dtype):
        return x
    if jnp.iscomplexobj(x):  # part by part: (inf + 0j) * (1 + 0j) is not inf
        return lax.complex(_nan_unless(ended, x.real), _nan_unless(ended, x.imag))
    return x * jnp.where(ended, 1, np.nan).astype(x.dtype)


# --- the user's functions ---------------------------------------------------------------------


def _checked_steps(max_steps: Any) -> int:
    try:
        steps = operator.index(max_steps)
        if isinstance(max_steps, bool):
            raise TypeError
    except TypeError:
        raise fail(
            TypeError,
            "while_loop",
            "max_steps must be an integer known when traced",
            f"max_steps={max_steps!r}",
            "Give a Python integer",
        ) from None
    if steps < 1:
        raise fail(
            ValueError,
            "while_loop",
            "max_steps must be 1 or more",
            f"max_steps={steps}",
            "Give the most steps the loop may take",
        )
    if steps > MOST:
        raise fail(
            ValueError,
            "while_loop",
            f"max_steps must be at most {MOST}",
            f"max_steps={steps}",
            "Lower it: steps are counted in 32 bits",
        )
    return steps


def _trace(
    cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init_val: Any, max_steps: int
) -> tuple[_Loop, list[Any], list[Any]]:
    """The loop as flat programs, what they close over, and the first value's leaves."""
    for name, fun in (("cond_fun", cond_fun), ("body_fun", body_fun)):
        if not callable(fun):
            raise fail(
                TypeError,
                "while_loop",
                f"{name} must be callable",
                thing(fun),
                "Give a function of the loop's value",
            )
    paths, tree = jax.tree_util.tree_flatten_with_path(init_val)
    names = [f"init_val{jax.tree_util.keystr(path)}" for path, _ in paths]
    for name, (_, x) in zip(names, paths, strict=True):
        _check_array(f"{name} must be an array", x)
    init = [jnp.asarray(x) for _, x in paths]
    body, shapes = _body(body_fun, tree, init)
    new = jax.tree.leaves(shapes)
    # As in lax: a Python number takes the dtype the body gives it.
    promoted = [
        x.astype(y.dtype)
        if jax.typeof(x).weak_type and x.dtype != y.dtype and jnp.result_type(x, y.dtype) == y.dtype
        else x
        for x, y in zip(init, new, strict=True)
    ]
    if any(x.dtype != y.dtype for x, y in zip(init, promoted, strict=True)):
        init = promoted
        body, shapes = _body(body_fun, tree, init)
        new = jax.tree.leaves(shapes)
    for name, x, y in zip(names, init, new, strict=True):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            raise fail(
                TypeError,
                "while_loop",
                f"body_fun must keep the shape and dtype of {name} {kind(x)}",
                f"{kind(y)} after one step",
                "Convert it in body_fun, or start from a value of the right kind",
            )
    init = [lax.convert_element_type(x, x.dtype) for x in init]  # no longer weakly typed
    cond = _cond(cond_fun, tree, init)
    split = len(cond.consts)

    def run_cond(consts, leaves):
        return jax.core.eval_jaxpr(_compat.open_jaxpr(cond), consts[:split], *leaves)[0]

    def run_body(consts, leaves):
        after = jax.core.eval_jaxpr(_compat.open_jaxpr(body), consts[split:], *leaves)
        return [lax.convert_element_type(y, x.dtype) for x, y in zip(leaves, after, strict=True)]

    loop = _Loop(run_cond, run_body, max_steps, tree)
    return loop, [*cond.consts, *body.consts], init


def _body(body_fun: Callable[..., Any], tree: Any, init: list[Any]) -> tuple[Any, Any]:
    def flat(*leaves):
        after = body_fun(tree.unflatten(leaves))
        _check_structure(tree, after)
        return after

    return jax.make_jaxpr(flat, return_shape=True)(*init)


def _check_array(rule: str, x: Any) -> None:
    if not is_array(x) and not hasattr(x, "__jax_array__"):
        remedy = "Keep what is no array out of the loop's value: close over it"
        raise fail(TypeError, "while_loop", rule, thing(x), remedy)


def _check_structure(tree: Any, after: Any) -> None:
    for path, x in zip(leaf_names("", after), jax.tree.leaves(after), strict=True):
        _check_array(f"body_fun must return an array for init_val{path}", x)
    if jax.tree.structure(after) != tree:
        before = leaf_names("init_val", tree.unflatten([0] * tree.num_leaves))
        new = leaf_names("init_val", after)
        told = [f"no {name}" for name in before if name not in new]
        told += [f"a new {name}" for name in new if name not in before]
        raise fail(
            TypeError,
            "while_loop",
            f"body_fun must keep the structure of init_val, {_told(tree)}",
            f"{_told(jax.tree.structure(after))} after one step"
            + (f", with {' and '.join(told[:4])}" if told else ""),
            "Return a value built as init_val is",
        )


def _told(tree: Any) -> str:
    return str(tree).removeprefix("PyTreeDef(").removesuffix(")")


def _cond(cond_fun: Callable[..., Any], tree: Any, init: list[Any]) -> Any:
    def flat(*leaves):
        result = cond_fun(tree.unflatten(leaves))
        if not is_array(result) and not hasattr(result, "__jax_array__"):
            got = thing(result)
        elif (jnp.shape(result), jnp.result_type(result)) != ((), np.bool_):
            got = kind(result)
        else:
            return result
        raise fail(
            TypeError,
            "while_loop",
            "cond_fun must return a boolean scalar, bool[]",
            got,
            "Compare, and reduce with jnp.any or jnp.all",
        )

    return jax.make_jaxpr(flat)(*init)
