"""explain: every convolution of a function, and what the engine makes of it."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from jaxconv import _compat
from jaxconv._arguments import callable_fun
from jaxconv._choose import Choice
from jaxconv._primitive import conv_p, spec_of
from jaxconv._rewrite import trace
from jaxconv._spec import ConvSpec, Shape
from jaxconv._tuned import decide

# What may stand between the reversal of a kernel and its use, in an input gradient.
_CARRIERS = ("reshape", "transpose", "convert_element_type", "squeeze", "broadcast_in_dim", "copy")

# Characters of a line of the list below the table.
WIDTH = 120


@dataclasses.dataclass(frozen=True)
class Convolution:
    """One convolution of a traced program.

    Attributes:
      source: the line it comes from, "file.py:12", or "" if JAX does not know.
      direction: "forward", "input gradient" or "weight gradient".
      spec: its shapes and parameters.
      choice: the method, why, and the methods refused and why.
      context: the loops and branches around it, outermost first, such as ("scan",).
    """

    source: str
    direction: str
    spec: ConvSpec
    choice: Choice
    context: tuple[str, ...] = ()

    @property
    def gflop(self) -> float:
        """Floating-point operations of the direct sum, in 1e9."""
        return self.spec.flops / 1e9

    @property
    def place(self) -> str:
        """Its line, behind what is around it: "scan/file.py:12"."""
        return "/".join((*self.context, self.source))

    @property
    def method(self) -> str:
        """The name of the method chosen."""
        return self.choice.method

    @property
    def why(self) -> str:
        """Why it was chosen."""
        return self.choice.why

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """(method, reason) of the methods not considered."""
        return self.choice.refused


class Explanation(tuple[Convolution, ...]):
    """The convolutions of a function in the order of its program; `str` makes a table."""

    def __str__(self) -> str:
        """The table, and under it the methods refused."""
        if not self:
            return "no convolution found"
        head = ("#", "source", "direction", "lhs", "rhs", "result", "GFLOP", "method", "why")
        rows = [
            (
                str(number),
                c.place,
                c.direction,
                _shape(c.spec.lhs_shape),
                _shape(c.spec.rhs_shape),
                _shape(c.spec.out_shape),
                f"{c.gflop:.3g}",
                c.method,
                c.why,
            )
            for number, c in enumerate(self, 1)
        ]
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in (head, tuple("-" * w for w in widths), *rows)
        ]
        for number, c in enumerate(self, 1):
            if c.refused:
                reasons = f"{number} refused: {_by_reason(c.refused)}"
                lines += textwrap.wrap(reasons, WIDTH, subsequent_indent="   ")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """How many there are; `print` shows the table."""
        return f"<Explanation: {len(self)} convolution{'s' * (len(self) != 1)}>"


def explain(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """Print and return every convolution of `fun(*args, **kwargs)`, and the method for each.

    fun is traced, not run. Convolutions of `jax.lax` are explained as they would be under
    `install`; those of this library's functions with the method they ask for. `accelerate` may have
    images channels last that fun has channels first: `explain(jaxconv.accelerate(fun), ...)` says
    what becomes of them. Give it the whole training step to see the gradients' convolutions too.

    Args:
      fun: a function of pytrees of arrays.
      *args: its arguments; `jax.ShapeDtypeStruct` may stand for an array.
      **kwargs: its keyword arguments.

    Returns:
      An `Explanation`, a tuple of `Convolution`: source line, direction, spec (shapes), gflop,
      method, why, refused. `str` of it is the table.

    Example:
      >>> import jax, jax.numpy as jnp, jaxconv
      >>> x = jax.ShapeDtypeStruct((8, 56, 56, 64), jnp.float32)
      >>> w = jax.ShapeDtypeStruct((16, 64, 1, 1), jnp.float32)
      >>> found = jaxconv.explain(lambda x, w: jaxconv.conv2d(x, w, layout="NHWC"), x, w)
      ... # doctest: +ELLIPSIS
      #  source...
      >>> print(found[0].direction, found[0].gflop)
      forward 0.051380224
    """
    found = explanation(fun, *args, **kwargs)
    print(found)
    return found


def explanation(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Explanation:
    """What `explain` returns, without printing."""
    callable_fun("explain", fun, "Give the function itself, and its arguments after it")
    traced = trace(lambda args, kwargs: fun(*args, **kwargs), args, kwargs)
    return Explanation(_walk(_compat.open_jaxpr(traced.closed), (), False))


def _walk(jaxpr: Any, context: tuple[str, ...], backward: bool) -> Iterator[Convolution]:
    makers = {id(var): eqn for eqn in jaxpr.eqns for var in eqn.outvars}
    for eqn in jaxpr.eqns:
        behind = backward or "transpose(" in _compat.name_stack_of(eqn)
        if eqn.primitive is _compat.lax_conv_p or eqn.primitive is conv_p:
            spec, method = spec_of(eqn)
            direction = "forward"
            if behind:
                reversed_kernel = _is_reversed(eqn.invars[1], makers)
                direction = "input gradient" if reversed_kernel else "weight gradient"
            if spec.is_static:
                choice = decide(spec, method)
            else:
                choice = Choice("lax", "forward", float("nan"), "symbolic shapes are lax's")
            yield Convolution(_compat.source_of(eqn), direction, spec, choice, context)
            continue
        name = eqn.primitive.name
        inner = (*context, name) if name in ("scan", "while", "cond") else context
        for value in eqn.params.values():
            for sub in value if isinstance(value, tuple | list) else (value,):
                if _compat.is_jaxpr(sub):
                    yield from _walk(_compat.open_jaxpr(sub), inner, behind)


def _is_reversed(var: Any, makers: dict[int, Any]) -> bool:
    """Whether `var` is a reversed kernel: what lax convolves a cotangent with."""
    eqn = makers.get(id(var))
    while eqn is not None and eqn.primitive.name in _CARRIERS:
        eqn = makers.get(id(eqn.invars[0]))
    return eqn is not None and eqn.primitive.name == "rev"


def _by_reason(refused: tuple[tuple[str, str], ...]) -> str:
    """The methods that share a reason side by side."""
    methods: dict[str, list[str]] = {}
    for name, reason in refused:
        methods.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in methods.items())


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape))
