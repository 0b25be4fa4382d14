"""accelerate moves programs to channels last where that is faster: the numbers stay."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import check_jaxpr, jaxpr_as_fun, jaxprs_in_params

import jaxconv
from jaxconv import _channels_last, _compat
from jaxconv._layout_rules import relaid
from jaxconv._primitive import conv_p
from jaxconv._relayout import apart_p, is_work, plain

FIRST = lax.ConvDimensionNumbers((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3))


@pytest.fixture
def always(monkeypatch):
    """Programs move whatever the estimates say."""
    more = itertools.count()  # the moved program is asked for first
    monkeypatch.setattr(_channels_last, "seconds", lambda jaxpr: next(more))


def equations(jaxpr):
    for eqn in _compat.open_jaxpr(jaxpr).eqns:
        yield eqn
        for inner in jaxprs_in_params(eqn.params):
            yield from equations(inner)


def transposes(fun, *args):
    """How many transposes that move anything are in a traced program."""
    traced = jax.make_jaxpr(fun)(*args)
    check_jaxpr(_compat.open_jaxpr(traced))
    found = [e for e in equations(traced) if e.primitive.name in ("transpose", apart_p.name)]
    return sum(is_work(e.invars[0].aval, e.params["permutation"]) for e in found)


def images(fun, *args):
    """The places of the feature in what each convolution reads."""
    convolutions = [e for e in equations(jax.make_jaxpr(fun)(*args)) if e.primitive is conv_p]
    return [e.params["dimension_numbers"].lhs_spec[1] for e in convolutions]


def array(*shape, seed=0):
    values = np.random.default_rng(seed).standard_normal(shape)
    return jnp.asarray(values, jnp.float32)


def conv(x, w, **kwargs):
    space = "DHW"[5 - x.ndim :]
    numbers = (f"NC{space}", f"OI{space}", f"NC{space}")
    stride = (1,) * (x.ndim - 2)
    return lax.conv_general_dilated(x, w, stride, "SAME", dimension_numbers=numbers, **kwargs)


def close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 2e-4, 2e-4), got, want)


def without_a_rule(x):
    return lax.top_k(x, x.shape[-1])[0]


X, W = array(2, 4, 6, 5), array(4, 4, 3, 3, seed=1) / 3


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def sum_pool(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 1, 3, 2), (1, 1, 1, 2), "SAME")


def batch_norm(x):
    mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
    return (x - mean) * lax.rsqrt(var + 1e-5) * jnp.arange(1.0, 5)[None, :, None, None]


def group_norm(x):
    groups = x.reshape(2, 2, 2, 6, 5)
    return (groups / (1 + jnp.abs(groups).max((2, 3, 4), keepdims=True))).reshape(x.shape)


def shuffle(x):
    return x.reshape(2, 2, 2, 6, 5).swapaxes(1, 2).reshape(x.shape)


def squeeze_and_excite(x):
    gate = x.mean((2, 3)) @ jnp.eye(4) + jnp.arange(4.0)
    return x * jax.nn.sigmoid(gate)[:, :, None, None]


def concatenate(x):
    a, b = jnp.split(x, 2, axis=1)
    y = jnp.concatenate([b, -a, x], 1)
    return y[:, 2:6] + y[:, ::2]


def upsample(x):
    return jnp.repeat(jnp.repeat(x, 2, 2), 3, 3)[:, :, 1:7, 3:8]


def attend(x):
    n, c, h, w = x.shape
    q = x.reshape(n, c, h * w)
    weights = jax.nn.softmax(jnp.einsum("ncp,ncq->npq", q, q) / 9, -1)
    return jnp.einsum("npq,ncq->ncp", weights, q).reshape(x.shape)


def mixed_order(x):
    return (x.transpose(0, 2, 3, 1) @ jnp.eye(4)[::-1]).transpose(0, 3, 1, 2)


def along(x):
    return (
        jnp.cumsum(x, 1) / 4
        + jnp.pad(x, ((0, 0), (1, 0), (2, 0), (0, 0)))[:, :4, :6]
        + x[..., ::-1]
    )


def masked(x):
    rows = jnp.arange(6)[None, None, :, None]
    return jnp.where(rows > x, jnp.clip(x, -1, 1), jnp.full(x.shape, 0.5) * jnp.ones((6, 1)))


def indexed(x):
    turns = jnp.arange(x.size).reshape(x.shape) % 4
    y = x[:, jnp.array([2, 0, 3, 1])] + x[1][None] + x.at[0, 1].set(2.0)
    return y + jnp.take_along_axis(x, turns, 1)  # an index for each of a batch


def resized(x):
    x = jax.image.resize(x, (2, 4, 9, 7), "nearest")
    return jax.image.resize(x, (2, 4, 7, 5), "linear")


def ranked(x):
    return jnp.sort(x, 1) + x


def by_number(x):
    i = jnp.argmax(x[0, 0, 0])  # the same in both programs
    part = lax.dynamic_slice(x, (0, i % 2, 1, 2), (2, 3, 4, 2))
    return lax.dynamic_update_slice(x * 2, jnp.tile(part, (1, 1, 1, 2)), (0, 1, i % 3, 0))


def largest(x):
    return x * jnp.argmax(x, 1)[:, None] + lax.top_k(x, 2)[0].sum(-1, keepdims=True)


def branches(x):
    y = lax.cond(x.sum() > 0, lambda x: conv(x, W) + 1, lambda x: -jnp.tanh(conv(x, W)), x)
    y, _ = lax.scan(lambda h, w: (jnp.tanh(conv(h, w)), None), y, jnp.stack([W, -W]))
    return lax.fori_loop(0, 2, lambda i, h: conv(jax.nn.relu(conv(h, W)), W) / 4, y)


def called_twice(x):
    block = jax.jit(lambda x, w: jnp.tanh(conv(x, w)))
    return block(block(x, W), W)


def rematerialised(x):
    return jax.checkpoint(lambda x: jnp.tanh(conv(jnp.tanh(x), W)))(x)


def barrier(x):
    return sum(lax.optimization_barrier((x, x[:1] * 2)))


@jax.custom_jvp
def doubled(x, scale):
    return x * scale * 2


@doubled.defjvp
def _doubled_rule(primals, tangents):
    (x, scale), (dx, _) = primals, tangents
    return doubled(x, scale), dx * scale * 3  # told apart from what JAX would derive


@jax.custom_vjp
def tripled(x):
    return jax.nn.relu(conv(x, W)) * 3


tripled.defvjp(lambda x: (tripled(x), x), lambda x, g: (conv(g, W) + x,))
BETWEEN = (
    *(max_pool, sum_pool, batch_norm, group_norm, shuffle, squeeze_and_excite, concatenate),
    *(upsample, attend, mixed_order, along, masked, indexed, by_number, largest, branches),
    *(resized, ranked),
    *(called_twice, rematerialised, barrier, lambda x: doubled(x, 0.5), tripled),
    *(jax.nn.gelu, jax.nn.relu6),
)


@pytest.mark.parametrize("between", BETWEEN, ids=lambda fun: fun.__name__)
def test_values_and_gradients(always, between):
    def network(x, w):
        return conv(jax.nn.relu(between(jax.nn.relu(conv(x, w)))), w)

    def loss(x, w):
        return (network(x, w) ** 2).mean()

    both = jax.value_and_grad(loss, (0, 1))

    def all_three(network, both, outside):
        return lambda x, w: (network(x, w), both(x, w), outside(x, w))

    fast, inside = jaxconv.accelerate(network), jaxconv.accelerate(loss)
    outside = jax.value_and_grad(inside, (0, 1))
    assert transposes(fast, X, W) > 0
    got = jax.jit(all_three(fast, jaxconv.accelerate(both), outside))(X, W)
    close(got, jax.jit(all_three(network, both, both))(X, W))


PLACES = jnp.array([2, 0, 1])
INDEXED = {
    "channels": lambda x: x[:, PLACES],
    "examples": lambda x: x[PLACES[:2] // 2] * 2,
    "columns, out of bounds": lambda x: jnp.take(x, PLACES + 3, 3, mode="fill", fill_value=7.0),
    "two dimensions": lambda x: x[:, PLACES, PLACES],
    "two apart": lambda x: x[:, PLACES, :, PLACES],
    "a table of indices": lambda x: x[:, :, PLACES[:, None] + PLACES],
    "resized": lambda x: jax.image.resize(x, (2, 4, 12, 3), "nearest"),
    "windows": lambda x: jax.vmap(lambda i: lax.dynamic_slice_in_dim(x, i, 2, 2))(PLACES),
    "gradient": jax.grad(lambda x: (x[:, :, PLACES, PLACES[::-1]] ** 2).sum()),
    "gradient of channels": jax.grad(lambda x: jnp.sin(x[:, PLACES]).sum()),
    "set": lambda x: x.at[:, PLACES].set(x[:, 1:] * 2),
    "largest": lambda x: x.at[:, :, PLACES].max(x[:, :, 3:]),
    "multiplied": lambda x: x.at[:, :, PLACES].mul(x[:, :, 3:], unique_indices=True),
    "one number": lambda x: x.at[1, 2, 3, 4].add(0.5),
    "sorted": lambda x: jnp.sort(x, 2),
}


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (3, 1, 0, 2), (1, 0, 2, 3)], ids=str)
@pytest.mark.parametrize("fun", INDEXED.values(), ids=INDEXED)
def test_indices_say_where_in_an_array_that_lies_otherwise(fun, order):
    """Nothing is transposed for them."""
    moved = relaid(jax.make_jaxpr(fun)(X), [order], None, lambda jaxpr, done: jaxpr, {})
    program = jaxpr_as_fun(moved.program)
    given = X.transpose(order)
    assert transposes(program, given) == 0
    np.testing.assert_array_equal(program(given)[0], fun(X).transpose(moved.outputs[0]))


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_only_the_ends_are_transposed(always, ndim):
    """Between convolutions nothing is, forward or backward."""
    x, w = array(2, 4, *(4,) * ndim), array(4, 4, *(3,) * ndim) / 3
    axes = (0, *range(2, ndim + 2))

    def network(x, w, b):
        for _ in range(3):
            y = conv(x, w) + b.reshape(4, *(1,) * ndim)
            y = (y - y.mean(axes, keepdims=True)) / (1 + y.std(axes, keepdims=True))
            x = x + jax.nn.relu(y)
        return (x.mean(axes[1:]) ** 2).sum()

    step = jax.value_and_grad(network, (0, 1, 2))
    args = x, w, jnp.arange(4.0)
    assert transposes(jaxconv.accelerate(step), *args) == 2  # x, and its gradient
    close(jax.jit(jaxconv.accelerate(step))(*args), jax.jit(step)(*args))


ACTIVATIONS = """celu elu gelu hard_sigmoid hard_swish hard_tanh leaky_relu log_sigmoid log_softmax
    mish relu relu6 selu sigmoid silu soft_sign softmax softplus sparse_plus squareplus
    standardize tanh""".split()


def test_every_activation_is_computed_where_it_lies(always):
    """Also those for which a newer JAX has primitives of its own; and so is its gradient."""

    def step(*names):
        def loss(x):
            y = conv(x, W)
            channels = {n: {"axis": 1} for n in ("log_softmax", "softmax", "standardize")}
            y = sum(getattr(jax.nn, n)(y, **channels.get(n, {})) for n in names)
            return (conv(y, W) ** 2).sum()

        return jax.value_and_grad(loss)

    for name in ACTIVATIONS:
        found = transposes(jaxconv.accelerate(step(name)), X)
        assert found == 2, name  # x, and its gradient
    every = step(*ACTIVATIONS)
    close(jax.jit(jaxconv.accelerate(every))(X), jax.jit(every)(X))


XS = array(3, 2, 4, 6, 5, seed=2)


def gated(x):
    def step(h, x):
        gate = jax.nn.sigmoid(conv(h, W) + conv(x, W))
        h = gate * h + (1 - gate) * jnp.tanh(conv(h * gate, W))
        return h, h.mean((2, 3))

    h, means = lax.scan(step, jnp.zeros_like(x), XS, reverse=True)
    return h, means


def stacked(x):
    """Images go in and come out a step at a time, after two that change places."""

    def step(pair, x):
        a, b = pair
        return (jnp.tanh(conv(b, W)), a + x), conv(a, W)

    (a, b), ys = lax.scan(step, (x, conv(x, W)), XS, unroll=2)
    return lax.scan(lambda h, y: (jnp.tanh(conv(h + y, W)), None), a - b, jnp.tanh(ys))[0]


def nested(x):
    def inner(h, _):
        return jnp.tanh(conv(h, W)) + 0.1, None

    def outer(h, x):
        return lax.scan(inner, h + x, None, length=2)[0], jnp.float32(1.0)

    return lax.scan(outer, conv(x, W), XS)


def by_turns(x):
    """It comes to rest in no order: each step makes the other of what it is given."""

    def step(pair, _):
        a, b = pair
        return (without_a_rule(b), jnp.tanh(conv(a, W))), b[0]

    return lax.scan(step, (x, conv(x, W)), None, length=3)


def counted(x):
    def step(state):
        i, h = state
        return i + 1, jnp.tanh(conv(jax.nn.relu(conv(h, W)), W)) + x

    return lax.while_loop(lambda state: (state[0] < 3) & (state[1].sum() < 1e6), step, (0, x))


def chosen(x):
    y = conv(x, W)
    ways = (lambda y: jnp.tanh(conv(y, W)), lambda y: y * 2, lambda y: y[:, ::-1] + conv(y, W))
    return conv(lax.switch((y.sum() > 0).astype(int) * 2, ways, y), W)


def inside(fun, *args):
    """How many transposes are in loops and branches."""
    traced = jax.make_jaxpr(fun)(*args)
    held = [e for e in equations(traced) if e.primitive.name in ("scan", "while", "cond")]
    programs = [p for e in held for p in jaxprs_in_params(e.params)]
    found = [e for p in programs for e in equations(p) if e.primitive is apart_p]
    return len(programs), len(found)


@pytest.mark.parametrize(
    ("loop", "number"),
    [(gated, 1), (stacked, 1), (nested, 1), (by_turns, 3), (counted, 0), (chosen, 0)],
)
def test_loops_carry_images_as_they_are_made(always, loop, number):
    """And branches take and give them so. Of what lies otherwise a step's part is transposed."""
    fast = jaxconv.accelerate(loop)
    assert 3 in images(fast, X)
    programs, found = inside(fast, X)
    assert programs and found == number
    close(jax.jit(fast)(X), jax.jit(loop)(X))
    if loop is counted:
        # Integers have no tangents, and a while loop no reverse mode.
        forward = [
            jax.jit(lambda x, f=f: jax.jvp(lambda x: f(x)[1], (x,), (x / 2,))) for f in (fast, loop)
        ]
        close(*(f(X) for f in forward))
        return

    def loss(loop):
        return lambda x: sum((y.astype(jnp.float32) ** 2).mean() for y in jax.tree.leaves(loop(x)))

    step = jax.value_and_grad(loss(loop))
    want = jax.jit(step)(X)
    assert loop is by_turns or inside(jaxconv.accelerate(step), X)[1] == number
    close(jax.jit(jaxconv.accelerate(step))(X), want)
    close(jax.jit(jax.value_and_grad(loss(fast)))(X), want)


def until_small(x, w):
    """Its predicate is one for each of a batch under vmap, and reads images."""

    def step(state):
        i, h = state
        return i + 1, jnp.tanh(conv(jnp.tanh(conv(h, w)), w))

    return lax.while_loop(lambda s: (s[0] < 4) & (jnp.abs(s[1]).sum() > 30.0), step, (0, x))[1]


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_loops_with_a_predicate_for_each_of_a_batch(always, axes):
    """Whose dimensions have to stay the first of the carry; there are as many images."""
    many, kernels = jnp.stack([X, X / 5]), jnp.stack([W / 3, W * 2])
    args = many if axes[0] == 0 else X, kernels if axes[1] == 0 else W
    batched = jax.vmap(lambda x, w: conv(until_small(conv(x, w), w), w), axes)
    assert images(jaxconv.accelerate(batched), *args) != images(batched, *args)
    close(jax.jit(jaxconv.accelerate(batched))(*args), jax.jit(batched)(*args))


def test_what_a_loop_reads_as_it_lay_is_transposed_once(always):
    """Before the loop, not at each step, nor at each question."""

    def program(x):
        y = conv(x, W)
        h = lax.scan(lambda h, _: (jnp.tanh(conv(h, W)) + without_a_rule(y), None), y, None, 5)[0]

        def more(h):
            return (h.sum() + without_a_rule(y).sum()) < -1e6

        return lax.while_loop(more, lambda h: jnp.tanh(conv(h, W)), h)

    assert inside(jaxconv.accelerate(program), X)[1] == 1  # of what sort makes, in the scan
    close(jax.jit(jaxconv.accelerate(program))(X), program(X))


def test_it_moves_by_estimate():
    """The training step of a network does, a layer alone does not."""
    x, w = jax.ShapeDtypeStruct((8, 256, 14, 14), "float32"), array(256, 256, 3, 3)

    def loss(x, w):
        for _ in range(4):
            x = jax.nn.relu(conv(x, w))
        return x.sum()

    assert images(jaxconv.accelerate(jax.grad(loss, 1)), x, w)[:4] == [3] * 4
    assert images(jaxconv.accelerate(conv), x, w) == [1]


def test_what_has_moved_is_one_program_where_it_was_one(always):
    """What the first call reads is moved before it, as it reads it."""
    block = jax.jit(lambda x: jnp.tanh(conv(x, W)))
    fast = jaxconv.accelerate(lambda x: block(block(block(x))))
    traced = jax.make_jaxpr(fast)(X)
    inner = [e.params["jaxpr"] for e in traced.jaxpr.eqns if e.primitive.name == "jit"]
    assert len(inner) == 3 and images(fast, X) == [3] * 3
    assert inner[0] is inner[1] is inner[2]
    assert str(traced) == str(jax.make_jaxpr(fast)(X))


def test_programs_channels_last_stay_as_they_are(always):
    def network(x, w):
        numbers = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers)
        return jax.nn.relu(y).transpose(0, 3, 1, 2).reshape(2, -1)

    x, w = array(2, 6, 5, 4), array(3, 3, 4, 4)
    step = jax.grad(lambda x, w: network(x, w).sum(), (0, 1))
    traced = jax.make_jaxpr(step)(x, w)
    inner = _compat.open_jaxpr(traced)
    orders = [[plain(v.aval) for v in vs] for vs in (inner.invars, inner.outvars)]
    assert relaid(traced, *orders, lambda jaxpr, done: jaxpr, {}).program is traced
    close(jax.jit(jaxconv.accelerate(step))(x, w), step(x, w))


def test_a_method_by_name_and_integers_stay(always):
    """What was asked for by name is computed as it was asked for."""

    def named(x):
        return jaxconv.conv2d(x, W, padding=1, method="direct")

    assert images(jaxconv.accelerate(lambda x: named(named(x))), X) == [1, 1]
    whole, kernel = jnp.arange(240).reshape(2, 4, 6, 5), jnp.ones((4, 4, 3, 3), int)
    assert images(jaxconv.accelerate(lambda x: conv(conv(x, kernel), kernel)), whole) == [1, 1]


def test_vmap_and_second_order(always):
    def loss(x, w):
        return (jnp.tanh(conv(jnp.tanh(conv(x, w)), w)) ** 2).sum()

    def penalty(fun):
        return lambda x, w: (jax.grad(fun)(x, w) ** 2).sum()

    fast = jaxconv.accelerate(loss)
    got = jax.jit(jax.vmap(jax.grad(penalty(fast), 1), (0, None)))(X[:, None], W)
    step = jax.vmap(jax.grad(penalty(loss), 1), (0, None))
    want = jax.jit(step)(X[:, None], W)
    close(got, want)
    close(jax.jit(jaxconv.accelerate(step))(X[:, None], W), want)


def test_long_chains_of_what_is_spread(always):
    """They are made where they are read, but Python's stack is not as deep as any program."""

    def network(x):
        y = jnp.ones((1, 4, 1, 1)) * x[0, 0, 0, 0]
        for _ in range(500):
            y = y * 1.001
        return conv(conv(x, W) + jnp.broadcast_to(y, x.shape) * 2.0, W)

    close(jax.jit(jaxconv.accelerate(network))(X), network(X))


def test_derivative_rules_that_hold_arrays(always):
    held = array(6, 5, seed=9)

    @jax.custom_jvp
    def wave(x):
        return jnp.sin(x)

    wave.defjvp(lambda primals, tangents: (wave(primals[0]), tangents[0] * held))

    def loss(x):
        return conv(wave(conv(x, W)), W).sum()

    close(jax.grad(jaxconv.accelerate(loss))(X), jax.grad(loss)(X))


def test_a_program_without_results(always):
    """It has its effects."""
    seen = []

    def program(x):
        y = conv(conv(x, W), W)
        jax.debug.callback(lambda y: seen.append(np.asarray(y)), y)

    jax.jit(jaxconv.accelerate(program))(X)
    jax.effects_barrier()
    close(seen, [conv(conv(X, W), W)])


def test_symbolic_sizes_stay(always):
    """Also beside convolutions that move."""
    (n,) = jax.export.symbolic_shape("n")
    x = jax.ShapeDtypeStruct((n, 4, 6, 5), jnp.float32)
    exported = jax.export.export(jax.jit(jaxconv.accelerate(lambda x: conv(conv(x, W), W))))(x)
    close(exported.call(X), conv(conv(X, W), W))

    def beside(y):
        h = conv(jnp.sin(conv(X, W)), W)
        many = h[None] * y[:, None, None, None, None]
        return h, many.reshape(-1, *h.shape[1:]), jnp.outer(y, y).T

    fast = jax.jit(jaxconv.accelerate(beside))
    exported = jax.export.export(fast)(jax.ShapeDtypeStruct((n,), jnp.float32))
    close(exported.call(jnp.arange(3.0)), beside(jnp.arange(3.0)))


def test_prices_with_symbolic_sizes():
    (n,) = jax.export.symbolic_shape("n")
    y = jax.ShapeDtypeStruct((n, 3), jnp.float32)
    fast = jaxconv.accelerate(lambda x, y: (conv(jnp.sin(conv(x, W)), W), y.T))
    assert jax.export.export(jax.jit(fast))(X, y).out_avals[1].shape[0] == 3
