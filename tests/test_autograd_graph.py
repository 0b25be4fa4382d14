"""graph: what a function was made of, where it stands, and labels that are never markup."""

import itertools
import re
import shutil
import xml.etree.ElementTree as ET

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxconv import autograd
from jaxconv.autograd import _graph_render as render

X = jnp.array([[1.0, 2.0], [3.0, 4.0]])
V = jnp.arange(3.0)

needs_dot = pytest.mark.skipif(
    shutil.which("dot") is None, reason="no program dot on this machine (Debian: graphviz)"
)


def names(graph):
    """The operations, in order; leaves are left out."""
    return [node.name for node in graph.nodes if not node.leaf]


def check(graph):
    """What holds for every graph, and for those inside it."""
    place = {node: i for i, node in enumerate(graph.nodes)}
    assert len(place) == len(graph.nodes)
    assert set(graph.inputs) <= set(place) and set(graph.outputs) <= set(place)
    for node in graph.nodes:
        assert all(place[source] < place[node] for source in node.inputs), node
        assert node.leaf == (node.name in ("input", "constant"))
        assert node.leaf or node.value is None
        assert isinstance(node.shape, tuple)
        for inside in node.subgraphs.values():
            check(inside)
    return graph


# --- the structure of a dozen functions -------------------------------------------------------


def _lecture(x):
    y = x - 2
    z = 3 * y**2
    return jnp.mean(z)


def _scan(x):
    return lax.scan(lambda c, t: (jnp.tanh(c + t), c * t), jnp.float32(0), x)


def _while(x):
    return lax.while_loop(lambda c: c.sum() < 9, lambda c: c * 2, x)


def _cond(x):
    return lax.cond(x[0] > 0, jnp.sin, jnp.cos, x)


@jax.jit
def _inner(x):
    return jnp.sin(x) * 2


FUNCTIONS = {
    "lecture": (_lecture, X, ["sub", "integer_pow", "mul", "reduce_sum", "div"]),
    "identity": (lambda x: x, V, []),
    "matmul": (lambda x: x @ x, V, ["dot_general"]),
    "jit": (lambda x: _inner(_inner(x)), V, ["sin", "mul", "sin", "mul"]),
    "jit in jit": (jax.jit(lambda x: jax.jit(_inner)(x)), V, ["sin", "mul"]),
    "scan": (_scan, V, ["scan", "scan"]),
    "while": (_while, V, ["while"]),
    "custom_vjp": (autograd.max, V, ["custom_vjp_call"]),
    "split": (autograd.split, V, ["custom_vjp_call", "custom_vjp_call"]),
    "custom_jvp": (jax.nn.relu, V, ["custom_jvp_call"]),
    "no_grad": (autograd.no_grad(jnp.sin), V, ["no_grad", "sin", "no_grad"]),
    "vmap": (jax.vmap(jnp.sin), V, ["sin"]),
    "two outputs": (lambda x: (x + 1, {"a": x * 2}), V, ["add", "mul"]),
    "a constant": (lambda x: (x + V) * V, V, ["add", "mul"]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_structure(name):
    fun, x, wanted = FUNCTIONS[name]
    graph = check(autograd.graph(fun)(x))
    assert names(graph) == wanted
    (leaf,) = graph.inputs
    assert leaf.value is x and leaf.label in ("x", "args[0]") and leaf.inputs == ()
    shapes = jax.tree.leaves(jax.eval_shape(fun, x))
    assert [(n.shape, n.dtype) for n in graph.outputs] == [(s.shape, s.dtype) for s in shapes]
    assert not any(node.backward for node in graph.nodes)
    for node in graph.nodes:
        if node.source:
            assert re.fullmatch(r"\w+\.py:\d+", node.source)
    assert str(graph) and graph.to_mermaid() and graph.to_dot()
    assert repr(graph).startswith("<Graph ")


def test_the_way_back_to_the_leaf():
    graph = autograd.graph(_lecture)(X)
    node = graph.outputs[0]
    way = []
    while node.inputs:
        way.append(node.name)
        node = next(n for n in node.inputs if n.role != "constant")
    assert way == ["div", "reduce_sum", "mul", "integer_pow", "sub"]
    assert node.label == "x" and node.value is X


def test_sources_are_the_users_lines():
    first = _lecture.__code__.co_firstlineno
    sources = {n.name: n.source for n in autograd.graph(_lecture)(X).nodes if not n.leaf}
    for name, offset in {"sub": 1, "integer_pow": 2, "mul": 2, "reduce_sum": 3, "div": 3}.items():
        assert sources[name] == f"test_autograd_graph.py:{first + offset}"

    # Inside a function of JAX's own the line is that of the call.
    def rounds(x):
        return jnp.round(x)

    (node,) = [n for n in autograd.graph(rounds)(V).nodes if n.name == "round"]
    assert node.source == f"test_autograd_graph.py:{rounds.__code__.co_firstlineno + 1}"


def test_labels_are_names_and_paths():
    def fun(params, *rest, flag):
        return params["conv1"]["weight"] + params["scale"][1] + rest[0] + flag

    params = {"conv1": {"weight": V}, "scale": [1.0, 2.0]}
    graph = autograd.graph(fun)(params, V, flag=3.0)
    assert [node.label for node in graph.inputs] == [
        "params['conv1']['weight']", "params['scale'][0]", "params['scale'][1]", "rest[0]", "flag",
    ]  # fmt: skip
    assert graph.inputs[0].value is V and graph.inputs[4].value == 3.0


def test_a_constant_is_shown_once():
    graph = autograd.graph(lambda x: (x + V) * V * 2.0 - 2.0)(V)
    constants = [n for n in graph.nodes if n.role == "constant"]
    assert sorted(n.shape for n in constants) == [(), (3,)]
    np.testing.assert_array_equal(next(n.value for n in constants if n.shape), V)


def test_boxes_that_open():
    graph = autograd.graph(_scan)(V)
    first, second = graph.outputs
    assert (first.result, second.result) == (0, 1) and first.operation is second.operation
    (body,) = first.subgraphs.values()
    assert names(body) == ["add", "tanh", "mul"]
    assert [n.label for n in body.inputs] == ["carry 0", "slice 0"]

    node = autograd.graph(_while)(V).outputs[0]
    assert list(node.subgraphs) == ["cond", "body"]
    assert names(node.subgraphs["cond"]) == ["reduce_sum", "lt"]
    assert names(node.subgraphs["body"]) == ["mul"]

    node = autograd.graph(_cond)(V).outputs[0]
    assert node.name == "cond" and list(node.subgraphs) == ["branch 0", "branch 1"]
    assert [names(g) for g in node.subgraphs.values()] == [["cos"], ["sin"]]
    assert [g.inputs[0].label for g in node.subgraphs.values()] == ["argument 0 = x"] * 2

    node = autograd.graph(autograd.max)(V).outputs[0]
    assert node.label == "max" and names(node.subgraphs["body"]) == ["reduce_max"]
    node = autograd.graph(jax.checkpoint(_lecture))(X).outputs[0]
    assert node.label == "_lecture" and "reduce_sum" in names(node.subgraphs["body"])
    node = autograd.graph(lambda x: autograd.while_loop(lambda y: y < 9, lambda y: 2 * y, x,
                                                        max_steps=5))(1.0)  # fmt: skip
    assert any(n.subgraphs for n in node.nodes)


# --- the backward pass ------------------------------------------------------------------------


def roles(graph, *wanted):
    return [n.name for n in graph.nodes if n.role in wanted]


@pytest.mark.parametrize("transform", [jax.grad, jax.value_and_grad, autograd.grad])
def test_differentiation_is_told_apart(transform):
    graph = check(autograd.graph(transform(_lecture))(X))
    assert roles(graph, "forward") == ["sub", "integer_pow", "mul", "reduce_sum", "div"]
    assert "mul" in roles(graph, "saved", "backward")
    gradient = graph.outputs[-1]
    assert gradient.backward and gradient.shape == X.shape
    text = str(graph)
    assert "(backward)" in text and "(saved)" in text
    value = graph.outputs[0] if len(graph.outputs) == 2 else None
    assert value is None or not value.backward
    assert "backward" in graph.to_mermaid()


@pytest.mark.parametrize(
    ("fun", "forward"),
    [(jnp.sin, ["sin"]), (jnp.exp, ["exp"]), (jnp.tanh, ["tanh"]), (_inner, ["sin", "mul"])],
)
def test_forward_of_a_gradient(fun, forward):
    assert roles(autograd.graph(jax.grad(fun))(0.5), "forward") == forward
    assert roles(autograd.graph(jax.jit(jax.grad(fun)))(0.5), "backward")


def test_backward_through_scan():
    """What a step saves is told apart from what it computes, inside the box and on its outside."""

    def fun(w):
        return lax.scan(lambda c, t: (jnp.tanh(c * w + t), None), w * 0, V)[0]

    graph = check(autograd.graph(jax.grad(fun))(jnp.float32(1)))
    scans = [n for n in graph.nodes if n.name == "scan"]
    first = scans[0]
    assert first.role == "forward"
    results = [n for n in scans if n.operation is first.operation]
    assert [n.role for n in results] == ["forward"] + ["saved"] * (len(results) - 1)
    (body,) = first.subgraphs.values()
    assert roles(body, "forward") == ["mul", "add", "tanh"]
    assert roles(body, "saved")  # the derivative of tanh
    (body,) = next(n for n in scans if n.role == "backward").subgraphs.values()
    assert all(n.role == "backward" for n in body.nodes if not n.leaf)


def test_backward_through_cond_and_the_loop():
    def branches(x):
        return lax.cond(x[0] > 0, lambda x: jnp.sin(x).sum(), lambda x: x.sum(), x)

    graph = check(autograd.graph(jax.grad(branches))(V))
    box = next(n for n in graph.nodes if n.name == "cond" and n.role == "forward")
    taken = box.subgraphs["branch 1"]
    assert roles(taken, "forward") == ["sin", "reduce_sum"] and "cos" in roles(taken, "saved")

    def loop(x):
        return autograd.while_loop(lambda y: y < 9, lambda y: y * y, x, max_steps=3)

    graph = check(autograd.graph(jax.grad(loop))(2.0))
    assert {n.role for n in graph.nodes if n.name == "scan"} == {"forward", "saved", "backward"}
    assert "while_loop" in str(autograd.graph(loop)(2.0))


# --- text -------------------------------------------------------------------------------------


def test_tree():
    lines = [line.split("  test_")[0] for line in str(autograd.graph(_lecture)(X)).splitlines()]
    assert lines == [
        "_lecture(x float32[2,2])",
        "div  float32[]",
        "├─ reduce_sum  axes=(0, 1)  float32[]",
        "│  └─ mul  float32[2,2]",
        "│     ├─ 3.0",
        "│     └─ integer_pow  y=2  float32[2,2]",
        "│        └─ sub  float32[2,2]",
        "│           ├─ x  float32[2,2]",
        "│           └─ 2.0",
        "└─ 4.0",
    ]


def test_what_is_used_twice_is_written_once():
    text = str(autograd.graph(lambda x: (y := jnp.sin(x)) * y)(V))
    assert text.count("sin  float32[3]") == 1 and "see #1" in text


EVIL = "</script><b onclick=\"x('y')\">\n&amp; \\N %% ]]> end; -->|click| \u202e{}"


def _evil():
    def fun(params):
        return params[EVIL] * 2

    fun.__name__ = EVIL
    return autograd.graph(jax.checkpoint(fun))({EVIL: V})


def test_labels_are_never_markup():
    graph = _evil()
    assert graph.inputs[0].label == f"params[{EVIL!r}]"
    text = str(graph)
    assert "\u202e" not in text
    assert all(line.strip() for line in text.splitlines() if line)

    mermaid = graph.to_mermaid()
    for sign in "<>&\\%;{}|!":
        quoted = re.findall(r'"([^"]*)"', mermaid)
        left = " ".join(quoted).replace("<br/>", "")
        assert sign == ";" or sign not in left, sign
    for line in mermaid.splitlines():
        assert line.count('"') in (0, 2), line
    assert not re.search(r"(?<!#)\b\d+;.*click", re.sub(r"#\d+;", "", mermaid))

    dot = graph.to_dot()
    for line in dot.splitlines():
        unescaped = re.sub(r"\\.", "", line)
        assert unescaped.count('"') % 2 == 0, line
        assert "<" not in unescaped and "\n" not in unescaped


def test_mermaids_formulas_and_icons_are_text():
    text = autograd.graph(lambda p: p["$$x^2$$"] + p["fa:fa-ban"])({"$$x^2$$": V, "fa:fa-ban": V})
    assert "#36;#36;" not in text.to_mermaid() and "fa:fa-" not in text.to_mermaid()


@needs_dot
def test_labels_in_a_picture():
    svg = _evil().to_svg()
    root = ET.fromstring(svg)  # well-formed
    tags = {element.tag.rsplit("}", 1)[1] for element in root.iter()}
    assert tags <= {"svg", "g", "title", "polygon", "ellipse", "path", "text"}
    texts = "".join(element.text or "" for element in root.iter() if element.tag.endswith("text"))
    assert "</script><b onclick=" in texts and "&amp; " in texts


@needs_dot
def test_the_name_of_a_file_is_never_markup():
    name = 'a"b\n<i>.py'
    made = {}
    exec(compile("def fun(x):\n    return x * 2", name, "exec"), made)
    graph = autograd.graph(made["fun"])(1.0)
    assert graph.outputs[0].source == name + ":2"
    assert len(str(graph).splitlines()) == 4
    assert "<i>" not in graph.to_mermaid() + graph.to_dot()
    assert "a&quot;b" in graph.to_svg() or 'a"b' in graph.to_svg()


@needs_dot
def test_rich_display():
    shown = autograd.graph(_lecture)(X)._repr_mimebundle_()
    assert shown["text/plain"].startswith("_lecture(")
    assert shown["text/vnd.mermaid"].startswith("flowchart TD")
    assert "<svg" in shown["image/svg+xml"]


def test_arrows_lead_from_box_to_box():
    graph = autograd.graph(_scan)(V)
    for text, arrow, box in (
        (graph.to_mermaid(), r"^\s*(\w+) -\.?->(?:\|\d+\|)? (\w+)$", r"^\s*(n\d+)[\[(]"),
        (graph.to_dot(), r"^\s*(\w+) -> (\w+)", r"^\s*(n\d+) \["),
    ):
        boxes = set(re.findall(box, text, re.MULTILINE))
        ends = set(itertools.chain(*re.findall(arrow, text, re.MULTILINE)))
        assert ends <= boxes and len(boxes) >= 7
    assert "subgraph" not in graph.to_mermaid(subgraphs=False)
    assert "cluster" not in graph.to_dot(subgraphs=False)


def test_svg_says_what_is_missing(monkeypatch):
    graph = autograd.graph(_lecture)(X)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"Graph.to_svg: a picture needs the program dot; got"):
        graph.to_svg()
    assert "image/svg+xml" not in graph._repr_mimebundle_()
    monkeypatch.setitem(__import__("sys").modules, "graphviz", None)
    with pytest.raises(RuntimeError, match=r"needs the Python package graphviz.*pip install"):
        graph.to_svg()


# --- size -------------------------------------------------------------------------------------


@needs_dot
def test_ten_thousand_nodes():
    def deep(x):
        for _ in range(5000):
            x = jnp.sin(x) * x
        return x

    graph = autograd.graph(deep)(1.0)
    assert len(graph.nodes) == 10_001
    text = str(graph)
    # Once each: what was written before is referred to.
    assert len(re.findall(r"^[│├└─ ]*(?:#\d+ )?(?:sin|mul)  float32", text, re.M)) == 10_000
    assert max(map(len, text.splitlines())) < 200
    assert graph.to_mermaid().count(" --> ") == graph.to_dot().count(" -> ") == 15_000
    svg = graph.to_svg()
    assert svg.count('class="node"') == 10_001


def test_a_shared_value_is_not_walked_twice():
    """The ways to the leaf double at every step: a walk along all of them would never end."""

    def fan(x):
        for _ in range(200):
            x = x + x
        return x

    text = str(autograd.graph(fan)(1.0))
    assert len(text.splitlines()) < 500


def test_what_boxes_hold_counts_as_well(monkeypatch):
    """Graphviz would take minutes over the contents of many boxes, few as the boxes are."""
    graph = autograd.graph(_scan)(V)
    engines = []
    monkeypatch.setattr("graphviz.Source.pipe", lambda self, **_: engines.append(self.engine))
    for most in (4, 5, 100):
        monkeypatch.setattr(render, "LARGE", most)
        graph.to_svg()
        graph.to_svg(subgraphs=False)
    assert engines == ["neato", "dot", "neato", "dot", "dot", "dot"]


def test_large_graphs_stand_in_layers():
    graph = autograd.graph(lambda x: jnp.sin(x) + x)(1.0)
    assert "pos=" in render.dot(graph, True, layered=True)
    assert "pos=" not in graph.to_dot()


# --- what it refuses --------------------------------------------------------------------------


def test_refused():
    with pytest.raises(TypeError, match="graph: fun must be callable; got a float"):
        autograd.graph(1.0)
    with pytest.raises(TypeError, match=r"graph: argument x must be an array.*got a str. Close"):
        autograd.graph(lambda x: x)("text")
    with pytest.raises(TypeError, match=r"argument p\['n'\]\[0\] must be .*ndarray of dtype <U4"):
        autograd.graph(lambda p: p["w"])({"w": V, "n": [np.array(["relu"])]})
    graph = autograd.graph(lambda x: x * 2)(jax.ShapeDtypeStruct((3,), jnp.float32))
    assert graph.outputs[0].shape == (3,)
