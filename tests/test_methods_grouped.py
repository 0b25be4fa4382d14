"""The methods for groups against a float64 sum written as loops, which imports nothing of ours."""

import dataclasses
import functools
import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxconv
from jaxconv._form import Form
from jaxconv._methods import (
    _images,
    channel_blocks,
    group_products,
    group_split,
    onednn,
    phases,
    shift_weight,
    shifts,
)

# N, G, C, O, S, K, stride, padding, dilation; these are for blocks of eight channels
BLOCKED = {
    "depthwise 4x4": (2, 16, 1, 1, (6, 7), (4, 4), (1, 1), ((2, 1), (-1, 2)), (1, 1)),
    "depthwise 4x4, 11 groups": (1, 11, 1, 1, (6, 8), (4, 4), (1, 1), ((2, 1), (2, 2)), (1, 2)),
    "depthwise, 3-D": (
        1,
        8,
        1,
        1,
        (3, 4, 5),
        (2, 3, 3),
        (1,) * 3,
        ((1, 0), (1, 1), (1, 1)),
        (1,) * 3,
    ),
    "depthwise 4x4 s2": (2, 11, 1, 1, (9, 10), (4, 4), (2, 2), ((2, 1), (1, 2)), (1, 1)),
    "multiplier 3, 4x4": (1, 9, 1, 3, (6, 5), (4, 4), (2, 1), ((2, 1), (1, 2)), (1, 1)),
    "10 of 3 to 2": (2, 10, 3, 2, (5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "10 of 3 to 1": (1, 10, 3, 1, (5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "8 of 7 to 2, s2": (1, 8, 7, 2, (6, 10), (3, 3), (2, 2), ((1, 0), (0, 1)), (1, 1)),
    "of 6 to 8": (2, 3, 6, 8, (5, 10), (3, 2), (1, 2), ((1, 1), (0, -1)), (2, 1)),
    "of 4 to 16, 1-D": (2, 2, 4, 16, (20,), (5,), (1,), ((2, 2),), (1,)),
    "of 16 to 8, 1x1": (1, 3, 16, 8, (4, 5), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
}
CASES = {
    "depthwise": (2, 5, 1, 1, (6, 7), (3, 2), (1, 1), ((1, 1), (0, 2)), (1, 1)),
    "depthwise s2 d2": (1, 8, 1, 1, (9, 8), (2, 3), (2, 1), ((0, 1), (2, 3)), (2, 1)),
    "multiplier": (2, 3, 1, 2, (5, 6), (2, 2), (1, 2), ((1, 0), (1, 1)), (1, 1)),
    "crops": (1, 4, 1, 1, (8, 9), (3, 3), (1, 1), ((-1, 2), (3, -2)), (1, 1)),
    "padding past the kernel": (1, 3, 1, 1, (3, 4), (2, 2), (2, 1), ((5, 4), (0, 3)), (1, 1)),
    "few": (2, 4, 2, 3, (5, 6), (3, 2), (1, 1), ((1, 1), (1, 0)), (1, 1)),
    "blocks of channels": (1, 2, 8, 4, (5, 4), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "1-D causal": (2, 6, 1, 1, (150,), (4,), (1,), ((3, 0),), (1,)),
    "1-D long": (1, 3, 1, 1, (90,), (70,), (1,), ((35, 34),), (1,)),
    "1-D s2 groups": (2, 3, 2, 2, (141,), (5,), (2,), ((2, 2),), (1,)),
    "3-D": (2, 3, 1, 1, (4, 5, 6), (2, 3, 2), (1, 2, 1), ((1, 0), (1, 1), (0, 1)), (1, 1, 2)),
    **BLOCKED,
}
SPLIT = {"group_split": group_split.METHOD, "group_blocks": group_split.BLOCKS}
FORWARD = {"shifts": shifts.METHOD, "channel_blocks": channel_blocks.METHOD, **SPLIT}
WEIGHT = {
    "shift_weight": shift_weight.METHOD,
    "group_products": group_products.METHOD,
    **SPLIT,
}


def make(case, kind, layout, dtype=np.float64):
    n, g, c, o, size, kernel, stride, padding, dilation = case
    out = tuple(
        (s + lo + hi - (k - 1) * d - 1) // st + 1
        for s, k, st, (lo, hi), d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    ones, dtype = (1,) * len(size), np.dtype(dtype)
    return Form(
        kind, n, g, c, o, size, kernel, out, stride, padding, dilation, ones, layout,
        layout == "first", dtype, dtype,
    )  # fmt: skip


def pairs(form):
    """(tap, output position, input position) of every product that the sum has."""
    for tap in itertools.product(*map(range, form.kernel)):
        for p in itertools.product(*map(range, form.out_spatial)):
            at = tuple(
                i * s + k * d - lo
                for i, s, k, d, (lo, _) in zip(
                    p, form.strides, tap, form.dilation, form.padding, strict=True
                )
            )
            if all(0 <= i < n for i, n in zip(at, form.spatial, strict=True)):
                yield tap, p, at


def reference(a, b, form):
    """The sum in float64, tap by tap and position by position."""
    n, g, c, o = form.batch, form.groups, form.in_channels, form.out_channels
    a = np.asarray(a, np.float64).reshape(n, *form.spatial, g, c)
    if form.kind == "forward":
        b = np.asarray(b, np.float64).reshape(*form.kernel, c, g, o)
        y = np.zeros((n, *form.out_spatial, g, o))
        for tap, p, at in pairs(form):
            y[(slice(None), *p)] += np.einsum("ngc,cgo->ngo", a[(slice(None), *at)], b[tap])
        return y.reshape(form.y_shape)
    b = np.asarray(b, np.float64).reshape(n, *form.out_spatial, g, o)
    w = np.zeros((*form.kernel, c, g, o))
    for tap, p, at in pairs(form):
        w[tap] += np.einsum("ngc,ngo->cgo", a[(slice(None), *at)], b[(slice(None), *p)])
    return w.reshape(form.w_shape)


def operands(form, rng=None):
    rng = np.random.default_rng(0) if rng is None else rng
    other = form.w_shape if form.kind == "forward" else form.y_shape
    return (rng.standard_normal(s).astype(form.dtype) for s in (form.x_shape, other))


def compute(method, form, a, b):
    """`method` under jit, the arrays in the memory order of the form's layout."""
    first = form.layout == "first"

    def run(x, other):
        x = jnp.moveaxis(x, 1, -1) if first else x
        other = jnp.moveaxis(other, 1, -1) if first and form.kind == "weight" else other
        function = method.forward if form.kind == "forward" else method.weight
        return function(x, other, form)

    a = np.moveaxis(a, -1, 1) if first else a
    b = np.moveaxis(b, -1, 1) if first and form.kind == "weight" else b
    return np.asarray(jax.jit(run)(jnp.asarray(a), jnp.asarray(b)))


def assert_near(method, form):
    """In float32 as the sum in float64, to 1e-5 of the largest output."""
    a, b = operands(form)
    got, want = compute(method, form, a, b), reference(a, b, form)
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


TAKEN = [
    (kind, name, case, layout)
    for kind, methods in (("forward", FORWARD), ("weight", WEIGHT))
    for name, method in methods.items()
    for case in CASES
    for layout in ("last", "first")
    if method.supports(make(CASES[case], kind, layout)) is None
]


def test_every_case_is_taken_in_both_forms():
    for kind in ("forward", "weight"):
        assert {case for k, _, case, _ in TAKEN if k == kind} == set(CASES)


@pytest.mark.parametrize(("kind", "name", "case", "layout"), TAKEN)
def test_against_loops(kind, name, case, layout):
    method = (FORWARD if kind == "forward" else WEIGHT)[name]
    with jax.enable_x64(True):
        form = make(CASES[case], kind, layout)
        a, b = operands(form)
        got, want = compute(method, form, a, b), reference(a, b, form)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 * np.abs(want).max())


STRIDES_MASKED = {
    "rows and columns": ((9, 11), (2, 2), ("last", "first")),
    "columns": ((9, 11), (1, 2), ("last",)),
    "rows": ((9, 11), (2, 1), ("first",)),
    "not the depth": ((3, 6, 7), (1, 2, 2), ("last", "first")),
    "a sequence": ((13,), (2,), ("last",)),
    "by three": ((9, 11), (3, 3), ()),
}


@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("case", STRIDES_MASKED)
def test_padding_of_strided_layers_is_masked_where_that_pays(case, layout):
    """Nothing is copied then: one loop in the program, and none before it that pads."""
    size, strides, masked = STRIDES_MASKED[case]
    ones = (1,) * len(size)
    kernel = tuple(3 if s > 1 or n > 3 else 1 for n, s in zip(size, strides, strict=True))
    padding = tuple((k // 2, k // 2) for k in kernel)
    form = make((2, 24, 1, 1, size, kernel, strides, padding, ones), "forward", layout, np.float32)
    assert shifts.masks(form) == (layout in masked)
    same_as_reference(form)
    loops = loops_of(form)
    assert loops == 1 if layout in masked else loops > 1


@pytest.mark.parametrize(
    "kernel, layout, loops",
    [
        ((5, 5), "last", 5),
        ((3, 4), "last", 2),
        ((5, 5), "first", 0),
        ((11, 3), "last", 4),
        ((15,), "last", 2),
        ((3, 3, 2), "last", 3),
    ],
)
def test_many_taps_of_strided_layers_are_masked_some_at_a_time(kernel, layout, loops):
    """Of more in one loop XLA makes no vectors."""
    n = len(kernel)
    padding = tuple((k // 2, (k - 1) // 2) for k in kernel)
    case = (2, 24, 1, 1, (17, 15, 6)[:n], kernel, (2,) * n, padding, (1,) * n)
    form = make(case, "forward", layout, np.float32)
    assert shifts.masks(form) == (loops > 0)
    same_as_reference(form)
    if loops:
        assert loops_of(form) == loops


@pytest.mark.parametrize("kernel, loops", [((5, 5), 5), ((4, 5), 4), ((7, 7), 0), ((4, 4), 0)])
def test_rows_of_five_taps_are_masked_a_row_at_a_time(kernel, loops):
    """At stride 1, channels last; longer rows are not vectorised."""
    padding = tuple((k // 2, (k - 1) // 2) for k in kernel)
    case = (2, 24, 1, 1, (9, 8), kernel, (1, 1), padding, (1, 1))
    form = make(case, "forward", "last", np.float32)
    assert shifts.masks(form) == (loops > 0)
    assert not shifts.masks(make(case, "forward", "first", np.float32))
    same_as_reference(form)
    if loops:
        assert loops_of(form) == loops


def same_as_reference(form):
    a, b = operands(form)
    got, want = compute(shifts.METHOD, form, a, b), reference(a, b, form)
    np.testing.assert_allclose(got, want, atol=2e-6 * np.abs(want).max())


def loops_of(form):
    """How many loops the program of `shifts` has, for arrays that lie as the form says."""
    first = form.layout == "first"

    def run(x, w):
        y = shifts.forward(jnp.moveaxis(x, 1, -1) if first else x, w, form)
        return jnp.moveaxis(y, -1, 1) if first else y

    x, w = map(jnp.asarray, operands(form))
    x = jnp.moveaxis(x, -1, 1) if first else x
    return jax.jit(run).lower(x, w).compile().as_text().count(" fusion(")


@pytest.mark.parametrize("dilation", [(1, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize(
    "padding",
    [((1, 0), (0, 1)), ((2, 2), (2, 2)), ((0, 3), (1, 1)), ((1, -1), (0, 2)), ((5, 4), (6, 7))],
)
def test_taps_of_uneven_padding_are_masked_each_by_itself(padding, dilation):
    """Two taps with the same `lax.pad` would share it, and XLA make a copy of it."""
    case = (1, 24, 1, 1, (9, 10), (3, 3), (2, 2), padding, dilation)
    form = make(case, "forward", "last", np.float32)
    assert shifts.masks(form)
    same_as_reference(form)
    assert loops_of(form) == 1


def test_outputs_of_a_strided_group_are_masked_only_if_few():
    """Two by rows; of more, columns are brought apart for all of them."""
    for outputs in (1, 2, 3):
        case = (1, 8, 1, outputs, (9, 11), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1))
        form = make(case, "forward", "first", np.float32)
        assert shifts.masks(form) == (outputs <= 2)
        assert shifts.columns_apart(form) == (outputs == 3)
        same_as_reference(form)


@pytest.mark.parametrize(
    "groups, channels, outputs, kernel",
    [(16, 4, 64, 3), (32, 1, 64, 3), (2, 4, 8, 3), (256, 1, 256, 7)],
)
def test_a_sum_that_is_transposed_is_not_fused_with_that(groups, channels, outputs, kernel):
    """In one fusion the sum would run over the transposed result, without vectors.

    Blocks of a group; a multiplier; few groups, and many weights, summed by rows.
    """
    x = jnp.zeros((2, 20, 20, groups * channels))
    w = jnp.zeros((kernel, kernel, channels, outputs))
    program = jax.jit(
        functools.partial(
            jaxconv.conv_general_dilated,
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
            method="shifts",
        )
    )
    computations = program.lower(x, w).compile().as_text().split("\n\n")
    sums = [text for text in computations if text.count(" multiply(") >= kernel**2 * channels]
    assert len(sums) == 1
    assert " transpose(" not in sums[0]
    assert " copy(" not in sums[0]


STRIDED = {
    "stem": (2, 1, 3, 5, (9, 16), (3, 4), (1, 3), ((1, 0), (2, 1)), (1, 1)),
    "dilated taps": (1, 1, 2, 3, (9, 14), (3, 3), (2, 2), ((1, 1), (3, 2)), (1, 3)),
    "one output": (2, 1, 2, 24, (5, 6), (3, 4), (4, 9), ((0, 0), (1, 0)), (1, 1)),
    "crops": (2, 1, 3, 4, (9, 16), (3, 4), (1, 3), ((-1, 2), (3, -2)), (1, 1)),
    "depthwise, many taps": (1, 6, 1, 1, (9, 17), (5, 6), (2, 2), ((2, 2), (2, 3)), (1, 1)),
    "1-D": (2, 1, 1, 4, (31,), (10,), (5,), ((3, 1),), (1,)),
    "3-D": (1, 4, 1, 2, (5, 6, 9), (3, 3, 3), (1, 2, 2), ((1, 1), (1, 0), (1, 1)), (1, 1, 1)),
}


@pytest.mark.optimised
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", STRIDED)
def test_strided_rows_are_brought_apart(case, dtype):
    """By rows, each tap would read its row at every s-th number."""
    with jax.enable_x64(dtype == np.float64):
        form = make(STRIDED[case], "forward", "first", dtype)
        assert shifts.columns_apart(form)
        a, b = operands(form)
        got, want = compute(shifts.METHOD, form, a, b), reference(a, b, form)
        run = jax.jit(lambda x, w: shifts.METHOD.forward(x, w, form))
        text = run.lower(a, b).compile().as_text()
    np.testing.assert_allclose(got, want, atol=8 * np.finfo(dtype).eps * np.abs(want).max())
    sums = [part for part in text.split("\n\n") if part.count(" multiply(") >= form.taps]
    assert sums
    strides = re.findall(r"\[\d+:\d+:(\d+)\]\}", "".join(sums))  # those of the last axis
    assert set(strides) <= {"1"}


def test_strided_rows_of_few_groups_channels_last():
    case = (1, 4, 1, 2, (9, 45), (5, 6), (2, 2), ((2, 2), (2, 3)), (1, 1))
    form = make(case, "forward", "last", np.float32)
    assert shifts.by_rows(form) and shifts.columns_apart(form)
    same_as_reference(form)


def test_rows_that_are_read_seldom_or_in_parts_are_not_brought_apart():
    around = ((1, 1), (1, 1)), (1, 1)
    seldom = (1, 8, 1, 1, (9, 8), (3, 3), (2, 2), *around)
    down = (1, 1, 3, 16, (9, 8), (3, 3), (2, 1), *around)
    one_column = (1, 1, 3, 64, (9, 8), (3, 1), (1, 2), *around)
    parts = (1, 4, 1, 2, (400,), (260,), (2,), ((1, 1),), (1,))
    for case in (seldom, down, one_column, parts):
        assert not shifts.columns_apart(make(case, "forward", "first", np.float32))


@pytest.mark.parametrize("channels", [2, 16])
def test_phases_that_are_sums_are_not_fused_with_their_interleaving(channels):
    """Channels first: with 16 channels a group that took twenty times as long."""
    stride, ones = (2, 2), (1, 1)
    form = Form(
        "forward", 1, 4, channels, channels, (5, 6), (3, 3), (10, 12), ones, ((1, 2), (1, 2)), ones,
        stride, "first", True, np.dtype(np.float32), np.dtype(np.float32),
    )  # fmt: skip
    run = jax.jit(lambda x, w: phases.phase_by_phase(x, w, form, shifts.forward))
    x, w = np.zeros(form.x_shape, np.float32), np.zeros(form.w_shape, np.float32)
    computations = run.lower(x, w).compile().as_text().split("\n\n")
    sums = [part for part in computations if part.count(" multiply(") >= channels]
    assert len(sums) >= 4
    assert not any(" concatenate(" in part for part in sums)


@pytest.mark.parametrize("outputs", [1, 3, 5])
def test_padding_is_masked_for_few_outputs(outputs):
    """By channels for one alone: each that reads a number would ask anew whether it is padding."""
    case = (1, 8, 1, outputs, (6, 7), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    last, first = (make(case, "forward", layout, np.float32) for layout in ("last", "first"))
    assert shifts.masks(first) == (outputs <= 4)
    assert shifts.masks(last) == (outputs == 1)
    for form in (last, first):
        same_as_reference(form)
    image = make((1, 1, 1, outputs, *case[4:]), "forward", "first", np.float32)
    assert not shifts.masks(image)


def test_many_weights_are_read_by_rows(monkeypatch):
    """Channels last too: a row needs one weight at a time, and the first cache holds few."""

    def by_rows(groups, channels, kernel, stride=1, size=20):
        pads = ((kernel // 2, kernel // 2),) * 2
        sizes = ((size, size), (kernel, kernel), (stride, stride))
        case = (1, groups, channels, channels, *sizes, pads, (1, 1))
        form = make(case, "forward", "last", np.float32)
        taken = shifts.by_rows(form)
        a, b = operands(form)
        got, want = compute(shifts.METHOD, form, a, b), reference(a, b, form)
        np.testing.assert_allclose(got, want, atol=5e-6 * np.abs(want).max())
        return taken

    assert by_rows(256, 1, 7)
    assert not by_rows(64, 1, 7)  # few weights
    assert not by_rows(256, 1, 5)  # few taps
    assert not by_rows(256, 1, 7, stride=2)
    assert not by_rows(256, 1, 7, size=6)  # short rows
    for version, taken in (((0, 10, 2), False), ((0, 12, 0), True)):
        monkeypatch.setattr(shifts._compat, "JAX_VERSION", version)
        assert by_rows(32, 8, 3, size=8) == taken


def test_blocks_of_channels_keep_their_weights_in_the_cache(monkeypatch):
    """Channels last, the weights that a loop reads at each position; a loop over rows has none."""
    monkeypatch.setattr(shifts, "_outgrows_cache", lambda form: False)
    around = ((6, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    wide, narrow, few = (1, 32, 16, 16, *around), (1, 32, 8, 8, *around), (1, 8, 16, 16, *around)
    last, first = (make(wide, "forward", layout, np.float32) for layout in ("last", "first"))
    taken = [shifts._blocks(make(case, "forward", "last", np.float32)) for case in (narrow, few)]
    assert taken == [(3, 2), (3, 4)]  # 18 KiB each; twice as many channels are 36
    assert shifts._blocks(last) == (3, shifts.PAIR)  # and no fewer, though these are 36 KiB
    assert shifts._blocks(first) == (3, 16)
    a, b = operands(last)
    for form in (last, first):
        got, want = compute(shifts.METHOD, form, a, b), reference(a, b, form)
        np.testing.assert_allclose(got, want, atol=2e-5 * np.abs(want).max())


@pytest.mark.parametrize("case", BLOCKED)
def test_channel_blocks_take_what_they_are_for(case):
    taken = {layout for _, name, c, layout in TAKEN if (name, c) == ("channel_blocks", case)}
    assert taken == ({"first"} if case == "depthwise 4x4 s2" else {"last", "first"})


def test_channel_blocks_split_the_channels_evenly():
    """Parts whose weights fit the registers, none of them of a single leftover channel."""

    def sizes(channels, kernel):
        case = (1, 2, channels, 8, (9, 9), kernel, (1, 1), ((1, 1), (1, 1)), (1, 1))
        edges = channel_blocks.cuts(make(case, "forward", "last"))
        assert edges[0] == 0 and edges[-1] == channels
        return [b - a for a, b in itertools.pairwise(edges)]

    assert sizes(3, (3, 3)) == [3]
    assert sorted(sizes(10, (3, 3))) == [2, 2, 3, 3]
    assert sizes(32, (3, 3)) == [4] * channel_blocks.MOST_PARTS
    assert sizes(4, (5, 5)) == [1] * 4


@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("case", ["depthwise 4x4", "of 6 to 8"])
def test_channel_blocks_are_not_summed_in_the_order_of_what_follows(case, layout):
    """Fused with the way back, the innermost loops would not run along a row."""
    form = make(CASES[case], "forward", layout, np.float32)
    a, b = operands(form)
    run = jax.jit(lambda x, w: channel_blocks.METHOD.forward(x, w, form))
    computations = run.lower(a, b).compile().as_text().split("\n\n")
    sums = [text for text in computations if text.count(" multiply(") >= form.taps]
    assert len(sums) == len(channel_blocks.cuts(form)) - 1
    for text in sums:
        assert " transpose(" not in text and " copy(" not in text
        assert re.search(rf"ROOT .* = f32\[[\d,]*,{channel_blocks.BLOCK}\]", text)


@pytest.mark.optimised
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("case", ["depthwise", "few", "1-D causal", "10 of 3 to 2", "of 6 to 8"])
def test_nan_and_inf_reach_what_they_meet(case, layout):
    for kind, methods in (("forward", FORWARD), ("weight", WEIGHT)):
        form = make(CASES[case], kind, layout, np.float32)
        a, b = (np.array(v) for v in operands(form))
        a.reshape(-1)[[a.size // 2 + 1, -1]] = np.nan, np.inf
        with np.errstate(invalid="ignore"):
            want = np.isfinite(reference(a, b, form))
        for method in methods.values():
            if method.exact and method.supports(form) is None:
                got = np.isfinite(compute(method, form, a, b))
                if method is group_products.METHOD:  # a NaN reaches all taps of its channel
                    assert not (got & ~want).any()
                    taps = tuple(range(form.ndim))
                    got, want = got.all(taps), want.all(taps)
                np.testing.assert_array_equal(got, want, err_msg=method.name)


@pytest.mark.optimised
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize(
    "name, case", [*((n, "few") for n in WEIGHT), ("shift_weight", "depthwise")]
)
def test_examples(name, case, layout):
    """A leading axis of independent weight gradients, as per-example gradients have."""
    form = make(CASES[case], "weight", layout, np.float32)
    rng = np.random.default_rng(1)
    drawn = [tuple(operands(form, rng)) for _ in range(3)]
    run = jax.jit(jax.vmap(lambda x, y: WEIGHT[name].weight(x, y, form)))
    got = run(*(jnp.stack([pair[i] for pair in drawn]) for i in range(2)))
    for mine, (x, y) in zip(got, drawn, strict=True):
        want = reference(x, y, form)
        np.testing.assert_allclose(mine, want, atol=1e-5 * np.abs(want).max())


def test_refusals():
    dilated = make(CASES["depthwise"], "forward", "last")
    dilated = Form(**{**vars(dilated), "lhs_dilation": (2, 2)})
    assert shifts.METHOD.supports(dilated) == "takes no dilated input"
    eight = "takes multiples of 8 output channels, or 8 groups"
    for case, layout, reason in (
        ("multiplier", "last", eight),
        ("multiplier", "first", eight),
        ("3-D", "last", eight),
        ("depthwise s2 d2", "last", "takes depthwise kernels with a stride channels first"),
    ):
        form = make(CASES[case], "forward", layout)
        assert channel_blocks.METHOD.supports(form) == reason
    assert channel_blocks.METHOD.supports(dilated) == "takes no dilated input"
    around = ((5, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    few = make((1, 8, 1, 1, *around), "forward", "last")
    reason = "takes 15 to 121 products at a time, here 9"
    assert channel_blocks.METHOD.supports(few) == reason
    for kernel, taken in (((11, 11), True), ((5, 5, 5), False)):  # past 121 there are no vectors
        n = len(kernel)
        many = (1, 8, 1, 1, (11,) * n, kernel, (1,) * n, ((5, 5),) * n, (1,) * n)
        assert (channel_blocks.METHOD.supports(make(many, "forward", "last")) is None) == taken
    short = make((1, 8, 2, 2, (5, 3), *around[1:]), "forward", "last")
    assert channel_blocks.METHOD.supports(short) == "takes rows of at least 4 positions, here 3"
    long = (1, 8, 1, 1, (4, 33), (5, 5), (1, 1), ((2, 2), (2, 2)), (1, 1))
    assert channel_blocks.METHOD.supports(make(long, "forward", "last")) is None
    assert channel_blocks.METHOD.supports(make(long, "forward", "first")) == (
        "takes rows of at most 32 positions channels first, here 33"
    )
    single = make(
        (1, 1, 16, 16, (5, 5), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)), "forward", "last"
    )
    assert channel_blocks.METHOD.supports(single) == "takes more than one tap, or groups"
    reason = "takes 1x1 kernels of at most 4 channels without groups"
    assert shifts.METHOD.supports(single) == reason
    deep = make((1, 8, 2, 2, *CASES["depthwise, 3-D"][4:]), "forward", "last")
    assert channel_blocks.METHOD.supports(deep) == (
        "takes three dimensions for depthwise kernels alone"
    )
    dense = make((1, 1, 4, 2, (80,), (70,), (1,), ((0, 0),), (1,)), "weight", "last")
    for method in (*SPLIT.values(), *WEIGHT.values()):
        assert method.supports(dense) == "takes several groups"
    assert "takes several groups, or at most 245 products" in shifts.METHOD.supports(dense)
    around = ((9,), (3,), (1,), ((0, 0),), (1,))
    head, wide = (
        make((1, 1, *c, *around), "forward", "last", np.float32) for c in ((64, 2), (8, 2000))
    )
    assert shifts.METHOD.supports(head) == "takes at most 16 channels a group, here 64"
    assert "at most 32768 bytes of weights for one group" in shifts.METHOD.supports(wide)
    assert shifts.METHOD.supports(dataclasses.replace(wide, layout="first")) is None
    few, many = (make((1, 2, c, c, (9,), (2,), (1,), ((0, 0),), (1,)), "forward", "last")
                 for c in (4, 64))  # fmt: skip
    assert group_split.METHOD.supports(few) == "takes few groups of many channels"
    assert group_split.BLOCKS.supports(many) == "takes groups of few channels"


TWO_SIDED = {
    "padded by more than it reaches": (
        2,
        2,
        3,
        4,
        (7, 6),
        (3, 2),
        (1, 1),
        ((4, 3), (1, 2)),
        (1, 1),
    ),
    "dilated": (2, 2, 3, 4, (8, 7), (3, 3), (1, 2), ((2, 1), (0, 2)), (2, 2)),
    "unpadded": (2, 2, 3, 4, (7, 6), (3, 2), (1, 1), ((0, 0), (1, -1)), (1, 1)),
    "3-D": (2, 2, 3, 4, (5, 6, 5), (3, 2, 2), (1, 2, 1), ((1, 1), (0, 1), (1, 0)), (1, 1, 2)),
}
ONE_SIDED = {
    "cropped": (2, 2, 3, 4, (7, 6), (3, 2), (1, 1), ((-1, 2), (1, 0)), (1, 1)),
    "strided": (2, 2, 3, 4, (7, 6), (3, 2), (2, 1), ((1, 1), (1, 0)), (1, 1)),
    "few rows": (2, 2, 3, 4, (7, 6), (7, 2), (1, 1), ((0, 0), (1, 0)), (1, 1)),
}


@pytest.mark.parametrize("most", [2**23, 2**8])
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("case", [*TWO_SIDED, *ONE_SIDED])
def test_group_products_unfold_both_sides(case, layout, most, monkeypatch):
    monkeypatch.setattr(group_products, "CACHED_BYTES", most)
    form = make({**TWO_SIDED, **ONE_SIDED}[case], "weight", layout, np.float32)
    of_x, of_y = group_products.sides(form)
    assert (of_y.taps > 1) == (case in TWO_SIDED) and of_x.taps * of_y.taps == form.taps
    assert group_products.parts_of(form) == (1 if most > 2**8 else form.groups)
    assert_near(group_products.METHOD, form)


@pytest.mark.parametrize("images", [1, 2, 6])
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("case", ["dilated", "strided", "3-D"])
def test_group_products_take_as_many_images_as_fit(case, layout, images, monkeypatch):
    _, *others = {**TWO_SIDED, **ONE_SIDED}[case]
    form = make((6, *others), "weight", layout, np.float32)
    most = int((images + 0.9) * form.groups * group_products.bytes_of(form))
    monkeypatch.setattr(group_products, "CACHED_BYTES", most)
    assert (group_products.parts_of(form), group_products.images_of(form)) == (1, images)
    assert_near(group_products.METHOD, form)


@pytest.mark.parametrize("wide, groups, by_rows", [(8, 16, False), (9, 16, True), (8, 15, True)])
@pytest.mark.parametrize("outputs, stride", [(1, 1), (1, 2), (2, 1)])
def test_shift_weight_turns_short_rows(wide, groups, by_rows, outputs, stride):
    size, pads = (5, (wide - 1) * stride + 1), ((1, 1), (2, 0))
    case = (3, groups, 1, outputs, size, (3, 3), (1, stride), pads, (1, 1))
    form = make(case, "weight", "first", np.float32)
    assert form.out_spatial[-1] == wide and shift_weight.by_rows(form) is by_rows
    assert_near(shift_weight.METHOD, form)


@pytest.mark.parametrize("pads", [((2, 1), (0, 3)), ((2, 1), (-1, 3)), ((0, 0), (0, 0))])
def test_images_are_padded_one_at_a_time(pads):
    """In one buffer for all; not where some are cropped too, and no zeros of an image before."""
    form = make((3, 5, 1, 1, (6, 7), (3, 2), (2, 1), pads, (1, 2)), "weight", "last", np.float32)
    x, y = operands(form)
    program = jax.jit(lambda x, y: shift_weight.weight(x, y, form)).lower(x, y).compile()
    np.testing.assert_allclose(program(x, y), reference(x, y, form), atol=1e-5)
    _, high, wide, channels = form.dense_input.x_shape
    padded = {n: f"f32[{n},{high},{wide},{channels}]" in program.as_text() for n in (1, 3)}
    in_place = pads == ((2, 1), (0, 3))
    assert _images.pads_in_place(form) is in_place and padded[1] is in_place
    assert padded[3] is not in_place


@pytest.mark.optimised
def test_group_products_read_no_row_that_is_cropped():
    form = make(ONE_SIDED["cropped"], "weight", "last", np.float32)
    a, b = (np.array(v) for v in operands(form))
    a[:, 0] = np.nan
    assert np.isfinite(compute(group_products.METHOD, form, a, b)).all()


@pytest.mark.parametrize(
    "sizes",
    [
        (2, 1, 16, (64, 2048), (63, 1)),  # many rows of x for few of y
        (2, 1, 256, (128, 128), (8, 8)),  # many channels of y
        (32, 4, 4, (56, 56), (3, 3)),
    ],
)
def test_memory_of_weight_gradients_of_groups(sizes):
    groups, c, o, size, kernel = sizes
    case = (1, groups, c, o, size, kernel, (1, 1), ((0, 0), (0, 0)), (1, 1))
    form = make(case, "weight", "last", np.float32)
    arrays = [jax.ShapeDtypeStruct(s, np.float32) for s in (form.x_shape, form.y_shape)]
    numbers = sum(math.prod(s) for s in (form.x_shape, form.y_shape, form.w_shape))
    for method in (group_products.METHOD, onednn.METHOD):
        if method.supports(form) is None:
            run = jax.jit(lambda x, y, method=method: method.weight(x, y, form))
            used = run.lower(*arrays).compile().memory_analysis().temp_size_in_bytes
            assert used <= 2 * 4 * numbers + 32 * 2**20, method.name
