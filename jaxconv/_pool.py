"""max_pool and avg_pool in one, two and three dimensions, in PyTorch's words. Channels first.

The work is in `_window`: XLA's own reduce_window and select_and_scatter are slow on a CPU.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _arguments as args
from jaxconv._arguments import Ints
from jaxconv._compat import surely_less
from jaxconv._errors import fail
from jaxconv._spec import dilated
from jaxconv._window import Window, maximum, places, total

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
      padding: elements of minus infinity on both sides; at most kernel_size / 2.
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
    indices = _flag(function, "return_indices", indices)
    values = _largest(input, windows)
    return (values, _places(input, windows)) if indices else values


_largest = jax.jit(maximum, static_argnums=1)
_places = jax.jit(places, static_argnums=1)


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
      (N, C, H_out, W_out) or (C, H_out, W_out), with
      H_out = floor((H + 2 padding - k) / stride) + 1, or ceil. Floats of less than 32
      bits add up in float32, integers in int32.

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
    counted = _flag(function, "count_include_pad", counted)
    if divisor is not None:
        given, divisor = divisor, args.integer(divisor)
        if divisor is None:
            rule, got = "divisor_override must be an int or None", f"divisor_override={given!r}"
            raise fail(TypeError, function, rule, got, "Give an int")
        if divisor == 0:
            rule, got = "divisor must be not zero", f"divisor_override={divisor}"
            raise fail(ValueError, function, rule, got, "Give another number, or None")
    return _mean(input, windows, counted, divisor)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _mean(x: Array, windows: tuple[Window, ...], counted: bool, divisor: int | None) -> Array:
    dtype, whole = x.dtype, jnp.issubdtype(x.dtype, jnp.integer)
    if dtype.itemsize < 4:  # the sum of a window, and the number of its elements, may be larger
        x = x.astype(jnp.int32 if whole else jnp.float32)
    sizes = [x.shape[w.axis] for w in windows]
    for w in reversed(windows):
        x = total(x, w)
    if divisor is None:
        counts = [_count(w, size, counted) for w, size in zip(windows, sizes, strict=True)]
        count = functools.reduce(lambda count, more: count[..., None] * more, counts)
        if isinstance(count, np.ndarray) and (count == count.flat[0]).all():
            count = count.flat[0]
        x = _divided(x, count)
    elif whole and abs(divisor) > jnp.iinfo(x.dtype).max:
        x = jnp.zeros_like(x)
    else:
        x = _divided(x, abs(divisor))
        x = -x if divisor < 0 else x
    return x.astype(dtype)


def _divided(x: Array, count: Any) -> Array:
    """x / count; integers are cut off towards zero."""
    count = jnp.broadcast_to(jnp.asarray(count, x.dtype), x.shape)
    return lax.div(x, count)


def _count(w: Window, size: Any, padding_too: bool) -> Any:
    """How many elements each window averages over along its axis; PyTorch gives 0 / 1 for none."""
    xp = w.xp
    start = xp.arange(w.out) * w.stride - w.low
    end = xp.minimum(start + w.size, size + w.low)
    inside = end - start if padding_too else xp.minimum(end, size) - xp.maximum(start, 0)
    return xp.maximum(inside, 1)


# --- both -------------------------------------------------------------------------------------


def _windows(
    function: str,
    ndim: int,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: Any,
) -> tuple[Array, tuple[Window, ...]]:
    """Check the arguments of a pooling; the input and where its windows lie."""
    input = args.array(function, "input", input)
    ceil_mode = _flag(function, "ceil_mode", ceil_mode)
    real = jnp.issubdtype(input.dtype, jnp.floating) or jnp.issubdtype(input.dtype, jnp.integer)
    if not real:
        rule = "input must hold real numbers (not implemented for bool and complex)"
        raise fail(TypeError, function, rule, f"input {input.dtype}", "Convert it with astype")
    if input.ndim not in (ndim + 1, ndim + 2):
        ranks = f"{ndim + 1}D or {ndim + 2}D (batch mode) tensor"
        rule = f"non-empty {ranks} expected for input"
        if ndim == 1:
            rule = f"Expected {ranks} with optional 0 dim batch size for input"
        got = f"input of shape {input.shape} with rank {input.ndim}"
        raise fail(ValueError, function, rule, got, "Add or remove dimensions")
    kernel = args.ints(function, "kernel_size", kernel_size, ndim)
    given = stride is not None and not (isinstance(stride, list | tuple) and len(stride) == 0)
    strides = args.ints(function, "stride", stride, ndim) if given else kernel
    pads = args.ints(function, "padding", padding, ndim)
    dilations = args.ints(function, "dilation", dilation, ndim)
    one = function == "max_pool1d"
    positive = "must be greater than zero" if one else "should be greater than zero"
    size_word = "kernel_size" if one else "kernel size"
    zero_stride = 0 in strides and not one
    args.at_least(function, "kernel_size", kernel, 1, f"{size_word} {positive}")
    args.at_least(
        function,
        "stride",
        strides,
        1,
        "stride should not be zero" if zero_stride else f"stride {positive}",
    )
    args.at_least(function, "dilation", dilations, 1, f"dilation {positive}")
    args.at_least(function, "padding", pads, 0, "pad must be non-negative")
    reach = [dilated(k, d) for k, d in zip(kernel, dilations, strict=True)]
    if not one and any(p > r // 2 for p, r in zip(pads, reach, strict=True)):
        raise fail(
            ValueError,
            function,
            "pad should be at most half of effective kernel size",
            f"padding={pads}, kernel_size={kernel} and dilation={dilations}",
            "Pad less, or pad the input first with jnp.pad",
        )
    if any(p > k // 2 for p, k in zip(pads, kernel, strict=True)):
        rule = "pad should be smaller than or equal to half of kernel size"
        if one:
            rule = "padding should be at most half of kernel size"
        got = f"padding={pads} and kernel_size={kernel}"
        raise fail(ValueError, function, rule, got, "Pad less, or pad the input with jnp.pad")
    size = input.shape[-ndim:]
    if 0 in input.shape[-ndim - 1 :]:
        rule = (
            "Expected input's non-batch dimensions to have positive length"
            if ndim == 3
            else f"Expected {ndim + 1}D or {ndim + 2}D (batch mode) tensor with optional 0 dim "
            "batch size for input"
        )
        got = f"input {input.shape}"
        raise fail(ValueError, function, rule, got, "Give channels and positions")
    if function == "avg_pool3d" and any(k > n for k, n in zip(kernel, size, strict=True)):
        rule = f"input image {args.by(size)} smaller than kernel size {args.by(kernel)}"
        got = f"input {input.shape}"
        raise fail(ValueError, function, rule, got, "Use a smaller window, or pad with jnp.pad")
    out = []
    for n, r, s, p in zip(size, reach, strides, pads, strict=True):
        room = n + 2 * p - r
        count = -(-room // s) + 1 if ceil_mode else room // s + 1
        if ceil_mode and (count - 1) * s >= n + p:  # the last window must start before the end
            count -= 1
        out.append(count)
    if any(surely_less(count, 1) for count in out):
        raise fail(
            ValueError,
            function,
            f"Invalid computed output size: {out[0]}"
            if one
            else f"Calculated output size: {args.by(out)}. Output size is too small",
            f"input {input.shape} and kernel_size={kernel}",
            "Use a larger input, a smaller window or more padding",
        )
    axes = range(input.ndim - ndim, input.ndim)
    return input, tuple(
        Window(*of_axis)
        for of_axis in zip(axes, kernel, strides, dilations, pads, out, strict=True)
    )


def _flag(function: str, name: str, value: Any) -> bool:
    """`value` if it is a bool."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise fail(TypeError, function, f"{name} must be a bool", f"{name}={value!r}", "Give a bool")
