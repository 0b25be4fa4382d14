"""toeplitz: the band matrix A of the lecture, with y = A x.

Source: NYU Deep Learning (DS-GA 1008), week 5 practicum, Canziani 2020: a fully connected layer
whose rows are zero outside a window and all alike, shifted by one. In several dimensions and with
channels A is a block matrix of such bands. It holds a number for each pair of input and output, so
this is a method to look at, for small signals.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxconv._form import Form
from jaxconv._methods._base import Method

# A has this many entries at the most (float32: 1 GiB).
MOST_ENTRIES = 2**28


def bands(form: Form) -> np.ndarray:
    """The tap that joins each output to each input: (prod(S_out), prod(S)), -1 where there is none.

    Along one dimension, output p sees input q with tap k when
    p*stride + k*dilation - pad_low == q*lhs_dilation.
    """
    joined = np.zeros((1, 1), np.int64)
    for size, kernel, out, s, (lo, _), d, ld in zip(
        form.spatial,
        form.kernel,
        form.out_spatial,
        form.strides,
        form.padding,
        form.dilation,
        form.lhs_dilation,
        strict=True,
    ):
        p, q = np.arange(out)[:, None], np.arange(size)[None, :]
        reach = q * ld + lo - p * s
        tap = np.where((reach % d == 0) & (0 <= reach) & (reach < kernel * d), reach // d, -1)
        outer, inner = joined[:, None, :, None], tap[None, :, None, :]
        joined = np.where((outer < 0) | (inner < 0), -1, outer * kernel + inner)
        joined = joined.reshape(joined.shape[0] * out, joined.shape[2] * size)
    return joined


def forward(x: Array, w: Array, form: Form) -> Array:
    """y = A x, with A filled from w: the same weights along every diagonal."""
    tap = bands(form)
    w = w.reshape(form.taps, form.in_channels, form.groups, form.out_channels)
    a = jnp.where((tap >= 0)[..., None, None, None], w[np.maximum(tap, 0)], 0)
    x = x.reshape(form.batch, -1, form.groups, form.in_channels)
    y = jnp.einsum("pqcgo,nqgc->npgo", a, x, precision=form.precision)
    return y.reshape(form.y_shape).astype(form.out_dtype)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w[k] = the sum along the diagonals of tap k of the outer product of y and x."""
    tap = bands(form)
    x = x.reshape(form.batch, -1, form.groups, form.in_channels)
    y = y.reshape(form.batch, -1, form.groups, form.out_channels)
    outer = jnp.einsum("npgo,nqgc->pqcgo", y, x, precision=form.precision)
    pairs = np.nonzero(tap >= 0)
    w = jnp.zeros((form.taps, *outer.shape[2:]), outer.dtype).at[tap[pairs]].add(outer[pairs])
    return w.reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """Everything whose matrix fits."""
    entries = math.prod(form.spatial) * math.prod(form.out_spatial)
    entries *= form.in_channels * form.out_channels * form.groups
    if entries > MOST_ENTRIES:
        return f"takes a matrix of at most {MOST_ENTRIES} entries, here {entries}"
    return None


def cost(form: Form) -> float:
    """Not a candidate for "auto": it multiplies mostly zeros."""
    return float("inf")


METHOD = Method(
    "toeplitz",
    "the band matrix A of y = A x, written out",
    supports,
    forward,
    weight,
    cost,
    exact=False,
    auto=False,
)
