"""What a gather or scatter calls its dimensions where its arrays lie otherwise.

A gather takes windows of its operand, a scatter puts them there. The array of windows has the
dimensions of the operand that a window keeps, among those of the indices, which say where each
window is. Both in the terms of XLA's operation semantics (Gather, Scatter).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxconv._relayout import Order


class Windows(NamedTuple):
    """How windows lie beside their operand.

    Attributes:
      kept: the operand's dimensions that a window keeps, ascending.
      places: those of the array of windows that they are there.
      others: those of the array of windows that are the indices'.
      gone: the operand's dimensions of which a window has one position.
    """

    kept: tuple[int, ...]
    places: tuple[int, ...]
    others: tuple[int, ...]
    gone: tuple[int, ...]


def windows_of(
    places: tuple[int, ...], gone: tuple[int, ...], operand: Any, windows: Any
) -> Windows:
    """Of arrays with these types."""
    kept = tuple(d for d in range(operand.ndim) if d not in gone)
    return Windows(kept, places, tuple(d for d in range(windows.ndim) if d not in places), gone)


def order_of_windows(order: Order, windows: Windows) -> Order:
    """That of the array of windows as they are cut from an operand in `order`.

    The dimensions of the indices are in the place of the first one that is gone.
    """
    found, others = [], windows.others
    for d in order:
        if d in windows.kept:
            found.append(windows.places[windows.kept.index(d)])
        else:
            found += others
            others = ()
    return (*others, *found)


def order_of_operand(order: Order, windows: Windows) -> Order:
    """That of an operand into which windows are put that lie in `order`."""
    found, gone = [], windows.gone
    for d in order:
        if d in windows.places:
            found.append(windows.kept[windows.places.index(d)])
        else:
            found += gone
            gone = ()
    return (*gone, *found)


def renumbered(numbers: Any, operand: Order, windows: Order, names: tuple[str, str, str]) -> Any:
    """Dimension numbers for arrays in these orders.

    `names` are the fields that have the windows' dimensions, those of the operand that are gone,
    and those that an index says the position in.
    """
    places, gone, indexed = (getattr(numbers, name) for name in names)
    new = (
        tuple(sorted(map(windows.index, places))),
        tuple(sorted(map(operand.index, gone))),
        tuple(map(operand.index, indexed)),
    )
    return numbers._replace(**dict(zip(names, new, strict=True)))
