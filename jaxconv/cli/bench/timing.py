"""Fair timing: interleaved rounds, an untimed call before the timed ones, medians and quartiles.

[`compare`][] is the door for scripts::

    from jaxconv.cli.bench.timing import compare
    times = compare({"lax": f, "mine": g}, (x, w))
    times["mine"].seconds, times["mine"].over(times["lax"])
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

SLOW_CALL = 4.0
"""Seconds. A contender whose first compiled call takes longer is not called again."""
WARM_SECONDS = 0.004
"""Seconds of untimed calls before the timed ones, at least one call: caches and threads wake up."""
SAMPLE_SECONDS = 0.05
"""Seconds of timed calls that a contender gets in one round, if a call is shorter."""
ROUND_SECONDS = 3.0
"""Seconds of timed calls after which a contender gets no further rounds."""


@dataclass(frozen=True)
class Timing:
    """What one contender took.

    Attributes:
        seconds: Median of one call.
        low: First quartile.
        high: Third quartile.
        calls: Number of timed calls.
        rounds: Median of each round.
        compile_seconds: Compilation, None if there was none.
        temporary_bytes: Temporary memory of the compiled program, None if unknown.
    """

    seconds: float
    low: float
    high: float
    calls: int
    rounds: tuple[float, ...] = ()
    compile_seconds: float | None = None
    temporary_bytes: int | None = None

    @property
    def spread(self) -> float:
        """Interquartile range as a fraction of the median."""
        return (self.high - self.low) / self.seconds

    def over(self, other: "Timing") -> float:
        """This time over another's, measured in the same rounds.

        The median of the rounds' ratios: a machine that slows down for a while slows both in the
        same round, which cancels.
        """
        together = min(len(self.rounds), len(other.rounds))
        if together < 3:
            return self.seconds / other.seconds
        pairs = zip(self.rounds[:together], other.rounds[:together], strict=True)
        return float(np.median([mine / theirs for mine, theirs in pairs]))


class Contender(Protocol):
    """Something that can be timed."""

    compile_seconds: float | None
    temporary_bytes: int | None

    def sample(self, calls: int) -> list[float]:
        """Seconds of each of ``calls`` calls, after untimed ones if ``calls`` > 1."""
        ...


def timed_calls(program: Callable[[], Any], calls: int) -> list[float]:
    """Seconds of each of ``calls`` calls, after untimed ones if ``calls`` > 1."""
    if calls > 1:
        start = time.perf_counter()
        program()
        while time.perf_counter() - start < WARM_SECONDS:
            program()
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        program()
        seconds.append(time.perf_counter() - start)
    return seconds


class JaxContender:
    """A JAX function, compiled once for its arguments."""

    def __init__(self, function: Callable[..., Any], args: Sequence[Any]):
        """Compiles ``function`` (jitted here unless it is) for ``args``."""
        jitted = function if hasattr(function, "lower") else jax.jit(function)
        start = time.perf_counter()
        self.compiled = jitted.lower(*args).compile()  # pyright: ignore[reportFunctionMemberAccess]
        self.compile_seconds: float | None = time.perf_counter() - start
        analysis = self.compiled.memory_analysis()
        self.temporary_bytes: int | None = analysis.temp_size_in_bytes if analysis else None
        self.args = args

    def __call__(self) -> Any:
        """One call, finished when it returns."""
        return jax.block_until_ready(self.compiled(*self.args))

    def sample(self, calls: int) -> list[float]:
        """Seconds of each of ``calls`` calls, after untimed ones if ``calls`` > 1."""
        return timed_calls(self, calls)


def measure(contenders: Mapping[str, Contender], rounds: int = 7) -> dict[str, Timing]:
    """Times the contenders in turn, round after round.

    The order turns, and every other round runs backwards, so that nobody always follows the same
    neighbour. The number of calls in a round adapts to the contender: about ``SAMPLE_SECONDS``
    worth of them.
    """
    samples: dict[str, list[list[float]]] = {}
    calls: dict[str, int] = {}
    for name, contender in contenders.items():
        first = contender.sample(1)
        if first[0] > SLOW_CALL:
            samples[name], calls[name] = [first], 0
        else:
            # The first call pays for fresh memory: it is repeated once to choose the number.
            once = min(first[0], contender.sample(1)[0])
            samples[name], calls[name] = [], int(min(max(SAMPLE_SECONDS / once, 2), 60))
    names = list(contenders)
    for turn in range(rounds):
        first = turn // 2 % len(names)
        order = names[first:] + names[:first]
        for name in order if turn % 2 == 0 else reversed(order):
            if calls[name] and sum(map(sum, samples[name])) < ROUND_SECONDS:
                samples[name].append(contenders[name].sample(calls[name]))
    return {name: _timing(contenders[name], times) for name, times in samples.items()}


def _timing(contender: Contender, rounds: list[list[float]]) -> Timing:
    times = np.concatenate(rounds)
    low, median, high = np.quantile(times, (0.25, 0.5, 0.75)).tolist()
    return Timing(
        median,
        low,
        high,
        len(times),
        tuple(float(np.median(seconds)) for seconds in rounds),
        contender.compile_seconds,
        contender.temporary_bytes,
    )


def compare(
    functions: Mapping[str, Callable[..., Any]], args: Sequence[Any], rounds: int = 7
) -> dict[str, Timing]:
    """Times several JAX functions of the same arguments against each other.

    Args:
        functions: Name to function; each is jitted unless it is already.
        args: The arguments of all of them.
        rounds: Interleaved rounds.

    Returns:
        Name to `Timing`; ``.seconds`` is the median.
    """
    return measure({name: JaxContender(f, args) for name, f in functions.items()}, rounds)


def training_step(function: Callable[..., Any]) -> Callable[..., Any]:
    """The training step of a layer: ``(input, weight, output_gradient)`` to value and gradients."""

    def step(input, weight, output_gradient):
        output, pullback = jax.vjp(function, input, weight)
        return output, *pullback(output_gradient)

    return step


def matmul_rate(size: int = 1536, rounds: int = 7) -> float:
    """The machine's limit: FLOP/s of the best of several float32 matrix products in JAX."""
    a = jax.numpy.ones((size, size), "float32")
    contender = JaxContender(lambda a, b: a @ b, (a, a))
    best = min(min(contender.sample(5)) for _ in range(rounds))
    return 2 * size**3 / best
