"""The README and the site's pages: every block of code runs, and gives the output that is shown.

A block of `pycon` is run as doctest runs it. The blocks of a page share their names; those in its
PyTorch tabs run apart from the others. Two comments in a page change this:

    <!-- requires: keras -->                     the page's examples need this package
    <!-- not executed: trains for an hour -->    before a block of `python` that is only read
"""

import dataclasses
import doctest
import importlib.util
import re
import sys
from pathlib import Path

import pytest

import jaxconv
from jaxconv import autograd

DOCS = Path(__file__).parent.parent / "docs"
README = DOCS.parent / "README.md"
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if not {"build", "_build"} & set(page.relative_to(DOCS).parts)
)
ALL = [README, *PAGES]
# Languages of blocks that hold no code of ours to run.
NOT_CODE = {
    "text",
    "console",
    "sh",
    "{math}",
    "{raw}",
    "{toctree}",
    "{jaxconv-figure}",
    "{jaxconv-gallery}",
    "{jaxconv-speed}",
    "{eval-rst}",
}
NOT_CODE |= {"{jaxconv-methods}", "{jaxconv-method-pages}", "{jaxconv-bench}"}
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


@dataclasses.dataclass
class Block:
    language: str
    line: int
    code: str
    torch: bool
    not_executed: bool


def blocks(page):
    """The fenced blocks of a page."""
    found, fence, torch, lines = [], None, False, page.read_text().splitlines()
    for number, line in enumerate(lines):
        if fence is None:
            if match := re.match(r"\s*:{3,}\{tab-item\}\s*(.*)", line):
                torch = match[1].strip() == "PyTorch"
            elif re.match(r"\s*:{3,}\s*$", line):
                torch = False
            elif match := re.match(r"(\s*)(`{3,})\s*(\S*)", line):
                fence, begin, language = match[2], number + 1, match[3]
        elif line.strip() == fence:
            before = next((text for text in reversed(lines[: begin - 1]) if text.strip()), "")
            code = "\n".join(lines[begin:number]) + "\n"
            skipped = before.startswith("<!-- not executed: ")
            found.append(Block(language, begin, code, torch, skipped))
            fence = None
    assert fence is None, f"{page.name}: a block is not closed"
    return found


def _name(page):
    return page.name if page == README else str(page.relative_to(DOCS))


def tracks():
    """(page, whether PyTorch's) for each run of examples."""
    for page in ALL:
        code = [block for block in blocks(page) if block.language == "pycon"]
        for torch in sorted({block.torch for block in code}):
            name = _name(page) + (" (PyTorch)" if torch else "")
            yield pytest.param(page, torch, id=name)


@pytest.mark.optimised
@pytest.mark.parametrize("page, torch", list(tracks()))
def test_examples(page, torch, monkeypatch, tmp_path):
    needs = re.findall(r"<!-- requires: (\w+) -->", page.read_text())
    for package in needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if torch and sys.version_info >= (3, 12) and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch's examples run on Python 3.11")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAXCONV_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    names = {}
    told = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    try:
        for block in blocks(page):
            if block.language == "pycon" and block.torch == torch:
                # A name for each block: a traceback may pass functions of an earlier one.
                name = f"{page.name}, line {block.line}"
                test = doctest.DocTestParser().get_doctest(
                    block.code, names, name, str(page), block.line
                )
                assert test.examples, f"{name}: no example in this block"
                runner.run(test, out=told.append, clear_globs=False)
                names = test.globs
    finally:
        jaxconv.uninstall()
    assert not runner.failures, "".join(told)


@pytest.mark.parametrize("page", ALL, ids=_name)
def test_every_block_of_code_is_run(page):
    for block in blocks(page):
        where = f"{page.name}, line {block.line}"
        if block.language == "python":
            assert block.not_executed, f"{where}: write it as pycon, or say why it is not executed"
        else:
            assert block.language in NOT_CODE | {"pycon"}, f"{where}: {block.language!r}"


def method_notes():
    """What the page of methods says of each, from the site's own module."""
    spec = importlib.util.spec_from_file_location("method_notes", DOCS / "_ext/method_notes.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NOTES


def test_every_method_has_its_figure_cost_and_use():
    notes = method_notes()
    assert set(notes) == set(jaxconv.methods) - {"lax"}, "docs/_ext/method_notes.py"
    assert all(all(note) for note in notes.values())


def test_figures_exist():
    from jaxconv import plots

    used = {
        name
        for page in PAGES
        for name in re.findall(r"```\{jaxconv-figure\} (\S+)", page.read_text())
    }
    used |= {note.figure for note in method_notes().values()}
    assert used <= set(plots.gallery())
    assert set(plots.gallery()) <= used, "a figure that no page shows"


def test_every_public_name_stands_in_the_site():
    text = "".join(page.read_text() for page in PAGES)
    names = [*jaxconv.__all__, *autograd.__all__]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_the_methods_named_exist():
    page = (DOCS / "methods.md").read_text()
    named = re.findall(
        r"`(\w+)`", " ".join(re.findall(r"^\*\*.*?\*\* \((.*?)\)", page, re.MULTILINE))
    )
    assert "im2col" in named
    assert [name for name in named if name not in jaxconv.methods] == []
