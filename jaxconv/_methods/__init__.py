"""The table of methods: one file each, all with one signature."""

from __future__ import annotations

from jaxconv._methods import (
    depthwise,
    direct,
    fft,
    im2col,
    lax,
    patches,
    phases,
    pointwise,
    taps,
    toeplitz,
    volume,
)
from jaxconv._methods._base import Method

_TABLE = (
    # what JAX has, and the methods that teach; "auto" chooses among those from fft on, and lax
    lax.METHOD,
    direct.METHOD,
    toeplitz.METHOD,
    im2col.METHOD,
    fft.METHOD,
    # fast methods
    depthwise.METHOD,
    pointwise.METHOD,
    taps.METHOD,
    patches.METHOD,
    phases.METHOD,
    volume.METHOD,
)

METHODS: dict[str, Method] = {method.name: method for method in _TABLE}

__all__ = ["METHODS", "Method"]
