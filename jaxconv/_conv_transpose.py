"""conv_transpose1d, 2d, 3d: transposed convolutions in PyTorch's words."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxconv import _arguments as args
from jaxconv import _shape as shapes
from jaxconv._arguments import Ints
from jaxconv._conv import call, check_bias, operands
from jaxconv._general import check_method


def conv_transpose2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    layout: str | None = None,
    method: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """A 2-D transposed convolution, call-compatible with `torch.nn.functional.conv_transpose2d`.

    The transpose of `conv2d` with the same weight: every input element adds its multiple of the
    kernel to the output,

    out[n, o, p s - pad + i d, q s - pad + j d] += input[n, c, p, q] * weight[c, o, i, j]

    Args:
      input: (N, C_in, H, W), or (C_in, H, W) without a batch; `layout` may change the order.
      weight: (C_in, C_out/groups, kH, kW), in any layout.
      bias: (C_out,), or None.
      stride: output elements between the places of neighbouring inputs.
      padding: elements cut off on both sides of the output.
      output_padding: elements more at the end of each dimension; below stride or dilation.
      groups: number of groups.
      dilation: elements between the taps of the kernel.
      layout: "NCHW" (default) or "NHWC", of input and output alike.
      method: "auto", or a name from `jaxconv.methods`.
      precision: as in `lax.conv_general_dilated`.
      preferred_element_type: dtype of the result; default that of input.

    Returns:
      (N, C_out, H_out, W_out) or (C_out, H_out, W_out), with
      H_out = (H - 1) stride - 2 padding + dilation (kH - 1) + output_padding + 1.

    Raises:
      ValueError: shapes or values that do not fit, named in the message.
      TypeError: no arrays, dtypes that differ, or padding given as a string.
      NotImplementedError: `method` cannot compute this convolution.

    Accuracy: as `conv2d`.

    Source: torch.nn.functional.conv_transpose2d, PyTorch 2.13; V. Dumoulin and F. Visin, "A guide
    to convolution arithmetic for deep learning", 2016, chapter 4.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> x = jnp.array([[[[1.0, 2.0], [3.0, 4.0]]]])
      >>> print(jaxconv.conv_transpose2d(x, jnp.ones((1, 1, 2, 2)), stride=2)[0, 0])
      [[1. 1. 2. 2.]
       [1. 1. 2. 2.]
       [3. 3. 4. 4.]
       [3. 3. 4. 4.]]
    """
    rest = (stride, padding, output_padding, groups, dilation)
    words = (layout, method, precision, preferred_element_type)
    return _conv_transpose("conv_transpose2d", 2, input, weight, bias, *rest, *words)


def conv_transpose1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    layout: str | None = None,
    method: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """A 1-D transposed convolution, call-compatible with `torch.nn.functional.conv_transpose1d`.

    As `conv_transpose2d` with one spatial dimension: input (N, C_in, W) or (C_in, W), weight
    (C_in, C_out/groups, kW).

    Source: torch.nn.functional.conv_transpose1d, PyTorch 2.13.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> print(jaxconv.conv_transpose1d(jnp.array([[1.0, 2.0]]), jnp.array([[[1.0, 0.5]]])))
      [[1.  2.5 1. ]]
    """
    rest = (stride, padding, output_padding, groups, dilation)
    words = (layout, method, precision, preferred_element_type)
    return _conv_transpose("conv_transpose1d", 1, input, weight, bias, *rest, *words)


def conv_transpose3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    layout: str | None = None,
    method: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """A 3-D transposed convolution, call-compatible with `torch.nn.functional.conv_transpose3d`.

    As `conv_transpose2d` with three spatial dimensions: input (N, C_in, D, H, W) or without N,
    weight (C_in, C_out/groups, kD, kH, kW).

    Source: torch.nn.functional.conv_transpose3d, PyTorch 2.13.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> x, w = jnp.ones((1, 4, 3, 3, 3)), jnp.ones((4, 2, 2, 2, 2))
      >>> jaxconv.conv_transpose3d(x, w, stride=2).shape
      (1, 2, 6, 6, 6)
    """
    rest = (stride, padding, output_padding, groups, dilation)
    words = (layout, method, precision, preferred_element_type)
    return _conv_transpose("conv_transpose3d", 3, input, weight, bias, *rest, *words)


def _conv_transpose(
    function: str,
    ndim: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
    layout: Any,
    method: Any,
    precision: Any,
    preferred_element_type: Any,
) -> Array:
    """The three functions above: a convolution of the dilated input with the flipped kernel."""
    input, weight, bias = operands(function, ndim, input, weight, bias, preferred_element_type)
    last = args.channels_last(function, layout, ndim)
    check_method(function, method)
    batched = args.batched(function, input, ndim)
    given = {"input": input.shape, "weight": weight.shape}
    if not batched:
        input = input[None]
    strides = args.ints(function, "stride", stride, ndim)
    args.at_least(function, "stride", strides, 1, "non-positive stride is not supported")
    cut = args.ints(function, "padding", padding, ndim)
    args.at_least(function, "padding", cut, 0, "negative padding is not supported")
    extra = args.ints(function, "output_padding", output_padding, ndim)
    dilations = args.ints(function, "dilation", dilation, ndim)
    args.positive_dilation(function, dilations)
    groups = args.number(function, "groups", groups)

    kernel = weight.shape[2:]
    spatial = input.shape[1:-1] if last else input.shape[2:]
    channels = input.shape[-1 if last else 1]
    shapes.check_kernel(function, kernel)
    shapes.check_channels(function, input.shape, weight.shape, channels, groups, True)
    check_bias(function, bias, weight, weight.shape[1] * groups)
    shapes.check_output_padding(function, extra, strides, dilations)
    shapes.check_sizes(function, input.shape, spatial)
    shapes.transposed_output(function, spatial, kernel, strides, cut, extra, dilations)

    reach = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
    pads = tuple((r - p, r - p + e) for r, p, e in zip(reach, cut, extra, strict=True))
    given |= {"stride": strides, "padding": cut, "output_padding": extra}
    given |= {"groups": groups, "dilation": dilations}
    out = call(
        function,
        input,
        flipped(weight, groups),
        bias,
        preferred_element_type,
        last,
        given,
        window_strides=(1,) * ndim,
        padding=pads,
        lhs_dilation=strides,
        rhs_dilation=dilations,
        feature_group_count=groups,
        precision=args.precision(function, precision),
        method=method,
    )
    return out if batched else out[0]


def flipped(weight: Array, groups: int) -> Array:
    """(C_in, C_out/groups, *K) as the weight of the convolution it is: (C_out, C_in/groups, *K)."""
    c_in, c_out, *kernel = weight.shape
    weight = weight.reshape(groups, c_in // groups, c_out, *kernel).swapaxes(1, 2)
    weight = weight.reshape(groups * c_out, c_in // groups, *kernel)
    return jnp.flip(weight, range(2, weight.ndim))
