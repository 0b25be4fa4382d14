"""What users reported as slow, as named benchmarks: what the reports say, sizes cut where noted.

Each report is a function of its arrays, made with one ``conv`` so that the same program can go
through lax or through jaxconv. `reports_torch` has the other side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Program = tuple[Callable[..., Any], tuple[Any, ...]]


@dataclass(frozen=True)
class Report:
    """One reported case.

    Attributes:
        name: Where it was reported, and what it is.
        what: "forward" or "step".
        build: ``build(conv)`` gives a function and its arguments.
        flops: Operations the mathematics needs, 0 where that says little.
        x64: Needs float64.
    """

    name: str
    what: str
    build: Callable[[Callable[..., Any]], Program]
    flops: int = 0
    x64: bool = False


def _normal(*shape: int, dtype: Any = np.float32) -> Any:
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), dtype)


def _depthwise_bias(conv: Callable[..., Any]) -> Program:
    def f(x, w, b):
        return b + conv(
            x, w, (1, 1), ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=256,
        )  # fmt: skip

    return f, (_normal(1, 124, 124, 256), _normal(3, 3, 1, 256), _normal(256))


def _equinox(conv: Callable[..., Any]) -> Program:
    def one(x, w, b):
        y = conv(
            x[None], w, window_strides=(1, 1), padding=((1, 1), (1, 1)), lhs_dilation=(1, 1),
            rhs_dilation=(1, 1), feature_group_count=512,
        )  # fmt: skip
        return y[0] + b

    args = (_normal(1, 512, 124, 124), _normal(512, 1, 3, 3), _normal(512, 1, 1))
    return jax.vmap(one, (0, None, None)), args


def _loop(conv: Callable[..., Any]) -> Program:
    def f(x, w):
        # The same convolution in each turn; the sum keeps a turn from being hoisted out.
        def body(_, x):
            return x + 1e-6 * conv(x, w, (1,), "VALID", dimension_numbers=("NCH", "OIH", "NCH"))

        return jax.lax.fori_loop(0, 2, body, x)

    return f, (_normal(1, 1000, 1024), _normal(1000, 1000, 1))


def _scipy(_: Callable[..., Any]) -> Program:
    def f(a, b):
        return jax.scipy.signal.convolve(a, b, "same")

    return f, (_normal(300, 300, dtype=np.float64), _normal(300, 300, dtype=np.float64))


def _grouped_layers(conv: Callable[..., Any]) -> Program:
    def loss(weights, x):
        for w in weights:
            x = conv(x, w, (1,), "SAME", feature_group_count=512)
        return jnp.square(x).mean()

    return jax.value_and_grad(loss), (_normal(2, 512, 1, 5), _normal(2, 512, 1024))


def _dilated_depthwise(kernel: int, channels: int, dilation: int, step: bool) -> Any:
    def build(conv: Callable[..., Any]) -> Program:
        def f(x, w):
            return conv(
                x, w, (1,), "SAME", rhs_dilation=(dilation,),
                dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=channels,
            )  # fmt: skip

        args = (_normal(32, 1024, channels), _normal(kernel, 1, channels))
        if not step:
            return f, args
        return jax.value_and_grad(lambda *a: jnp.square(f(*a)).mean(), argnums=(0, 1)), args

    return build


def _transpose3d(conv: Callable[..., Any]) -> Program:
    def f(x, w, g):
        def y(w):
            return conv(x, w, (1,) * 3, ((1, 2),) * 3, lhs_dilation=(2,) * 3)

        return jax.vjp(y, w)[1](g)[0]

    dtype = jnp.bfloat16
    return f, (
        _normal(1, 64, 64, 64, 32, dtype=dtype),
        _normal(1, 64, 3, 3, 3, dtype=dtype),
        _normal(1, 1, 128, 128, 64, dtype=dtype),
    )


def _lattice(batch: int, size: int, channels: tuple[int, ...], kernel: int) -> Any:
    def build(conv: Callable[..., Any]) -> Program:
        def scalar(weights, x):
            x = x[None, None]
            for w in weights:
                x = jnp.pad(x, ((0, 0), (0, 0), (0, kernel - 1), (0, kernel - 1)), mode="wrap")
                x = jnp.tanh(conv(x, w, (1, 1), "VALID"))
            return x.sum()

        f64 = np.float64
        pairs = zip((1, *channels), channels, strict=False)
        weights = [_normal(o, i, kernel, kernel, dtype=f64) / kernel for i, o in pairs]
        x = _normal(batch, size, size, dtype=f64)
        return jax.vmap(jax.grad(scalar), (None, 0)), (weights, x)

    return build


REPORTS: tuple[Report, ...] = (
    Report("jax#23713 dw3x3 256@124 bias", "forward", _depthwise_bias, 18 * 256 * 124**2),
    Report("equinox#970 dw3x3 512@124 vmap", "forward", _equinox, 18 * 512 * 124**2),
    Report("jax#12868 1x1 1000 in fori_loop(2)", "forward", _loop, 4 * 1000**2 * 1024),
    Report("jax#5227 300x300*300x300 (SciPy)", "forward", _scipy, x64=True),
    Report("jax#13800 2 layers k5 g512, batch 2", "step", _grouped_layers, 6 * 10 * 1024 * 1024),
    Report("jax#26266 dw k3 d1 64", "step", _dilated_depthwise(3, 64, 1, True), 18 * 2**21),
    Report("jax#26266 dw k7 d8 64", "step", _dilated_depthwise(7, 64, 8, True), 42 * 2**21),
    Report("jax#26266 dw k7 d8 256", "forward", _dilated_depthwise(7, 256, 8, False), 14 * 2**23),
    Report("jax#31662 T3x3x3 s2 bf16 w-gradient", "step", _transpose3d, 2 * 27 * 64 * 2**17),
    Report("jax#1606 4x4 k2, vmap(grad) 300", "step", _lattice(300, 4, (4, 1), 2), x64=True),
    Report("netket#1870 10x10 k3, vmap(grad) 256", "step", _lattice(256, 10, (8, 8), 3), x64=True),
)
