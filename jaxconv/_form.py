"""Form: a convolution brought to one canonical shape, which is what every method sees.

A general convolution can name its dimensions in any order, group by features or by batch, and be
the weight gradient of another one. Methods should not care. They see one of two forms, always with
channels last:

  forward:  x (N, *S, G*C), w (*K, C, G*O)      ->  y (N, *S_out, G*O)
      y[n, p, g*O + o] = sum_{k, c} xp[n, p*stride + k*dilation, g*C + c] * w[k, c, g*O + o]
  weight:   x (N, *S, G*C), y (N, *S_out, G*O)  ->  w (*K, C, G*O)
      w[k, c, g*O + o] = sum_{n, p} xp[n, p*stride + k*dilation, g*C + c] * y[n, p, g*O + o]

where xp is x with `lhs_dilation - 1` zeros between neighbours and then `padding` zeros around
(a negative padding crops). The words stride, dilation and so on are those of the *forward*
convolution in both. The second is the gradient of the first for w, and the form in which a
convolution with a window larger than its result is short.

`layout` says how the arrays really lie in memory: "last" (N, *S, C) or "first" (N, C, *S). The
move to channels last is a transpose; a method that wants channels first transposes back, and XLA
cancels the pair, so that neither costs anything.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._spec import ConvSpec, Pads, Shape, dilated


@dataclasses.dataclass(frozen=True)
class Form:
    """One convolution in canonical words; see the module for the formulas.

    Attributes:
      kind: "forward" or "weight".
      batch: N.
      groups: G.
      in_channels, out_channels: C and O, those of one group.
      spatial, kernel, out_spatial: S, K and S_out.
      strides, padding, dilation: of the forward convolution, one entry a dimension.
      lhs_dilation: of x, one entry a dimension.
      layout: "last" or "first", how x (and y) lie in memory.
      weight_first: whether both channel axes of w lie before its taps in memory, as PyTorch's
        (G*O, C, *K) do, rather than behind, as in (*K, C, G*O).
      outputs_first: whether its outputs lie before its inputs, as PyTorch's do; an input gradient
        has them the other way round than the layer.
      dtype: of the operands.
      out_dtype: of the result.
      precision: lax's.
      examples: how many independent weight gradients there are (1 in forward form).
      portable: whether the program must hold nothing that cannot be written to a file.
    """

    kind: str
    batch: int
    groups: int
    in_channels: int
    out_channels: int
    spatial: Shape
    kernel: Shape
    out_spatial: Shape
    strides: Shape
    padding: Pads
    dilation: Shape
    lhs_dilation: Shape
    layout: str
    weight_first: bool
    dtype: np.dtype
    out_dtype: np.dtype
    precision: Any = None
    examples: int = 1
    portable: bool = False
    outputs_first: bool = False

    @property
    def ndim(self) -> int:
        """The number of spatial dimensions."""
        return len(self.kernel)

    @property
    def taps(self) -> int:
        """The number of kernel positions, prod(K)."""
        return math.prod(self.kernel)

    @property
    def positions(self) -> int:
        """The number of output positions of the whole batch, N * prod(S_out)."""
        return self.batch * math.prod(self.out_spatial)

    @property
    def depthwise(self) -> bool:
        """Whether each group has one input channel."""
        return self.in_channels == 1 and self.groups > 1

    @property
    def like_pytorch(self) -> bool:
        """Whether w lies (O, C, *K), as PyTorch's layers have it."""
        return self.weight_first and self.outputs_first

    @property
    def outputs_within(self) -> bool:
        """Whether w lies (C, O, *K) or (*K, O, C), as an input gradient has a layer's weight.

        So do PyTorch's weights of transposed convolutions.
        """
        return self.weight_first != self.outputs_first

    @property
    def heavy(self) -> bool:
        """Whether one dense weight is larger than x and y together, and it matters how it lies.

        To a weight gradient it does, and to what has a weight as input gradients do.
        """
        dense = self.groups == self.examples == 1
        lies_so = self.kind == "weight" or self.outputs_within
        larger = math.prod(self.w_shape) > math.prod(self.x_shape) + math.prod(self.y_shape)
        return dense and lies_so and larger

    @property
    def macs(self) -> int:
        """Multiply-adds of the direct sum (a dilated x counted without its zeros)."""
        per_position = self.taps * self.in_channels * self.out_channels * self.groups
        return self.positions * per_position // math.prod(self.lhs_dilation)

    @property
    def x_shape(self) -> Shape:
        """(N, *S, G*C)."""
        return (self.batch, *self.spatial, self.groups * self.in_channels)

    @property
    def w_shape(self) -> Shape:
        """(*K, C, G*O)."""
        return (*self.kernel, self.in_channels, self.groups * self.out_channels)

    @property
    def y_shape(self) -> Shape:
        """(N, *S_out, G*O)."""
        return (self.batch, *self.out_spatial, self.groups * self.out_channels)

    @property
    def accumulator(self) -> np.dtype:
        """The dtype to add up in: at least float32 for 16-bit floats, the result's for the rest."""
        wide = jnp.promote_types(self.dtype, self.out_dtype)
        return np.dtype(np.float32) if wide in (jnp.bfloat16, np.float16) else np.dtype(wide)

    @property
    def plain(self) -> bool:
        """Whether x is used as it is: no padding, no dilation of x."""
        return set(self.padding) <= {(0, 0)} and set(self.lhs_dilation) <= {1}

    @property
    def outgrown(self) -> bool:
        """Whether the window has more positions than the input, which is not dilated.

        The window is what XLA slides over the input: y in weight form.
        """
        window = self.out_spatial if self.kind == "weight" else self.kernel
        return math.prod(window) > math.prod(self.spatial) and set(self.lhs_dilation) <= {1}

    @property
    def dense_input(self) -> Form:
        """The same convolution of the dilated, padded x: what `pad_input(x, form)` goes with."""
        sizes = tuple(
            dilated(n, d) + lo + hi
            for n, d, (lo, hi) in zip(self.spatial, self.lhs_dilation, self.padding, strict=True)
        )
        zeros = ((0, 0),) * self.ndim
        ones = (1,) * self.ndim
        return dataclasses.replace(self, spatial=sizes, padding=zeros, lhs_dilation=ones)


def pad_input(x: Array, form: Form) -> Array:
    """x with the zeros of `lhs_dilation` and `padding` written out (crops if negative)."""
    if form.plain:
        return x
    inner = [(lo, hi, d - 1) for (lo, hi), d in zip(form.padding, form.lhs_dilation, strict=True)]
    return pad_positions(x, inner, form.layout)


def pad_positions(x: Array, edges: Sequence[tuple[int, int, int]], layout: str) -> Array:
    """x (N, *S, C) with zeros around its positions: `edges` as for `lax.pad`, an entry a dimension.

    Where channels lie last in memory, the last dimension that is padded is one with all that lies
    behind it: rows of W*C numbers compile five times as fast as W rows of a few, and are copied
    four times as fast.
    """
    zero = jnp.zeros((), x.dtype)
    last = max((i for i, edge in enumerate(edges) if any(edge)), default=None)
    if last is None:
        return x
    lo, hi, between = edges[last]
    if layout == "first" or between:
        return lax.pad(x, zero, [(0, 0, 0), *edges, (0, 0, 0)])
    before, size, behind = x.shape[: last + 1], x.shape[last + 1], x.shape[last + 2 :]
    run = math.prod(behind)
    around = [(0, 0, 0), *edges[:last], (lo * run, hi * run, 0)]
    rows = lax.pad(x.reshape(*before, size * run), zero, around)
    return rows.reshape(*rows.shape[:-1], size + lo + hi, *behind)


def window(x: Array, tap: Sequence[int], form: Form, at: int = 1) -> Array:
    """What the kernel position `tap` sees of the padded x, whose spatial axes begin at `at`."""
    start, limit, strides = [0] * x.ndim, list(x.shape), [1] * x.ndim
    places = zip(tap, form.dilation, form.out_spatial, form.strides, strict=True)
    for axis, (k, d, out, s) in enumerate(places, at):
        start[axis], limit[axis], strides[axis] = k * d, k * d + (out - 1) * s + 1, s
    return lax.slice(x, start, limit, strides)


# --- from a general convolution to a form, and back -----------------------------------------


@dataclasses.dataclass(frozen=True)
class View:
    """A spec seen in one form: the form, and how arrays get there and the result gets back."""

    form: Form
    bring: Callable[[Array, Array], tuple[Array, Array]]
    give: Callable[[Array], Array]


def _layout(spec: Sequence[int], *sizes: int) -> str:
    """Say "first" if the feature dimension lies before the last spatial one in memory.

    With a single position (spatial `sizes` of 1) it lies last as well, as products have it.
    """
    before = len(spec) > 2 and spec[1] < max(spec[2:])
    return "first" if before and max(sizes, default=0) != 1 else "last"


def _split(x: Array, axis: int, outer: int) -> Array:
    """Axis of size outer*inner as two axes (outer, inner)."""
    return x.reshape(*x.shape[:axis], outer, x.shape[axis] // outer, *x.shape[axis + 1 :])


def _merge(x: Array, axis: int) -> Array:
    """Axes axis and axis + 1 as one."""
    return x.reshape(*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])


def channels_last(ndim: int) -> lax.ConvDimensionNumbers:
    """How a form's arrays lie: (N, *S, C), (*K, C, O), (N, *S, O)."""
    last, space = ndim + 1, range(ndim)
    images = (0, last, *(d + 1 for d in space))
    return lax.ConvDimensionNumbers(images, (last, ndim, *space), images)


def place(y: Array, out_spec: Sequence[int]) -> Array:
    """y with logical order (batch, feature, *spatial) in the order of `out_spec`."""
    return y.transpose(tuple(np.argsort(out_spec)))


def forward_view(spec: ConvSpec) -> View:
    """`spec` in forward form. Batch groups become feature groups."""
    dn, batch_groups = spec.dimension_numbers, spec.batch_group_count
    groups = spec.feature_group_count * batch_groups
    form = Form(
        kind="forward",
        batch=spec.batch // batch_groups,
        groups=groups,
        in_channels=spec.in_channels // spec.feature_group_count,
        out_channels=spec.out_channels // groups,
        spatial=spec.spatial,
        kernel=spec.kernel,
        out_spatial=spec.out_spatial,
        strides=spec.window_strides,
        padding=spec.padding,
        dilation=spec.rhs_dilation,
        lhs_dilation=spec.lhs_dilation,
        layout=_layout(dn.lhs_spec, *spec.spatial, *spec.out_spatial),
        weight_first=_layout(dn.rhs_spec) == "first",
        dtype=spec.lhs_dtype,
        out_dtype=spec.out_dtype,
        precision=spec.precision,
        portable=spec.portable,
        outputs_first=dn.rhs_spec[0] < dn.rhs_spec[1],
    )
    last = spec.ndim + 1

    def bring(lhs: Array, rhs: Array) -> tuple[Array, Array]:
        n, c, *s = dn.lhs_spec
        o, i, *k = dn.rhs_spec
        x, w = lhs.transpose(n, *s, c), rhs.transpose(*k, i, o)
        if batch_groups > 1:
            x = _merge(jnp.moveaxis(_split(x, 0, batch_groups), 0, last), last)
        return x, w

    def give(y: Array) -> Array:
        return place(jnp.moveaxis(y, -1, 1), dn.out_spec)

    return View(form, bring, give)


def weight_view(spec: ConvSpec) -> View:
    """`spec` in weight form: its result is the weight, its features are the batch.

    Feature groups, which come from `vmap` over both operands (per-example gradients), become
    `form.examples`: independent weight gradients, which `bring` puts on a new leading axis.
    A dilated lhs with stride 1 (the weight gradient of a transposed convolution) is turned round:
    x and y change places, so that the dilation becomes a stride.
    """
    dn, examples = spec.dimension_numbers, spec.feature_group_count
    groups = spec.batch_group_count
    plain = Form(
        kind="weight",
        batch=spec.in_channels // examples,
        groups=groups,
        in_channels=spec.batch // groups,
        out_channels=spec.out_channels // (groups * examples),
        spatial=spec.spatial,
        kernel=spec.out_spatial,
        out_spatial=spec.kernel,
        strides=spec.rhs_dilation,
        padding=spec.padding,
        dilation=spec.window_strides,
        lhs_dilation=spec.lhs_dilation,
        layout=_layout(
            (dn.lhs_spec[1], dn.lhs_spec[0], *dn.lhs_spec[2:]), *spec.spatial, *spec.kernel
        ),
        weight_first=_layout((dn.out_spec[1], dn.out_spec[0], *dn.out_spec[2:])) == "first",
        dtype=spec.lhs_dtype,
        out_dtype=spec.out_dtype,
        precision=spec.precision,
        examples=examples,
        portable=spec.portable,
        outputs_first=dn.out_spec[1] < dn.out_spec[0],
    )
    turned = any(d > 1 for d in plain.lhs_dilation) and set(plain.strides) == {1}
    form = turned_form(plain) if turned else plain

    def bring(lhs: Array, rhs: Array) -> tuple[Array, Array]:
        b, i, *s = dn.lhs_spec
        x = lhs.transpose(i, *s, b)
        o, i, *k = dn.rhs_spec
        y = rhs.transpose(i, *k, o)
        if examples > 1:
            x = _split(x, 0, examples)
            y = jnp.moveaxis(_split(y, y.ndim - 1, examples), -2, 0)
        return (y, x) if turned else (x, y)

    def give(w: Array) -> Array:
        w = turned_back(w, form) if turned else w
        if examples > 1:  # (examples, *K, C, O) -> (*K, C, examples*O)
            w = _merge(jnp.moveaxis(w, 0, -2), w.ndim - 2)
        *k, c, o = range(w.ndim)
        return place(w.transpose(c, o, *k), dn.out_spec)

    return View(form, bring, give)


def in_the_plane(form: Form, column: bool = False) -> Form:
    """A 1-D form as a 2-D one of a single row, or of a single column; others as they are."""
    if form.ndim > 1:
        return form

    def added(one: Any, sizes: tuple) -> tuple:
        return (*sizes, one) if column else (one, *sizes)

    names = ("spatial", "kernel", "out_spatial", "strides", "dilation", "lhs_dilation")
    planes = {name: added(1, getattr(form, name)) for name in names}
    return dataclasses.replace(form, padding=added((0, 0), form.padding), **planes)


def may_turn(form: Form) -> bool:
    """Whether x and y may change places: stride 1, x not dilated, and no part of it cropped.

    All of x meets y then, at its zero padding if nowhere else; what is cropped must not.
    """
    dense = {*form.strides, *form.lhs_dilation} == {1}
    return dense and min(side for pair in form.padding for side in pair) >= 0


def turned_form(form: Form) -> Form:
    """A weight form of stride 1 with x and y in each other's place (see `turned_back`)."""
    padding = []
    for size, out, kernel, (lo, _), d, ld in zip(
        form.spatial,
        form.out_spatial,
        form.kernel,
        form.padding,
        form.dilation,
        form.lhs_dilation,
        strict=True,
    ):
        reach = (kernel - 1) * d
        low = reach - lo
        padding.append((low, (size - 1) * ld + reach + 1 - out - low))
    return dataclasses.replace(
        form,
        in_channels=form.out_channels,
        out_channels=form.in_channels,
        spatial=form.out_spatial,
        out_spatial=form.spatial,
        strides=form.lhs_dilation,
        lhs_dilation=(1,) * form.ndim,
        padding=tuple(padding),
        outputs_first=not form.outputs_first,
    )


def turned_back(w: Array, turned: Form) -> Array:
    """The weight (*K, C, G*O) from the (*K, O, G*C), kernel reversed, of the turned form."""
    first = w.ndim - 2 - turned.ndim  # examples may lie before
    w = jnp.flip(w, tuple(range(first, first + turned.ndim)))
    w = jnp.swapaxes(_split(w, w.ndim - 1, turned.groups), -3, -1)
    return _merge(w, w.ndim - 2)
