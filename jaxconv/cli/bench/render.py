"""The benchmarks in the terminal: a row once it is measured, ratios first, means at the end."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxconv.cli.bench.run import Result, summary

TITLES = {
    "layers": "Layers of published networks",
    "networks": "Whole networks, training step",
    "reports": "What users reported",
}
RATIOS = (("jaxconv", "torch"), ("lax", "torch"), ("jaxconv", "lax"))
WARN_DIFFERENCE = {"forward": 1e-4, "step": 1e-3}
"""Differences from lax above these are shown beside the row: a wrong answer is not fast."""


def heading(machine: dict[str, Any]) -> list[str]:
    """The lines above the tables: machine, versions, contenders and the limit."""
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        f"Python {machine['python']}, jax {machine['jax']}, jaxlib {machine['jaxlib']}, "
        f"torch {machine['torch'] or 'not installed'}",
        f"float32 matrix product: {machine['matmul_gflops']:.0f} GFLOP/s "
        "(share: a row's FLOPs over its time, as part of that)",
    ]
    if machine["jaxconv"] is None:
        lines.append("jaxconv has no convolution to time yet: lax only.")
    elif machine["jaxconv"] != "accelerate":
        lines.append(f"jaxconv takes part as jaxconv.{machine['jaxconv']}.")
    if machine["torch"] is None:
        lines.append("torch is not installed: its column stays empty.")
    return lines


class Rows:
    """Prints results one below the other, with a header above each table."""

    def __init__(self, console: Console, limit: float):
        """Rows for a console.

        Args:
            console: Where they are printed.
            limit: FLOP/s of the matrix product.
        """
        self.console = console
        self.limit = limit
        self.table = ""
        self.wide = console.width >= 112
        self.name_width = 40 if self.wide else max(20, console.width - 53)

    def header(self, table: str) -> None:
        """The title and column names of one table."""
        self.table = table
        line = Text.assemble("\n", (TITLES[table], "bold"), "\n")
        line.append(f"{'':{self.name_width}} {'':4} {'':5}", "dim")
        for upper, lower in RATIOS:
            line.append(f" {upper[:4] + '/' + lower[:5]:>10}" if self.wide else f" {upper[:1]}/{lower[:1]:<4}".rjust(7), "dim")  # noqa: E501
        for name in ("jaxconv", "lax", "torch"):
            line.append(f" {name + ' ms':>{15 if self.wide else 7}}"[:16], "dim")
        if self.wide:
            line.append(f" {'share':>6}", "dim")
        self.console.print(line, no_wrap=True, overflow="crop", highlight=False)

    def print(self, result: Result) -> None:
        """One result."""
        case = result.case
        if case.table != self.table:
            self.header(case.table)
        name = case.name[: self.name_width]
        what = "fwd" if case.what == "forward" else "step"
        line = Text(f"{name:{self.name_width}} {what:4} {case.layout:5}")
        for upper, lower in RATIOS:
            ratio = result.ratio(upper, lower)
            text = "-" if ratio is None else f"{ratio:.2f}"
            bounds = (1.05, 1.05) if lower == "lax" else (1.0, 3.0)
            line.append(f" {text:>{10 if self.wide else 6}}", _colour(ratio, *bounds))
        for contender in ("jaxconv", "lax", "torch"):
            timing = result.timings.get(contender)
            if timing is None:
                text = "-"
            elif self.wide:
                spread = f"±{min(timing.spread, 9.99) * 100:.0f}%" if timing.calls > 1 else "once"
                text = f"{_milliseconds(timing.seconds)} {spread:>5}"
            else:
                text = _milliseconds(timing.seconds)
            line.append(f" {text:>{15 if self.wide else 7}}")
        timing = result.timings.get("jaxconv") or result.timings["lax"]
        if self.wide:
            share = f"{case.flops / timing.seconds / self.limit:.0%}" if case.flops else ""
            line.append(f" {share:>6}", "dim")
        self.console.print(line, no_wrap=True, overflow="crop", highlight=False)
        for note in result.notes:
            self.console.print(f"    {note}", style="red", markup=False, highlight=False)
        if result.difference is not None and result.difference > WARN_DIFFERENCE[case.what]:
            self.console.print(
                f"    outputs differ from lax's by {result.difference:.1e} of the largest",
                style="red",
            )


def _colour(ratio: float | None, good: float, bad: float) -> str:
    if ratio is None:
        return "dim"
    return "green" if ratio <= good else "yellow" if ratio <= bad else "red"


def _milliseconds(seconds: float) -> str:
    value = seconds * 1e3
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def means(results: Sequence[Result]) -> Table:
    """The geometric means, by table and then by family."""
    table = Table(title="Geometric means (worst)", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for column in ("fwd/step", "layout"):
        table.add_column(column, style="dim")
    for upper, lower in RATIOS:
        table.add_column(f"{upper}/{lower}", justify="right")
    table.add_column("cases", justify="right", style="dim")
    for row in summary(results):
        cells = []
        for upper, lower in RATIOS:
            mean, worst = row[f"{upper}_over_{lower}"], row[f"{upper}_over_{lower}_worst"]
            style = _colour(mean, 1.0, 1.05 if lower == "lax" else 3.0)
            cells.append(
                Text("-", "dim") if mean is None else Text(f"{mean:.2f} ({worst:.2f})", style)
            )
        name = f"  {row['family']}" if row["family"] else row["table"]
        table.add_row(
            Text(name, "" if row["family"] else "bold"),
            "fwd" if row["what"] == "forward" else "step",
            row["layout"],
            *cells,
            str(row["cases"]),
        )
    return table
