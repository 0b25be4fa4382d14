"""Matrix products: oneDNN's where it can be called, else in the order that XLA's is fast at.

oneDNN took 0.8 of the time of XLA's two libraries for products of convolutions, half of it for
those of groups (docs/xla.md), and does not mind the order.

Of XLA's own: a weight gradient sums over many positions P and has few rows and columns. The product
packs one of its operands more slowly than the other, so which of the two comes first matters up to
a factor of 2.5; measured for P from 400 to 400,000 and 24 to 2,048 rows and columns. The barrier
keeps XLA from turning the swapped product back.

Batched products of few rows keep to one core on JAX 0.12, unless the first operand is transposed.
A few rows times a large weight are no sum over positions; there too the order decides.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _compat, _onednn, _onednn_calls
from jaxconv._form import Form


def by_onednn(form: Form, a: Array, b: Array) -> bool:
    """Whether a product of a and b is oneDNN's."""
    single = a.dtype == b.dtype == np.float32
    return single and not form.portable and _onednn.products()


def product(
    a: Array, b: Array, form: Form, *, transpose_a: bool = False, transpose_b: bool = False
) -> Array:
    """a @ b for each of their leading axes, the last two of either transposed first if asked."""
    if by_onednn(form, a, b):
        return _onednn_calls.product(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    *batch, row, column = range(a.ndim)
    summed = [row if transpose_a else column], [column if transpose_b else row]
    return lax.dot_general(a, b, (summed, (batch, batch)), precision=form.precision)


def of_few_rows(x: Array, w: Array, form: Form) -> Array:
    """A few rows x (P, C) times w (O, C) -> (P, O): w stays as it lies."""
    if by_onednn(form, x, w):
        return _onednn_calls.product(x, w, transpose_b=True)
    return lax.optimization_barrier(jnp.matmul(w, x.T, precision=form.precision)).T


def over_rows(a: Array, b: Array, form: Form) -> Array:
    """a (..., P, A) and b (..., P, B) -> (..., A, B)."""
    if by_onednn(form, a, b):
        return _onednn_calls.product(a, b, transpose_a=True)
    if a.shape[-1] > b.shape[-1]:  # the narrower operand first
        return jnp.swapaxes(lax.optimization_barrier(over_rows(b, a, form)), -1, -2)
    if a.ndim > 2 and _compat.JAX_VERSION >= (0, 12):
        a = lax.optimization_barrier(jnp.swapaxes(a, -1, -2))
        return product(a, b, form)
    return product(a, b, form, transpose_a=True)
