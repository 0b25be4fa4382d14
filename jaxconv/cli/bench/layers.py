"""The layers that are measured, named after the published networks they come from.

One [`Layer`][] is one convolution in PyTorch's words with its batch and its input's size. It knows
its FLOPs, and it can be turned into a JAX function of ``(input, weight)`` in either layout.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LETTERS = {1: "W", 2: "HW", 3: "DHW"}


@dataclass(frozen=True)
class Layer:
    """One convolution layer.

    Attributes:
        name: Network and layer.
        family: What kind of convolution it is, as in the summary's rows.
        batch: N, examples.
        size: Spatial size of the input, (W,), (H, W) or (D, H, W).
        channels: (C_in, C_out).
        kernel: Kernel size, one per dimension.
        stride: One per dimension.
        padding: (before, after), one pair per dimension; PyTorch's padding when transposed.
        dilation: One per dimension.
        groups: Channel groups.
        transposed: A transposed convolution.
    """

    name: str
    family: str
    batch: int
    size: tuple[int, ...]
    channels: tuple[int, int]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False

    @property
    def ndim(self) -> int:
        """Number of spatial dimensions."""
        return len(self.size)

    @property
    def output_size(self) -> tuple[int, ...]:
        """Spatial size of the output."""
        rows = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        if self.transposed:
            return tuple((n - 1) * s - lo - hi + d * (k - 1) + 1 for n, k, s, (lo, hi), d in rows)
        return tuple((n + lo + hi - d * (k - 1) - 1) // s + 1 for n, k, s, (lo, hi), d in rows)

    @property
    def forward_flops(self) -> int:
        """FLOPs of the forward pass; a training step takes three times as many."""
        positions = math.prod(self.size if self.transposed else self.output_size)
        c_in, c_out = self.channels
        return 2 * self.batch * positions * c_in * c_out // self.groups * math.prod(self.kernel)

    def shapes(self, layout: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Shapes of input, weight and output in lax's words.

        Args:
            layout: "last" (NHWC, HWIO) or "first" (NCHW, OIHW).
        """
        c_in, c_out = self.channels
        if layout == "last":
            return (
                (self.batch, *self.size, c_in),
                (*self.kernel, c_in // self.groups, c_out),
                (self.batch, *self.output_size, c_out),
            )
        return (
            (self.batch, c_in, *self.size),
            (c_out, c_in // self.groups, *self.kernel),
            (self.batch, c_out, *self.output_size),
        )

    def dimension_numbers(self, layout: str) -> tuple[str, str, str]:
        """The ``dimension_numbers`` of lax for a layout."""
        space = LETTERS[self.ndim]
        if layout == "last":
            return f"N{space}C", f"{space}IO", f"N{space}C"
        return f"NC{space}", f"OI{space}", f"NC{space}"

    def lax_arguments(self, layout: str) -> dict[str, Any]:
        """The keyword arguments of ``lax.conv_general_dilated``, as a user would write them."""
        if self.transposed:
            padding = tuple(
                (d * (k - 1) - lo, d * (k - 1) - hi)
                for k, d, (lo, hi) in zip(self.kernel, self.dilation, self.padding, strict=True)
            )
            strides, lhs_dilation = (1,) * self.ndim, self.stride
        else:
            padding, strides, lhs_dilation = self.padding, self.stride, (1,) * self.ndim
        return {
            "window_strides": strides,
            "padding": padding,
            "lhs_dilation": lhs_dilation,
            "rhs_dilation": self.dilation,
            "dimension_numbers": self.dimension_numbers(layout),
            "feature_group_count": self.groups,
        }

    def function(self, layout: str, conv: Callable[..., Any]) -> Callable[[Any, Any], Any]:
        """The layer as a function of (input, weight), computed by ``conv`` in lax's words."""
        arguments = self.lax_arguments(layout)
        return lambda input, weight: conv(input, weight, **arguments)

    def arrays(self, layout: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Random input, weight and output gradient, float32, the same at each call."""
        rng = np.random.default_rng(0)
        x, w, y = self.shapes(layout)
        fan_in = self.channels[0] // self.groups * math.prod(self.kernel)
        return (
            rng.standard_normal(x, np.float32),
            rng.standard_normal(w, np.float32) / np.float32(math.sqrt(fan_in)),
            rng.standard_normal(y, np.float32),
        )


def _each(value: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    return (value,) * ndim if isinstance(value, int) else value


def layer(
    family: str,
    name: str,
    batch: int,
    size: int | tuple[int, ...],
    channels: tuple[int, int],
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    *,
    dilation: int = 1,
    groups: int = 1,
    ndim: int = 2,
    transposed: bool = False,
) -> Layer:
    """A layer in a line: one number stands for all dimensions.

    `padding` is PyTorch's, or "same" (the output has the input's size) or "causal" (all of it
    before the input).
    """
    kernel, dilations = _each(kernel, ndim), _each(dilation, ndim)
    reach = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    if padding == "same":
        pairs = tuple((r // 2, r - r // 2) for r in reach)
    elif padding == "causal":
        pairs = tuple((r, 0) for r in reach)
    else:
        assert not isinstance(padding, str)
        pairs = tuple((p, p) for p in _each(padding, ndim))
    return Layer(
        name=name,
        family=family,
        batch=batch,
        size=_each(size, ndim),
        channels=channels,
        kernel=kernel,
        stride=_each(stride, ndim),
        padding=pairs,
        dilation=dilations,
        groups=groups,
        transposed=transposed,
    )


# fmt: off
LAYERS: tuple[Layer, ...] = (
    # Dense: every input channel meets every output channel.
    layer("dense", "ResNet-50 3x3 64@56", 8, 56, (64, 64), 3, 1, 1),
    layer("dense", "ResNet-50 3x3 128@28", 8, 28, (128, 128), 3, 1, 1),
    layer("dense", "ResNet-50 3x3 256@14", 8, 14, (256, 256), 3, 1, 1),
    layer("dense", "ResNet-50 3x3 512@7", 8, 7, (512, 512), 3, 1, 1),
    layer("dense", "ResNet-50 3x3 s2 128@56", 4, 56, (128, 128), 3, 2, 1),
    layer("dense", "ResNet-20 CIFAR 3x3 16@32", 64, 32, (16, 16), 3, 1, 1),
    layer("dense", "VGG-16 3x3 64@112", 2, 112, (64, 64), 3, 1, 1),
    layer("dense", "LeNet-5 5x5 1-6@28", 64, 28, (1, 6), 5, 1, 2),
    layer("dense", "LeNet-5 5x5 6-16@14", 64, 14, (6, 16), 5),
    layer("dense", "AlexNet 5x5 64-192@27", 4, 27, (64, 192), 5, 1, 2),
    layer("dense", "SRCNN 9x9 1-64@96", 2, 96, (1, 64), 9, 1, "same"),
    layer("dense", "Inception-v3 1x7 128@17", 8, 17, (128, 128), (1, 7), 1, (0, 3)),
    layer("dense", "AlphaZero 3x3 256@19", 1, 19, (256, 256), 3, 1, 1),
    layer("dense", "U-Net head 3x3 32-2@128", 2, 128, (32, 2), 3, 1, 1),
    # 1x1: a matrix product over the channels.
    layer("1x1", "ResNet-50 1x1 256-64@56", 8, 56, (256, 64), 1),
    layer("1x1", "ResNet-50 1x1 s2 256-512@56", 4, 56, (256, 512), 1, 2),
    layer("1x1", "ResNet-50 1x1 512-2048@7", 8, 7, (512, 2048), 1),
    layer("1x1", "MobileNetV2 1x1 24-144@56", 8, 56, (24, 144), 1),
    layer("1x1", "MobileNetV2 1x1 96-24@56", 1, 56, (96, 24), 1),
    layer("1x1", "EfficientNet SE 1x1 1152-48@1", 8, 1, (1152, 48), 1),
    # Stems: three channels in, large pictures.
    layer("stem", "ResNet stem 7x7 s2 3-64@224", 4, 224, (3, 64), 7, 2, 3),
    layer("stem", "MobileNetV2 stem 3x3 s2 3-32@224", 8, 224, (3, 32), 3, 2, 1),
    layer("stem", "MobileNetV2 stem 3x3 s2 3-32@160 b1", 1, 160, (3, 32), 3, 2, 1),
    layer("stem", "AlexNet stem 11x11 s4 3-64@224", 4, 224, (3, 64), 11, 4, 2),
    # Patches that do not overlap: kernel = stride.
    layer("patchify", "ViT-B/16 16x16 3-768@224", 4, 224, (3, 768), 16, 16),
    layer("patchify", "ConvNeXt stem 4x4 3-96@224", 8, 224, (3, 96), 4, 4),
    layer("patchify", "Swin stem 4x4 3-96@224 b1", 1, 224, (3, 96), 4, 4),
    layer("patchify", "ConvNeXt down 2x2 96-192@56", 4, 56, (96, 192), 2, 2),
    # Depthwise: a channel meets only itself.
    layer("depthwise", "MobileNetV2 dw3x3 144@56", 8, 56, (144, 144), 3, 1, 1, groups=144),
    layer("depthwise", "MobileNetV2 dw3x3 s2 144@56", 8, 56, (144, 144), 3, 2, 1, groups=144),
    layer("depthwise", "MobileNetV2 dw3x3 960@7", 8, 7, (960, 960), 3, 1, 1, groups=960),
    layer("depthwise", "MobileNetV1 dw3x3 32@112 b1", 1, 112, (32, 32), 3, 1, 1, groups=32),
    layer("depthwise", "EfficientNet dw5x5 240@28", 8, 28, (240, 240), 5, 1, 2, groups=240),
    layer("depthwise", "EfficientNet dw5x5 s2 672@14", 8, 14, (672, 672), 5, 2, 2, groups=672),
    layer("depthwise", "ConvNeXt dw7x7 96@56", 4, 56, (96, 96), 7, 1, 3, groups=96),
    layer("depthwise", "ConvNeXt dw7x7 768@7", 8, 7, (768, 768), 7, 1, 3, groups=768),
    layer("depthwise", "DeepLabV3+ dw3x3 d2 728@33", 1, 33, (728, 728), 3, 1, 2,
          dilation=2, groups=728),
    layer("depthwise", "EEGNet dw64x1 x2 8-16", 16, (64, 128), (8, 16), (64, 1), groups=8),
    layer("depthwise", "Mamba dw k4 causal 1024", 2, 512, (1024, 1024), 4, 1, "causal",
          groups=1024, ndim=1),
    layer("depthwise", "Conformer dw k31 256", 4, 500, (256, 256), 31, 1, 15, groups=256, ndim=1),
    layer("depthwise", "Conv-TasNet dw k3 d16 512", 2, 1000, (512, 512), 3, 1, "same",
          dilation=16, groups=512, ndim=1),
    layer("depthwise", "X3D dw3x3x3 54@8x28x28", 2, (8, 28, 28), (54, 54), 3, 1, 1,
          groups=54, ndim=3),
    # Grouped: a few channels a group.
    layer("grouped", "ResNeXt 32x4d 3x3 128@56", 4, 56, (128, 128), 3, 1, 1, groups=32),
    layer("grouped", "ResNeXt 32x4d 3x3 s2 256@56", 2, 56, (256, 256), 3, 2, 1, groups=32),
    layer("grouped", "ResNeXt 32x4d 3x3 512@14", 4, 14, (512, 512), 3, 1, 1, groups=32),
    layer("grouped", "AlexNet g2 5x5 96-256@27", 4, 27, (96, 256), 5, 1, 2, groups=2),
    layer("grouped", "ShuffleNet g3 1x1 240@28", 8, 28, (240, 240), 1, groups=3),
    layer("grouped", "wav2vec2 position k128 g16 768", 1, 249, (768, 768), 128, 1, "same",
          groups=16, ndim=1),
    # Dilated.
    layer("dilated", "DeepLab 3x3 d2 256@32", 4, 32, (256, 256), 3, 1, 2, dilation=2),
    layer("dilated", "DeepLab ASPP 3x3 d12 512-256@33", 1, 33, (512, 256), 3, 1, 12, dilation=12),
    layer("dilated", "WaveNet k2 d64 64-128", 2, 4096, (64, 128), 2, 1, "causal",
          dilation=64, ndim=1),
    layer("dilated", "TCN k3 d8 128", 8, 512, (128, 128), 3, 1, "causal", dilation=8, ndim=1),
    # Transposed.
    layer("transposed", "DCGAN T4x4 s2 512-256@8", 16, 8, (512, 256), 4, 2, 1, transposed=True),
    layer("transposed", "DCGAN T4x4 s2 64-3@32", 16, 32, (64, 3), 4, 2, 1, transposed=True),
    layer("transposed", "U-Net T2x2 s2 128-64@56", 2, 56, (128, 64), 2, 2, transposed=True),
    layer("transposed", "HiFi-GAN T16 s8 256-128", 2, 256, (256, 128), 16, 8, 4,
          ndim=1, transposed=True),
    layer("transposed", "3-D U-Net T2x2x2 s2 64-32@8x16x16", 1, (8, 16, 16), (64, 32), 2, 2,
          ndim=3, transposed=True),
    # Audio and sequences.
    layer("1-D", "wav2vec2 stem k10 s5 1-512", 4, 16000, (1, 512), 10, 5, ndim=1),
    layer("1-D", "wav2vec2 k3 s2 512", 2, 1599, (512, 512), 3, 2, ndim=1),
    layer("1-D", "Whisper stem k3 80-384", 1, 3000, (80, 384), 3, 1, 1, ndim=1),
    layer("1-D", "Whisper k3 s2 384", 1, 3000, (384, 384), 3, 2, 1, ndim=1),
    layer("1-D", "Char-CNN k7 70-256", 8, 1014, (70, 256), 7, ndim=1),
    layer("1-D", "M5 stem k80 s4 1-128", 4, 16000, (1, 128), 80, 4, 38, ndim=1),
    # Volumes and video.
    layer("3-D", "R3D-18 3x3x3 64@8x28x28", 1, (8, 28, 28), (64, 64), 3, 1, 1, ndim=3),
    layer("3-D", "R3D-18 stem 3x7x7 s1,2,2 3-64", 1, (8, 112, 112), (3, 64), (3, 7, 7),
          (1, 2, 2), (1, 3, 3), ndim=3),
    layer("3-D", "R(2+1)D 3x1x1 144-64@8x28x28", 1, (8, 28, 28), (144, 64), (3, 1, 1),
          1, (1, 0, 0), ndim=3),
    layer("3-D", "I3D 1x1x1 192-64@8x28x28", 2, (8, 28, 28), (192, 64), 1, ndim=3),
    layer("3-D", "3-D U-Net 3x3x3 32-64@16x32x32", 1, (16, 32, 32), (32, 64), 3, 1, 1, ndim=3),
)
# fmt: on
