"""How every message is built: one sentence with the rule and the values, then the remedy."""

from __future__ import annotations

from typing import Any, TypeVar

E = TypeVar("E", bound=Exception)


def fail(kind: type[E], function: str, rule: str, got: str, remedy: str) -> E:
    """An exception whose message has the house form.

    `{function}: {rule}; got {got}. {remedy}.`

    Args:
      kind: ValueError for shapes and values, TypeError for dtypes and kinds,
        NotImplementedError for a gap.
      function: the public function that was called.
      rule: what must hold, with the values it speaks of as name=value.
      got: what was given, names with shapes.
      remedy: what to change, an imperative without a full stop.
    """
    return kind(f"{function}: {rule}; got {got}. {remedy}.")


def listed(names: Any) -> str:
    """Names as a quoted list: 'a', 'b' or 'c'."""
    quoted = [repr(name) for name in names]
    if len(quoted) < 2:
        return "".join(quoted)
    return ", ".join(quoted[:-1]) + " or " + quoted[-1]
