"""JAX's own settings: strict promotion and no jit break nothing and change nothing in ours."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxconv
from jaxconv._choose import choose
from jaxconv._explain import explanation
from jaxconv._run import run


@contextlib.contextmanager
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def draw(*shape):
    return jnp.asarray(np.random.default_rng(len(shape)).standard_normal(shape), jnp.float32)


# (input, weight, keyword arguments); between them every method has one that it takes
CONVOLUTIONS = [
    (draw(2, 4, 9, 8), draw(6, 2, 3, 3), {"groups": 2}),
    (draw(2, 4, 7, 8), draw(8, 1, 3, 2), {"groups": 4}),
    (draw(2, 32, 9, 9), draw(32, 32, 3, 3), {"padding": 1}),
    (draw(2, 4, 5, 5), draw(6, 4, 1, 1), {}),
    (draw(2, 4, 8, 8), draw(6, 4, 4, 4), {"stride": 4}),
    (draw(2, 4, 8, 8), draw(6, 4, 2, 2), {"stride": 2}),
    (draw(2, 4, 9), draw(6, 4, 3), {"dilation": 2}),
    (draw(1, 32, 6, 6), draw(32, 16, 3, 3), {"groups": 2}),
    (draw(1, 2, 4, 4, 4), draw(3, 2, 3, 3, 3), {}),
    (draw(1, 2, 6, 4, 5), draw(3, 2, 3, 1, 1), {}),
    (draw(2, 3, 4, 4), draw(3, 2, 4, 4), {"stride": 2, "transposed": True}),
    (draw(2, 3, 1, 4), draw(3, 2, 3, 3), {"transposed": True}),
    (draw(1, 2, 7, 7), draw(3, 2, 3, 3), {"padding": 7, "dilation": 7}),
]


def convolve(x, w, method, transposed=False, **kwargs):
    name = "conv_transpose" if transposed else "conv"
    return getattr(jaxconv, f"{name}{x.ndim - 2}d")(x, w, method=method, **kwargs)


@pytest.mark.parametrize("method", jaxconv.methods)
def test_every_method_is_lowered_under_strict_promotion(method):
    taken = 0
    for x, w, kwargs in CONVOLUTIONS:

        def program(x, w, kwargs=kwargs):
            y, pull = jax.vjp(lambda x, w: convolve(x, w, method, **kwargs), x, w)
            return y, pull(y)

        with contextlib.suppress(NotImplementedError), strict():
            jax.jit(program).lower(x, w)
            taken += 1
    if jaxconv.methods[method].forward is None:  # no door takes it by name; the engine may
        taken = sum(lowers_weight(method, x, w, kwargs) for x, w, kwargs in CONVOLUTIONS)
    assert taken


def lowers_weight(method, x, w, kwargs):
    """Whether `method` takes the weight gradient, which is then lowered under strict promotion."""

    def gradient(x, w):
        return jax.grad(lambda w: convolve(x, w, "auto", **kwargs).sum())(w)

    found = explanation(gradient, x, w)
    specs = [c.spec for c in found if c.direction == "weight gradient"]
    takes = [spec for spec in specs if choose(spec, method).method == method]
    for spec in takes:
        shapes = (jax.ShapeDtypeStruct(s, x.dtype) for s in (spec.lhs_shape, spec.rhs_shape))
        with strict():
            jax.jit(functools.partial(run, spec=spec, choice=choose(spec, method))).lower(*shapes)
    return bool(takes)


X, BIAS = draw(2, 4, 8, 7), draw(6)
DOORS = {
    "conv2d": lambda: jaxconv.conv2d(X, draw(6, 4, 3, 3), BIAS),
    "channels last": lambda: jaxconv.conv2d(X, draw(6, 7, 3, 3), BIAS, layout="NHWC"),
    "bfloat16": lambda: jaxconv.conv2d(
        X.astype(jnp.bfloat16), draw(6, 4, 3, 3).astype(jnp.bfloat16), BIAS.astype(jnp.bfloat16)
    ),
    "integers": lambda: jaxconv.conv2d(
        X.astype(jnp.int8), draw(6, 4, 3, 3).astype(jnp.int8), preferred_element_type=jnp.int32
    ),
    "transposed": lambda: jaxconv.conv_transpose2d(X, draw(4, 3, 3, 3), BIAS, 2, groups=2),
    "reflect": lambda: jaxconv.conv2d(X, draw(6, 4, 3, 3), padding=1, padding_mode="reflect"),
    "max_pool2d": lambda: jaxconv.max_pool2d(X, 3, 2, 1, return_indices=True),
    "avg_pool2d": lambda: jaxconv.avg_pool2d(X, 3, 2, 1, True, False),
    "avg_pool2d of integers": lambda: jaxconv.avg_pool2d(X.astype(jnp.int32), 3, 2, 1, True, False),
    "unfold": lambda: jaxconv.unfold(X, 3, padding=1),
    "fold": lambda: jaxconv.fold(draw(1, 18, 9), (5, 5), 3),
    "conv_matrix": lambda: jaxconv.conv_matrix(draw(6, 4, 3, 3), (5, 4)).todense(),
    "init_conv": lambda: jaxconv.init_conv(jax.random.key(0), 4, 6, 3, ndim=2),
    "gradient of pools": lambda: jax.grad(
        lambda x: (jaxconv.avg_pool2d(jaxconv.max_pool2d(x, 3, 2, 1), 2) ** 2).sum()
    )(X),
    "gradient": lambda: jax.grad(lambda x: (jaxconv.conv2d(x, draw(6, 4, 3, 3)) ** 2).sum())(X),
    "accelerate": lambda: jaxconv.accelerate(
        lambda x: lax.conv(x, draw(6, 4, 3, 3), (1, 1), "SAME")
    )(X),
}


@pytest.mark.parametrize("door", DOORS)
def test_doors_under_strict_promotion(door):
    want = DOORS[door]()
    with strict():
        got = DOORS[door]()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(np.float64(a), np.float64(b), 1e-3, 1e-3), got, want
    )


@pytest.mark.parametrize("door", ["conv2d", "transposed", "max_pool2d", "gradient", "accelerate"])
def test_doors_without_jit(door):
    want = DOORS[door]()
    with jax.disable_jit():
        got = DOORS[door]()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-3, 1e-3), got, want)


@pytest.fixture
def installed():
    jaxconv.install()
    yield
    jaxconv.uninstall()


NUMBERS = ("NHWC", "HWIO", "NHWC")


def depthwise(x, w):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=NUMBERS, feature_group_count=64
    )


@pytest.mark.parametrize("setting", [strict, jax.disable_jit])
def test_install_under_a_setting(setting, installed):
    x, w = draw(2, 14, 14, 64), draw(3, 3, 1, 64)
    want = jaxconv.conv_general_dilated(
        x, w, (1, 1), "SAME", None, None, NUMBERS, feature_group_count=64, method="lax"
    )
    with setting():
        assert "stablehlo.convolution" not in jax.jit(depthwise).lower(x, w).as_text()
        np.testing.assert_allclose(depthwise(x, w), want, 1e-4, 1e-4)


def test_64_bits_are_lowered_where_only_32_are_enabled(installed):
    x, w = np.ones((2, 14, 14, 64)), np.ones((3, 3, 1, 64))
    with jax.enable_x64(True):
        traced = jax.jit(depthwise).trace(x, w)
    text = traced.lower().as_text()
    assert "tensor<2x14x14x64xf64>" in text and "stablehlo.convolution" not in text


def test_derivatives_leak_no_tracer():
    w = draw(6, 4, 3, 3)
    with jax.checking_leaks():
        jax.hessian(lambda s: (jaxconv.conv2d(s * X, s * w, BIAS) ** 2).sum())(1.0)
        jax.grad(jaxconv.accelerate(lambda x: lax.conv(x, w, (1, 1), "SAME").sum()))(X)
