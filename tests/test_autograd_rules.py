"""add, split and max: the lecture's numbers, ties, transformations, and what they refuse."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxconv import autograd

X1 = np.float32([1, 4, 2])
X2 = np.float32([3, 0, -1])


def test_add_gives_the_gradient_to_both():
    def z(x1, x2):
        return jnp.mean(autograd.add(x1, x2))

    np.testing.assert_array_equal(autograd.add(X1, X2), X1 + X2)
    for transform in (lambda f: f, jax.jit):
        for gradient in transform(jax.grad(z, argnums=(0, 1)))(X1, X2):
            np.testing.assert_allclose(gradient, np.full(3, 1 / 3), rtol=1e-6)


def test_split_adds_the_gradients():
    x = jnp.arange(4.0)
    x1, x2 = autograd.split(x)
    np.testing.assert_array_equal(x1, x)
    np.testing.assert_array_equal(x2, x)

    def z(x1, x2):
        return jnp.mean(x1 + x2)

    for branch in jax.grad(z, argnums=(0, 1))(x1, x2):
        np.testing.assert_array_equal(branch, np.full(4, 1 / 4))
    np.testing.assert_array_equal(jax.grad(lambda x: z(*autograd.split(x)))(x), np.full(4, 1 / 2))


def test_one_copy_unused():
    x = jnp.arange(1.0, 4.0)
    gradient = jax.grad(lambda x: jnp.sum(autograd.split(x)[1] ** 2))(x)
    np.testing.assert_array_equal(gradient, 2 * x)


def test_add_and_split_are_each_others_duals():
    _, back_add = jax.vjp(autograd.add, X1, X2)
    chex.assert_trees_all_equal(back_add(X1), autograd.split(X1))
    _, back_split = jax.vjp(autograd.split, X1)
    chex.assert_trees_all_equal(back_split((X1, X2)), (autograd.add(X1, X2),))


@pytest.mark.parametrize(
    ("x", "gradient"),
    [
        ([1, 3, 4, 2], [0, 0, 2, 0]),
        ([1, 2, 2], [0, 2, 2]),  # every tied entry, all of it
        ([[5, 1], [5, 5]], [[2, 0], [2, 2]]),
        ([-np.inf, -np.inf], [2, 2]),
        ([np.inf, 0], [2, 0]),
        (7, 2),
    ],
)
def test_max_gives_the_gradient_to_the_largest(x, gradient):
    x = jnp.asarray(x, jnp.float32)
    value, pull = jax.vjp(autograd.max, x)
    assert value.shape == () and value == np.max(x)
    np.testing.assert_array_equal(pull(jnp.float32(2))[0], np.float32(gradient))


def test_ties_of_three_rules():
    x = jnp.array([1.0, 2.0, 2.0])
    np.testing.assert_array_equal(jax.grad(autograd.max)(x), [0, 1, 1])
    np.testing.assert_array_equal(jax.grad(jnp.max)(x), [0, 0.5, 0.5])
    torch = pytest.importorskip("torch", reason="torch has no wheel for this Python")
    t = torch.tensor([1.0, 2.0, 2.0], requires_grad=True)
    torch.max(t, 0).values.backward()
    assert sorted(t.grad.tolist()) == [0, 0, 1]


@pytest.mark.optimised
def test_max_of_nan_has_no_largest():
    value, gradient = jax.value_and_grad(autograd.max)(jnp.array([1.0, jnp.nan]))
    assert np.isnan(value)
    np.testing.assert_array_equal(gradient, [0, 0])


def test_vmap():
    rows = jnp.array([[1.0, 3.0, 2.0], [4.0, 4.0, 0.0]])
    np.testing.assert_array_equal(jax.vmap(autograd.max)(rows), [3, 4])
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(jax.grad(autograd.max)))(rows), [[0, 1, 0], [1, 1, 0]]
    )
    np.testing.assert_array_equal(
        jax.vmap(autograd.add, in_axes=(0, None))(rows, rows[0]), rows + rows[0]
    )
    chex.assert_trees_all_equal(jax.vmap(autograd.split)(rows), (rows, rows))
    gradient = jax.grad(lambda x: jax.vmap(autograd.max)(x * x).sum())(rows)
    np.testing.assert_array_equal(gradient, [[0, 6, 0], [8, 8, 0]])


def _net(x, w):
    a, b = autograd.split(jnp.sin(x @ w))
    return autograd.max(autograd.add(a * a, jnp.exp(b)))


def _same_net(x, w):
    a = jnp.sin(x @ w)
    return jnp.max(a * a + jnp.exp(a))


def test_inside_larger_functions():
    x = np.random.default_rng(0).standard_normal((3, 4))
    w = np.random.default_rng(1).standard_normal((4, 5))
    with jax.enable_x64(True):
        check_grads(jax.jit(_net), (x, w), order=1, modes=("rev",))
        for fun in (jax.jit(_net), jax.checkpoint(_net)):
            chex.assert_trees_all_close(
                jax.grad(fun, argnums=(0, 1))(x, w),
                jax.grad(_same_net, argnums=(0, 1))(x, w),
                rtol=1e-12,
            )

        def step(c, _):
            return jnp.full(4, 0.1) * _net(c[None], w) + c, None

        def scanned(x):
            return jax.lax.scan(step, x, None, length=3)[0].sum()

        check_grads(jax.jit(scanned), (x[0],), order=2, modes=("rev",))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_dtypes(dtype):
    x = jnp.asarray([1, 3, 2], dtype)
    total, pull = jax.vjp(autograd.add, x, x)
    assert total.dtype == dtype
    chex.assert_trees_all_equal(pull(x), (x, x))
    assert autograd.split(x)[0].dtype == dtype
    if dtype != "complex64":
        value, pull = jax.vjp(autograd.max, x)
        assert value.dtype == pull(value)[0].dtype == dtype


def test_by_keyword():
    np.testing.assert_array_equal(autograd.add(x2=X2, x1=X1), X1 + X2)
    assert autograd.max(x=X1) == 4 and autograd.split(x=X1)[1][1] == 4


def test_numbers():
    assert autograd.add(1.5, 2.0) == 3.5
    assert jax.grad(autograd.add)(1.5, 2.0) == 1
    assert autograd.max(2.5) == 2.5
    assert jax.grad(autograd.max)(2.5) == 1
    assert autograd.split(0.5)[1] == 0.5


@pytest.mark.parametrize(
    ("fun", "args", "error", "message"),
    [
        (autograd.add, ([1.0], X1), TypeError, "add: x1 must be an array; got a list"),
        (autograd.add, (X1, [1.0]), TypeError, "add: x2 must be an array; got a list"),
        (
            autograd.add,
            (X1, X2[:2]),
            ValueError,
            r"one shape; got x1 float32\[3\], x2 float32\[2\]. Broadcast",
        ),
        (
            autograd.add,
            (X1, X2.astype(np.float16)),
            TypeError,
            r"one dtype; got x1 float32\[3\], x2 float16\[3\]",
        ),
        (autograd.add, (np.arange(3), X1), TypeError, "x1 must be of a float or complex dtype"),
        (autograd.add, ("x", X1), TypeError, "add: x1 must be an array; got a str. Give an array"),
        (autograd.add, (X1, b"x"), TypeError, "add: x2 must be an array; got a bytes. Give"),
        (autograd.split, (object(),), TypeError, "split: x must be an array; got an object. Conv"),
        (autograd.max, (jnp.sin,), TypeError, "max: x must be an array; got a PjitFunction. Give"),
        (
            autograd.max,
            (np.array(["x"]),),
            TypeError,
            "max: x must be an array; got an ndarray of dtype <U1. Give",
        ),
        (
            autograd.add,
            (X1,),
            TypeError,
            "add: the arguments must be x1 and x2; got 1 .* 'x2'",
        ),
        (autograd.max, (X1, 0), TypeError, "max: the arguments must be x; got 2 "),
        (autograd.split, (None,), TypeError, "split: x must be an array; got a NoneType"),
        (autograd.split, (np.arange(3),), TypeError, "split: x must be of a float or complex"),
        (autograd.max, ((1.0, 2.0),), TypeError, "max: x must be an array; got a tuple"),
        (autograd.max, (np.ones(2, bool),), TypeError, r"got x bool\[2\]. Convert it"),
        (
            autograd.max,
            (np.ones(2, np.complex64),),
            TypeError,
            r"max: x must be real; got x complex64\[2\]",
        ),
        (autograd.max, (np.ones((2, 0), np.float32),), ValueError, r"entry; got x float32\[2,0\]"),
    ],
)
def test_refused(fun, args, error, message):
    with pytest.raises(error, match=message):
        fun(*args)
