"""What a method is: a name, what it takes, what it costs, and a function for each form."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from jax import Array

from jaxconv._form import Form

Run = Callable[[Array, Array, Form], Array]


class Method(NamedTuple):
    """One way to compute a convolution.

    Attributes:
      name: what `method=` takes and `explain` prints.
      summary: one line for tables.
      supports: form -> None where the method can compute it, else a short reason.
      forward: (x, w, form) -> y, or None if the method has no forward form.
      weight: (x, y, form) -> w, or None if it has no weight form.
      cost: form -> estimated seconds on the machine that the numbers were measured on.
      exact: False if it rounds differently in kind (FFT, Winograd) or adds products with zeros of
        its own (block-diagonal and band matrices): NaN and Inf spread.
      auto: whether "auto" may choose it.
      work: form -> the form whose work it does, where it fills up tiles or vectors.
      besides: form -> estimated seconds of what it does on this processor beside what was measured.
      composed: whether its cost is that of smaller convolutions by the engine's choice.
      fastest: form -> multiply-adds a second that it does at most, whatever was fitted says.
      linear: whether what it takes follows the linear model of `_cost`, fitted to measurements.
    """

    name: str
    summary: str
    supports: Callable[[Form], str | None]
    forward: Run | None
    weight: Run | None
    cost: Callable[[Form], float]
    exact: bool = True
    auto: bool = True
    work: Callable[[Form], Form] = lambda form: form
    besides: Callable[[Form], float] = lambda form: 0.0
    composed: bool = False
    fastest: Callable[[Form], float] = lambda form: math.inf
    linear: bool = True

    def of(self, kind: str) -> Run | None:
        """Its function for forms of that kind, or None."""
        return self.weight if kind == "weight" else self.forward
