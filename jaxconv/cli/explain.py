"""The ``explain`` command: which method each convolution of a program gets, and why."""

import contextlib
import io
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxconv.cli.errors import UserError


def explain(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="script.py:function, or part of a layer's name (bench --list)."
        ),
    ],
    arg: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHAPE",
            help="An argument of the function, such as 8,3,32,32 or 8,3,32,32:bfloat16. In order.",
        ),
    ] = None,
    candidates: Annotated[
        bool, typer.Option("--candidates", help="Show every method considered or refused.")
    ] = False,
) -> None:
    """Show the method chosen for every convolution of a function, traced but not run."""
    from rich.console import Console
    from rich.table import Table

    import jaxconv

    programs = _from_script(target, arg or []) if ":" in target else _from_layers(target, arg)
    console = Console()
    for title, function, arguments in programs:
        # The library's own table is plain text; here a rich one takes its place.
        with contextlib.redirect_stdout(io.StringIO()):
            found = jaxconv.explain(function, *arguments)
        table = Table(title=title, title_justify="left", title_style="bold", expand=False)
        # The layers of the benchmark come from no line of the user's.
        lines = any(conv.source for conv in found)
        source = ("source",) if lines else ()
        for column in ("#", *source, "direction", "lhs", "rhs", "GFLOP", "method", "why"):
            table.add_column(column, overflow="fold")
        for number, conv in enumerate(found, 1):
            table.add_row(
                str(number),
                *([conv.place] if lines else []),
                conv.direction,
                "x".join(map(str, conv.spec.lhs_shape)),
                "x".join(map(str, conv.spec.rhs_shape)),
                f"{conv.gflop:.3g}",
                f"[bold]{conv.method}[/bold]",
                conv.why,
            )
        console.print(table if found else f"{title}: no convolution found")
        for number, conv in enumerate(found, 1) if candidates else ():
            console.print(f"{number} considered", style="bold")
            for option in conv.choice.considered:
                cost = f"{option.seconds * 1e3:9.3f} ms (estimate)"
                console.print(f"   {option.method:24} {option.kind:8} {cost}", highlight=False)
            for method, reason in conv.refused:
                console.print(f"   {method:24} refused: {reason}", style="dim", highlight=False)


Program = tuple[str, Callable[..., Any], tuple[Any, ...]]


def _from_layers(name: str, args: list[str] | None) -> list[Program]:
    import jax
    from jax import lax

    from jaxconv.cli.bench.layers import LAYERS
    from jaxconv.cli.bench.timing import training_step

    if args:
        raise UserError(
            f"explain: --arg belongs to script.py:function; got the layer name {name}. Drop --arg."
        )
    found = [layer for layer in LAYERS if name.lower() in layer.name.lower()]
    if not found:
        raise UserError(
            f"explain: TARGET must be script.py:function or part of a layer's name; got {name}. "
            "See the names with python -m jaxconv bench --list."
        )
    return [
        (
            f"{layer.name}, training step, channels last",
            training_step(layer.function("last", lax.conv_general_dilated)),
            tuple(jax.ShapeDtypeStruct(s, "float32") for s in layer.shapes("last")),
        )
        for layer in found
    ]


def _from_script(target: str, args: list[str]) -> list[Program]:
    path, _, name = target.rpartition(":")
    if not Path(path).is_file():
        raise UserError(f"explain: the script must be a file; got {path}, which is not there.")
    function = runpy.run_path(path).get(name)
    if not callable(function):
        raise UserError(f"explain: the script must define a function {name}; got {path} without.")
    return [(target, function, tuple(map(_shape, args)))]


def _shape(text: str) -> Any:
    import jax

    sizes, _, dtype = text.partition(":")
    try:
        shape = tuple(int(size) for size in sizes.split(",") if size.strip())
        return jax.ShapeDtypeStruct(shape, dtype or "float32")
    except (ValueError, TypeError):
        raise UserError(
            f"explain: --arg must be sizes and perhaps a dtype, as 8,3,32,32:bfloat16; got {text}."
        ) from None
