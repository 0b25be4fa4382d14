"""Windows along one axis: their maximum, the place of it, their sum, their elements, and back.

A pool over n dimensions is n passes over one dimension each. Every linear pass is written over the
input seen as (position, phase) pairs, `stride` phases a position: then its transpose, which JAX
derives, is made of shifts and a reshape, where the transpose of strided slices would be paddings
with holes. The place of the maximum is found once, as the number of the tap that wins; values and
derivatives of every order are that tap's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._compat import apart, surely_less

# Taps are unrolled up to this many; beyond it a loop or a reduce_window keeps programs short.
UNROLL = 32


class Window(NamedTuple):
    """Windows along `axis`: tap t of window p lies at p * stride + t * dilation - low."""

    axis: int
    size: int
    stride: int
    dilation: int
    low: int
    out: int

    @property
    def reach(self) -> int:
        """How far the last tap lies from the first, plus one."""
        return (self.size - 1) * self.dilation + 1

    @property
    def xp(self) -> Any:
        """NumPy, or JAX's where the number of windows is a symbol (jax.export)."""
        return np if isinstance(self.out, int) else jnp

    @property
    def span(self) -> int:
        """The length that all windows together cover."""
        return (self.out - 1) * self.stride + self.reach


def lowest(dtype: Any) -> Any:
    """What is below or equal to every number of `dtype`."""
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.iinfo(dtype).min
    # Some floats of eight bits have no infinity.
    return -np.inf if np.isneginf(np.float32(np.asarray(-np.inf, dtype))) else jnp.finfo(dtype).min


def fitted(x: Array, w: Window, length: int, fill: Any) -> Array:
    """x with `low` elements before it, and cut or filled up to `length` along the axis."""
    config = [(0, 0, 0)] * x.ndim
    config[w.axis] = (w.low, length - w.low - x.shape[w.axis], 0)
    return lax.pad(x, jnp.asarray(fill, x.dtype), config)


def padded(x: Array, windows: Sequence[Window], fill: Any) -> tuple[Array, tuple[Window, ...]]:
    """x with its padding, and the windows on it, where padding is needed.

    It is made first, by itself: among the slices, XLA would ask for each element of each whether it
    is padding.
    """
    windows = tuple(windows)
    if all(w.low == 0 and not surely_less(x.shape[w.axis], w.span) for w in windows):
        return x, windows

    def pad(x: Array) -> Array:
        for w in windows:
            x = fitted(x, w, w.span, fill)
        return x

    return apart(pad, x), tuple(w._replace(low=0) for w in windows)


def taps(x: Array, windows: Sequence[Window], fill: Any) -> list[Array]:
    """For each tap, in row-major order, its elements of all windows."""
    parts = [x]
    for w in windows:
        parts = [
            lax.slice_in_dim(part, t, t + (w.out - 1) * w.stride + 1, w.stride, w.axis)
            for part in [fitted(part, w, w.span, fill) for part in parts]
            for t in range(0, w.reach, w.dilation)
        ]
    return parts


# --- maximum ---------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def maximum(x: Array, windows: tuple[Window, ...]) -> Array:
    """The largest element of each window; NaN if it holds one."""
    if np.prod([w.size for w in windows]) <= UNROLL:
        x, windows = padded(x, windows, lowest(x.dtype))
        return functools.reduce(jnp.maximum, taps(x, windows, lowest(x.dtype)))
    for w in reversed(windows):
        if w.size <= UNROLL:
            x = functools.reduce(jnp.maximum, taps(x, (w,), lowest(x.dtype)))
        else:
            x = _reduced(x, w, lowest(x.dtype), lax.max)
    return x


@maximum.defjvp
def _(windows, primals, tangents):
    (x,), (dx,) = primals, tangents
    return maximum(x, windows), at_maximum(dx, x, windows)


def at_maximum(dx: Array, x: Array, windows: Sequence[Window]) -> Array:
    """From each window of dx the element where x has its maximum; linear in dx."""
    for w in reversed(windows):  # the last dimension first: row-major order of ties
        x, tap = first_maximum(x, w)
        dx = pick(dx, lax.optimization_barrier(tap), w)
    return dx


def places(x: Array, windows: Sequence[Window]) -> Array:
    """The place of each window's maximum, counted in row-major order over the windows' axes."""
    place = jnp.zeros((1,) * x.ndim, jnp.int32)
    for w in windows:
        place = place * x.shape[w.axis] + lax.broadcasted_iota(
            jnp.int32, tuple(n if d == w.axis else 1 for d, n in enumerate(x.shape)), w.axis
        )
    place = jnp.broadcast_to(place, x.shape)
    for w in reversed(windows):
        x, tap = first_maximum(x, w)
        place = pick(place, tap, w)
    return place.astype(jnp.asarray(0).dtype)  # int64 only where x64 is on


def first_maximum(x: Array, w: Window) -> tuple[Array, Array]:
    """The maximum of each window, and its tap: the first largest, or the last NaN, as in PyTorch.

    A window of nothing but -inf has its maximum at the first tap that is not in the padding.
    """
    small = w.size < 255  # 255 is free to mean: no tap
    number = jnp.uint8 if small else jnp.int32
    x = fitted(x, w, w.span, lowest(x.dtype))
    shape = [1] * x.ndim
    shape[w.axis] = w.out
    xp = w.xp
    start = xp.maximum(0, -((xp.arange(w.out) * w.stride - w.low) // w.dilation)).reshape(shape)
    full = (*x.shape[: w.axis], w.out, *x.shape[w.axis + 1 :])
    best = jnp.full(full, lowest(x.dtype), x.dtype)
    tap = jnp.broadcast_to(jnp.asarray(xp.minimum(start, w.size - 1), number), full)

    def step(t: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        best, tap = state
        length = (w.out - 1) * w.stride + 1
        if isinstance(t, int):
            part = lax.slice_in_dim(x, t * w.dilation, t * w.dilation + length, w.stride, w.axis)
        else:
            part = lax.dynamic_slice_in_dim(x, t * w.dilation, length, w.axis)
            part = lax.slice_in_dim(part, 0, length, w.stride, w.axis)
        better = (part > best) | (part != part)
        return jnp.where(better, part, best), jnp.where(better, jnp.asarray(t, number), tap)

    if w.size > UNROLL:
        return lax.fori_loop(0, w.size, step, (best, tap))
    for t in range(w.size):
        best, tap = step(t, (best, tap))
    return best, tap


def pick(x: Array, tap: Array, w: Window) -> Array:
    """From each window of x the element of the given tap; linear in x, with a cheap transpose."""
    if w.out == 1:
        w = w._replace(stride=max(w.stride, w.reach))
    shifts = -(-w.reach // w.stride)
    if shifts > UNROLL:
        shape = [1] * x.ndim
        shape[w.axis] = w.out
        start = lax.iota(jnp.int32, w.out).reshape(shape) * w.stride
        where = start + tap.astype(jnp.int32) * w.dilation
        return jnp.take_along_axis(fitted(x, w, w.span, 0), where, w.axis)
    phases = _phases(x, w, shifts)
    none = 255 if tap.dtype == jnp.uint8 else -1
    out = None
    for m in range(shifts):
        offset = m * w.stride + np.arange(w.stride)
        valid = (offset % w.dilation == 0) & (offset < w.reach)
        if not valid.any():
            continue
        shape = [1] * phases.ndim
        shape[w.axis + 1] = w.stride
        number = np.where(valid, offset // w.dilation, none).astype(tap.dtype).reshape(shape)
        part = lax.slice_in_dim(phases, m, m + w.out, 1, w.axis)
        hit = jnp.expand_dims(tap, w.axis + 1) == number
        chosen = _sum(jnp.where(hit, part, jnp.zeros((), x.dtype)), w.axis + 1)
        out = chosen if out is None else out + chosen
    assert out is not None  # tap 0 is always there
    return out


def _sum(x: Array, axis: int) -> Array:
    return jnp.sum(x, axis, dtype=x.dtype)


def _phases(x: Array, w: Window, shifts: int) -> Array:
    """x as (position, phase) along the axis: element p * stride + r at [p, r]."""
    positions = w.out + shifts - 1
    x = fitted(x, w, positions * w.stride, 0)
    return x.reshape(*x.shape[: w.axis], positions, w.stride, *x.shape[w.axis + 1 :])


def _reduced(x: Array, w: Window, fill: Any, op: Any) -> Array:
    """The windows reduced by XLA's own loop, for long ones."""
    ones = [1] * x.ndim
    size, stride, dilation = list(ones), list(ones), list(ones)
    size[w.axis], stride[w.axis], dilation[w.axis] = w.size, w.stride, w.dilation
    x = fitted(x, w, w.span, fill)
    # A number, not an array: by it lax knows a sum and a maximum, and how to differentiate a sum.
    start = np.asarray(fill, x.dtype)
    return lax.reduce_window(x, start, op, size, stride, "VALID", ones, dilation)


# --- sums and elements -----------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def total(x: Array, w: Window) -> Array:
    """The sum of each window (dilation 1)."""
    if w.size > UNROLL:
        return _long_total(x, w)
    return functools.reduce(jnp.add, taps(x, (w,), 0))


@total.defjvp
def _(w, primals, tangents):
    (x,), (dx,) = primals, tangents
    return total(x, w), _long_total(dx, w) if w.size > UNROLL else _phase_total(dx, w)


def _long_total(x: Array, w: Window) -> Array:
    if w.out == 1:
        return jnp.sum(fitted(x, w, w.span, 0), w.axis, dtype=x.dtype, keepdims=True)
    return _reduced(x, w, 0, lax.add)


def _phase_total(x: Array, w: Window) -> Array:
    """`total`, written so that its transpose has no holes."""
    shifts = -(-w.size // w.stride)
    phases = _phases(x, w, shifts)
    parts = []
    for m in range(shifts):
        part = lax.slice_in_dim(phases, m, m + w.out, 1, w.axis)
        used = min(w.stride, w.size - m * w.stride)
        parts.append(_sum(lax.slice_in_dim(part, 0, used, 1, w.axis + 1), w.axis + 1))
    return functools.reduce(jnp.add, parts)


def elements(x: Array, w: Window) -> Array:
    """All elements of each window, (..., size, out, ...) in place of the axis."""
    shifts = -(-w.reach // w.stride)
    phases = _phases(x, w, shifts)
    parts = [
        jnp.swapaxes(lax.slice_in_dim(phases, m, m + w.out, 1, w.axis), w.axis, w.axis + 1)
        for m in range(shifts)
    ]
    joined = lax.concatenate(parts, w.axis) if len(parts) > 1 else parts[0]
    return lax.slice_in_dim(joined, 0, w.reach, w.dilation, w.axis)


def overlap_add(x: Array, w: Window, length: int) -> Array:
    """The transpose of `elements`: (..., size, out, ...) summed into an axis of `length`."""
    shifts = -(-w.reach // w.stride)
    config = [(0, 0, 0)] * x.ndim
    config[w.axis] = (0, shifts * w.stride - w.reach, w.dilation - 1)
    x = lax.pad(x, jnp.zeros((), x.dtype), config)
    parts = []
    for m in range(shifts):
        part = lax.slice_in_dim(x, m * w.stride, (m + 1) * w.stride, 1, w.axis)
        part = jnp.swapaxes(part, w.axis, w.axis + 1)
        config[w.axis] = (m, shifts - 1 - m, 0)
        parts.append(lax.pad(part, jnp.zeros((), x.dtype), config))
    phases = functools.reduce(jnp.add, parts)
    merged = phases.shape[w.axis] * w.stride
    x = phases.reshape(*phases.shape[: w.axis], merged, *phases.shape[w.axis + 2 :])
    config = [(0, 0, 0)] * x.ndim
    config[w.axis] = (-w.low, length + w.low - merged, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), config)
