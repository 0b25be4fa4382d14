"""Strict gradients: what is cut, where, and that the values are those of jax.grad."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxconv import autograd
from jaxconv.autograd import NoGradientError

X = jnp.array([0.5, 1.5, 2.5])


def line(fun, offset=0):
    return f"test_autograd_strict.py:{fun.__code__.co_firstlineno + offset}"


def cuts(caught, path):
    found = caught.value.cuts[path]
    assert found is not None
    return found


# --- what is cut ------------------------------------------------------------------------------


@jax.custom_vjp
def zeros_vjp(x):
    return 2 * x


zeros_vjp.defvjp(lambda x: (2 * x, None), lambda _, dy: (jnp.zeros_like(dy),))


@jax.custom_jvp
def zeros_jvp(x):
    return 2 * x


zeros_jvp.defjvp(lambda primals, tangents: (zeros_jvp(*primals), jnp.zeros_like(tangents[0])))


@jax.custom_vjp
def honest(x):
    return jnp.sin(x)


honest.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (dy * jnp.cos(x),))


def counted(x):
    """How often the body runs depends on x, and nothing else does."""
    return lax.while_loop(lambda c: c[1] < x.sum(), lambda c: (c[0] * 2, c[1] + 1), (1.0, 0))[0]


def scanned(x):
    return lax.scan(lambda c, t: (c + lax.stop_gradient(t), None), 0.0, x)[0]


def chosen(x):
    return lax.cond(x[0] > 0, lambda: 1.0, lambda: 2.0)


def stopped_at_every_step(x):
    """Only a scan of no steps would let the gradient through; this one takes three."""
    return lax.scan(lambda c, _: (lax.stop_gradient(c) + 1, None), x.sum(), None, length=3)[0]


def stopped_at_the_last_of_many_steps(x):
    def step(c, _):  # a row of 99 places: what comes in leaves it after 99 steps
        return jnp.append(c[1:], 0.0), c[0]

    return lax.scan(step, jnp.append(jnp.zeros(98), jnp.floor(x[0])), None, length=200)[1].sum()


def a_row(x):
    """Seventy values handed on, one place a step: more states than are followed one by one."""

    def step(c, _):
        return (0.0, *c[:-1]), c[-1]

    return lax.scan(step, (jnp.floor(x).sum(), *[0.0] * 69), None, length=200)[1].sum()


@jax.custom_vjp
def floors(x):
    return jnp.floor(x) * 2


floors.defvjp(lambda x: (floors(x), None), lambda _, dy: (jnp.zeros_like(dy),))


def cut_in_a_loop(x):
    return autograd.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.floor(x).sum()), (0, 1.0), max_steps=5
    )[1]


def counted_here(x):
    return autograd.while_loop(
        lambda c: c[1] < x.sum(), lambda c: (c[0] * 2, c[1] + 1), (1.0, 0), max_steps=9
    )[0]


CUT = {
    "stop_gradient": (lambda x: jnp.sum(lax.stop_gradient(x) * 2), "stop_gradient"),
    "no_grad": (lambda x: jnp.sum(autograd.no_grad(jnp.sin)(x)), "no_grad"),
    "conversion": (lambda x: jnp.sum(x.astype(int).astype(float)), "conversion to int32"),
    "comparison": (lambda x: jnp.sum(jnp.where(x > 1, 1.0, 0.0)), "gt"),
    "boolean": (lambda x: jnp.sum((x == 1).astype(float)), "eq"),
    "floor": (lambda x: jnp.sum(jnp.floor(x)), "floor"),
    "ceil": (lambda x: jnp.sum(jnp.ceil(x)), "ceil"),
    "round": (lambda x: jnp.sum(jnp.round(x)), "round"),
    "sign": (lambda x: jnp.sum(jnp.sign(x)), "sign"),
    "argmax": (lambda x: jnp.argmax(x).astype(float), "argmax"),
    "custom_vjp": (lambda x: zeros_vjp(x).sum(), "the custom_vjp of zeros_vjp"),
    "custom_jvp": (lambda x: zeros_jvp(x).sum(), "the custom_jvp of zeros_jvp"),
    "jit": (lambda x: jax.jit(lambda y: jnp.floor(y).sum())(x), "floor"),
    "checkpoint": (lambda x: jax.checkpoint(lambda y: jnp.floor(y).sum())(x), "floor"),
    "scan": (scanned, "stop_gradient"),
    "while": (counted, "lt"),
    "cond": (chosen, "gt"),
    "vmap": (lambda x: jax.vmap(jnp.floor)(x).sum(), "floor"),
    "every step": (stopped_at_every_step, "stop_gradient"),
    "a long scan": (stopped_at_the_last_of_many_steps, "floor"),
    "a row": (a_row, "floor"),
    "inside a rule": (lambda x: floors(x).sum(), "floor"),
    "our loop": (cut_in_a_loop, "floor"),
    "our loop's length": (counted_here, "lt"),
    "in a rule": (lambda x: honest(jnp.floor(x)).sum(), "floor"),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_cut(name):
    fun, operation = CUT[name]
    np.testing.assert_array_equal(jax.grad(fun)(X), np.zeros(3))  # what JAX says
    with pytest.raises(NoGradientError) as caught:
        autograd.grad(fun)(X)
    (cut,) = cuts(caught, "x")
    assert cut.operation == operation
    within = inspect.unwrap(floors) if name == "inside a rule" else fun
    assert cut.source in {line(within, i) for i in range(7)}
    said = str(caught.value)
    assert f"none for x float32[3] (cut by {operation}" in said
    assert "expect zeros with allow_unused=('x',)" in said
    # The same inside jit, and when asked for the value too.
    with pytest.raises(NoGradientError, match="value_and_grad: every leaf must have"):
        jax.jit(autograd.value_and_grad(fun))(X)
    if name in ("floor", "scan"):
        np.testing.assert_array_equal(autograd.grad(fun, allow_unused=("x",))(X), np.zeros(3))


def test_unused():
    message = r"none for w float32\[3\] \(the output does not use it\). Use it, or expect zeros"
    with pytest.raises(NoGradientError, match=message):
        autograd.grad(lambda x, w: x.sum(), argnums=(0, 1))(X, X)


def test_many_leaves_are_counted():
    params = {f"layer{i}": X for i in range(20)}
    with pytest.raises(NoGradientError, match=r"and 12 more\. .*'\]\", \.\.\.\)\.$") as caught:
        autograd.grad(lambda p: sum(jnp.floor(x).sum() for x in p.values()))(params)
    assert len(caught.value.cuts) == 20 and "layer9" not in str(caught.value)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit])
def test_a_loop_of_laxs_is_told_of_ours(transform):
    def fun(x):
        y = autograd.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1]), (0, x), max_steps=3)
        return lax.while_loop(lambda y: y.sum() < 50, lambda y: y * 2, y[1]).sum()

    def inside_a_scan(x):
        return lax.scan(lambda c, _: (fun(c) + x, None), x, None, length=2)[0].sum()

    message = (
        "grad: a loop that the gradient passes must have a reverse mode; "
        rf"got lax.while_loop at {line(fun, 2)} "
        r"\(or a .*\). Use jaxconv.autograd.while_loop, which takes max_steps, or jax.lax.scan"
    )
    for cut_short in (fun, inside_a_scan):
        with pytest.raises(ValueError, match=message):
            transform(autograd.grad(cut_short))(X)

    def looks(x):
        return lax.while_loop(lambda y: y < 50, lambda y: y * 2, x) if x > 0 else x

    with pytest.raises(ValueError, match=r"got lax.while_loop \(or a fori_loop"):
        autograd.grad(looks)(1.0)
    with pytest.raises(ValueError, match="do not support JVP"):  # other errors are JAX's
        autograd.grad(lambda x: jax.pure_callback(lambda x: x, x, x))(1.0)


def test_every_cut_is_named():
    def fun(x):
        return jnp.sum(jnp.floor(x)) + jnp.sum(jnp.sign(x))

    with pytest.raises(NoGradientError) as caught:
        autograd.grad(fun)(X)
    assert [str(cut) for cut in cuts(caught, "x")] == [
        f"floor at {line(fun, 1)}", f"sign at {line(fun, 1)}"
    ]  # fmt: skip


def test_the_source_is_the_users_line():
    def fun(x):
        y = x * 2
        z = jnp.round(y)
        return z.sum()

    with pytest.raises(NoGradientError, match=f"cut by round at {line(fun, 2)}"):
        autograd.grad(fun)(X)
    frozen = autograd.no_grad(lambda x: x.sum())
    with pytest.raises(NoGradientError, match=r"no_grad at test_autograd_strict.py:\d+\)"):
        autograd.grad(frozen)(X)
    with pytest.raises(NoGradientError, match=r"no_grad at test_autograd_strict.py:\d+\)"):
        autograd.grad(jax.jit(frozen))(X)


def test_leaves_are_named_by_path():
    params = {"conv1": {"weight": X, "bias": X}, "scale": [X, 2.0]}

    def loss(params):
        return jnp.sum(params["conv1"]["weight"] * jnp.floor(params["scale"][0]))

    with pytest.raises(NoGradientError) as caught:
        autograd.grad(loss)(params)
    assert {k: [c.operation for c in cuts(caught, k)] for k in caught.value.cuts} == {
        "params['conv1']['bias']": [],
        "params['scale'][0]": ["floor"],
        "params['scale'][1]": [],
    }
    allowed = ("params['conv1']['bias']", "params['scale']")
    chex.assert_trees_all_close(
        autograd.grad(loss, allow_unused=allowed)(params), jax.grad(loss)(params)
    )
    with pytest.raises(NoGradientError, match=r"none for params\['scale'\]\[0\]"):
        autograd.grad(loss, allow_unused=allowed[:1])(params)


def test_variadic_arguments_have_names():
    for fun in (lambda *xs: xs[0].sum(), lambda *xs, k=1, **options: xs[0].sum()):
        with pytest.raises(NoGradientError, match=r"none for xs\[1\] float32\[3\]"):
            autograd.grad(fun, argnums=(0, 1))(X, X)


def test_a_function_that_looks_at_values():
    def fun(x):
        return jnp.float32(1) if x.sum() > 0 else jnp.float32(2)

    with pytest.raises(NoGradientError, match="fun looks at values in Python") as caught:
        autograd.grad(fun)(X)
    assert caught.value.cuts == {"x": None}
    assert autograd.grad(lambda x: x if x > 0 else -x)(-2.0) == -1


def test_is_a_runtime_error():
    assert issubclass(NoGradientError, RuntimeError)


# --- what is not cut: the values of jax.grad --------------------------------------------------


def through_scan(x):
    return lax.scan(lambda c, t: (jnp.sin(c) * t, c), 1.0, x)[0]


def through_a_swap(x):
    """After an odd number of steps each has the other's place."""
    step = lambda c, _: ((c[1], c[0]), None)  # noqa: E731
    return lax.scan(step, (jnp.floor(x), x), None, length=101)[0][0].sum()


def through_half_a_scan(x):
    """Only from the second step on is there a way."""

    def step(c, _):
        return (c[1], c[1] * 2), None

    return lax.scan(step, (jnp.zeros(3), x), None, length=3)[0][0].sum()


def through_while(x):
    return autograd.while_loop(lambda y: y.sum() < 50, lambda y: y * y + 1, x, max_steps=9).sum()


def through_one_branch(x):
    return lax.cond(x[0] > 9, lambda x: x.sum(), lambda x: jnp.floor(x).sum(), x)


UNCUT = {
    "smooth": lambda x: jnp.sum(jnp.sin(x) ** 2),
    "zero": lambda x: jnp.sum(0 * x),  # an honest zero
    "relu": lambda x: jax.nn.relu(-x).sum(),  # flat here, but a way
    "where": lambda x: jnp.where(x > 1, x, 0.0).sum(),
    "sort": lambda x: jnp.sort(x)[0],
    "max": lambda x: autograd.max(x),
    "index": lambda x: x[1],
    "beside a cut": lambda x: jnp.sum(x * jnp.floor(x)),
    "straight through": lambda x: jnp.sum(x + lax.stop_gradient(jnp.round(x) - x)),
    "custom_vjp": lambda x: honest(x).sum(),
    "jit": lambda x: jax.jit(jnp.sin)(x).sum(),
    "checkpoint": lambda x: jax.checkpoint(jnp.sin)(x).sum(),
    "scan": through_scan,
    "half a scan": through_half_a_scan,
    "a swap": through_a_swap,
    "while": through_while,
    "one branch": through_one_branch,
    "complex": lambda x: jnp.abs(jnp.fft.rfft(x))[0],
    "solve": lambda x: jnp.linalg.solve(jnp.eye(3) + jnp.outer(x, x), x).sum(),
}


@pytest.mark.parametrize("name", UNCUT)
def test_uncut(name):
    fun = UNCUT[name]
    wanted = jax.value_and_grad(fun)(X)
    chex.assert_trees_all_close(autograd.value_and_grad(fun)(X), wanted, rtol=1e-6)
    chex.assert_trees_all_close(jax.jit(autograd.grad(fun))(X), wanted[1], rtol=1e-5)


def test_transformed():
    fun = UNCUT["smooth"]
    rows = jnp.stack([X, 2 * X])
    chex.assert_trees_all_close(
        jax.vmap(autograd.grad(fun))(rows), jax.vmap(jax.grad(fun))(rows), rtol=1e-6
    )
    twice = autograd.grad(lambda x: autograd.grad(lambda y: jnp.sum(y**3))(x).sum())
    chex.assert_trees_all_close(twice(X), 6 * X)
    with pytest.raises(NoGradientError, match="the output does not use it"):
        autograd.grad(lambda x: autograd.grad(jnp.sum)(x).sum())(X)
    _, tangent = jax.jvp(autograd.grad(fun), (X,), (jnp.ones(3),))
    np.testing.assert_allclose(tangent, 2 * np.cos(2 * X), rtol=1e-5)


def test_costs_nothing_when_compiled():
    programs = []
    for g in (autograd.grad, jax.grad):

        def gradient(x, g=g):
            return g(through_scan)(x)

        programs.append(jax.jit(gradient).lower(X).as_text())
    assert programs[0] == programs[1]


def test_options():
    def fun(x, n, y):
        return jnp.sum(x * y) * n, {"n": n}

    (value, aux), gradients = autograd.value_and_grad(fun, argnums=(0, -1), has_aux=True)(X, 2, X)
    chex.assert_trees_all_close(
        ((value, aux), gradients),
        jax.value_and_grad(fun, argnums=(0, -1), has_aux=True)(X, 2, X),
    )
    gradient, aux = autograd.grad(fun, has_aux=True)(X, 2, y=X)
    chex.assert_trees_all_close((gradient, aux), (2 * X, {"n": 2}))
    gradient = autograd.grad(lambda z: z**3, holomorphic=True)(1 + 1j)
    np.testing.assert_allclose(gradient, jax.grad(lambda z: z**3, holomorphic=True)(1 + 1j))
    mixed = autograd.grad(lambda p: p[0] * p[1], allow_int=True)((2.0, 3))
    assert mixed[0] == 3 and mixed[1].dtype == jax.dtypes.float0
    assert autograd.grad(fun).__name__ == "fun"


# --- what may be asked ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fun", "args", "options", "error", "message"),
    [
        (3, (), {}, TypeError, "fun must be callable; got an int"),
        (jnp.sum, (X,), {"argnums": "x"}, TypeError, "argnums must be an integer or several"),
        (jnp.sum, (X,), {"argnums": 1}, TypeError, "argnums=1 must name positional arguments"),
        (jnp.sum, (X,), {"argnums": (0, -1)}, ValueError, "must name each argument once"),
        (jnp.sum, (X,), {"argnums": ()}, NoGradientError, "at least one argument must be marked"),
        (lambda x: 1.0, ([],), {}, NoGradientError, "got none, only empty containers"),
        (jnp.sum, (X,), {"allow_unused": "x"}, TypeError, r"Write allow_unused=\('x',\)"),
        (jnp.sum, (X,), {"allow_unused": 5}, TypeError, "must be a sequence of paths; got allow"),
        (
            lambda x: x.sum(), (X,), {"allow_unused": ("w",)}, ValueError,
            "allow_unused='w' must be the path .* got leaves x",
        ),
        (jnp.sum, (X,), {"reduce_axes": ("i",)}, NotImplementedError, "reduce_axes must be empty"),
        (lambda x: 1.0, ("text",), {}, TypeError, "marked argument x must be an array; got a str"),
        (
            lambda p: p["w"].sum(), ({"w": X, "n": np.array(["s"])},), {}, TypeError,
            r"argument p\['n'\] must be an array; got an ndarray of dtype <U1",
        ),
        (lambda x: "text", (X,), {}, TypeError, r"scalar, shape=\(\); got a str. Return one array"),
        (
            lambda x: x.sum(), (jnp.arange(3),), {}, TypeError,
            r"argument x must be of a float or complex dtype; got x int32\[3\]",
        ),
        (
            lambda x: x, (1.0,), {"holomorphic": True}, TypeError,
            "x must be complex with holomorphic=True",
        ),
        (lambda x: x, (X,), {}, TypeError, r"scalar, shape=\(\); got output float32\[3\]. Reduce"),
        (lambda x: (x.sum(), x), (X,), {}, TypeError, "got a tuple.* pass has_aux=True"),
        (lambda x: [x.sum()], (X,), {}, TypeError, r"got a list. Return one array\."),
        (lambda x: x.sum(), (X,), {"has_aux": True}, TypeError, r"must return \(output, auxiliary"),
        (lambda x: x.sum().astype(int), (X,), {}, TypeError, "must return a float output"),
        (lambda x: x * 1j, (1.0,), {}, TypeError, "fun must return a real output"),
        (jnp.abs, (1j,), {"holomorphic": True}, TypeError, "must return a complex output"),
        (jnp.sum, (), {}, TypeError, "got 0 positional arguments"),
    ],
)  # fmt: skip
def test_refused(fun, args, options, error, message):
    for name in ("grad", "value_and_grad"):
        with pytest.raises(error, match=f"^{name}: .*{message}"):
            getattr(autograd, name)(fun, **options)(*args)


# --- no_grad ----------------------------------------------------------------------------------


def test_no_grad_keeps_values():
    tree = {"x": X, "n": 3, "name": "text"}

    @autograd.no_grad
    def fun(tree, *, k):
        """Doc."""
        return {"y": tree["x"] * tree["n"] + k, "name": tree["name"]}

    out = fun(tree, k=X)
    np.testing.assert_array_equal(out["y"], 4 * X)
    assert out["name"] == "text" and fun.__doc__ == "Doc."
    with pytest.raises(TypeError, match="no_grad: fun must be callable; got an ArrayImpl"):
        autograd.no_grad(X)


@jax.custom_vjp
def looks_back(x):
    return x * 2


looks_back.defvjp(lambda x: (x * 2, None), lambda _, dy: (np.asarray(dy) * 2,))


@jax.custom_vjp
def masks(x):
    return x * 2


masks.defvjp(lambda x: (x * 2, None), lambda _, dy: (jnp.sum(dy[dy > 0]) * jnp.ones(2),))


def test_a_backward_pass_that_looks_at_values_says_so():
    assert jax.grad(looks_back)(1.0) == 2
    with pytest.raises(NotImplementedError, match="grad: the backward pass is traced"):
        autograd.grad(lambda x: masks(x).sum())(jnp.ones(2))
    with pytest.raises(
        NotImplementedError, match=r"grad: the backward pass is traced .* jax\.grad"
    ):
        autograd.grad(looks_back)(1.0)


def test_auxiliary_data_may_come_in_a_list():
    assert autograd.grad(lambda x: [x * x, 3], has_aux=True)(2.0) == (4, 3)


def test_no_grad_stops_both_modes_to_any_order():
    square = autograd.no_grad(lambda x: x * x)

    def fun(x):
        return x * square(x)

    assert jax.grad(fun)(3.0) == 9
    assert jax.jvp(fun, (3.0,), (1.0,)) == (27, 9)
    assert jax.grad(jax.grad(fun))(3.0) == 0
    assert jax.jit(jax.vmap(jax.grad(fun)))(jnp.array([3.0]))[0] == 9
    assert "no_grad" not in jax.jit(fun).lower(3.0).as_text()


def test_what_has_no_derivative_can_stand_in_no_grad():
    def rounds(x):
        return lax.while_loop(lambda y: y < 10, lambda y: y * 2, x)

    assert jax.grad(lambda x: x * autograd.no_grad(rounds)(x))(3.0) == 12
