"""What a method takes: a linear model of a few physical quantities, fitted to measurements.

seconds = a + b macs + c macs/O + d macs/C + e |x| + f |w| + g |y| + h beyond

macs are the multiply-adds (the arithmetic), macs/O the entries of the matrix of windows (what is
read for the product), macs/C the entries of the result before the taps are summed (what is
written), |x|, |w|, |y| the entries of the arrays (copies, padding, transposes), `beyond` those of
x and y that are too many for the last cache, and a is what a call costs. All coefficients are
positive, fitted with relative errors (`python -m jaxconv calibrate`), a row for each method, form,
layout, class of convolution, generation of JAX, and processors with AVX-512 or with AVX2. They
stand in `_calibration`.
"""

from __future__ import annotations

import math

import numpy as np

from jaxconv import _compat, _processor
from jaxconv._calibration import COEFFICIENTS
from jaxconv._form import Form
from jaxconv._methods._base import Method

# Terms of an output of one group, up to which it is a small sum.
FEW_TERMS = 64
# Channels of a group, up to which groups are of few.
FEW_CHANNELS = 8
# Channels of a dense convolution, the fewer of input and output, up to which it is narrow, or slim.
NARROW, SLIM = 16, 48
# Channels of an input, up to which it is an image: of one group, a stem or thin.
COLOURS = 4
# Taps of a depthwise kernel, of more than which it is wide: more than 3x3.
MORE_TAPS = 9
# Positions of a depthwise row, of fewer than which it is short: it fills no vector.
SHORT = 8
# Entries of x and y from which on they, and a copy, leave the last cache and are paged in anew.
CACHED = 1 << 20
# Where XLA's first library for convolutions keeps to one core (JAX 0.10, see docs/xla.md), by what
# was seen of it: a row of up to so many positions and channels, or up to so many multiply-adds.
TILE, ROW_MACS = 64, 3e6
# How the names of coefficients for AVX2 end, and how many times as long as AVX-512 it takes in the
# mean.
AVX2_ENDING, AVX2_TIMES = " avx2", 2.1
# Endings of a class, in the order in which they are dropped where nothing was measured.
SUFFIXES = ("-heavy", "-short", "-row", "-wide", "-strided", "-serial", "-one")


def features(form: Form) -> tuple[float, ...]:
    """The quantities of the model, in its order."""
    macs = float(form.macs) * form.examples
    shapes = (form.x_shape, form.w_shape, form.y_shape)
    x, w, y = (float(math.prod(shape) * form.examples) for shape in shapes)
    beyond = max(0.0, x + y - CACHED)
    return (1.0, macs, macs / form.out_channels, macs / form.in_channels, x, w, y, beyond)


def category(form: Form) -> str:
    """The class of convolution that a row of coefficients is for."""
    terms = form.taps * form.in_channels
    ending = "-heavy" if form.heavy else ""
    if form.groups > 1:
        few = "few" if form.in_channels <= FEW_CHANNELS else "grouped"
        name = "depthwise" if form.depthwise else few
    elif form.taps == 1:
        # One image, or one position of each, is a plain product in either layout.
        plain = form.kind == "forward" and 1 in (form.batch, math.prod(form.out_spatial))
        name = "pointwise-one" if plain else "pointwise"
    elif form.kernel == form.strides and {*form.dilation, *form.lhs_dilation} == {1}:
        return "patch" + ending
    elif form.ndim > 1 and terms > FEW_TERMS and max(form.kernel) == form.taps:
        name = "line"
    elif form.ndim == 3 and terms > FEW_TERMS:
        name = "volume"
    elif form.in_channels <= COLOURS and form.out_channels <= NARROW:
        name = "thin"
    elif terms <= FEW_TERMS:
        name = "small"
    elif form.in_channels <= COLOURS:
        name = "stem"
    elif form.ndim == 1:
        name = "sequence"
    else:
        fewest = min(form.in_channels, form.out_channels)
        name = "narrow" if fewest <= NARROW else "slim" if fewest <= SLIM else "dense"
    if max(form.lhs_dilation) > 1:
        name += "-dilated"
    elif serial(form) and name in ("dense", "slim", "narrow", "stem"):
        name += "-serial"
    if form.groups > 1 and form.ndim == 1 and (form.depthwise or form.kind == "weight"):
        name += "-row"
    elif form.depthwise and form.taps > MORE_TAPS:
        name += "-wide"
    if max(form.strides) > 1 and form.taps > 1:
        name += "-strided"
    name += ending
    return f"{name}-short" if short(form) else name


def serial(form: Form) -> bool:
    """Whether XLA's first library for convolutions would keep `form` to one core."""
    if form.kind != "forward" or form.ndim != 2 or form.groups > 1:
        return False
    wide = form.out_spatial[-1]
    macs = wide * form.out_channels * form.in_channels * form.taps
    return max(wide, form.out_channels) <= TILE or macs < ROW_MACS


def short(form: Form) -> bool:
    """Whether a depthwise kernel's rows, of which vectors are made channels first, fill none."""
    by_rows = form.depthwise and form.kind == "forward" and form.layout == "first"
    return by_rows and form.out_spatial[-1] < SHORT


def row(method: str, form: Form) -> str:
    """The name of the row of coefficients for `method` and `form`."""
    return "/".join((method, form.kind, form.layout, category(form)))


def generation() -> str:
    """The generation of JAX whose coefficients hold: "0.10" up to 0.11, "0.12" from there."""
    return "0.12" if _compat.JAX_VERSION >= (0, 12) else "0.10"


def calibration() -> str:
    """The name of the coefficients that are used here.

    "0.12 avx2" on a processor with AVX2 and without AVX-512; "0.12" on others, for AVX-512.
    """
    return generation() + (AVX2_ENDING if _processor.avx2_only() else "")


def slowness() -> float:
    """How many times as long as with AVX-512 this processor takes, roughly."""
    return AVX2_TIMES if _processor.avx2_only() else 1.0


def coefficients_for(name: str, version: str) -> tuple[float, ...] | None:
    """Those of the row of that name, or of a wider class if it has none; None without any."""
    rows = COEFFICIENTS[version]
    found = rows.get(name)
    for suffix in SUFFIXES:
        if found is None:
            name = name.replace(suffix, "")
            found = rows.get(name)
    return found


def estimate(method: Method, form: Form, version: str | None = None) -> float | None:
    """Seconds that `method` takes for `form`, or None if nothing was measured for its like.

    `version` names the coefficients; those that hold here, if there is none.
    """
    coefficients = coefficients_for(row(method.name, form), version or calibration())
    if coefficients is None:
        return None
    seconds = sum(a * b for a, b in zip(coefficients, features(method.work(form)), strict=True))
    return seconds * (2.0 if form.dtype == np.float64 else 1.0)
