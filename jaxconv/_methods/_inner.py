"""For methods that are made of smaller convolutions: the engine's choice for a Form.

The table of methods and the choice lie above this file, so they are imported when called.
"""

from __future__ import annotations

from jax import Array

from jaxconv._form import Form
from jaxconv._methods._base import Method


def best(form: Form) -> tuple[Method, float]:
    """The method that "auto" takes for `form`, and its estimated seconds."""
    from jaxconv._choose import best_for

    return best_for(form)


def conv_form(x: Array, w: Array, form: Form) -> Array:
    """y of a forward form by the best method."""
    method, _ = best(form)
    if method.forward is None:
        raise NotImplementedError(f"{method.name} has no forward form")
    return method.forward(x, w, form)


def weight_form(x: Array, y: Array, form: Form) -> Array:
    """w of a weight form by the best method."""
    method, _ = best(form)
    if method.weight is None:
        raise NotImplementedError(f"{method.name} has no weight form")
    return method.weight(x, y, form)
