"""init_conv and init_conv_transpose: PyTorch's default initialisation."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxconv import _arguments as args
from jaxconv._arguments import Ints
from jaxconv._errors import fail


def init_conv(
    key: Array,
    in_channels: int,
    out_channels: int,
    kernel_size: Ints,
    *,
    ndim: int,
    groups: int = 1,
    bias: bool = True,
    dtype: Any = jnp.float32,
) -> dict[str, Any]:
    """Weight and bias of a convolution, drawn as `torch.nn.Conv1d` to `Conv3d` draw them.

    Uniform within 1/sqrt(fan_in), with fan_in = in_channels/groups * prod(kernel_size): what
    `kaiming_uniform_(a=sqrt(5))` comes to.

    Args:
      key: a `jax.random` key.
      in_channels: C_in.
      out_channels: C_out.
      kernel_size: one int, or `ndim`.
      ndim: the number of spatial dimensions, 1 to 3.
      groups: number of groups.
      bias: whether there is one; without it the entry is None.
      dtype: a float dtype.

    Returns:
      {"weight": (C_out, C_in/groups, *K), "bias": (C_out,) or None}, the keyword arguments of
      `conv1d` to `conv3d`.

    Raises:
      ValueError, TypeError: values that do not fit.

    Source: torch.nn.Conv2d.reset_parameters, PyTorch 2.13; K. He et al., "Delving deep into
    rectifiers", 2015.

    Example:
      >>> import jax, jax.numpy as jnp, jaxconv
      >>> params = jaxconv.init_conv(jax.random.key(0), 2, 16, 3, ndim=1)
      >>> jaxconv.conv1d(jnp.ones((1, 2, 64)), **params).shape
      (1, 16, 62)
    """
    name = "init_conv"
    sizes = _sizes(name, in_channels, out_channels, kernel_size, ndim, groups)
    shape = (out_channels, in_channels // groups, *sizes)
    return _draw(name, key, shape, out_channels if bias else None, dtype)


def init_conv_transpose(
    key: Array,
    in_channels: int,
    out_channels: int,
    kernel_size: Ints,
    *,
    ndim: int,
    groups: int = 1,
    bias: bool = True,
    dtype: Any = jnp.float32,
) -> dict[str, Any]:
    """Weight and bias of a transposed convolution, as `torch.nn.ConvTranspose1d` to 3d draw them.

    As `init_conv`, with weight (C_in, C_out/groups, *K) and PyTorch's fan_in of that shape,
    out_channels/groups * prod(kernel_size).

    Example:
      >>> import jax, jaxconv
      >>> params = jaxconv.init_conv_transpose(jax.random.key(0), 8, 4, 2, ndim=2)
      >>> params["weight"].shape, params["bias"].shape
      ((8, 4, 2, 2), (4,))
    """
    name = "init_conv_transpose"
    sizes = _sizes(name, in_channels, out_channels, kernel_size, ndim, groups)
    shape = (in_channels, out_channels // groups, *sizes)
    return _draw(name, key, shape, out_channels if bias else None, dtype)


def _sizes(function: str, c_in: int, c_out: int, kernel_size: Any, ndim: int, groups: int):
    numbers = {"in_channels": c_in, "out_channels": c_out, "ndim": ndim, "groups": groups}
    c_in, c_out, ndim, groups = (args.number(function, *given) for given in numbers.items())
    if ndim not in (1, 2, 3):
        raise fail(ValueError, function, "ndim must be 1, 2 or 3", f"ndim={ndim}", "Choose one")
    if groups < 1 or c_in % groups or c_out % groups or min(c_in, c_out) < 1:
        raise fail(
            ValueError,
            function,
            "in_channels and out_channels must be positive and divisible by groups",
            f"in_channels={c_in}, out_channels={c_out} and groups={groups}",
            "Change one of them",
        )
    sizes = args.ints(function, "kernel_size", kernel_size, ndim)
    args.at_least(function, "kernel_size", sizes, 1, "kernel size should be greater than zero")
    return sizes


def _draw(function: str, key: Array, shape: tuple[int, ...], bias: int | None, dtype: Any):
    # None is JAX's default, and Python's float, as in jax.random.
    named = np.dtype(np.float32) if dtype is None else args.dtype(function, "dtype", dtype)
    if not jnp.issubdtype(named, jnp.floating):
        rule, got = "dtype must be a float dtype", f"dtype={named}"
        raise fail(TypeError, function, rule, got, "Give one such as jnp.float32")
    kind = getattr(key, "dtype", None)
    if kind is None or not (kind == np.uint32 or jnp.issubdtype(kind, jax.dtypes.prng_key)):
        rule, got = "key must be a key of jax.random", f"key of type {type(key).__name__}"
        raise fail(TypeError, function, rule, got, "Give one such as jax.random.key(0)")
    bound = 1 / math.sqrt(math.prod(shape[1:]))
    of_weight, of_bias = jax.random.split(key)
    weight = jax.random.uniform(of_weight, shape, dtype, -bound, bound)
    if bias is None:
        return {"weight": weight, "bias": None}
    return {"weight": weight, "bias": jax.random.uniform(of_bias, (bias,), dtype, -bound, bound)}
