"""pointwise: a 1x1 convolution is a matrix product over positions.

Source: M. Lin, Q. Chen, S. Yan, "Network in network", 2013, section 3.1. With a stride, the
positions that are used are cut out first.

Channels first mostly stays so: a product for each image, of which the weight is the same. Written
with one weight for all, XLA multiplies it by the whole batch at once and moves the batch to the
front again, a copy that takes longer than the product. So each image is given a copy of the weight,
and a weight gradient of its own, where these are small beside the image. (oneDNN reads one weight
for all.)
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax

from jaxconv._form import Form, pad_input
from jaxconv._methods._base import Method
from jaxconv._methods._products import by_onednn, of_few_rows, over_rows, product

# A weight is small beside an image if it has so many times fewer entries than the image and its
# result: to copy it for each image, or to add up the gradients of the images.
COPIES, SUMS = 2, 10
# A weight outweighs all images and their results if it has so many times the entries: if it lies
# inputs first, and if it lies outputs first, where XLA's product of it as it lies is slower.
INPUTS_FIRST, OUTPUTS_FIRST = 0.5, 2


def small_weight(form: Form, times: int = COPIES) -> bool:
    """Whether the weight of a group is so many times smaller than an image and its result.

    Or there is one image, which needs no copy.
    """
    rows, columns = form.taps * form.in_channels, form.out_channels
    positions = form.positions // form.batch
    return form.batch == 1 or times * rows * columns <= positions * (rows + columns)


def outweighs(form: Form) -> bool:
    """Whether to move the images and their results takes less time than to move the weight."""
    moved = form.positions * (form.in_channels + form.out_channels)
    times = OUTPUTS_FIRST if form.outputs_first else INPUTS_FIRST
    return form.groups == 1 and form.in_channels * form.out_channels > times * moved


def used(x: Array, form: Form) -> Array:
    """The positions of x that have an output: (N, *S_out, C)."""
    x = pad_input(x, form)
    last = [(out - 1) * s + 1 for out, s in zip(form.out_spatial, form.strides, strict=True)]
    return lax.slice(x, [0] * x.ndim, [x.shape[0], *last, x.shape[-1]], [1, *form.strides, 1])


def by_images(x: Array) -> Array:
    """x (N, *S, C), of which memory is channels first, as (N, C, P).

    The transpose comes before the reshape, so that XLA sees it cancel.
    """
    return jnp.moveaxis(x, -1, 1).reshape(x.shape[0], x.shape[-1], -1)


def forward_of_images(x: Array, w: Array, form: Form) -> Array:
    """w (G, O, C) times each group of each image of x (N, G*C, P): (N, *S_out, G*O)."""
    groups, outputs, channels = w.shape
    if by_onednn(form, x, w):  # which reads one weight for all images
        y = product(w[None], x.reshape(form.batch, groups, channels, -1), form)
    elif groups == 1 and not small_weight(form):
        y = jnp.einsum("oc,ncp->nop", w[0], x, precision=form.precision)
    else:
        x = x.reshape(-1, channels, x.shape[-1])
        w = jnp.tile(w, (form.batch, 1, 1))
        y = jnp.einsum("boc,bcp->bop", w, x, precision=form.precision)
    # The barrier keeps XLA from swapping the operands, whose product would lie channels last.
    y = lax.optimization_barrier(y)
    return jnp.moveaxis(y.reshape(form.batch, groups * outputs, *form.out_spatial), 1, -1)


def weight_of_images(x: Array, y: Array, form: Form) -> Array:
    """x (N, C, P) times y (N, O, P), summed over images and positions: (C, O)."""
    if not small_weight(form, SUMS):
        return jnp.einsum("ncp,nop->co", x, y, precision=form.precision)
    if by_onednn(form, x, y):
        return jnp.sum(product(x, y, form, transpose_b=True), 0)
    if x.shape[1] < y.shape[1]:  # the wider operand first
        w = jnp.einsum("nop,ncp->noc", y, x, precision=form.precision)
        return jnp.sum(lax.optimization_barrier(w), 0).T
    return jnp.sum(jnp.einsum("ncp,nop->nco", x, y, precision=form.precision), 0)


def stays_first(form: Form, kept: bool) -> bool:
    """Whether the product keeps channels first, as it must for groups.

    A large weight is not copied for each image, and without copies XLA's product transposes the
    input within: better before it, to channels last, if the input has at least as many channels as
    the result, which is transposed back. Or if the weight outweighs them and would be transposed:
    it is `kept` as it lies by oneDNN, and by XLA for a single image, if its outputs lie first.
    """
    single = form.batch == 1 and form.outputs_first
    if form.layout == "last" or (outweighs(form) and not kept and not single):
        return False
    return form.groups > 1 or small_weight(form) or form.in_channels < form.out_channels


def forward(x: Array, w: Array, form: Form) -> Array:
    """y = x w at every position."""
    # Each transpose of w stands beside the one that brought it here, so that the two cancel.
    x = used(x, form)
    kept = form.outputs_first and by_onednn(form, x, w)
    if not stays_first(form, kept):
        x = x.reshape(-1, form.in_channels)
        few = form.positions == form.batch or outweighs(form)
        if kept or (form.outputs_first and few):
            w = jnp.swapaxes(w, -1, -2).reshape(form.out_channels, -1)
            y = of_few_rows(x, w, form)
        else:
            y = product(x, w.reshape(form.in_channels, -1), form)
    elif form.batch == form.groups == 1 and not form.outputs_first:
        y = product(w.reshape(form.in_channels, -1), by_images(x)[0], form, transpose_a=True)
        y = jnp.moveaxis(y.reshape(1, -1, *form.out_spatial), 1, -1)
    else:
        w = jnp.swapaxes(w, -1, -2).reshape(form.groups, form.out_channels, form.in_channels)
        y = forward_of_images(by_images(x), w, form)
    return y.reshape(form.y_shape).astype(form.out_dtype)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w = x^T y, summed over all positions."""
    x = used(x, form)
    if form.layout == "first":
        w = weight_of_images(by_images(x), by_images(y), form)
    else:
        x, y = x.reshape(-1, form.in_channels), y.reshape(-1, form.out_channels)
        w = over_rows(x, y, form)
    return w.reshape(form.w_shape).astype(form.out_dtype)


def supports(form: Form) -> str | None:
    """One tap, one group; forward, channels first, groups of several channels too."""
    several = form.layout == "first" and form.kind == "forward" and form.in_channels > 1
    if form.groups > 1 and not several:
        return "takes one group, or groups of several channels where these lie first"
    if form.kind == "forward" and max(form.lhs_dilation) > 1:
        return "takes no dilated input: its product would be with zeros"
    return "takes one tap (a 1x1 kernel)" if form.taps > 1 else None


def cost(form: Form) -> float:
    """A product at 100 billion multiply-adds a second."""
    return 2e-5 + form.macs * form.examples / 1e11


METHOD = Method(
    "pointwise", "1x1: a matrix product over positions", supports, forward, weight, cost
)
