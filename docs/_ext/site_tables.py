"""The directives `jaxconv-methods` and `jaxconv-method-pages`: the methods the package has."""

import inspect
import re

from docutils import nodes
from method_notes import NOTES
from sphinx.util.docutils import SphinxDirective

# The gradients a method computes, by whether it has a forward form and a weight form.
FORMS = {
    (True, True): "input and weight",
    (True, False): "input; the weight's is another's",
    (False, True): "weight only",
}


class JaxconvMethods(SphinxDirective):
    """One row a method: its name, summary, forms, and whether "auto" may choose it."""

    def run(self) -> list[nodes.Node]:
        """The table, written as MyST."""
        import jaxconv

        lines = ["| method | in one line | gradients | NaN, Inf stay local | chosen by `auto` |"]
        lines.append("| --- | --- | --- | --- | --- |")
        for method in jaxconv.methods.values():
            has = method.forward is not None, method.weight is not None
            forms = FORMS[has]
            exact = "yes" if method.exact else "no"
            auto = "yes" if method.auto else "for teaching"
            name = f"[{method.name}](#{method.name})"
            lines.append(f"| {name} | {method.summary} | {forms} | {exact} | {auto} |")
        return self.parse_text_to_nodes("\n".join(lines))


class JaxconvMethodPages(SphinxDirective):
    """For each method its figure, cost and use, what the head of its file says, and the file."""

    def run(self) -> list[nodes.Node]:
        """A section a method, written as MyST."""
        import jaxconv

        lines: list[str] = []
        for name, method in jaxconv.methods.items():
            compute = method.forward or method.weight
            # winograd's are partials, which have functools for their module.
            module = inspect.getmodule(getattr(compute, "func", compute))
            head, _, text = inspect.getdoc(module).partition("\n")
            source = inspect.getsource(module).rstrip()
            said = head.partition(": ")[2]
            lines += [f"### {name}", "", _escaped(said[:1].upper() + said[1:]), ""]
            if name in NOTES:
                note = NOTES[name]
                lines += [f"~~~{{jaxconv-figure}} {note.figure}", note.caption, "~~~", ""]
                lines += [f"**Cost.** {note.cost}", "", f"**Wins.** {note.wins}", ""]
            lines += [*_blocks(text), "", ":::{dropdown} Its source", "~~~python"]
            lines += [*source.splitlines(), "~~~", ":::", ""]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _escaped(text: str) -> str:
    """Text as MyST shows it literally; what stands in backticks is literal already."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([*_<\[|])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def _blocks(text: str) -> list[str]:
    """Paragraphs as they are, indented ones as code."""
    lines = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if all(line.startswith("  ") for line in block.splitlines()):
            lines += ["~~~text", *inspect.cleandoc("\n" + block).splitlines(), "~~~", ""]
        else:
            lines += [*_escaped(block).splitlines(), ""]
    return lines


def setup(app: object) -> dict[str, bool]:
    """Registers both."""
    app.add_directive("jaxconv-methods", JaxconvMethods)
    app.add_directive("jaxconv-method-pages", JaxconvMethodPages)
    return {"parallel_read_safe": True}
