"""grad and value_and_grad that do not return zeros in silence.

JAX's answer where no gradient passes is an array of zeros, the same as the gradient of a function
that is flat. These say the difference: the backward pass is traced, and a leaf whose gradient does
not depend on the gradient of the output has no way to it. That is decided from the traced program,
once a trace; nothing of it is left in what runs.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv._errors import fail
from jaxconv.autograd._cuts import Cut, depends, find_cuts, find_loops
from jaxconv.autograd._names import (
    argument_names,
    differentiable,
    is_array,
    kind,
    leaf_names,
    thing,
)

# An error tells of so many leaves; `NoGradientError.cuts` has them all.
TOLD = 8
# What JAX raises where a function looks at the values of what is traced.
LOOKS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


class NoGradientError(RuntimeError):
    """The output does not depend differentiably on an argument leaf.

    Attributes:
      cuts: for each such leaf, by path, the operations that cut its ways to the output, as
        (operation, source) pairs; empty if the output does not use the leaf at all; None if fun
        looks at its values in Python, so that it could not be traced to find out.
    """

    cuts: dict[str, tuple[Cut, ...] | None]

    def __init__(self, message: str, cuts: dict[str, tuple[Cut, ...] | None] | None = None):
        super().__init__(message)
        self.cuts = cuts or {}


def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    reduce_axes: Sequence[Any] = (),
    *,
    allow_unused: Sequence[str] = (),
) -> Callable[..., Any]:
    """`jax.grad`, but a leaf that no gradient reaches is an error, not zeros.

    As in PyTorch the question is whether there is a way, not what its value is: the gradient of
    `0 * x` is an honest zero. Of several ways, such as the branches of a cond, one is enough. A
    way is cut by `jax.lax.stop_gradient`, `no_grad`, a conversion to integers, a comparison,
    floor, round, sign, or a custom rule that returns zeros. Works outside and inside jit and vmap,
    through every kind of control flow, any number of times over (the second derivative of a linear
    function is an error for the same reason). The compiled program is the one of `jax.grad`.

    Args:
      fun: a function of arrays, numbers and containers of them, with a scalar result.
      argnums: the position of the argument to differentiate, or several.
      has_aux: fun returns (output, auxiliary data).
      holomorphic: fun is holomorphic: inputs and output are complex.
      allow_int: integer leaves may be marked; their gradient has dtype float0 and is not checked.
      reduce_axes: as in `jax.grad`, where it is no longer supported.
      allow_unused: paths of leaves that may have no gradient (they get zeros, as from `jax.grad`),
        as the error prints them: "params['conv1']['bias']". A path of a container stands for all
        leaves in it.

    Returns:
      A function with fun's arguments that returns the gradient, for one argnum an array or
      container shaped like that argument, for several a tuple of these; with has_aux the pair of
      that and the auxiliary data.

    Raises:
      NoGradientError: an argument leaf has no way to the output; it names the leaf, and the
        operation and line that cut the way.
      TypeError: the output is no scalar, or a dtype has no gradient.
      ValueError: argnums repeats itself, allow_unused names what is not there, or the gradient
        passes a `jax.lax.while_loop`, which has no reverse mode.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxconv import autograd
      >>> autograd.grad(lambda x, w: jnp.dot(w, x), argnums=(0, 1))(
      ...     jnp.array([1.0, 2.0, 3.0]), jnp.ones(3))
      (Array([1., 1., 1.], dtype=float32), Array([1., 2., 3.], dtype=float32))
      >>> def loss(params):
      ...     return jnp.sum(params["w"] * jax.lax.stop_gradient(params["scale"]))
      >>> autograd.grad(loss)({"w": jnp.ones(3), "scale": jnp.ones(3)})
      Traceback (most recent call last):
      jaxconv.autograd._strict.NoGradientError: grad: every leaf must have a differentiable way to
      the output; got none for params['scale'] float32[3] (cut by stop_gradient at ...:2). Remove
      what cuts it, or expect zeros with allow_unused=("params['scale']",).
    """
    strict = _strict(
        "grad", fun, argnums, has_aux, holomorphic, allow_int, reduce_axes, allow_unused
    )

    @functools.wraps(fun)
    def gradient(*args, **kwargs):
        value, gradients = strict(*args, **kwargs)
        return (gradients, value[1]) if has_aux else gradients

    return gradient


def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
    reduce_axes: Sequence[Any] = (),
    *,
    allow_unused: Sequence[str] = (),
) -> Callable[..., Any]:
    """`jax.value_and_grad`, but a leaf that no gradient reaches is an error, not zeros.

    Everything is as for `grad`, but for what is returned: the pair of fun's output (with has_aux,
    the pair of output and auxiliary data) and the gradient.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxconv import autograd
      >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
      >>> autograd.value_and_grad(lambda x: jnp.mean(3 * (x - 2) ** 2))(x)
      (Array(4.5, dtype=float32), Array([[-1.5,  0. ], [ 1.5,  3. ]], dtype=float32))
    """
    strict = _strict(
        "value_and_grad", fun, argnums, has_aux, holomorphic, allow_int, reduce_axes, allow_unused
    )
    return functools.wraps(fun)(strict)


def _strict(
    name: str,
    fun: Callable[..., Any],
    argnums: int | Sequence[int],
    has_aux: bool,
    holomorphic: bool,
    allow_int: bool,
    reduce_axes: Sequence[Any],
    allow_unused: Sequence[str],
) -> Callable[..., Any]:
    if not callable(fun):
        raise fail(TypeError, name, "fun must be callable", thing(fun), "Give a function")
    if reduce_axes:
        raise fail(
            NotImplementedError,
            name,
            "reduce_axes must be empty, as in jax.grad",
            f"reduce_axes={reduce_axes!r}",
            "Sum over the axes with jax.lax.psum",
        )
    if isinstance(allow_unused, str) or not isinstance(allow_unused, Iterable):
        told = repr(allow_unused)
        raise fail(
            TypeError,
            name,
            "allow_unused must be a sequence of paths",
            f"allow_unused={told}",
            f"Write allow_unused=({told},)" if isinstance(allow_unused, str) else "Give a tuple",
        )
    numbers = _numbers(name, argnums)

    def value_and_gradient(*args, **kwargs):
        marked = _positions(name, numbers, len(args))
        given = argument_names(fun, args)
        leaves = [
            (path, leaf)
            for i in marked
            for path, leaf in zip(
                leaf_names(given[i], args[i]), jax.tree.leaves(args[i]), strict=True
            )
        ]
        allowed = _allowed(name, allow_unused, [path for path, _ in leaves])
        for path, leaf in leaves:
            _check_input(name, path, leaf, holomorphic, allow_int)

        def of_marked(*values):
            full = list(args)
            for i, value in zip(marked, values, strict=True):
                full[i] = value
            result = fun(*full, **kwargs)
            if has_aux:
                _check_pair(name, result)
            _check_output(name, result[0] if has_aux else result, holomorphic)
            return result

        values = [args[i] for i in marked]
        output = None
        try:
            output, pull, *aux = jax.vjp(of_marked, *values, has_aux=has_aux)
            one = jnp.ones_like(output)
            backward = jax.make_jaxpr(pull)(one)
        except ValueError as error:
            if "Reverse-mode differentiation does not work for lax.while_loop" not in str(error):
                raise
            raise _no_reverse_mode(name, leaves, of_marked, values, has_aux) from error
        except LOOKS as error:
            if output is None:
                raise
            raise fail(
                NotImplementedError,
                name,
                "the backward pass is traced to see what it reaches, and must not look at values",
                f"a custom rule that does ({str(error).splitlines()[0].rstrip('.')})",
                "Write the rule with jax.numpy, or use jax.grad",
            ) from error
        reached = depends(backward, [True])
        lost = [
            i
            for i, (path, leaf) in enumerate(leaves)
            if not reached[i] and path not in allowed and differentiable(jnp.result_type(leaf))
        ]
        if lost or not leaves:
            raise _no_gradient(name, lost, leaves, of_marked, values, has_aux)
        gradients = pull(one)
        gradient = gradients[0] if isinstance(numbers, int) else gradients
        return (output, *aux) if has_aux else output, gradient

    return value_and_gradient


# --- what may be asked ------------------------------------------------------------------------


def _numbers(name: str, argnums: Any) -> int | tuple[int, ...]:
    try:
        return operator.index(argnums)
    except TypeError:
        pass
    try:
        return tuple(operator.index(i) for i in argnums)
    except TypeError:
        raise fail(
            TypeError,
            name,
            "argnums must be an integer or several",
            f"argnums={argnums!r}",
            "Give the positions of the arguments to differentiate",
        ) from None


def _positions(name: str, argnums: int | tuple[int, ...], count: int) -> list[int]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    if not numbers:
        raise NoGradientError(
            f"{name}: at least one argument must be marked; got argnums=(). "
            "Name the positions to differentiate in argnums."
        )
    for i in numbers:
        if not -count <= i < count:
            raise fail(
                TypeError,
                name,
                f"argnums={argnums} must name positional arguments of the call",
                f"{count} positional arguments",
                "Pass the argument by position, or change argnums",
            )
    positions = [i % count for i in numbers]
    if len(set(positions)) < len(positions):
        raise fail(
            ValueError,
            name,
            "argnums must name each argument once",
            f"argnums={argnums}",
            "Remove the repeated position",
        )
    return positions


def _allowed(name: str, allow_unused: Sequence[str], paths: list[str]) -> set[str]:
    allowed = set()
    for path in allow_unused:
        # "p['a']" is a container of "p['a']['b']" and "p['a'].b", not of "p['a']s".
        found = [p for p in paths if p == path or p.startswith((f"{path}[", f"{path}."))]
        if not found:
            some = ", ".join(paths[:8]) + (", ..." if len(paths) > 8 else "")
            raise fail(
                ValueError,
                name,
                f"allow_unused={path!r} must be the path of a marked leaf or of a container",
                f"leaves {some}",
                "Write the path as it stands there",
            )
        allowed.update(found)
    return allowed


def _check_input(name: str, path: str, leaf: Any, holomorphic: bool, allow_int: bool) -> None:
    if not is_array(leaf):
        raise fail(
            TypeError,
            name,
            f"marked argument {path} must be an array",
            thing(leaf),
            "Mark other arguments with argnums, or close over this one",
        )
    dtype = jnp.result_type(leaf)
    if holomorphic and not jnp.issubdtype(dtype, np.complexfloating):
        raise fail(
            TypeError,
            name,
            f"marked argument {path} must be complex with holomorphic=True",
            f"{path} {kind(leaf)}",
            "Convert it, or leave holomorphic out",
        )
    if not differentiable(dtype) and not allow_int:
        raise fail(
            TypeError,
            name,
            f"marked argument {path} must be of a float or complex dtype",
            f"{path} {kind(leaf)}",
            "Convert it, mark other arguments with argnums, or pass allow_int=True",
        )


def _check_pair(name: str, result: Any) -> None:
    if not isinstance(result, tuple | list) or len(result) != 2:
        got = f"{len(result)} results" if isinstance(result, tuple | list) else "no tuple"
        raise fail(
            TypeError,
            name,
            "with has_aux=True fun must return (output, auxiliary data)",
            got,
            "Return a pair, or leave has_aux out",
        )


def _check_output(name: str, output: Any, holomorphic: bool) -> None:
    if not is_array(output):
        hint = "; for (output, auxiliary data) pass has_aux=True" if type(output) is tuple else ""
        raise fail(
            TypeError,
            name,
            "fun must return a scalar, shape=()",
            thing(output),
            f"Return one array{hint}",
        )
    if jnp.shape(output) != ():
        raise fail(
            TypeError,
            name,
            "fun must return a scalar, shape=()",
            f"output {kind(output)}",
            "Reduce it, e.g. with jnp.sum, or take jax.jacrev or jax.vjp",
        )
    dtype = jnp.result_type(output)
    complex_ = jnp.issubdtype(dtype, np.complexfloating)
    if holomorphic and not complex_:
        rule, remedy = (
            "fun must return a complex output with holomorphic=True",
            "Leave holomorphic out",
        )
    elif complex_ and not holomorphic:
        rule = "fun must return a real output"
        remedy = "Take jnp.real or jnp.abs of it, or pass holomorphic=True"
    elif not differentiable(dtype):
        rule, remedy = (
            "fun must return a float output",
            "An integer has no gradient: keep floats to the end",
        )
    else:
        return
    raise fail(TypeError, name, rule, f"output {kind(output)}", remedy)


# --- what to say ------------------------------------------------------------------------------


def _no_gradient(
    name: str,
    lost: list[int],
    leaves: list[tuple[str, Any]],
    fun: Callable[..., Any],
    values: list[Any],
    has_aux: bool,
) -> NoGradientError:
    if not leaves:
        return NoGradientError(
            f"{name}: the marked arguments must have leaves; got none, only empty containers. "
            "Mark the arguments that hold arrays with argnums."
        )
    program = _program(fun, values, has_aux)
    cuts: dict[str, tuple[Cut, ...] | None] = {}
    told = []
    for i in lost:
        path, leaf = leaves[i]
        found = None if program is None else find_cuts(program, i)
        cuts[path] = found
        if found is None:
            why = "unused or cut, where is not known: fun looks at values in Python"
        elif not found:
            why = "the output does not use it"
        else:
            named = [str(cut) for cut in found[:4]] + ["..."] * (len(found) > 4)
            why = "cut by " + ", ".join(named)
        told.append(f"{path} {kind(leaf)} ({why})")
    some = ", ".join(repr(path) for path in list(cuts)[:TOLD])
    if len(told) > TOLD:
        told[TOLD:] = [f"and {len(told) - TOLD} more"]
        some += ", ..."
    unused = all(found == () for found in cuts.values())
    message = fail(
        RuntimeError,
        name,
        "every leaf must have a differentiable way to the output",
        f"none for {', '.join(told)}",
        f"{'Use it' if unused else 'Remove what cuts it'}, "
        f"or expect zeros with allow_unused=({some},)".replace("...,)", "...)"),
    )
    return NoGradientError(str(message), cuts)


def _no_reverse_mode(
    name: str,
    leaves: list[tuple[str, Any]],
    fun: Callable[..., Any],
    values: list[Any],
    has_aux: bool,
) -> ValueError:
    program = _program(fun, values, has_aux)
    loops = [] if program is None else find_loops(program, range(len(leaves)))
    at = " and ".join(line for line in loops if line)
    return fail(
        ValueError,
        name,
        "a loop that the gradient passes must have a reverse mode",
        f"lax.while_loop{f' at {at}' if at else ''} (or a fori_loop whose bounds are traced)",
        "Use jaxconv.autograd.while_loop, which takes max_steps, or jax.lax.scan",
    )


def _program(fun: Callable[..., Any], values: list[Any], has_aux: bool) -> Any:
    """The traced function; None if it cannot be traced."""
    try:
        return jax.make_jaxpr(lambda *v: fun(*v)[0] if has_aux else fun(*v))(*values)
    except Exception:
        # Python code that looks at values runs under vjp, with the values at hand; not here.
        return None
