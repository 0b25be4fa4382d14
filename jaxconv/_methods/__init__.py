"""The table of methods: one file each, all with one signature."""

from __future__ import annotations

from jaxconv._methods import lax as _lax
from jaxconv._methods._base import Method

METHODS: dict[str, Method] = {m.name: m for m in (_lax.METHOD,)}

__all__ = ["METHODS", "Method"]
