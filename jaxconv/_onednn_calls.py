"""oneDNN's convolution and matrix product, as XLA's custom calls.

They are what XLA itself calls under its option xla_cpu_experimental_onednn_custom_call. `_onednn`
says whether they can be called.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np


def convolution(
    x: Any,
    w: Any,
    result: tuple[int, ...],
    *,
    images: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Any:
    """A float32 convolution by oneDNN: of x and w, whose dimensions lie as is said.

    x and w are the input and the kernel, `result` the shape of the result, in the order of x.
    `images` are the places of batch, feature and each spatial dimension in x and the result,
    `kernel` those of output feature, input feature and each spatial dimension in w.
    """
    n, c, *size = (x.shape[d] for d in images)
    o, i, *taps = (w.shape[d] for d in kernel)
    steps = zip(size, taps, strides, padding, dilation, strict=True)
    out = [(m + lo + hi - (k - 1) * d - 1) // s + 1 for m, k, s, (lo, hi), d in steps]
    sides = [side for pair in padding for side in pair]
    if [result[d] for d in images] != [n, o, *out] or c != groups * i or o % groups:
        raise ValueError(f"onednn: takes shapes that fit; got {x.shape}, {w.shape} and {result}")
    if min(sides) < 0 or min(*x.shape, *w.shape, *result) < 1:
        raise ValueError(f"onednn: takes no negative padding and no empty array; got {padding}")

    def numbers(values: Iterable[int]) -> list[str]:
        return [str(value) for value in values]

    def data() -> dict[str, Any]:
        batch, feature, *space = numbers(images)
        return {"data": {"batch_dim": batch, "feature_dim": feature, "spatial_dims": space}}

    outputs, inputs, *space = numbers(kernel)
    filters = {"input_feature_dim": inputs, "output_feature_dim": outputs, "spatial_dims": space}
    config = {
        "dims": str(x.ndim),
        "feature_groups": str(groups),
        "input": data(),
        "kernel": {"filter": {**filters, "shape": numbers(w.shape)}},
        "output": data(),
        "window": {
            "pad_left": numbers(lo for lo, _ in padding),
            "pad_right": numbers(hi for _, hi in padding),
            "strides": numbers(strides),
            "window_dilations": numbers(dilation),
        },
    }
    # Under vmap one example after the other: the places of the dimensions would not hold.
    return _onednn("convolution", {"onednn_conv_config": config}, result, x, w, "sequential")


def product(a: Any, b: Any, *, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """The float32 product a @ b by oneDNN, of the last two axes, each transposed first if asked.

    Leading axes of size 1 are those of every matrix of the other; a and b have the same rank.
    """
    (rows, inner), (other, columns) = a.shape[-2:], b.shape[-2:]
    if transpose_a:
        rows, inner = inner, rows
    if transpose_b:
        other, columns = columns, other
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if inner != other or a.ndim != b.ndim or min(*a.shape, *b.shape) < 1:
        raise ValueError(f"onednn: takes shapes that make a product; got {a.shape} and {b.shape}")
    config = {"onednn_matmul_config": {"transpose_a": transpose_a, "transpose_b": transpose_b}}
    return _onednn("matmul", config, (*batch, rows, columns), a, b, "broadcast_all")


def _onednn(
    name: str, config: dict[str, Any], shape: tuple[int, ...], a: Any, b: Any, vmap_method: str
) -> Any:
    """The call. What does not fit must be refused before: oneDNN would end the process."""
    if not a.dtype == b.dtype == np.float32:
        raise TypeError(f"onednn: takes float32; got {a.dtype} and {b.dtype}")
    call = jax.ffi.ffi_call(
        f"__onednn${name}",
        jax.ShapeDtypeStruct(shape, np.float32),
        vmap_method=vmap_method,
        custom_call_api_version=2,
        legacy_backend_config=json.dumps(config),
    )
    return call(a, b)
