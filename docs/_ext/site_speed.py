"""The directive `jaxconv-speed`: what `python3 -m jaxconv bench --json` wrote, as one picture.

    ```{jaxconv-speed} bench-avx512-0.10.json
    A caption.
    ```

A row a family of layers: the geometric means of lax's time and of jaxconv's over PyTorch's.
"""

import json
from pathlib import Path

from docutils import nodes
from matplotlib.figure import Figure
from site_figures import FOLDER, themes
from sphinx.util.docutils import SphinxDirective

from jaxconv.plots import _style as style

TITLES = {"forward": "forward", "step": "training step"}


@style.themed
def speed(record: dict, *, theme: str = "light") -> Figure:
    """The figure of one record."""
    layouts = {row["layout"] for row in record["summary"]}
    layout = "last" if "last" in layouts else min(layouts)
    rows = [
        row
        for row in record["summary"]
        if row["table"] == "layers" and row["layout"] == layout and row.get("lax_over_torch")
    ]
    families = list(dict.fromkeys(row["family"] for row in rows))
    colours = style.current()
    figure = style.figure(8.4, 0.9 + 0.33 * len(families))
    panels = figure.subplots(1, 2, sharey=True, squeeze=False)[0]
    for axes, what in zip(panels, TITLES, strict=True):
        means = {row["family"]: row for row in rows if row["what"] == what}
        for y, family in enumerate(families):
            if family not in means:
                continue
            lax, ours = (means[family][f"{who}_over_torch"] for who in ("lax", "jaxconv"))
            axes.plot([ours, lax], [y, y], color=colours.faint, lw=3, zorder=1)
            axes.plot(lax, y, "o", ms=7, color=colours.orange, label="jax.lax" if not y else "")
            axes.plot(ours, y, "o", ms=7, color=colours.blue, label="jaxconv" if not y else "")
        axes.axvline(1, color=colours.ink, lw=1, zorder=0, label="PyTorch")
        axes.set_xscale("log")
        axes.set_xlim(0.4, 150)
        ticks = [0.5, 1, 2, 5, 10, 20, 50, 100]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(axis="x", lw=0.6)
        axes.set_axisbelow(True)
        axes.set_title(TITLES[what])
        axes.set_xlabel("time over PyTorch's time")
    panels[0].set_yticks(range(len(families)), [name or "all layers" for name in families])
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return figure


class JaxconvSpeed(SphinxDirective):
    """The picture, in both themes, with its caption."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Two images, of which the page shows one."""
        source = Path(self.env.srcdir)
        path = source / "_static" / self.arguments[0]
        self.env.note_dependency(str(path))
        record = json.loads(path.read_text())
        (source / FOLDER).mkdir(exist_ok=True)
        for theme in ("light", "dark"):
            target = source / FOLDER / f"{path.stem}-{theme}.svg"
            speed(record, theme=theme).savefig(target, metadata={"Date": None})
        return themes(self, path.stem, " ".join(self.content))


def setup(app: object) -> dict[str, bool]:
    """Registers it."""
    app.add_directive("jaxconv-speed", JaxconvSpeed)
    return {"parallel_read_safe": True}
