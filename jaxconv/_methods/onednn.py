"""onednn: the convolution of oneDNN, the library that PyTorch calls, which jaxlib has in it.

XLA's custom call takes arrays in any order of dimensions and gives them to oneDNN's direct
convolution with channels last; what lies otherwise is brought there by oneDNN, in blocks that fit
the cache. oneDNN writes machine code for each shape: for groups of sixteen channels, strides and
depthwise kernels alike, of which XLA's own libraries know little. `_onednn` says when it is there.
XLA has no call to oneDNN's weight gradient; `onednn_weight` makes one of the convolution.

Source: XLA, onednn_convolution.cc (xla/service/cpu); E. Georganas et al., "Anatomy of
high-performance deep learning convolutions on SIMD architectures", SC 2018, for what oneDNN does.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxconv import _onednn, _onednn_calls, _processor
from jaxconv._form import Form
from jaxconv._methods import onednn_weight
from jaxconv._methods._base import Method
from jaxconv._methods.onednn_weight import LANES

# Multiply-adds a second of a dense convolution and of a depthwise one, bytes a second of copies,
# seconds of a call; two AVX-512 cores.
RATE, DEPTHWISE_RATE, BANDWIDTH, CALL = 90e9, 20e9, 6e9, 4e-5
# Bytes a second of what an early AVX-512 processor takes longer than those.
EARLY = 15e9


def forward(x: Array, w: Array, form: Form) -> Array:
    """y by one call of oneDNN, of arrays as they lie in memory, if it has fast code for that."""
    *space, last = range(1, form.ndim + 2)
    images = (0, last, *space)
    result = form.y_shape
    as_it_lies = form.layout == "first" and _onednn.any_order()
    if as_it_lies:
        x, images = jnp.moveaxis(x, -1, 1), tuple(range(last + 1))
        result = (form.batch, result[-1], *form.out_spatial)
    w, kernel = weight_as_it_lies(w, form)
    y = _onednn_calls.convolution(
        x,
        w,
        result,
        images=images,
        kernel=kernel,
        strides=form.strides,
        padding=form.padding,
        dilation=form.dilation,
        groups=form.groups,
    )
    return jnp.moveaxis(y, 1, -1) if as_it_lies else y


def weight_as_it_lies(w: Array, form: Form) -> tuple[Array, tuple[int, ...]]:
    """w (*K, C, O) in its order in memory, and the places of outputs, inputs and taps there."""
    outputs, inputs = (0, 1) if form.outputs_first else (1, 0)
    pair = (-1, -2) if form.outputs_first else (-2, -1)
    if form.weight_first:
        return jnp.moveaxis(w, pair, (0, 1)), (outputs, inputs, *range(2, w.ndim))
    taps = range(form.ndim)
    return jnp.moveaxis(w, pair, (-2, -1)), (form.ndim + outputs, form.ndim + inputs, *taps)


def in_whole_vectors(form: Form) -> Form:
    """`form` with the channels that are computed at once up to a multiple of LANES.

    A few of them take as long as sixteen, but for depthwise kernels, and groups of as many channels
    on both sides, for which oneDNN has code.
    """
    if form.groups > 1 and (form.in_channels == form.out_channels != 2):
        return form
    turned = form.kind == "weight" and onednn_weight.turns(form)
    name = "in_channels" if turned else "out_channels"
    whole = -(-getattr(form, name) // LANES) * LANES
    return dataclasses.replace(form, **{name: whole})


def supports(form: Form) -> str | None:
    """What oneDNN has fast code for: float32; forward no dilated input, and nothing cropped.

    Depthwise kernels in one or three dimensions or dilated, and windows full of padding, took up to
    fifteen times as long as their like.
    """
    wide = [dtype for dtype in (form.dtype, form.out_dtype) if dtype != np.float32]
    if wide:
        return f"takes float32, not {wide[0]}"
    if form.kind == "weight":
        return onednn_weight.supports(form) or unavailable(form)
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    if min(side for pair in form.padding for side in pair) < 0:
        return "takes no negative padding"
    reaches = zip(form.kernel, form.dilation, form.padding, strict=True)
    if any(max(pair) > (k - 1) * d for k, d, pair in reaches):
        return "takes no padding that a window fits into"
    if form.depthwise and (form.ndim != 2 or max(form.dilation) > 1):
        return "takes depthwise kernels in two dimensions, without dilation"
    return unavailable(form)


def unavailable(form: Form) -> str | None:
    """Why oneDNN cannot be called, or None."""
    if form.portable:
        return "takes no program that is exported or kept on disk: XLA cannot write it to a file"
    if not _onednn.available():
        return "takes a jaxlib with oneDNN in it (Linux, x86-64, AVX2), and JAXCONV_ONEDNN not off"
    return None


def cost(form: Form) -> float:
    """The multiply-adds, and a copy of x and y that lie channels first, and of w."""
    if form.kind == "weight":
        return onednn_weight.cost(form)
    moved = math.prod(form.w_shape)
    if form.layout == "first":
        moved += math.prod(form.x_shape) + math.prod(form.y_shape)
    rate = DEPTHWISE_RATE if form.depthwise else RATE
    return CALL + in_whole_vectors(form).macs / rate + moved * form.dtype.itemsize / BANDWIDTH


def transposes(form: Form) -> float:
    """Seconds to bring x and y to channels last and back, beyond what was fitted.

    The estimates were fitted where oneDNN has fast code for both layouts, on an AMD EPYC. On an
    early AVX-512 processor depthwise kernels, which compute little beside, took longer (an Intel
    Xeon, docs/engine.md).
    """
    if form.kind == "weight" or form.layout == "last":
        return 0.0
    moved = (math.prod(form.x_shape) + math.prod(form.y_shape)) * form.dtype.itemsize
    if not _onednn.any_order():
        return moved / BANDWIDTH
    return moved / EARLY if form.depthwise and _processor.early_avx512() else 0.0


METHOD = Method(
    "onednn",
    "oneDNN's convolution, by XLA's custom call",
    supports,
    forward,
    onednn_weight.weight,
    cost,
    work=in_whole_vectors,
    besides=transposes,
)
