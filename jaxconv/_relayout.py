"""A traced program in the making, whose arrays lie otherwise in memory than those of another.

An `Order` says it of one array: for each of its dimensions in memory, the number that it has in the
old program. (0, 2, 3, 1) are images channels last. `_layout_rules` has what is done with each
equation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from jax import Array, lax
from jax.extend.core import DropVar, Literal, Var, new_jaxpr_eqn, no_effects
from jax.extend.core.primitives import transpose_p

from jaxconv import _compat

Order = tuple[int, ...]
Done = dict[Any, Any]

# How many equations one upon the other may be left for later.
DEPTH = 16


def plain(aval: Any) -> Order:
    """The order in which the program has an array."""
    return tuple(range(len(getattr(aval, "shape", ()))))


def permuted(entries: Iterable[Any], order: Order) -> tuple[Any, ...]:
    """What `entries` say of each dimension, in `order`."""
    entries = tuple(entries)
    return tuple(entries[d] for d in order)


class Relayout:
    """The new program in the making.

    Attributes:
      equations: its equations so far.
      known: the new variables of each old one, by their orders: as it was first, and last the one
        in which it is read where any will do.
      asked: the orders in which each old variable was read.
      later: old variables that spread a few numbers, and their equations. They are made where they
        are read, in the order asked for.
      depths: of how many equations, one upon the other, each of those is made.
      changed: whether anything lies otherwise than in the old program.
    """

    def __init__(
        self, jaxpr: Any, inputs: list[Order], alone: Callable[[Any, Done], Any], done: Done
    ) -> None:
        self.jaxpr, self.alone, self.done = jaxpr, alone, done
        self.equations: list[Any] = []
        self.known: dict[Any, dict[Order, Any]] = {}
        self.asked: dict[Any, dict[Order, None]] = {}
        self.later: dict[Any, Any] = {}
        self.depths: dict[Any, int] = {}
        self.changed = False
        for var in jaxpr.constvars:
            self.new(var, plain(var.aval))
        self.invars = [self.new(v, order) for v, order in zip(jaxpr.invars, inputs, strict=True)]

    def finished(self, outputs: list[Order] | None) -> tuple[Any, list[Order]]:
        """The new jaxpr and the orders of its outputs."""
        atoms = self.jaxpr.outvars
        orders = [self.order(a) for a in atoms] if outputs is None else outputs
        like = self.jaxpr.eqns[-1] if self.jaxpr.eqns else None
        outvars = self.read(atoms, orders, like)
        if not self.changed:
            return self.jaxpr, orders
        new = self.jaxpr.replace(invars=self.invars, outvars=outvars, eqns=self.equations)
        return new, orders

    def wanted(self, inputs: list[Order]) -> list[Order]:
        """The orders in which its inputs are read: as they were given, if they are read so too."""
        asked = [list(self.asked.get(v, ())) for v in self.jaxpr.invars]
        pairs = zip(inputs, asked, strict=True)
        return [o if o in orders or not orders else orders[-1] for o, orders in pairs]

    def order(self, atom: Any) -> Order:
        """How an operand lies: not as in the old program, if the new one has it otherwise."""
        if not _is_var(atom) or atom in self.later:
            return plain(atom.aval)
        return next(reversed(self.known[atom]))

    def moved(self, atom: Any) -> bool:
        """Whether an operand lies otherwise than in the old program."""
        return self.order(atom) != plain(atom.aval)

    def common(self, eqn: Any) -> Order | None:
        """The order of the first operand that has moved; None if none has."""
        return next((self.order(a) for a in eqn.invars if self.moved(a)), None)

    def spread(self, atom: Any) -> bool:
        """Whether an operand is one number, or made where it is read."""
        return not plain(atom.aval) or (_is_var(atom) and atom in self.later)

    def postpone(self, eqn: Any) -> bool:
        """Leave an equation for later, if all it reads is spread, and not a long way back."""
        depth = 1 + max((self.depths.get(a, 0) for a in eqn.invars if _is_var(a)), default=0)
        if depth > DEPTH or not all(map(self.spread, eqn.invars)):
            return False
        (out,) = eqn.outvars
        self.later[out], self.depths[out] = eqn, depth
        return True

    def new(self, var: Any, order: Order) -> Any:
        """A variable of the new program: the old one's in this order."""
        if order == plain(var.aval):
            made = var
        else:
            made, self.changed = _permuted(var, order), True
        if not isinstance(var, DropVar):
            self.know(var, order, made)
        return made

    def know(self, var: Any, order: Order, made: Any) -> None:
        """`made` is the old variable `var` in this order."""
        known, first = {**self.known.get(var, {}), order: made}, plain(var.aval)
        self.known[var] = {first: known.pop(first), **known} if first in known else known

    def read(self, atoms: Iterable[Any], orders: Iterable[Order], eqn: Any) -> list[Any]:
        """Operands of `eqn` in these orders."""
        return [self.at(atom, order, eqn) for atom, order in zip(atoms, orders, strict=True)]

    def at(self, atom: Any, order: Order, eqn: Any) -> Any:
        """An operand of `eqn` in this order; one number has none."""
        if not plain(atom.aval):
            return atom
        if not _is_var(atom):
            return self.transposed(atom, plain(atom.aval), order, eqn)
        self.asked.setdefault(atom, {})[order] = None
        if order not in self.known.get(atom, {}):
            if atom in self.later:
                self.make(self.later[atom], order)
            else:
                source, made = next(iter(self.known[atom].items()))
                self.know(atom, order, self.transposed(made, source, order, eqn))
        return self.known[atom][order]

    def transposed(self, made: Any, source: Order, order: Order, eqn: Any) -> Any:
        """A new variable, from one order to another."""
        if source == order:
            return made
        permutation = tuple(source.index(d) for d in order)
        out, self.changed = _permuted(made, permutation), True
        primitive = apart_p if is_work(made.aval, permutation) else transpose_p
        self.equations.append(equation(eqn, primitive, made, out, permutation=permutation))
        return out

    def make(self, eqn: Any, order: Order) -> None:
        """An equation that was left for later, its result in this order."""
        out = self.new(eqn.outvars[0], order)
        if eqn.primitive.name != "broadcast_in_dim":
            return self.emit(eqn, [self.at(a, order, eqn) for a in eqn.invars], [out])
        (operand,), places = eqn.invars, eqn.params["broadcast_dimensions"]
        source = tuple(places.index(d) for d in order if d in places)
        made = self.at(operand, source, eqn)
        self.emit(eqn, [made], [out], **broadcast_params(eqn, source, order))

    def emit(self, eqn: Any, invars: list[Any], outvars: list[Any], **params: Any) -> None:
        """`eqn` on other variables, with other parameters."""
        params = {**eqn.params, **params}
        self.equations.append(eqn.replace(invars=invars, outvars=outvars, params=params))


def _is_var(atom: Any) -> bool:
    return not isinstance(atom, Literal)


def _permuted(atom: Any, order: Order) -> Any:
    """A new variable like `atom`, in this order."""
    return Var(atom.aval.update(shape=permuted(atom.aval.shape, order)))


def is_work(aval: Any, permutation: Order) -> bool:
    """Whether a transpose moves anything in memory: more than dimensions of one entry."""
    kept = [d for d in permutation if aval.shape[d] != 1]
    return kept != sorted(kept)


def _lower(ctx: Any, x: Any, *, permutation: Order) -> Any:
    """A transpose compiled by itself, its result in plain order.

    Else XLA would fuse it with each of those who read it: one number here, one there.
    """

    def moved(x: Array) -> Array:
        x = lax.transpose(x, permutation)
        return x if _compat.exported(ctx) else _compat.in_plain_order(x)

    return _compat.lower_as(functools.partial(_compat.apart, moved), ctx, x)


apart_p = _compat.transposing_primitive("jaxconv_transpose", _lower)


def equation(like: Any, primitive: Any, x: Any, out: Any, **params: Any) -> Any:
    """One of our own, said to come from where `like` comes from."""
    if like is None:
        return new_jaxpr_eqn([x], [out], primitive, params, no_effects)
    return like.replace(
        primitive=primitive, invars=[x], outvars=[out], params=params, effects=no_effects
    )


def broadcast_params(eqn: Any, source: Order, order: Order) -> dict[str, Any]:
    """The parameters of a broadcast from an operand in one order to a result in another."""
    places = eqn.params["broadcast_dimensions"]
    return {
        "shape": permuted(eqn.params["shape"], order),
        "broadcast_dimensions": tuple(order.index(places[d]) for d in source),
    }
