"""tune: measure the candidates of every convolution of a function, remember the winners."""

from __future__ import annotations

import dataclasses
import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxconv import _tuned
from jaxconv._accelerate import accelerate
from jaxconv._arguments import callable_fun
from jaxconv._choose import Choice, Option, choose
from jaxconv._explain import explanation
from jaxconv._heaps import heap_options
from jaxconv._run import run
from jaxconv._spec import ConvSpec

# Candidates estimated at more than this many times the best estimate are not measured.
WORTH_MEASURING = 4.0


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What `tune` found for one convolution.

    Attributes:
      spec: the convolution.
      method: the fastest method.
      seconds: the median of each candidate.
      estimated: the method that the estimates would have taken.
    """

    spec: ConvSpec
    method: str
    seconds: dict[str, float]
    estimated: str


class Tuning(tuple[Tuned, ...]):
    """What `tune` found; `str` of it is a table, fastest candidate first."""

    def __str__(self) -> str:
        """One line a convolution."""
        if not self:
            return "no convolution found that has more than one candidate"
        lines = []
        for t in self:
            ranked = sorted(t.seconds.items(), key=lambda pair: pair[1])
            times = ", ".join(f"{name} {s * 1e3:.3g} ms" for name, s in ranked)
            lhs, rhs = ("x".join(map(str, s)) for s in (t.spec.lhs_shape, t.spec.rhs_shape))
            lines.append(f"{lhs} * {rhs}: {times}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """How many there are; `print` shows the table."""
        return f"<Tuning: {len(self)} convolution{'s' * (len(self) != 1)}>"


def tune(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Tuning:
    """Measure the candidates of every convolution in `fun(*args, **kwargs)`, keep the winners.

    fun is traced, not run; each convolution found, and each that `accelerate` makes of it, is timed
    on random data, its candidates in turn.
    The winners are kept on disk for this CPU model, number of threads, JAX and jaxconv version
    (the folder is that of platformdirs, or JAXCONV_CACHE_DIR) and take the place of the estimates
    in every later "auto", in this process and others. JAXCONV_TUNE=off leaves them unused. Compiled
    programs are cleared, so that they are compiled anew with the winners. Tune while nothing else
    runs on the machine.

    Args:
      fun: a function of pytrees of arrays, best the whole training step, gradient and all.
      *args: its arguments; `jax.ShapeDtypeStruct` may stand for an array.
      **kwargs: its keyword arguments.

    Returns:
      A `Tuning`, a tuple of `Tuned`: spec, method, the seconds of each candidate, and the method
      that was estimated. `print` of it is a table.
    """
    callable_fun("tune", fun, "Give the function itself, and its arguments after it")
    # What `accelerate` makes of fun may have its images channels last.
    found_in = [explanation(f, *args, **kwargs) for f in (fun, accelerate(fun))]
    specs = {c.spec for found in found_in for c in found if c.choice.considered}
    found = []
    for spec in sorted(specs, key=repr):
        result = _measure(spec)
        if result is not None:
            found.append(result)
    jax.clear_caches()
    return Tuning(found)


def contenders(spec: ConvSpec) -> list[Option]:
    """The candidates worth measuring: the best estimates, and lax."""
    considered = choose(spec).considered
    limit = WORTH_MEASURING * considered[0].compared
    return [o for o in considered if o.compared <= limit or o.method == "lax"]


def _measure(spec: ConvSpec) -> Tuned | None:
    options = contenders(spec)
    if len(options) < 2:
        return None
    lhs, rhs = (
        _random(spec.lhs_shape, spec.lhs_dtype, 0),
        _random(spec.rhs_shape, spec.rhs_dtype, 1),
    )
    programs = {}
    for option in options:
        programs[option] = compiled(spec, option, lhs, rhs)
    medians = interleaved({o: functools.partial(p, lhs, rhs) for o, p in programs.items()})
    winner = min(medians, key=lambda o: medians[o])
    seconds = {option.method: s for option, s in medians.items()}
    _tuned.remember(spec, winner.method, winner.kind, seconds)
    return Tuned(spec, winner.method, seconds, choose(spec).method)


def compiled(
    spec: ConvSpec, option: Option, lhs: jax.Array, rhs: jax.Array
) -> Callable[..., jax.Array]:
    """The convolution by the method of `option`, compiled as it is within a program."""
    choice = Choice(option.method, option.kind, option.seconds, "")
    lowered = jax.jit(functools.partial(run, spec=spec, choice=choice)).lower(lhs, rhs)
    return lowered.compile(heap_options(lowered.compiler_ir()))


def _random(shape: tuple[int, ...], dtype: np.dtype, seed: int) -> jax.Array:
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return jnp.asarray(values).astype(dtype)


def interleaved(
    programs: dict[Any, Callable[[], jax.Array]], *, rounds: int = 7, budget: float = 2.0
) -> dict[Any, float]:
    """The median seconds of each program; in each round, each runs once untimed, then timed.

    After `budget` seconds (three rounds at least) it stops early.
    """
    times: dict[Any, list[float]] = {name: [] for name in programs}
    begin = time.perf_counter()
    for number in range(rounds):
        if number >= 3 and time.perf_counter() - begin > budget:
            break
        for name, program in programs.items():
            program().block_until_ready()
            start = time.perf_counter()
            program().block_until_ready()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}
