"""Random general convolutions in lax's words against a float64 sum; `--fuzz N` for long runs.

The sum knows nothing of forms, views or methods: it loops over output positions' taps.
"""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

import jaxconv


def by_definition(x, w, stride, padding, up, dilation, groups, batch_groups):
    """x (N, C, *S), w (O, C/groups, *K) in float64 -> (N/batch_groups, O, *S_out)."""
    ndim = x.ndim - 2
    full = [(n - 1) * u + 1 for n, u in zip(x.shape[2:], up)]
    spread = np.zeros((*x.shape[:2], *full))
    spread[(slice(None), slice(None), *(slice(None, None, u) for u in up))] = x
    for axis, (lo, hi) in enumerate(padding, 2):
        n = spread.shape[axis]
        spread = spread.take(range(max(0, -lo), n - max(0, -hi)), axis)
        pads = [(0, 0)] * spread.ndim
        pads[axis] = (max(0, lo), max(0, hi))
        spread = np.pad(spread, pads)
    out = [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(spread.shape[2:], w.shape[2:], dilation, stride)
    ]
    batch, parts = x.shape[0] // batch_groups, groups * batch_groups
    y = np.zeros((batch, w.shape[0], *out))
    share, channels = w.shape[0] // parts, w.shape[1]
    for part in range(parts):
        outputs = slice(part * share, (part + 1) * share)
        if batch_groups > 1:
            mine = spread[part * batch : (part + 1) * batch]
        else:
            mine = spread[:, part * channels : (part + 1) * channels]
        for tap in np.ndindex(*w.shape[2:]):
            places = tuple(
                slice(k * d, k * d + (n - 1) * s + 1, s)
                for k, d, n, s in zip(tap, dilation, out, stride)
            )
            seen = mine[(slice(None), slice(None), *places)]
            y[:, outputs] += np.einsum("nc...,oc->no...", seen, w[(outputs, slice(None), *tap)])
    assert y.ndim == ndim + 2
    return y


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
