"""Layers of Flax, Equinox and Haiku: the same numbers with and without this library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxconv

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def nnx_model():
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.stem = nnx.Conv(3, 8, (3, 3), strides=2, rngs=rngs)
            self.depthwise = nnx.Conv(8, 8, (3, 3), feature_group_count=8, rngs=rngs)
            self.up = nnx.ConvTranspose(8, 4, (2, 2), strides=(2, 2), rngs=rngs)

        def __call__(self, x):
            return self.up(nnx.relu(self.depthwise(nnx.relu(self.stem(x)))))

    graph, params = nnx.split(Net(nnx.Rngs(0)))
    return params, lambda params, x: nnx.merge(graph, params)(x), "last"


def linen_model():
    from flax import linen

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.relu(linen.Conv(8, (3, 3), padding="CIRCULAR")(x))
            x = linen.relu(linen.Conv(8, (3, 3), feature_group_count=4, kernel_dilation=2)(x))
            return linen.ConvTranspose(4, (3, 3), strides=(2, 2))(x)

    net = Net()
    params = net.init(jax.random.key(0), jnp.ones((2, 12, 12, 3)))
    return params, net.apply, "last"


def equinox_model():
    import equinox as eqx

    keys = jax.random.split(jax.random.key(0), 3)
    net = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(3, 8, 3, padding=1, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Conv2d(8, 8, 3, stride=2, groups=8, key=keys[1]),
            eqx.nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1, key=keys[2]),
        ]
    )
    params, static = eqx.partition(net, eqx.is_array)
    return params, lambda params, x: jax.vmap(eqx.combine(params, static))(x), "first"


def haiku_model():
    import haiku as hk

    def net(x):
        x = jax.nn.relu(hk.Conv2D(8, 3, stride=2)(x))
        x = jax.nn.relu(hk.DepthwiseConv2D(1, 3)(x))
        return hk.Conv2DTranspose(4, 3, stride=2)(x)

    transformed = hk.without_apply_rng(hk.transform(net))
    params = transformed.init(jax.random.key(0), jnp.ones((2, 12, 12, 3)))
    return params, transformed.apply, "last"


MODELS = {f.__name__: f for f in (nnx_model, linen_model, equinox_model, haiku_model)}


@pytest.fixture(autouse=True)
def clean():
    jaxconv.uninstall()
    yield
    jaxconv.uninstall()


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients(name):
    params, apply, layout = MODELS[name]()
    shape = (2, 12, 12, 3) if layout == "last" else (2, 3, 12, 12)
    x = jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)

    def step(params, x):
        return jax.value_and_grad(lambda p, x: (apply(p, x) ** 2).mean(), (0, 1))(params, x)

    want = jax.jit(step)(params, x)
    fast = jax.jit(jaxconv.accelerate(step))(params, x)
    jaxconv.install()
    installed = jax.jit(step)(params, x)
    for got in (fast, installed):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-3, 1e-5), got, want)


def test_flax_takes_our_function():
    from flax import nnx

    layer = nnx.Conv(
        3, 8, (3, 3), rngs=nnx.Rngs(0), conv_general_dilated=jaxconv.conv_general_dilated
    )
    plain = nnx.Conv(3, 8, (3, 3), rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 12, 12, 3)), jnp.float32)
    np.testing.assert_allclose(layer(x), plain(x), 1e-4, 1e-4)
