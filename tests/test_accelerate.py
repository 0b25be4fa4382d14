"""accelerate: every convolution of a program is ours afterwards, and the numbers stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxconv
from jaxconv import _compat
from jaxconv._primitive import conv_p


def conv(x, w):
    return lax.conv(x, w, (1, 1), "SAME")


@jax.custom_vjp
def with_vjp(x, w):
    return jnp.tanh(conv(x, w))


def _forward(x, w):
    y = conv(x, w)
    return jnp.tanh(y), (x, w, y)


def _backward(saved, g):
    x, w, y = saved
    return jax.vjp(conv, x, w)[1](g * (1 - jnp.tanh(y) ** 2))


with_vjp.defvjp(_forward, _backward)


@jax.custom_jvp
def with_jvp(x, w):
    return conv(x, w)


@with_jvp.defjvp
def _with_jvp_rule(primals, tangents):
    (x, w), (dx, dw) = primals, tangents
    return conv(x, w), conv(dx, w) + conv(x, dw)


def everything(x, w):
    y = jax.jit(conv)(x, w)
    y, _ = lax.scan(lambda h, _: (jnp.tanh(conv(h, w)), None), y, None, length=2)
    y = lax.cond(y.sum() > 0, lambda y: conv(y, w), lambda y: -conv(y, w), y)
    y = jax.checkpoint(conv, policy=jax.checkpoint_policies.dots_saveable)(y, w)
    return (with_jvp(with_vjp(y, w), w) ** 2).sum()


def looped(x, w):
    return lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, conv(c[1], w)), (0, x))[1]


def convolutions(fun, *args):
    """(ours, lax's) in the traced program, sub-programs included."""
    found = [0, 0]

    def walk(jaxpr):
        for eqn in jaxpr.eqns:
            found[0] += eqn.primitive is conv_p
            found[1] += eqn.primitive is _compat.lax_conv_p
            for value in eqn.params.values():
                for sub in value if isinstance(value, tuple | list) else (value,):
                    if _compat.is_jaxpr(sub):
                        walk(_compat.open_jaxpr(sub))

    walk(_compat.open_jaxpr(jax.make_jaxpr(fun)(*args)))
    return tuple(found)


@pytest.fixture(scope="module")
def operands():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 3, 6, 5)), jnp.float32)
    return x, jnp.asarray(rng.standard_normal((3, 3, 3, 3)) / 3, jnp.float32)


def close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-3, 1e-3), got, want)


@pytest.mark.parametrize("fun", [everything, jax.grad(everything, (0, 1)), looped])
def test_nothing_of_lax_is_left(operands, fun):
    mine, laxs = convolutions(fun, *operands)
    assert mine == 0 and laxs > 0
    assert convolutions(jaxconv.accelerate(fun), *operands) == (laxs, 0)
    close(jax.jit(jaxconv.accelerate(fun))(*operands), fun(*operands))


def test_differentiation_and_batching_from_outside(operands):
    fun = jaxconv.accelerate(everything)
    assert convolutions(jax.grad(fun, (0, 1)), *operands)[1] == 0
    close(jax.jit(jax.grad(fun, (0, 1)))(*operands), jax.grad(everything, (0, 1))(*operands))
    x, w = operands
    batch = jnp.stack([x, x / 2])
    want = jax.vmap(jax.grad(everything, 1), (0, None))(batch, w)
    close(jax.jit(jax.vmap(jax.grad(fun, 1), (0, None)))(batch, w), want)


def test_what_is_no_array_passes_through(operands):
    def fun(params, *, flip, name):
        out = conv(params["x"], params["w"])
        return {"y": out if not flip else -out, "name": name, "none": None}

    x, w = operands
    out = jaxconv.accelerate(fun)({"x": x, "w": np.asarray(w)}, flip=True, name="layer")
    assert out["name"] == "layer" and out["none"] is None
    close(out["y"], -conv(x, w))


def test_constants_come_back_as_arrays(operands):
    """They were what a program keeps of an array, without `at` and no `jax.Array`."""

    def program(x, w):
        return conv(x, w), jnp.array([1.0, 2.0]), jnp.asarray(2.0), jnp.asarray(3), x

    wants, gots = program(*operands), jaxconv.accelerate(program)(*operands)
    for want, got in zip(wants, gots, strict=True):
        assert isinstance(got, jax.Array)
        assert (got.dtype, got.weak_type) == (want.dtype, want.weak_type)
    assert gots[1].at[0].set(3.0)[0] == 3


def test_checkpoint_policies_save_convolutions(operands):
    policy = jax.checkpoint_policies.dots_saveable

    def inner(x, w):
        return jnp.sin(conv(jnp.sin(conv(x, w)), w)).sum()

    plain = jax.grad(jax.checkpoint(inner, policy=policy))
    fast = jax.grad(jaxconv.accelerate(jax.checkpoint(inner, policy=policy)))
    assert convolutions(fast, *operands)[0] == convolutions(plain, *operands)[1]


def test_not_a_function():
    with pytest.raises(TypeError, match="accelerate: fun must be a function"):
        jaxconv.accelerate(3)
