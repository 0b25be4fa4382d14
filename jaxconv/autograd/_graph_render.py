"""A graph as text: a tree, Mermaid, Graphviz. Labels are never markup."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxconv._errors import fail

if TYPE_CHECKING:
    from jaxconv.autograd._graph import Graph, Node

# A tree deeper than this goes on below, at the left margin.
DEEPEST = 24

# Graphviz itself places this many boxes within seconds.
LARGE = 1000

# The settings that tell what an operation does; the others repeat its shapes.
_TOLD = ("y", "axes", "axis", "dimension", "length", "permutation", "new_dtype", "direction")

_COLOURS = {
    "input": ("#dbeafe", "#1d4ed8"),
    "constant": ("#f3f4f6", "#6b7280"),
    "forward": ("#ffffff", "#374151"),
    "saved": ("#fef3c7", "#b45309"),
    "backward": ("#fee2e2", "#b91c1c"),
}


# --- one node ---------------------------------------------------------------------------------


def kind_of(node: Node) -> str:
    """The dtype and shape of a node: "float32[3,4]"."""
    return f"{node.dtype}[{','.join(map(str, node.shape))}]" if node.dtype is not None else ""


def name_of(node: Node) -> str:
    """What a node is: a leaf's name or number, an operation's name and settings."""
    if node.role == "input":
        return _plain(node.label)
    if node.role == "constant":
        return _number(node.value) if node.shape == () else "constant"
    told = [f"{k}={node.params[k]}" for k in _TOLD if node.params.get(k) is not None]
    label = [_plain(node.label)] if node.label else []
    return "  ".join([node.name, *label, *told])


def text_of(node: Node) -> str:
    """A node in one line."""
    parts = [name_of(node)]
    if node.result is not None:
        parts.append(f"result {node.result}")
    if not (node.role == "constant" and node.shape == ()):
        parts.append(kind_of(node))
    if node.source:
        parts.append(_plain(node.source))
    if node.backward:
        parts.append(f"({node.role})")
    return "  ".join(filter(None, parts))


def _number(value: Any) -> str:
    try:
        return str(np.asarray(value).item())
    except (TypeError, ValueError):
        return str(value)


def _plain(text: str) -> str:
    """Without control characters: a label is one line."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


# --- a tree -----------------------------------------------------------------------------------


def tree(graph: Graph) -> str:
    """The outputs, each with what it was made from beneath it."""
    arguments = ", ".join(f"{name_of(n)} {kind_of(n)}" for n in graph.inputs)
    lines = [f"{_plain(graph.name)}({arguments})"]
    number = {node: i for i, node in enumerate(graph.nodes)}
    uses: dict[Node, int] = dict.fromkeys(graph.nodes, 0)
    for node in graph.nodes:
        for source in node.inputs:
            uses[source] = uses.get(source, 0) + 1
    for node in graph.outputs:
        uses[node] = uses.get(node, 0) + 1
    seen: set[Node] = set()
    lines += _trees(graph.outputs, seen, uses, number)
    # What leads to no output: its last operations, which hold the others.
    unused = [n for n in graph.nodes if not uses[n] and not n.leaf and n not in seen]
    if unused:
        lines += ["", "traced, but no output needs it:", *_trees(unused, seen, uses, number)]
    shown: set[int] = set()
    for node in graph.nodes:
        if node.subgraphs and id(node.operation) not in shown:
            shown.add(id(node.operation))
            for inside in node.subgraphs.values():
                place = f"  {_plain(node.source)}" if node.source else ""
                first, *rest = tree(inside).splitlines()
                lines += ["", f"inside #{number[node]}{place}: {first}"]
                lines += [f"  {line}".rstrip() for line in rest]
    return "\n".join(lines)


def _trees(roots, seen, uses, number) -> list[str]:
    lines = []
    waiting = list(dict.fromkeys(roots))
    while waiting:
        later: list[Node] = []
        for root in waiting:
            lines += _tree(root, seen, uses, number, later)
        waiting = later
    return lines


def _tree(root, seen, uses, number, later) -> Iterator[str]:
    # Explicit, not recursive: a graph may be thousands of operations deep.
    stack = [(root, "", "", 0)]
    while stack:
        node, lead, below, depth = stack.pop()
        text = text_of(node)
        if node.leaf:
            if node.role == "input":
                text = f"{name_of(node)}  {kind_of(node)}"
            yield lead + text
            continue
        numbered = uses[node] > 1 or bool(node.subgraphs)
        if node in seen:
            yield f"{lead}{name_of(node)}  see #{number[node]}"
            continue
        if depth == DEEPEST:
            yield f"{lead}{name_of(node)}  goes on below as #{number[node]}"
            uses[node] += 1  # so that it is numbered there
            later.append(node)
            continue
        seen.add(node)
        yield lead + (f"#{number[node]} " if numbered else "") + text
        for i, source in reversed(list(enumerate(node.inputs))):
            last = i == len(node.inputs) - 1
            stack.append(
                (
                    source,
                    below + ("└─ " if last else "├─ "),
                    below + ("   " if last else "│  "),
                    depth + 1,
                )
            )


# --- drawings ---------------------------------------------------------------------------------


class _Cluster(NamedTuple):
    """What is drawn of a graph: one box an operation, whatever its results."""

    title: str
    boxes: list[tuple[str, Node]]
    arrows: list[tuple[str, str, str]]  # from, to, which result
    inner: list[tuple[_Cluster, str]]  # each with the box that it opens
    ends: list[str]  # the boxes of the outputs


def _cluster(graph: Graph, subgraphs: bool, count: Iterator[int]) -> _Cluster:
    names: dict[int, str] = {}
    drawn = _Cluster(graph.name, [], [], [], [])
    for node in graph.nodes:
        key = id(node.operation)
        if key in names:
            continue
        names[key] = f"n{next(count)}"
        drawn.boxes.append((names[key], node))
        starts = [(names[id(s.operation)], s.result) for s in node.inputs]
        for start, result in dict.fromkeys(starts):
            drawn.arrows.append((start, names[key], "" if result is None else str(result)))
        for inside in node.subgraphs.values() if subgraphs else ():
            if inside.nodes:
                drawn.inner.append((_cluster(inside, subgraphs, count), names[key]))
    drawn.ends.extend(dict.fromkeys(names[id(n.operation)] for n in graph.outputs))
    return drawn


def _lines(node: Node) -> list[str]:
    small = node.role == "constant" and node.shape == ()
    shape = "" if small or node.result is not None else kind_of(node)
    return [text for text in (name_of(node), shape, _plain(node.source)) if text]


def mermaid(graph: Graph, subgraphs: bool) -> str:
    """A Mermaid flow chart."""
    lines = ["flowchart TD"]
    classes: dict[str, list[str]] = {}

    def draw(cluster, indent):
        for name, node in cluster.boxes:
            label = "<br/>".join(map(_mermaid_text, _lines(node)))
            left, right = ('(["', '"])') if node.leaf else ('["', '"]')
            if node.subgraphs:
                left, right = '[["', '"]]'
            lines.append(f"{indent}{name}{left}{label}{right}")
            classes.setdefault(node.role, []).append(name)
        for start, end, tag in cluster.arrows:
            lines.append(f"{indent}{start} -->{f'|{tag}|' if tag else ''} {end}")
        for inside, box in cluster.inner:
            title = _mermaid_text(inside.title)
            lines.append(f'{indent}subgraph s{inside.boxes[0][0]}["{title}"]')
            draw(inside, indent + "  ")
            lines.append(f"{indent}end")
            lines.extend(f"{indent}{end} -.-> {box}" for end in inside.ends)

    draw(_cluster(graph, subgraphs, itertools.count()), "  ")
    for role, names in classes.items():
        fill, stroke = _COLOURS[role]
        lines.append(f"  classDef {role} fill:{fill},stroke:{stroke},color:#111827")
        lines += [
            f"  class {','.join(names[i : i + 500])} {role}" for i in range(0, len(names), 500)
        ]
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    """Text of a Mermaid label: what is not a plain character stands as its number.

    Two dollars would begin a formula and `fa:fa-` an icon even so; a space of no width is put in.
    """
    plain = " _.,:()[]=+-/'"
    apart = text.replace("$", "$\u200b").replace(":fa-", ":\u200bfa-")
    return "".join(
        c if (c.isascii() and c.isalnum()) or c in plain else f"#{ord(c)};" for c in apart
    )


def dot(graph: Graph, subgraphs: bool, layered: bool = False) -> str:
    """A Graphviz digraph; `layered` says where each box stands."""
    drawn = _cluster(graph, subgraphs, itertools.count())
    places = _layers(drawn) if layered else {}
    lines = [
        "digraph {",
        '  graph [rankdir=TB fontname="Helvetica" nodesep=0.25 ranksep=0.3]',
        '  node [fontname="Helvetica" fontsize=11 shape=box style="filled,rounded" height=0.3]',
        '  edge [color="#6b7280" fontname="Helvetica" fontsize=9 arrowsize=0.7]',
    ]

    def draw(cluster, indent):
        for name, node in cluster.boxes:
            fill, stroke = _COLOURS[node.role]
            label = "\\n".join(map(_dot_text, _lines(node)))
            outline = " peripheries=2" if node.subgraphs else ""
            shape = " shape=ellipse" if node.leaf else ""
            lines.append(
                f'{indent}{name} [label="{label}" fillcolor="{fill}" color="{stroke}"'
                f"{shape}{outline}{places.get(name, '')}]"
            )
        for start, end, tag in cluster.arrows:
            lines.append(f"{indent}{start} -> {end}" + (f' [label="{tag}"]' if tag else ""))
        for inside, box in cluster.inner:
            lines.append(f"{indent}subgraph cluster_{inside.boxes[0][0]} {{")
            lines.append(f'{indent}  label="{_dot_text(inside.title)}" color="#9ca3af"')
            draw(inside, indent + "  ")
            lines.append(f"{indent}}}")
            lines.extend(f"{indent}{end} -> {box} [style=dashed]" for end in inside.ends)

    draw(drawn, "  ")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _dot_text(text: str) -> str:
    """Text inside a quoted string of Graphviz: no entities, no escapes."""
    return html.escape(text, quote=False).replace("\\", "\\\\").replace('"', '\\"')


def svg(graph: Graph, subgraphs: bool) -> str:
    """A picture, by the program `dot`."""
    try:
        import graphviz
    except ImportError:
        raise _missing("the Python package graphviz", "python -m pip install graphviz") from None
    large = _boxes(graph, subgraphs) > LARGE
    source = graphviz.Source(dot(graph, subgraphs, large), engine="neato" if large else "dot")
    try:
        return source.pipe(format="svg", encoding="utf-8", neato_no_op=2 if large else None)
    except graphviz.ExecutableNotFound:
        raise _missing(
            "the program dot", "apt install graphviz, or brew install graphviz"
        ) from None


def _boxes(graph: Graph, subgraphs: bool) -> int:
    """About how many boxes a drawing has; no more than `LARGE` of them are counted inside."""
    count = len(graph.nodes)
    for node in graph.nodes if subgraphs else ():
        if count > LARGE:
            break
        if not node.result:  # 0, or the only one
            count += sum(_boxes(inside, subgraphs) for inside in node.subgraphs.values())
    return count


def _layers(cluster: _Cluster) -> dict[str, str]:
    """Each box below all those it was made from, and roughly below their middle."""
    order: list[str] = []
    above: dict[str, list[str]] = {}

    def visit(cluster):
        order.extend(name for name, _ in cluster.boxes)
        for name in order[-len(cluster.boxes) :]:
            above[name] = []
        for start, end, _ in cluster.arrows:
            above[end].append(start)
        for inside, _ in cluster.inner:
            visit(inside)

    visit(cluster)
    layer: dict[str, int] = {}
    rows: dict[int, list[str]] = {}
    for name in order:
        layer[name] = max((layer[start] + 1 for start in above[name]), default=0)
        rows.setdefault(layer[name], []).append(name)
    across: dict[str, float] = {}
    for _, row in sorted(rows.items()):
        middle = {n: sum(across[s] for s in above[n]) / max(len(above[n]), 1) for n in row}
        row.sort(key=middle.__getitem__)
        for i, name in enumerate(row):
            across[name] = (i - (len(row) - 1) / 2) * 150
    return {name: f' pos="{across[name]:.0f},{-80 * layer[name]}!"' for name in order}


def _missing(what: str, command: str) -> RuntimeError:
    return fail(
        RuntimeError,
        "Graph.to_svg",
        f"a picture needs {what}",
        "none",
        f"Install it ({command}), or use str(graph), to_mermaid() or to_dot()",
    )
