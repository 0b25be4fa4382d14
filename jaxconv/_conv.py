"""conv1d, conv2d, conv3d: convolutions in PyTorch's words."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _arguments as args
from jaxconv import _shape as shapes
from jaxconv._arguments import Ints
from jaxconv._errors import fail
from jaxconv._general import check_method, check_supported
from jaxconv._primitive import convolve
from jaxconv._shape import Padding
from jaxconv._spec import ConvSpec, Pads

# PyTorch's padding_mode -> that of jnp.pad.
PADDING_MODES = {"zeros": "constant", "circular": "wrap", "reflect": "reflect", "replicate": "edge"}


def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str | None = None,
    method: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    r"""A 2-D convolution, call-compatible with `torch.nn.functional.conv2d`.

    out[n, o, p, q] = bias[o] + sum over c, i, j of
        weight[o, c, i, j] * input[n, g C + c, p s - pad + i d, q s - pad + j d]

    with g the group of o, C = C_in / groups, s the stride, d the dilation, and input zero (or what
    `padding_mode` says) outside its borders. It is a cross-correlation: the kernel is not turned
    round.

    Args:
      input: (N, C_in, H, W), or (C_in, H, W) without a batch; `layout` may change the order.
      weight: (C_out, C_in/groups, kH, kW), in any layout.
      bias: (C_out,), or None.
      stride: elements between windows; one int, or one for each dimension.
      padding: elements added on both sides of each dimension; or "valid" (none) or "same" (the
        output has the size of the input; stride must be 1; an odd total puts the extra element at
        the end).
      dilation: elements between the taps of the kernel.
      groups: number of groups, which divides C_in and C_out; C_in of them is depthwise.
      padding_mode: "zeros", "circular", "reflect" or "replicate", as in `torch.nn.Conv2d`.
      layout: "NCHW" (default) or "NHWC", of input and output alike.
      method: "auto" (the engine chooses), or a name from `jaxconv.methods`; those that compute
        weight gradients alone take a layer only if its window is larger than its result. Gradients
        use the method asked for where it supports them, else lax's.
      precision: as in `lax.conv_general_dilated`; "highest" rules out Winograd and FFT.
      preferred_element_type: dtype of the result; default that of input. Integers add up in it.

    Returns:
      (N, C_out, H_out, W_out) or (C_out, H_out, W_out), with
      H_out = floor((H + 2 padding - dilation (kH - 1) - 1) / stride) + 1.
      A C_in of 0 gives a result with no channels, as in PyTorch.

    Raises:
      ValueError: shapes or values that do not fit, named in the message.
      TypeError: no arrays, or dtypes that differ.
      NotImplementedError: `method` cannot compute this convolution.

    Accuracy:
      "auto" in float32 is within 4 times lax's own error against float64, or 1e-5 of the largest
      output. float16 and bfloat16 are added up in float32 and rounded once.

    Source: torch.nn.functional.conv2d and torch.nn.Conv2d, PyTorch 2.13.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> image = jnp.arange(16.0).reshape(1, 1, 4, 4)
      >>> edge = jnp.array([[[[-1.0, 1.0]]]])  # one kernel: the difference of neighbours
      >>> print(jaxconv.conv2d(image, edge)[0, 0])
      [[1. 1. 1.]
       [1. 1. 1.]
       [1. 1. 1.]
       [1. 1. 1.]]
      >>> jaxconv.conv2d(jnp.ones((1, 20, 64, 128)), jnp.ones((16, 20, 3, 5)), padding=(1, 2)).shape
      (1, 16, 64, 128)
    """
    words = (padding_mode, layout, method, precision, preferred_element_type)
    return _conv("conv2d", 2, input, weight, bias, stride, padding, dilation, groups, *words)


def conv1d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str | None = None,
    method: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """A 1-D convolution, call-compatible with `torch.nn.functional.conv1d`.

    As `conv2d` with one spatial dimension: input (N, C_in, W) or (C_in, W), weight
    (C_out, C_in/groups, kW), result (N, C_out, W_out) or (C_out, W_out); layout "NCW" or "NWC".

    Source: torch.nn.functional.conv1d and torch.nn.Conv1d, PyTorch 2.13.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> stereo, kernels = jnp.ones((1, 2, 64)), jnp.ones((16, 2, 3))
      >>> jaxconv.conv1d(stereo, kernels).shape
      (1, 16, 62)
    """
    words = (padding_mode, layout, method, precision, preferred_element_type)
    return _conv("conv1d", 1, input, weight, bias, stride, padding, dilation, groups, *words)


def conv3d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    layout: str | None = None,
    method: str = "auto",
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Array:
    """A 3-D convolution, call-compatible with `torch.nn.functional.conv3d`.

    As `conv2d` with three spatial dimensions: input (N, C_in, D, H, W) or (C_in, D, H, W), weight
    (C_out, C_in/groups, kD, kH, kW), result (N, C_out, D_out, H_out, W_out) or without N; layout
    "NCDHW" or "NDHWC".

    Source: torch.nn.functional.conv3d and torch.nn.Conv3d, PyTorch 2.13.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> jaxconv.conv3d(jnp.ones((1, 2, 8, 8, 8)), jnp.ones((4, 2, 3, 3, 3)), stride=2).shape
      (1, 4, 3, 3, 3)
    """
    words = (padding_mode, layout, method, precision, preferred_element_type)
    return _conv("conv3d", 3, input, weight, bias, stride, padding, dilation, groups, *words)


def _conv(
    function: str,
    ndim: int,
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    padding_mode: Any,
    layout: Any,
    method: Any,
    precision: Any,
    preferred_element_type: Any,
) -> Array:
    """The three functions above: check, pad, convolve."""
    input, weight, bias = operands(function, ndim, input, weight, bias, preferred_element_type)
    last = args.channels_last(function, layout, ndim)
    check_method(function, method)
    args.one_of(function, "padding_mode", padding_mode, tuple(PADDING_MODES))
    batched = args.batched(function, input, ndim)
    given = {"input": input.shape, "weight": weight.shape}
    if not batched:
        input = input[None]
    strides = args.ints(function, "stride", stride, ndim)
    args.at_least(function, "stride", strides, 1, "non-positive stride is not supported")
    dilations = args.ints(function, "dilation", dilation, ndim)
    args.positive_dilation(function, dilations)
    groups = args.number(function, "groups", groups)

    kernel = weight.shape[2:]
    spatial = input.shape[1:-1] if last else input.shape[2:]
    channels = input.shape[-1 if last else 1]
    shapes.check_kernel(function, kernel)
    pads = shapes.pads(function, padding, kernel, strides, dilations)
    shapes.check_channels(function, input.shape, weight.shape, channels, groups, False)
    check_bias(function, bias, weight, weight.shape[0])
    if shapes.nothing_to_add(input.shape, channels, ndim):
        shapes.check_window(function, spatial, kernel, pads, dilations)
    else:
        shapes.check_sizes(function, input.shape, spatial)
    if padding_mode != "zeros":
        input = _pad(function, input, pads, padding_mode, last)
        spatial = input.shape[1:-1] if last else input.shape[2:]
        pads = ((0, 0),) * ndim
    shapes.check_window(function, spatial, kernel, pads, dilations)
    given |= {"stride": strides, "padding": padding, "dilation": dilations, "groups": groups}
    out = call(
        function,
        input,
        weight,
        bias,
        preferred_element_type,
        last,
        given,
        window_strides=strides,
        padding=pads,
        lhs_dilation=(1,) * ndim,
        rhs_dilation=dilations,
        feature_group_count=groups,
        precision=args.precision(function, precision),
        method=method,
    )
    if channels == 0:  # PyTorch gives a result without channels
        out = out[..., :0] if last else out[:, :0]
    return out if batched else out[0]


def call(
    function: str,
    input: Array,
    weight: Array,
    bias: Array | None,
    preferred: Any,
    last: bool,
    given: dict[str, Any],
    **params: Any,
) -> Array:
    """Convolve a batch with a weight in PyTorch's order, add the bias, round once.

    `given` is what the user gave, for an error.
    """
    space = tuple(range(2, input.ndim))
    lhs_spec = (0, input.ndim - 1, *(d - 1 for d in space)) if last else (0, 1, *space)
    numbers = lax.ConvDimensionNumbers(lhs_spec, (0, 1, *space), lhs_spec)
    dtype = np.dtype(preferred) if preferred is not None else input.dtype
    narrow = input.dtype in (jnp.bfloat16, jnp.float16)
    wide = np.dtype(np.float32) if narrow and preferred is None else preferred and dtype
    params |= {"dimension_numbers": numbers, "preferred_element_type": wide}
    if params["method"] != "auto":
        known = {"batch_group_count": 1, "precision": None}
        spec = ConvSpec.of(input, weight, {**known, **params})
        check_supported(function, params["method"], spec, given)
    out = convolve(input, weight, **params)
    if bias is not None:
        shape = [1] * out.ndim
        shape[-1 if last else 1] = bias.size
        out = out + bias.astype(out.dtype).reshape(shape)
    return out.astype(dtype)


def operands(
    function: str, ndim: int, input: Any, weight: Any, bias: Any, preferred: Any
) -> tuple[Array, Array, Array | None]:
    """input, weight and bias as arrays of one dtype; weight of the right rank."""
    input = args.array(function, "input", input)
    weight = args.array(function, "weight", weight)
    bias = None if bias is None else args.array(function, "bias", bias)
    named = {"input": input, "weight": weight} | ({} if bias is None else {"bias": bias})
    if input.dtype == bool or weight.dtype == bool:
        raise fail(
            TypeError,
            function,
            "a convolution of bool is not implemented",
            ", ".join(f"{name} {value.dtype}" for name, value in named.items()),
            "Convert to a number type first",
        )
    allowed = {input.dtype}
    if preferred is not None:
        allowed |= {check_preferred(function, input.dtype, preferred)}
    if weight.dtype != input.dtype or (bias is not None and bias.dtype not in allowed):
        raise fail(
            TypeError,
            function,
            f"{', '.join(named)} should be the same dtype",
            ", ".join(f"{name} {value.dtype}" for name, value in named.items()),
            "Convert them to one dtype with astype",
        )
    if weight.ndim != ndim + 2:
        raise fail(
            ValueError,
            function,
            f"Expected {weight.ndim}-dimensional input for {weight.ndim}-dimensional weight, "
            f"and {function} takes a weight of rank {ndim + 2}"
            if weight.ndim > 2
            else f"weight should have at least three dimensions, and {ndim + 2} in {function}",
            f"weight {weight.shape} with rank {weight.ndim} and input {input.shape}",
            f"Give a weight with {ndim} kernel dimensions after the two channel dimensions",
        )
    return input, weight, bias


def check_preferred(function: str, dtype: Any, preferred: Any) -> np.dtype:
    """`preferred_element_type` as a dtype; raises unless sums of `dtype` may have it, as in lax."""
    preferred = args.dtype(function, "preferred_element_type", preferred)
    kinds = (jnp.signedinteger, jnp.integer, jnp.floating, jnp.complexfloating)
    kind = next(kind for kind in kinds if jnp.issubdtype(dtype, kind))
    floats = jnp.issubdtype(dtype, jnp.integer) and jnp.issubdtype(preferred, jnp.floating)
    if not (floats or jnp.issubdtype(preferred, kind)) or preferred.itemsize < dtype.itemsize:
        raise fail(
            TypeError,
            function,
            f"preferred_element_type must be of the kind of {dtype} (or floating for integers) and "
            "no narrower",
            f"preferred_element_type={preferred}",
            "Give a wider one of that kind, and convert the result with astype",
        )
    return preferred


def check_bias(function: str, bias: Array | None, weight: Array, features: int) -> None:
    """Raise unless bias is None or (features,)."""
    if bias is not None and bias.shape != (features,):
        raise fail(
            ValueError,
            function,
            f"weight {weight.shape}: expected bias to be 1-dimensional with {features} elements",
            f"bias {bias.shape}",
            f"Give bias the shape ({features},)",
        )


def _pad(function: str, input: Array, pads: Pads, mode: str, last: bool) -> Array:
    """input with its border continued as `mode` says, within PyTorch's limits."""
    first = 1 if last else 2
    for axis, (lo, hi) in enumerate(pads, first):
        size, widest = input.shape[axis], max(lo, hi)
        limit = {"reflect": size - 1, "circular": size}.get(mode, widest)
        if widest > limit:
            known = "wrapping around more than once" if mode == "circular" else "Padding size"
            rule = f"{known}: padding_mode={mode!r} takes at most {limit} in dimension {axis}"
            got = f"padding ({lo}, {hi}) at dimension {axis} of input {input.shape}"
            raise fail(ValueError, function, rule, got, "Pad less, or use padding_mode='zeros'")
    width = [(0, 0)] * input.ndim
    width[first : first + len(pads)] = pads
    return jnp.pad(input, width, mode=PADDING_MODES[mode])
