"""`python -m jaxconv calibrate`: sample layers, measure, fit, report how good the choice is."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from jaxconv._choose import choose, options, view_of
from jaxconv._cost import AVX2_ENDING, calibration, coefficients_for, estimate, features, row
from jaxconv._methods import METHODS
from jaxconv.cli.calibrate.fit import Sample, factors, fit
from jaxconv.cli.calibrate.measure import measure
from jaxconv.cli.calibrate.sample import KINDS, Layer, convolutions, training
from jaxconv.cli.errors import UserError, check_writable, make_folder

# Convolutions whose estimates so far --blend asks for, how many measurements those of a row count
# as at most, and seconds that no estimate may reach.
TOLD, MOST_TOLD, LONG = 6000, 8, 0.3
# The least part of a measurement that is left when `besides`, an estimate, is subtracted.
LEAST_REST = 0.2


def calibrate(
    seconds: Annotated[float, typer.Option(help="How long to measure.", min=1)] = 60,
    seed: Annotated[int, typer.Option(help="Which random layers.")] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Measure only this method.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Sample only this kind of layer.")] = None,
    data: Annotated[Path | None, typer.Option(help="JSON lines to append measurements to.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for the coefficients: a file a generation, processor and form."),
    ] = None,
    blend: Annotated[
        bool,
        typer.Option(help="Let the estimates so far count too; with AVX2, those for AVX-512."),
    ] = False,
    changed: Annotated[
        list[str] | None, typer.Option(help="With --blend: a method whose estimates are void.")
    ] = None,
) -> None:
    """Measure every method on random layers of all kinds; fit the engine's cost model to it.

    Prints how far the method that "auto" chose was from the fastest one measured (the regret) and
    from lax. With --output, writes the coefficients for this kind of processor (with AVX2 alone, or
    any other) and every generation of JAX in --data; with --blend those for the JAX that runs, to
    suit both the machine of the data and the one that was measured before. With AVX2, --blend
    starts from the estimates for AVX-512, multiplied by how much longer each method took here.
    """
    unknown = sorted(set(changed or ()) - set(METHODS))
    if unknown or (changed and not blend):
        rule = f"knows no method {unknown[0]}" if unknown else "needs --blend"
        raise UserError(f"calibrate: --changed {rule}; got {' '.join(changed or ())}.")
    for option, given, known in (("--only", only, METHODS), ("--kind", kind, KINDS)):
        strange = sorted(set(given or ()) - set(known))
        if strange:
            names = ", ".join(sorted(set(known)))
            raise UserError(f"calibrate: {option} must be one of {names}; got {strange[0]}.")
    check_writable("calibrate", "--data", data)
    if output:
        make_folder("calibrate", "--output", output)
    console = Console()
    records, begin = [], time.monotonic()
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=seconds)
        for layer, direction, spec in convolutions(seed, kind or ()):
            measured, wrong = measure(spec, only or ())
            chosen = choose(spec)
            for line in wrong:
                console.print(f"[red]{line}[/]")
            records.append(
                {
                    "jax": calibration(),
                    "kind": layer.kind,
                    "direction": direction,
                    "layer": layer._asdict(),
                    "chosen": f"{chosen.kind}/{chosen.method}",
                    "seconds": {"/".join(name): took for name, took in measured.items()},
                }
            )
            if data:  # at once: a long measurement may be interrupted
                with data.open("a") as file:
                    file.write(json.dumps(records[-1]) + "\n")
            progress.update(task, completed=time.monotonic() - begin)
            if time.monotonic() - begin > seconds:
                break
    console.print(report(records))
    if output:
        everything = read(data) if data else records
        void = None
        everything = [r for r in everything if for_avx2(r["jax"]) == for_avx2(calibration())]
        if blend:  # with AVX-512 once: what was blended before must not be again
            everything = [r for r in everything if r["jax"] == calibration()]
            void = tuple(changed or ())
        for name, text in modules(everything, void).items():
            (output / name).write_text(text)


def read(data: Path) -> list[dict]:
    """The measurements in a file of JSON lines."""
    records = []
    for number, line in enumerate(data.read_text().splitlines(), 1):
        try:
            records.append(json.loads(line))
        except ValueError:
            rule = f"calibrate: --data must hold a measurement a line; got {data}"
            raise UserError(f"{rule}, whose line {number} is damaged. Delete that line.") from None
    return records


def report(records: list[dict]) -> Table:
    """For each kind of layer and direction: how the choice compares with the best, and with lax."""
    table = Table(title=f"chosen method, geometric means (JAX {calibration()})")
    for head in ("layers", "direction", "count", "/ best", "/ lax", "worst / lax", "best / lax"):
        table.add_column(head, justify="right" if head not in ("layers", "direction") else "left")
    groups: dict[tuple[str, str], list[dict]] = {}
    for r in records:
        groups.setdefault((r["kind"], r["direction"]), []).append(r)
        groups.setdefault(("all", r["direction"]), []).append(r)
    for (kind, direction), found in sorted(groups.items()):
        usable = [r for r in found if r["chosen"] in r["seconds"] and lax_of(r)]
        if not usable:
            continue
        took = [r["seconds"][r["chosen"]] for r in usable]
        best = [min(r["seconds"].values()) for r in usable]
        lax = [lax_of(r) for r in usable]
        ratios = [np.divide(took, best), np.divide(took, lax), np.divide(best, lax)]
        means = [math.exp(np.mean(np.log(r))) for r in ratios]
        cells = (means[0], means[1], ratios[1].max(), means[2])
        table.add_row(kind, direction, str(len(usable)), *(f"{c:.2f}" for c in cells))
    return table


def for_avx2(version: str) -> bool:
    """Whether coefficients of that name are for AVX2."""
    return version.endswith(AVX2_ENDING)


def lax_of(record: dict) -> float:
    """The seconds of lax, 0 if it was not measured."""
    found = record["seconds"]
    return found.get("forward/lax", found.get("weight/lax", 0.0))


def samples(records: list[dict]) -> list[Sample]:
    """Measurements of the methods that are linear in the features, less what is besides these."""
    found = []
    for r in records:
        spec = training(Layer(**r["layer"]))[r["direction"]]
        for name, seconds in r["seconds"].items():
            kind, method = name.split("/")
            form, known = view_of(spec, kind).form, METHODS[method]
            if known.linear:
                rest = max(seconds - known.besides(form), LEAST_REST * seconds)
                found.append((row(method, form), features(known.work(form)), rest, 1.0))
    return found


def blended(measured: list[Sample], version: str, void: Collection[str]) -> list[Sample]:
    """`measured`, and the estimates so far of many random layers, which count as much at most.

    So a row that was not measured now stays about as it is, and one that was measured often hardly
    knows what was before; for AVX2 that is the one for AVX-512, times how much longer its like
    took. The estimates of the methods in `void` are left out.
    """
    told: list[Sample] = []
    before = version.removesuffix(AVX2_ENDING)
    longer = how_much_longer(measured, before, void) if for_avx2(version) else lambda name: 1.0
    for _, _, spec in itertools.islice(convolutions(0), TOLD):
        for option in options(spec)[0]:
            form, known = view_of(spec, option.kind).form, METHODS[option.method]
            seconds, name = estimate(known, form, before), row(known.name, form)
            if known.linear and known.name not in void and seconds and sane(known.name, seconds):
                took = seconds * longer(name)
                told.append((name, features(known.work(form)), took, 1.0))
    now, then = (Counter(name for name, *_ in rows) for rows in (measured, told))

    def counts(name: str) -> float:
        return min(1.0, min(now[name], MOST_TOLD) / then[name]) if now[name] else 1.0

    return measured + [
        (name, quantities, seconds, counts(name)) for name, quantities, seconds, _ in told
    ]


def how_much_longer(
    measured: list[Sample], before: str, void: Collection[str]
) -> Callable[[str], float]:
    """The factors by which rows took longer than the coefficients named `before` say."""
    ratios = []
    for name, quantities, seconds, _ in measured:
        known = coefficients_for(name, before)
        if known and name.split("/")[0] not in void:
            ratios.append((name, seconds / float(np.dot(known, quantities))))
    return factors(ratios)


def sane(method: str, seconds: float) -> bool:
    """Whether an estimate can be: only lax takes so long for layers like these."""
    return method == "lax" or seconds < LONG


def modules(records: list[dict], void: Collection[str] | None = None) -> dict[str, str]:
    """The texts of the files in `_calibration`: one a generation, processor, form and layout."""
    texts = {}
    for version in sorted({r["jax"] for r in records}):
        measured = samples([r for r in records if r["jax"] == version])
        if void is not None:
            measured = blended(measured, version, void)
        fitted = fit(measured)
        for kind, layout in itertools.product(("forward", "weight"), ("first", "last")):
            lines = [
                f'"""Coefficients for JAX {version}, {kind} forms, channels {layout}, '
                'fitted by `jaxconv calibrate`. Not edited."""',
                "",
                "# fmt: off",
                "COEFFICIENTS: dict[str, tuple[float, ...]] = {",
            ]
            for name, coefficients in fitted.items():
                if name.split("/")[1:3] == [kind, layout]:
                    numbers = ", ".join(f"{c:.4g}" for c in coefficients)
                    lines.append(f'    "{name}": ({numbers}),')
            name = f"jax_{version.replace('.', '_').replace(' ', '_')}_{kind}_{layout}.py"
            texts[name] = "\n".join([*lines, "}", ""])
    return texts
