"""while_loop: against an unrolled loop and lax.scan; what it computes, keeps and refuses."""

import os
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from jaxconv import autograd
from jaxconv.autograd._loop import levels


def looped(w, x, n, max_steps):
    def body(c):
        return c[0] + 1, jnp.sin(w * c[1]) + 0.1

    return autograd.while_loop(lambda c: c[0] < n, body, (0, x), max_steps=max_steps)[1]


def unrolled(w, x, n):
    for _ in range(n):
        x = jnp.sin(w * x) + 0.1
    return x + 0 * w


def scanned(w, x, n):
    return lax.scan(lambda c, _: (jnp.sin(w * c) + 0.1, None), x, None, length=n)[0]


# --- values and gradients ---------------------------------------------------------------------


@pytest.mark.parametrize("max_steps", [7, 40, 2000])  # one, two and three levels of scans
def test_gradients_are_those_of_an_unrolled_loop_and_of_scan(max_steps):
    loop = jax.jit(jax.value_and_grad(lambda w, x, n: looped(w, x, n, max_steps), argnums=(0, 1)))
    for n in (0, 1, 7):
        value, gradients = loop(1.3, 0.7, n)
        np.testing.assert_allclose(value, unrolled(1.3, 0.7, n), rtol=1e-6)
        for other in (unrolled, scanned):
            wanted = jax.grad(lambda w, x, f=other, n=n: f(w, x, n), (0, 1))(1.3, 0.7)
            chex.assert_trees_all_close(gradients, wanted, rtol=1e-5)
    np.testing.assert_allclose(
        jax.jit(looped, static_argnums=3)(1.3, 0.7, 7, max_steps), unrolled(1.3, 0.7, 7), rtol=1e-6
    )


def test_many_steps():
    gradient = jax.jit(jax.grad(lambda w: looped(w, 0.7, 300, 1000)))(0.9)
    np.testing.assert_allclose(gradient, jax.grad(scanned)(0.9, 0.7, 300), rtol=1e-4)


def test_second_order():
    with jax.enable_x64(True):
        check_grads(jax.jit(lambda w: looped(w, 0.7, 2, 3)), (1.3,), order=2, modes=("fwd", "rev"))
        wanted = jax.hessian(lambda w: unrolled(w, 0.7, 5))(1.3)
        for twice in (jax.hessian, lambda f: jax.grad(jax.grad(f))):
            np.testing.assert_allclose(jax.jit(twice(lambda w: looped(w, 0.7, 5, 40)))(1.3), wanted)


def test_containers_and_what_is_closed_over():
    table = jnp.arange(1.0, 9.0)

    def run(params, x):
        def body(c):
            return {"y": c["y"] * params["w"] + table[c["i"]], "i": c["i"] + 1, "none": None}

        start = {"y": x, "i": jnp.int32(0), "none": None}
        return autograd.while_loop(lambda c: c["i"] < 4, body, start, max_steps=6)["y"].sum()

    def plain(params, x):
        for i in range(4):
            x = x * params["w"] + table[i]
        return x.sum()

    args = {"w": jnp.array([0.5, 2.0])}, jnp.ones(2)
    for g in (jax.grad, autograd.grad):
        chex.assert_trees_all_close(g(run, argnums=(0, 1))(*args), jax.grad(plain, (0, 1))(*args))


def grow(w, x):
    return autograd.while_loop(lambda y: y < 10.0, lambda y: y * w + jnp.sqrt(y), x, max_steps=50)


def test_vmap_with_different_lengths():
    xs = jnp.array([0.5, 3.0, 9.9, 12.0])

    def plain(w, x):
        while x < 10:
            x = x * w + jnp.sqrt(x)
        return x + 0 * w

    wanted = [jax.value_and_grad(plain, argnums=(0, 1))(1.2, x) for x in xs]
    wanted = jax.tree.map(lambda *leaves: jnp.stack(leaves), *wanted)
    both = jax.value_and_grad(grow, argnums=(0, 1))
    got = jax.jit(jax.vmap(both, (None, 0)))(1.2, xs)
    chex.assert_trees_all_close(got, wanted, rtol=1e-5)
    outside = jax.grad(lambda w: jax.vmap(grow, (None, 0))(w, xs).sum())(1.2)
    np.testing.assert_allclose(outside, wanted[1][0].sum(), rtol=1e-5)


def test_a_finished_example_meets_no_infinite_derivative():
    """At 0 the derivative of sqrt is infinite: the first example ends there, the second goes on."""

    def run(x):
        return autograd.while_loop(
            lambda c: c[0] > 0, lambda c: (c[0] - 1, jnp.sqrt(c[1]) - 1), x, max_steps=4
        )[1]

    def both(y):
        return jax.vmap(lambda n, y: run((n, y)))(jnp.array([1, 2]), y).sum()

    gradient = jax.grad(both)(jnp.array([1.0, 9.0]))
    inner = 1 / (2 * np.sqrt(np.sqrt(9.0) - 1))
    np.testing.assert_allclose(gradient, [0.5, inner / 6], rtol=1e-6)


def root(a):
    """By Newton's method, as docs/autograd.md has it."""

    def again(y):
        return jnp.abs(y * y - a) > 1e-5 * a

    return autograd.while_loop(again, lambda y: (y + a / y) / 2, a, max_steps=50)


@pytest.mark.parametrize("under", [lambda f: f, jax.jit])
def test_an_example_without_a_step_meets_no_infinite_derivative(under):
    """Where it stands, the body's derivative is infinite, for what it closes over too: was NaN."""
    a = jnp.array([0.0, 4.0, 9.0])
    want = [1.0, 0.25, 1 / 6]
    for derivative in (jax.grad, jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(under(jax.vmap(derivative(root)))(a), want, 1e-4)
    got = under(jax.grad(lambda a: jax.vmap(root)(a).sum()))(a)
    np.testing.assert_allclose(got, want, 1e-4)
    grid = jnp.stack([a, jnp.zeros(3), a[::-1]])
    got = under(jax.vmap(jax.vmap(jax.grad(root))))(grid)
    np.testing.assert_allclose(got, [want, [1.0] * 3, want[::-1]], 1e-4)
    second = under(jax.vmap(jax.grad(jax.grad(root))))(a[1:])
    np.testing.assert_allclose(second, -1 / 4 / a[1:] ** 1.5, 1e-3)

    def shared(a, y):
        return autograd.while_loop(
            lambda y: y > 0.0, lambda y: y - a / jnp.sqrt(y), y, max_steps=50
        )

    starts = jnp.array([0.0, 3.0])
    got = under(jax.vmap(jax.grad(shared), (None, 0)))(1.0, starts)
    np.testing.assert_allclose(got, [0.0, jax.grad(shared)(1.0, 3.0)], 1e-4)

    def closes_over(a, y):
        return autograd.while_loop(lambda y: y < 3 * a, lambda y: y + jnp.sqrt(a), y, max_steps=50)

    a = jnp.array([0.0, 1.0, 4.0])
    got = under(jax.vmap(jax.grad(closes_over), (0, None)))(a, 0.5)
    np.testing.assert_allclose(got, [0.0, 3 / 2, 6 / 4], 1e-5)


def test_what_examples_share_stays_shared():
    """A weight that all examples use is not copied for each."""
    weight = jnp.eye(64)

    def loss(w, x):
        def one(x):
            return autograd.while_loop(
                lambda y: jnp.sum(y) < 10, lambda y: w @ y + 1, x, max_steps=5
            )

        return jax.vmap(one)(x).sum()

    program = str(jax.make_jaxpr(jax.grad(loss))(weight, jnp.ones((7, 64))))
    assert "7,64" in program and "7,64,64" not in program


@pytest.mark.parametrize("examples", [(), (5,)])
def test_what_does_not_change_is_not_kept_for_each_step(examples):
    """JAX 0.12 keeps a constant of the loop once; what is made of it at each step, it kept."""

    def loss(w, x):
        def one(w, x):
            return autograd.while_loop(
                lambda y: jnp.sum(y) < 10, lambda y: jnp.tanh(w @ y) + 1, x, max_steps=32
            )

        return (jax.vmap(one) if examples else one)(w, x).sum()

    w, x = jnp.ones((*examples, 96, 96)), jnp.ones((*examples, 96))
    program = jax.jit(jax.grad(loss)).lower(w, x).compile()
    entries = program.memory_analysis().temp_size_in_bytes / 4
    if jax.__version_info__ >= (0, 12):
        assert entries < 16 * w.size
    assert entries < 40 * w.size


MESH = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, PartitionSpec as P
from jaxconv import autograd

def root(a):
    return autograd.while_loop(
        lambda y: jnp.abs(y * y - a) > 1e-5 * a, lambda y: (y + a / y) / 2, a, max_steps=50
    )

mesh = jax.make_mesh((2,), ("i",), axis_types=(AxisType.Explicit,))
with jax.set_mesh(mesh):
    a = jax.device_put(jnp.array([0.0, 4.0, 9.0, 16.0]), jax.NamedSharding(mesh, P("i")))
    got = jax.jit(jax.vmap(jax.grad(root)))(a)
np.testing.assert_allclose(got, [1, 1 / 4, 1 / 6, 1 / 8], 1e-4)
"""


def test_examples_on_several_devices():
    env = dict(os.environ, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    subprocess.run([sys.executable, "-c", MESH], env=env, check=True)


def test_inside_scan_and_of_itself():
    def step(c, t):
        return looped(1.1, c, 2, 4) * t, None

    def nested(x):
        return lax.scan(step, x, jnp.arange(1.0, 4.0))[0]

    def plain(x):
        for t in (1.0, 2.0, 3.0):
            x = unrolled(1.1, x, 2) * t
        return x

    np.testing.assert_allclose(jax.grad(nested)(0.3), jax.grad(plain)(0.3), rtol=1e-5)

    def twice(x):
        return autograd.while_loop(
            lambda c: c[0] < 2, lambda c: (c[0] + 1, looped(1.1, c[1], 3, 5)), (0, x), max_steps=3
        )[1]

    np.testing.assert_allclose(jax.grad(twice)(0.3), jax.grad(scanned, 1)(1.1, 0.3, 6), rtol=1e-5)


# --- what it costs ----------------------------------------------------------------------------


@pytest.mark.parametrize(("max_steps", "depth"), [(7, 1), (32, 1), (33, 2), (1024, 2), (1025, 3)])
def test_how_often_a_step_is_computed(max_steps, depth):
    calls = []

    def run(x):
        def body(c):
            jax.debug.callback(lambda: calls.append(1))
            return c[0] + 1, jnp.sin(c[1])

        return autograd.while_loop(lambda c: c[0] < 7, body, (0, x), max_steps=max_steps)[1]

    assert levels(max_steps) == depth
    for fun, wanted in ((run, 7), (jax.grad(run), 7 * depth)):
        calls.clear()
        jax.block_until_ready(jax.jit(fun)(1.0))
        jax.effects_barrier()
        assert len(calls) == wanted  # follows the steps taken, not max_steps


def temporaries(max_steps, size=4096):
    def run(x):
        return autograd.while_loop(
            lambda c: c[0] < 5, lambda c: (c[0] + 1, jnp.sin(c[1])), (0, x), max_steps=max_steps
        )[1].sum()

    compiled = jax.jit(jax.grad(run)).lower(jnp.ones(size)).compile()
    return compiled.memory_analysis().temp_size_in_bytes / (4 * size)


def test_memory_grows_as_the_logarithm():
    held = {steps: temporaries(steps) for steps in (32, 1024, 32**3)}
    # In values of the loop: some 32 a level and a few more for each, never in proportion.
    assert held[1024] < 3.5 * held[32]
    assert held[32**3] < 5 * held[32]
    assert held[32**3] < 32**3 / 50


def test_undifferentiated_it_is_one_while_loop():
    program = jax.make_jaxpr(lambda x: looped(1.1, x, 3, 2000))(0.5)
    text = str(program)
    assert " while[" in text and " scan[" not in text


# --- the end ----------------------------------------------------------------------------------


def up(x, max_steps=3):
    return autograd.while_loop(lambda y: y < 10.0, lambda y: y + 1, x, max_steps=max_steps)


def test_max_steps_reached_outside_jit():
    message = "while_loop: the loop must end within max_steps=3; got a loop that goes on"
    for call in (
        lambda: up(0.0),
        lambda: jax.grad(up)(0.0),
        lambda: jax.vmap(up)(jnp.array([9.0, 0.0])),
    ):
        with pytest.raises(RuntimeError, match=message):
            call()
    assert up(7.0) == 10  # exactly max_steps
    assert up(0.0, 10) == 10


def test_max_steps_reached_inside_jit():
    assert np.isnan(jax.jit(up)(0.0))
    value, gradient = jax.jit(jax.value_and_grad(up))(0.0)
    assert np.isnan(value) and np.isnan(gradient)
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(up)))(jnp.array([0.0, 7.0, 8.5]))
    np.testing.assert_array_equal(value, [np.nan, 10, 10.5])
    np.testing.assert_array_equal(gradient, [np.nan, 1, 1])

    def real(x):
        return autograd.while_loop(
            lambda c: c[1].real < 10, lambda c: (c[0] + 1, c[1] + 1), (0, x), max_steps=3
        )

    steps, z = jax.jit(real)(1 + 2j)
    assert steps == 3 and np.isnan(z.real) and np.isnan(z.imag)


# --- what it refuses --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cond", "body", "init", "max_steps", "error", "message"),
    [
        (
            lambda c: c["n"] < 3,
            lambda c: {"n": c["n"] + 1, "y": jnp.ones(2)},
            {"n": 0, "y": jnp.ones(3)}, 5, TypeError,
            r"shape and dtype of init_val\['y'\] float32\[3\]; got float32\[2\] after one step",
        ),
        (
            lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1].astype(jnp.float16)),
            (0, jnp.ones(3)), 5, TypeError,
            r"dtype of init_val\[1\] float32\[3\]; got float16\[3\]",
        ),
        (
            lambda y: y < 1, lambda y: y + 0.5, jnp.int32(0), 5, TypeError,
            r"of init_val int32\[\]; got float32\[\]",
        ),
        (
            lambda y: y < 1, lambda y: (y, y), 0.0, 5, TypeError,
            r"init_val, \*; got \(\*, \*\) after .* no init_val and a new init_val\[0\]",
        ),
        (
            lambda c: c["a"] < 1, lambda c: {"a": c["a"], "c": c["b"]}, {"a": 0.0, "b": 1.0}, 5,
            TypeError, r"with no init_val\['b'\] and a new init_val\['c'\]. Return",
        ),
        (lambda c: c[0] < 1, list, (0.0, 1.0), 5, TypeError, r"\(\*, \*\); got \[\*, \*\] after"),
        (lambda y: y < 1, lambda y: "x", 0.0, 5, TypeError, "array for init_val; got a str. Keep"),
        (lambda y: y, lambda y: y, 0.0, 5, TypeError, r"boolean scalar, bool\[\]; got float32\[\]"),
        (lambda y: y < 1, lambda y: y, jnp.ones(2), 5, TypeError, r"bool\[\]; got bool\[2\]"),
        (lambda y: (y < 1, y), lambda y: y, 0.0, 5, TypeError, r"bool\[\]; got a tuple"),
        (lambda y: None, lambda y: y, 0.0, 5, TypeError, r"bool\[\]; got a NoneType"),
        (lambda y: y < 1, lambda y: y, "x", 5, TypeError, "init_val must be an array; got a str"),
        (lambda y: y < 1, lambda y: y, 0.0, 0, ValueError, "must be 1 or more; got max_steps=0"),
        (
            lambda y: y < 1, lambda y: y, {"s": np.array(["x"])}, 5, TypeError,
            r"init_val\['s'\] must be an array; got an ndarray of dtype <U1",
        ),
        (lambda y: y < 1, lambda y: y, 0.0, 2**31, ValueError, "must be at most 2147483647"),
        (lambda y: y < 1, lambda y: y, 0.0, True, TypeError, "integer .* got max_steps=True"),
        (lambda y: y < 1, lambda y: y, 0.0, 2.0, TypeError, "must be an integer known when traced"),
        (None, lambda y: y, 0.0, 5, TypeError, "cond_fun must be callable; got a NoneType"),
        (lambda y: y < 1, 3, 0.0, 5, TypeError, "body_fun must be callable; got an int"),
    ],
)  # fmt: skip
def test_refused(cond, body, init, max_steps, error, message):
    with pytest.raises(error, match=f"^while_loop: .*{message}"):
        autograd.while_loop(cond, body, init, max_steps=max_steps)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_python_number_takes_a_narrower_dtype_too(dtype):
    def body(y):
        return y * jnp.asarray(1.5, dtype)

    want = lax.while_loop(lambda y: y < 10, body, 1.0)
    got = autograd.while_loop(lambda y: y < 10, body, 1.0, max_steps=20)
    assert got == want and jnp.result_type(got) == jnp.result_type(want) == dtype


def test_a_python_number_takes_the_bodys_dtype():
    assert autograd.while_loop(lambda y: y < 1, lambda y: y + 0.5, 0, max_steps=5) == 1.0
    with pytest.raises(TypeError, match="max_steps"):
        jax.jit(lambda n: up(0.0, n))(3)
