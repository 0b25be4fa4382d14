"""unfold and fold: windows as columns, and columns added up again, in PyTorch's words."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _arguments as args
from jaxconv._arguments import Ints
from jaxconv._errors import fail
from jaxconv._spec import Shape


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
        rule = "only the batch of the input may be empty"
        raise fail(ValueError, name, rule, f"input {input.shape}", "Give channels and positions")
    blocks = _Blocks(name, input.shape[-2:], kernel_size, dilation, padding, stride)
    (ph, pw), lead = blocks.padding, [(0, 0, 0)] * (input.ndim - 2)
    padded = lax.pad(input, jnp.zeros((), input.dtype), [*lead, (ph, ph, 0), (pw, pw, 0)])
    windows = [padded[..., rows, columns] for rows, columns in blocks.places()]
    stacked = jnp.stack(windows, axis=-3)  # (..., C, taps, H_out, W_out)
    channels = input.shape[-3] * len(windows)
    return stacked.reshape(*input.shape[:-3], channels, math.prod(blocks.out))


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
    size = args.ints(name, "output_size", output_size, 2)
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
    columns = input.reshape(*input.shape[:-2], channels, taps, *blocks.out)
    lead = [(0, 0, 0)] * (input.ndim - 1)
    zero = jnp.zeros((), input.dtype)
    image = None
    for tap, edges in enumerate(blocks.edges()):
        part = lax.pad(columns[..., tap, :, :], zero, [*lead, *edges])
        if image is None:
            image = part
        else:
            image = image | part if input.dtype == bool else image + part
    return image  # type: ignore[return-value]


class _Blocks:
    """The checked geometry that unfold and fold share."""

    def __init__(
        self, name: str, size: Shape, kernel: Any, dilation: Any, padding: Any, stride: Any
    ):
        self.size = size
        self.kernel = args.ints(name, "kernel_size", kernel, 2)
        self.dilation = args.ints(name, "dilation", dilation, 2)
        self.padding = args.ints(name, "padding", padding, 2)
        self.stride = args.ints(name, "stride", stride, 2)
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
        if min(self.out) < 1:
            raise fail(
                ValueError,
                name,
                f"the calculated shape of the array of sliding blocks is {self.out}, but its "
                "components must be at least one",
                f"spatial size {size}, kernel_size={self.kernel}, dilation={self.dilation} and "
                f"padding={self.padding}",
                "Use a larger image, a smaller window or more padding",
            )

    def places(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the padded image that each tap sees, in row order of the taps."""

        def seen(tap: int, dim: int) -> slice:
            begin = tap * self.dilation[dim]
            return slice(
                begin, begin + (self.out[dim] - 1) * self.stride[dim] + 1, self.stride[dim]
            )

        return [(seen(i, 0), seen(j, 1)) for i, j in np.ndindex(*self.kernel)]

    def edges(self) -> list[list[tuple[int, int, int]]]:
        """For each tap, the padding that puts its columns where `places` took them from."""
        taps = []
        for tap in np.ndindex(*self.kernel):
            edges = []
            for k, n, d, p, s, out in zip(
                tap, self.size, self.dilation, self.padding, self.stride, self.out, strict=True
            ):
                low = k * d - p
                edges.append((low, n - low - ((out - 1) * s + 1), s - 1))
            taps.append(edges)
        return taps
