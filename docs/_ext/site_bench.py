"""The directive `jaxconv-bench`: tables of what `python3 -m jaxconv bench --json` wrote."""

import json
from collections import defaultdict
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective


class JaxconvBench(SphinxDirective):
    """`file`, below docs/_static: the means; with `:table: layers`, each row of that table."""

    required_arguments = 1
    option_spec = {"table": directives.unchanged}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """The tables, written as MyST."""
        path = Path(self.env.srcdir) / "_static" / self.arguments[0]
        self.env.note_dependency(str(path))
        record = json.loads(path.read_text())
        table = self.options.get("table")
        lines = _rows(record, table) if table else _means(record)
        return self.parse_text_to_nodes("\n".join(lines))


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _means(record: dict) -> list[str]:
    about = record["machine"]
    torch = f", PyTorch {about['torch']}" if about.get("torch") else ""
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['system']}; Python {about['python']}, "
        f"jax {about['jax']}{torch}; {about['date']}, {about['rounds']} rounds; "
        f"a float32 matrix product runs at {about['matmul_gflops']:.0f} GFLOP/s.",
        "",
        "| | direction | layout | rows | jaxconv / PyTorch (worst) | lax / PyTorch (worst) "
        "| jaxconv / lax (worst) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in record["summary"]:
        cells = []
        for pair in ("jaxconv_over_torch", "lax_over_torch", "jaxconv_over_lax"):
            mean, worst = row.get(pair), row.get(f"{pair}_worst")
            cells.append("" if mean is None else f"{mean:.2f} ({worst:.2f})")
        name = row["family"] or f"**{row['table']}**"
        head = (name, row["what"], row["layout"], str(row["cases"]))
        lines.append(f"| {' | '.join((*head, *cells))} |")
    return [*lines, ""]


def _rows(record: dict, table: str) -> list[str]:
    found: dict[tuple[str, str], dict[str, dict]] = defaultdict(dict)
    for result in record["results"]:
        if result["table"] == table:
            found[result["name"], result["layout"]][result["what"]] = result
    kinds = sorted({kind for row in found.values() for kind in row})
    heads = ["", "layout"]
    for kind in kinds:
        heads += [f"{kind}, ms", "/ PyTorch", "lax / PyTorch", "/ lax"]
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for (name, layout), row in found.items():
        cells = [name, layout]
        for kind in kinds:
            result = row.get(kind)
            if result is None or "jaxconv" not in result["timings"]:
                cells += [""] * 4
                continue
            cells.append(_milliseconds(result["timings"]["jaxconv"]))
            for pair in ("jaxconv_over_torch", "lax_over_torch", "jaxconv_over_lax"):
                cells.append(_ratio(result.get(pair)))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _milliseconds(timing: dict) -> str:
    spread = (timing["high"] - timing["low"]) / 2 / timing["seconds"]
    return f"{timing['seconds'] * 1e3:.3g} ±{spread:.0%}"


def setup(app: object) -> dict[str, bool]:
    """Registers it."""
    app.add_directive("jaxconv-bench", JaxconvBench)
    return {"parallel_read_safe": True}
