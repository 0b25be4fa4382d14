"""Values as a terminal shows them: tables for matrices, sparklines for signals."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

BARS = "▁▂▃▄▅▆▇█"
LONG = 12


def sparkline(values: Any, width: int = 64) -> str:
    """A row of bars, the lowest value the lowest bar; long signals are averaged to `width`."""
    values = np.asarray(values, np.float64)
    if len(values) > width:
        values = np.array([part.mean() for part in np.array_split(values, width)])
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
    return "".join(BARS[round(v * (len(BARS) - 1))] for v in scaled)


def number(value: Any) -> str:
    """At most five digits."""
    return f"{float(value):.5g}"


def value(name: str, held: Any) -> RenderableType:
    """`name = held`, drawn as what it is."""
    if hasattr(held, "nodes"):
        return Group(Text(f"{name}:", style="bold"), Text(str(held)))
    if not hasattr(held, "shape"):
        return Text.assemble((name, "bold"), f" = {held}")
    array = np.asarray(held)
    if array.ndim == 0 or (array.ndim == 1 and len(array) <= LONG):
        inside = number(array) if array.ndim == 0 else f"[{', '.join(map(number, array))}]"
        return Text.assemble((name, "bold"), f" = {inside}")
    if array.ndim == 2 and array.shape[1] <= LONG:
        table = Table.grid(padding=(0, 1))
        for _ in range(array.shape[1]):
            table.add_column(justify="right")
        for row in array:
            table.add_row(*(Text(number(v), style="" if v else "dim") for v in row))
        return Group(Text(f"{name} =", style="bold"), table)
    lines = [Text.assemble((name, "bold"), f", shape {array.shape}:")]
    lines += [Text(sparkline(row), style="cyan") for row in array.reshape(-1, array.shape[-1])]
    return Group(*lines)
