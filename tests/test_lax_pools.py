"""lax's max pooling under accelerate and install: the same numbers, derivatives of every order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxconv
from jaxconv import _compat, _lax_pools


@pytest.fixture(autouse=True)
def clean():
    jaxconv.uninstall()
    yield
    jaxconv.uninstall()


def pool(x, size, stride, padding):
    return lax.reduce_window(x, -jnp.inf, lax.max, size, stride, padding)


def names(fun, *args):
    """The primitives of a traced program, without those of its sub-programs."""
    return [e.primitive.name for e in jax.make_jaxpr(fun)(*args).jaxpr.eqns]


# Ties: of seven values at ninety places and more.
def ties(*shape, dtype=jnp.float32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).integers(-3, 4, shape), dtype)


CASES = [
    ((2, 3, 8, 9), (1, 1, 2, 2), (1, 1, 2, 2), "VALID"),
    ((2, 3, 8, 9), (1, 1, 3, 3), (1, 1, 2, 2), ((0, 0), (0, 0), (1, 1), (1, 1))),
    ((2, 8, 9, 3), (1, 3, 2, 1), (1, 1, 1, 1), "SAME"),
    ((2, 9, 8, 3), (1, 3, 3, 1), (1, 2, 2, 1), "SAME"),
    ((2, 9, 8, 3), (1, 2, 3, 1), (1, 3, 4, 1), ((0, 0), (0, 1), (2, 1), (0, 0))),
    ((2, 17, 3), (1, 5, 1), (1, 2, 1), ((0, 0), (4, 3), (0, 0))),
    ((2, 3, 4, 6, 5), (1, 1, 2, 3, 2), (1, 1, 2, 1, 2), "SAME"),
    ((4, 6), (2, 3), (1, 2), "VALID"),
    ((2, 6, 3), (1, 6, 3), (1, 1, 1), "VALID"),
    ((5, 7), (1, 1), (2, 3), "VALID"),
]


@pytest.mark.parametrize(
    "shape, size, stride, padding, dtype",
    [*((*case, jnp.float32) for case in CASES), (*CASES[1], jnp.bfloat16)],
)
def test_values_and_gradients(shape, size, stride, padding, dtype):
    """Integers as floats, so that sums are exact and windows tie."""
    x = ties(*shape, dtype=dtype)
    weights = ties(*pool(x, size, stride, padding).shape, dtype=dtype, seed=1)

    def loss(x, weights):
        return (pool(x, size, stride, padding) * weights).sum()

    def both(x, weights, dx):
        value = pool(x, size, stride, padding)
        return value, jax.grad(loss, (0, 1))(x, weights), jax.jvp(loss, (x, weights), (dx, weights))

    args = x, weights, ties(*shape, dtype=dtype, seed=2)
    fast, inside = jaxconv.accelerate(both), jax.grad(jaxconv.accelerate(loss), (0, 1))
    left = {"reduce_window_max", "select_and_scatter_add"}
    assert left & set(names(both, *args)) and not left & set(names(fast, *args))
    wants = jax.jit(both)(*args)
    gots = jax.jit(lambda x, weights, dx: (fast(x, weights, dx), inside(x, weights)))(*args)
    jax.tree.map(np.testing.assert_array_equal, gots, (wants, wants[1]))
    jaxconv.install()
    program = jax.jit(both).lower(*args)
    assert "select_and_scatter" not in program.as_text()
    jax.tree.map(np.testing.assert_array_equal, program.compile()(*args), wants)


def test_second_order_and_vmap():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((3, 2, 6, 6)), jnp.float32)

    def loss(x):
        return (pool(x**2, (1, 3, 3), (1, 2, 2), "SAME") ** 3).sum()

    def penalty(fun):
        return lambda x: (jax.grad(fun)(x) ** 2).sum()

    want = jax.vmap(jax.grad(penalty(loss)))(x)
    for fun in (penalty(jaxconv.accelerate(loss)), jaxconv.accelerate(penalty(loss))):
        np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(fun)))(x), want, 1e-5, 1e-4)
    outermost = jaxconv.accelerate(jax.vmap(jax.grad(penalty(loss))))
    np.testing.assert_allclose(jax.jit(outermost)(x), want, 1e-5, 1e-4)


def test_infinite_windows_and_nan():
    """All of a window -inf: the first in it has the gradient; NaN: it has. Both as in PyTorch."""
    x = jnp.asarray([[-jnp.inf, -jnp.inf, 1.0, jnp.nan, 3.0, 2.0]])
    fun = jax.grad(lambda x: pool(x, (1, 2), (1, 2), "VALID").sum())
    np.testing.assert_array_equal(jaxconv.accelerate(fun)(x), [[1, 0, 0, 1, 1, 0]])
    padded = jax.grad(lambda x: pool(x, (1, 3), (1, 2), ((0, 0), (2, 0))).sum())
    np.testing.assert_array_equal(jaxconv.accelerate(padded)(x[:, :2]), [[1, 0]])


LEFT = {
    "dilated": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (1, 2), (1, 1), "VALID", window_dilation=(1, 2)
    ),
    "long": lambda x: pool(x, (4, 9), (1, 1), "VALID"),
    "all padding": lambda x: pool(x, (1, 2), (1, 2), ((0, 0), (4, 0))),
    "integers": lambda x: lax.reduce_window(
        x.astype(jnp.int32), jnp.iinfo(jnp.int32).min, lax.max, (2, 2), (1, 1), "VALID"
    ),
    "weakly typed": lambda x: pool(lax.broadcast(2.0, x.shape) + 0.0, (2, 2), (1, 1), "VALID"),
    "another reduction": lambda x: lax.reduce_window(x, jnp.inf, lax.min, (2, 2), (1, 1), "VALID"),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_to_lax(name):
    x, fun = ties(4, 9), LEFT[name]
    assert names(jaxconv.accelerate(fun), x) == names(fun, x)
    want = fun(x)
    assert jaxconv.accelerate(fun)(x).weak_type == want.weak_type
    jaxconv.install()
    np.testing.assert_array_equal(jax.jit(fun)(x), want)


def test_symbolic_sizes_are_left_to_lax():
    (n,) = jax.export.symbolic_shape("n")
    fun = functools.partial(pool, size=(1, 2), stride=(1, 2), padding="VALID")
    x = ties(3, 8)
    for call in (jaxconv.accelerate(fun), fun):
        exported = jax.export.export(jax.jit(call))(jax.ShapeDtypeStruct((n, 8), jnp.float32))
        np.testing.assert_array_equal(exported.call(x), fun(x))
        jaxconv.install()


@pytest.mark.parametrize("platforms", [["cpu", "tpu"], ["cuda", "tpu"]])
def test_exported_for_several_platforms_under_install(platforms):
    def loss(x):
        return pool(x, (1, 2), (1, 2), "VALID").sum()

    jaxconv.install()
    exported = jax.export.export(jax.jit(jax.grad(loss)), platforms=platforms)(ties(3, 8))
    if "cpu" in platforms:
        np.testing.assert_array_equal(exported.call(ties(3, 8)), jax.grad(loss)(ties(3, 8)))


def test_uninstall_leaves_the_rules_that_were_there():
    before = [_compat._CPU.get(p) for p in _lax_pools.FUNCTIONS]
    jaxconv.install()
    assert all(_compat._CPU[p] is not old for p, old in zip(_lax_pools.FUNCTIONS, before))
    jaxconv.uninstall()
    assert [_compat._CPU.get(p) for p in _lax_pools.FUNCTIONS] == before


def test_the_same_pool_is_one_program():
    def twice(x):
        a = pool(x, (1, 2), (1, 2), "VALID") + 1
        return pool(x * 2, (1, 2), (1, 2), "VALID") + a

    traced = jax.make_jaxpr(jaxconv.accelerate(twice))(ties(4, 8))
    calls = [e.params["jaxpr"] for e in traced.jaxpr.eqns if e.primitive.name in ("jit", "pjit")]
    assert len(calls) == 2 and calls[0] is calls[1]
