"""phases: a transposed convolution without the zeros that a stride puts between its inputs.

y[p] = sum_k xd[p + k - lo] w[k], with xd zero but at the multiples of the stride L, has no more
than ceil(K/L) terms. Which taps they are depends on p mod L, the phase: for p = L m + r they are k
= k0 + L j with k0 = (lo - r) mod L, and

    y[L m + r] = sum_j x[m + (r + k0 - lo)/L + j] w[k0 + L j],

a plain convolution of x with every L-th tap. One small convolution for each phase, interleaved. A
kernel dilated by d meets an input where p + d k - lo is a multiple of L. With g = gcd(L, d): if g
does not divide lo - p, no tap does; if it does, every (L/g)-th tap, and these are dilated by d/g.

Source: polyphase filters (P. P. Vaidyanathan, "Multirate Systems and Filter Banks", 1993, section
4.3); V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", 2016,
section 4.5; W. Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016.
"""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv import _compat
from jaxconv._form import Form
from jaxconv._methods import _inner
from jaxconv._methods._base import Method, Run
from jaxconv._methods._transposes import MANY_TERMS
from jaxconv._methods.shifts import MOST_CHANNELS

# Bytes a second of the interleaving copy, and the seconds of a phase; two AVX-512 cores.
COPY, PHASE = 2.5e9, 10e-6
MOST_PHASES = 64


@dataclasses.dataclass(frozen=True)
class Phase:
    """One phase of one dimension: its taps of the kernel, and its convolution of x with them."""

    taps: slice
    count: int
    dilation: int
    padding: tuple[int, int]


def sizes_of(form: Form) -> tuple[int, ...]:
    """Outputs of a phase, ceil(S_out / L) in all, so that they interleave; the rest is cut off."""
    return tuple(
        -(-out // step) for out, step in zip(form.out_spatial, form.lhs_dilation, strict=True)
    )


def along(form: Form, dim: int, r: int) -> Phase:
    """Phase r of dimension `dim`; without taps where only zeros meet the kernel."""
    step, (lo, _), d = form.lhs_dilation[dim], form.padding[dim], form.dilation[dim]
    common = math.gcd(step, d)
    if (lo - r) % common:
        return Phase(slice(0, 0), 0, d, (0, 0))
    stride, inner = step // common, d // common
    first = (lo - r) // common * pow(inner, -1, stride) % stride
    count = len(range(first, form.kernel[dim], stride))
    low = -((r + d * first - lo) // step)
    high = sizes_of(form)[dim] + (count - 1) * inner - low - form.spatial[dim]
    return Phase(slice(first, None, stride), count, inner, (low, high))


def parts(form: Form) -> list[tuple[tuple[slice, ...], Form | None]]:
    """For each phase in row order: its taps, and its convolution (None if it has no taps)."""
    found = []
    for phase in np.ndindex(*form.lhs_dilation):
        sides = [along(form, dim, r) for dim, r in enumerate(phase)]
        inner = dataclasses.replace(
            form,
            kernel=tuple(side.count for side in sides),
            dilation=tuple(side.dilation for side in sides),
            padding=tuple(side.padding for side in sides),
            out_spatial=sizes_of(form),
            lhs_dilation=(1,) * form.ndim,
        )
        found.append((tuple(side.taps for side in sides), inner if inner.taps else None))
    return found


def forward(x: Array, w: Array, form: Form) -> Array:
    """y: the phases, each by the engine's choice for it, interleaved."""
    return phase_by_phase(x, w, form, _inner.conv_form)


def phase_by_phase(x: Array, w: Array, form: Form, convolve: Run) -> Array:
    """y: the phases, each by `convolve`, interleaved."""

    def phase(taps: tuple[slice, ...], inner: Form | None) -> Array:
        if inner is None:
            return jnp.zeros(
                (form.batch, *sizes_of(form), form.groups * form.out_channels), form.out_dtype
            )
        if not sums_apart(form):
            return convolve(x, w[taps], inner)

        def of_first(x: Array, w: Array) -> Array:
            return jnp.moveaxis(convolve(jnp.moveaxis(x, 1, -1), w, inner), -1, 1)

        return jnp.moveaxis(_compat.apart(of_first, jnp.moveaxis(x, -1, 1), w[taps]), 1, -1)

    return interleave([phase(*part) for part in parts(form)], form)


def sums_apart(form: Form) -> bool:
    """Whether phases that may be sums of many terms (`shifts`) are computed apart.

    Channels first they interleave along a row, and in one fusion with that a sum is slow.
    """
    few = form.groups > 1 and form.in_channels <= MOST_CHANNELS
    pairs = zip(form.lhs_dilation, form.dilation, strict=True)
    every = math.prod(step // math.gcd(step, d) for step, d in pairs)
    terms = form.taps * form.in_channels
    return form.layout == "first" and few and terms >= MANY_TERMS * every


def interleave(phases: list[Array], form: Form) -> Array:
    """Phases in row order -> (N, *S_out, O), one dimension after the other, the last first."""
    for dim in reversed(range(form.ndim)):
        step, axis = form.lhs_dilation[dim], dim + 1
        if step > 1:
            rows = [phases[i : i + step] for i in range(0, len(phases), step)]
            phases = [
                jnp.stack(row, axis + 1).reshape(
                    *row[0].shape[:axis], -1, *row[0].shape[axis + 1 :]
                )
                for row in rows
            ]
    return lax.slice(phases[0], [0] * (form.ndim + 2), form.y_shape)


def supports(form: Form) -> str | None:
    """A dilated input, stride 1."""
    if max(form.lhs_dilation) == 1:
        return "takes a dilated input (a transposed convolution)"
    if any(s > 1 for s in form.strides):
        return "takes stride 1"
    if math.prod(form.lhs_dilation) > MOST_PHASES:
        return f"takes at most {MOST_PHASES} phases"
    return None


def cost(form: Form) -> float:
    """The phases' own costs, and a copy of the result for each dimension interleaved."""
    inner = [part for _, part in parts(form) if part is not None]
    total = sum(_inner.best(part)[1] + PHASE for part in inner)
    copies = sum(step > 1 for step in form.lhs_dilation)
    return total + copies * math.prod(form.y_shape) * form.dtype.itemsize / COPY


METHOD = Method(
    "phases",
    "a transposed convolution as one small convolution a phase",
    supports,
    forward,
    None,
    cost,
    composed=True,
)
