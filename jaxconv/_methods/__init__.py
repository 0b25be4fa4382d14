"""The table of methods: one file each, all with one signature."""

from __future__ import annotations

from jaxconv._methods import direct, im2col, lax, toeplitz
from jaxconv._methods._base import Method

METHODS: dict[str, Method] = {m.name: m for m in (lax.METHOD, direct.METHOD, toeplitz.METHOD, im2col.METHOD)}

__all__ = ["METHODS", "Method"]
