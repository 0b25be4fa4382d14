"""no_grad: values that take part in no gradient, by a mark that strict gradients can name."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxconv._errors import fail
from jaxconv.autograd._names import differentiable, line_of, thing

P = ParamSpec("P")
R = TypeVar("R")

# The identity with a name: jax.lax.stop_gradient would do the same and not say who asked for it.
no_grad_p = Primitive("no_grad")
# `defined` is the line of the marked function, told where no line of a call is known.
no_grad_p.def_impl(lambda x, *, defined: x)
no_grad_p.def_abstract_eval(lambda x, *, defined: x)
mlir.register_lowering(no_grad_p, lambda ctx, x, *, defined: [x])


def _batch(args, dims, *, defined):
    return no_grad_p.bind(*args, defined=defined), dims[0]


def _derivative(primals, tangents, *, defined):
    # The result goes through the mark again, which takes off the next of nested derivatives.
    y = no_grad_p.bind(*primals, defined=defined)
    return y, ad.Zero(jax.typeof(y).to_tangent_aval())


batching.primitive_batchers[no_grad_p] = _batch
ad.primitive_jvps[no_grad_p] = _derivative


def no_grad(fun: Callable[P, R]) -> Callable[P, R]:
    """`fun`, whose outputs take part in no gradient.

    The inputs are marked too, so nothing inside is differentiated or saved for a backward pass,
    not even what cannot be differentiated. Forward mode is stopped as well. Inside jit the mark is
    gone after compilation. `grad` of this package names `no_grad` where it is what cuts the way,
    and the line of the call (of fun itself if JAX traced the call directly).

    Args:
      fun: any function of arrays; arguments and results may be nested in containers.

    Returns:
      A function with the arguments and results of `fun`.

    Raises:
      TypeError: fun is not callable.

    Example:
      >>> import jax
      >>> from jaxconv import autograd
      >>> square = lambda x: x * x
      >>> jax.grad(lambda x: x * autograd.no_grad(square)(x))(3.0)
      Array(9., dtype=float32, weak_type=True)
    """
    if not callable(fun):
        raise fail(
            TypeError,
            "no_grad",
            "fun must be callable",
            thing(fun),
            "Give the function itself: no_grad(fun)(x)",
        )

    defined = line_of(fun)

    def mark(x):
        if isinstance(x, jax.Array) and differentiable(x.dtype):
            return no_grad_p.bind(x, defined=defined)
        return x

    @functools.wraps(fun)
    def unmarked(*args: P.args, **kwargs: P.kwargs) -> R:
        args, kwargs = jax.tree.map(mark, (args, kwargs))
        return jax.tree.map(mark, fun(*args, **kwargs))

    return unmarked
