"""Every row and value of the lecture, through the library."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxconv
from jaxconv import autograd
from jaxconv.cli.lecture.listings import LISTINGS, SECTIONS

# --- 1. One-dimensional convolution


def test_a_band_matrix_is_sparse_and_stationary():
    n, k = 9, 3
    kernel = np.float32([2, -1, 5])
    matrix = np.asarray(jaxconv.conv_matrix(jnp.asarray(kernel[None, None]), (n,)).todense())
    assert matrix.shape == (n - k + 1, n)
    for i, row in enumerate(matrix):
        np.testing.assert_array_equal(row[i : i + k], kernel)
        assert not row[:i].any() and not row[i + k :].any()
        np.testing.assert_array_equal(row, np.roll(matrix[0], i))
    x = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    np.testing.assert_allclose(
        matrix @ x, jaxconv.conv1d(x[None], kernel[None, None])[0], rtol=1e-5, atol=1e-5
    )


def test_m_kernels_give_m_feature_maps():
    n, k, m = 40, 7, 5
    rng = np.random.default_rng(1)
    x = rng.standard_normal((1, n)).astype(np.float32)
    weight = rng.standard_normal((m, 1, k)).astype(np.float32)
    maps = jaxconv.conv1d(x, weight)
    assert maps.shape == (m, n - k + 1)
    for i in range(m):
        np.testing.assert_allclose(
            maps[i], np.correlate(x[0], weight[i, 0], "valid"), rtol=1e-4, atol=1e-5
        )


def test_one_output_is_a_scalar_product():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 12)).astype(np.float32)  # stereo: the kernel is 2 thick
    kernel = rng.standard_normal((2, 3)).astype(np.float32)
    y = jaxconv.conv1d(x, kernel[None])[0]
    for i in range(10):
        by_layer = [x[c, i : i + 3] @ kernel[c] for c in range(2)]
        np.testing.assert_allclose(y[i], sum(by_layer), rtol=1e-4, atol=1e-5)


# --- 2. Kernel sizes and output width


@pytest.mark.parametrize(
    ("function", "sizes", "kernel", "padding", "weight", "input", "output"),
    [
        (jaxconv.conv1d, (2, 16), 3, 0, (16, 2, 3), (1, 2, 64), (1, 16, 62)),
        (jaxconv.conv1d, (2, 16), 5, 0, (16, 2, 5), (1, 2, 64), (1, 16, 60)),
        (
            jaxconv.conv2d, (20, 16), (3, 5), 0,
            (16, 20, 3, 5), (1, 20, 64, 128), (1, 16, 62, 124),
        ),
        (
            jaxconv.conv2d, (20, 16), (3, 5), (1, 2),
            (16, 20, 3, 5), (1, 20, 64, 128), (1, 16, 64, 128),
        ),
    ],
)  # fmt: skip
def test_output_width(function, sizes, kernel, padding, weight, input, output):
    layer = jaxconv.init_conv(jax.random.key(0), *sizes, kernel, ndim=len(input) - 2)
    assert layer["weight"].shape == weight
    assert layer["bias"].shape == (16,)
    x = jnp.ones(input)
    y = function(x, layer["weight"], layer["bias"], stride=1, padding=padding)
    assert y.shape == output
    if padding:
        by_hand = jnp.pad(x, [(0, 0), (0, 0), (1, 1), (2, 2)])
        np.testing.assert_allclose(
            y, function(by_hand, layer["weight"], layer["bias"]), rtol=1e-4, atol=1e-5
        )


def test_parameters_of_a_layer():
    parameters = inspect.signature(jaxconv.conv2d).parameters
    defaults = {name: parameters[name].default for name in ("stride", "padding", "dilation")}
    assert defaults == {"stride": 1, "padding": 0, "dilation": 1}
    assert parameters["groups"].default == 1
    assert parameters["padding_mode"].default == "zeros"
    layer = jaxconv.init_conv(jax.random.key(0), 2, 4, 3, ndim=1)
    for mode in ("zeros", "circular", "reflect", "replicate"):
        y = jaxconv.conv1d(jnp.ones((1, 2, 8)), layer["weight"], padding=1, padding_mode=mode)
        assert y.shape == (1, 4, 8)


# --- 3. How automatic differentiation works

X = jnp.array([[1.0, 2.0], [3.0, 4.0]])


def _a(x):
    y = x - 2
    z = 3 * y**2
    return jnp.mean(z)


def test_y_knows_what_made_it():
    y = autograd.graph(lambda x: x - 2)(X).outputs[0]
    assert y.name == "sub"
    leaf = y.inputs[0]
    assert leaf.value is X and leaf.label == "x"
    assert leaf.inputs == ()


def test_the_gradient_by_hand_and_by_backward():
    for gradient in (jax.grad(_a)(X), autograd.grad(_a)(X), 3 / 2 * X - 3):
        np.testing.assert_allclose(gradient, [[-1.5, 0], [1.5, 3]], rtol=1e-6)
    assert autograd.value_and_grad(_a)(X)[0] == 4.5


def test_the_jacobian_is_the_gradients_transpose():
    x = jnp.array([1.0, 2.0, 3.0])
    gradient = autograd.grad(lambda x: (x * x).sum())(x)
    jacobian = jax.jacobian(lambda x: (x * x).sum(keepdims=True))(x)
    assert gradient.shape == (3,) and jacobian.shape == (1, 3)
    np.testing.assert_array_equal(jacobian.T[:, 0], gradient)


# --- 4. A loop whose length depends on the data

V = jnp.array([0.1, 1.0, 0.0001])


def _double(x):
    return autograd.while_loop(
        lambda s: jnp.linalg.norm(s[0]) < 1000,
        lambda s: (2 * s[0], s[1] + 1),
        (2 * x, 0),
        max_steps=100,
    )


@pytest.mark.parametrize("x", [[-0.4, 1.2, 0.7], [3, 4, 0], [0.01, 0, 0], [999, 999, 999]])
def test_the_gradient_tells_how_often_the_loop_ran(x):
    x = jnp.asarray(x, jnp.float32)
    y, i = 2 * np.asarray(x), 0
    while np.linalg.norm(y) < 1000:
        y, i = 2 * y, i + 1
    final, steps = _double(x)
    assert steps == i
    np.testing.assert_array_equal(final, y)
    gradient = jax.jit(jax.grad(lambda x: _double(x)[0] @ V))(x)
    np.testing.assert_allclose(gradient, V * 2.0 ** (i + 1), rtol=1e-6)
    if i == 9:  # the lecture's run
        np.testing.assert_allclose(gradient, [102.4, 1024, 0.1024], rtol=1e-6)


def test_lax_has_no_reverse_mode():
    def through_lax(x):
        return jax.lax.while_loop(lambda y: jnp.linalg.norm(y) < 1000, lambda y: 2 * y, x).sum()

    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(through_lax)(jnp.ones(3))


# --- 5. Inference: who takes part in the gradient


def test_who_is_marked():
    x, w = jnp.array([1.0, 2.0, 3.0]), jnp.ones(3)

    def z(x, w):
        return w @ x

    x_grad, w_grad = autograd.grad(z, argnums=(0, 1))(x, w)
    np.testing.assert_array_equal(x_grad, [1, 1, 1])
    np.testing.assert_array_equal(w_grad, [1, 2, 3])
    np.testing.assert_array_equal(autograd.grad(z, argnums=1)(x, w), [1, 2, 3])
    with pytest.raises(RuntimeError, match=r"at least one argument must be marked"):
        autograd.grad(z, argnums=())(x, w)


def test_inside_no_grad_backward_is_an_error():
    x, w = jnp.array([1.0, 2.0, 3.0]), jnp.ones(3)
    frozen = autograd.no_grad(lambda w: w @ x)
    np.testing.assert_array_equal(jax.grad(frozen)(w), np.zeros(3))  # JAX says nothing
    with pytest.raises(RuntimeError, match=r"none for w float32\[3\] \(cut by no_grad at "):
        autograd.grad(frozen)(w)


# Section 6 is in test_autograd_rules.py.

# --- the listings of `python -m jaxconv lecture`


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda listing: listing.run.__name__)
def test_listing_agrees(listing):
    assert listing.expected
    assert listing.disagreements(listing.run()) == []


def test_listings_cover_the_lecture():
    assert sorted({listing.section for listing in LISTINGS}) == sorted(SECTIONS)


def test_a_listing_can_disagree():
    listing = next(one for one in LISTINGS if one.run.__name__ == "only_w")
    values = {"w_grad": jnp.array([1.0, 2.0, 4.0])}
    assert len(listing.disagreements(values)) == 1
    assert "the lecture has [1, 2, 3]" in listing.disagreements(values)[0]
