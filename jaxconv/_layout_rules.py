"""What an equation computes on arrays that lie otherwise: a program with its images channels last.

The program stays the same, equation by equation: an activation, a sum over positions, pooling or a
concatenation is computed on arrays whose dimensions stand in another order, and names the
dimensions by their new places. Only where an array meets an equation without a rule here or leaves
the program is it transposed, once for all who read it so. What a loop carries lies from step to
step as its body makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend.core.primitives import reshape_p

from jaxconv import _compat
from jaxconv._layout_indices import order_of_operand, order_of_windows, renumbered, windows_of
from jaxconv._primitive import conv_p
from jaxconv._relayout import (
    Done,
    Order,
    Relayout,
    apart_p,
    broadcast_params,
    equation,
    permuted,
    plain,
)

Rule = Callable[[Relayout, Any], None]

# --- which equations have which rule -------------------------------------------------------------

ELEMENTWISE = frozenset(
    """abs acos acosh add add_any and asin asinh atan atan2 atanh bessel_i0e bessel_i1e
    bitcast_convert_type cbrt ceil clamp clz complex conj convert_element_type copy cos cosh
    digamma div eq eq_to erf erf_inv erfc exp exp2 expm1 floor ge gt igamma igamma_grad_a igammac
    imag integer_pow is_finite le le_to lgamma log log1p log2 logistic lt lt_to max min mul mulhi
    name ne neg nextafter not one_minus_square or polygamma polynomial population_count pow real
    reduce_precision regularized_incomplete_beta rem round rsqrt select_n shift_left
    shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient sub tan
    tanh xor zeta""".split()
)
REDUCTIONS = frozenset(
    """argmax argmin reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum
    reduce_xor""".split()
)
SCATTERS = frozenset("scatter scatter-add scatter-max scatter-min scatter-mul scatter-sub".split())
_WINDOW = "window_dimensions window_strides padding"
_DILATED = f"{_WINDOW} base_dilation window_dilation"
# Parameters that have an entry for each dimension.
PER_DIMENSION = {
    "pad": "padding_config",
    "reduce_window_max": _DILATED,
    "reduce_window_min": _DILATED,
    "reduce_window_sum": _DILATED,
    "select_and_gather_add": _DILATED,
    "select_and_scatter_add": _WINDOW,
    "slice": "start_indices limit_indices strides",
    "tile": "reps",
}
# The parameter that is a dimension, or several.
NAMES = {
    "concatenate": "dimension",
    "cumlogsumexp": "axis",
    "cummax": "axis",
    "cummin": "axis",
    "cumprod": "axis",
    "cumsum": "axis",
    "rev": "dimensions",
    "sort": "dimension",
    "split": "axis",
}
# The parameter that is a program, called with the operands.
CALLS = {"custom_jvp_call": "call_jaxpr", "jit": "jaxpr", "remat2": "jaxpr"}
# Attempts at a carry that a loop's body makes as it is given it. After the last, the body
# transposes what it makes otherwise.
TRIALS = 3


class Relaid(NamedTuple):
    """A program with its images channels last.

    Attributes:
      program: the jaxpr, closed if it was.
      outputs: the orders of its outputs.
      wanted: those in which it reads its inputs: as they were given, if it reads them so too.
    """

    program: Any
    outputs: list[Order]
    wanted: list[Order]


def relaid(
    jaxpr: Any,
    inputs: list[Order],
    outputs: list[Order] | None,
    alone: Callable[[Any, Done], Any],
    done: Done,
) -> Relaid:
    """A jaxpr, closed or not, with its images channels last.

    Args:
      jaxpr: the program; if nothing in it moves, it is what is returned.
      inputs: the orders of its inputs.
      outputs: those that its outputs are to have; None for such as they come in.
      alone: `alone(jaxpr, done)` does it to the program of a custom_vjp, inputs and outputs as they
        are.
      done: what was returned before, by program and orders, so that one object stays one.
    """
    key = id(jaxpr), tuple(inputs), None if outputs is None else tuple(outputs)
    if key not in done:
        orders: list[Order] = []
        wanted: list[Order] = []

        def move(inner: Any) -> Any:
            program = Relayout(inner, inputs, alone, done)
            for eqn in inner.eqns:
                rule_of(eqn)(program, eqn)
            new, found = program.finished(outputs)
            orders.extend(found)
            wanted.extend(program.wanted(inputs))
            return new

        new = _compat.map_jaxpr(jaxpr, move)
        if _compat.open_jaxpr(new) is _compat.open_jaxpr(jaxpr):
            new = jaxpr
        done[key] = Relaid(new, orders, wanted), jaxpr  # kept, so that its id stays its own
        done.setdefault((*key[:2], tuple(orders)), done[key])  # it may be asked for as it came
    return done[key][0]


# --- the rules -----------------------------------------------------------------------------------


def rule_of(eqn: Any) -> Rule:
    """How an equation is computed on arrays that lie otherwise."""
    return convolution if eqn.primitive is conv_p else RULES.get(eqn.primitive.name, as_it_was)


def in_orders(
    program: Relayout, eqn: Any, inputs: list[Order], outputs: list[Order], **params: Any
) -> None:
    """On operands and with results in these orders; `params` are those that say so, if any does."""
    program.changed |= any(params[name] is not eqn.params[name] for name in params)
    operands = program.read(eqn.invars, inputs, eqn)
    outvars = [program.new(v, order) for v, order in zip(eqn.outvars, outputs, strict=True)]
    program.emit(eqn, operands, outvars, **params)


def as_it_was(program: Relayout, eqn: Any, **params: Any) -> None:
    """On operands and with results as in the old program."""
    inputs, outputs = ([plain(a.aval) for a in atoms] for atoms in (eqn.invars, eqn.outvars))
    in_orders(program, eqn, inputs, outputs, **params)


def relaid_in(
    program: Relayout, jaxpr: Any, inputs: list[Order], outputs: list[Order] | None = None
) -> Relaid:
    """A program inside one that is moved."""
    return relaid(jaxpr, inputs, outputs, program.alone, program.done)


def convolution(program: Relayout, eqn: Any) -> None:
    """Of images channels first: channels last. Any other reads each operand as it lies."""
    (x, w), (y,) = eqn.invars, eqn.outvars
    numbers, order = eqn.params["dimension_numbers"], plain(y.aval)
    if eqn.params["method"] != "auto" or not all(map(_is_ordinary, (x, w, y))):
        return as_it_was(program, eqn)
    if numbers.lhs_spec == numbers.out_spec == order and jnp.issubdtype(x.aval.dtype, jnp.inexact):
        order = (0, *order[2:], 1)
        orders = order, program.order(w), order
    else:
        orders = program.order(x), program.order(w), order
    specs = [[o.index(d) for d in spec] for o, spec in zip(orders, numbers, strict=True)]
    numbers = type(numbers)(*map(tuple, specs))
    operands, out = program.read((x, w), orders[:2], eqn), program.new(y, order)
    program.emit(eqn, operands, [out], dimension_numbers=numbers)


def _is_ordinary(atom: Any) -> bool:
    """Whether an array's sizes are numbers, and its type says nothing of a mesh."""
    sizes = all(isinstance(size, int) for size in atom.aval.shape)
    return sizes and _compat.is_unsharded(atom.aval)


def elementwise(program: Relayout, eqn: Any) -> None:
    """Each number from those in the same place."""
    (out,), order = eqn.outvars, program.common(eqn)
    ranks = {len(plain(a.aval)) for a in (*eqn.invars, out)} - {0}
    if order is not None and len(ranks) == 1:  # else the bits of one number become several
        operands = [program.at(a, order, eqn) for a in eqn.invars]
        program.emit(eqn, operands, [program.new(out, order)])
    elif not out.aval.shape or not program.postpone(eqn):
        as_it_was(program, eqn)


def by_dimension(program: Relayout, eqn: Any) -> None:
    """Windows, padding, slices, concatenations: each dimension by itself."""
    order, name, params = program.common(eqn), eqn.primitive.name, {}
    if order is None:
        return as_it_was(program, eqn)
    for key in PER_DIMENSION.get(name, "").split():
        entries = eqn.params[key]
        params[key] = None if entries is None else permuted(entries, order)
    if name in NAMES:
        named = eqn.params[NAMES[name]]
        several = isinstance(named, tuple)
        params[NAMES[name]] = tuple(map(order.index, named)) if several else order.index(named)
    operands = [program.at(a, order, eqn) for a in eqn.invars]
    program.emit(eqn, operands, [program.new(v, order) for v in eqn.outvars], **params)


def dynamic(program: Relayout, eqn: Any) -> None:
    """A part of an array, or an array with a part of it replaced, where numbers say where."""
    number = 2 if eqn.primitive.name == "dynamic_update_slice" else 1
    arrays, starts, order = eqn.invars[:number], eqn.invars[number:], program.common(eqn)
    if order is None:
        return as_it_was(program, eqn)
    operands = [program.at(a, order, eqn) for a in arrays] + list(permuted(starts, order))
    sizes = {k: permuted(v, order) for k, v in eqn.params.items() if k == "slice_sizes"}
    return program.emit(eqn, operands, [program.new(eqn.outvars[0], order)], **sizes)


def gather(program: Relayout, eqn: Any) -> None:
    """Windows of an operand as it lies."""
    (x, indices), (out,), numbers = eqn.invars, eqn.outvars, eqn.params["dimension_numbers"]
    if not program.moved(x) or numbers.operand_batching_dims:
        return as_it_was(program, eqn)
    order = program.order(x)
    result = order_of_windows(order, windows_of(numbers, x.aval, out.aval))
    params = {"slice_sizes": permuted(eqn.params["slice_sizes"], order)}
    params["dimension_numbers"] = renumbered(numbers, order, result)
    return in_orders(program, eqn, [order, plain(indices.aval)], [result], **params)


def scatter(program: Relayout, eqn: Any) -> None:
    """Windows put into an operand as it lies, or as they do, if it is made where it is read."""
    (x, indices, updates), numbers = eqn.invars, eqn.params["dimension_numbers"]
    windows, order = windows_of(numbers, x.aval, updates.aval), program.order(x)
    if program.spread(x) and program.moved(updates):
        order = order_of_operand(program.order(updates), windows)
    if order == plain(x.aval) or numbers.operand_batching_dims:
        return as_it_was(program, eqn)
    put = order_of_windows(order, windows)
    params = {"dimension_numbers": renumbered(numbers, order, put)}
    return in_orders(program, eqn, [order, plain(indices.aval), put], [order], **params)


def reduction(program: Relayout, eqn: Any) -> None:
    """Over some of the dimensions."""
    (x,), (out,), axes = eqn.invars, eqn.outvars, eqn.params["axes"]
    order = program.order(x)
    left = [d for d in order if d not in axes]
    axes = tuple(sorted(map(order.index, axes))) if program.moved(x) else axes
    result = program.new(out, tuple(map(sorted(left).index, left)))
    program.emit(eqn, [program.at(x, order, eqn)], [result], axes=axes)


def broadcast(program: Relayout, eqn: Any) -> None:
    """What moves takes its new dimensions with it; what does not is made where it is read."""
    x, (out,) = eqn.invars[0], eqn.outvars
    if len(eqn.invars) > 1 or not out.aval.shape:
        return as_it_was(program, eqn)
    if not program.moved(x):
        program.later[out] = eqn
        return None
    source, places = program.order(x), eqn.params["broadcast_dimensions"]
    order = [places[d] for d in source]
    for d in plain(out.aval):  # a new one behind the one before it
        if d not in places:
            order.insert(order.index(d - 1) + 1 if d else 0, d)
    params = broadcast_params(eqn, source, tuple(order))
    operand, result = program.at(x, source, eqn), program.new(out, tuple(order))
    return program.emit(eqn, [operand], [result], **params)


def transpose(program: Relayout, eqn: Any) -> None:
    """What has moved stays where it is: only what its dimensions are called changes."""
    (x,), (out,) = eqn.invars, eqn.outvars
    if not program.moved(x):
        return as_it_was(program, eqn)
    order = program.order(x)
    renamed = tuple(map(eqn.params["permutation"].index, order))
    return program.know(out, renamed, program.at(x, order, eqn))


def reshape(program: Relayout, eqn: Any) -> None:
    """Dimensions that are split, or merged with the next; what is merged is brought together."""
    x, (out,) = eqn.invars[0], eqn.outvars
    groups = _groups(x.aval.shape, out.aval.shape)
    reordered = eqn.primitive is reshape_p and eqn.params["dimensions"] is not None
    if not program.moved(x) or not groups or reordered:
        return as_it_was(program, eqn)
    order, shape = program.order(x), x.aval.shape
    groups.sort(key=lambda group: min(map(order.index, group[0])))
    source = tuple(d for inside, _ in groups for d in inside)
    if [d for d in source if shape[d] > 1] == [d for d in order if shape[d] > 1]:
        source = order
    target = tuple(d for _, outside in groups for d in outside)
    made, result = program.at(x, source, eqn), program.new(out, target)
    params = {"new_sizes": permuted(out.aval.shape, target), "dimensions": None, "sharding": None}
    return program.equations.append(equation(eqn, reshape_p, made, result, **params))


def _groups(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Dimensions of shape a and those of b that they become; none if there are zeros or symbols."""
    groups: list[tuple[list[int], list[int]]] = []
    if not a or not b or not all(isinstance(size, int) and size for size in (*a, *b)):
        return groups
    i = j = 0
    while i < len(a) and j < len(b):
        m, n, first, second = a[i], b[j], i, j
        i, j = i + 1, j + 1
        while m != n:
            if m < n:
                m, i = m * a[i], i + 1
            else:
                n, j = n * b[j], j + 1
        groups.append((list(range(first, i)), list(range(second, j))))
    groups[-1][0].extend(range(i, len(a)))  # ones are left, on one side
    groups[-1][1].extend(range(j, len(b)))
    return groups


def product(program: Relayout, eqn: Any) -> None:
    """Of the dimensions of one operand that stay, those of the result lie in the same order."""
    a, b = eqn.invars
    sums, batch = eqn.params["dimension_numbers"]
    if not program.moved(a) and not program.moved(b):
        return as_it_was(program, eqn)
    orders = program.order(a), program.order(b)
    places, lies = len(batch[0]), list(range(len(batch[0])))
    for order, summed, shared in zip(orders, sums, batch, strict=True):
        left = [d for d in order if d not in summed and d not in shared]
        lies += [places + sorted(left).index(d) for d in left]
        places += len(left)
    numbers = tuple(
        tuple(tuple(map(order.index, dims)) for order, dims in zip(orders, pair, strict=True))
        for pair in (sums, batch)
    )
    operands, out = program.read((a, b), orders, eqn), program.new(eqn.outvars[0], tuple(lies))
    return program.emit(eqn, operands, [out], dimension_numbers=numbers)


def each(program: Relayout, eqn: Any) -> None:
    """Results that are the operands, as they lie."""
    orders = [program.order(a) for a in eqn.invars]
    in_orders(program, eqn, orders, orders)


def call(program: Relayout, eqn: Any) -> None:
    """A program inside, called with operands as they lie, if it reads them so."""
    name, common = CALLS[eqn.primitive.name], program.common(eqn) or ()
    if not _compat.is_ordinary_call(eqn):
        return as_it_was(program, eqn)
    orders = [
        common if program.spread(a) and len(plain(a.aval)) == len(common) else program.order(a)
        for a in eqn.invars
    ]
    orders = relaid_in(program, eqn.params[name], orders).wanted
    inner, results, _ = relaid_in(program, eqn.params[name], orders)
    if inner is eqn.params[name]:
        return as_it_was(program, eqn)
    params = {name: inner}
    if "jvp_jaxpr_fun" in eqn.params:
        theirs = orders[eqn.params["num_consts"] :]
        params["jvp_jaxpr_fun"] = derivative(eqn.params["jvp_jaxpr_fun"], theirs, results, program)
    return in_orders(program, eqn, orders, results, **params)


def derivative(rule: Any, inputs: list[Order], outputs: list[Order], program: Relayout) -> Any:
    """The rule of a custom_jvp, on operands and with results in these orders."""

    def move(original: Any, *zeros: bool) -> Any:
        jaxpr, consts, out_zeros = original(*zeros)
        into = inputs + [o for o, zero in zip(inputs, zeros, strict=True) if not zero]
        captured = jaxpr.invars[: len(jaxpr.invars) - len(into)]  # 0.12: before the operands
        into = [plain(v.aval) for v in captured] + into
        out = outputs + [o for o, zero in zip(outputs, out_zeros, strict=True) if not zero]
        # With a `done` of its own: the rule may be called when this program is long made.
        return relaid(jaxpr, into, out, program.alone, {}).program, consts, out_zeros

    return _compat.around_thunk(rule, move)


def custom_vjp(program: Relayout, eqn: Any) -> None:
    """Its program is moved by itself: what goes in and comes out lies as it did.

    So do its rules, and are called with what lies so.
    """
    as_it_was(program, eqn, call_jaxpr=program.alone(eqn.params["call_jaxpr"], program.done))


def scan(program: Relayout, eqn: Any) -> None:
    """What goes in and comes out a step at a time is stacked along what it is in a step.

    If the body reads it otherwise, that is transposed a step at a time too: it is as much work.
    """
    body, (consts, carries) = eqn.params["jaxpr"], _compat.scan_parts(eqn)
    orders = [program.order(a) for a in eqn.invars]
    stacked = [o if o[:1] == (0,) else tuple(sorted(o)) for o in orders[consts + carries :]]
    items = [tuple(d - 1 for d in o[1:]) for o in stacked]
    given, carry = settled(program, body, orders[:consts], orders[consts:][:carries], items)
    inputs = [*given, *carry, *items]
    made = relaid_in(program, body, inputs).outputs[carries:]
    inner = relaid_in(program, body, inputs, carry + made).program
    outputs = carry + [(0, *(d + 1 for d in o)) for o in made]
    in_orders(program, eqn, [*given, *carry, *stacked], outputs, jaxpr=inner)


def while_loop(program: Relayout, eqn: Any) -> None:
    """Its condition is asked of the carry as the body makes it."""
    names = "cond_jaxpr", "body_jaxpr", "cond_nconsts", "body_nconsts"
    test, body, cond_consts, body_consts = (eqn.params[name] for name in names)
    orders = [program.order(a) for a in eqn.invars]
    asked, given, carry = (
        orders[:cond_consts],
        orders[cond_consts:][:body_consts],
        orders[cond_consts + body_consts :],
    )
    answer = [plain(v.aval) for v in _compat.open_jaxpr(test).outvars]
    if answer == [()]:
        given, carry = settled(program, body, given, carry, [])
    else:  # one answer for each of a batch, whose dimensions have to stay the first of the carry
        carry = [plain(v.aval) for v in eqn.outvars]
    asked = relaid_in(program, test, asked + carry, answer).wanted[:cond_consts]
    inner = {
        "body_jaxpr": relaid_in(program, body, given + carry, carry).program,
        "cond_jaxpr": relaid_in(program, test, asked + carry, answer).program,
    }
    in_orders(program, eqn, asked + given + carry, carry, **inner)


def settled(
    program: Relayout, body: Any, given: list[Order], carry: list[Order], items: list[Order]
) -> tuple[list[Order], list[Order]]:
    """How a loop's constants and its carry are to lie, so that its body transposes nothing.

    Constants as the body reads them, and the carry as it makes it of what lies so. Where that does
    not come to rest the body transposes what it has to.
    """
    for _ in range(TRIALS):
        found = relaid_in(program, body, [*given, *carry, *items])
        before = given, carry
        given, carry = found.wanted[: len(given)], found.outputs[: len(carry)]
        if (given, carry) == before:
            break
    return given, carry


def branches(program: Relayout, eqn: Any) -> None:
    """Operands as they lie; each result as a branch makes it that moves it, if one does."""
    old, orders = eqn.params["branches"], [program.order(a) for a in eqn.invars]
    made = zip(*(relaid_in(program, b, orders[1:]).outputs for b in old), strict=True)
    outputs = []
    for out, ways in zip(eqn.outvars, made, strict=True):
        outputs.append(next((o for o in ways if o != plain(out.aval)), plain(out.aval)))
    new = tuple(relaid_in(program, b, orders[1:], outputs).program for b in old)
    same = all(a is b for a, b in zip(new, old, strict=True))
    in_orders(program, eqn, orders, outputs, branches=old if same else new)


RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys((*PER_DIMENSION, *NAMES), by_dimension),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(CALLS, call),
    **dict.fromkeys(("transpose", apart_p.name), transpose),
    **dict.fromkeys(("reshape", "squeeze"), reshape),
    "broadcast_in_dim": broadcast,
    "cond": branches,
    "custom_vjp_call": custom_vjp,
    "dot_general": product,
    "dynamic_slice": dynamic,
    "dynamic_update_slice": dynamic,
    "gather": gather,
    "optimization_barrier": each,
    "scan": scan,
    **dict.fromkeys(SCATTERS, scatter),
    "while": while_loop,
}
