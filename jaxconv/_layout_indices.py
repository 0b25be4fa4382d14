"""What a gather or scatter calls its dimensions where its arrays lie otherwise.

A gather takes windows of its operand, a scatter puts them there. The array of windows has the
dimensions of the operand that a window keeps, among those of the indices, which say where each
window is. The dimension numbers of both begin with the windows' places, the operand's dimensions
that are gone, and those that an index is of.

Source: XLA's operation semantics, Gather and Scatter.
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


def windows_of(numbers: Any, operand: Any, windows: Any) -> Windows:
    """Of arrays with these types."""
    places, gone, *_ = numbers
    kept = tuple(d for d in range(operand.ndim) if d not in gone)
    return Windows(kept, places, tuple(d for d in range(windows.ndim) if d not in places), gone)


def order_of_windows(order: Order, windows: Windows) -> Order:
    """That of the array of windows as they are cut from an operand in `order`."""
    return _brought(order, windows.kept, windows.places, windows.others)


def order_of_operand(order: Order, windows: Windows) -> Order:
    """That of an operand into which windows are put that lie in `order`."""
    return _brought(order, windows.places, windows.kept, windows.gone)


def _brought(order: Order, here: Order, there: Order, more: Order) -> Order:
    """The order of another array, which has the dimensions `here` as `there`, and `more`.

    These are in the place of the first dimension that it has not.
    """
    found: list[int] = []
    for d in order:
        if d in here:
            found.append(there[here.index(d)])
        else:
            found += more
            more = ()
    return (*more, *found)


def renumbered(numbers: Any, operand: Order, windows: Order) -> Any:
    """Dimension numbers for arrays in these orders."""
    places, gone, indexed, *batching = numbers
    new = (
        tuple(sorted(map(windows.index, places))),
        tuple(sorted(map(operand.index, gone))),
        tuple(map(operand.index, indexed)),
    )
    return type(numbers)(*new, *batching)
