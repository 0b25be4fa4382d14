"""Products that sum over positions, in the order of operands that XLA's CPU product is fast at.

A weight gradient sums over many positions P and has few rows and columns. The product packs one of
its operands more slowly than the other, so which of the two comes first matters up to a factor of
2.5; measured for P from 400 to 400,000 and 24 to 2,048 rows and columns. The barrier keeps XLA from
turning the swapped product back.

Batched products of few rows keep to one core on JAX 0.12, unless the first operand is transposed.
A few rows times a large weight are no sum over positions; there too the order decides.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxconv import _compat


def of_few_rows(x: Array, w: Array, precision: Any = None) -> Array:
    """A few rows x (P, C) times w (O, C) -> (P, O): w is the first operand and stays as it lies."""
    return lax.optimization_barrier(jnp.matmul(w, x.T, precision=precision)).T


def over_rows(a: Array, b: Array, precision: Any = None) -> Array:
    """a (..., P, A) and b (..., P, B) -> (..., A, B), the narrower operand first."""
    if a.shape[-1] > b.shape[-1]:
        return jnp.swapaxes(lax.optimization_barrier(over_rows(b, a, precision)), -1, -2)
    *batch, rows, _ = range(a.ndim)
    if batch and _compat.JAX_VERSION >= (0, 12):
        a = lax.optimization_barrier(jnp.swapaxes(a, -1, -2))
        return jnp.matmul(a, b, precision=precision)
    return lax.dot_general(a, b, (([rows], [rows]), (batch, batch)), precision=precision)
