"""The shape of the package, read from its source: imports go downward, files stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import jaxconv

ROOT = Path(__file__).parents[1] / "jaxconv"
FILES = sorted(ROOT.rglob("*.py"))

# A module imports only from rows above its own. A package (`_methods`) stands as one module.
MAP = (
    (
        "_allocator",
        "_calibration",
        "_compat",
        "_environment",
        "_errors",
        "_onednn_calls",
        "_processor",
    ),
    ("_arguments", "_heaps", "_onednn", "_rewrite", "_spec", "_window"),
    ("_form", "_shape"),
    ("_methods",),
    ("_cost",),
    ("_choose",),
    ("_run", "_tuned"),
    ("_primitive",),
    ("_relayout",),
    ("_layout_indices",),
    ("_layout_rules",),
    ("_channels_last", "_lax_pools"),
    ("_accelerate", "_explain", "_general", "_install"),
    ("_tune", "_conv"),
    ("_conv_transpose", "_fold", "_init", "_matrix", "_pool"),
    ("autograd",),
    ("plots",),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
ROW = {name: row for row, names in enumerate(MAP) for name in names}
PUBLIC = """
    accelerate avg_pool1d avg_pool2d avg_pool3d conv1d conv2d conv3d conv_general_dilated
    conv_matrix conv_transpose1d conv_transpose2d conv_transpose3d explain fold init_conv
    init_conv_transpose install max_pool1d max_pool2d max_pool3d methods output_shape tune
    tune_allocator unfold uninstall
""".split()
# A method that splits its work asks again how each part is best done.
UPWARD = {("_methods", "_choose")}


def name_of(path):
    """`_methods/direct.py` is part of `_methods`."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """Dotted names of everything imported anywhere in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(path):
    """First parts below `jaxconv` of what a file imports, `__init__` for the package itself."""
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "jaxconv":
            known = len(parts) > 1 and parts[1] in ROW
            yield parts[1] if known else "__init__"


def test_public_names_are_frozen():
    assert sorted(jaxconv.__all__) == PUBLIC
    assert all(getattr(jaxconv, name) is not None for name in PUBLIC)


def test_every_module_is_in_the_map():
    assert {name_of(path) for path in FILES} <= set(ROW)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward(path):
    name = name_of(path)
    for other in inside(path):
        if other != name and (name, other) not in UPWARD:
            assert ROW[other] < ROW[name], f"{name} imports {other}"


def test_autograd_does_not_import_convolution():
    for path in ROOT.glob("autograd/*.py"):
        assert set(inside(path)) <= {"autograd", "_compat", "_errors"}, path


def test_the_command_line_uses_public_names():
    for path in (ROOT / "cli").rglob("*.py"):
        if "calibrate" in path.parts:
            continue  # the engine's own workshop: it measures each method and fits the cost model
        private = [name for name in inside(path) if name.startswith("_") and name != "__init__"]
        assert not private, f"{path} imports {private}"


def test_private_parts_of_jax_are_used_in_one_file():
    for path in FILES:
        if name_of(path) != "_compat":
            assert "jax._src" not in path.read_text(), path


def test_files_are_short():
    for path in FILES:
        lines = len(path.read_text().splitlines())
        assert lines <= 500, f"{path} has {lines} lines: what is the second concept in it?"


def at_import(path):
    """Top-level names that a file imports when it is itself imported."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_only_dependencies_are_imported():
    allowed = {"jaxconv", "jax", "jaxlib", "numpy", *sys.stdlib_module_names}
    for path in FILES:
        if name_of(path) not in ("cli", "plots"):
            assert set(at_import(path)) <= allowed, path


def test_importing_jaxconv_leaves_the_extras_alone():
    extras = "matplotlib optax mlxtend rich typer torch graphviz platformdirs pandas".split()
    code = f"import sys, jaxconv; print([name for name in {extras} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"
