"""The listings of the lecture: short functions, and the values that the lecture gives for them.

The body of each function is what the terminal shows and what runs; `expected` holds the lecture's
own numbers, worked out by hand or read off its PyTorch run.

Source: NYU Deep Learning (DS-GA 1008), spring 2020, week 5 practicum, "Understanding convolutions
and the automatic differentiation engine", Alfredo Canziani.
"""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxconv
from jaxconv import autograd

SECTIONS = {
    1: "One-dimensional convolution",
    2: "Kernel sizes and output width",
    3: "How automatic differentiation works",
    4: "A loop whose length depends on the data",
    5: "Inference: who takes part in the gradient",
    6: "Custom gradients",
}

TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Listing:
    """One listing.

    Attributes:
      section: 1 to 6.
      title: what it shows.
      run: computes its values, by name.
      expected: the lecture's values, by name; a subset of what `run` returns.
    """

    section: int
    title: str
    run: Callable[[], dict[str, Any]]
    expected: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The body of `run`, as it stands in this file, without its last line, the return."""
        lines = inspect.getsource(self.run).splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("def ")) + 1
        body = textwrap.dedent("\n".join(lines[start:]))
        return body[: body.rindex("return {")].rstrip()

    def disagreements(self, values: Mapping[str, Any]) -> list[str]:
        """One sentence for each value that is not the lecture's."""
        return [
            f"{name} is {values[name]}, the lecture has {wanted}"
            for name, wanted in self.expected.items()
            if not _agree(values[name], wanted)
        ]


def _agree(value: Any, wanted: Any) -> bool:
    if wanted is None or isinstance(wanted, str | bool | tuple):
        return value == wanted
    value, wanted = np.asarray(value), np.asarray(wanted)
    return value.shape == wanted.shape and bool(
        np.all(np.abs(value - wanted) <= TOLERANCE * (1 + np.abs(wanted)))
    )


LISTINGS: list[Listing] = []


def listing(section: int, title: str, **expected: Any) -> Callable[[Any], Any]:
    """Adds the function below it to `LISTINGS`."""

    def add(run: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        LISTINGS.append(Listing(section, title, run, expected))
        return run

    return add


# --- 1. One-dimensional convolution


@listing(
    1,
    "From the matrix to the convolution: rows zero outside a window, and all alike",
    A=[[1, 2, 3, 0, 0, 0], [0, 1, 2, 3, 0, 0], [0, 0, 1, 2, 3, 0], [0, 0, 0, 1, 2, 3]],
    matrix_times_x=[8, 0, -1, 11],
    convolution=[8, 0, -1, 11],
)
def band() -> dict[str, Any]:
    weight = jnp.array([[[1.0, 2.0, 3.0]]])  # (m, c, k): one kernel, one channel, three taps
    x = jnp.array([3.0, 1.0, 1.0, -1.0, 0.0, 4.0])
    A = jaxconv.conv_matrix(weight, input_shape=(6,)).todense()
    matrix_times_x = A @ x
    convolution = jaxconv.conv1d(x[None], weight)[0]
    return {"A": A, "matrix_times_x": matrix_times_x, "convolution": convolution}


@listing(1, "m kernels of size k over n samples: m feature maps of length n - k + 1", shape=(5, 94))
def feature_maps() -> dict[str, Any]:
    n, k, m = 100, 7, 5
    x = jnp.sin(jnp.arange(n) ** 2 / 300)[None]
    weight = jax.random.normal(jax.random.key(0), (m, 1, k))
    maps = jaxconv.conv1d(x, weight)
    shape = maps.shape
    return {"x": x, "maps": maps, "shape": shape}


@listing(
    1,
    "A stereo signal: kernels are two channels thick; one output is a scalar product",
    y_2=-1,
    by_layer=[2, -3],
)
def stereo() -> dict[str, Any]:
    x = jnp.array([[1.0, 3, 2, -1, 0, 2, 1], [0.0, 1, -2, 1, 2, -1, 3]])
    kernel = jnp.array([[1.0, 0, -1], [2.0, 1, 0]])
    y = jaxconv.conv1d(x, kernel[None])[0]
    y_2 = y[2]
    by_layer = (x[:, 2:5] * kernel).sum(axis=1)
    return {"y": y, "y_2": y_2, "by_layer": by_layer}


# --- 2. Kernel sizes and output width


@listing(
    2, "2 channels to 16, kernel size 3: 64 - 3 + 1 = 62",
    weight=(16, 2, 3), bias=(16,), output=(1, 16, 62),
)  # fmt: skip
def conv1d_k3() -> dict[str, Any]:
    conv = jaxconv.init_conv(jax.random.key(0), 2, 16, 3, ndim=1)
    x = jax.random.normal(jax.random.key(1), (1, 2, 64))
    output = jaxconv.conv1d(x, conv["weight"], conv["bias"]).shape
    return {"weight": conv["weight"].shape, "bias": conv["bias"].shape, "output": output}


@listing(
    2, "The same with kernel size 5: 60",
    weight=(16, 2, 5), bias=(16,), output=(1, 16, 60),
)  # fmt: skip
def conv1d_k5() -> dict[str, Any]:
    conv = jaxconv.init_conv(jax.random.key(0), 2, 16, 5, ndim=1)
    x = jax.random.normal(jax.random.key(1), (1, 2, 64))
    output = jaxconv.conv1d(x, conv["weight"], conv["bias"]).shape
    return {"weight": conv["weight"].shape, "bias": conv["bias"].shape, "output": output}


@listing(
    2, "A hyperspectral image, 20 channels to 16, kernel (3, 5)",
    weight=(16, 20, 3, 5), bias=(16,), output=(1, 16, 62, 124),
)  # fmt: skip
def conv2d() -> dict[str, Any]:
    conv = jaxconv.init_conv(jax.random.key(0), 20, 16, (3, 5), ndim=2)
    x = jax.random.normal(jax.random.key(1), (1, 20, 64, 128))
    output = jaxconv.conv2d(x, conv["weight"], conv["bias"]).shape
    return {"weight": conv["weight"].shape, "bias": conv["bias"].shape, "output": output}


@listing(
    2, "Padding (1, 2), one row above and below, two columns left and right: the size stays",
    weight=(16, 20, 3, 5), output=(1, 16, 64, 128), padded_by_hand=True,
)  # fmt: skip
def conv2d_padded() -> dict[str, Any]:
    conv = jaxconv.init_conv(jax.random.key(0), 20, 16, (3, 5), ndim=2)
    x = jax.random.normal(jax.random.key(1), (1, 20, 64, 128))
    y = jaxconv.conv2d(x, conv["weight"], conv["bias"], stride=1, padding=(1, 2))
    output = y.shape
    by_hand = jnp.pad(x, [(0, 0), (0, 0), (1, 1), (2, 2)])
    padded_by_hand = bool(
        jnp.allclose(y, jaxconv.conv2d(by_hand, conv["weight"], conv["bias"]), atol=1e-5)
    )
    return {"weight": conv["weight"].shape, "output": output, "padded_by_hand": padded_by_hand}


# --- 3. How automatic differentiation works


@listing(3, "y knows what made it; x, a leaf, was made by nothing", made_by="sub", makers_of_x=0,
         leaf=[[1, 2], [3, 4]])  # fmt: skip
def back_to_the_leaf() -> dict[str, Any]:
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    y = autograd.graph(lambda x: x - 2)(x).outputs[0]
    made_by = y.name
    the_leaf = y.inputs[0]
    return {"made_by": made_by, "leaf": the_leaf.value, "makers_of_x": len(the_leaf.inputs)}


@listing(3, "a = mean(3 (x - 2)^2), and its gradient 3/2 x - 3", a=4.5,
         gradient=[[-1.5, 0], [1.5, 3]], by_hand=[[-1.5, 0], [1.5, 3]])  # fmt: skip
def backward() -> dict[str, Any]:
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]])

    def a_of(x):
        y = x - 2
        z = y * y * 3
        return z.mean()

    a, gradient = autograd.value_and_grad(a_of)(x)
    by_hand = 3 / 2 * x - 3
    return {"a": a, "gradient": gradient, "by_hand": by_hand, "graph": autograd.graph(a_of)(x)}


@listing(3, "The gradient has the shape of x; the Jacobian has a row for each output",
         gradient_shape=(3,), jacobian_shape=(1, 3), transposed=True)  # fmt: skip
def jacobian() -> dict[str, Any]:
    x = jnp.array([1.0, 2.0, 3.0])
    gradient = jax.grad(lambda x: (x * x).sum())(x)
    rows = jax.jacobian(lambda x: (x * x).sum(keepdims=True))(x)
    transposed = bool((rows.T[:, 0] == gradient).all())
    return {
        "gradient_shape": gradient.shape,
        "jacobian_shape": rows.shape,
        "transposed": transposed,
    }


# --- 4. A loop whose length depends on the data


@listing(4, "Double until the norm is 1000: the gradient tells how often", i=9,
         gradient=[102.4, 1024, 0.1024], read_off=9)  # fmt: skip
def loop() -> dict[str, Any]:
    def double_until_1000(x):
        def small(state):
            y, _i = state
            return jnp.linalg.norm(y) < 1000

        def body(state):
            y, i = state
            return 2 * y, i + 1

        return autograd.while_loop(small, body, (2 * x, 0), max_steps=100)

    x = jnp.array([-0.4, 1.2, 0.7])
    v = jnp.array([0.1, 1.0, 0.0001])
    (_y, i), backward = jax.vjp(jax.jit(double_until_1000), x)
    (gradient,) = backward((v, np.zeros((), jax.dtypes.float0)))
    read_off = jnp.log2(gradient[1] / v[1]) - 1
    return {"i": i, "gradient": gradient, "read_off": read_off}


@listing(4, "For any x: the gradient is v 2^(i+1)", agree=True)
def loop_random() -> dict[str, Any]:
    def double_until_1000(x):
        return autograd.while_loop(
            lambda state: jnp.linalg.norm(state[0]) < 1000,
            lambda state: (2 * state[0], state[1] + 1),
            (2 * x, 0),
            max_steps=100,
        )

    x = jax.random.normal(jax.random.key(0), (3,))
    v = jnp.array([0.1, 1.0, 0.0001])
    steps = double_until_1000(x)[1]
    gradient = jax.grad(lambda x: double_until_1000(x)[0] @ v)(x)
    agree = bool(jnp.allclose(gradient, v * 2.0 ** (steps + 1)))
    return {"steps": steps, "gradient": gradient, "agree": agree}


@listing(4, "Under jit a Python loop on values cannot be traced", raised=True)
def python_loop() -> dict[str, Any]:
    def in_python(x):
        y = 2 * x
        while jnp.linalg.norm(y) < 1000:
            y = 2 * y
        return y

    try:
        jax.jit(in_python)(jnp.ones(3))
        raised = False
    except jax.errors.TracerBoolConversionError:
        raised = True
    return {"raised": raised}


@listing(4, "lax.while_loop has no reverse mode", raised="ValueError")
def lax_loop() -> dict[str, Any]:
    def through_lax(x):
        y = jax.lax.while_loop(lambda y: jnp.linalg.norm(y) < 1000, lambda y: 2 * y, 2 * x)
        return y.sum()

    try:
        jax.grad(through_lax)(jnp.ones(3))
        raised = None
    except ValueError as error:
        raised, said = type(error).__name__, str(error)
    return {"raised": raised, "said": said}


# --- 5. Inference: who takes part in the gradient


@listing(5, "x and w both marked: each receives the other", x_grad=[1, 1, 1], w_grad=[1, 2, 3])
def both() -> dict[str, Any]:
    x = jnp.array([1.0, 2.0, 3.0])
    w = jnp.array([1.0, 1.0, 1.0])
    x_grad, w_grad = autograd.grad(lambda x, w: w @ x, argnums=(0, 1))(x, w)
    return {"x_grad": x_grad, "w_grad": w_grad}


@listing(5, "Only w marked", w_grad=[1, 2, 3])
def only_w() -> dict[str, Any]:
    x = jnp.array([1.0, 2.0, 3.0])
    w = jnp.array([1.0, 1.0, 1.0])
    w_grad = autograd.grad(lambda w: w @ x)(w)
    return {"w_grad": w_grad}


@listing(5, "Neither marked: an error when it runs", refused="NoGradientError")
def neither() -> dict[str, Any]:
    x = jnp.array([1.0, 2.0, 3.0])
    w = jnp.array([1.0, 1.0, 1.0])
    try:
        autograd.grad(lambda x, w: w @ x, argnums=())(x, w)
        refused = None
    except RuntimeError as error:
        refused, said = type(error).__name__, str(error)
    return {"refused": refused, "said": said}


@listing(5, "Without a gradient: jax.grad returns zeros in silence, autograd.grad refuses",
         in_silence=[0, 0, 0], refused="NoGradientError")  # fmt: skip
def cut() -> dict[str, Any]:
    x = jnp.array([1.0, 2.0, 3.0])
    w = jnp.array([1.0, 1.0, 1.0])
    frozen = autograd.no_grad(lambda w: w @ x)
    in_silence = jax.grad(frozen)(w)
    try:
        autograd.grad(frozen)(w)
        refused = None
    except RuntimeError as error:
        refused, said = type(error).__name__, str(error)
    return {"in_silence": in_silence, "refused": refused, "said": said}


# --- 6. Custom gradients


@listing(6, "add: the gradient goes to both", x1_grad=[1 / 3] * 3, x2_grad=[1 / 3] * 3)
def add() -> dict[str, Any]:
    x1 = jnp.array([1.0, 2.0, 3.0])
    x2 = jnp.array([-1.0, 0.0, 5.0])
    x1_grad, x2_grad = jax.grad(lambda *x: autograd.add(*x).mean(), argnums=(0, 1))(x1, x2)
    return {"x1_grad": x1_grad, "x2_grad": x2_grad}


@listing(6, "split: the two gradients are added", branch=[1 / 4] * 4, x_grad=[1 / 2] * 4)
def split() -> dict[str, Any]:
    x = jnp.array([1.0, 2.0, 3.0, 4.0])
    x1, x2 = autograd.split(x)
    branch = jax.grad(lambda x1: (x1 + x2).mean())(x1)

    def z(x):
        x1, x2 = autograd.split(x)
        return (x1 + x2).mean()

    x_grad = jax.grad(z)(x)
    return {"branch": branch, "x_grad": x_grad}


@listing(6, "max: all of the gradient to the largest entry, and to each of tied ones",
         largest=4, gradient=[0, 0, 2, 0], tied=[0, 1, 1], jnp_shares=[0, 0.5, 0.5])  # fmt: skip
def maximum() -> dict[str, Any]:
    x = jnp.array([1.0, 3.0, 4.0, 2.0])
    largest = autograd.max(x)
    gradient = jax.grad(lambda x: 2 * autograd.max(x))(x)
    tied = jax.grad(autograd.max)(jnp.array([1.0, 2.0, 2.0]))
    jnp_shares = jax.grad(jnp.max)(jnp.array([1.0, 2.0, 2.0]))
    return {"largest": largest, "gradient": gradient, "tied": tied, "jnp_shares": jnp_shares}


@listing(6, "Duals: add's backward is a split, split's backward is an add", add_back=True,
         split_back=True)  # fmt: skip
def duals() -> dict[str, Any]:
    x1, x2 = jnp.array([1.0, 2.0]), jnp.array([3.0, -1.0])
    add_back = jax.vjp(autograd.add, x1, x2)[1](x1)
    split_back = jax.vjp(autograd.split, x1)[1]((x1, x2))
    return {
        "add_back": all(
            bool((a == b).all()) for a, b in zip(add_back, autograd.split(x1), strict=True)
        ),
        "split_back": bool((split_back[0] == autograd.add(x1, x2)).all()),
    }
