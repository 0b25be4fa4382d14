"""direct: the running scalar product, a sum over kernel taps of shifted slices.

Source: the definition itself; NYU Deep Learning (DS-GA 1008), week 5 practicum, Canziani 2020: one
output is the scalar product of the kernel with the window under it. Here the loop over windows is
the array operation and the loop over taps is Python's.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxconv._form import Form, pad_input, window
from jaxconv._methods._base import Method

# Each tap is traced on its own: past this many, the program takes too long to compile.
MOST_TAPS = 1024


def by_group(x: Array, groups: int) -> Array:
    """Channels as (groups, channels of a group)."""
    return x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)


def forward(x: Array, w: Array, form: Form) -> Array:
    """y = sum over taps of (window under the tap) times (weights of the tap)."""
    x = by_group(pad_input(x, form), form.groups)
    w = by_group(w, form.groups)
    y = jnp.zeros((), form.accumulator)
    for tap in np.ndindex(*form.kernel):
        seen = window(x, tap, form)
        y += jnp.einsum("...gc,cgo->...go", seen, w[tap], precision=form.precision)
    return y.reshape(form.y_shape).astype(form.out_dtype)


def weight(x: Array, y: Array, form: Form) -> Array:
    """The weights of a tap = the window under it, times y, summed over all positions."""
    x = by_group(pad_input(x, form), form.groups)
    y = by_group(y, form.groups)
    taps = [
        jnp.einsum("...gc,...go->cgo", window(x, tap, form), y, precision=form.precision)
        for tap in np.ndindex(*form.kernel)
    ]
    return jnp.stack(taps).reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """Everything but kernels whose program would be too long."""
    if form.taps > MOST_TAPS:
        return f"takes at most {MOST_TAPS} taps, here {form.taps}"
    return None


def cost(form: Form) -> float:
    """Not a candidate for "auto": the fast methods are this one, specialised."""
    return float("inf")


METHOD = Method(
    "direct",
    "running scalar product: a sum over taps of shifted slices",
    supports,
    forward,
    weight,
    cost,
    auto=False,
)
