"""Blocks of code end with their last line.

An example of doctest ends with an empty one, which is for doctest alone.
"""

from docutils import nodes


def trim(app, doctree: nodes.document) -> None:
    """Takes empty lines off the end of every block."""
    for block in doctree.findall(nodes.literal_block):
        block.rawsource = block.rawsource.rstrip("\n")
        block.children = [nodes.Text(block.astext().rstrip("\n"))]


def setup(app) -> dict[str, bool]:
    """After a page is read."""
    app.connect("doctree-read", trim)
    return {"parallel_read_safe": True}
