"""group_products: the weight gradient of groups as one batched matrix product an image.

The patches of one image, (G, K*C, P) with P its positions, times y, (G, O, P). XLA runs a batched
product group by group, at a good rate once the matrices lie so that P is contiguous, and a loop
over the images keeps the patches small.

Source: K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for
document processing", 2006, for the patches; the groups are the batch of the product.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, window
from jaxconv._methods._base import Method
from jaxconv._methods._loop import Index, cut, join, total
from jaxconv._methods._products import product
from jaxconv._methods._turned import channels_first

MOST_TAPS = 64
# Bytes of patches made at once, and the most for one group of one image.
CACHED_BYTES, MOST_BYTES = 2**23, 2**24
# Multiply-adds a second of very wide groups, and the width that has half of it; bytes a second of
# copies, seconds of a call and of a step; two AVX-512 cores.
RATE, HALF_WIDTH, BANDWIDTH, CALL, STEP = 30e9, 32, 3e9, 5e-5, 2e-5


def _patches(x: Array, form: Form, groups: int) -> Array:
    """Padded x of some groups of one image, (G, C, *S) -> (G, K*C, P)."""
    seen = [window(x, tap, form, 2) for tap in np.ndindex(*form.kernel)]
    return jnp.stack(seen, 1).reshape(groups, form.taps * form.in_channels, -1)


def _images(x: Array, form: Form) -> Array:
    """x channels first, padded: (N, G, C, *S)."""
    x = channels_first(x, form)
    return x.reshape(form.batch, form.groups, form.in_channels, *x.shape[2:])


def parts_of(form: Form) -> int:
    """In how many parts the groups are taken, so that the patches of one stay in the cache."""
    size = form.accumulator.itemsize * form.taps * form.in_channels * math.prod(form.out_spatial)
    return next(
        n
        for n in range(1, form.groups + 1)
        if form.groups % n == 0 and (n == form.groups or form.groups // n * size <= CACHED_BYTES)
    )


def weight(x: Array, y: Array, form: Form) -> Array:
    """w = sum over images of patches @ y^T."""
    parts = parts_of(form)
    groups = form.groups // parts
    x = _images(x.astype(form.accumulator), form)
    y = jnp.moveaxis(y.astype(form.accumulator), -1, 1)
    y = y.reshape(form.batch, form.groups, form.out_channels, -1)

    def of_image(image: Index, part: Index) -> Array:
        begin = part * groups
        xs = cut(x, (image, begin, *(0,) * (x.ndim - 2)), (1, groups, *x.shape[2:]))
        ys = cut(y, (image, begin, 0, 0), (1, groups, *y.shape[2:]))
        patches = _patches(lax.squeeze(xs, (0,)), form, groups)
        return product(patches, lax.squeeze(ys, (0,)), form, turn_b=True)

    def of_part(part: Index) -> Array:
        return total(form.batch, lambda image: of_image(image, part))

    w = jnp.moveaxis(join(parts, of_part), 0, 1)  # (K*C, G, O)
    return w.reshape(form.w_shape).astype(form.out_dtype)


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
    size = form.in_channels * form.taps * math.prod(form.out_spatial) * form.accumulator.itemsize
    if size > MOST_BYTES:
        return f"takes patches of a group of at most {MOST_BYTES} bytes"
    return None


def cost(form: Form) -> float:
    """The products, the faster the wider; copies of x and y; the loop's steps."""
    width = math.sqrt(form.in_channels * form.out_channels)
    rate = RATE * width / (width + HALF_WIDTH)
    moved = (math.prod(form.x_shape) + math.prod(form.y_shape)) * form.accumulator.itemsize
    steps = form.batch * parts_of(form)
    return (CALL + steps * STEP + form.macs / rate + moved / BANDWIDTH) * form.examples


METHOD = Method(
    "group_products",
    "weight gradient of groups: patches, one batched product",
    supports,
    None,
    weight,
    cost,
)
