"""graph: what a function does, as nodes that know what they were made from.

PyTorch hangs a graph on every result (`y.grad_fn.next_functions`). A JAX array knows nothing of
its past, but a function can be traced: each equation of its jaxpr becomes a node.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import DropVar, Literal, primitives

from jaxconv import _compat
from jaxconv._errors import fail
from jaxconv.autograd import _graph_render as render
from jaxconv.autograd._flow import SEEN_THROUGH, bodies, source_in
from jaxconv.autograd._names import argument_names, is_array, leaf_names, thing


class Node:
    """A value in a graph: an input, a constant, or a result of an operation.

    Attributes:
      name: the JAX operation ("sub", "mul"), or "input" or "constant".
      inputs: the nodes it was made from, in order; () for a leaf.
      shape: its shape.
      dtype: its dtype.
      source: the user's line, "file.py:12"; "" for a leaf.
      value: the array of a leaf; None for results, and for the inputs of a subgraph.
      label: for an input its name and path, "params['conv1']['weight']"; for a custom rule and for
        `jax.checkpoint` the function's name; else "".
      subgraphs: the programs of a scan ("body"), while ("cond", "body"), cond ("branch 0", ...),
        custom rule or checkpoint ("body"); {} for others.
      role: "input", "constant", "forward", "saved" (computed in the forward pass for the backward
        pass alone) or "backward".
      result: which result this is of an operation with several, else None.
      params: the settings of the operation: axes, exponents, lengths.
    """

    __slots__ = (
        "dtype",
        "inputs",
        "label",
        "name",
        "operation",
        "params",
        "result",
        "role",
        "shape",
        "source",
        "subgraphs",
        "value",
    )

    def __init__(self, name: str, aval: Any, **known: Any):
        self.name: str = name
        self.shape: tuple[int, ...] = tuple(getattr(aval, "shape", ()))
        self.dtype: Any = getattr(aval, "dtype", None)
        self.inputs: tuple[Node, ...] = known.get("inputs", ())
        self.source: str = known.get("source", "")
        self.value: Any = known.get("value")
        self.label: str = known.get("label", "")
        self.subgraphs: dict[str, Graph] = known.get("subgraphs", {})
        self.role: str = known.get("role", "forward")
        self.result: int | None = known.get("result")
        self.params: dict[str, Any] = known.get("params", {})
        # Results of one operation have the very same object here.
        self.operation: object = known.get("operation", self)

    @property
    def backward(self) -> bool:
        """Whether differentiation added this node: its role is "saved" or "backward"."""
        return self.role in ("saved", "backward")

    @property
    def leaf(self) -> bool:
        """Whether this is an input or a constant."""
        return self.role in ("input", "constant")

    def __repr__(self) -> str:
        return f"<Node {render.text_of(self)}>"


class Graph:
    """What a function does. `str(graph)` is a tree from each output back to the leaves.

    Attributes:
      name: the function's.
      inputs: one node for each leaf of the arguments, used or not.
      outputs: one node for each leaf of the result.
      nodes: all nodes, each after those it was made from.
    """

    __slots__ = ("inputs", "name", "nodes", "outputs")

    def __init__(
        self, name: str, inputs: Iterable[Node], outputs: Iterable[Node], nodes: Iterable[Node]
    ):
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.nodes = tuple(nodes)

    def __str__(self) -> str:
        return render.tree(self)

    def __repr__(self) -> str:
        return (
            f"<Graph {self.name}: {len(self.inputs)} inputs, {len(self.nodes)} nodes, "
            f"{len(self.outputs)} outputs>"
        )

    def to_mermaid(self, *, subgraphs: bool = True) -> str:
        """The graph as a Mermaid flow chart, which GitHub, GitLab and Jupyter draw.

        Args:
          subgraphs: also draw the programs inside scan, while, cond and custom rules.

        Returns:
          The text of a `flowchart`. Labels are text, whatever they hold.
        """
        return render.mermaid(self, subgraphs)

    def to_dot(self, *, subgraphs: bool = True) -> str:
        """The graph in Graphviz's language.

        Args:
          subgraphs: also draw the programs inside scan, while, cond and custom rules.

        Returns:
          The text of a `digraph`. Labels are text, whatever they hold.
        """
        return render.dot(self, subgraphs)

    def to_svg(self, *, subgraphs: bool = True) -> str:
        """The graph as a picture, drawn by Graphviz.

        Up to 1,000 boxes Graphviz places them; it would take minutes over thousands, which stand in
        plain layers instead.

        Args:
          subgraphs: also draw the programs inside scan, while, cond and custom rules.

        Returns:
          The text of an SVG file.

        Raises:
          RuntimeError: the package `graphviz` or the program `dot` is not there; it says which.
        """
        return render.svg(self, subgraphs)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """A picture where one can be drawn, the tree elsewhere."""
        shown = {"text/plain": str(self), "text/vnd.mermaid": self.to_mermaid()}
        try:
            shown["image/svg+xml"] = self.to_svg()
        except RuntimeError:
            pass
        return shown


def graph(fun: Callable[..., Any]) -> Callable[..., Graph]:
    """What `fun` does, traced on real arguments.

    jit is seen through. scan, while, cond, custom rules and checkpoint are boxes that open
    (`Node.subgraphs`). In `graph(jax.grad(fun))` the nodes that differentiation added are told
    apart by `Node.backward`. A constant that is used twice is one node. An operation that is traced
    but leads to no output, such as the value in a gradient, is in `Graph.nodes` all the same.

    Args:
      fun: any function JAX can trace.

    Returns:
      A function with fun's arguments that returns the `Graph`.

    Raises:
      TypeError: fun is not callable, or an argument is nothing JAX can trace.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxconv import autograd
      >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
      >>> y = autograd.graph(lambda x: x - 2)(x).outputs[0]
      >>> y.name, y.inputs[0].label, y.inputs[0].value is x
      ('sub', 'x', True)
      >>> print(autograd.graph(lambda x: jnp.mean(3 * (x - 2) ** 2))(x))
      <lambda>(x float32[2,2])
      div  float32[]  ...
      ├─ reduce_sum  axes=(0, 1)  float32[]  ...
      │  └─ mul  float32[2,2]  ...
      │     ├─ 3.0
      │     └─ integer_pow  y=2  float32[2,2]  ...
      │        └─ sub  float32[2,2]  ...
      │           ├─ x  float32[2,2]
      │           └─ 2.0
      └─ 4.0
    """
    if not callable(fun):
        raise fail(
            TypeError,
            "graph",
            "fun must be callable",
            thing(fun),
            "Give the function itself: graph(fun)(*args)",
        )

    def traced(*args: Any, **kwargs: Any) -> Graph:
        labels = [
            name
            for given, arg in zip(argument_names(fun, args), args, strict=True)
            for name in leaf_names(given, arg)
        ]
        for given in sorted(kwargs):
            labels += leaf_names(given, kwargs[given])
        values = jax.tree.leaves((args, kwargs))
        for label, value in zip(labels, values, strict=True):
            known = is_array(value) or isinstance(value, jax.ShapeDtypeStruct)
            if not known and not hasattr(value, "__jax_array__"):
                raise fail(
                    TypeError,
                    "graph",
                    f"argument {label} must be an array, a number or a container of them",
                    thing(value),
                    "Close over it: graph(lambda x: fun(x, option))(x)",
                )
        closed = jax.make_jaxpr(fun)(*args, **kwargs)
        inputs = [
            Node("input", v.aval, role="input", label=label, value=value)
            for v, label, value in zip(
                _compat.open_jaxpr(closed).invars, labels, values, strict=True
            )
        ]
        builder = _Builder()
        builder.nodes += inputs
        outputs = builder.run(closed, inputs, (), "")
        _tell_apart(builder, outputs, fun, args, kwargs)
        name = getattr(fun, "__name__", type(fun).__name__)
        return Graph(name, inputs, outputs, builder.nodes)

    return traced


class _Builder:
    """Turns equations into nodes."""

    def __init__(self, role: str = "forward"):
        self.nodes: list[Node] = []
        self.stacks: dict[Node, str] = {}
        self.role = role
        self._constants: dict[Any, Node] = {}

    def run(
        self, jaxpr: Any, inputs: Sequence[Node], path: tuple[Any, ...], stack: str
    ) -> list[Node]:
        """Appends the nodes of a program, jit seen through; returns those of its results."""
        consts = getattr(jaxpr, "consts", ())
        jaxpr = _compat.open_jaxpr(jaxpr)
        known: dict[Any, Node] = dict(zip(jaxpr.invars, inputs, strict=True))
        for v, value in zip(jaxpr.constvars, consts, strict=False):
            known[v] = self._constant(id(value), v.aval, value)

        def read(atom):
            if isinstance(atom, Literal):
                value = np.asarray(atom.val)
                key = (value.dtype.name, value.shape, value.tobytes())
                return self._constant(key, atom.aval, atom.val)
            return known[atom]

        for eqn in jaxpr.eqns:
            operands = tuple(read(a) for a in eqn.invars)
            here = (*path, eqn)
            under = f"{stack}/{_compat.name_stack_of(eqn)}"
            if eqn.primitive in SEEN_THROUGH:
                results = self.run(next(iter(bodies(eqn).values())), operands, here, under)
            else:
                results = self._results(eqn, operands, here, under)
            known.update(zip(eqn.outvars, results, strict=True))
        return [read(a) for a in jaxpr.outvars]

    def _results(self, eqn, operands, path, stack) -> list[Node]:
        backward = "transpose(" in stack
        role = "backward" if backward else self.role
        inside = bodies(eqn)
        named = list(inside) == ["body"] and eqn.primitive is not primitives.scan_p
        shared: dict[str, Any] = {
            "inputs": operands,
            "source": source_in(path),
            "role": role,
            "operation": object(),
            "params": {
                k: v for k, v in eqn.params.items() if not callable(v) and not _holds_jaxpr(v)
            },
            "subgraphs": {
                name: _subgraph(name, body, eqn, operands, path, role)
                for name, body in inside.items()
            },
            "label": _compat.function_name(inside["body"]) if named else "",
        }
        several = len(eqn.outvars) > 1
        results = [
            Node(eqn.primitive.name, v.aval, result=i if several else None, **shared)
            for i, v in enumerate(eqn.outvars)
        ]
        # A result that is thrown away is no node, unless nothing else shows the operation.
        used = [n for n, v in zip(results, eqn.outvars, strict=True) if not isinstance(v, DropVar)]
        self.nodes += used or results[:1]
        self.stacks.update({node: stack for node in used or results[:1]})
        return results

    def _constant(self, key: Any, aval: Any, value: Any) -> Node:
        if key not in self._constants:
            node = Node("constant", aval, role="constant", value=value)
            self._constants[key] = node
            self.nodes.append(node)
        return self._constants[key]


def _holds_jaxpr(value: Any) -> bool:
    return any(map(_compat.is_jaxpr, value if isinstance(value, tuple | list) else (value,)))


def _subgraph(name, body, eqn, operands, path, role) -> Graph:
    """The program inside a box; its inputs are named by what they are to it."""
    invars = _compat.open_jaxpr(body).invars
    labels = _input_labels(name, eqn, operands, len(invars))
    inputs = [
        Node("input", v.aval, role="input", label=label)
        for v, label in zip(invars, labels, strict=True)
    ]
    builder = _Builder(role)
    builder.nodes += inputs
    outputs = builder.run(body, inputs, path, "")
    return Graph(f"{eqn.primitive.name} {name}", inputs, outputs, builder.nodes)


def _input_labels(name, eqn, operands, count) -> list[str]:
    def told(i):
        return f" = {operands[i].label}" if operands[i].role == "input" else ""

    if eqn.primitive is primitives.scan_p:
        consts, carry = _compat.scan_parts(eqn)
        kinds = ["const"] * consts + ["carry"] * carry
        kinds += ["slice"] * (count - len(kinds))
        first = 0
    elif eqn.primitive is primitives.while_p:
        of_cond, of_body = eqn.params["cond_nconsts"], eqn.params["body_nconsts"]
        own = of_cond if name == "cond" else of_body
        kinds = ["const"] * own + ["carry"] * (count - own)
        first = 0 if name == "cond" else of_cond
    else:
        first = 1 if eqn.primitive is primitives.cond_p else 0
        kinds = ["argument"] * count
    seen: collections.Counter[str] = collections.Counter()
    labels = []
    for i, each in enumerate(kinds):
        labels.append(f"{each} {seen[each]}")
        if each in ("const", "argument") and first + i < len(operands):
            labels[-1] += told(first + i)
        seen[each] += 1
    return labels


# --- which nodes differentiation added --------------------------------------------------------


def _tell_apart(builder: _Builder, outputs, fun, args, kwargs) -> None:
    """Marks what the forward pass of a derivative computes for the backward pass alone.

    JAX puts "jvp" in the name stack of both the function's own operations and what their
    derivative rules save, and "transpose" in that of the backward pass. The function's own are
    those that its value needs. The value is what nothing uses, as nothing in a gradient needs it,
    or what is returned with the gradient.
    """
    stacks = builder.stacks
    forward = {n for n, stack in stacks.items() if "jvp(" in stack and "transpose(" not in stack}
    if not forward or not any(node.role == "backward" for node in stacks):
        return
    used = {source for node in stacks for source in node.inputs}
    values = [n for n in forward if n in outputs or n not in used]
    if not values:
        # The value serves the backward pass too, as that of exp does. Ask the function itself.
        values = _matching(forward, stacks, fun, args, kwargs)
    if not values:
        return
    _mark_saved(forward, _ancestors(values))


def _mark_saved(forward: Iterable[Node], needed: set[Node]) -> None:
    """Gives the role "saved" to what of the forward pass its value does not need."""
    results: dict[object, set[int]] = collections.defaultdict(set)
    for node in needed:
        results[node.operation].add(node.result or 0)
    opened = set()
    for node in forward:
        if node not in needed:
            node.role = "saved"
        if node.operation not in opened:
            opened.add(node.operation)
            for inside in node.subgraphs.values():
                _mark_saved_inside(inside, node.name, results[node.operation])


def _mark_saved_inside(inside: Graph, box: str, results: set[int]) -> None:
    """The same in the program of a box: some of its results are for the backward pass alone."""
    if box == "while":  # its results are what it carries, all of it its own
        return
    if results:  # what a step hands to the next, its value needs
        results = results | set(range(sum(n.label.startswith("carry ") for n in inside.inputs)))
    forward = [node for node in inside.nodes if node.role == "forward"]
    _mark_saved(forward, _ancestors(inside.outputs[i] for i in results))


def _ancestors(nodes: Iterable[Node]) -> set[Node]:
    found = set(nodes)
    waiting = list(found)
    while waiting:
        for source in waiting.pop().inputs:
            if source not in found:
                found.add(source)
                waiting.append(source)
    return found


def _matching(forward, stacks, fun, args, kwargs) -> list[Node]:
    """The last forward node that is the operation with which the undifferentiated function ends."""
    original = getattr(fun, "__wrapped__", None)
    if original is None:
        return []
    try:
        value = graph(original)(*args, **kwargs).outputs[0]
    except Exception:
        return []
    alike = [
        node
        for node in stacks
        if node in forward and (node.name, node.shape) == (value.name, value.shape)
    ]
    return alike[-1:]
