"""Environment variables that turn something on or off."""

from __future__ import annotations

import os

ON, OFF = ("on", "1", "yes", "true"), ("off", "0", "no", "false")


def asked(name: str) -> bool | None:
    """True or False if the variable says on or off (in one of their words), else None."""
    word = os.environ.get(name, "").lower()
    return True if word in ON else False if word in OFF else None
