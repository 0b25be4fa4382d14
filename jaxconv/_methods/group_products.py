"""group_products: the weight gradient of groups as one batched matrix product of a few images.

The patches of x times y, for each group. A patch need not hold all of the kernel's taps: those
along the first dimension can as well be unfolded from y,

    w[i, j, c, o] = sum_{h, p} x[h, p + j, c] * y[h - i, p, o],

and the product of K1*C by K0*O sums over all of them: K0 + K1 copies, not K0 * K1. A loop over the
images, a few small ones at a time, keeps what is unfolded small.

Source: K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for
document processing", 2006, for the patches; unfolding both sides is our own.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, window
from jaxconv._methods._base import Method
from jaxconv._methods._loop import Index, divisor, join, part, total
from jaxconv._methods._products import by_onednn, over_rows, product
from jaxconv._methods._rates import by_outputs

# Taps; rows of x for each of y, where both are unfolded.
MOST_TAPS, MOST_ROWS = 64, 1.5
# Bytes unfolded at once, and the most for one group of one image.
CACHED_BYTES, MOST_BYTES = 2**23, 2**24
# Multiply-adds a second of very wide groups, and the width that has half of it; bytes a second of
# copies, seconds of a call and of a step; two AVX-512 cores.
RATE, HALF_WIDTH, BANDWIDTH, CALL, STEP = 30e9, 32, 3e9, 5e-5, 2e-5


def sides(form: Form) -> tuple[Form, Form]:
    """What to unfold from x, and from y: with stride 1, the taps of the first dimension.

    Not where x has many rows more than y, whose products would be with zeros, nor where rows of x
    are cropped: no NaN of theirs may be met.
    """
    ones, none = (1,) * form.ndim, ((0, 0),) * form.ndim
    as_it_is = dict.fromkeys(("kernel", "strides", "dilation"), ones)
    y = dataclasses.replace(form, spatial=form.out_spatial, padding=none, **as_it_is)
    many = form.spatial[0] > MOST_ROWS * form.out_spatial[0]
    if form.ndim == 1 or form.strides[0] > 1 or many or min(form.padding[0]) < 0:
        return form, y
    low, reach = form.padding[0][0], (form.kernel[0] - 1) * form.dilation[0]
    rows = (form.spatial[0], *form.out_spatial[1:])
    x = dataclasses.replace(
        form, kernel=(1, *form.kernel[1:]), padding=(none[0], *form.padding[1:]), out_spatial=rows
    )
    y = dataclasses.replace(
        y,
        kernel=(form.kernel[0], *ones[1:]),
        dilation=(form.dilation[0], *ones[1:]),
        padding=((reach - low, form.spatial[0] + low - form.out_spatial[0]), *none[1:]),
        out_spatial=rows,
    )
    return x, y


def split_groups(x: Array, channels: int, form: Form) -> Array:
    """Some groups of a few padded images side by side: (G, C, N, *S), or (G, N, *S, C).

    Padded here, in the loop: for all images at once, the copies took up to three times as long.
    """
    edges = [(lo, hi, 0) for lo, hi in form.padding]
    zero = jnp.zeros((), x.dtype)
    if form.layout == "first":
        x = jnp.moveaxis(x.reshape(x.shape[0], -1, channels, *x.shape[2:]), 0, 2)
        return lax.pad(x, zero, [(0, 0, 0), (0, 0, 0), (0, 0, 0), *edges])
    x = lax.pad(x, zero, [(0, 0, 0), *edges, (0, 0, 0)])
    x = jnp.moveaxis(x.reshape(*x.shape[:-1], -1, channels), -2, 0)
    # Written out once: each window would pad and transpose it for itself (docs/xla.md).
    return lax.optimization_barrier(x) if form.taps > 1 else x


def unfolded(x: Array, channels: int, form: Form) -> Array:
    """x of some groups of a few images -> (G, K*C, N*P) channels first, else (G, N*P, K*C)."""
    x = split_groups(x, channels, form)
    first = form.layout == "first"
    at, axis = (3, 1) if first else (2, x.ndim - 1)
    x = jnp.concatenate([window(x, tap, form, at) for tap in np.ndindex(*form.kernel)], axis)
    shape = (x.shape[1], -1) if first else (-1, x.shape[-1])
    return x.reshape(x.shape[0], *shape)


def bytes_of(form: Form) -> int:
    """Bytes that one group of one image unfolds."""
    of_x, of_y = sides(form)
    columns = of_x.taps * form.in_channels + of_y.taps * form.out_channels
    return form.accumulator.itemsize * math.prod(of_x.out_spatial) * columns


def parts_of(form: Form) -> int:
    """In how many parts the groups are taken, so that what one unfolds stays in the cache."""
    size = bytes_of(form)
    return next(
        n
        for n in range(1, form.groups + 1)
        if form.groups % n == 0 and (n == form.groups or form.groups // n * size <= CACHED_BYTES)
    )


def images_of(form: Form) -> int:
    """How many images are taken at once, where what all groups of several unfold fits the cache.

    Each step of the loop is a few short calls, whose threads wait for each other.
    """
    return divisor(form.batch, CACHED_BYTES // (form.groups * bytes_of(form)))


def weight(x: Array, y: Array, form: Form) -> Array:
    """w, the sum over images of what x unfolds times what y unfolds."""
    parts, images = parts_of(form), images_of(form)
    groups = form.groups // parts
    of_x, of_y = sides(form)
    x, y = x.astype(form.accumulator), y.astype(form.accumulator)
    if form.layout == "first":
        x, y = jnp.moveaxis(x, -1, 1), jnp.moveaxis(y, -1, 1)
    axis = 1 if form.layout == "first" else form.ndim + 1

    def side(a: Array, step: Index, group: Index, channels: int, form: Form) -> Array:
        a = part(part(a, step, images), group, groups * channels, axis)
        return unfolded(a, channels, form)

    def of_images(step: Index, group: Index) -> Array:
        xs = side(x, step, group, form.in_channels, of_x)
        ys = side(y, step, group, form.out_channels, of_y)
        if form.layout == "first":
            return product(xs, ys, form, transpose_b=True)
        if by_onednn(form, xs, ys) and ys.shape[-1] < xs.shape[-1]:  # the narrower one first
            return jnp.swapaxes(over_rows(ys, xs, form), -1, -2)
        return over_rows(xs, ys, form)

    def of_part(group: Index) -> Array:
        return total(form.batch // images, lambda step: of_images(step, group))

    w = join(parts, of_part)  # (G, K1*C, K0*O)
    shape = form.groups, of_x.taps, form.in_channels, of_y.taps, form.out_channels
    w = jnp.flip(w.reshape(shape), 3)  # y's window i is that of tap K0 - 1 - i
    return w.transpose(3, 1, 2, 0, 4).reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """Groups, but not depthwise; an input that is not dilated; patches of one group that fit."""
    if form.groups == 1:
        return "takes several groups"
    if form.in_channels == form.out_channels == 1:
        return "takes groups of more than one channel"
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    if form.taps > MOST_TAPS:
        return f"takes at most {MOST_TAPS} taps"
    if bytes_of(form) > MOST_BYTES:
        return f"takes groups of which an image unfolds to at most {MOST_BYTES} bytes"
    return None


def cost(form: Form) -> float:
    """The products, the faster the wider; copies of x and y; the loop's steps."""
    width = math.sqrt(form.in_channels * form.out_channels)
    rate = RATE * width / (width + HALF_WIDTH)
    moved = (math.prod(form.x_shape) + math.prod(form.y_shape)) * form.accumulator.itemsize
    steps = form.batch // images_of(form) * parts_of(form)
    return (CALL + steps * STEP + form.macs / rate + moved / BANDWIDTH) * form.examples


METHOD = Method(
    "group_products",
    "weight gradient of groups: x and y unfolded, one batched product",
    supports,
    None,
    weight,
    cost,
    fastest=by_outputs,
)
