"""accelerate: a function with every convolution in it computed by this library."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

from jaxconv import _compat, _lax_pools
from jaxconv._arguments import callable_fun
from jaxconv._channels_last import channels_last
from jaxconv._primitive import as_ours, conv_p
from jaxconv._rewrite import replay, rewrite_jaxpr

P = ParamSpec("P")
R = TypeVar("R")


def accelerate(fun: Callable[P, R]) -> Callable[P, R]:
    """`fun` with every `lax.conv_general_dilated` in it computed by this library's engine.

    fun is traced on the arguments of each call, and every convolution in the traced program,
    also inside its jit, scan, while, cond, checkpoint, custom_jvp and custom_vjp, is
    replaced. Results, types and derivatives are those of fun. Wrap it in `jax.jit`: outside a jit
    each call is traced anew.

        step = jax.jit(jaxconv.accelerate(train_step))

    Put it outermost, around the function that takes the gradient, or inside `jax.grad`, `jax.vmap`
    and the like: both work, and both speed up the gradient too.

    Where JAX computes on a CPU, two more things are done to the program. Convolutions of images
    channels first, (N, C, *S), and what is computed between them have the images channels last in
    memory, if by estimate the program is not slower for it (arguments and results stay as they
    are, and so do convolutions with a method by name). And `lax.reduce_window` with `lax.max`, and
    its gradient, are computed as `max_pool2d` does.

    Args:
      fun: a function of pytrees. Leaves that are arrays are traced; Python numbers, strings and
        other objects reach fun as they are.

    Returns:
      A function with the signature and the results of fun.

    Raises:
      TypeError: fun is not callable.

    Note:
      As under `jax.jit`, Python control flow in fun cannot depend on the value of an array.
      Convolutions that are not in the traced program are not seen: those behind `pure_callback`,
      and those of functions exported or compiled before. Where a window of max pooling has a NaN,
      the gradient goes to it, as in PyTorch; in lax it may go elsewhere.

    Example:
      >>> import jax, jax.numpy as jnp, jaxconv
      >>> from jax import lax
      >>> def layer(x, w):
      ...     return lax.conv(x, w, (1, 1), "SAME")
      >>> x, w = jnp.ones((1, 1, 4, 4)), jnp.ones((1, 1, 3, 3))
      >>> fast = jax.jit(jaxconv.accelerate(layer))
      >>> print(fast(x, w)[0, 0])
      [[4. 6. 6. 4.]
       [6. 9. 9. 6.]
       [6. 9. 9. 6.]
       [4. 6. 6. 4.]]
    """
    remedy = "Write jaxconv.accelerate(fun), and call what it returns"
    callable_fun("accelerate", fun, remedy)
    unchecked: Any = fun  # inside, called with what replay hands on

    def accelerated(*args: P.args, **kwargs: P.kwargs) -> R:
        def call(args: Any, kwargs: Any) -> Any:
            return unchecked(*args, **kwargs)

        return replay(call, _rename, args, kwargs, then=_rearranged)

    # No __wrapped__: Equinox takes a function that has one for a transformed module and warns.
    functools.update_wrapper(accelerated, fun, updated=())
    del accelerated.__wrapped__
    try:
        accelerated.__signature__ = inspect.signature(fun)
    except (TypeError, ValueError):  # a builtin may have none
        pass
    return accelerated


_auto = as_ours("auto")


def _rearranged(program: Any) -> Any:
    """What is done to a program besides its convolutions: where its images lie, and its pooling.

    Not where JAX computes on another processor, for which it would be slower.
    """
    if jax.default_backend() != "cpu":
        return program
    program = channels_last(program)
    return _compat.map_jaxpr(program, lambda jaxpr: rewrite_jaxpr(jaxpr, _lax_pools.as_ours))


def _rename(eqn):
    """lax's convolution as ours, and a checkpoint policy that knows ours for lax's."""
    policy = eqn.params.get("policy") if "prevent_cse" in eqn.params else None
    if callable(policy):
        policy = _compat.checkpoint_policy(policy, conv_p)
        return eqn.replace(params={**eqn.params, "policy": policy})
    return _auto(eqn)
