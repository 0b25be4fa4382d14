"""fft: multiply in the frequency domain.

Source: the convolution theorem; M. Mathieu, M. Henaff, Y. LeCun, "Fast training of convolutional
networks through FFTs", 2014, section 2. A cross-correlation multiplies with the conjugate.

The transform is as long as the padded input: the outputs that wrap round are not among those that a
window inside the input makes. Rounding errors are relative to the largest output, and a NaN or Inf
in the input reaches every output of its example.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, pad_input
from jaxconv._methods._base import Method
from jaxconv._methods.direct import by_group

# Seconds for each point and doubling of one transform, for each complex multiply-add of the
# product, and for a call; float32 on two cores of an AVX-512 machine.
POINT, PRODUCT, CALL = 1.2e-9, 0.5e-9, 60e-6


def fast_length(n: int) -> int:
    """The least length from n on with no prime factor over 5."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1


def spread(x: Array, steps: tuple[int, ...], first: int) -> Array:
    """x with `step - 1` zeros between neighbours, in the dimensions from `first` on."""
    config = [(0, 0, 0)] * x.ndim
    config[first : first + len(steps)] = [(0, 0, step - 1) for step in steps]
    return lax.pad(x, jnp.zeros((), x.dtype), config)


def correlate(spectra: str, x: Array, w: Array, axes: tuple[range, range, range]) -> Array:
    """Circular cross-correlation.

    `spectra` is the einsum of the product, `axes` the spatial axes of x, w and the result.
    """
    shape = [fast_length(x.shape[axis]) for axis in axes[0]]
    fx = jnp.fft.rfftn(x, shape, axes[0])
    fw = jnp.conj(jnp.fft.rfftn(w, shape, axes[1]))
    return jnp.fft.irfftn(jnp.einsum(spectra, fx, fw), shape, axes[2])


def forward(x: Array, w: Array, form: Form) -> Array:
    """y: correlate the padded x with the spread-out w, keep every stride-th output."""
    space = "xyz"[: form.ndim]
    x = by_group(pad_input(x, form), form.groups)
    w = by_group(spread(w, form.dilation, 0), form.groups)
    spectra = f"n{space}gc,{space}cgo->n{space}go"
    after_batch = range(1, form.ndim + 1)
    y = correlate(spectra, x, w, (after_batch, range(form.ndim), after_batch))
    kept = tuple(
        slice(0, (out - 1) * s + 1, s)
        for out, s in zip(form.out_spatial, form.strides, strict=True)
    )
    return y[(slice(None), *kept)].reshape(form.y_shape).astype(form.out_dtype)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w: correlate the padded x with the spread-out y, keep every dilation-th output."""
    space = "xyz"[: form.ndim]
    x = by_group(pad_input(x, form), form.groups)
    y = by_group(spread(y, form.strides, 1), form.groups)
    spectra = f"n{space}gc,n{space}go->{space}cgo"
    after_batch = range(1, form.ndim + 1)
    w = correlate(spectra, x, y, (after_batch, after_batch, range(form.ndim)))
    kept = tuple(
        slice(0, (k - 1) * d + 1, d) for k, d in zip(form.kernel, form.dilation, strict=True)
    )
    return w[kept].reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """float32 and float64."""
    if form.dtype not in (np.float32, np.float64):
        return f"takes float32 and float64, not {form.dtype}"
    return None


def cost(form: Form) -> float:
    """Three transforms and a product of spectra."""
    points = math.prod(fast_length(n) for n in form.dense_input.spatial)
    c, o = form.groups * form.in_channels, form.groups * form.out_channels
    transforms = form.batch * (c + o) + form.in_channels * o
    products = form.batch * form.in_channels * o
    scale = 1 if form.dtype == np.float32 else 2
    work = transforms * math.log2(max(points, 2)) * POINT + products / 2 * PRODUCT
    return form.examples * (scale * points * work + CALL)


METHOD = Method(
    "fft",
    "multiply in the frequency domain",
    supports,
    forward,
    weight,
    cost,
    exact=False,
    linear=False,
)
