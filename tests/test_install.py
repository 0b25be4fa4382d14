"""install and uninstall: JAX's own convolution by our engine, and back."""

import concurrent.futures

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxconv
from jaxconv import _compat
from jaxconv._install import installed


@pytest.fixture(autouse=True)
def clean():
    jaxconv.uninstall()
    yield
    jaxconv.uninstall()


def depthwise(x, w):
    return lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=64
    )


def arguments():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 14, 14, 64)), jnp.float32)
    return x, jnp.asarray(rng.standard_normal((3, 3, 1, 64)), jnp.float32)


def has_convolution(fun, *args):
    return "stablehlo.convolution" in jax.jit(fun).lower(*args).as_text()


def test_it_takes_over_and_gives_back():
    args = arguments()
    want = np.asarray(depthwise(*args))
    assert has_convolution(depthwise, *args)
    assert "installed as the CPU lowering" in jaxconv.install()
    assert installed() and not has_convolution(depthwise, *args)
    np.testing.assert_allclose(jax.jit(depthwise)(*args), want, 1e-4, 1e-4)
    assert "already installed" in jaxconv.install()
    assert "uninstalled" in jaxconv.uninstall()
    assert _compat._CPU[_compat.lax_conv_p] is _compat._ORIGINAL
    assert has_convolution(depthwise, *args)
    assert "not installed" in jaxconv.uninstall()


def test_programs_compiled_before_are_compiled_anew():
    args, traced = arguments(), []

    @jax.jit
    def counted(x, w):
        traced.append(1)
        return depthwise(x, w)

    before = counted(*args)
    jaxconv.install()
    np.testing.assert_allclose(counted(*args), before, 1e-4, 1e-4)
    assert len(traced) == 2


def test_gradients_and_batching_under_install():
    args = arguments()

    def program(x, w):
        return (depthwise(x, w) ** 2).sum()

    want = jax.grad(program, (0, 1))(*args)
    batch = jnp.stack([args[0], 1 - args[0]])
    per_example = jax.vmap(jax.grad(program, 1), (0, None))(batch, args[1])
    jaxconv.install()
    for got, expected in zip(jax.jit(jax.grad(program, (0, 1)))(*args), want):
        np.testing.assert_allclose(got, expected, 1e-3, 1e-3)
    got = jax.jit(jax.vmap(jax.grad(program, 1), (0, None)))(batch, args[1])
    np.testing.assert_allclose(got, per_example, 1e-3, 2e-3)


def test_concurrent_install_and_compilation():
    x, _ = arguments()

    def work(number):
        jaxconv.install()
        w = jnp.ones((3, 3, 1, 64 * (1 + number % 3)), jnp.float32)
        return float(jax.jit(depthwise)(x, w).sum())

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(work, range(9)))
    for number, got in enumerate(sums):
        np.testing.assert_allclose(got, sums[number % 3], 1e-5)


def test_other_platforms_keep_their_lowering():
    args = arguments()
    jaxconv.install()
    text = jax.export.export(jax.jit(depthwise), platforms=["cuda"])(*args).mlir_module()
    assert "stablehlo.convolution" in text


def test_export_for_several_platforms():
    """It was an error: JAX adds a list to the tuple that it has of primitives it does not cache."""
    args = arguments()
    want = depthwise(*args)
    before = _compat._mlir.lower_per_platform
    jaxconv.install()
    exported = jax.export.export(jax.jit(depthwise), platforms=["cpu", "cuda", "tpu"])(*args)
    assert "stablehlo.convolution" in exported.mlir_module()
    np.testing.assert_allclose(exported.call(*args), want, 1e-5, 1e-5)
    jaxconv.uninstall()
    assert _compat._mlir.lower_per_platform is before


def test_scipy_signal_under_install():
    from jax.scipy.signal import convolve2d

    rng = np.random.default_rng(1)
    a, b = (jnp.asarray(rng.standard_normal((20, 21)), jnp.float32) for _ in range(2))
    want = np.asarray(convolve2d(a, b))
    jaxconv.install()
    np.testing.assert_allclose(convolve2d(a, b), want, 1e-3, 1e-3)
