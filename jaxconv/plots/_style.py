"""Colours and letters of every figure, light and dark."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.rcsetup import cycler

P = ParamSpec("P")
R = TypeVar("R")
ThemeName = Literal["light", "dark"]


@dataclasses.dataclass(frozen=True)
class Theme:
    """One set of colours. Blue and orange are told apart with any kind of colour vision."""

    background: str
    panel: str
    ink: str
    muted: str
    faint: str
    blue: str
    orange: str
    green: str
    purple: str

    @property
    def cycle(self) -> tuple[str, ...]:
        """Colours for things of the same kind, in order."""
        return (self.blue, self.orange, self.green, self.purple)

    @property
    def diverging(self) -> LinearSegmentedColormap:
        """Orange below zero, the panel's colour at zero, blue above."""
        return LinearSegmentedColormap.from_list("jaxconv", [self.orange, self.panel, self.blue])


THEMES = {
    "light": Theme(
        background="#ffffff", panel="#f4f5f7", ink="#1c2430", muted="#5b6675", faint="#cfd5dd",
        blue="#1f6fd1", orange="#d9660a", green="#1a8a5a", purple="#8a4fc7",
    ),
    "dark": Theme(
        background="#131416", panel="#24272c", ink="#eceff3", muted="#a3adba", faint="#474d57",
        blue="#62a8ff", orange="#ff9d4d", green="#4fcf95", purple="#c39bff",
    ),
}  # fmt: skip

_current = [THEMES["light"]]


def current() -> Theme:
    """The theme of the figure being drawn."""
    return _current[-1]


def themed(function: Callable[P, R]) -> Callable[P, R]:
    """`function` drawn in the colours named by its keyword argument `theme`."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        name = kwargs.get("theme", "light")
        if name not in THEMES:
            raise ValueError(
                f"{function.__name__}: theme must be one of {', '.join(THEMES)}; got {name!r}."
            )
        theme = THEMES[str(name)]
        settings: Any = {
            "figure.facecolor": theme.background,
            "savefig.facecolor": theme.background,
            "axes.facecolor": theme.background,
            "axes.edgecolor": theme.muted,
            "axes.labelcolor": theme.ink,
            "axes.titlecolor": theme.ink,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=theme.cycle),
            "text.color": theme.ink,
            "xtick.color": theme.muted,
            "ytick.color": theme.muted,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "grid.color": theme.faint,
            "font.family": ["DejaVu Sans"],
            "font.size": 10,
            "figure.constrained_layout.w_pad": 0.1,
            "figure.constrained_layout.h_pad": 0.1,
            "svg.hashsalt": "jaxconv",
        }
        _current.append(theme)
        try:
            with matplotlib.rc_context(settings):
                return function(*args, **kwargs)
        finally:
            _current.pop()

    return wrapper


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that lays itself out."""
    return Figure(figsize=(width, height), layout="constrained", dpi=110)


def number(value: float) -> str:
    """`value` in few letters, with a true minus."""
    text = f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
    return ("0" if text in ("-0", "0") else text).replace("-", "\N{MINUS SIGN}")


def on(colour: Any) -> str:
    """Black or white, whichever reads better on `colour`."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#10141a" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "#ffffff"


def cell(
    axes: Axes,
    x: float,
    y: float,
    text: str = "",
    *,
    fill: Any = None,
    edge: str | None = None,
    width: float = 1.0,
    height: float = 1.0,
    line: float = 0.8,
    dashed: bool = False,
    size: float = 9.5,
    colour: str | None = None,
) -> None:
    """One box of an array at (x, y), its lower left corner, with text in it."""
    theme = current()
    fill = theme.panel if fill is None else fill
    axes.add_patch(
        Rectangle(
            (x, y),
            width,
            height,
            facecolor=fill,
            edgecolor=edge or theme.faint,
            linewidth=line,
            linestyle=(0, (2, 2)) if dashed else "-",
        )
    )
    if text:
        axes.text(
            x + width / 2,
            y + height / 2,
            text,
            ha="center",
            va="center_baseline",
            fontsize=size,
            color=colour or on(fill),
        )


def outline(axes: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    """A thick frame around boxes."""
    axes.add_patch(
        Rectangle(
            (x, y), width, height, fill=False, edgecolor=colour, linewidth=2.4, joinstyle="round",
            zorder=5,
        )
    )  # fmt: skip


def bubble(
    axes: Axes, x: float, y: float, width: float, height: float, *, fill: str, edge: str
) -> None:
    """A box with round corners, centred at (x, y)."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=fill,
            edgecolor=edge,
            linewidth=1.4,
            zorder=3,
        )
    )


def blank(axes: Axes, width: tuple[float, float], height: tuple[float, float]) -> None:
    """Axes as a sheet of squared paper: no ticks, no frame, equal units."""
    axes.set_xlim(*width)
    axes.set_ylim(*height)
    axes.set_aspect("equal")
    axes.axis("off")
