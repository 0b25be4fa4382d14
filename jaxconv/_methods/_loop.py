"""Loops over parts of an array that leave nothing to copy.

What a loop reads must lie in memory in plain order, and a result that is put together in a loop is
written in place. So parts are cut out of the array as it is, inside the loop: stacking them for
`lax.scan` by a reshape makes an axis of size 1 where a part is one example, and XLA copies all of
the array to give that axis a stride.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

Index = Array | int


def cut(x: Array, start: Sequence[Index], size: Sequence[int]) -> Array:
    """The part of x of `size` that begins at `start`; no index counts from the end."""
    return lax.dynamic_slice(x, start, size, allow_negative_indices=False)


def cut_along(x: Array, start: Index, size: int, axis: int) -> Array:
    """`size` entries along an axis, from `start` on."""
    return lax.dynamic_slice_in_dim(x, start, size, axis, allow_negative_indices=False)


def part(x: Array, number: Index, size: int, axis: int = 0) -> Array:
    """Part `number` of x, of `size` entries along an axis."""
    return cut_along(x, number * size, size, axis)


def traced_once(fun: Callable[..., Array]) -> Callable[..., Array]:
    """fun as a function that is traced once for all calls with arrays of the same shapes."""
    return jax.jit(fun, inline=True)


def divisor(size: int, most: int) -> int:
    """The largest divisor of `size` up to `most`, at least 1."""
    return next(d for d in range(max(1, min(size, most)), 0, -1) if size % d == 0)


def even_part(size: int, most: int) -> int:
    """The largest divisor of `size` up to `most`, or `most` where that is under half of `most`."""
    most = max(1, min(size, most))
    even = divisor(size, most)
    return even if 2 * even >= most else most


def join(count: int, block: Callable[[Index], Array], axis: int = 0) -> Array:
    """block(0), block(1), ... side by side along an axis."""
    if count == 1:
        return block(0)
    block = traced_once(block)
    one = jax.eval_shape(block, 0)
    axis %= len(one.shape)
    size = one.shape[axis]
    whole = jnp.zeros((*one.shape[:axis], count * size, *one.shape[axis + 1 :]), one.dtype)

    def put(i: Index, y: Array) -> Array:
        return lax.dynamic_update_slice_in_dim(
            y, block(i), i * size, axis, allow_negative_indices=False
        )

    return lax.fori_loop(0, count, put, whole)


def total(count: int, block: Callable[[Index], Array]) -> Array:
    """block(0) + block(1) + ..."""
    if count == 1:
        return block(0)
    block = traced_once(block)
    one = jax.eval_shape(block, 0)
    zeros = jnp.zeros(one.shape, one.dtype)
    return lax.fori_loop(0, count, lambda i, sums: sums + block(i), zeros)


def accumulate(block: Callable[..., Array], acc: Array, size: int, *arrays: Array) -> Array:
    """acc, taken through block(acc, ...) for every `size` examples of the arrays; the rest last."""
    batch = arrays[0].shape[0]
    whole = batch // size
    if whole == 1:
        acc = block(acc, *(a[:size] for a in arrays))
    elif whole > 1:
        acc = lax.fori_loop(
            0, whole, lambda i, acc: block(acc, *(part(a, i, size) for a in arrays)), acc
        )
    if batch % size:
        acc = block(acc, *(a[whole * size :] for a in arrays))
    return acc
