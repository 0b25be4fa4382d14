"""unfold and fold: windows as columns, and columns added up again, in PyTorch's words."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxconv import _arguments as args
from jaxconv._arguments import Ints
from jaxconv._compat import surely_less
from jaxconv._errors import fail
from jaxconv._spec import Shape
from jaxconv._window import Window, elements, overlap_add


def unfold(
    input: Array, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
) -> Array:
    """The windows of an image as columns, call-compatible with `torch.nn.functional.unfold`.

    Args:
      input: (N, C, H, W) or (C, H, W).
      kernel_size: the window, in elements; one int or two.
      dilation: elements between the taps of a window.
      padding: zeros on both sides of both dimensions.
      stride: elements between windows.

    Returns:
      (N, C kH kW, L) or (C kH kW, L), with L = H_out W_out windows in row order, and
      H_out = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1.

    Raises:
      ValueError, TypeError: shapes, values or kinds that do not fit.

    Source: torch.nn.functional.unfold, PyTorch 2.13.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> print(jaxconv.unfold(jnp.arange(9.0).reshape(1, 3, 3), 2).astype(int))
      [[0 1 3 4]
       [1 2 4 5]
       [3 4 6 7]
       [4 5 7 8]]
    """
    name = "unfold"
    input = args.array(name, "input", input)
    args.batched(name, input, 2)
    if 0 in input.shape[-3:]:
        rule = "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size"
        raise fail(ValueError, name, rule, f"input {input.shape}", "Give channels and positions")
    blocks = _Blocks(name, input.shape[-2:], kernel_size, dilation, padding, stride)
    return _columns(input, blocks.windows(input.ndim - 2))


def fold(
    input: Array,
    output_size: Ints,
    kernel_size: Ints,
    dilation: Ints = 1,
    padding: Ints = 0,
    stride: Ints = 1,
) -> Array:
    """Columns added up into an image, call-compatible with `torch.nn.functional.fold`.

    The transpose of `unfold`: where windows overlap, their values are added.

    Args:
      input: (N, C kH kW, L) or (C kH kW, L), as `unfold` gives it.
      output_size: (H, W) of the image; one int or two.
      kernel_size: as in `unfold`.
      dilation: as in `unfold`.
      padding: as in `unfold`.
      stride: as in `unfold`.

    Returns:
      (N, C, H, W) or (C, H, W).

    Raises:
      ValueError, TypeError: shapes, values or kinds that do not fit.

    Source: torch.nn.functional.fold, PyTorch 2.13.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> print(jaxconv.fold(jnp.ones((4, 4)), (3, 3), 2)[0])  # how many windows see each pixel
      [[1. 2. 1.]
       [2. 4. 2.]
       [1. 2. 1.]]
    """
    name = "fold"
    input = args.array(name, "input", input)
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        rule = "Expected 2D (unbatched) or 3D (batched) input, of which only the batch may be empty"
        got = f"input {input.shape}"
        raise fail(ValueError, name, rule, got, "Give (N, C*kH*kW, L) or (C*kH*kW, L)")
    size = _pair(name, "output_size", output_size)
    args.at_least(name, "output_size", size, 1, "output size should be greater than zero")
    blocks = _Blocks(name, size, kernel_size, dilation, padding, stride)
    taps, length = math.prod(blocks.kernel), math.prod(blocks.out)
    if input.shape[-2] % taps:
        raise fail(
            ValueError,
            name,
            f"expected size of input dimension {input.ndim - 2} to be divisible by the product of "
            f"kernel_size={blocks.kernel}",
            f"input {input.shape}",
            "Change kernel_size or the input's channels",
        )
    if input.shape[-1] != length:
        raise fail(
            ValueError,
            name,
            f"output_size={size}, kernel_size={blocks.kernel}, dilation={blocks.dilation}, "
            f"padding={blocks.padding} and stride={blocks.stride} make "
            f"{blocks.out[0]} * {blocks.out[1]} = {length} sliding blocks",
            f"input {input.shape} with {input.shape[-1]}",
            "Change output_size or the input's last dimension",
        )
    channels = input.shape[-2] // taps
    columns = input.reshape(*input.shape[:-2], channels, *blocks.kernel, *blocks.out)
    return _image(columns, blocks.windows(columns.ndim - 4), size)


@functools.partial(jax.jit, static_argnums=1)
def _columns(x: Array, windows: tuple[Window, Window]) -> Array:
    """(..., C, H, W) -> (..., C kH kW, H_out W_out)."""
    rows, columns = windows
    x = elements(elements(x, rows), columns._replace(axis=columns.axis + 1))
    x = jnp.swapaxes(x, -3, -2)  # (..., C, kH, kW, H_out, W_out)
    *lead, channels, height, width, h_out, w_out = x.shape
    return x.reshape(*lead, channels * height * width, h_out * w_out)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _image(x: Array, windows: tuple[Window, Window], size: Shape) -> Array:
    """(..., C, kH, kW, H_out, W_out) -> (..., C, H, W)."""
    rows, columns = windows
    truth = x.dtype == bool
    x = jnp.swapaxes(x.astype(jnp.int32) if truth else x, -3, -2)
    x = overlap_add(x, columns._replace(axis=columns.axis + 1), size[1])
    x = overlap_add(x, rows, size[0])
    return x != 0 if truth else x


def _pair(name: str, argument: str, value: Any) -> Shape:
    """An int or two; a sequence of one, which PyTorch takes elsewhere, is refused here."""
    if isinstance(value, tuple | list) and len(value) == 1:
        rule = f"it is expected that {argument} has 2 entries"
        raise fail(ValueError, name, rule, f"{argument}={value}", "Give an int or two")
    return args.ints(name, argument, value, 2)


class _Blocks:
    """The checked geometry that unfold and fold share."""

    def __init__(
        self, name: str, size: Shape, kernel: Any, dilation: Any, padding: Any, stride: Any
    ):
        self.kernel = _pair(name, "kernel_size", kernel)
        self.dilation = _pair(name, "dilation", dilation)
        self.padding = _pair(name, "padding", padding)
        self.stride = _pair(name, "stride", stride)
        positive = "should be greater than zero"
        args.at_least(name, "kernel_size", self.kernel, 1, f"kernel size {positive}")
        args.at_least(name, "dilation", self.dilation, 1, f"dilation {positive}")
        args.at_least(name, "stride", self.stride, 1, f"stride {positive}")
        args.at_least(name, "padding", self.padding, 0, "padding should be non-negative")
        self.out = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, d, p, s in zip(
                size, self.kernel, self.dilation, self.padding, self.stride, strict=True
            )
        )
        if any(surely_less(count, 1) for count in self.out):
            raise fail(
                ValueError,
                name,
                f"the calculated shape of the array of sliding blocks is {self.out}, but its "
                "components must be at least one",
                f"spatial size {size}, kernel_size={self.kernel}, dilation={self.dilation} and "
                f"padding={self.padding}",
                "Use a larger image, a smaller window or more padding",
            )

    def windows(self, axis: int) -> tuple[Window, Window]:
        """The windows along `axis` and along the next."""
        geometry = (self.kernel, self.stride, self.dilation, self.padding, self.out)
        rows, columns = zip(*geometry, strict=True)
        return Window(axis, *rows), Window(axis + 1, *columns)
