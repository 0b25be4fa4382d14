"""Two networks with exactly as many parameters, 36,970 each: pure functions of a dict of arrays."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxconv

Layer = dict[str, Any]
Parameters = dict[str, Layer]


class Model(NamedTuple):
    """A network.

    Attributes:
        init: ``init(key)`` gives its parameters.
        apply: ``apply(parameters, images, key)`` gives logits (N, 10) of images (N, 1, 28, 28).
            With a random key for training, with None (no dropout) otherwise.
    """

    init: Callable[[jax.Array], Parameters]
    apply: Callable[[Parameters, jax.Array, jax.Array | None], jax.Array]


def init_linear(key: jax.Array, inputs: int, outputs: int) -> Layer:
    """A linear layer as PyTorch begins it: uniform within 1 / sqrt(inputs)."""
    bound = 1 / math.sqrt(inputs)
    weight_key, bias_key = jax.random.split(key)
    return {
        "weight": jax.random.uniform(weight_key, (outputs, inputs), minval=-bound, maxval=bound),
        "bias": jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound),
    }


def linear(layer: Layer, x: jax.Array) -> jax.Array:
    """Returns x @ weight.T + bias."""
    return x @ layer["weight"].T + layer["bias"]


def conv2d(layer: Layer, x: jax.Array) -> jax.Array:
    """A convolution layer's output."""
    return jaxconv.conv2d(x, layer["weight"], layer["bias"])


def max_pool(x: jax.Array) -> Any:
    """The largest of every 2x2 pixels."""
    return jaxconv.max_pool2d(x, 2)


def dropout(key: jax.Array | None, x: jax.Array, rate: float = 0.4) -> jax.Array:
    """In training, zeroes entries with probability ``rate`` and scales the others to make up."""
    if key is None:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def init_cnn(key: jax.Array) -> Parameters:
    """Two 5x5 convolutions, two linear layers, after LeNet-5."""
    keys = jax.random.split(key, 4)
    return {
        "conv1": jaxconv.init_conv(keys[0], 1, 6, 5, ndim=2),
        "conv2": jaxconv.init_conv(keys[1], 6, 24, 5, ndim=2),
        "linear1": init_linear(keys[2], 24 * 4 * 4, 84),
        "linear2": init_linear(keys[3], 84, 10),
    }


def cnn(parameters: Parameters, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Logits of the convolutional network."""
    x = conv2d(parameters["conv1"], images)  # (N, 6, 24, 24)
    x = max_pool(jax.nn.relu(x))  # (N, 6, 12, 12)
    x = conv2d(parameters["conv2"], x)  # (N, 24, 8, 8)
    x = max_pool(jax.nn.relu(x))  # (N, 24, 4, 4)
    x = dropout(key, x.reshape(len(x), -1))
    x = jax.nn.relu(linear(parameters["linear1"], x))
    return linear(parameters["linear2"], x)


def init_mlp(key: jax.Array) -> Parameters:
    """Three linear layers, every pixel connected with every unit."""
    keys = jax.random.split(key, 3)
    return {
        "linear1": init_linear(keys[0], 28 * 28, 44),
        "linear2": init_linear(keys[1], 44, 44),
        "linear3": init_linear(keys[2], 44, 10),
    }


def mlp(parameters: Parameters, images: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """Logits of the fully connected network."""
    x = images.reshape(len(images), -1)
    x = jax.nn.relu(linear(parameters["linear1"], x))
    x = jax.nn.relu(linear(parameters["linear2"], x))
    return linear(parameters["linear3"], dropout(key, x, 0.1))


MODELS = {"cnn": Model(init_cnn, cnn), "mlp": Model(init_mlp, mlp)}


def count(parameters: Any) -> int:
    """Number of parameters."""
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(parameters))
