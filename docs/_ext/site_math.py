"""Formulas as MathML, written when the site is built: no script, no network.

A formula that cannot be converted fails the build.
"""

import re
from html import escape

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

logger = logging.getLogger(__name__)


def mathml(latex: str, display: str) -> str:
    """The MathML of a formula.

    Raises:
      ValueError: a command is not understood.
    """
    text = convert(latex, display=display)
    if "\\" in re.sub(r"<[^>]*>", "", text):
        raise ValueError(f"a command is left in {text}")
    return text


def visit_inline(self, node: nodes.math) -> None:
    """A formula in a line of text."""
    self.body.append(f'<span class="math">{_converted(node, "inline")}</span>')
    raise nodes.SkipNode


def visit_block(self, node: nodes.math_block) -> None:
    """A formula on a line of its own."""
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(_converted(node, "block"))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def _converted(node: nodes.Element, display: str) -> str:
    latex = node.astext().strip()
    try:
        return mathml(latex, display)
    except Exception as error:
        logger.warning("the formula %r has no MathML: %s", latex, error, location=node)
        return escape(latex)


def setup(app) -> dict[str, bool]:
    """Registers the renderer; conf.py chooses it."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
