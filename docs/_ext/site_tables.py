"""The directive `jaxconv-methods`: the table of methods, as the package itself has it."""

import inspect

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


class JaxconvMethods(SphinxDirective):
    """One row a method: its name, summary, forms, and whether "auto" may choose it."""

    def run(self) -> list[nodes.Node]:
        """The table, written as MyST."""
        import jaxconv

        lines = ["| method | in one line | gradients | NaN, Inf stay local | chosen by `auto` |"]
        lines.append("| --- | --- | --- | --- | --- |")
        for method in jaxconv.methods.values():
            forms = "input and weight" if method.weight else "input; the weight's is another's"
            exact = "yes" if method.exact else "no"
            auto = "yes" if method.auto else "for teaching"
            lines.append(
                f"| [{method.name}](#{method.name}) | {method.summary} | {forms} | {exact} | {auto} |"
            )
        return self.parse_text_to_nodes("\n".join(lines))


class JaxconvSource(SphinxDirective):
    """The file of one method, folded."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A dropdown with the source."""
        import jaxconv

        method = jaxconv.methods[self.arguments[0]]
        module = inspect.getmodule(method.forward or method.weight)
        source = inspect.getsource(module).rstrip()
        lines = [":::{dropdown} Its source", "~~~python", *source.splitlines(), "~~~", ":::"]
        holder = nodes.container()
        self.state.nested_parse(StringList(lines, source=""), 0, holder)
        return holder.children


def setup(app: object) -> dict[str, bool]:
    """Registers both."""
    app.add_directive("jaxconv-methods", JaxconvMethods)
    app.add_directive("jaxconv-source", JaxconvSource)
    return {"parallel_read_safe": True}
