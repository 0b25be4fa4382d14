"""The networks' training step in plain JAX, every convolution through one function."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv.cli.bench import networks as n
from jaxconv.cli.bench.layers import LETTERS

RATE = 1e-3


def network_step(
    network: n.Network, layout: str, conv: Callable[..., Any]
) -> tuple[Callable[..., Any], tuple[Any, Any]]:
    """The training step ``(parameters, x) -> (loss, new parameters)`` and its arguments."""
    ndim = len(network.size)
    channel = -1 if layout == "last" else 1
    positions = tuple(range(1, ndim + 1)) if layout == "last" else tuple(range(2, ndim + 2))
    space = LETTERS[ndim]
    numbers = (
        (f"N{space}C", f"{space}IO", f"N{space}C")
        if layout == "last"
        else (f"NC{space}", f"OI{space}", f"NC{space}")
    )

    def beside(vector):
        """A vector over channels, ready to meet the data."""
        return vector if layout == "last" else vector.reshape(-1, *(1,) * ndim)

    def convolution(op: n.Conv | n.Up, x, weight):
        if isinstance(op, n.Up):
            arguments = {"window_strides": (1,) * ndim, "padding": ((1, 1),) * ndim}
            arguments |= {"lhs_dilation": (2,) * ndim}
        else:
            arguments = {"window_strides": (op.stride,) * ndim, "padding": (op.pair,) * ndim}
            arguments |= {"rhs_dilation": (op.dilation,) * ndim}
            arguments |= {"feature_group_count": op.groups or x.shape[channel]}
        return conv(x, weight, dimension_numbers=numbers, **arguments)

    def normalise(x, axes, scale, shift):
        mean = x.mean(axes, keepdims=True)
        variance = jnp.square(x - mean).mean(axes, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * beside(scale) + beside(shift)

    def activate(kind, x):
        if kind == "gate":
            a, b = jnp.split(x, 2, axis=channel)
            return jnp.tanh(a) * jax.nn.sigmoid(b)
        return {"relu": jax.nn.relu, "relu6": jax.nn.relu6, "gelu": jax.nn.gelu}[kind](x)

    def run(ops: tuple[n.Op, ...], take: Iterator[Any], x):
        for op in ops:
            if isinstance(op, n.Conv | n.Up):
                x = convolution(op, x, next(take))
                if isinstance(op, n.Up) or op.bias:
                    x = x + beside(next(take))
            elif isinstance(op, n.Norm):
                axes = (0, *positions) if op.kind == "batch" else (channel,)
                x = normalise(x, axes, next(take), next(take))
            elif isinstance(op, n.Act):
                x = activate(op.kind, x)
            elif isinstance(op, n.Residual):
                y = run(op.body, take, x)
                x = run(op.shortcut, take, x) + y
            elif isinstance(op, n.Concat):
                x = jnp.concatenate([x, run(op.body, take, x)], axis=channel)
            else:
                weight, bias = next(take), next(take)
                x = x.mean(positions) @ weight + bias
        return x

    def loss(parameters, x):
        return jnp.square(run(network.body, iter(parameters), x) - 1).mean()

    def step(parameters, x):
        value, gradients = jax.value_and_grad(loss)(parameters, x)
        return value, [p - RATE * g for p, g in zip(parameters, gradients, strict=True)]

    x = network.input()
    if layout == "last":
        x = np.moveaxis(x, 1, -1)
    parameters = [
        _weight(p, up, layout)
        for p, up in zip(network.parameters(), _ups(network.body), strict=True)
    ]
    return step, jax.tree.map(jnp.asarray, (parameters, x))


def _ups(ops: tuple[n.Op, ...]) -> Iterator[bool]:
    """Whether each parameter belongs to a transposed convolution."""
    for op in ops:
        if isinstance(op, n.Residual | n.Concat):
            yield from _ups(op.body)
            yield from _ups(op.shortcut if isinstance(op, n.Residual) else ())
        elif not isinstance(op, n.Act):
            alone = isinstance(op, n.Conv) and not op.bias
            yield from (isinstance(op, n.Up),) * (1 if alone else 2)


def _weight(array: np.ndarray, up: bool, layout: str) -> np.ndarray:
    """From PyTorch's order of dimensions to the layout's."""
    if array.ndim <= 1:
        return array
    if array.ndim == 2:
        return array.T
    if up:
        # (I, O, k...) applied backwards: flipped and turned, as lax correlates.
        array = np.flip(np.swapaxes(array, 0, 1), tuple(range(2, array.ndim)))
    if layout == "last":
        array = np.moveaxis(array, (0, 1), (-1, -2))
    return np.ascontiguousarray(array)
