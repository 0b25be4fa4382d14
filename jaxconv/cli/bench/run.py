"""Runs the benchmarks: every case of the tables asked for, each contender, one result a case."""

import functools
import math
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxconv
from jaxconv.cli.bench.layers import LAYERS, Layer
from jaxconv.cli.bench.more_layers import MORE_LAYERS
from jaxconv.cli.bench.networks import NETWORKS
from jaxconv.cli.bench.networks_jax import network_step
from jaxconv.cli.bench.reports import REPORTS
from jaxconv.cli.bench.timing import (
    SLOW_CALL,
    Contender,
    JaxContender,
    Timing,
    matmul_rate,
    measure,
    training_step,
)
from jaxconv.cli.bench.torch_worker import TorchContender, TorchWorker

# The tables of a run that asks for none.
TABLES = ("layers", "networks", "reports")
# An output whose largest entry is below this part of the largest of all is rounding: the gradient
# of a shift that the next normalisation takes away is 0, and comes out as 1e-10.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Case:
    """One row: a program to be timed.

    Attributes:
        table: "layers", "networks", "reports" or "more".
        name: The row's name.
        family: What its geometric mean is taken with.
        what: "forward" or "step".
        layout: "last" or "first", "" where the report fixes it.
        flops: Operations of the program, 0 if unknown.
        build: ``build(conv)`` gives a JAX function and its arguments.
        prepare: Sets the program up in the torch process.
        x64: Needs float64.
    """

    table: str
    name: str
    family: str
    what: str
    layout: str
    flops: int
    build: Callable[[Callable[..., Any]], tuple[Callable[..., Any], Sequence[Any]]]
    prepare: Callable[[TorchWorker], TorchContender]
    x64: bool = False


@dataclass(frozen=True)
class Result:
    """What one case took.

    Attributes:
        case: The case.
        timings: Contender ("jaxconv", "lax", "torch") to its timing.
        difference: Largest difference of jaxconv's outputs from lax's over lax's largest output.
        notes: What went wrong, if something did.
    """

    case: Case
    timings: dict[str, Timing]
    difference: float | None = None
    notes: list[str] = field(default_factory=list)

    def ratio(self, upper: str, lower: str) -> float | None:
        """Time of one contender over another's, None if one is missing."""
        if upper in self.timings and lower in self.timings:
            return self.timings[upper].over(self.timings[lower])
        return None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        case = self.case
        return {
            "table": case.table,
            "name": case.name,
            "family": case.family,
            "what": case.what,
            "layout": case.layout,
            "flops": case.flops,
            "timings": {name: asdict(timing) for name, timing in self.timings.items()},
            "jaxconv_over_torch": self.ratio("jaxconv", "torch"),
            "lax_over_torch": self.ratio("lax", "torch"),
            "jaxconv_over_lax": self.ratio("jaxconv", "lax"),
            "difference": self.difference,
            "notes": self.notes,
        }


def cases(tables: Iterable[str], layouts: Sequence[str], only: Sequence[str] = ()) -> list[Case]:
    """The cases of the tables, in order.

    Args:
        tables: Of "layers", "networks", "reports", "more".
        layouts: Of "last" (channels last) and "first".
        only: Keep cases whose name or family contains one of these, in any case of letters.
    """
    makers = {
        "layers": functools.partial(_layers, "layers", LAYERS),
        "networks": _networks,
        "reports": _reports,
        "more": functools.partial(_layers, "more", MORE_LAYERS),
    }
    everything = [case for table in tables for case in makers[table](layouts)]
    words = [word.lower() for word in only]
    return [
        case
        for case in everything
        if not words or any(w in f"{case.family} {case.name}".lower() for w in words)
    ]


def _layers(table: str, layers: Sequence[Layer], layouts: Sequence[str]) -> list[Case]:
    found = []
    for layer in layers:
        for layout in layouts:
            for what in ("forward", "step"):

                def build(conv: Any, layer: Any = layer, layout: str = layout, what: str = what):
                    function = layer.function(layout, conv)
                    x, w, g = map(jnp.asarray, layer.arrays(layout))
                    if what == "forward":
                        return function, (x, w)
                    return training_step(function), (x, w, g)

                def prepare(
                    worker: TorchWorker, layer: Any = layer, layout: str = layout, what: str = what
                ):
                    return worker.prepare_layer(layer, what, layout)

                flops = layer.forward_flops * (1 if what == "forward" else 3)
                found.append(
                    Case(table, layer.name, layer.family, what, layout, flops, build, prepare)
                )
    return found


def _networks(layouts: Sequence[str]) -> list[Case]:
    found = []
    for network in NETWORKS:
        for layout in layouts:

            def build(conv: Any, network: Any = network, layout: str = layout):
                return network_step(network, layout, conv)

            def prepare(worker: TorchWorker, name: str = network.name, layout: str = layout):
                return worker.prepare("network", name, layout=layout)

            found.append(
                Case("networks", network.name, "network", "step", layout, 0, build, prepare)
            )
    return found


def _reports(_: Sequence[str]) -> list[Case]:
    return [
        Case(
            "reports",
            report.name,
            "report",
            report.what,
            "",
            report.flops,
            report.build,
            lambda worker, name=report.name: worker.prepare("report", name),
            report.x64,
        )
        for report in REPORTS
    ]


def our_way() -> str | None:
    """How jaxconv takes part: "accelerate", "conv_general_dilated", or not at all."""
    for name in ("accelerate", "conv_general_dilated"):
        if hasattr(jaxconv, name):
            return name
    return None


def run_case(case: Case, worker: TorchWorker | None, rounds: int) -> Result:
    """Times one case; a contender that fails is left out, with a note."""
    contenders: dict[str, Contender] = {}
    notes: list[str] = []
    with ExitStack() as stack:
        if case.x64:
            stack.enter_context(jax.enable_x64(True))
        function, args = case.build(jax.lax.conv_general_dilated)
        contenders["lax"] = lax = JaxContender(function, args)
        ours = None
        way = our_way()
        try:
            if way == "accelerate":
                ours = JaxContender(getattr(jaxconv, way)(function), args)
            elif way:
                ours = JaxContender(case.build(getattr(jaxconv, way))[0], args)
        except Exception as error:
            notes.append(f"jaxconv: {type(error).__name__}: {error}")
        if ours:
            contenders = {"jaxconv": ours, "lax": lax}
        if worker:
            try:
                contenders["torch"] = case.prepare(worker)
            except RuntimeError as error:
                notes.append(str(error))
        timings = measure(contenders, rounds)
        difference = None
        if ours and timings["lax"].seconds < SLOW_CALL:
            difference = _difference(ours(), lax())
    return Result(case, timings, difference, notes)


def _difference(ours: Any, theirs: Any) -> float:
    """Largest difference over the largest value, the worst of all outputs."""
    a, b = ([np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(t)] for t in (ours, theirs))
    sizes = [np.abs(array).max(initial=0) for array in b]
    least = ROUNDING * max(sizes)
    differences = (
        float(np.abs(one - other).max() / max(size, least))
        for one, other, size in zip(a, b, sizes, strict=True)
        if size > 0
    )
    return max(differences, default=0.0)


def run(chosen: Sequence[Case], worker: TorchWorker | None, rounds: int) -> Iterator[Result]:
    """Times the cases one after another; JAX's caches are emptied on the way."""
    for case in chosen:
        yield run_case(case, worker, rounds)
        jax.clear_caches()


def machine(worker: TorchWorker | None) -> dict[str, Any]:
    """The machine, the versions, and the measured limit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu_name(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": version("jaxlib"),
        "jaxconv": our_way(),
        "torch": worker.about()["version"] if worker else None,
        "matmul_gflops": matmul_rate() / 1e9,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """The exponential of the mean of logs over the values that are there."""
    logs = [math.log(v) for v in values if v]
    return math.exp(sum(logs) / len(logs)) if logs else None


def summary(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Geometric means and worst ratios: by table, what and layout, then by family."""
    groups: dict[tuple[str, str, str, str], list[Result]] = {}
    for result in results:
        case = result.case
        groups.setdefault((case.table, case.what, case.layout, ""), []).append(result)
    for result in results:
        case = result.case
        if case.table in ("layers", "more"):
            groups.setdefault((case.table, case.what, case.layout, case.family), []).append(result)
    rows = []
    for (table, what, layout, family), group in groups.items():
        row: dict[str, Any] = {
            "table": table, "what": what, "layout": layout, "family": family, "cases": len(group)
        }  # fmt: skip
        for upper, lower in (("jaxconv", "torch"), ("lax", "torch"), ("jaxconv", "lax")):
            ratios = [result.ratio(upper, lower) for result in group]
            there = [r for r in ratios if r]
            row[f"{upper}_over_{lower}"] = geometric_mean(ratios)
            row[f"{upper}_over_{lower}_worst"] = max(there) if there else None
        rows.append(row)
    return rows
