"""The benchmarks as a picture: one bar a layer and contender, time over PyTorch's, log scale."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxconv.cli.bench.run import Result, geometric_mean

OURS, THEIRS = "#1f6feb", "#c9a227"


def draw(results: Sequence[Result], machine: dict[str, Any], path: Path) -> None:
    """Writes the picture.

    Each panel is one table, direction and layout. Without PyTorch the bars are time over lax's.

    Args:
        results: What was measured.
        machine: As `run.machine` returns it, for the caption.
        path: File to write; its suffix chooses the format.
    """
    from matplotlib.figure import Figure

    base = "torch" if any("torch" in r.timings for r in results) else "lax"
    panels: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        if base in result.timings:
            case = result.case
            panels.setdefault((case.table, case.layout, case.what), []).append(result)
    if not panels:
        raise ValueError("bench: nothing was measured that could be drawn; got no results.")
    # Panels with the same rows stand side by side: forward beside step.
    rows: dict[tuple[str, ...], list[list[Result]]] = {}
    for (table, layout, what), group in panels.items():
        names = tuple(r.case.name for r in group)
        alone = what if table == "reports" else ""
        rows.setdefault((table, layout, alone, *names), []).append(group)
    heights = [max(len(line[0]) * 0.21 + 0.75, 1.4) for line in rows.values()]
    figure = Figure(figsize=(12.5, sum(heights) + 0.75), layout="constrained", dpi=110)
    subfigures = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for subfigure, line in zip(subfigures, rows.values(), strict=True):
        axes = subfigure.subplots(1, len(line), squeeze=False, sharey=True)[0]
        for axis, group in zip(axes, line, strict=True):
            _panel(axis, group, base)
    torch = f", torch {machine['torch']}" if machine["torch"] else ""
    other = "PyTorch" if base == "torch" else "lax"
    figure.suptitle(
        f"Time over {other}'s time (1 = as fast, left is faster). {machine['cpu']}, "
        f"{machine['cores']} cores, jax {machine['jax']}{torch}",
        fontsize=10,
    )
    figure.savefig(path)


def _panel(axis: Any, group: Sequence[Result], base: str) -> None:
    case = group[0].case
    contenders = [c for c in ("jaxconv", "lax") if c != base]
    contenders = [c for c in contenders if any(c in r.timings for r in group)]
    thickness = 0.8 / max(len(contenders), 1)
    for i, contender in enumerate(contenders):
        ratios = [r.ratio(contender, base) or float("nan") for r in group]
        places = [row + (i - (len(contenders) - 1) / 2) * thickness for row in range(len(group))]
        mean = geometric_mean(r.ratio(contender, base) for r in group)
        label = f"{contender}  (geometric mean {mean:.2f})" if mean else contender
        # A bar begins at 1: to the left it is faster than the base, to the right slower.
        axis.barh(
            places, [r - 1 for r in ratios], thickness, left=1,
            color=OURS if contender == "jaxconv" else THEIRS, label=label,
        )  # fmt: skip
    axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=0.8)
    axis.axvline(3, color="#d1242f", linewidth=0.8, linestyle=":")
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, 0.3), max(high, 4))
    axis.set_yticks(range(len(group)), [r.case.name for r in group], fontsize=7.5)
    axis.set_ylim(len(group) - 0.4, -0.6)
    axis.tick_params(axis="x", labelsize=8)
    ticks = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000]
    low, high = axis.get_xlim()
    axis.set_xticks([t for t in ticks if low <= t <= high], minor=False)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.minorticks_off()
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    layout = f", channels {case.layout}" if case.layout else ""
    what = "training step" if case.what == "step" else "forward"
    axis.set_title(f"{case.table}: {what}{layout}", fontsize=9, loc="left", pad=17)
    axis.legend(
        fontsize=7.5, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, frameon=False,
        borderaxespad=0.2, handlelength=1.2,
    )  # fmt: skip
