"""Random general convolutions in lax's words against a float64 sum; `--fuzz N` for long runs.

The sum is `direct_sum`'s, told lax's words; it imports nothing of the package.
"""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from direct_sum import convolution, spread
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

import jaxconv

# Any convolution, as a user meets it.
pytestmark = pytest.mark.optimised


def by_definition(x, w, stride, padding, up, dilation, groups, batch_groups):
    """x (N, C, *S), w (O, C/groups, *K) in float64 -> (N/batch_groups, O, *S_out)."""
    kernel, spatial = w.shape[2:], x.shape[2:]
    out = tuple(
        (spread(n, u) + lo + hi - spread(k, d)) // s + 1
        for n, u, (lo, hi), k, d, s in zip(spatial, up, padding, kernel, dilation, stride)
    )
    form = SimpleNamespace(
        kind="forward", spatial=spatial, kernel=kernel, out_spatial=out, strides=stride,
        padding=padding, dilation=dilation, lhs_dilation=up, groups=groups,
        in_channels=w.shape[1], out_channels=w.shape[0] // (groups * batch_groups),
        y_shape=(x.shape[0] // batch_groups, *out, w.shape[0] // batch_groups),
    )  # fmt: skip
    images = np.split(np.moveaxis(x, 1, -1), batch_groups)
    kernels = np.split(np.moveaxis(w, (0, 1), (-1, -2)), batch_groups, -1)
    y = [convolution(image, kernel, form) for image, kernel in zip(images, kernels)]
    return np.moveaxis(np.concatenate(y, -1), -1, 1)


@st.composite
def convolutions(draw):
    """Arguments of `conv_general_dilated` that lax takes, and the drawn arrays."""
    ndim = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(ndim))

    groups, batch_groups = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (5, 1), (1, 2), (1, 3)]))
    channels, share = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    batch = batch_groups * draw(st.integers(1, 3))
    kernel, stride = each(1, 4), each(1, 3)
    up = each(1, 3) if draw(st.booleans()) else (1,) * ndim
    dilation = each(1, 3) if draw(st.booleans()) else (1,) * ndim
    if draw(st.booleans()):
        stride = (1,) * ndim
    if draw(st.integers(0, 3)) == 0:
        stride = kernel
    padding = tuple((draw(st.integers(-1, 3)), draw(st.integers(-1, 3))) for _ in range(ndim))
    size = tuple(
        draw(st.integers(3, 9)) + (k - 1) * d // u for k, d, u in zip(kernel, dilation, up)
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    x = rng.standard_normal((batch, groups * channels, *size))
    w = rng.standard_normal((groups * batch_groups * share, channels, *kernel))
    last = draw(st.booleans())
    return x, w, (stride, padding, up, dilation, groups, batch_groups), last


def call(x, w, arguments, last, method="auto"):
    stride, padding, up, dilation, groups, batch_groups = arguments
    space = "DHW"[3 - (x.ndim - 2) :]
    names = (f"N{space}C", f"{space}IO") if last else (f"NC{space}", f"OI{space}")
    if last:
        x, w = jnp.moveaxis(x, 1, -1), jnp.moveaxis(w, (0, 1), (-1, -2))
    y = jaxconv.conv_general_dilated(
        x, w, stride, padding, up, dilation, (*names, names[0]), groups, batch_groups, method=method
    )
    return jnp.moveaxis(y, -1, 1) if last else y


@given(convolutions())
def test_values_and_gradients_of_any_convolution(drawn):
    x, w, arguments, last = drawn
    want = by_definition(x, w, *arguments)
    x32, w32 = jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)
    got = jax.jit(lambda x, w: call(x, w, arguments, last))(x32, w32)
    assert got.shape == want.shape
    close(got, want)
    # The gradients of a bilinear function: <g, y(x, w)> = <x, dx> = <w, dw>.
    g = np.random.default_rng(1).standard_normal(want.shape)
    _, pull = jax.vjp(lambda x, w: call(x, w, arguments, last), x32, w32)
    dx, dw = jax.jit(pull)(jnp.asarray(g, jnp.float32))
    scale = np.abs(g).sum() * np.abs(want).max() + 1
    assert abs((x * np.float64(dx)).sum() - (g * want).sum()) < 1e-5 * scale
    assert abs((w * np.float64(dw)).sum() - (g * want).sum()) < 1e-5 * scale
    lax_pull = jax.vjp(lambda x, w: call(x, w, arguments, last, "lax"), x32, w32)[1]
    for mine, theirs in zip((dx, dw), jax.jit(lax_pull)(jnp.asarray(g, jnp.float32))):
        close(mine, np.float64(theirs), least=1e-2)


@given(convolutions())
def test_every_method_by_name(drawn):
    x, w, arguments, last = drawn
    want = by_definition(x, w, *arguments)
    x32, w32 = jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)
    outputs = {}
    for name in jaxconv.methods:
        try:
            outputs[name] = jax.eval_shape(lambda n=name: call(x32, w32, arguments, last, n))
        except NotImplementedError as error:
            assert name in str(error)
    assert {"lax", "direct"} <= set(outputs)

    def everything(x, w):
        return {name: call(x, w, arguments, last, name) for name in outputs}

    for name, got in jax.jit(everything)(x32, w32).items():
        close(got, want, name)


def close(got, want, name="", least=1e-3):
    largest = np.abs(want).max(initial=0) + least
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * largest, err_msg=name)


def test_the_sum_itself_is_lax_in_float64():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((4, 3, 9, 8)), rng.standard_normal((6, 3, 3, 2))
    arguments = ((1, 2), ((1, -1), (0, 2)), (2, 1), (1, 3), 1, 2)
    with jax.enable_x64(True):
        y = lax.conv_general_dilated(x, w, *arguments[:4], ("NCHW", "OIHW", "NCHW"), *arguments[4:])
    np.testing.assert_allclose(y, by_definition(x, w, *arguments), atol=1e-12)
