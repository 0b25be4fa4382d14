"""The ``bench`` command: options, progress bar, files."""

import json
import sys
from contextlib import ExitStack
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jaxconv.cli.errors import UserError, check_picture, check_writable


class LayoutOption(StrEnum):
    """Which layouts are run."""

    last = "last"
    first = "first"
    both = "both"


class TableOption(StrEnum):
    """Which tables are run."""

    layers = "layers"
    networks = "networks"
    reports = "reports"
    more = "more"


def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only rows whose name or family contains this. May be repeated."),
    ] = None,
    layout: Annotated[
        LayoutOption, typer.Option(help="Channels last, channels first, or both.")
    ] = LayoutOption.both,
    table: Annotated[
        list[TableOption] | None,
        typer.Option(help="Only this table; 'more' only if asked for. May be repeated."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Interleaved rounds.")] = 7,
    torch: Annotated[
        bool, typer.Option(help="Time PyTorch too, in a process of its own, if it is installed.")
    ] = True,
    torch_python: Annotated[
        Path | None,
        typer.Option(metavar="PYTHON", help="The Python that has PyTorch, if not this one."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all results.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the ratios.")] = None,
    list_rows: Annotated[
        bool, typer.Option("--list", help="Print the names of the rows and end.")
    ] = False,
) -> None:
    """Time jaxconv beside lax and PyTorch on layers of published networks."""
    from rich.console import Console

    from jaxconv.cli.bench import render
    from jaxconv.cli.bench.run import TABLES, cases, machine, run, summary
    from jaxconv.cli.bench.torch_worker import TorchWorker, torch_available

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, render.WIDE))
    layouts = ("last", "first") if layout is LayoutOption.both else (layout.value,)
    tables = [t.value for t in table] if table else list(TABLES)
    chosen = cases(tables, layouts, only or ())
    if not chosen:
        raise UserError(
            f"bench: --only must match a row's name or family; got {', '.join(only or ())}. "
            "See the names with --list."
        )
    if list_rows:
        for name in dict.fromkeys(f"{c.table:9} {c.family:10} {c.name}" for c in chosen):
            console.print(name, markup=False, highlight=False)
        return
    check_writable("bench", "--json", json_file)
    check_writable("bench", "--plot", plot)
    if plot:
        check_picture("bench", "--plot", plot)

    results = []
    with ExitStack() as stack:
        worker = None
        if torch and (torch_python or torch_available()):
            python = torch_python or sys.executable
            try:
                worker = stack.enter_context(TorchWorker(python))
                worker.about()
            except (OSError, RuntimeError) as error:
                what = "--torch-python" if torch_python else "this Python, of PyTorch's process,"
                raise UserError(
                    f"bench: {what} must be one with PyTorch; got {python} ({error}). "
                    "Name another with --torch-python, or leave PyTorch out with --no-torch."
                ) from None
        about = machine(worker) | {"date": date.today().isoformat(), "rounds": rounds}
        for line in render.heading(about):
            console.print(line, highlight=False)
        rows = render.Rows(console, about["matmul_gflops"] * 1e9)
        try:
            with _progress(console) as progress:
                task = progress.add_task("", total=len(chosen))
                running = run(chosen, worker, rounds)
                for case in chosen:
                    progress.update(task, description=f"{case.name} {case.what} {case.layout}")
                    result = next(running)
                    results.append(result)
                    rows.print(result)
                    progress.advance(task)
        except KeyboardInterrupt:
            console.print(f"\nInterrupted after {len(results)} of {len(chosen)} rows.")
    if not results:
        raise typer.Exit(130)
    console.print()
    console.print(render.means(results))
    if json_file:
        record = {
            "machine": about,
            "results": [result.as_dict() for result in results],
            "summary": summary(results),
        }
        json_file.write_text(json.dumps(record, indent=1) + "\n")
        console.print(f"Results: {json_file}", highlight=False)
    if plot:
        from jaxconv.cli.bench.picture import draw

        draw(results, about, plot)
        console.print(f"Picture: {plot}", highlight=False)
    if len(results) < len(chosen):
        raise typer.Exit(130)


def _progress(console):
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        # Redrawn between measurements, hardly ever during one: drawing costs the machine's time.
        refresh_per_second=1,
    )
