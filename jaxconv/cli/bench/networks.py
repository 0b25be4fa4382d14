"""Small networks in the manner of published ones, described once for JAX and for PyTorch.

A network is a tuple of operations; `networks_jax` and `networks_torch` each interpret it, so that
both run the same layers on the same numbers.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np


@dataclass(frozen=True)
class Conv:
    """A convolution; SAME for odd kernels at stride 1, as the networks pad it.

    Attributes:
        channels: C_out; 0 keeps the number of channels.
        kernel: Kernel size in every dimension.
        stride: Stride in every dimension.
        groups: Channel groups; 0 is depthwise.
        dilation: Dilation in every dimension.
        pad: "same", "valid" or "causal".
        bias: Whether it has one; a batch normalisation behind it would take it away again.
    """

    channels: int
    kernel: int
    stride: int = 1
    groups: int = 1
    dilation: int = 1
    pad: str = "same"
    bias: bool = True

    @property
    def pair(self) -> tuple[int, int]:
        """Padding (before, after) of every dimension."""
        reach = self.dilation * (self.kernel - 1)
        if self.pad == "same":
            return reach // 2, reach // 2
        return (reach, 0) if self.pad == "causal" else (0, 0)


@dataclass(frozen=True)
class Up:
    """A transposed convolution with kernel = stride = 2 and bias."""

    channels: int


@dataclass(frozen=True)
class Norm:
    """Batch normalisation in training ("batch"), or layer normalisation over channels ("layer")."""

    kind: str


@dataclass(frozen=True)
class Act:
    """An activation: "relu", "relu6", "gelu" or "gate" (tanh of one half, sigmoid of the other)."""

    kind: str


@dataclass(frozen=True)
class Residual:
    """The input, through ``shortcut``, plus the body's output."""

    body: "tuple[Op, ...]"
    shortcut: "tuple[Op, ...]" = ()


@dataclass(frozen=True)
class Concat:
    """The input and the body's output, side by side on the channel axis."""

    body: "tuple[Op, ...]"


@dataclass(frozen=True)
class Head:
    """Mean over all positions, then a linear layer."""

    channels: int


Op: TypeAlias = Conv | Up | Norm | Act | Residual | Concat | Head


@dataclass(frozen=True)
class Network:
    """A network and the batch it is trained on.

    Attributes:
        name: The network it is like.
        batch: N.
        size: Spatial size, (L,) or (H, W).
        channels: C_in.
        body: Its operations in order.
    """

    name: str
    batch: int
    size: tuple[int, ...]
    channels: int
    body: tuple[Op, ...]

    def input(self) -> np.ndarray:
        """Random input (N, C_in, *size), the same at each call."""
        shape = (self.batch, self.channels, *self.size)
        return np.random.default_rng(1).standard_normal(shape, np.float32)

    def parameters(self) -> list[np.ndarray]:
        """All parameters in the order of use, in PyTorch's shapes, the same at each call."""
        rng = np.random.default_rng(0)
        parameters = []
        for shape, fan_in in _shapes(self.body, [self.channels], len(self.size)):
            if fan_in > 0:
                weight = rng.standard_normal(shape, np.float32) / np.float32(math.sqrt(fan_in))
                parameters.append(weight)
            else:
                parameters.append(np.full(shape, fan_in == SCALE, np.float32))
        return parameters


SCALE = -1
"""In place of a fan-in: a normalisation's scale, which begins with ones. 0: a bias."""


def _shapes(
    ops: tuple[Op, ...], channels: list[int], ndim: int
) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yields (shape, fan-in) of each parameter; ``channels[0]`` follows the data through."""
    for op in ops:
        c_in = channels[0]
        if isinstance(op, Conv):
            c_out, groups = op.channels or c_in, op.groups or c_in
            fan_in = c_in // groups * op.kernel**ndim
            yield (c_out, c_in // groups, *(op.kernel,) * ndim), fan_in
            if op.bias:
                yield (c_out,), 0
            channels[0] = c_out
        elif isinstance(op, Up):
            yield (c_in, op.channels, *(2,) * ndim), c_in
            yield (op.channels,), 0
            channels[0] = op.channels
        elif isinstance(op, Norm):
            yield (c_in,), SCALE
            yield (c_in,), 0
        elif isinstance(op, Act):
            channels[0] = c_in // 2 if op.kind == "gate" else c_in
        elif isinstance(op, Residual):
            yield from _shapes(op.body, channels, ndim)
            yield from _shapes(op.shortcut, [c_in], ndim)
        elif isinstance(op, Concat):
            yield from _shapes(op.body, channels, ndim)
            channels[0] += c_in
        else:
            yield (op.channels, c_in), c_in
            yield (op.channels,), 0
            channels[0] = op.channels


def _normed(channels: int, kernel: int, stride: int = 1, groups: int = 1) -> tuple[Op, ...]:
    """A convolution and the batch normalisation that takes the place of its bias."""
    return Conv(channels, kernel, stride, groups, bias=False), Norm("batch")


def _inverted(expand: int, out: int, stride: int = 1) -> tuple[Op, ...]:
    return (
        *_normed(expand, 1), Act("relu6"), *_normed(0, 3, stride, groups=0), Act("relu6"),
        *_normed(out, 1),
    )  # fmt: skip


def _convnext(channels: int) -> Residual:
    body = (Conv(0, 7, groups=0), Norm("layer"), Conv(4 * channels, 1), Act("gelu"))
    return Residual((*body, Conv(channels, 1)))


def _bottleneck(width: int, out: int, groups: int, stride: int = 1, grow: bool = False) -> Residual:
    body = (
        *_normed(width, 1), Act("relu"), *_normed(width, 3, stride, groups), Act("relu"),
        *_normed(out, 1),
    )  # fmt: skip
    return Residual(body, _normed(out, 1, stride) if grow else ())


def _basic(channels: int, stride: int = 1) -> Residual:
    body = (*_normed(channels, 3, stride), Act("relu"), *_normed(channels, 3))
    return Residual(body, _normed(channels, 1, stride) if stride > 1 else ())


def _wavenet(dilation: int) -> Residual:
    return Residual((Conv(96, 2, dilation=dilation, pad="causal"), Act("gate"), Conv(48, 1)))


def _twice(channels: int) -> tuple[Op, ...]:
    return (Conv(channels, 3), Act("relu"), Conv(channels, 3), Act("relu"))


RELU = Act("relu")
DOWN = "valid"

NETWORKS: tuple[Network, ...] = (
    Network(
        "MobileNetV2-like", 4, (96, 96), 3,
        (
            *_normed(32, 3, 2), Act("relu6"),
            *_inverted(32, 16), *_inverted(96, 24, 2), Residual(_inverted(144, 24)),
            *_inverted(144, 32, 2), Residual(_inverted(192, 32)), Residual(_inverted(192, 32)),
            *_inverted(192, 64, 2), Residual(_inverted(384, 64)),
            *_normed(256, 1), Act("relu6"), Head(10),
        ),
    ),
    Network(
        "ConvNeXt-like", 4, (128, 128), 3,
        (
            Conv(64, 4, 4, pad=DOWN), Norm("layer"), _convnext(64), _convnext(64),
            Norm("layer"), Conv(128, 2, 2, pad=DOWN), _convnext(128), _convnext(128),
            Norm("layer"), Conv(256, 2, 2, pad=DOWN), _convnext(256), _convnext(256), Head(10),
        ),
    ),
    Network(
        "ResNeXt-like", 4, (96, 96), 3,
        (
            *_normed(64, 7, 2), RELU, Conv(64, 2, 2, pad=DOWN), RELU,
            _bottleneck(128, 128, 32, grow=True), RELU, _bottleneck(128, 128, 32), RELU,
            _bottleneck(256, 256, 32, 2, grow=True), RELU, _bottleneck(256, 256, 32), RELU,
            Head(10),
        ),
    ),
    Network(
        "ResNet-like", 4, (64, 64), 3,
        (
            *_normed(64, 3), RELU, _basic(64), RELU, _basic(128, 2), RELU,
            _basic(128), RELU, _basic(256, 2), RELU, _basic(256), RELU, Head(10),
        ),
    ),
    Network(
        "WaveNet-like", 2, (4096,), 1,
        (
            Conv(48, 2, pad="causal"), *(_wavenet(2**i) for i in range(10)),
            RELU, Conv(128, 1), RELU, Conv(128, 1),
        ),
    ),
    Network(
        "U-Net-like", 2, (128, 128), 1,
        (
            *_twice(32),
            Concat((
                Conv(64, 2, 2, pad=DOWN), *_twice(64),
                Concat((Conv(128, 2, 2, pad=DOWN), *_twice(128), Up(64))),
                *_twice(64), Up(32),
            )),
            *_twice(32), Conv(2, 1),
        ),
    ),
)  # fmt: skip
