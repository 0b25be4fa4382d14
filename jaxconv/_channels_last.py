"""A traced program with its images moved to channels last, where that is faster.

In a program written channels first, (N, C, *S) as PyTorch's are, each convolution by itself brings
what it reads to channels last and what it makes back, since most methods work on positions of many
channels. Moved as a whole, the program's convolutions read and make (N, *S, C), and so does what is
between them (`_layout_rules`). It is done unless the estimated seconds of all its convolutions and
transposes are more afterwards.

Source: TensorFlow's layout optimizer does the same to its graphs: R. M. Larsen, T. Shpeisman,
"TensorFlow graph optimizations", 2019.
"""

from __future__ import annotations

import math
from typing import Any

from jax.extend.core import jaxprs_in_params
from jax.extend.core.primitives import transpose_p

from jaxconv import _compat
from jaxconv._choose import choose
from jaxconv._layout_rules import relaid
from jaxconv._primitive import conv_p, spec_of
from jaxconv._relayout import Done, apart_p, is_work, plain

# Bytes a second of a transpose compiled by itself, read and written.
TRANSPOSE_RATE = 4e9
# What the estimates of a moved program may be more by: they know nothing of what is between its
# convolutions, and pooling or normalising is faster channels last. Not where there is little
# between them: in a layer's training step, of this many convolutions. One alone never moves.
BETWEEN, LAYER = 1.25, 3


def channels_last(program: Any) -> Any:
    """The closed jaxpr `program` moved to channels last, or itself if that is faster.

    Its arguments and results lie as before. If it stays, so does all that is in it.
    """
    return _moved_or_not(program, {})


def _moved_or_not(jaxpr: Any, done: Done) -> Any:
    number = convolutions(jaxpr)
    if number < 2:
        return jaxpr
    inner = _compat.open_jaxpr(jaxpr)
    inputs, outputs = ([plain(v.aval) for v in vs] for vs in (inner.invars, inner.outvars))
    moved = relaid(jaxpr, inputs, outputs, _moved_or_not, done).program
    if moved is jaxpr:
        return jaxpr
    margin = BETWEEN if number > LAYER else 1.0
    return moved if seconds(moved) < margin * seconds(jaxpr) else jaxpr


def convolutions(jaxpr: Any) -> int:
    """How many convolutions a program has."""
    eqns = _compat.open_jaxpr(jaxpr).eqns
    inside = sum(convolutions(inner) for eqn in eqns for inner in jaxprs_in_params(eqn.params))
    return inside + sum(eqn.primitive is conv_p for eqn in eqns)


def seconds(jaxpr: Any) -> float:
    """Of all convolutions and transposes in a program, by estimate.

    Those of a scan count as often as it has steps, those of other loops once.
    """
    total = 0.0
    for eqn in _compat.open_jaxpr(jaxpr).eqns:
        if eqn.primitive is conv_p:
            total += _convolution_seconds(eqn)
        elif eqn.primitive in (transpose_p, apart_p):
            total += _transpose_seconds(eqn)
        length = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        steps = length if isinstance(length, int) else 1
        total += steps * sum(map(seconds, jaxprs_in_params(eqn.params)))
    return total


def _convolution_seconds(eqn: Any) -> float:
    """What is chosen by estimate; the same before and after where there is none."""
    spec, method = spec_of(eqn)
    estimate = choose(spec, method).seconds if spec.is_static else math.nan
    return 0.0 if math.isnan(estimate) else estimate


def _transpose_seconds(eqn: Any) -> float:
    aval = eqn.invars[0].aval
    if not all(isinstance(size, int) for size in aval.shape):
        return 0.0
    moved = 2 * aval.dtype.itemsize * math.prod(aval.shape)
    return moved / TRANSPOSE_RATE if is_work(aval, eqn.params["permutation"]) else 0.0
