"""Sums that are written out, term by term, for XLA to compile to one loop.

There may be hundreds of terms, and jax.numpy's indexing and arithmetic take several times as long
to trace as lax's primitives do; so these are lax's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jax import Array, lax

from jaxconv import _compat

# Independent partial sums, so that one addition need not wait for the one before.
CHAINS = 4


def add_up(terms: Sequence[Array], chains: int = CHAINS) -> Array:
    """The sum, in independent chains."""
    sums = [functools.reduce(lax.add, terms[i::chains]) for i in range(min(chains, len(terms)))]
    while len(sums) > 1:
        pairs = [lax.add(sums[i], sums[i + 1]) for i in range(0, len(sums) - 1, 2)]
        sums = pairs + sums[2 * len(pairs) :]
    return sums[0]


def in_passes(sums: Callable[..., Array], parts: Iterable[Any], *arrays: Array) -> Array:
    """sums(part, *arrays) of all parts, each of which adds to the last one's y: its last argument.

    Apart: in one fusion with what follows, a sum would run in the order of that.
    """
    y: list[Array] = []
    for part in parts:
        y = [_compat.apart(functools.partial(sums, part), *arrays, *y)]
    return y[0]


def times(a: Array, b: Array | np.ndarray) -> Array:
    """a * b of one dtype, broadcast as NumPy does."""
    shape = np.broadcast_shapes(a.shape, b.shape)
    return lax.mul(_broadcast(a, shape), _broadcast(b, shape))


def _broadcast(x: Array | np.ndarray, shape: tuple[int, ...]) -> Array | np.ndarray:
    """x in a shape that ends with its own, as NumPy broadcasts."""
    if x.shape == shape:
        return x
    return lax.broadcast_in_dim(x, shape, range(len(shape) - x.ndim, len(shape)))


def every(x: Array, steps: Sequence[int]) -> Array:
    """Of each of the last axes every steps[i]-th entry."""
    return lax.slice(x, (0,) * x.ndim, x.shape, (*(1,) * (x.ndim - len(steps)), *steps))
