"""Rows that are read with a stride, as several rows that are not.

Vectors want numbers that lie side by side. Where many taps read a row of pixels at every s-th
number, x is brought apart once: columns r, r + s, r + 2s, ... as an array for each r. A tap whose
first column is k then reads array k mod s, from k div s on.

Source: the polyphase form of a decimating filter (P. P. Vaidyanathan, "Multirate Systems and Filter
Banks", 1993, section 4.3), as in `phases`.
"""

from __future__ import annotations

import dataclasses

from jax import Array, lax

from jaxconv import _compat
from jaxconv._form import Form, window


def columns(x: Array, stride: int) -> tuple[Array, ...]:
    """Every `stride`-th column of x (its last axis), from each of the first `stride` on.

    Computed apart: in one fusion with the sum each tap would read with the stride again.
    """

    def bring_apart(x: Array) -> tuple[Array, ...]:
        first = range(min(stride, x.shape[-1]))
        return tuple(lax.slice_in_dim(x, r, None, stride, axis=-1) for r in first)

    return _compat.apart(bring_apart, x)


def column_window(found: tuple[Array, ...], tap: tuple[int, ...], form: Form, at: int) -> Array:
    """What `window` gives, of the `columns` of the padded x."""
    k, r = divmod(tap[-1] * form.dilation[-1], form.strides[-1])
    along = dataclasses.replace(
        form, strides=(*form.strides[:-1], 1), dilation=(*form.dilation[:-1], 1)
    )
    return window(found[r], (*tap[:-1], k), along, at)
