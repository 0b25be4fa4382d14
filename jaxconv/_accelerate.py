"""accelerate: a function with every convolution in it computed by this library."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from jaxconv import _compat
from jaxconv._arguments import callable_fun
from jaxconv._primitive import as_ours, conv_p
from jaxconv._rewrite import replay

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
      and those of functions exported or compiled before.

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

        return replay(call, _rename, args, kwargs)

    # No __wrapped__: Equinox takes a function that has one for a transformed module and warns.
    functools.update_wrapper(accelerated, fun, updated=())
    del accelerated.__wrapped__
    try:
        accelerated.__signature__ = inspect.signature(fun)
    except (TypeError, ValueError):  # a builtin may have none
        pass
    return accelerated


_auto = as_ours("auto")


def _rename(eqn):
    """lax's convolution as ours, and a checkpoint policy that knows ours for lax's."""
    policy = eqn.params.get("policy") if "prevent_cse" in eqn.params else None
    if callable(policy):
        policy = _compat.checkpoint_policy(policy, conv_p)
        return eqn.replace(params={**eqn.params, "policy": policy})
    return _auto(eqn)
