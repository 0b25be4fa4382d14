"""crop: without the taps that see nothing but padding.

A kernel that reaches further than the image, as one of DeepLab's with dilation 36 on 33 pixels or
any 3x3 on the single pixel that a network ends with, has taps that meet zeros only. They are cut
off, and what is left is a smaller convolution. Their weight gradients are zero.

Source: L.-C. Chen, G. Papandreou, F. Schroff, H. Adam, "Rethinking atrous convolution for semantic
image segmentation", 2017, section 3.3 and figure 4: with a large rate a 3x3 kernel becomes a 1x1.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxconv._form import Form
from jaxconv._methods import _inner
from jaxconv._methods._base import Method

# Bytes a second of cutting the kernel; two AVX-512 cores.
COPY = 5e9


@functools.lru_cache(maxsize=4096)
def seeing(form: Form) -> tuple[slice, ...]:
    """The taps of each dimension from the first to the last that sees an input; none: 0 to 0."""
    found = []
    for size, k, out, (lo, _), d, s in zip(
        form.spatial,
        form.kernel,
        form.out_spatial,
        form.padding,
        form.dilation,
        form.strides,
        strict=True,
    ):
        at = np.arange(k) * d - lo  # where the first output has this tap
        inside = np.maximum(0, -(at // s))  # the first output that has it at 0 or behind
        (some,) = np.nonzero((inside < out) & (at + inside * s < size))
        found.append(slice(int(some[0]), int(some[-1]) + 1) if some.size else slice(0, 0))
    return tuple(found)


def cropped(form: Form) -> Form:
    """The convolution with the taps that see something."""
    kernel, padding = [], []
    for taps, k, (lo, hi), d in zip(
        seeing(form), form.kernel, form.padding, form.dilation, strict=True
    ):
        kernel.append(taps.stop - taps.start)
        padding.append((lo - taps.start * d, hi - (k - taps.stop) * d))
    return dataclasses.replace(form, kernel=tuple(kernel), padding=tuple(padding))


def forward(x: Array, w: Array, form: Form) -> Array:
    """y by the engine's choice for the cropped kernel."""
    return _inner.conv_form(x, w[seeing(form)], cropped(form))


def weight(x: Array, y: Array, form: Form) -> Array:
    """w by the engine's choice for the cropped kernel, zeros around."""
    w = _inner.weight_form(x, y, cropped(form))
    around = [
        (taps.start, k - taps.stop) for taps, k in zip(seeing(form), form.kernel, strict=True)
    ]
    return jnp.pad(w, [*around, (0, 0), (0, 0)])


def supports(form: Form) -> str | None:
    """Some taps that see padding only, and some that do not; an input that is not dilated."""
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    kept = math.prod(taps.stop - taps.start for taps in seeing(form))
    if kept == form.taps:
        return "takes a kernel with taps that see padding only"
    return None if kept else "takes an image of which something is seen"


def cost(form: Form) -> float:
    """The smaller convolution, and a copy of its kernel."""
    inner = cropped(form)
    return _inner.best(inner)[1] + math.prod(inner.w_shape) * form.dtype.itemsize / COPY


METHOD = Method(
    "crop",
    "without the taps that see nothing but padding",
    supports,
    forward,
    weight,
    cost,
    composed=True,
    linear=False,
)
