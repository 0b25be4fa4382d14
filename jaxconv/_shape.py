"""output_shape: the shape of a convolution's result, without arrays; and the rules it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from jaxconv._arguments import (
    LAYOUTS,
    Ints,
    at_least,
    by,
    channels_last,
    ints,
    number,
    one_of,
    positive_dilation,
    shape,
)
from jaxconv._compat import surely_less
from jaxconv._errors import fail
from jaxconv._spec import Pads, Shape, dilated

Padding = Ints | str


def pads(
    function: str,
    padding: Padding,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> Pads:
    """PyTorch's padding as a pair (low, high) for each dimension.

    "same" splits dilation * (k - 1) in two; an odd total puts the extra element at the end.
    """
    if isinstance(padding, str):
        one_of(function, "padding", padding, ("valid", "same"))
        if padding == "valid":
            return ((0, 0),) * len(kernel)
        if any(s != 1 for s in stride):
            raise fail(
                ValueError,
                function,
                "padding='same' is not supported for strided convolutions",
                f"stride={tuple(stride)}",
                "Give the padding as numbers, or stride=1",
            )
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    sizes = ints(function, "padding", padding, len(kernel))
    at_least(function, "padding", sizes, 0, "negative padding is not supported")
    return tuple((p, p) for p in sizes)


def check_kernel(function: str, kernel: Sequence[int]) -> None:
    """Raise if the kernel is empty."""
    at_least(function, "kernel size", kernel, 1, "kernel size should be greater than zero")


def check_window(
    function: str,
    spatial: Sequence[int],
    kernel: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
) -> None:
    """Raise if the (dilated) kernel is larger than the padded input."""
    padded = [n + lo + hi for n, (lo, hi) in zip(spatial, padding, strict=True)]
    reach = [dilated(k, d) for k, d in zip(kernel, dilation, strict=True)]
    if any(surely_less(n, k) for k, n in zip(reach, padded, strict=True)):
        raise fail(
            ValueError,
            function,
            "Kernel size can't be greater than actual input size",
            f"padded input size per channel {by(padded)} and kernel size {by(reach)}",
            "Use a larger input, more padding, or a smaller kernel or dilation",
        )


def conv_output(
    spatial: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Pads,
    dilation: Sequence[int],
) -> Shape:
    """S_out = floor((S + pads - dilation (k - 1) - 1) / stride) + 1."""
    return tuple(
        (n + lo + hi - dilated(k, d)) // s + 1
        for n, k, s, (lo, hi), d in zip(spatial, kernel, stride, padding, dilation, strict=True)
    )


def transposed_output(
    function: str,
    spatial: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int],
    dilation: Sequence[int],
) -> Shape:
    """S_out = (S - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1."""
    sizes = tuple(
        (n - 1) * s - 2 * p + dilated(k, d) + extra
        for n, k, s, p, extra, d in zip(
            spatial, kernel, stride, padding, output_padding, dilation, strict=True
        )
    )
    if any(surely_less(size, 1) for size in sizes):
        raise fail(
            ValueError,
            function,
            f"Calculated output size per channel: {by(sizes)}. Output size is too small",
            f"input size per channel {by(spatial)} and padding={tuple(padding)}",
            "Use a larger input or less padding",
        )
    return sizes


def check_output_padding(
    function: str, extra: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> None:
    """Raise unless every output padding is below the stride or the dilation."""
    at_least(function, "output_padding", extra, 0, "negative output_padding is not supported")
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise fail(
            ValueError,
            function,
            "output padding must be smaller than either stride or dilation",
            f"output_padding={tuple(extra)}, stride={tuple(stride)}, dilation={tuple(dilation)}",
            "Give a smaller output_padding",
        )


def check_channels(
    function: str,
    input_shape: Shape,
    weight_shape: Shape,
    channels: int,
    groups: int,
    transposed: bool,
) -> None:
    """Raise unless input channels, weight and groups fit each other."""
    if groups < 1:
        raise fail(
            ValueError,
            function,
            "non-positive groups is not supported",
            f"groups={groups}",
            "Give groups of at least 1",
        )
    first = weight_shape[0]
    if first < groups or first % groups:
        at_least_or = "at least" if first < groups else "divisible by"
        raise fail(
            ValueError,
            function,
            f"Given groups={groups}, expected weight to be {at_least_or} {groups} at dimension 0",
            f"weight of size {list(weight_shape)}",
            "Change groups or weight.shape[0]",
        )
    if transposed and weight_shape[1] == 0:
        raise fail(
            ValueError,
            function,
            "a non-empty weight is expected: weight.shape[1] must be at least 1",
            f"weight of size {list(weight_shape)}",
            "Give at least one output channel",
        )
    needed = first if transposed else weight_shape[1] * groups
    if channels != needed:
        dimension = "shape[0]" if transposed else "shape[1]"
        remedy = f"Change groups or weight.{dimension}"
        # The commonest mistake: an input in the other of the two layouts.
        ndim = len(weight_shape) - 2
        first, last = input_shape[-1 - ndim], input_shape[-1]
        if needed in (first, last):
            place = "last" if last == needed else "first"
            order = LAYOUTS[ndim][place == "last"]
            remedy += f"; or, if the channels of input lie {place}, pass layout={order!r}"
        raise fail(
            ValueError,
            function,
            f"weight {weight_shape} with groups={groups} needs {needed} input channels: "
            f"expected input{list(input_shape)} to have {needed} channels",
            f"input {input_shape} with {channels} channels",
            remedy,
        )


def check_sizes(function: str, input_shape: Shape, spatial: Sequence[int]) -> None:
    """Raise if a spatial dimension is empty; an empty batch is fine."""
    if 0 in spatial:
        raise fail(
            ValueError,
            function,
            "Only zero batch or zero channel inputs are supported",
            f"input shape {list(input_shape)}",
            "Give an input with no empty spatial dimension",
        )


def nothing_to_add(input_shape: Shape, channels: int, ndim: int) -> bool:
    """Whether there are no channels or no examples.

    PyTorch's convolutions then take empty spatial dimensions too, if the window fits the padding.
    """
    return channels == 0 or (len(input_shape) == ndim + 2 and input_shape[0] == 0)


def output_shape(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    transposed: bool = False,
    output_padding: Ints = 0,
    layout: str | None = None,
) -> Shape:
    """The shape of a convolution's result, without arrays.

    convolution:  S_out = floor((S + 2 padding - dilation (k - 1) - 1) / stride) + 1
    transposed:   S_out = (S - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1

    Args:
      input_shape: (N, C_in, *S) or (C_in, *S); in the order of `layout` if that is given.
      weight_shape: (C_out, C_in/groups, *K); transposed: (C_in, C_out/groups, *K).
      stride: elements, an int or one for each dimension.
      padding: elements; also "valid" and "same" for a convolution.
      dilation: elements.
      groups: number of groups.
      transposed: whether it is a transposed convolution.
      output_padding: elements, of a transposed convolution.
      layout: as in `conv2d`.

    Returns:
      (N, C_out, *S_out) or (C_out, *S_out), in the order of `layout`.

    Raises:
      ValueError, TypeError: where `conv1d` to `conv3d`, or `conv_transpose1d` to 3d, do.

    Source: the formulas of torch.nn.Conv2d and torch.nn.ConvTranspose2d, PyTorch 2.13.

    Example:
      >>> import jaxconv
      >>> jaxconv.output_shape((1, 2, 64), (16, 2, 3))
      (1, 16, 62)
      >>> jaxconv.output_shape((1, 20, 64, 128), (16, 20, 3, 5), padding=(1, 2))
      (1, 16, 64, 128)
      >>> jaxconv.output_shape((1, 16, 7, 7), (16, 8, 4, 4), 2, 1, transposed=True)
      (1, 8, 14, 14)
    """
    name = "output_shape"
    input_shape = shape(name, "input_shape", input_shape)
    weight_shape = shape(name, "weight_shape", weight_shape)
    ndim = len(weight_shape) - 2
    if ndim not in (1, 2, 3) or len(input_shape) not in (ndim + 1, ndim + 2):
        raise fail(
            ValueError,
            name,
            "weight_shape must have rank 3, 4 or 5, and input_shape that rank or one less",
            f"input_shape={input_shape} and weight_shape={weight_shape}",
            "Add or remove dimensions",
        )
    last = channels_last(name, layout, ndim)
    batch = input_shape[: -1 - ndim]
    rest = input_shape[len(batch) :]
    channels, spatial = (rest[-1], rest[:-1]) if last else (rest[0], rest[1:])
    kernel = weight_shape[2:]
    strides = ints(name, "stride", stride, ndim)
    at_least(name, "stride", strides, 1, "non-positive stride is not supported")
    dilations = ints(name, "dilation", dilation, ndim)
    positive_dilation(name, dilations)
    groups = number(name, "groups", groups)
    check_kernel(name, kernel)
    check_channels(name, input_shape, weight_shape, channels, groups, transposed)
    if transposed:
        check_sizes(name, input_shape, spatial)
        padded = ints(name, "padding", padding, ndim)
        at_least(name, "padding", padded, 0, "negative padding is not supported")
        extra = ints(name, "output_padding", output_padding, ndim)
        check_output_padding(name, extra, strides, dilations)
        out = transposed_output(name, spatial, kernel, strides, padded, extra, dilations)
        features = weight_shape[1] * groups
    else:
        if any(ints(name, "output_padding", output_padding, ndim)):
            rule = "output_padding is for a transposed convolution"
            got = f"output_padding={output_padding} and transposed=False"
            raise fail(ValueError, name, rule, got, "Pass transposed=True, or leave it out")
        both = pads(name, padding, kernel, strides, dilations)
        if not nothing_to_add(input_shape, channels, ndim):
            check_sizes(name, input_shape, spatial)
        check_window(name, spatial, kernel, both, dilations)
        out = conv_output(spatial, kernel, strides, both, dilations)
        features = weight_shape[0] if channels else 0  # as in PyTorch
    return (*batch, *out, features) if last else (*batch, features, *out)
