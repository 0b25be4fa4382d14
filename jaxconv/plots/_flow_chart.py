"""The flow chart of a traced function, x -> y -> z -> a."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from jaxconv.autograd import Graph, Node
from jaxconv.plots._style import ThemeName, blank, bubble, current, figure, number, themed

STEP, ROW = 2.9, 1.7
WIDE, TALL = 2.0, 1.0
MOST = 60


@themed
def flow_chart(
    graph: Graph, *, names: Mapping[int, str] | None = None, theme: ThemeName = "light"
) -> Figure:
    """Draws a graph from left to right: leaves, operations, output.

    Args:
      graph: a `jaxconv.autograd.Graph`, of a function of up to about twenty operations.
      names: names of your own for some nodes, such as {1: "y", 3: "z"}; the numbers are places in
        `graph.nodes`.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`.

    Raises:
      TypeError: graph is no `Graph`.
      ValueError: it has more than 60 nodes.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxconv import autograd, plots
      >>> fig = plots.flow_chart(autograd.graph(lambda x: (x - 2) * 3)(jnp.ones(2)))
    """
    if not isinstance(graph, Graph):
        raise TypeError(
            f"flow_chart: graph must be a jaxconv.autograd.Graph; got a {type(graph).__name__}. "
            "Pass autograd.graph(fun)(*args)."
        )
    nodes = list(graph.nodes)
    if len(nodes) > MOST:
        raise ValueError(
            f"flow_chart: graph must have at most {MOST} nodes; got {len(nodes)}. "
            "Use graph.to_svg() or print(graph)."
        )
    colours = current()
    place = {id(node): i for i, node in enumerate(nodes)}
    depth: dict[int, int] = {}
    for node in nodes:
        depth[id(node)] = 1 + max((depth[id(n)] for n in node.inputs), default=-1)
    # A constant stands right before its first use.
    for node in nodes:
        for maker in node.inputs:
            if not maker.inputs and _is_constant(maker):
                depth[id(maker)] = max(depth[id(maker)], depth[id(node)] - 1)
    columns: dict[int, list[Node]] = {}
    for node in sorted(nodes, key=_is_constant):
        columns.setdefault(depth[id(node)], []).append(node)
    tallest = max(map(len, columns.values()))
    where = {
        id(node): (column * STEP, -row * ROW)
        for column, members in columns.items()
        for row, node in enumerate(members)
    }

    width = max(columns) * STEP
    fig = figure(0.62 * (width + 3), 0.62 * ((tallest - 1) * ROW + 2.4))
    axes = fig.subplots()
    outputs = {id(node) for node in graph.outputs}
    for node in nodes:
        x, y = where[id(node)]
        leaf, constant = not node.inputs, _is_constant(node)
        edge = colours.muted if constant else colours.blue if leaf else colours.orange
        if id(node) in outputs:
            edge = colours.green
        bubble(axes, x, y, WIDE, TALL, fill=colours.panel, edge=edge)
        title, below = _texts(node)
        name = (names or {}).get(place[id(node)])
        # matplotlib reads a dollar sign as mathematics; a label is only ever letters.
        title = (f"{name} = {title}" if name else title).replace("$", r"\$")
        axes.text(
            x, y + 0.16, title, ha="center", va="center", zorder=4, weight="bold", fontsize=10
        )
        axes.text(
            x, y - 0.22, below.replace("$", r"\$"), ha="center", va="center", zorder=4,
            fontsize=8.5, color=colours.muted,
        )  # fmt: skip
        for number_of, maker in enumerate(node.inputs):
            from_x, from_y = where[id(maker)]
            again = node.inputs.count(maker) > 1
            bend = 0.3 * (-1) ** number_of if again else 0.0 if from_y == y else -0.12
            axes.add_patch(
                FancyArrowPatch(
                    (from_x + WIDE / 2, from_y), (x - WIDE / 2, y), arrowstyle="-|>",
                    mutation_scale=12, color=colours.muted, linewidth=1.3, shrinkA=1, shrinkB=1,
                    connectionstyle=f"arc3,rad={bend}", zorder=2,
                )
            )  # fmt: skip
    blank(axes, (-1.3, width + 1.3), (-(tallest - 1) * ROW - 0.8, 0.8))
    return fig


def _is_constant(node: Node) -> bool:
    return node.role == "constant"


def _texts(node: Node) -> tuple[str, str]:
    """What stands in a node's box: its name, and its shape or its value."""
    shape = "\u00d7".join(map(str, node.shape)) or "scalar"
    if node.inputs:
        return node.name, shape
    if node.value is not None and not node.shape:
        text = number(float(node.value)) if np.isrealobj(node.value) else str(node.value)
        return (node.label, text) if node.label else (text, "constant")
    return node.label or "constant", shape
