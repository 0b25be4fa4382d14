"""Our primitive under every JAX transformation, held against lax's."""

import functools
import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

import jaxconv
from jaxconv import _primitive
from jaxconv._choose import Choice
from jaxconv._primitive import convolve

NHWC = lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
PARAMS = {
    "window_strides": (2, 1),
    "padding": ((1, 2), (0, 1)),
    "lhs_dilation": (1, 2),
    "rhs_dilation": (1, 2),
    "dimension_numbers": NHWC,
}
METHODS = ("auto", "lax", "direct", "im2col", "toeplitz")
W3 = jnp.asarray(np.random.default_rng(3).standard_normal((4, 3, 3, 3)), jnp.float32)


def ours(x, w, method="auto", groups=1):
    return convolve(x, w, feature_group_count=groups, method=method, **PARAMS)


def theirs(x, w, groups=1):
    return lax.conv_general_dilated(x, w, feature_group_count=groups, **PARAMS)


@pytest.fixture(scope="module")
def operands():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 7, 5, 4)), jnp.float32)
    return x, jnp.asarray(rng.standard_normal((3, 2, 4, 6)), jnp.float32)


def close(got, want, tolerance=2e-4):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance), got, want)


def loss(conv):
    return lambda x, w: (conv(x, w) ** 2).sum()


@pytest.mark.parametrize("method", METHODS)
def test_values_and_gradients_are_those_of_lax(operands, method):
    conv = functools.partial(ours, method=method)
    close(jax.jit(conv)(*operands), theirs(*operands))
    got = jax.jit(jax.grad(loss(conv), (0, 1)))(*operands)
    close(got, jax.grad(loss(theirs), (0, 1))(*operands))


@pytest.mark.parametrize("method", METHODS)
def test_grouped(operands, method):
    x, w = operands[0], operands[1][:, :, :2]
    conv = functools.partial(ours, method=method, groups=2)
    want = jax.grad(loss(functools.partial(theirs, groups=2)), (0, 1))(x, w)
    close(jax.jit(jax.grad(loss(conv), (0, 1)))(x, w), want)


@pytest.mark.optimised
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_vmap_and_per_example_gradients(operands, axes):
    args = [jnp.stack([a, 1 - a]) if axis == 0 else a for a, axis in zip(operands, axes)]
    close(jax.jit(jax.vmap(ours, axes))(*args), jax.vmap(theirs, axes)(*args))
    got = jax.jit(jax.vmap(jax.grad(loss(ours), (0, 1)), axes))(*args)
    close(got, jax.vmap(jax.grad(loss(theirs), (0, 1)), axes)(*args))


def test_forward_mode_and_linearize(operands):
    want = jax.jvp(theirs, operands, operands)
    close(jax.jit(lambda *a: jax.jvp(ours, a, a))(*operands), want)
    value, tangent = jax.linearize(ours, *operands)
    close((value, tangent(*operands)), want)


def test_second_order_both_modes():
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        x = jnp.asarray(rng.standard_normal((1, 4, 3, 2)))
        w = jnp.asarray(rng.standard_normal((3, 2, 2, 2)))
        check_grads(ours, (x, w), order=2, modes=("fwd", "rev"))


def test_linear_transpose(operands):
    x, w = operands
    y = theirs(x, w)
    for side, arg in ((0, x), (1, w)):

        def one(conv, side=side):
            return (lambda x: conv(x, w)) if side == 0 else (lambda w: conv(x, w))

        got = jax.linear_transpose(one(ours), arg)(y)
        close(got, jax.linear_transpose(one(theirs), arg)(y))


@pytest.mark.parametrize(
    "policy",
    [None, jax.checkpoint_policies.dots_saveable, jax.checkpoint_policies.nothing_saveable],
)
def test_remat(operands, policy):
    conv = jax.checkpoint(ours, policy=policy)
    close(jax.jit(jax.grad(loss(conv), 1))(*operands), jax.grad(loss(theirs), 1)(*operands))


def test_control_flow(operands):
    x, w = operands

    def program(conv):
        def run(x, w):
            def body(total, scale):
                return total + conv(x * scale, w).sum(), None

            total, _ = lax.scan(body, 0.0, jnp.arange(3.0))
            total = lax.fori_loop(0, 2, lambda i, t: t + conv(x, w).mean() * i, total)
            return lax.cond(total > 0, lambda: conv(x, w).sum(), lambda: -conv(x, 2 * w).sum())

        return run

    close(jax.jit(jax.grad(program(ours), 1))(x, w), jax.grad(program(theirs), 1)(x, w))


def test_custom_rules_around_it(operands):
    @jax.custom_vjp
    def doubled(x, w):
        return ours(x, w)

    doubled.defvjp(lambda x, w: (ours(x, w), (x, w)), lambda res, g: (2 * res[0], 2 * res[1]))
    got = jax.grad(lambda x, w: doubled(x, w).sum(), (0, 1))(*operands)
    close(got, tuple(2 * a for a in operands))


def test_eval_shape_and_dtypes(operands):
    x, w = operands
    assert jax.eval_shape(ours, x, w) == jax.eval_shape(theirs, x, w)
    for dtype in (jnp.bfloat16, jnp.float16):
        got = jax.jit(ours)(x.astype(dtype), w.astype(dtype))
        want = theirs(x.astype(dtype).astype(jnp.float32), w.astype(dtype).astype(jnp.float32))
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, jax.jit(ours)(x.astype(dtype), w.astype(dtype)))
        close(got.astype(jnp.float32), want, 1e-2)
    z = (x + 1j * x[::-1], w - 2j * w)
    close(jax.jit(ours)(*z), theirs(*z), 1e-3)
    close(jax.jit(functools.partial(ours, method="direct"))(*z), theirs(*z), 1e-3)


def test_export_for_every_platform(operands):
    exported = jax.export.export(jax.jit(ours), platforms=["cpu", "cuda", "tpu"])(*operands)
    close(exported.call(*operands), theirs(*operands))


def test_symbolic_shapes_fall_back_to_lax(operands):
    x, w = operands
    (batch,) = jax.export.symbolic_shape("b")
    shape = jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)
    exported = jax.export.export(jax.jit(ours))(shape, w)
    close(exported.call(x, w), theirs(x, w))


@pytest.mark.parametrize(
    "program",
    [
        lambda x: jaxconv.conv2d(x, W3),
        lambda x: jaxconv.conv2d(x, W3, stride=2, padding=1, padding_mode="reflect"),
        lambda x: jaxconv.conv_transpose2d(x, W3.swapaxes(0, 1), stride=2, padding=1),
        lambda x: jaxconv.max_pool2d(x, 3, 2, 1, return_indices=True),
        lambda x: jaxconv.avg_pool2d(x, 3, 2, 1, True, False),
        jax.grad(lambda x: (jaxconv.conv2d(x, W3) ** 2).sum()),
        jax.grad(lambda x: (jaxconv.max_pool2d(x, 2) ** 2).sum()),
        jax.grad(lambda x: (jaxconv.avg_pool2d(x, 2) ** 2).sum()),
        lambda x: x.sum() + jnp.asarray(jaxconv.output_shape(x.shape, W3.shape, 2)[2]),
    ],
)
def test_symbolic_sizes_at_pytorchs_doors(program):
    sizes = jax.export.symbolic_shape("b,3,h,w", constraints=("h>=8", "w>=8"))
    exported = jax.export.export(jax.jit(program))(jax.ShapeDtypeStruct(sizes, jnp.float32))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 9, 8)), jnp.float32)
    jax.tree.map(lambda a, b: close(a, b), exported.call(x), program(x))


def test_a_size_need_not_be_known_to_suffice():
    """As in lax: whether the window fits is not known here."""
    shape = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b,3,h,w"), jnp.float32)
    exported = jax.export.export(jax.jit(lambda x: jaxconv.conv2d(x, W3)))(shape)
    assert exported.call(jnp.ones((2, 3, 9, 8))).shape == (2, 4, 7, 6)


def test_zero_sizes(operands):
    x, w = operands
    for a, b in ((x[:0], w), (x, w[..., :0])):
        assert ours(a, b).shape == theirs(a, b).shape
        got = jax.grad(loss(ours), (0, 1))(a, b)
        close(got, jax.grad(loss(theirs), (0, 1))(a, b))


@pytest.mark.optimised
def test_deterministic(operands):
    first = jax.jit(ours)(*operands)
    for _ in range(3):
        np.testing.assert_array_equal(first, jax.jit(ours)(*operands))


@pytest.mark.parametrize(
    ("dtype", "preferred"),
    [
        (jnp.float32, jnp.float64),
        (jnp.bfloat16, jnp.float64),
        (jnp.complex64, jnp.complex128),
        (jnp.float8_e4m3fn, jnp.float32),
        (jnp.float8_e5m2, None),
    ],
)
def test_sums_are_as_wide_as_the_result(dtype, preferred):
    rng = np.random.default_rng(0)
    params = dict(PARAMS, lhs_dilation=(1, 1), feature_group_count=32)
    with jax.enable_x64(True):
        x = jnp.asarray(rng.standard_normal((2, 9, 8, 32))).astype(dtype)
        w = jnp.asarray(rng.standard_normal((3, 3, 1, 32))).astype(dtype)
        wide = jnp.complex128 if dtype == jnp.complex64 else jnp.float64
        want = lax.conv_general_dilated(x.astype(wide), w.astype(wide), **params)
        want = want.astype(preferred or dtype).astype(wide)
        for method in ("shifts", "direct"):
            conv = functools.partial(convolve, method=method, **params)
            got = jax.jit(functools.partial(conv, preferred_element_type=preferred))(x, w)
            assert got.dtype == (preferred or dtype)
            np.testing.assert_allclose(got.astype(wide), want, 1e-12, 1e-12)


def test_compiled_apart_from_what_is_around_it():
    """XLA would fuse a cheap producer into the sum of taps, and compute it anew for each tap."""
    x, w = jnp.ones((2, 9, 9, 8)), jnp.ones((3, 3, 1, 8))
    same = {**PARAMS, "window_strides": (1, 1), "padding": ((1, 1), (1, 1))}
    same |= {"lhs_dilation": (1, 1), "rhs_dilation": (1, 1)}

    def block(x, w):
        y = convolve(jnp.tanh(x), w, feature_group_count=8, method="shifts", **same)
        return jax.nn.relu(y), y.mean()

    text = jax.jit(block).lower(x, w).compile().as_text()
    call = re.search(r" call\(.*to_apply=%(jaxconv_shifts[.\w]*)", text)
    assert call
    inside = text.split(f"\n%{call[1]} (")[1].split("\n}")[0]
    assert "add" in inside and "tanh" not in inside and "maximum" not in inside


def channels_first_block(monkeypatch, method, kind="forward"):
    """The operands of a layer channels first and a function of it by `method`, then a ReLU."""
    chosen = Choice(method, kind, 0.0, "for the test")
    monkeypatch.setattr(_primitive, "decide", lambda spec, method: chosen)
    x, w = jnp.ones((2, 32, 96, 96)), jnp.ones((32, 32, 3, 3))
    params = {
        **PARAMS,
        "padding": ((1, 1), (1, 1)),
        "dimension_numbers": lax.conv_dimension_numbers(x.shape, w.shape, None),
    }
    params |= dict.fromkeys(("window_strides", "lhs_dilation", "rhs_dilation"), (1, 1))

    def block(x, w, conv=convolve):
        return jax.nn.relu(conv(x, w, **params) + 1)

    return x, w, block


def test_results_lie_in_plain_order_for_those_who_use_them(monkeypatch):
    """Else XLA leaves the transpose to each user, in one fusion with what it computes there."""
    x, w, block = channels_first_block(monkeypatch, "extra_row")
    text = jax.jit(block).lower(x, w).compile().as_text()
    inside = [part for part in text.split("\n\n") if "maximum(" in part]
    assert inside
    assert not any("transpose(" in part or "copy(" in part for part in inside)
    assert "{1,3,2,0} parameter" not in "".join(inside)


def test_between_two_convolutions_of_lax_nothing_is_transposed(monkeypatch):
    x, w, block = channels_first_block(monkeypatch, "lax")

    def moves(conv):
        def two(x, w):
            return block(block(x, w, conv), w, conv)

        text = jax.jit(two).lower(x, w).compile().as_text()
        return len(re.findall(r"= \S+ (?:copy|transpose)\(", text))

    assert moves(convolve) == moves(lax.conv_general_dilated)


def test_a_weights_gradient_is_left_in_the_order_it_has(monkeypatch):
    x, w, block = channels_first_block(monkeypatch, "extra_row")
    assert "LayoutConstraint" in jax.jit(block).lower(x, w).as_text()
    x, w, block = channels_first_block(monkeypatch, "weight_patches", "weight")
    assert "LayoutConstraint" not in jax.jit(block).lower(x, w).as_text()


def test_lax_chosen_keeps_its_fast_path_in_a_loop(monkeypatch):
    """XLA turns a convolution to channels last, its fast order, at a program's top level only."""
    lax_chosen = Choice("lax", "forward", 0.0, "for the test")
    monkeypatch.setattr(_primitive, "decide", lambda spec, method: lax_chosen)
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in ((2, 6, 7, 9), (3, 6, 3, 3)))
    params = {**PARAMS, "dimension_numbers": lax.conv_dimension_numbers(x.shape, w.shape, None)}

    def loop(x, w, conv):
        return lax.map(lambda x: conv(x[None], w, **params)[0], x)

    ours = jax.jit(functools.partial(loop, conv=convolve))
    text = ours.lower(x, w).compile().as_text()
    assert "dim_labels=b01f_01io->b01f" in text
    theirs = loop(x, w, lax.conv_general_dilated)
    np.testing.assert_allclose(ours(x, w), theirs, rtol=1e-5, atol=1e-5)
