"""Which method computes a convolution, and why.

The choice is a pure function of a `ConvSpec`: every method of the table that supports the
convolution estimates its seconds, and the least wins. lax is one of them. The estimates are
calibrated on two machines (docs/engine.md says which); `jaxconv.tune` replaces them by
measurements on yours.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxconv._cost import NARROW, category, estimate, generation, slowness
from jaxconv._form import Form, View, forward_view, weight_view
from jaxconv._methods import METHODS
from jaxconv._methods._base import Method
from jaxconv._spec import ConvSpec

# How long another method may take, by estimate, in lax's place: estimates err, and lax is the norm.
# Less, if the other rounds differently; more, where lax has no fast path and may take a hundred
# times as long as its like. So it is with 1x1 kernels, of which XLA makes no product: the product
# took two thirds to three quarters of lax's time and 1.3 times at most, where estimates often had
# them equal.
MARGIN, INEXACT_MARGIN, RISKY_MARGIN = 0.95, 0.85, 1.5
# Multiply-adds from which on a method that rounds differently is considered: zeros that are no
# longer exact can change which side of a ReLU an output is on.
INEXACT_MACS = 10_000_000
# Multiply-adds a second of lax where XLA has no library and uses plain loops: a group has a single
# output, groups have three dimensions, or the window has more positions than the input; the last
# with groups. Two AVX-512 cores.
PLAIN_RATE, PLAIN_RATE_OUTGROWN_GROUPS = 2e9, 0.25e9
# The same for each output channel of a dense convolution: of a narrow one, and up to JAX 0.11 of
# any whose input is not padded; and for each input channel of one whose input is dilated, its zeros
# counted too. Two cores of an Intel Xeon; docs/xla.md has the tables.
NARROW_RATE, UNPADDED_RATE, DILATED_RATE = 2e9, 0.5e9, 1.5e9
# The same of a weight gradient for each example of a batch: lax's, and any method's that takes it
# for what it is, a convolution in groups with windows as large as images. The rows are of a single
# gradient, and of kernels that layers have: in groups of several outputs up to 7x7.
EXAMPLES_RATE, IMAGES_RATE, LAYER_TAPS = 12e9, 0.5e9, 49
# Bytes a second of a transpose that no method cancels.
TRANSPOSE_RATE = 1.5e9


class Option(NamedTuple):
    """A method that can compute a convolution, in which form, and its estimated seconds.

    It is `compared` by these over its `margin`.
    """

    compared: float
    kind: str
    method: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Choice:
    """The outcome of `choose`.

    Attributes:
      method: the name of the method to use.
      kind: "forward" or "weight", the form it works in.
      seconds: its estimate, NaN where there is none.
      why: one short sentence.
      considered: every `Option`, the one taken first.
      refused: (method, reason) of the methods not considered: those that cannot compute this
        convolution, or not as precisely as asked for.
    """

    method: str
    kind: str
    seconds: float
    why: str
    considered: tuple[Option, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def kinds(spec: ConvSpec) -> tuple[str, ...]:
    """The forms in which `spec` is looked at, the one in which it is short first.

    What may be a weight gradient is looked at in both: a convolution whose window is larger than
    its result (or a last layer that sees its whole input), and one whose batch does not lie first
    in memory, as a kernel's gradient has its channels there (and who names batches last, for whom
    the second form is a candidate more). Not so depthwise kernels, whose estimates in the weight
    form were too low for windows not larger than the result.
    """
    if math.prod(spec.kernel) > math.prod(spec.out_spatial):
        return ("weight", "forward") if spec.batch_group_count == 1 else ("weight",)
    both = spec.dimension_numbers.lhs_spec[0] > 0 and spec.batch > spec.batch_group_count
    return ("forward", "weight") if both else ("forward",)


def view_of(spec: ConvSpec, kind: str) -> View:
    """`spec` in the named form."""
    return weight_view(spec) if kind == "weight" else forward_view(spec)


def real_spec(spec: ConvSpec) -> ConvSpec:
    """The convolution of real numbers, at least float32, that `spec` is computed with.

    Its dtype is that of the result: a `preferred_element_type` asks for sums that wide.
    """
    dtype = spec.out_dtype
    if jnp.issubdtype(dtype, jnp.complexfloating):
        dtype = np.finfo(dtype).dtype
    if dtype.itemsize < 4:
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
    if method.of(form.kind) is None:
        has = {"forward": "computes weight gradients alone", "weight": "has no weight form"}
        return has[form.kind]
    return method.supports(form)


def seconds_of(method: Method, form: Form) -> float:
    """The fitted estimate for `method`, or its own where its like was not measured."""
    seconds = estimate(method, form)
    if seconds is None:  # what is composed is mostly of estimates for this processor already
        seconds = method.cost(form) * (1.0 if method.composed else slowness())
    seconds += method.besides(form)
    return max(seconds, least_seconds(method, form))


def least_seconds(method: Method, form: Form) -> float:
    """What `method` takes at least, where its rows are of other convolutions; 0 elsewhere."""
    macs = form.macs * form.examples
    rate = lax_rate(form) if method.name == "lax" else IMAGES_RATE if of_images(form) else 0.0
    return max(macs / method.fastest(form), macs * slowness() / rate if rate else 0.0)


def lax_rate(form: Form) -> float:
    """Multiply-adds a second of lax at most, where it is known to be slow; 0 elsewhere."""
    if form.outgrown:
        return PLAIN_RATE_OUTGROWN_GROUPS if form.groups * form.examples > 1 else PLAIN_RATE
    if form.groups > 1 and form.out_channels == 1:
        return PLAIN_RATE
    if form.examples > 1 and form.taps > 1:
        return EXAMPLES_RATE
    if form.groups > 1 and form.ndim == 3:
        return PLAIN_RATE
    if form.kind == "weight" or form.groups > 1 or form.taps == 1:
        return 0.0
    if max(form.lhs_dilation) > 1:
        return DILATED_RATE * form.in_channels / math.prod(form.lhs_dilation)
    if generation() == "0.10" and not any(map(any, form.padding)):
        return UNPADDED_RATE * form.out_channels
    return NARROW_RATE * form.out_channels if form.out_channels <= NARROW else 0.0


def of_images(form: Form) -> bool:
    """Whether `form`, in forward form, is the weight gradient of each example of a batch."""
    if form.kind != "forward" or form.groups == 1 or form.out_channels == 1:
        return False
    layer = form.in_channels > 1 and form.taps <= LAYER_TAPS
    return form.taps > math.prod(form.out_spatial) > 1 and not layer


def risky(form: Form) -> bool:
    """Whether lax has no fast path for `form`, or loses it now and then."""
    if form.kind == "weight":
        # A stride may be the dilation of a transposed convolution, x and y in each other's place.
        dilated = max(*form.lhs_dilation, *form.strides) > 1
        return form.groups * form.examples > 1 or form.ndim > 2 or dilated
    name, *more = category(form).split("-")
    narrow_groups = form.groups > 1 and form.in_channels <= NARROW
    slow = ("small", "thin", "pointwise")
    return narrow_groups or name in slow or form.ndim > 2 or "dilated" in more


def margin(method: Method, form: Form) -> float:
    """What the estimate for `method` is divided by before it is compared with lax's."""
    if method.name == "lax":
        return 1.0
    if risky(form):
        return RISKY_MARGIN if method.exact else RISKY_MARGIN * INEXACT_MARGIN
    return MARGIN if method.exact else INEXACT_MARGIN


def candidates(form: Form) -> tuple[list[Option], list[tuple[str, str]]]:
    """The methods that "auto" may use for `form`, fastest first, and those refused with reasons."""
    taken, refused = [], []
    for method in METHODS.values():
        if not method.auto:
            continue
        reason = refusal(method, form)
        if reason is None and not method.exact and wants_exact(form):
            reason = "not under precision='high' or 'highest'"
        if reason is None and not method.exact and form.macs * form.examples < INEXACT_MACS:
            reason = "not worth its rounding for so little work"
        if reason is None:
            seconds = seconds_of(method, form)
            taken.append(Option(seconds / margin(method, form), form.kind, method.name, seconds))
        else:
            refused.append((method.name, reason))
    taken.sort(key=lambda option: option.compared)
    return taken, refused


@functools.lru_cache(maxsize=8192)
def best_for(form: Form) -> tuple[Method, float]:
    """The fastest method for `form` by estimate, and its seconds."""
    best = candidates(form)[0][0]
    return METHODS[best.method], best.seconds


def options(spec: ConvSpec) -> tuple[list[Option], list[tuple[str, str]]]:
    """Every `Option` that can compute `spec`, the one to take first, and the refused."""
    found: dict[str, Option] = {}
    reasons: dict[str, dict[str, str | None]] = {}
    for kind in kinds(spec):
        taken, not_taken = candidates(view_of(spec, kind).form)
        moved = moves(spec, kind) / TRANSPOSE_RATE * slowness()
        for option in taken:
            name = option.method
            if name == "lax":  # the same in either form
                found.setdefault(name, option)
                continue
            compared, seconds = option.compared + moved, option.seconds + moved
            option = option._replace(compared=compared, seconds=seconds)
            found[name] = min(option, found.get(name, option))
        for name, why in not_taken:
            reasons.setdefault(name, {})[kind] = why
    refused = [(name, reason_of(name, why)) for name, why in reasons.items() if name not in found]
    return sorted(found.values()), refused


def moves(spec: ConvSpec, kind: str) -> int:
    """Bytes to transpose before and after, where memory has neither of the form's two layouts."""
    dn = spec.dimension_numbers
    arrays = [(dn.lhs_spec, spec.lhs_shape)]
    arrays.append(
        (dn.out_spec, spec.out_shape) if kind == "forward" else (dn.rhs_spec, spec.rhs_shape)
    )
    total = 0
    for order, shape in arrays:
        batch, channel = order[:2] if kind == "forward" else (order[1], order[0])
        space = order[2:]
        sorted_space = all(a < b for a, b in itertools.pairwise(space))
        last, first = channel == len(order) - 1, channel == 1
        if not (batch == 0 and sorted_space and (last or first)) and shape[batch] > 1:
            total += 2 * spec.lhs_dtype.itemsize * math.prod(shape)
    return total


def refusals(spec: ConvSpec, method: str) -> dict[str, str | None]:
    """Each form in which `spec` is looked at, and why `method` cannot compute it there."""
    return {kind: refusal(METHODS[method], view_of(spec, kind).form) for kind in kinds(spec)}


def reason_of(method: str, reasons: dict[str, str | None]) -> str:
    """The one to tell of several forms' reasons: that of the first form that the method has."""
    kind = next((kind for kind in reasons if METHODS[method].of(kind)), next(iter(reasons)))
    return reasons[kind] or ""


def refused_by_name(spec: ConvSpec, method: str) -> str | None:
    """Why the method asked for by name cannot compute `spec`, or None."""
    if method in ("auto", "lax"):
        return None
    only = lax_only(spec)
    if only:
        return f"cannot be asked for: {only}"
    reasons = refusals(real_spec(spec), method)
    return None if None in reasons.values() else reason_of(method, reasons)


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
    if method != "auto":
        reasons = refusals(real, method)
        for kind, reason in reasons.items():
            if reason is None:
                return Choice(method, kind, math.nan, "asked for by name")
        reason = reason_of(method, reasons)
        why = f"{method} was asked for: {reason}"
        return Choice("lax", "forward", math.nan, why, (), ((method, reason),))
    found, refused = options(real)
    best, others = found[0], found[1:3]
    fastest = min(found, key=lambda option: option.seconds)
    if fastest.seconds < best.seconds and fastest not in others:
        others = [others[0], fastest]
    why = f"estimated {best.seconds * 1e3:.3g} ms"
    if others:
        why += f" ({', '.join(f'{o.method} {o.seconds * 1e3:.3g}' for o in others)})"
    if fastest.seconds < best.seconds:
        why += ", by its margin"
    return Choice(best.method, best.kind, best.seconds, why, tuple(found), tuple(refused))
