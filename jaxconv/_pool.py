"""max_pool and avg_pool in one, two and three dimensions, in PyTorch's words. Channels first.

Both are made of shifted slices, one dimension after the other (a window's maximum is the maximum of
its rows' maxima), which XLA fuses; its own reduce_window and select_and_scatter are slow on a CPU.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _arguments as args
from jaxconv._arguments import Ints
from jaxconv._errors import fail
from jaxconv._spec import Shape, dilated


class Windows(NamedTuple):
    """Where the windows of a pooling lie; one entry a dimension."""

    size: Shape
    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    out: Shape

    def starts(self, dim: int) -> np.ndarray:
        """The first input position of each window, below 0 in the padding."""
        return np.arange(self.out[dim]) * self.stride[dim] - self.padding[dim]

    def slices(self, x: Array, dim: int) -> list[Array]:
        """What each tap of dimension `dim` sees of x, already padded: one strided slice a tap."""
        axis = x.ndim - len(self.size) + dim
        reach = (self.out[dim] - 1) * self.stride[dim] + 1
        return [
            lax.slice_in_dim(x, tap * d, tap * d + reach, self.stride[dim], axis)
            for tap, d in ((tap, self.dilation[dim]) for tap in range(self.kernel[dim]))
        ]

    def pad(self, x: Array, value: Any, dims: tuple[int, ...]) -> Array:
        """x with `value` around it, so far that every window lies inside."""
        config = [(0, 0, 0)] * x.ndim
        for dim in dims:
            need = (self.out[dim] - 1) * self.stride[dim]
            need += dilated(self.kernel[dim], self.dilation[dim])
            low = self.padding[dim]
            config[x.ndim - len(self.size) + dim] = (low, need - low - self.size[dim], 0)
        return lax.pad(x, jnp.asarray(value, x.dtype), config)


# --- max --------------------------------------------------------------------------------------


def max_pool2d(
    input: Array,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array | tuple[Array, Array]:
    """The largest entry of each window, call-compatible with `torch.nn.functional.max_pool2d`.

    The gradient goes to one position of each window: the first maximum in row order, as in PyTorch.
    A NaN counts as larger than everything; of several, the last.

    Args:
      input: (N, C, H, W) or (C, H, W); floats or integers.
      kernel_size: the window, in elements; one int, or one for each dimension.
      stride: elements between windows; default kernel_size.
      padding: elements of minus infinity on both sides; at most half the (dilated) window.
      dilation: elements between the taps of a window.
      ceil_mode: round the output size up; a window still starts inside the input or its left
        padding.
      return_indices: return (values, indices), the place of each maximum in the flattened plane.

    Returns:
      (N, C, H_out, W_out) or (C, H_out, W_out), with
      H_out = floor((H + 2 padding - dilation (k - 1) - 1) / stride) + 1, or ceil.

    Raises:
      ValueError: shapes or values that do not fit.
      TypeError: no array, bool or complex.

    Source: torch.nn.functional.max_pool2d, PyTorch 2.13.

    Example:
      >>> import jax, jax.numpy as jnp, jaxconv
      >>> x = jnp.array([[[1.0, 2.0], [4.0, 4.0]]])
      >>> print(jaxconv.max_pool2d(x, 2))
      [[[4.]]]
      >>> print(jax.grad(lambda x: jaxconv.max_pool2d(x, 2).sum())(x))
      [[[0. 0.]
        [1. 0.]]]
    """
    rest = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool("max_pool2d", 2, input, *rest)


def max_pool1d(
    input: Array,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array | tuple[Array, Array]:
    """The largest entry of each window, call-compatible with `torch.nn.functional.max_pool1d`.

    As `max_pool2d` with one spatial dimension: input (N, C, W) or (C, W).

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> print(jaxconv.max_pool1d(jnp.array([[1.0, 3.0, 2.0, 5.0]]), 3, stride=1))
      [[3. 5.]]
    """
    rest = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool("max_pool1d", 1, input, *rest)


def max_pool3d(
    input: Array,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Array | tuple[Array, Array]:
    """The largest entry of each window, call-compatible with `torch.nn.functional.max_pool3d`.

    As `max_pool2d` with three spatial dimensions: input (N, C, D, H, W) or (C, D, H, W).

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> jaxconv.max_pool3d(jnp.ones((1, 2, 4, 4, 4)), 2).shape
      (1, 2, 2, 2, 2)
    """
    rest = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return _max_pool("max_pool3d", 3, input, *rest)


def _max_pool(function, ndim, input, kernel_size, stride, padding, dilation, ceil_mode, indices):
    input, windows = _windows(
        function, ndim, input, kernel_size, stride, padding, dilation, ceil_mode
    )
    values = _largest(input, windows)
    if not indices:
        return values
    taps = _winner(input, windows)[1]
    return values, _flat_index(taps, windows)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _largest(x: Array, windows: Windows) -> Array:
    """The maximum of each window, one dimension after the other."""
    for dim in range(len(windows.size)):
        padded = windows.pad(x, _lowest(x.dtype), (dim,))
        x = functools.reduce(jnp.maximum, windows.slices(padded, dim))
    return x


@_largest.defjvp
def _largest_jvp(windows, primals, tangents):
    (x,), (dx,) = primals, tangents
    values, winner = _winner(x, windows)
    seen = _taps(windows.pad(dx, 0, tuple(range(len(windows.size)))), windows)
    parts = [jnp.where(winner == tap, part, 0) for tap, part in enumerate(seen)]
    return values, functools.reduce(jnp.add, parts)


def _winner(x: Array, windows: Windows) -> tuple[Array, Array]:
    """The maximum of each window and its tap, as PyTorch looks for it.

    From left to right, an entry takes over if it is larger than the best so far, or NaN. The search
    begins at the first tap inside the input, with a value that nothing is below.
    """
    lowest = _lowest(x.dtype)
    best = jnp.full((*x.shape[: -len(windows.size)], *windows.out), lowest, x.dtype)
    winner = jnp.broadcast_to(_first_tap(windows), best.shape)
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    padded = windows.pad(x, lowest, tuple(range(len(windows.size))))
    for tap, seen in enumerate(_taps(padded, windows)):
        better = seen > best
        if floating:
            better |= jnp.isnan(seen)
        best = jnp.where(better, seen, best)
        winner = jnp.where(better, jnp.asarray(tap, winner.dtype), winner)
    return best, winner


def _taps(padded: Array, windows: Windows) -> list[Array]:
    """What each tap of the whole window sees, in row order."""
    parts = [padded]
    for dim in range(len(windows.size)):
        parts = [seen for part in parts for seen in windows.slices(part, dim)]
    return parts


def _first_tap(windows: Windows) -> np.ndarray:
    """The first tap of each window that lies inside the input: shape S_out."""
    first = np.zeros((), np.int64)
    for dim, kernel in enumerate(windows.kernel):
        inside = -(windows.starts(dim) // windows.dilation[dim])  # ceil(-start / dilation)
        first = first[..., None] * kernel + np.clip(inside, 0, kernel - 1)
    return first.astype(np.int16 if np.prod(windows.kernel) < 2**15 else np.int32)


def _flat_index(taps: Array, windows: Windows) -> Array:
    """The place in the flattened input plane of tap number `taps` of each window."""
    ndim = len(windows.size)
    taps = taps.astype(int)
    place = jnp.zeros((), taps.dtype)
    scale = 1
    for dim in reversed(range(ndim)):
        tap, taps = taps % windows.kernel[dim], taps // windows.kernel[dim]
        start = windows.starts(dim).reshape(-1, *(1,) * (ndim - 1 - dim))
        place = place + (start + tap * windows.dilation[dim]) * scale
        scale *= windows.size[dim]
    return place


def _lowest(dtype: np.dtype) -> Any:
    """What no entry is below."""
    return -jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min


# --- average ----------------------------------------------------------------------------------


def avg_pool2d(
    input: Array,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The mean of each window, call-compatible with `torch.nn.functional.avg_pool2d`.

    Args:
      input: (N, C, H, W) or (C, H, W); floats, or integers (the mean is cut off towards zero).
      kernel_size: the window, in elements; one int, or one for each dimension.
      stride: elements between windows; default kernel_size.
      padding: zeros on both sides; at most half the window.
      ceil_mode: round the output size up; a window still starts inside the input or its left
        padding, and what lies beyond the right padding counts for nothing.
      count_include_pad: whether the zeros of the padding count in the mean.
      divisor_override: divide by this instead of the number of elements.

    Returns:
      (N, C, H_out, W_out) or (C, H_out, W_out), with H_out = floor((H + 2 padding - k) / stride) + 1,
      or ceil. float16 and bfloat16 add up in float32.

    Raises:
      ValueError: shapes or values that do not fit.
      TypeError: no array, bool or complex.

    Source: torch.nn.functional.avg_pool2d, PyTorch 2.13.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> print(jaxconv.avg_pool2d(jnp.array([[[1.0, 2.0], [3.0, 6.0]]]), 2))
      [[[3.]]]
    """
    rest = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool2d", 2, input, *rest)


def avg_pool1d(
    input: Array,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window, call-compatible with `torch.nn.functional.avg_pool1d`.

    As `avg_pool2d` with one spatial dimension, input (N, C, W) or (C, W), and no divisor_override.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> print(jaxconv.avg_pool1d(jnp.array([[1.0, 3.0, 2.0, 5.0]]), 2))
      [[2.  3.5]]
    """
    rest = (kernel_size, stride, padding, ceil_mode, count_include_pad, None)
    return _avg_pool("avg_pool1d", 1, input, *rest)


def avg_pool3d(
    input: Array,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """The mean of each window, call-compatible with `torch.nn.functional.avg_pool3d`.

    As `avg_pool2d` with three spatial dimensions: input (N, C, D, H, W) or (C, D, H, W).

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> jaxconv.avg_pool3d(jnp.ones((1, 2, 4, 4, 4)), 2).shape
      (1, 2, 2, 2, 2)
    """
    rest = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool3d", 3, input, *rest)


def _avg_pool(function, ndim, input, kernel_size, stride, padding, ceil_mode, counted, divisor):
    input, windows = _windows(function, ndim, input, kernel_size, stride, padding, 1, ceil_mode)
    if divisor is not None:
        divisor = args.integer(divisor)
        if not divisor:
            rule = "divisor must be not zero, and an int"
            raise fail(ValueError, function, rule, f"divisor_override={divisor}", "Give another")
    narrow = input.dtype in (jnp.bfloat16, jnp.float16)
    total = input.astype(jnp.float32) if narrow else input
    for dim in range(ndim):
        padded = windows.pad(total, 0, (dim,))
        total = functools.reduce(jnp.add, windows.slices(padded, dim))
    count = _counts(windows, counted) if divisor is None else np.asarray(divisor)
    if jnp.issubdtype(total.dtype, jnp.integer):
        return lax.div(total, jnp.broadcast_to(jnp.asarray(count, total.dtype), total.shape))
    return (total / jnp.asarray(count, total.dtype)).astype(input.dtype)


def _counts(windows: Windows, padding_too: bool) -> np.ndarray:
    """How many elements each window averages over: shape S_out."""
    counts = np.ones((), np.int64)
    for dim, (size, kernel) in enumerate(zip(windows.size, windows.kernel, strict=True)):
        start = windows.starts(dim)
        end = np.minimum(start + kernel, size + windows.padding[dim])
        inside = end - start if padding_too else np.minimum(end, size) - np.maximum(start, 0)
        counts = counts[..., None] * inside
    return counts


# --- both -------------------------------------------------------------------------------------


def _windows(
    function: str,
    ndim: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> tuple[Array, Windows]:
    """Check the arguments of a pooling; the input and where its windows lie."""
    input = args.array(function, "input", input)
    real = jnp.issubdtype(input.dtype, jnp.floating) or jnp.issubdtype(input.dtype, jnp.integer)
    if not real:
        rule = "input must hold real numbers (not implemented for bool and complex)"
        raise fail(TypeError, function, rule, f"input {input.dtype}", "Convert it with astype")
    args.batched(function, input, ndim)
    kernel = args.ints(function, "kernel_size", kernel_size, ndim)
    given = stride is not None and not (isinstance(stride, list | tuple) and len(stride) == 0)
    strides = args.ints(function, "stride", stride, ndim) if given else kernel
    pads = args.ints(function, "padding", padding, ndim)
    dilations = args.ints(function, "dilation", dilation, ndim)
    args.at_least(function, "kernel_size", kernel, 1, "kernel size should be greater than zero")
    args.at_least(function, "stride", strides, 1, "stride should not be zero")
    args.at_least(function, "dilation", dilations, 1, "dilation should be greater than zero")
    args.at_least(function, "padding", pads, 0, "pad must be non-negative")
    reach = [dilated(k, d) for k, d in zip(kernel, dilations, strict=True)]
    if any(p > r // 2 for p, r in zip(pads, reach, strict=True)):
        raise fail(
            ValueError,
            function,
            "pad should be at most half of effective kernel size",
            f"padding={pads}, kernel_size={kernel} and dilation={dilations}",
            "Pad less, or pad the input first with jnp.pad",
        )
    size = input.shape[-ndim:]
    if 0 in input.shape[-ndim - 1 :]:
        rule = "only the batch of the input may be empty (optional 0 dim batch size)"
        got = f"input {input.shape}"
        raise fail(ValueError, function, rule, got, "Give channels and positions")
    out = []
    for n, r, s, p in zip(size, reach, strides, pads, strict=True):
        room = n + 2 * p - r
        count = -(-room // s) + 1 if ceil_mode else room // s + 1
        if ceil_mode and (count - 1) * s >= n + p:  # the last window must start before the end
            count -= 1
        out.append(count)
    if any(count < 1 for count in out):
        raise fail(
            ValueError,
            function,
            f"Calculated output size: {args.by(out)}. Output size is too small",
            f"input {input.shape} and kernel_size={kernel}",
            "Use a larger input, a smaller window or more padding",
        )
    return input, Windows(size, kernel, strides, pads, dilations, tuple(out))
