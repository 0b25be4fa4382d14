"""The benchmarks in the terminal: a row once it is measured, ratios first, means at the end."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxconv.cli.bench.run import Result, summary
from jaxconv.cli.bench.timing import Timing

TITLES = {
    "layers": "Layers of published networks",
    "networks": "Whole networks, training step",
    "reports": "What users reported",
    "more": "More layers",
}
WIDE = 119
"""Columns of a terminal that shows lax's time, the spread and the share too."""
RATIOS = (("jaxconv", "torch"), ("lax", "torch"), ("jaxconv", "lax"))
WARN_DIFFERENCE = {"forward": 1e-4, "step": 1e-3}
"""Differences from lax above these are shown beside the row: a wrong answer is not fast."""


def heading(machine: dict[str, Any]) -> list[str]:
    """The lines above the tables: machine, versions, contenders and the limit."""
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        f"Python {machine['python']}, jax {machine['jax']}, jaxlib {machine['jaxlib']}, "
        f"torch {machine['torch'] or 'not timed'}",
        f"float32 matrix product: {machine['matmul_gflops']:.0f} GFLOP/s "
        "(share: a row's FLOPs over its time, as part of that)",
    ]
    if machine["jaxconv"] is None:
        lines.append("jaxconv has no convolution to time yet: lax only.")
    elif machine["jaxconv"] != "accelerate":
        lines.append(f"jaxconv takes part as jaxconv.{machine['jaxconv']}.")
    if machine["torch"] is None:
        lines.append("torch is not timed (not installed, or --no-torch): its column stays empty.")
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
        self.wide = console.width >= WIDE
        # name, fwd/step, layout; a ratio; a time; share
        self.times = ("jaxconv", "lax", "torch") if self.wide else ("jaxconv", "torch")
        self.time_width = 13 if self.wide else 8
        self.name_width = 37 if self.wide else max(16, console.width - 51)

    def header(self, table: str) -> None:
        """The title and column names of one table."""
        self.table = table
        upper, lower = (Text(" " * (self.name_width + 11), "dim") for _ in range(2))
        for over, under in RATIOS:
            upper.append(f"{over:>8}")
            lower.append(f"{'/' + under:>8}")
        for name in self.times:
            upper.append(f"{name:>{self.time_width}}")
            lower.append(f"{'ms':>{self.time_width}}")
        if self.wide:
            lower.append(f"{'share':>7}")
        for line in (Text(""), Text(TITLES[table], "bold"), upper, lower):
            self._line(line)

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
            text = "-" if ratio is None else f"{ratio:.2f}" if ratio < 1000 else f"{ratio:.0f}"
            bounds = (1.05, 1.05) if lower == "lax" else (1.0, 3.0)
            line.append(f"{text:>8}", _colour(ratio, *bounds))
        for contender in self.times:
            line.append(f"{self._time(result.timings.get(contender)):>{self.time_width}}")
        if self.wide and case.flops:
            timing = result.timings.get("jaxconv") or result.timings["lax"]
            line.append(f"{case.flops / timing.seconds / self.limit:>7.0%}", "dim")
        self._line(line)
        for note in result.notes:
            self.console.print(f"    {note}", style="red", markup=False, highlight=False)
        if result.difference is not None and result.difference > WARN_DIFFERENCE[case.what]:
            self.console.print(
                f"    outputs differ from lax's by {result.difference:.1e} of the largest",
                style="red",
            )

    def _time(self, timing: Timing | None) -> str:
        if timing is None:
            return "-"
        text = _milliseconds(timing.seconds)
        if not self.wide:
            return text
        spread = f"±{min(timing.spread, 9.99):.0%}" if timing.calls > 1 else "once"
        return f"{text} {spread:5}"

    def _line(self, line: Text) -> None:
        self.console.print(line, no_wrap=True, overflow="crop", highlight=False)


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
