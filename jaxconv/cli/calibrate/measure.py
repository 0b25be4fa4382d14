"""Time every method that can compute a convolution."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxconv._choose import Option, options
from jaxconv._spec import ConvSpec
from jaxconv._tune import compiled, interleaved

# Methods estimated at more than this many times the best are left out, and what runs longer than
# SLOW seconds is timed once.
HOPELESS, SLOW = 6.0, 0.05
# lax is measured too, unless it is estimated to take longer than this.
LAX_SECONDS = 0.3


def is_lax(option: Option) -> bool:
    """Whether it is lax, and worth waiting for."""
    return option.method == "lax" and option.seconds < LAX_SECONDS


def measure(
    spec: ConvSpec, only: Collection[str] = ()
) -> tuple[dict[tuple[str, str], float], list[str]]:
    """Median seconds by (kind, method), and a line for each result that is not the first's."""
    considered, _ = options(spec)
    limit = HOPELESS * considered[0].compared
    if only:
        worth = [o for o in considered if o.method in only]
    else:
        worth = [o for o in considered if o.compared <= limit or is_lax(o)]
    rng = np.random.default_rng(0)
    lhs = jnp.asarray(rng.standard_normal(spec.lhs_shape, np.float32))
    rhs = jnp.asarray(rng.standard_normal(spec.rhs_shape, np.float32))
    programs: dict[tuple[str, str], Callable[[], Any]] = {}
    results, once = {}, {}

    with ThreadPoolExecutor(2) as pool:
        ready = list(pool.map(lambda option: compiled(spec, option, lhs, rhs), worth))
    for option, program in zip(worth, ready, strict=True):
        name = (option.kind, option.method)
        results[name] = np.asarray(program(lhs, rhs))
        start = time.perf_counter()
        program(lhs, rhs).block_until_ready()
        seconds = time.perf_counter() - start
        if seconds > SLOW:
            once[name] = seconds
        else:
            programs[name] = functools.partial(program, lhs, rhs)
    wrong = []
    expected = next(iter(results.values()), np.zeros(()))
    largest = float(np.abs(expected).max()) or 1.0
    for (_, method), got in results.items():
        error = float(np.abs(got - expected).max()) / largest
        if not error < 5e-5:
            wrong.append(f"{method} differs by {error:.1e} of the largest output: {spec}")
    return {**interleaved(programs, rounds=5, budget=0.3), **once}, wrong
