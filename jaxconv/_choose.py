"""Which method computes a convolution, and why.

The choice is a pure function of a `ConvSpec`: every method of the table that supports the
convolution estimates its seconds, and the least wins. lax is one of them. The estimates are
calibrated on one machine (docs/engine.md says which); `jaxconv.tune` replaces them by measurements
on yours.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv._form import Form, View, forward_view, weight_view
from jaxconv._methods import METHODS
from jaxconv._methods._base import Method
from jaxconv._spec import ConvSpec

# What another method must be estimated to save before lax is left: estimates err, lax is the norm.
MARGIN = 0.97


@dataclasses.dataclass(frozen=True)
class Choice:
    """The outcome of `choose`.

    Attributes:
      method: the name of the method to use.
      kind: "forward" or "weight", the form it works in.
      seconds: its estimate, NaN where there is none.
      why: one short sentence.
      considered: (method, form, seconds) of every candidate, fastest first.
      refused: (method, reason) of the methods that cannot compute this convolution.
    """

    method: str
    kind: str
    seconds: float
    why: str
    considered: tuple[tuple[str, str, float], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def natural_view(spec: ConvSpec) -> View:
    """The form in which `spec` is short: weight if its window is larger than its result."""
    if math.prod(spec.kernel) > math.prod(spec.out_spatial):
        return weight_view(spec)
    return forward_view(spec)


def view_of(spec: ConvSpec, kind: str) -> View:
    """`spec` in the named form."""
    return weight_view(spec) if kind == "weight" else forward_view(spec)


def real_spec(spec: ConvSpec) -> ConvSpec:
    """The convolution of real numbers, at least float32, that `spec` is computed with."""
    dtype = spec.lhs_dtype
    if np.issubdtype(dtype, np.complexfloating):
        dtype = np.finfo(dtype).dtype
    if dtype in (jnp.bfloat16, np.float16):
        dtype = np.dtype(np.float32)
    return dataclasses.replace(spec, lhs_dtype=dtype, rhs_dtype=dtype, preferred_element_type=None)


def lax_only(spec: ConvSpec) -> str | None:
    """Why nothing but lax is asked for `spec`, or None."""
    if not jnp.issubdtype(spec.lhs_dtype, jnp.inexact):
        return "integers are lax's"
    if spec.lhs_dtype != spec.rhs_dtype:
        return "operands of different dtypes are lax's"
    wide = spec.preferred_element_type
    if wide is not None and not jnp.issubdtype(wide, jnp.inexact):
        return "this preferred_element_type is lax's"
    sizes = (*spec.lhs_shape, *spec.rhs_shape, *spec.out_shape)
    if spec.ndim == 0 or 0 in sizes:
        return "nothing to compute"
    if spec.ndim > 3:
        return "more than three spatial dimensions are lax's"
    return None


def wants_exact(form: Form) -> bool:
    """Whether FFT and Winograd are ruled out by the precision asked for."""
    asked = form.precision if isinstance(form.precision, tuple) else (form.precision,)
    return any(p in (lax.Precision.HIGHEST, lax.Precision.HIGH) for p in asked)


def refusal(method: Method, form: Form) -> str | None:
    """Why `method` cannot compute `form`, or None."""
    if (method.weight if form.kind == "weight" else method.forward) is None:
        return f"has no {form.kind} form"
    return method.supports(form)


def candidates(form: Form) -> tuple[list[tuple[float, Method]], list[tuple[str, str]]]:
    """The methods that "auto" may use for `form`, fastest first, and those refused with reasons."""
    taken, refused = [], []
    for method in METHODS.values():
        if not method.auto:
            continue
        reason = refusal(method, form)
        if reason is None and not method.exact and wants_exact(form):
            reason = "not under precision='high' or 'highest'"
        if reason is None:
            cost = method.cost(form)
            taken.append((cost if method.name == "lax" else cost / MARGIN, method))
        else:
            refused.append((method.name, reason))
    taken.sort(key=lambda pair: pair[0])
    return taken, refused


@functools.lru_cache(maxsize=8192)
def best_for(form: Form) -> tuple[Method, float]:
    """The fastest method for `form` by estimate, and its seconds."""
    seconds, method = candidates(form)[0][0]
    return method, seconds


def explicit(spec: ConvSpec, method: str) -> str | None:
    """Why `method` cannot be used for `spec` as it is, or None."""
    if method in ("auto", "lax"):
        return None
    return lax_only(spec) or refusal(METHODS[method], natural_view(real_spec(spec)).form)


@functools.lru_cache(maxsize=8192)
def choose(spec: ConvSpec, method: str = "auto") -> Choice:
    """The method for `spec`: the one asked for, or with "auto" the one estimated fastest.

    A method asked for by name that cannot compute `spec` (such as a gradient of the convolution it
    was asked for) gives way to lax.
    """
    only = lax_only(spec)
    if method == "lax" or only:
        return Choice("lax", "forward", math.nan, only or "asked for by name")
    real = real_spec(spec)
    natural = natural_view(real).form
    if method != "auto":
        reason = refusal(METHODS[method], natural)
        if reason:
            return Choice("lax", "forward", math.nan, f"{method} {reason}", (), ((method, reason),))
        return Choice(method, natural.kind, math.nan, "asked for by name")
    taken, refused = candidates(natural)
    if natural.kind == "weight" and spec.feature_group_count * spec.batch_group_count == 1:
        other = forward_view(real).form
        taken += [(s, m) for s, m in candidates(other)[0] if m.name == "patches"]
        taken.sort(key=lambda pair: pair[0])
    seconds, winner = taken[0]
    kind = natural.kind if (winner.name, "x") and winner.name != "patches" else "forward"
    rest = ", ".join(f"{m.name} {s * 1e3:.3g} ms" for s, m in taken[1:3])
    why = f"estimated {seconds * 1e3:.3g} ms" + (f"; then {rest}" if rest else "")
    considered = tuple((m.name, natural.kind, s) for s, m in taken)
    return Choice(winner.name, kind, seconds, why, considered, tuple(refused))
