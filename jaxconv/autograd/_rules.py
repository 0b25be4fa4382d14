"""add, split and max: three operations with their gradients written beside them.

Each is a forward function and a backward function. The forward one returns the result and what
the backward one will need; the backward one gets the gradient of each output and returns one
gradient for each input, in order. `add` and `split` are each other's duals: copying forward means
adding backward, adding forward means copying backward. `checked` refuses wrong inputs; it has no
part in the gradients.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxconv._errors import fail
from jaxconv.autograd._checks import checked
from jaxconv.autograd._names import kind

# --- add --------------------------------------------------------------------------------------


@checked
@jax.custom_vjp
def add(x1: jax.Array, x2: jax.Array) -> jax.Array:
    """y = x1 + x2; the gradient of y goes to both, unchanged.

    Args:
      x1: float or complex, any shape.
      x2: of the same shape and dtype.

    Returns:
      The sum, of that shape.

    Raises:
      TypeError: an input is no float or complex array, or the dtypes differ.
      ValueError: the shapes differ. (Broadcasting is a second operation, with its own gradient.)

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxconv import autograd
      >>> x = jnp.array([1.0, 2.0, 3.0])
      >>> jax.grad(lambda x1, x2: jnp.mean(autograd.add(x1, x2)), argnums=(0, 1))(x, x)
      (Array([0.33333334, 0.33333334, 0.33333334], dtype=float32),
       Array([0.33333334, 0.33333334, 0.33333334], dtype=float32))
    """
    return jnp.add(x1, x2)


def _add_forward(x1, x2):
    return add(x1, x2), None


def _add_backward(_, dy):
    return dy, dy


add.defvjp(_add_forward, _add_backward)

# --- split ------------------------------------------------------------------------------------


@checked
@jax.custom_vjp
def split(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(x, x); the gradients of the two copies are added.

    Args:
      x: float or complex, any shape.

    Returns:
      x twice.

    Raises:
      TypeError: x is no float or complex array.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxconv import autograd
      >>> def z(x):
      ...     x1, x2 = autograd.split(x)
      ...     return jnp.mean(x1 + x2)
      >>> jax.grad(z)(jnp.ones(4))
      Array([0.5, 0.5, 0.5, 0.5], dtype=float32)
    """
    x = jnp.asarray(x)
    return x, x


def _split_forward(x):
    return split(x), None


def _split_backward(_, dy):
    dy1, dy2 = dy
    return (dy1 + dy2,)


split.defvjp(_split_forward, _split_backward)

# --- max --------------------------------------------------------------------------------------


@checked
@jax.custom_vjp
def max(x: jax.Array) -> jax.Array:
    """y = the largest entry of x; the gradient of y goes to every entry that equals it.

    Where several entries tie, each gets the full gradient, since each is compared with the
    maximum. `jnp.max` shares the gradient out among them, `torch.max(x, dim)` gives it to one.
    Where an entry is NaN, so is y, and no entry equals it.

    Args:
      x: float, any shape with at least one entry.

    Returns:
      A scalar, shape ().

    Raises:
      TypeError: x is no float array (complex numbers have no order).
      ValueError: x is empty.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxconv import autograd
      >>> x = jnp.array([1.0, 3.0, 3.0, 2.0])
      >>> jax.grad(autograd.max)(x), jax.grad(jnp.max)(x)
      (Array([0., 1., 1., 0.], dtype=float32), Array([0. , 0.5, 0.5, 0. ], dtype=float32))
    """
    if jnp.iscomplexobj(x):
        raise fail(
            TypeError, "max", "x must be real", f"x {kind(x)}", "Compare jnp.abs(x) or jnp.real(x)"
        )
    if jnp.size(x) == 0:
        raise fail(
            ValueError,
            "max",
            "x must have at least one entry",
            f"x {kind(x)}",
            "Check for an empty array first",
        )
    return jnp.max(x)


def _max_forward(x):
    y = max(x)
    return y, (x, y)


def _max_backward(saved, dy):
    x, y = saved
    return (jnp.where(x == y, dy, jnp.zeros_like(dy)),)


max.defvjp(_max_forward, _max_backward)
