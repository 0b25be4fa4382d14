"""Transposes that XLA compiles to a loop over tiles.

A transpose by itself is computed in tiles of 16 by 16 numbers. With padding or a slice in the same
fusion it is not: it reads a column at a time, and where the column's numbers lie a power of two
apart, a cache holds few of them (6.4 MB of 256 channels: 1 ms alone, 5.4 ms with its padding). So
what comes before or after a large transpose is kept out of its fusion. Interleaving along a row is
such a transpose too.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jaxconv import _compat
from jaxconv._form import Form
from jaxconv._methods.shifts import pad_rows

# Bytes of an array from which on a pass of its own is worth it.
LARGE = 1 << 20
# Phases that lie channels first interleave along a row. In one fusion with that, a sum is computed
# a number at a time: from so many terms on it is better computed apart.
MANY_TERMS = 4


def apart_if_large(fun: Callable[..., Array], *arrays: Array) -> Array:
    """fun(*arrays), not in one fusion with what it stands next to, if the arrays are large."""
    size = sum(x.size * x.dtype.itemsize for x in arrays)
    return _compat.apart(fun, *arrays) if size >= LARGE else fun(*arrays)


def channels_first(x: Array, form: Form) -> Array:
    """x (N, *S, C) as (N, C, *S), padded."""
    x = jnp.moveaxis(x, -1, 1)
    if form.layout == "first":
        return pad_rows(x, form, 2)
    return apart_if_large(lambda x: pad_rows(x, form, 2), x)


def moved_last(x: Array, form: Form) -> Array:
    """x (N, *S, C) brought to channels last in memory, for a loop that reads it.

    XLA would copy it so, but on JAX 0.12 in two passes. What a call reads lies in plain order too.
    """
    if form.layout == "last":
        return x
    flat = apart_if_large(lambda x: x.reshape(x.shape[0], -1, x.shape[-1]), x)
    return flat.reshape(x.shape)
