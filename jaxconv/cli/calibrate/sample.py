"""Random layers of the kinds that networks are made of, and their training convolutions."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator
from typing import NamedTuple

import jax
import numpy as np
from jax import lax

from jaxconv._explain import explanation
from jaxconv._spec import ConvSpec

KINDS = (
    "dense",
    "dense",
    "dense",
    "strided",
    "pointwise",
    "pointwise",
    "stem",
    "narrow",
    "line",
    "patch",
    "transposed",
    "depthwise",
    "depthwise",
    "grouped",
    "grouped",
    "1d",
    "3d",
    "dilated",
)
CHANNELS = (8, 12, 16, 24, 32, 48, 64, 72, 96, 128, 144, 160, 192, 256, 320, 384, 512, 768, 1024)
NARROW_CHANNELS = (1, 1, 2, 3, 3, 4, 6, 8, 10, 12, 16, 16, 20, 32)
SIZES = (7, 8, 10, 14, 16, 20, 28, 32, 40, 48, 56, 64, 80, 112, 128)
MOST_MACS, LEAST_MACS, MOST_ENTRIES = 1.5e9, 2e5, 2**23
# Channels times side of an image: what stays about the same from layer to layer of a network, as
# in ResNet's 64@56, 128@28, 256@14. This part of the layers is drawn so.
CHANNELS_TIMES_SIDE, LIKELY = (700, 9000), 0.6
# Depthwise kernels mostly stand where a network is so many times wider.
WIDENED = 3
# The part of the layers of some kinds that read few channels, or write few: images, audio, maps;
# and that of 1x1 layers which see a single position, as those that weigh channels do.
FEW, SINGLE = 0.3, 0.15
# Frames of a video. This part of the layers in three dimensions has so many, and larger images.
FRAMES, VIDEO = (4, 8, 16), 0.5


class Layer(NamedTuple):
    """One layer: what it is, and its convolution as `lax.conv_general_dilated` takes it.

    It is padded by `pad` on both sides of each dimension in which its kernel is longer than 1.
    """

    kind: str
    layout: str
    batch: int
    c_in: int
    c_out: int
    groups: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: int
    dilation: int
    up: int
    pad: int

    def shapes(self) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """Input and weight."""
        fan_in = self.c_in // self.groups
        if self.layout == "last":
            x = (self.batch, *self.size, self.c_in)
            w = (*self.kernel, fan_in, self.c_out)
        else:
            x = (self.batch, self.c_in, *self.size)
            w = (self.c_out, fan_in, *self.kernel)
        return jax.ShapeDtypeStruct(x, np.float32), jax.ShapeDtypeStruct(w, np.float32)

    def convolve(self, x: jax.Array, w: jax.Array) -> jax.Array:
        """The convolution."""
        space = "DHW"[3 - len(self.size) :]
        last, first = (f"N{space}C", f"{space}IO"), (f"NC{space}", f"OI{space}")
        data, kernel = last if self.layout == "last" else first
        ndim = len(self.size)
        return lax.conv_general_dilated(
            x,
            w,
            (self.stride,) * ndim,
            [(self.pad, self.pad) if k > 1 else (0, 0) for k in self.kernel],
            (self.up,) * ndim,
            (self.dilation,) * ndim,
            (data, kernel, data),
            feature_group_count=self.groups,
        )


def layer(rng: random.Random, kinds: Collection[str] = ()) -> Layer:
    """One random layer of bearable size, of one of `kinds` if there are any."""
    while True:
        found = _draw(rng)
        if kinds and found.kind not in kinds:
            continue
        x, w = found.shapes()
        try:
            y = jax.eval_shape(found.convolve, x, w)
        except ValueError:  # the kernel is larger than the padded input
            continue
        macs = math.prod(y.shape) * math.prod(w.shape) / found.c_out / found.up ** len(found.size)
        entries = max(math.prod(x.shape), math.prod(y.shape))
        most = MOST_MACS / (5 if found.groups > 1 else 1)  # lax takes seconds for grouped ones
        if LEAST_MACS < macs < most and 0 < entries < MOST_ENTRIES and 0 not in y.shape:
            return found


def _between(rng: random.Random, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _draw(rng: random.Random) -> Layer:
    kind = rng.choice(KINDS)
    ndim, k, stride, dilation, up, groups = 2, rng.choice((3, 3, 3, 5, 7)), 1, 1, 1, 1
    c_in, c_out, side = rng.choice(CHANNELS), rng.choice(CHANNELS), rng.choice(SIZES)
    if kind == "strided":
        stride, k = 2, rng.choice((3, 3, 4, 5))
    elif kind == "pointwise":
        k, stride = 1, rng.choice((1, 1, 1, 2))
        ndim = rng.choice((1, 2, 2, 2, 3))
        if rng.random() < FEW:
            c_in, c_out = rng.sample((c_in, rng.choice(NARROW_CHANNELS)), 2)
        if rng.random() < SINGLE:
            stride, side = 1, 1
    elif kind == "stem":
        c_in, c_out = rng.choice((1, 3, 3, 4)), rng.choice((16, 24, 32, 48, 64, 96))
        k, stride, side = (
            rng.choice((3, 5, 7, 9, 11)),
            rng.choice((1, 2, 2, 4)),
            rng.choice((28, 64, 96, 160)),
        )
    elif kind == "narrow":
        c_in, c_out = rng.choice(NARROW_CHANNELS), rng.choice(NARROW_CHANNELS)
        k, stride = rng.choice((3, 3, 3, 5, 5, 7)), rng.choice((1, 1, 1, 2))
    elif kind == "line":
        ndim, k = rng.choice((2, 3)), rng.choice((3, 3, 5, 7))
        side = min(side, 28) if ndim == 3 else side
    elif kind == "patch":
        k = stride = rng.choice((2, 4, 8, 16))
        c_in, side = rng.choice((3, 3, 16, 64, 96)), rng.choice((32, 64, 112, 160))
    elif kind == "transposed":
        up, k = 2, rng.choice((2, 3, 4))
    elif kind == "depthwise":
        ndim = rng.choice((1, 2, 2, 2, 3))
        groups = c_in = 8 * round(_between(rng, 8, 2304) / 8)
        c_out = c_in * rng.choice((1, 1, 1, 1, 2))
        k = rng.choice((3, 4, 7, 15, 31)) if ndim == 1 else rng.choice((3, 3, 5, 7))
        stride = rng.choice((1, 1, 2))
    elif kind == "grouped":
        ndim = rng.choice((1, 2, 2, 2))
        groups = rng.choice((2, 4, 8, 16, 32, 64))
        c_in = c_out = groups * rng.choice((2, 4, 8, 16, 32, 64))
        k, stride = rng.choice((3, 7, 15, 64) if ndim == 1 else (3, 3, 3, 5)), rng.choice((1, 1, 2))
    elif kind == "1d":
        ndim, k = 1, rng.choice((2, 3, 5, 7, 9, 15))
        stride = rng.choice((1, 1, 1, 2, 4))
        c_in = rng.choice(NARROW_CHANNELS) if rng.random() < FEW else c_in
    elif kind == "3d":
        ndim, side = 3, rng.choice((4, 7, 8, 14, 16, 28))
        c_in, c_out, k = min(c_in, 128), min(c_out, 128), rng.choice((2, 3, 3, 5))
        c_in = rng.choice((1, 3, 16)) if rng.random() < FEW else c_in
        stride = rng.choice((1, 1, 2))
    elif kind == "dilated":
        ndim, dilation, k = rng.choice((1, 2, 2)), rng.choice((2, 4, 8, 12)), 3
    if kind in ("dense", "strided", "pointwise", "depthwise", "grouped", "dilated") and ndim == 2:
        if side > 1 and rng.random() < LIKELY:  # as networks have it
            product = _between(rng, *CHANNELS_TIMES_SIDE) * (WIDENED if kind == "depthwise" else 1)
            side = min(128, max(4, round(product / c_in)))
            if kind in ("dense", "strided", "dilated"):
                k, c_out = 3, c_in * rng.choice((1, 1, 1, 2))
    if ndim == 1:
        side = round(_between(rng, 64, 8000))
    pad = 0 if kind == "patch" else (k - 1) * dilation // 2
    if up > 1:
        pad = k - 1 - int(k > 2)
    layout, batch = rng.choice(("last", "first")), rng.choice((1, 1, 2, 4, 8, 16))
    size, kernel = (side,) * ndim, (k,) * ndim
    if ndim == 3 and side > 1 and rng.random() < VIDEO:
        side = rng.choice((7, 14, 28, 56))
        size = (rng.choice(FRAMES), side, side)
    if kind == "line":
        along = rng.randrange(ndim)
        kernel = tuple(k if dim == along else 1 for dim in range(ndim))
    return Layer(kind, layout, batch, c_in, c_out, groups, size, kernel, stride, dilation, up, pad)


def training(found: Layer) -> dict[str, ConvSpec]:
    """The convolutions of the layer's training step, by direction."""
    x, w = found.shapes()

    def step(x, w, g):
        y, pull = jax.vjp(found.convolve, x, w)
        return y, pull(g)

    steps = explanation(step, x, w, jax.eval_shape(found.convolve, x, w))
    return {c.direction: c.spec for c in steps}


def convolutions(seed: int, kinds: Collection[str] = ()) -> Iterator[tuple[Layer, str, ConvSpec]]:
    """Without end: a layer, a direction of its training step, and the convolution there."""
    rng = random.Random(seed)
    while True:
        found = layer(rng, kinds)
        for direction, spec in training(found).items():
            yield found, direction, spec
