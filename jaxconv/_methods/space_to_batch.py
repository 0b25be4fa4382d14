"""space_to_batch: a dilated convolution as one without dilation, of thinned images.

With stride 1 and dilation d, the output at position p sees the inputs p + k d, all of them in the
same phase, p mod d. So the phases of an image are images of their own: moved to the batch, they are
convolved by a kernel without dilation, for which there are more methods, and interleaved again.
Its weight gradient is the sum of theirs.

Source: L.-C. Chen et al., "DeepLab: semantic image segmentation with deep convolutional nets,
atrous convolution, and fully connected CRFs", 2018, section 3.1, its second way.
"""

from __future__ import annotations

import dataclasses
import math

from jax import Array, lax

from jaxconv._form import Form, pad_positions
from jaxconv._methods import _inner
from jaxconv._methods._base import Method

# Phases are filled up to one size: to so many times the positions at most.
MOST_FILLED = 1.25
# Phases with fewer positions along a dimension took twice what is estimated for them.
FEW, SLOWER = 8, 2
# Bytes a second of the copies, and the seconds of a call; two AVX-512 cores.
COPY, CALL = 15e9, 3e-5


def rates(form: Form) -> tuple[int, ...]:
    """How many phases each dimension has."""
    return tuple(d if k > 1 else 1 for d, k in zip(form.dilation, form.kernel, strict=True))


def thinned(form: Form) -> Form:
    """The convolution of the phases: `padding` counts their positions."""
    spatial, padding, out_spatial = [], [], []
    dims = zip(form.spatial, form.padding, form.out_spatial, form.kernel, rates(form), strict=True)
    for size, (lo, hi), out, k, d in dims:
        if d == 1:
            inner = size, (lo, hi), out
        else:
            before, shift = divmod(lo, d)
            length, outs = -(-(size + shift) // d), -(-out // d)
            inner = length, (before, outs + k - 1 - length - before), outs
        for found, value in zip((spatial, padding, out_spatial), inner, strict=True):
            found.append(value)
    return dataclasses.replace(
        form,
        batch=form.batch * math.prod(rates(form)),
        spatial=tuple(spatial),
        padding=tuple(padding),
        out_spatial=tuple(out_spatial),
        dilation=(1,) * form.ndim,
        layout="last",
    )


def phases_of(x: Array, form: Form, shifts: tuple[int, ...], sizes: tuple[int, ...]) -> Array:
    """x (N, *S, C) as its phases (N * prod(d), *sizes, C), after `shifts` zeros."""
    steps = rates(form)
    sides = zip(shifts, sizes, steps, x.shape[1:], strict=False)
    edges = [(shift, n * d - shift - size, 0) for shift, n, d, size in sides]
    x = pad_positions(x, edges, form.layout)
    pairs = [n for pair in zip(sizes, steps, strict=True) for n in pair]
    x = x.reshape(x.shape[0], *pairs, x.shape[-1])
    places, phases = range(1, x.ndim - 1, 2), range(2, x.ndim - 1, 2)
    x = x.transpose(0, *phases, *places, x.ndim - 1)
    return x.reshape(-1, *sizes, x.shape[-1])


def interleaved(y: Array, form: Form) -> Array:
    """The phases' results (N * prod(d), *S, O) as one, cut to size."""
    steps, sizes, ndim = rates(form), y.shape[1:-1], form.ndim
    y = y.reshape(form.batch, *steps, *sizes, y.shape[-1])
    order = [axis for dim in range(ndim) for axis in (1 + ndim + dim, 1 + dim)]
    y = y.transpose(0, *order, y.ndim - 1)
    y = y.reshape(form.batch, *(n * d for n, d in zip(sizes, steps, strict=True)), y.shape[-1])
    return lax.slice(y, [0] * y.ndim, form.y_shape)


def shifts_of(form: Form) -> tuple[int, ...]:
    """Zeros before x, so that its padding is a number of whole phases."""
    return tuple(
        lo % d if d > 1 else 0 for (lo, _), d in zip(form.padding, rates(form), strict=True)
    )


def forward(x: Array, w: Array, form: Form) -> Array:
    """y, the phases' results interleaved."""
    inner = thinned(form)
    y = _inner.conv_form(phases_of(x, form, shifts_of(form), inner.spatial), w, inner)
    return interleaved(y, form)


def weight(x: Array, y: Array, form: Form) -> Array:
    """w, the weight gradient of the phases."""
    inner = thinned(form)
    x = phases_of(x, form, shifts_of(form), inner.spatial)
    y = phases_of(y, form, (0,) * form.ndim, inner.out_spatial)
    return _inner.weight_form(x, y, inner)


def supports(form: Form) -> str | None:
    """Dilation at stride 1, two dimensions, one group, nothing cropped.

    In one dimension lax is as fast with dilation as without.
    """
    if max(rates(form)) == 1:
        return "takes a dilated kernel"
    if any(s > 1 and d > 1 for s, d in zip(form.strides, rates(form), strict=True)):
        return "takes stride 1 where the kernel is dilated"
    if form.ndim != 2 or form.groups > 1 or form.examples > 1:
        return "takes two dimensions and one group"
    if max(form.lhs_dilation) > 1:
        return "takes no dilated input"
    if min(side for pair in form.padding for side in pair) < 0:
        return "takes no cropped input: zeros of the last phases would meet it"
    steps, inner = rates(form), thinned(form)
    if form.kind == "weight" and any(n % d for n, d in zip(form.out_spatial, steps, strict=True)):
        return "takes phases of one size: zeros of y would meet inputs that it does not see"
    sizes = ((inner.x_shape, form.x_shape), (inner.y_shape, form.y_shape))
    if any(math.prod(phases) > MOST_FILLED * math.prod(whole) for phases, whole in sizes):
        return "takes images whose phases are of about one size"
    return None


def cost(form: Form) -> float:
    """The phases' convolution, and a copy of both arrays."""
    inner = thinned(form)
    moved = (math.prod(inner.x_shape) + math.prod(inner.y_shape)) * form.dtype.itemsize
    slower = SLOWER if min(inner.out_spatial) < FEW else 1
    return slower * (_inner.best(inner)[1] + 2 * moved / COPY) + CALL


METHOD = Method(
    "space_to_batch",
    "a dilated kernel as one without dilation: the phases of the image become its batch",
    supports,
    forward,
    weight,
    cost,
    composed=True,
    linear=False,
)
