"""group_split: each group by itself, as a convolution without groups.

XLA computes a grouped convolution group by group in plain loops, and turns its weight gradient into
a dense one that multiplies every pair of groups. A group cut out is a dense convolution, for which
there are fast methods. For few groups of many channels.

Source: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional
neural networks", 2012, section 3.2: groups are convolutions side by side.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
from jax import Array

from jaxconv._form import Form
from jaxconv._methods import _inner
from jaxconv._methods._base import Method

# Each group is compiled by itself.
MOST_GROUPS = 16
# Bytes a second of cutting the groups out and joining them; seconds a group.
COPY, GROUP = 5e9, 1e-5


def one_group(form: Form) -> Form:
    """One of the groups."""
    return dataclasses.replace(form, groups=1)


def forward(x: Array, w: Array, form: Form) -> Array:
    """y: the groups' results side by side."""
    one = one_group(form)
    c, o = form.in_channels, form.out_channels
    parts = [
        _inner.conv_form(x[..., g * c : (g + 1) * c], w[..., g * o : (g + 1) * o], one)
        for g in range(form.groups)
    ]
    return jnp.concatenate(parts, -1)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w: the groups' weight gradients side by side."""
    one = one_group(form)
    c, o = form.in_channels, form.out_channels
    parts = [
        _inner.weight_form(x[..., g * c : (g + 1) * c], y[..., g * o : (g + 1) * o], one)
        for g in range(form.groups)
    ]
    return jnp.concatenate(parts, -1)


def supports(form: Form) -> str | None:
    """A few groups of more than one channel."""
    if form.groups == 1:
        return "takes several groups"
    if form.groups > MOST_GROUPS:
        return f"takes at most {MOST_GROUPS} groups, here {form.groups}"
    if form.in_channels == 1 or form.out_channels == 1:
        return "takes groups of several channels"
    return None


def cost(form: Form) -> float:
    """The groups' own costs, and a copy of everything."""
    copied = math.prod(form.x_shape) + math.prod(form.y_shape)
    seconds = _inner.best(one_group(form))[1] + GROUP
    return form.groups * seconds + copied * form.dtype.itemsize / COPY


METHOD = Method(
    "group_split",
    "each group by itself, as a dense convolution",
    supports,
    forward,
    weight,
    cost,
    composite=True,
)
