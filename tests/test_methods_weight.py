"""The methods for dense weight gradients, against direct sums in float64."""

import dataclasses
import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxconv._choose import best_for
from jaxconv._cost import category
from jaxconv._form import Form
from jaxconv._methods import patches, pointwise, weight_lines, weight_patches

METHODS = [pointwise.METHOD, patches.METHOD, weight_patches.METHOD, weight_lines.METHOD]


def form_of(batch, spatial, channels, kernel, strides, padding, dilation, layout, lhs=None):
    lhs = lhs or (1,) * len(kernel)
    rows = zip(spatial, kernel, strides, padding, dilation, lhs, strict=True)
    out = tuple(
        ((n - 1) * ld + 1 + lo + hi - (k - 1) * d - 1) // s + 1 for n, k, s, (lo, hi), d, ld in rows
    )
    dtype = np.dtype(np.float32)
    return Form(
        "weight", batch, 1, *channels, spatial, kernel, out, strides, padding, dilation, lhs,
        layout, layout == "first", dtype, dtype, outputs_first=layout == "first",
    )  # fmt: skip


# name: (batch, spatial, (C, O), kernel, strides, padding, dilation[, lhs_dilation])
CASES = {
    "1x1": (3, (5, 7), (4, 6), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "1x1 large images": (3, (13, 11), (6, 4), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    "1x1 stride, pad, crop": (2, (7, 8), (3, 5), (1, 1), (2, 3), ((1, 0), (-1, 2)), (1, 1)),
    "2x3 tiles, rest cropped": (2, (5, 10), (3, 4), (2, 3), (2, 3), ((0, 0), (0, 0)), (1, 1)),
    "1-D": (5, (23,), (1, 6), (4,), (3,), ((2, 1),), (1,)),
    "3x3": (5, (9, 7), (4, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "3x2 stride, dilation": (2, (11, 10), (2, 3), (3, 2), (2, 1), ((2, 1), (0, 3)), (1, 3)),
    "crop, pads over the kernel": (2, (8, 9), (2, 3), (2, 3), (1, 2), ((-1, 4), (5, -2)), (1, 1)),
    "dilated x": (2, (5, 4), (2, 3), (3, 3), (2, 1), ((1, 2), (1, 0)), (1, 1), (2, 3)),
    "wide": (5, (9, 7), (4, 18), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "wide, stride, dilation": (2, (13, 12), (3, 17), (3, 2), (3, 2), ((2, 1), (0, 3)), (2, 3)),
    "wide, cropped": (2, (8, 9), (2, 19), (2, 3), (1, 2), ((-1, 4), (5, -2)), (1, 1)),
    "wide input": (3, (7, 8), (20, 3), (3, 2), (1, 1), ((2, 0), (1, 2)), (1, 2)),
    "wide input, padded": (2, (9, 11), (40, 17), (3, 3), (1, 1), ((0, 2), (1, 1)), (1, 1)),
    "wide 1-D": (3, (23,), (2, 18), (4,), (2,), ((2, 1),), (1,)),
    # Weights larger than x and y.
    "heavy": (4, (4, 3), (24, 26), (3, 2), (1, 1), ((1, 1), (0, 2)), (1, 1)),
    "heavy, few outputs": (1, (4, 5), (40, 12), (3, 2), (1, 1), ((2, 1), (0, 3)), (1, 2)),
    "heavy, strided": (2, (5, 6), (30, 33), (3, 2), (2, 1), ((2, 1), (0, 3)), (1, 2)),
    "heavy, dilated x": (3, (3, 2), (9, 11), (3, 3), (2, 1), ((1, 2), (2, 0)), (1, 1), (2, 3)),
    "heavy 1-D": (5, (6,), (20, 18), (5,), (1,), ((3, 1),), (1,)),
    "heavy 3-D": (2, (2, 1, 3), (9, 8), (2, 1, 3), (1, 1, 1), ((1, 0), (0, 0), (1, 2)), (1, 1, 1)),
    "3-D": (2, (5, 4, 6), (2, 3), (3, 2, 3), (1, 2, 1), ((1, 1), (0, 1), (1, 0)), (1, 1, 2)),
}


def direct(x, y, form):
    """The sum of the module's docstring, in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    for dim, ((lo, hi), ld) in enumerate(zip(form.padding, form.lhs_dilation, strict=True), 1):
        wide = np.zeros((*x.shape[:dim], (x.shape[dim] - 1) * ld + 1, *x.shape[dim + 1 :]))
        wide[(slice(None),) * dim + (slice(None, None, ld),)] = x
        x = np.pad(wide, [(max(lo, 0), max(hi, 0)) if d == dim else (0, 0) for d in range(x.ndim)])
        cut = slice(max(-lo, 0), x.shape[dim] - max(-hi, 0))
        x = x[(slice(None),) * dim + (cut,)]
    w = np.zeros(form.w_shape)
    for k in itertools.product(*map(range, form.kernel)):
        at = tuple(
            slice(i * d, i * d + (out - 1) * s + 1, s)
            for i, d, out, s in zip(k, form.dilation, form.out_spatial, form.strides, strict=True)
        )
        seen = x[(slice(None), *at)].reshape(-1, form.in_channels)
        w[k] = seen.T @ y.reshape(-1, form.out_channels)
    return w


def data(form, *lead):
    rng = np.random.default_rng(7)
    x = rng.standard_normal((*lead, *form.x_shape)).astype(np.float32)
    return x + 0.25, rng.standard_normal((*lead, *form.y_shape)).astype(np.float32)


def run(method, form):
    return jax.jit(lambda x, y: method.weight(x, y, form))


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def case_form(case, layout="last"):
    return form_of(*CASES[case][:7], layout, *CASES[case][7:])


TAKEN = [(m, case) for m in METHODS for case in CASES if not m.supports(case_form(case))]


@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("method, case", TAKEN, ids=lambda v: getattr(v, "name", v))
def test_against_direct_sum(method, case, layout, monkeypatch):
    form = case_form(case, layout)
    # Blocks of two images, of some rows with a rest, and of everything.
    row = form.taps * form.in_channels * int(np.prod(form.out_spatial[1:]))
    x, y = data(form)
    want = direct(x, y, form)
    sizes = {2 * row * form.out_spatial[0], 2 * row, 1 << 20}
    for size in sizes if method.name == "weight_patches" else {1}:
        monkeypatch.setattr(weight_patches, "BLOCK", size)
        close(run(method, form)(x, y), want)


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("heavy")])
def test_weights_that_are_made_in_place(case):
    form = case_form(case, "first")
    assert weight_patches.in_place(form) and category(form).endswith("-heavy")
    x, y = data(form)
    last = dataclasses.replace(form, layout="last")
    close(run(weight_patches.METHOD, last)(x, y), direct(x, y, form))
    for change in ({"outputs_first": False}, {"weight_first": False}, {"examples": 2}):
        assert not weight_patches.in_place(dataclasses.replace(form, **change))
    assert not category(dataclasses.replace(form, examples=2)).endswith("-heavy")
    assert not category(dataclasses.replace(form, kind="forward")).endswith("-heavy")


def test_not_for_patches_that_are_many_times_the_weight():
    form = form_of(1, (20, 20), (512, 16), (7, 7), (1, 1), ((3, 3), (3, 3)), (1, 1), "first")
    assert form.heavy and not weight_patches.in_place(form) and weight_patches.turns(form)


def test_a_heavy_weight_is_made_in_the_order_in_which_it_lies():
    """Where it is as PyTorch's, (O, C, *K), no transpose of it is left."""
    form = form_of(*CASES["heavy"][:7], "first")

    def gradient(x, y, form):
        """From and to arrays that lie channels first."""
        w = weight_patches.weight(jnp.moveaxis(x, 1, -1), jnp.moveaxis(y, 1, -1), form)
        return jnp.moveaxis(w, (-1, -2), (0, 1))

    def transposes(form):
        x, y = (np.moveaxis(a, -1, 1) for a in data(form))
        program = jax.jit(functools.partial(gradient, form=form)).lower(x, y).compile()
        found = re.findall(r"= f32\[([\d,]+)\]\S* (?:transpose|copy)\(", program.as_text())
        sizes = [np.prod([int(n) for n in shape.split(",")]) for shape in found]
        return sizes.count(np.prod(form.w_shape))

    assert transposes(form) == 0
    assert transposes(dataclasses.replace(form, weight_first=False)) > 0


@pytest.mark.parametrize("positions", [3, 8, 25, 1 << 20])
@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("wide")])
def test_lines_in_blocks_of_rows_and_columns(case, positions, monkeypatch):
    """Blocks of some columns of a row, of rows with a rest, and of whole images."""
    form = case_form(case)
    monkeypatch.setattr(weight_lines, "POSITIONS", positions)
    x, y = data(form)
    close(run(weight_lines.METHOD, form)(x, y), direct(x, y, form))


@pytest.mark.optimised
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("case", ["1x1", "2x3 tiles, rest cropped", "3x3", "heavy"])
def test_vmapped(case, layout):
    form = form_of(*CASES[case][:7], layout)
    x, y = data(form, 3)
    want = np.stack([direct(a, b, form) for a, b in zip(x, y, strict=True)])
    for method in METHODS:
        if not method.supports(form):
            close(jax.jit(jax.vmap(lambda x, y, m=method: m.weight(x, y, form)))(x, y), want)


@pytest.mark.parametrize("case, layout", [("3x3", "last"), ("heavy", "first")])
def test_float64_and_out_dtype(case, layout):
    form = case_form(case, layout)
    x, y = data(form)
    want = direct(x, y, form)
    with jax.enable_x64(True):
        got = weight_patches.weight(jnp.asarray(x, "float64"), jnp.asarray(y, "float64"), form)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())


@pytest.mark.optimised
@pytest.mark.parametrize(
    "method", [weight_patches.METHOD, weight_lines.METHOD], ids=lambda m: m.name
)
def test_rows_that_no_window_sees_do_not_spread_nan(method, monkeypatch):
    """The last row is beyond the stride's reach; the blocks of rows leave a rest."""
    form = form_of(1, (12, 6), (2, 18), (3, 3), (2, 1), ((0, 0), (1, 1)), (1, 1), "last")
    monkeypatch.setattr(weight_patches, "BLOCK", 3 * 18 * 6)
    monkeypatch.setattr(weight_lines, "POSITIONS", 3 * 6)
    x, y = data(form)
    want = direct(x, y, form)
    x[:, 11] = np.nan
    close(run(method, form)(x, y), want)


@pytest.mark.optimised
def test_lines_keep_nan_to_the_taps_that_see_it(monkeypatch):
    """The last row that is seen meets the last tap alone, in a block of fewer rows."""
    form = form_of(2, (11, 6), (2, 18), (3, 3), (2, 1), ((0, 0), (1, 1)), (1, 1), "last")
    monkeypatch.setattr(weight_lines, "POSITIONS", 3 * 6)
    x, y = data(form)
    want = direct(x, y, form)
    x[:, 10] = np.nan
    got = np.asarray(run(weight_lines.METHOD, form)(x, y))
    close(got[:2], want[:2])
    assert np.isnan(got[2]).all()


@pytest.mark.optimised
@pytest.mark.parametrize("method", [weight_patches, weight_lines], ids=lambda m: m.METHOD.name)
def test_what_is_cropped_meets_nothing(method):
    """x and y do not change places where x is cropped: a NaN there would be read."""
    pads = ((-1, 1), (1, 1))
    form = form_of(2, (8, 6), (40, 18), (3, 3), (1, 1), pads, (1, 1), "last")
    x, y = data(form)
    want = direct(x, y, form)
    x[:, 0] = np.nan
    close(run(method.METHOD, form)(x, y), want)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_refusals_and_costs(method):
    form = form_of(*CASES["3x3"][:7], "last")
    grouped = form_of(*CASES["3x3"][:7], "last")
    object.__setattr__(grouped, "groups", 2)
    assert "one group" in method.supports(grouped)
    assert method.cost(form) > 0


def test_costs_by_kind():
    """Far from any doubt: 1x1 and 3-D leave lax."""
    pads = ((0, 0), (0, 0))
    pointwise = form_of(8, (56, 56), (64, 256), (1, 1), (1, 1), pads, (1, 1), "last")
    volume = form_of(2, (16, 32, 32), (32, 64), (3,) * 3, (1,) * 3, ((1, 1),) * 3, (1,) * 3, "last")
    assert best_for(pointwise)[0].name != "lax"
    assert best_for(volume)[0].name != "lax"


@pytest.mark.parametrize(("spatial", "kernel"), [((100,), (5,)), ((20, 20), (1, 3))])
def test_patches_are_not_read_through_a_transpose(spatial, kernel):
    """What is not padded was: a column at a time, once for each tap."""
    ones, pads = (1,) * len(kernel), ((0, 0),) * len(kernel)
    form = form_of(64, spatial, (128, 100), kernel, ones, pads, ones, "last")
    x, y = (jax.ShapeDtypeStruct(s, np.float32) for s in (form.x_shape, form.y_shape))
    program = jax.jit(lambda x, y: weight_patches.weight(x, y, form)).lower(x, y).compile()
    computations = program.as_text().split("\n\n")
    assert any(" concatenate(" in c for c in computations)
    assert not any(" concatenate(" in c and " transpose(" in c for c in computations)
