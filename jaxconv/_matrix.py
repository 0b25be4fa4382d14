"""conv_matrix: the band matrix of the lecture, sparse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental.sparse import BCOO

from jaxconv import _arguments as args
from jaxconv import _shape as shapes
from jaxconv._arguments import Ints
from jaxconv._errors import fail
from jaxconv._shape import Padding


def conv_matrix(
    weight: Array,
    input_shape: Sequence[int] | int,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> BCOO:
    """The band matrix A of a convolution: `y.ravel() == A @ x.ravel()` for one example.

    A fully connected layer whose rows are zero outside a window and all alike, shifted: a Toeplitz
    matrix for one channel, a block of them for several.

    Args:
      weight: (C_out, C_in/groups, *K), as in `conv1d` to `conv3d`.
      input_shape: the spatial shape, (L,), (H, W) or (D, H, W), or an int for (L,).
      stride: elements between windows.
      padding: zeros on both sides, "valid" or "same", as in `conv2d`.
      dilation: elements between the taps of the kernel.
      groups: number of groups.

    Returns:
      A sparse `jax.experimental.sparse.BCOO` of shape (C_out prod(S_out), C_in prod(S)), its rows
      and columns in the order of `ravel`. `todense()` shows it. Its data are differentiable in
      weight.

    Raises:
      ValueError, TypeError: shapes or values that do not fit.

    Source: NYU Deep Learning (DS-GA 1008, 2020), week 5 practicum.

    Example:
      >>> import jax.numpy as jnp, jaxconv
      >>> A = jaxconv.conv_matrix(jnp.array([[[1.0, 2.0, 3.0]]]), (5,))
      >>> print(A.todense())
      [[1. 2. 3. 0. 0.]
       [0. 1. 2. 3. 0.]
       [0. 0. 1. 2. 3.]]
    """
    name = "conv_matrix"
    weight = args.array(name, "weight", weight)
    ndim = weight.ndim - 2
    one = args.integer(input_shape)
    spatial = args.shape(name, "input_shape", input_shape if one is None else (one,))
    if ndim not in (1, 2, 3) or len(spatial) != ndim:
        raise fail(
            ValueError,
            name,
            "weight must be (C_out, C_in/groups, *K) and input_shape have one size for each entry "
            "of K, one to three",
            f"weight {weight.shape} and input_shape={input_shape}",
            "Give the spatial shape alone, without batch and channels",
        )
    strides = args.ints(name, "stride", stride, ndim)
    args.at_least(name, "stride", strides, 1, "non-positive stride is not supported")
    dilations = args.ints(name, "dilation", dilation, ndim)
    args.positive_dilation(name, dilations)
    groups = args.number(name, "groups", groups)
    kernel = weight.shape[2:]
    channels = weight.shape[1] * groups
    shapes.check_kernel(name, kernel)
    shapes.check_channels(name, (channels, *spatial), weight.shape, channels, groups, False)
    pads = shapes.pads(name, padding, kernel, strides, dilations)
    shapes.check_window(name, spatial, kernel, pads, dilations)
    out = shapes.conv_output(spatial, kernel, strides, pads, dilations)

    place, tap, seen = _pairs(spatial, kernel, strides, pads, dilations, out)
    c_out, c_in = weight.shape[:2]
    data = weight.reshape(c_out, c_in, -1)[:, :, tap]
    row = np.arange(c_out)[:, None, None] * math.prod(out) + place
    first = np.arange(c_out)[:, None] // max(1, c_out // groups) * c_in
    column = (first + np.arange(c_in))[:, :, None] * math.prod(spatial) + seen
    indices = np.stack(np.broadcast_arrays(row, column), axis=-1).reshape(-1, 2)
    shape = (c_out * math.prod(out), channels * math.prod(spatial))
    order = np.lexsort((indices[:, 1], indices[:, 0]))
    return BCOO(
        (data.ravel()[order], jnp.asarray(indices[order], jnp.int32)),
        shape=shape,
        indices_sorted=True,
        unique_indices=True,
    )


def _pairs(*geometry: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every (output position, tap, input position) that a window joins, as three vectors."""
    place = tap = seen = np.zeros(1, np.int64)
    for n, k, s, (lo, _), d, out in zip(*geometry, strict=True):
        p, t = (a.ravel() for a in np.meshgrid(np.arange(out), np.arange(k), indexing="ij"))
        q = p * s + t * d - lo
        inside = (0 <= q) & (q < n)
        p, t, q = p[inside], t[inside], q[inside]
        place = (place[:, None] * out + p).ravel()
        tap = (tap[:, None] * k + t).ravel()
        seen = (seen[:, None] * n + q).ravel()
    return place, tap, seen
