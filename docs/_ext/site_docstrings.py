"""Docstrings as they are written here, made into what Sphinx reads.

They use single backticks for code, stars for multiplication and for `*args`, and indented lines for
formulas, without reStructuredText's marks.
"""

import re

SECTIONS = (
    "Args", "Returns", "Raises", "Accuracy", "Source", "Example", "Examples", "Note", "Attributes",
    "Memory", "Cost",
)  # fmt: skip


def process(app, what, name, obj, options, lines: list[str]) -> None:
    """Rewrites a docstring in place, before napoleon."""
    text = "\n".join(lines)
    # One line such as "Source: a paper." is a paragraph, not a section.
    text = re.sub(rf"^({'|'.join(SECTIONS)}): (\S)", r"**\1.** \2", text, flags=re.MULTILINE)
    blocks = re.split(r"\n[ ]*\n", text)
    lines[:] = "\n\n".join(map(_block, blocks)).split("\n")


def _block(block: str) -> str:
    lines = block.split("\n")
    if any(line.lstrip().startswith((">>>", "...")) for line in lines):
        return block
    if lines[0].rstrip(":") in SECTIONS and lines[0].endswith(":"):
        return "\n".join(map(_escaped, lines))
    if len({len(line) - len(line.lstrip()) for line in lines}) > 1 or lines[0].startswith("  "):
        shown = [f"    {line}" for line in lines]
        return "\n".join(["::", "", *shown])
    return "\n".join(map(_escaped, lines))


def _escaped(line: str) -> str:
    """Stars, bars and trailing underscores outside backticks, made plain; backticks doubled."""
    parts = re.split(r"(`+[^`]+`+)", line)
    out = []
    for part in parts:
        if part.startswith("`"):
            out.append("``" + part.strip("`") + "``")
        elif "**" in part:
            out.append(part)
        else:
            out.append(re.sub(r"([*|])|(?<=\w)(_)(?=\W|$)", lambda m: "\\" + m[0], part))
    return "".join(out)


def setup(app) -> dict[str, bool]:
    """Before napoleon, whose priority is 500."""
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True}
