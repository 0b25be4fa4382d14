"""The command `lecture`: every listing's code, what it gives, and whether the lecture agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from jaxconv.cli.errors import UserError, make_folder

PREAMBLE = """import jax
import jax.numpy as jnp
import jaxconv
from jaxconv import autograd"""


def lecture(
    section: Annotated[
        int | None, typer.Option(help="Only this section, 1 to 6.", min=1, max=6)
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(help="Write every figure of the lecture, light and dark, into this folder."),
    ] = None,
) -> int:
    """Convolution and automatic differentiation from the beginning, each listing run, checked."""
    from jaxconv.cli.lecture.listings import LISTINGS, SECTIONS

    if figures is not None:
        make_folder("lecture", "--figures", figures)
    console = Console(highlight=False)
    console.print(_code(PREAMBLE))
    shown = [listing for listing in LISTINGS if section in (None, listing.section)]
    agreed = 0
    last = 0
    for listing in shown:
        if listing.section != last:
            last = listing.section
            console.rule(Text(f"{last}. {SECTIONS[last]}", style="bold"), align="left")
        agreed += show(console, listing)
    if figures is not None:
        draw(console, figures)
    console.rule()
    good = agreed == len(shown)
    console.print(
        Text(f"{agreed} of {len(shown)} listings agree", style="green" if good else "red")
    )
    return 0 if good else 1


def show(console: Console, listing: Any) -> bool:
    """Prints one listing, runs it, and says whether it agrees with the lecture."""
    from jaxconv.cli.lecture.render import value

    console.print()
    console.print(Text(listing.title, style="italic"))
    console.print(Padding(_code(listing.source), (0, 0, 0, 4)))
    values = listing.run()
    for name, held in values.items():
        console.print(Padding(value(name, held), (0, 0, 0, 2)))
    wrong = listing.disagreements(values)
    for sentence in wrong:
        console.print(Text(f"✗ {sentence}", style="red"))
    if not wrong:
        console.print(Text("✓ as in the lecture", style="green"))
    return not wrong


def draw(console: Console, folder: Path) -> None:
    """Writes every figure as SVG, and the sliding kernel as a film.

    Raises:
        UserError: If the folder cannot be written to, or a package is missing.
    """
    try:
        from jaxconv import plots

        for name, (_, figure) in plots.gallery().items():
            for theme in ("light", "dark"):
                figure(theme).savefig(folder / f"{name}-{theme}.svg")
        film = plots.sliding_animation([0, 1, 3, 2, -1, -2, 0, 1], [-1, 0, 1])
        film.save(folder / "sliding.gif", writer="pillow")
    except OSError as error:
        raise UserError(
            f"lecture: the folder of --figures must be writable; got {error}."
        ) from None
    except ModuleNotFoundError as error:
        raise UserError(f"lecture: {error}") from None
    console.print()
    console.print(f"{2 * len(plots.gallery()) + 1} files written to {folder}", soft_wrap=True)


def _code(source: str) -> Syntax:
    return Syntax(source, "python", theme="ansi_dark", background_color="default", word_wrap=True)
