"""depthwise: each channel by itself, a sum over taps of shifted slices times one weight.

The definition, but written so that XLA makes one vectorised loop of it: no zeros of other channels
are multiplied, nothing is unfolded. Source: F. Chollet, "Xception", 2017 (the operation); lab
measurements in docs/xla.md (the form).
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, pad_input, window
from jaxconv._methods import phases, shifts
from jaxconv._methods._base import Method
from jaxconv._methods._rates import of_loops
from jaxconv._methods._terms import add_up, times

MOST_TAPS = 81
# Bytes a second at which x is written out once for each output of a channel; two AVX2 cores.
REPEAT_RATE = 4e9


def slices(x: Array, form: Form, first: int) -> list[Array]:
    """What each tap sees of the padded x, whose spatial dimensions begin at `first`."""
    return [window(x, tap, form, first) for tap in np.ndindex(*form.kernel)]


def forward(x: Array, w: Array, form: Form) -> Array:
    """y = sum over taps of slice times weight, in the layout that x has in memory.

    A dilated x is taken a phase of its outputs at a time, so that no product is with its zeros.
    Channels first, the lanes are a row of pixels, and the sum is that of `shifts`; so it is with a
    stride, where this one took up to six times as long (docs/xla.md).
    """
    if phases.supports(form) is None:
        return phases.phase_by_phase(x, w, form, forward)
    if as_shifts(form):
        return shifts.forward(x, w, form)
    x = jnp.repeat(pad_input(x, form), form.out_channels, axis=-1)
    w = w.reshape(form.taps, -1)
    seen = slices(x, form, 1)
    parts = [times(s, lax.index_in_dim(w, k, keepdims=False)) for k, s in enumerate(seen)]
    return add_up(parts, 1).astype(form.out_dtype)


def as_shifts(form: Form) -> bool:
    """Whether a forward form is the sum of `shifts`."""
    transposes = form.layout == "first" or max(form.strides) > 1
    return transposes and shifts.supports(form) is None


def weight(x: Array, y: Array, form: Form) -> Array:
    """w of a tap = the sum over positions of slice times y: one reduction a tap."""
    x = jnp.repeat(pad_input(x, form), form.out_channels, axis=-1)
    if form.layout == "last":
        axes, seen = tuple(range(form.ndim + 1)), slices(x, form, 1)
    else:
        axes = (0, *range(2, form.ndim + 2))
        seen, y = slices(jnp.moveaxis(x, -1, 1), form, 2), jnp.moveaxis(y, -1, 1)
    found = [jnp.sum(part * y, axis=axes) for part in seen]
    return jnp.stack(found).reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """One input channel a group."""
    if not form.depthwise:
        return "takes one input channel a group"
    return f"takes at most {MOST_TAPS} taps" if form.taps > MOST_TAPS else None


def cost(form: Form) -> float:
    """Ten billion multiply-adds a second forward, two for the weights."""
    return 2e-5 + form.macs * form.examples / (1e10 if form.kind == "forward" else 2e9)


def copies(form: Form) -> float:
    """Seconds to write x once for each output of a channel; few layers that were timed have two."""
    if form.out_channels == 1 or (form.kind == "forward" and as_shifts(form)):
        return 0.0
    numbers = math.prod(form.x_shape) * form.out_channels * form.examples
    return numbers * form.dtype.itemsize / REPEAT_RATE


METHOD = Method(
    "depthwise",
    "each channel by itself: shifted slices",
    supports,
    forward,
    weight,
    cost,
    work=shifts.in_whole_vectors,
    besides=copies,
    fastest=of_loops,
)
