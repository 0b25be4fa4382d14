"""One table of methods through one grid of forms, against a float64 sum that shares no code."""

import dataclasses
import inspect
import itertools
import random
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from direct_sum import convolution, spread
from jax import lax

import jaxconv
from jaxconv import _choose as choose_module
from jaxconv import _cost, _processor
from jaxconv._calibration import COEFFICIENTS
from jaxconv._choose import (
    DILATED_RATE,
    NARROW_RATE,
    PLAIN_RATE,
    UNPADDED_RATE,
    Option,
    best_for,
    candidates,
    choose,
    lax_rate,
    margin,
    of_images,
    refusal,
    risky,
    seconds_of,
    view_of,
)
from jaxconv._cost import category, estimate
from jaxconv._explain import explanation
from jaxconv._form import Form, forward_view, weight_view
from jaxconv._methods import METHODS, _transposes, crop, winograd

ONE = ((1, 1), (1, 1))


def form_of(kind, layout, batch, groups, c, o, spatial, kernel, stride, padding, dilation, up):
    out = tuple(
        (spread(n, u) + lo + hi - spread(k, d)) // s + 1
        for n, k, s, (lo, hi), d, u in zip(spatial, kernel, stride, padding, dilation, up)
    )
    if min(out) < 1:
        return None
    f32 = np.dtype(np.float32)
    sizes = (batch, groups, c, o, spatial, kernel, out, stride, padding, dilation, up)
    return Form(kind, *sizes, layout, False, f32, f32)


# Asymmetric on purpose: a flipped kernel, swapped pads or a dropped group fails.
CASES = {
    "plain": (2, 1, 3, 5, (9, 7), (3, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    "padded, strided": (2, 1, 2, 3, (8, 9), (3, 3), (2, 1), ((2, 0), (0, 3)), (1, 1), (1, 1)),
    "cropped, dilated": (1, 1, 2, 3, (10, 9), (2, 3), (1, 2), ((-1, 2), (0, -2)), (2, 1), (1, 1)),
    "winograd's": (4, 1, 9, 10, (9, 6), (3, 3), (1, 1), ((1, 1), (0, 2)), (1, 1), (1, 1)),
    "many channels": (2, 1, 8, 18, (7, 6), (3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1), (1, 1)),
    "many, dilated": (3, 1, 18, 9, (9, 8), (3, 3), (1, 2), ((2, 1), (3, 2)), (2, 3), (1, 1)),
    "pointwise": (2, 1, 6, 4, (7, 5), (1, 1), (2, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    "pointwise, large": (2, 1, 3, 4, (9, 11), (1, 1), (1, 1), ((0, 1), (1, 0)), (1, 1), (1, 1)),
    "pointwise, grouped": (2, 3, 2, 4, (5, 4), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    "patches, large": (2, 1, 2, 3, (12, 10), (2, 2), (2, 2), ((0, 1), (1, 0)), (1, 1), (1, 1)),
    "patches, rows": (2, 1, 9, 10, (5, 6), (2, 3), (2, 3), ((0, -1), (0, 0)), (1, 1), (1, 1)),
    "few outputs": (2, 1, 6, 2, (7, 6), (3, 2), (1, 1), ((2, 0), (1, 2)), (1, 2), (1, 1)),
    "one position": (2, 3, 2, 2, (1, 6), (4, 2), (1, 1), ((3, 2), (0, 0)), (1, 1), (1, 1)),
    "one position, strided": (2, 1, 3, 2, (5, 1), (1, 5), (1, 2), ((0, 0), (4, 5)), (1, 2), (1, 1)),
    "a single window": (3, 1, 2, 5, (4, 3), (4, 3), (1, 2), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    "one image, 1x1": (1, 1, 6, 4, (7, 5), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    "patches": (2, 1, 3, 4, (9, 7), (4, 3), (4, 3), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    "depthwise": (2, 6, 1, 1, (9, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1)),
    "depthwise, strided": (1, 5, 1, 2, (9, 8), (3, 2), (2, 2), ((0, 1), (1, 0)), (1, 1), (1, 1)),
    "grouped": (2, 3, 2, 4, (7, 6), (3, 3), (1, 2), ((1, 1), (1, 2)), (1, 1), (1, 1)),
    "dilated": (2, 1, 3, 4, (11, 8), (3, 2), (1, 1), ((3, 4), (1, 0)), (2, 3), (1, 1)),
    "dilated one way": (1, 1, 3, 4, (9, 13), (2, 3), (2, 1), ((1, 0), (7, 4)), (1, 4), (1, 1)),
    "winograd's, a row": (3, 1, 8, 9, (3, 14), (1, 3), (1, 1), ((2, 1), (1, 0)), (1, 1), (1, 1)),
    "transposed": (2, 1, 3, 4, (5, 4), (4, 3), (1, 1), ((2, 2), (1, 2)), (1, 1), (2, 2)),
    "dilated both ways": (1, 2, 1, 2, (5, 6), (3, 2), (1, 1), ((1, 2), (1, 1)), (1, 2), (2, 1)),
    "transposed, grouped": (1, 2, 3, 2, (5, 4), (2, 2), (1, 1), ((1, 1), (1, 1)), (1, 1), (2, 3)),
    "dilated, common factor": (
        2,
        1,
        2,
        3,
        (5, 6),
        (4, 3),
        (1, 1),
        ((5, 4), (3, 2)),
        (6, 2),
        (4, 2),
    ),
    "dilated, none common": (1, 6, 1, 1, (4, 5), (3, 4), (1, 1), ((2, 3), (3, 3)), (2, 3), (3, 2)),
    "1-d": (2, 1, 4, 3, (19,), (5,), (2,), ((3, 1),), (2,), (1,)),
    "winograd's, 1-d": (2, 1, 9, 8, (19,), (3,), (1,), ((3, -1),), (1,), (1,)),
    "1-d depthwise": (2, 5, 1, 1, (21,), (4,), (1,), ((3, 0),), (1,), (1,)),
    "more taps than pixels": (3, 1, 4, 3, (2, 3), (3, 3), (1, 2), ((1, 2), (1, 1)), (1, 1), (1, 1)),
    "unseen taps": (2, 1, 3, 4, (2, 5), (3, 3), (1, 2), ((4, 4), (3, 2)), (4, 2), (1, 1)),
    "unseen, grouped": (2, 4, 1, 2, (1, 4), (5, 3), (2, 1), ((2, 2), (4, 1)), (1, 1), (1, 1)),
    "3-d": (
        2,
        1,
        3,
        4,
        (5, 6, 4),
        (2, 3, 2),
        (1, 2, 1),
        ((1, 0), (1, 1), (0, 1)),
        (1, 1, 1),
        (1,) * 3,
    ),
    "3-d transposed": (
        1,
        1,
        2,
        3,
        (3, 4, 2),
        (3, 2, 2),
        (1,) * 3,
        ((2, 1),) * 3,
        (1,) * 3,
        (2,) * 3,
    ),
    "3-d, depth alone": (
        2,
        1,
        3,
        4,
        (5, 3, 4),
        (3, 1, 1),
        (2, 1, 1),
        ((2, 1), (0, 0), (0, 0)),
        (1, 2, 1),
        (1,) * 3,
    ),
    "3-d, a row alone": (
        1,
        2,
        2,
        3,
        (3, 4, 7),
        (1, 1, 3),
        (1,) * 3,
        ((0, 0), (0, 0), (2, 1)),
        (1,) * 3,
        (1, 1, 2),
    ),
}


# What a case is there for.
TAKERS = {
    "dilated": {"space_to_batch"},
    "dilated one way": {"space_to_batch"},
    "dilated, none common": {"depthwise"},
    "3-d, depth alone": {"flatten"},
    "3-d, a row alone": {"flatten"},
    "unseen taps": {"crop"},
    "unseen, grouped": {"crop"},
    "winograd's": {"winograd2", "winograd4"},
    "winograd's, a row": {"winograd2", "winograd4"},
    "winograd's, 1-d": {"winograd2", "winograd4"},
}
FORWARD_TAKERS = {
    "more taps than pixels": {"padded"},
    "dilated, common factor": {"phases"},
    "dilated, none common": {"phases"},
}


# XLA has miscompiled arrays of many dimensions.
MARKS = {case: [pytest.mark.optimised] for case in CASES if case.startswith("3-d")}


@pytest.mark.parametrize("kind", ["forward", "weight"])
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("case", [pytest.param(c, marks=MARKS.get(c, [])) for c in CASES])
def test_every_method_that_takes_it(case, layout, kind):
    batch, groups, c, o, *geometry = CASES[case]
    form = form_of(kind, layout, batch, groups, c, o, *geometry)
    takers = [m for m in METHODS.values() if not refusal(m, form)]
    wanted = TAKERS.get(case, set())
    if kind == "forward":
        wanted = wanted | FORWARD_TAKERS.get(case, set())
    assert wanted <= {m.name for m in takers}
    check(form, np.random.default_rng(0), takers)


# It has a grid of its own, of wide groups.
ELSEWHERE = {"group_split"}


def test_every_method_takes_a_case_in_each_of_its_forms():
    for kind in ("forward", "weight"):
        forms = [form_of(kind, "last", *CASES[case]) for case in CASES]
        taken = {m.name for m in METHODS.values() for form in forms if not refusal(m, form)}
        assert {name for name, m in METHODS.items() if m.of(kind)} - taken == ELSEWHERE


TURNED = ("winograd's", "winograd's, 1-d", "many channels", "grouped", "1-d", "transposed, grouped")


@pytest.mark.parametrize("kind", ["forward", "weight"])
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize("case", TURNED)
def test_transposes_of_large_arrays_are_kept_apart(case, layout, kind, monkeypatch):
    """As the grid has them, with every array large."""
    monkeypatch.setattr(_transposes, "LARGE", 0)
    form = form_of(kind, layout, *CASES[case])
    check(form, np.random.default_rng(0), [m for m in METHODS.values() if not refusal(m, form)])


def test_what_is_kept_apart_is_a_call_of_its_own():
    """XLA fuses no padding with the transpose before it; nothing called inside is marked."""

    def program(x):
        return _transposes.apart_if_large(
            lambda x: jnp.pad(jnp.clip(x, 0), 1), jnp.moveaxis(x, -1, 1)
        )

    marked = 'inlineable = "false"'
    small, large = (jax.ShapeDtypeStruct((8, n, n, 16), np.float32) for n in (4, 64))
    assert marked not in jax.jit(program).lower(small).as_text()
    lowered = jax.jit(program).lower(large)
    text = lowered.as_text()
    assert text.count(marked) == 1 and text.count("call @") > 1
    assert re.search(r"ROOT [^\n]* call\(", lowered.compile().as_text())


def check(form, rng, methods):
    x = rng.standard_normal(form.x_shape).astype(np.float32)
    shape = form.w_shape if form.kind == "forward" else form.y_shape
    other = rng.standard_normal(shape).astype(np.float32)
    want = convolution(x, other, form)
    functions = {m.name: m.forward if form.kind == "forward" else m.weight for m in methods}
    assert "lax" in functions

    def everything(x, other):
        return {name: function(x, other, form) for name, function in functions.items()}

    for name, got in jax.jit(everything)(x, other).items():
        assert got.shape == want.shape and got.dtype == np.float32, name
        error = np.abs(np.float64(got) - want).max() / np.abs(want).max()
        assert error < 1e-5, f"{name}: {error:.1e} of the largest entry"
    for method in methods:
        assert method.cost(form) > 0


@pytest.mark.parametrize("kind", ["forward", "weight"])
@pytest.mark.parametrize("layout", ["last", "first"])
@pytest.mark.parametrize(
    "spatial, kernel, most, blocks",
    [
        ((21, 10), (3, 3), 1 << 22, (4, (6, 3), 1, 1)),
        ((21, 10), (3, 3), 1 << 15, (2, (6, 3), 1, 1)),
        ((21, 10), (3, 3), 1 << 12, (1, (2, 3), 3, 1)),
        ((5, 18), (1, 3), 1 << 10, (1, (2, 5), 3, 1)),
        ((18, 5), (3, 1), 1 << 10, (1, (2, 5), 3, 1)),
        ((1, 70), (1, 3), 1 << 10, (1, (1, 9), 2, 2)),
        ((5, 70), (3, 3), 1 << 12, (1, (2, 3), 6, 2)),
    ],
)
def test_winograd_by_images_and_by_bands(spatial, kernel, most, blocks, layout, kind, monkeypatch):
    monkeypatch.setattr(winograd, "MOST", most)
    pads = tuple((1, 2) if k > 1 else (0, 0) for k in kernel)
    pads = (pads[0], (-1, 3)) if kernel == (3, 3) else pads
    ones = (1, 1)
    form = form_of(kind, layout, 4, 1, 8, 9, spatial, kernel, ones, pads, ones, ones)
    assert winograd.plan(form, 4)[1:] == blocks
    methods = [METHODS[name] for name in ("lax", "winograd2", "winograd4")]
    check(form, np.random.default_rng(0), methods)


@pytest.mark.parametrize("outputs, taps", [(2, 3), (3, 2), (4, 3), (3, 4), (1, 1)])
def test_winograds_matrices_make_a_correlation(outputs, taps):
    """In exact arithmetic they are no approximation."""
    back, kernel, input = winograd.transforms(outputs, taps)
    rng = np.random.default_rng(0)
    d, g = rng.standard_normal(outputs + taps - 1), rng.standard_normal(taps)
    np.testing.assert_allclose(
        back @ ((kernel @ g) * (input @ d)), np.correlate(d, g), rtol=0, atol=1e-13
    )


@pytest.mark.optimised
@pytest.mark.parametrize("method", ["winograd2", "winograd4"])
@pytest.mark.parametrize("kind", ["forward", "weight"])
def test_winograds_rounding_is_a_fraction_of_what_auto_promises(kind, method):
    """Points of other sizes than these have a multiple of the error."""
    ones = (1, 1)
    form = form_of(kind, "last", 4, 1, 64, 32, (24, 24), (3, 3), ones, ((1, 1), (1, 1)), ones, ones)
    rng = np.random.default_rng(0)
    x, other = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in (form.x_shape, form.w_shape if kind == "forward" else form.y_shape)
    )
    want = convolution(x, other, form)
    run = METHODS[method].forward if kind == "forward" else METHODS[method].weight
    error = np.abs(np.float64(run(x, other, form)) - want).max() / np.abs(want).max()
    assert error < 3e-6


@pytest.mark.parametrize("kind", ["forward", "weight"])
@pytest.mark.parametrize("method", ["winograd2", "winograd4"])
@pytest.mark.parametrize("sizes", [(8, 512, 7), (512, 64, 5), (8, 64, 28)])
def test_winograd_keeps_to_the_memory_that_the_engine_promises(sizes, method, kind):
    batch, channels, side = sizes
    ones, pads = (1, 1), ((1, 1), (1, 1))
    image = (side, side)
    form = form_of(
        kind, "last", batch, 1, channels, channels, image, (3, 3), ones, pads, ones, ones
    )
    if refusal(METHODS[method], form):
        pytest.skip("not taken")
    run = METHODS[method].forward if kind == "forward" else METHODS[method].weight
    shapes = form.x_shape, form.w_shape if kind == "forward" else form.y_shape
    arrays = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    compiled = jax.jit(lambda a, b: run(a, b, form)).lower(*arrays).compile()
    numbers = sum(int(np.prod(s)) for s in (form.x_shape, form.w_shape, form.y_shape))
    assert compiled.memory_analysis().temp_size_in_bytes <= 2 * 4 * numbers + 32 * 2**20


def test_lax_is_not_trusted_with_more_taps_than_pixels():
    """XLA computes 512 channels of 3x3 on 2x2 pixels in plain loops."""
    ones, pads = (1, 1), ((1, 1), (1, 1))
    for layout in ("last", "first"):
        form = form_of("forward", layout, 8, 1, 512, 512, (2, 2), (3, 3), ones, pads, ones, ones)
        seconds = {option.method: option.compared for option in candidates(form)[0]}
        assert seconds["lax"] > 5 * min(seconds["padded"], seconds["scatter"])


def test_a_kernel_is_cropped_to_the_taps_that_see_the_image():
    """DeepLab's with dilation 36 on 33 pixels is its middle tap."""
    ones, apart = (1, 1), (36, 36)
    form = form_of(
        "forward", "last", 1, 1, 256, 256, (33, 33), (3, 3), ones, (apart,) * 2, apart, ones
    )
    inner = crop.cropped(form)
    assert inner.kernel == (1, 1) and inner.padding == ((0, 0), (0, 0))
    assert candidates(form)[0][0].method == "crop"
    long = form_of(
        "forward", "last", 1, 1, 1, 1, (40_000,), (60_001,), (1,), ((60_000,) * 2,), (1,), (1,)
    )
    assert crop.seeing(long) == (slice(0, 60_001),)
    strided = form_of("forward", "last", 1, 1, 1, 1, (2,), (9,), (3,), ((4, 9),), (1,), (1,))
    by_hand = [
        k for k in range(9) if any(0 <= k - 4 + 3 * p < 2 for p in range(strided.out_spatial[0]))
    ]
    assert crop.seeing(strided) == (slice(by_hand[0], by_hand[-1] + 1),)
    nothing = form_of(
        "forward", "last", 1, 1, 2, 2, (3, 3), (1, 1), (9, 9), ((4, 0),) * 2, ones, ones
    )
    assert "something is seen" in METHODS["crop"].supports(nothing)


@pytest.mark.optimised
def test_thinned_images_keep_nan_to_the_taps_that_see_it():
    """Phases of different sizes are filled up with zeros, which must not meet the input."""
    ones, pads, twice = (1, 1), ((2, 2), (2, 2)), (2, 2)
    method = METHODS["space_to_batch"]
    odd = form_of("weight", "last", 1, 1, 2, 3, (9, 9), (3, 3), ones, pads, twice, ones)
    assert "phases of one size" in method.supports(odd)
    even = form_of("weight", "last", 1, 1, 2, 3, (8, 8), (3, 3), ones, pads, twice, ones)
    assert method.supports(even) is None
    rng = np.random.default_rng(0)
    x = rng.standard_normal(even.x_shape).astype(np.float32)
    y = rng.standard_normal(even.y_shape).astype(np.float32)
    x[:, 7] = np.nan
    np.testing.assert_array_equal(
        np.isnan(method.weight(x, y, even)), np.isnan(METHODS["lax"].weight(x, y, even))
    )


def test_an_extra_row_is_not_computed_by_xlas_first_library():
    f32 = np.dtype(np.float32)
    ones, pads = (1, 1), ((1, 1), (1, 1))
    sizes = (2, 1, 32, 32, (14, 14), (3, 3), (14, 14), ones, pads, ones, ones)
    form = Form("forward", *sizes, "last", False, f32, f32)

    def text(method):
        run = jax.jit(lambda x, w: METHODS[method].forward(x, w, form))
        return run.lower(jnp.zeros(form.x_shape), jnp.zeros(form.w_shape)).compile().as_text()

    if "ynn_fusion" not in text("lax"):
        pytest.skip("this XLA has no YNNPACK")
    assert "ynn_fusion" not in text("extra_row")


def random_form(rng):
    while True:
        ndim = rng.choice((1, 2, 2, 3))
        groups = rng.choice((1, 1, 2, 5))

        def sizes(*choices, ndim=ndim):
            return tuple(rng.choice(choices) for _ in range(ndim))

        kernel = sizes(1, 2, 3, 4)
        up = rng.choice([(1,) * ndim, (1,) * ndim, sizes(1, 2, 3)])
        stride = rng.choice([(1,) * ndim, kernel, sizes(1, 2, 3)])
        padding = tuple((rng.randint(-1, 4), rng.randint(-1, 4)) for _ in range(ndim))
        form = form_of(
            rng.choice(("forward", "weight")),
            rng.choice(("last", "first")),
            rng.choice((1, 2, 3)),
            groups,
            rng.choice((1, 2, 3, 8)),
            rng.choice((1, 2, 4, 8)),
            tuple(rng.randint(3, 10) for _ in range(ndim)),
            kernel,
            stride,
            padding,
            rng.choice([(1,) * ndim, sizes(1, 2)]),
            up,
        )
        if form is not None:
            return form


@pytest.mark.parametrize("seed", range(12))
def test_random_general_convolutions(seed):
    form = random_form(random.Random(seed))
    names = [m for m in METHODS.values() if m.name == "lax" or (m.auto and not refusal(m, form))]
    check(form, np.random.default_rng(seed), names)


# --- the choice ------------------------------------------------------------------------------

NHWC = ("NHWC", "HWIO", "NHWC")


def step_methods(x, w, stride=1, groups=1, pad="SAME"):
    """The methods chosen for forward, weight gradient and input gradient."""
    numbers = NHWC if len(x) == 4 else ("NDHWC", "DHWIO", "NDHWC")
    strides = (stride,) * (len(x) - 2)

    def step(x, w):
        def loss(x, w):
            y = lax.conv_general_dilated(
                x, w, strides, pad, dimension_numbers=numbers, feature_group_count=groups
            )
            return (y**2).sum()

        return jax.grad(loss, (0, 1))(x, w)

    shapes = (jax.ShapeDtypeStruct(s, np.float32) for s in (x, w))
    return {c.direction: c.method for c in explanation(step, *shapes)}


def step_methods_of_transposed(n, size, c, o, kernel, up, layout):
    """The same of a 1-D transposed convolution (HiFi-GAN's)."""
    first = layout[0] == "NCW"
    x = jax.ShapeDtypeStruct((n, c, size) if first else (n, size, c), np.float32)
    w = jax.ShapeDtypeStruct((o, c, kernel) if first else (kernel, c, o), np.float32)
    pad = kernel - 1 - up // 2

    def loss(x, w):
        y = lax.conv_general_dilated(x, w, (1,), ((pad, pad),), (up,), dimension_numbers=layout)
        return (y**2).sum()

    return {c.direction: c.method for c in explanation(jax.grad(loss, (0, 1)), x, w)}


FIRST = ("NCHW", "OIHW", "NCHW")


@pytest.mark.parametrize(
    "numbers", [FIRST, NHWC, ("NCHW", "HWIO", "NHWC"), ("NHWC", "OIHW", "NHWC")]
)
@pytest.mark.parametrize(
    "method, batch, size, channels, kernel, stride",
    [
        ("pointwise", 3, 1, (12, 7), 1, 1),
        ("pointwise", 1, 5, (12, 7), 1, 1),
        ("pointwise", 1, 2, (64, 48), 1, 1),
        ("pointwise", 2, 3, (48, 64), 1, 2),
        ("auto", 2, 6, (12, 7), 6, 1),
    ],
)
def test_products_in_every_order(method, batch, size, channels, kernel, stride, numbers):
    """In whatever order the weight lies; the input gradient has it in the other one."""
    sizes = {"N": batch, "C": channels[0], "H": size, "W": size}
    kernels = {"O": channels[1], "I": channels[0], "H": kernel, "W": kernel}
    rng = np.random.default_rng(0)
    x = rng.standard_normal([sizes[k] for k in numbers[0]], np.float32)
    w = rng.standard_normal([kernels[k] for k in numbers[1]], np.float32)

    def step(conv, x, w, **more):
        y, pull = jax.vjp(
            lambda x, w: conv(x, w, (stride, stride), "VALID", dimension_numbers=numbers, **more),
            x,
            w,
        )
        return y, *pull(y)

    got = jax.jit(lambda x, w: step(jaxconv.conv_general_dilated, x, w, method=method))(x, w)
    with jax.enable_x64(True):
        want = step(lax.conv_general_dilated, x.astype(np.float64), w.astype(np.float64))
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("outputs_first", [True, False])
@pytest.mark.parametrize(
    "method, kernel, windows, c, o",
    [("patches", 7, 1, 16, 8), ("patches", 3, 2, 40, 70), ("pointwise", 1, 1, 96, 23)],
)
def test_a_weight_that_lies_first_is_not_moved(method, kernel, windows, c, o, batch, outputs_first):
    """A few examples meet a large weight: to transpose it took ten times as long as the product.

    That of an input gradient has its outputs and inputs the other way round.
    """
    if method == "patches" and not outputs_first:
        pytest.skip("an input gradient is not such a product")
    size, k = (kernel * windows,) * 2, (kernel, kernel)
    geometry = (batch, 1, c, o, size, k, k, ((0, 0), (0, 0)), (1, 1), (1, 1))
    form = form_of("forward", "first" if kernel > 1 else "last", *geometry)
    form = dataclasses.replace(form, weight_first=True, outputs_first=outputs_first)
    order = (2, 3, 1, 0) if outputs_first else (2, 3, 0, 1)

    def run(x, w):
        return METHODS[method].forward(x.transpose(0, 2, 3, 1), w.transpose(order), form)

    sizes = (o, c) if outputs_first else (c, o)
    x, w = jnp.zeros((batch, c, *size)), jnp.zeros((*sizes, kernel, kernel))
    text = jax.jit(run).lower(x, w).compile().as_text()
    for shape in re.findall(r"= f32\[([\d,]*)\]\S* (?:copy|transpose)\(", text):
        assert np.prod([int(n) for n in shape.split(",") if n]) < w.size


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "method, size, kernel, up, pads",
    [
        ("pointwise", (3, 2), (1, 1), (1, 1), ((0, 0), (0, 0))),
        ("scatter", (3, 2), (3, 2), (2, 1), ((2, 1), (0, 1))),
        ("scatter", (2, 3), (2, 2), (2, 2), ((1, 1), (1, 0))),
        ("scatter", (2, 3), (1, 1), (2, 3), ((0, 1), (0, 0))),
        ("scatter", (5,), (3,), (2,), ((1, 2),)),
        ("scatter", (2, 1, 3), (2, 2, 1), (1, 2, 1), ((1, 0), (1, 1), (0, 0))),
    ],
)
def test_a_heavy_weight_of_an_input_gradient_is_not_moved(
    method, size, kernel, up, pads, first, portable
):
    """It lies (C, O, *K), or (*K, O, C); several positions of several images meet it."""
    c, o, ndim = 96, 80, len(size)
    ones, space = (1,) * ndim, range(ndim)
    layout = "first" if first else "last"
    form = form_of("forward", layout, 2, 1, c, o, size, kernel, ones, pads, ones, up)
    order = {"weight_first": first, "outputs_first": not first, "portable": portable}
    form = dataclasses.replace(form, **order)
    assert form.heavy and category(form).endswith("-heavy")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, c, *size) if first else (2, *size, c), np.float32)
    w = rng.standard_normal((c, o, *kernel) if first else (*kernel, o, c), np.float32)

    def bring(x, w):
        if first:
            later = [2 + i for i in space]
            return x.transpose(0, *later, 1), w.transpose(*later, 0, 1)
        return x, w.transpose(*space, ndim + 1, ndim)

    def run(x, w):
        y = METHODS[method].forward(*bring(x, w), form)
        return jnp.moveaxis(y, -1, 1) if first else y

    program = jax.jit(run).lower(x, w).compile()
    got, want = np.asarray(program(x, w)), convolution(*bring(x, w), form)
    got = np.moveaxis(got, 1, -1) if first else got
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
    for shape in re.findall(r"= f32\[([\d,]*)\]\S* (?:copy|transpose)\(", program.as_text()):
        assert np.prod([int(n) for n in shape.split(",") if n]) < w.size


def test_outputs_and_inputs_of_a_weight_are_where_they_lie():
    def loss(numbers):
        def convolve(x, w):
            return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers).sum()

        return convolve

    for numbers, shape, outputs_first in (
        (("NHWC", "HWIO", "NHWC"), (3, 3, 6, 8), False),
        (("NHWC", "OIHW", "NHWC"), (8, 6, 3, 3), True),
    ):
        gradients = jax.grad(loss(numbers), (0, 1))
        found = jaxconv.explain(gradients, jnp.zeros((2, 5, 5, 6)), jnp.zeros(shape))
        forms = {c.direction: forward_view(c.spec).form for c in found}
        assert forms["forward"].outputs_first is outputs_first
        assert forms["input gradient"].outputs_first is not outputs_first
        spec = next(c.spec for c in found if c.direction == "weight gradient")
        assert weight_view(spec).form.outputs_first is outputs_first


@pytest.mark.parametrize("layout", ["first", "last"])
def test_depthwise_with_a_stride_is_a_sum_of_masked_loads(layout):
    """Of 80 channels at 2x112x112, strided slices of a padded copy took 2.8 ms, and these 0.5."""
    form = form_of(
        "forward", layout, 2, 16, 1, 1, (12, 12), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), (1, 1)
    )
    x, w = jnp.ones(form.x_shape), jnp.ones(form.w_shape)
    programs = [
        str(jax.make_jaxpr(lambda x, w, m=m: METHODS[m].forward(x, w, form))(x, w))
        for m in ("depthwise", "shifts")
    ]
    assert programs[0] == programs[1]


def test_no_product_for_all_pixels_where_few_outputs_are_kept():
    """VGG's first layer of all pixels: `scatter` took 28 ms for it, lax 7.8 and a product 0.7."""
    form = form_of(
        "forward", "first", 8, 1, 512, 128, (7, 7), (7, 7), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)
    )
    assert refusal(METHODS["scatter"], form) == (
        "most of its products would be for outputs that are cut off"
    )
    assert step_methods((8, 7, 7, 512), (7, 7, 512, 128), pad="VALID")["forward"] != "scatter"


def test_flatten_takes_only_dimensions_that_are_used_as_they_are():
    """Left over input would change places with the next row's: the window of a weight form may."""
    x, w = (1, 5, 6, 7, 2), (3, 6, 5, 2, 3)
    arguments = {"window_strides": (1, 1, 3), "padding": "VALID"}
    arguments["dimension_numbers"] = ("NDHWC", "DHWIO", "NDHWC")
    rng = np.random.default_rng(0)
    lhs, rhs = (jnp.asarray(rng.standard_normal(shape, np.float32)) for shape in (x, w))
    want = lax.conv_general_dilated(lhs, rhs, **arguments)
    got = jaxconv.conv_general_dilated(lhs, rhs, **arguments)
    np.testing.assert_allclose(got, want, atol=1e-4)
    with pytest.raises(NotImplementedError, match="'flatten' takes two neighbouring dimensions"):
        jaxconv.conv_general_dilated(lhs, rhs, **arguments, method="flatten")

    def reason(size, kernel, strides, padding):
        ones = (1,) * len(size)
        numbers = (2, 1, 16, 16, size, kernel, strides, padding, ones, ones)
        return refusal(METHODS["flatten"], form_of("forward", "last", *numbers))

    zero, one = (0, 0), (1, 1)
    assert reason((4, 5, 6), (3, 1, 1), (1, 1, 1), (one, zero, zero)) is None
    assert reason((4, 5), (3, 1), (1, 1), (one, zero)) == "takes three dimensions"
    assert reason((4, 5, 6), (1, 1, 1), (1, 1, 1), (zero,) * 3) == "takes more than one tap"
    for strides, padding in (((1, 1, 2), (one, zero, zero)), ((1, 1, 1), (one, zero, one))):
        assert "no stride, no padding" in reason((4, 5, 6), (3, 1, 1), strides, padding)


def test_methods_chosen_for_known_layers():
    depthwise = step_methods((8, 56, 56, 144), (3, 3, 1, 144), groups=144)
    assert "lax" not in depthwise.values()
    resnext = step_methods((8, 56, 56, 128), (3, 3, 4, 128), groups=32)
    assert "lax" not in resnext.values()
    for layout in ("NCW", "OIW", "NCW"), ("NWC", "WIO", "NWC"):  # lax takes a hundred times as long
        transposed = step_methods_of_transposed(2, 256, 256, 128, 16, 8, layout)
        assert transposed["weight gradient"] != "lax"
    pointwise = step_methods((8, 56, 56, 256), (1, 1, 256, 64))
    assert pointwise["weight gradient"] != "lax"
    assert pointwise["forward"] in ("pointwise", "onednn")
    video = step_methods((2, 8, 28, 28, 64), (3, 1, 1, 64, 64))
    assert "lax" not in video.values() and video["forward"] in ("flatten", "onednn")


@pytest.mark.parametrize("letters", [("NCHW", "OIHW", "NCHW"), ("NHWC", "OIHW", "NHWC")])
def test_a_single_position_is_a_product_where_lax_transposes_the_weight(letters):
    """lax took 1.3 to 4 ms for 2.4 to 4 MB of weights, the product 0.2 to 0.5."""
    x, w = jnp.ones((2, 1024, 1, 1)), jnp.ones((1024, 1024, 1, 1))
    x = x.reshape(2, 1, 1, 1024) if letters[0] == "NHWC" else x

    def convolve(x, w):
        return lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=letters)

    (found,) = explanation(convolve, x, w)
    assert found.method == "pointwise"


def test_a_weight_gradient_is_looked_at_in_both_forms():
    """Of 4x4 kernels over 3x3 positions the gradient's window is smaller than its result."""
    x, w = jnp.ones((2, 6, 6, 16)), jnp.ones((4, 4, 16, 32))

    def loss(x, w):
        return (jaxconv.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=NHWC)).sum()

    (found,) = (c for c in explanation(jax.grad(loss, 1), x, w) if c.direction != "forward")
    assert {o.kind for o in found.choice.considered} == {"forward", "weight"}
    (found,) = explanation(loss, jnp.ones((2, 9, 9, 16)), w)
    assert {o.kind for o in found.choice.considered} == {"forward"}


def test_a_class_that_was_not_measured_takes_the_next_wider_one(monkeypatch):
    """The end that says least goes first: a strided 5x5 kernel is more a strided one than not."""

    def constant(seconds):
        return (seconds, 0, 0, 0, 0, 0, 0, 0)

    rows = {"": constant(1), "-strided": constant(2), "-dilated": constant(3)}
    rows = {f"lax/forward/last/depthwise{end}": row for end, row in rows.items()}
    monkeypatch.setitem(COEFFICIENTS, "test", rows)
    for k, stride, up, seconds in (3, 1, 1, 1), (5, 1, 1, 1), (5, 2, 1, 2), (5, 1, 2, 3):
        for ndim in 1, 2:
            numbers = ((20,), (k,), (stride,), ((1, 1),), (1,), (up,))
            form = form_of("forward", "last", 2, 32, 1, 1, *(n * ndim for n in numbers))
            assert estimate(METHODS["lax"], form, "test") == seconds, category(form)


def test_rows_that_fill_no_vector_are_a_class_of_their_own():
    """Channels first: 5x5 on rows of 7 took 1.5 times as long for each number as on rows of 8."""

    def name(layout, width, groups=32):
        numbers = ((9, width), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1))
        return category(form_of("forward", layout, 2, groups, 1, 32 // groups, *numbers))

    assert name("first", 7) == "depthwise-short"
    assert name("first", 8) == name("last", 7) == "depthwise"
    assert "short" not in name("first", 7, groups=1)


def test_channels_that_fill_no_vector_take_longer():
    """Channels last, 3x3: 12 took twice as long a channel as 16, and 20 1.8 times."""
    numbers = ((9, 9), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1))
    for method in METHODS["shifts"], METHODS["depthwise"]:
        for groups, counted in (16, 16), (20, 32), (78, 96):
            form = form_of("forward", "last", 2, groups, 1, 1, *numbers)
            assert method.work(form) == dataclasses.replace(form, groups=counted)
            rows = dataclasses.replace(form, layout="first")
            assert method.work(rows) == rows
    one = form_of("forward", "last", 2, 1, 3, 20, *numbers)
    assert METHODS["shifts"].work(one) == one


def test_each_kind_of_processor_has_its_coefficients(monkeypatch):
    """What was measured with AVX2 holds there; what was not takes so many times as long."""
    form = form_of("forward", "last", 2, 1, 64, 64, (28, 28), (3, 3), (1, 1), ONE, (1, 1), (1, 1))
    lax_seconds, fft_seconds = {}, {}
    for avx2, ending in (False, ""), (True, " avx2"):
        monkeypatch.setattr(_processor, "avx2_only", lambda avx2=avx2: avx2)
        lax_seconds[avx2] = seconds_of(METHODS["lax"], form)
        fft_seconds[avx2] = seconds_of(METHODS["fft"], form)
        assert lax_seconds[avx2] == estimate(METHODS["lax"], form, _cost.generation() + ending)
    assert lax_seconds[True] != lax_seconds[False]
    assert estimate(METHODS["fft"], form) is None
    assert fft_seconds[True] == pytest.approx(_cost.AVX2_TIMES * fft_seconds[False])


@pytest.mark.parametrize(
    "flags, avx2", [("avx avx2 fma", True), ("avx2 avx512f", False), ("sve", False), ("", False)]
)
def test_which_coefficients_hold_is_the_processors(monkeypatch, flags, avx2):
    monkeypatch.setattr(_processor, "flags", lambda: set(flags.split()))
    monkeypatch.setattr(_processor, "avx2_only", _processor.avx2_only.__wrapped__)
    assert _processor.avx2_only() == avx2
    assert _cost.calibration() == _cost.generation() + (" avx2" if avx2 else "")


LAYERS_OF_COSTS = {
    "dense": ((28, 28), (3, 3), (1, 1)),
    "1x1": ((28, 28), (1, 1), (1, 1)),
    "patch": ((28, 28), (4, 4), (4, 4)),
    "volume": ((8, 14, 14), (3, 3, 3), (1, 1, 1)),
}


def test_a_cost_counts_every_example():
    """FFT's did not, and was chosen for 64 weight gradients at once: 237 ms in place of 22."""
    tried = set()
    for size, kernel, strides in LAYERS_OF_COSTS.values():
        ones, pad = (1,) * len(size), ((0, 0),) * len(size)
        one = form_of("weight", "last", 4, 1, 32, 32, size, kernel, strides, pad, ones, ones)
        many = dataclasses.replace(one, examples=64)
        for name, method in METHODS.items():
            if method.weight is None or not method.auto:
                continue
            if method.supports(one) is None and method.supports(many) is None:
                assert method.cost(many) > 10 * method.cost(one), name
                tried.add(name)
    assert {"lax", "fft", "taps", "patches", "pointwise", "weight_patches", "volume"} <= tried


def test_composed_methods_say_so():
    """Their costs are made of estimates for the processor, which must not be made longer again."""
    for name, method in METHODS.items():
        function = getattr(method.cost, "func", method.cost)
        assert method.composed == ("_inner.best(" in inspect.getsource(function)), name


def test_lax_is_known_to_be_slow_for_groups_of_one_output():
    """Where XLA uses plain loops: one such weight gradient had taken 52 ms in place of 2."""
    numbers = ((7, 7), (7, 7), (1, 1), ((3, 3), (3, 3)), (1, 1), (1, 1))
    one, two = (form_of("forward", "first", 1, 160, 16, o, *numbers) for o in (1, 2))
    assert seconds_of(METHODS["lax"], one) >= one.macs / PLAIN_RATE
    assert lax_rate(one) == PLAIN_RATE and lax_rate(two) == 0


@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("version", sorted(COEFFICIENTS))
def test_loops_are_not_estimated_faster_than_they_can_be(version, layout, monkeypatch):
    """4 to 512 channels were estimated at a tenth of what they took, four times lax's time."""
    monkeypatch.setattr(_cost, "calibration", lambda: version)
    numbers = ((16, 8), (4, 9), (1, 1), ((1, 1), (4, 4)), (1, 1), (1, 1))
    form = form_of("forward", layout, 16, 1, 4, 512, *numbers)
    loop = METHODS["channel_blocks"]
    assert loop.supports(form) is None
    assert seconds_of(loop, form) >= form.macs / loop.fastest(form)
    if version == "0.10":
        fitted = estimate(loop, form)
        assert fitted and fitted < form.macs / loop.fastest(form)
        assert seconds_of(METHODS["lax"], form) < seconds_of(loop, form)


def test_scattered_products_are_not_written_faster_than_memory_takes_them():
    """11x7, 12 to 64 channels, took 114 ms where it was estimated at 14 and `phases` took 15."""

    def floor(c, k):
        numbers = ((32, 32), k, (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 2))
        form = form_of("forward", "first", 8, 1, c, 64, *numbers)
        return form.macs / METHODS["scatter"].fastest(form) / (form.macs / c)

    assert floor(12, (11, 7)) == floor(2, (3, 3)) == pytest.approx(1e-9)
    assert floor(12, (3, 3)) == floor(32, (11, 7)) == 0


def test_lax_is_known_to_be_slow_where_it_was_not_timed(monkeypatch):
    """Without padding up to JAX 0.11, with few outputs, of few dilated channels, groups in 3-D."""

    def rate(c, o, pad, up=1, ndim=2, groups=1):
        per = [(n,) * ndim for n in (28, 3, 1)]
        numbers = (*per, ((pad, pad),) * ndim, (1,) * ndim, (up,) * ndim)
        return lax_rate(form_of("forward", "last", 2, groups, c, o, *numbers))

    for generation in ("0.10", "0.12"):
        monkeypatch.setattr(choose_module, "generation", lambda: generation)  # noqa: B023
        old = generation == "0.10"
        assert rate(64, 64, 0) == (64 * UNPADDED_RATE if old else 0) and rate(64, 64, 1) == 0
        assert rate(64, 3, 1) == 3 * NARROW_RATE
        assert rate(3, 64, 1, up=2) == 3 * DILATED_RATE / 4
        assert rate(4, 4, 1, ndim=3, groups=2) == PLAIN_RATE and rate(64, 64, 1, ndim=3) == 0


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("channels", "size"), [((32, 64), 14), ((1, 32), 28), ((3, 32), 32)])
def test_gradients_of_examples_are_not_taken_for_layers(channels, size, layout):
    """lax had been chosen for some, oneDNN for others, at four to ten times the least time."""
    c, o = channels
    shape = (32, size, size, c) if layout == "NHWC" else (32, c, size, size)
    x, w = jax.ShapeDtypeStruct(shape, np.float32), jax.ShapeDtypeStruct((o, c, 5, 5), np.float32)

    def loss(w, x):
        return (jaxconv.conv2d(x, w, padding=2, layout=layout) ** 2).sum()

    *_, gradient = explanation(jax.vmap(jax.grad(loss), (None, 0)), w, x)
    assert gradient.direction == "weight gradient"
    assert of_images(view_of(gradient.spec, "forward").form)
    assert gradient.method in ("weight_patches", "taps")


def test_layers_are_not_taken_for_gradients_of_examples():
    def taken(groups, c, o, size, kernel, pad):
        sizes = ((size, size), (kernel, kernel), (1, 1), ((pad, pad),) * 2, (1, 1), (1, 1))
        return of_images(form_of("forward", "last", 8, groups, c, o, *sizes))

    assert not taken(32, 8, 8, 7, 7, 0)  # a last layer that sees its whole input
    assert not taken(32, 8, 8, 4, 5, 2)
    assert not taken(64, 1, 1, 13, 31, 15)
    assert not taken(1, 64, 64, 14, 14, 2)


def test_depthwise_counts_the_copies_that_a_multiplier_needs():
    """64x1 taps with two outputs a channel had been estimated at 0.3 ms, and took 2.7."""
    numbers = ((64, 128), (64, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1))
    one, two = (form_of("forward", "last", 16, 8, 1, o, *numbers) for o in (1, 2))
    first = dataclasses.replace(two, layout="first")
    besides = METHODS["depthwise"].besides
    assert besides(two) > 1e-3 and besides(one) == besides(first) == 0
    assert besides(dataclasses.replace(two, examples=4)) == 4 * besides(two)
    assert seconds_of(METHODS["depthwise"], two) > besides(two)


@pytest.mark.parametrize("version", COEFFICIENTS)
@pytest.mark.parametrize("kind", ["forward", "weight"])
def test_every_class_of_groups_has_an_estimate(version, kind):
    """One without took lax's rough guess for the truth: 260 times as long as the best method."""
    for ndim, k, stride, up, c in itertools.product((1, 2, 3), (3, 5), (1, 2), (1, 2), (1, 4, 16)):
        if kind == "weight" and up > 1:
            continue
        size, ones = (20,) * ndim, (1,) * ndim
        numbers = (size, (k,) * ndim, (stride,) * ndim, ((1, 1),) * ndim, ones, (up,) * ndim)
        for layout in ("first", "last"):
            form = form_of(kind, layout, 2, 32, c, c, *numbers)
            assert estimate(METHODS["lax"], form, version), category(form)


@pytest.mark.parametrize(
    "kind, case, expected",
    [
        ("forward", (2, 1, 64, 64, (28, 28), (3, 3)), False),
        ("weight", (2, 1, 64, 64, (28, 28), (3, 3)), False),
        ("weight", (2, 4, 16, 16, (28, 28), (3, 3)), True),  # groups
        ("weight", (2, 1, 16, 16, (8, 8, 8), (3, 3, 3)), True),
        ("forward", (2, 16, 4, 4, (28, 28), (3, 3)), True),
        ("forward", (2, 1, 2, 8, (28, 28), (3, 3)), True),  # a small sum
        ("forward", (2, 1, 64, 64, (28, 28), (1, 1)), True),  # a product, if it is written as one
    ],
)
def test_where_lax_may_lose_its_fast_path(kind, case, expected):
    """There another method is taken though it is estimated slower, elsewhere only if faster."""
    *numbers, size, kernel = case
    ones = (1,) * len(size)
    padding = tuple((k // 2, k // 2) for k in kernel)
    form = form_of(kind, "last", *numbers, size, kernel, ones, padding, ones, ones)
    assert risky(form) == expected
    assert margin(METHODS["lax"], form) == 1
    other = next(m for m in METHODS.values() if m.exact and m.name != "lax")
    assert (margin(other, form) > 1) == expected


def test_the_choice_is_a_pure_function():
    def spec():
        found = explanation(
            lambda x, w: jaxconv.conv2d(x, w, padding=1),
            jnp.ones((2, 8, 9, 9)),
            jnp.ones((8, 8, 3, 3)),
        )
        return found[0].spec

    first, second = choose(spec()), choose.__wrapped__(spec())
    assert first == second and hash(first) == hash(second)
    assert first.considered[0].method == first.method
    assert [o.compared for o in first.considered] == sorted(o.compared for o in first.considered)


def test_the_fastest_is_told_where_the_margin_decides(monkeypatch):
    """However far behind its margin puts it."""
    ranked = {"lax": 3e-3, "onednn": 4e-3, "taps": 5e-3, "winograd4": 2e-3}
    found = [Option(float(i), "forward", *pair) for i, pair in enumerate(ranked.items())]
    monkeypatch.setattr("jaxconv._choose.options", lambda spec: (found, []))
    (layer,) = explanation(lambda: jaxconv.conv1d(jnp.ones((1, 2, 5)), jnp.ones((3, 2, 3))))
    why = choose.__wrapped__(layer.spec).why
    assert why == "estimated 3 ms (onednn 4, winograd4 2), by its margin"


@pytest.mark.parametrize(
    ("flags", "early"),
    [("avx2 avx512f", True), ("avx2 avx512f avx512_bf16", False), ("avx2", False), ("", False)],
)
def test_lines_with_a_stride_take_longer_on_early_avx512(flags, early, monkeypatch):
    """On an Intel Xeon, where the estimates of an AMD EPYC chose weight_lines for them."""
    monkeypatch.setattr(_processor, "flags", lambda: set(flags.split()))
    monkeypatch.setattr(_processor, "early_avx512", _processor.early_avx512.__wrapped__)
    sizes = (2, 1, 512, 512, (1599,), (3,), (2,), ((0, 0),), (1,), (1,))
    strided = form_of("weight", "last", *sizes)
    dense = dataclasses.replace(strided, strides=(1,))
    method = METHODS["weight_lines"]
    assert (method.besides(strided) > 0) == early
    assert method.besides(dense) == 0


def test_estimates_are_told_without_their_margin(monkeypatch):
    x, w = jnp.ones((2, 14, 14, 64)), jnp.ones((1, 1, 64, 64))
    dimensions = ("NHWC", "HWIO", "NHWC")
    (found,) = explanation(
        lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=dimensions),
        x,
        w,
    )
    form = forward_view(found.spec).form
    for option in found.choice.considered:
        assert option.seconds == pytest.approx(seconds_of(METHODS[option.method], form))
    monkeypatch.setattr("jaxconv._choose.RISKY_MARGIN", 1e6)
    chosen = choose.__wrapped__(found.spec)
    assert chosen.method != "lax" and chosen.seconds == chosen.considered[0].seconds
    monkeypatch.setattr("jaxconv._choose.RISKY_MARGIN", 1e-6)
    chosen = choose.__wrapped__(found.spec)
    assert chosen.method == "lax" and chosen.why.endswith(", by its margin")
    best_for.cache_clear()  # what parts were asked for under these margins


@pytest.mark.parametrize("precision", ["highest", lax.Precision.HIGHEST])
def test_highest_precision_rules_out_winograd_and_fft(precision):
    x, w = jnp.ones((4, 64, 56, 56)), jnp.ones((64, 64, 3, 3))
    (found,) = explanation(lambda x, w: jaxconv.conv2d(x, w, precision=precision), x, w)
    assert METHODS[found.method].exact
    assert {"fft", "winograd2", "winograd4"} <= {name for name, _ in found.refused}
    considered = {o.method for o in found.choice.considered}
    assert not considered & {"fft", "winograd2", "winograd4"}


@pytest.mark.optimised
def test_accuracy_of_auto_in_float32_and_float64():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 40, 30, 28))
    for shape, groups in (((48, 40, 3, 3), 1), ((40, 1, 5, 5), 40), ((16, 40, 7, 7), 1)):
        w = rng.standard_normal(shape)
        with jax.enable_x64(True):

            def run(x, w, method, groups=groups):
                return jaxconv.conv2d(x, w, padding=1, groups=groups, method=method)

            want = np.asarray(run(jnp.asarray(x), jnp.asarray(w), "direct"))
            exact = np.asarray(run(jnp.asarray(x), jnp.asarray(w), "auto"))
            largest = np.abs(want).max()
            assert np.abs(exact - want).max() < 1e-12 * largest
            single = (jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32))
            wide = np.asarray(run(*(jnp.asarray(a, jnp.float64) for a in single), "direct"))
            errors = {m: np.abs(np.asarray(run(*single, m)) - wide).max() for m in ("auto", "lax")}
            assert errors["auto"] <= max(4 * errors["lax"], 1e-5 * largest)


@pytest.mark.optimised
@pytest.mark.parametrize("groups", [1, 16])
def test_nan_and_inf_reach_what_they_reach_in_lax(groups):
    x = np.random.default_rng(0).standard_normal((1, 16, 12, 11)).astype(np.float32)
    x[0, 3, 5, 6], x[0, 7, 0, 0] = np.nan, np.inf
    w = np.random.default_rng(1).standard_normal((16, 16 // groups, 3, 3)).astype(np.float32)
    for method in METHODS.values():
        if not method.exact:
            continue
        try:
            got = jaxconv.conv2d(x, w, padding=1, groups=groups, method=method.name)
        except NotImplementedError:
            continue
        want = jaxconv.conv2d(x, w, padding=1, groups=groups, method="lax")
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want), method.name)


def test_a_band_matrix_spreads_nan_and_says_so():
    x, w = jnp.ones((1, 1, 8)).at[0, 0, 0].set(jnp.nan), jnp.ones((1, 1, 3))
    assert jnp.isnan(jaxconv.conv1d(x, w, method="toeplitz")).all()
    assert not METHODS["toeplitz"].exact


def test_a_method_that_cannot_says_so():
    x, w = jnp.ones((1, 2, 5, 5)), jnp.ones((3, 2, 2, 2))
    given = r"input \(1, 2, 5, 5\), weight \(3, 2, 2, 2\), stride \(2, 2\), padding 0, dilation .*"
    with pytest.raises(NotImplementedError, match=f"'pointwise' takes one tap .*; got {given}"):
        jaxconv.conv2d(x, w, stride=2, method="pointwise")
    with pytest.raises(NotImplementedError, match=r"'pointwise' takes .*stride \(2, 2\), padding"):
        jaxconv.conv_transpose2d(x, jnp.ones((2, 3, 2, 2)), stride=2, method="pointwise")
    with pytest.raises(NotImplementedError, match=r"'pointwise' takes .*window_strides \(1, 1\)"):
        jaxconv.conv_general_dilated(x, w, (1, 1), "SAME", method="pointwise")
    with pytest.raises(ValueError, match="conv2d: method must be 'auto', 'lax'"):
        jaxconv.conv2d(x, w, method="fastest")


def test_a_method_for_weight_gradients_says_so():
    x, w = jnp.ones((1, 2, 5, 5)), jnp.ones((3, 2, 2, 2))
    with pytest.raises(NotImplementedError, match="'taps' computes weight gradients alone"):
        jaxconv.conv2d(x, w, method="taps")


def test_what_only_lax_takes_says_so():
    x, w = jnp.ones((1, 2, 5), jnp.int32), jnp.ones((3, 2, 2), jnp.int32)
    message = "conv1d: method='fft' cannot be asked for: integers are lax's; got input"
    with pytest.raises(NotImplementedError, match=message):
        jaxconv.conv1d(x, w, method="fft")


@pytest.mark.parametrize(
    ("method", "shapes", "groups"),
    [
        ("patches", ((2, 3, 8, 8), (4, 3, 8, 8)), 1),  # sees its whole input
        ("shifts", ((1, 16, 9, 9), (16, 1, 7, 7)), 16),  # a window larger than the result
        ("weight_patches", ((2, 3, 9, 9), (4, 3, 7, 7)), 1),
    ],
)
def test_a_name_is_taken_in_either_form(method, shapes, groups):
    """As "auto" looks at both where the window is larger than the result."""
    x, w = (np.random.default_rng(i).standard_normal(s, np.float32) for i, s in enumerate(shapes))
    (found,) = explanation(lambda: jaxconv.conv2d(x, w, groups=groups, method=method))
    assert found.method == method and found.why == "asked for by name"
    got, want = (jaxconv.conv2d(x, w, groups=groups, method=m) for m in (method, "lax"))
    np.testing.assert_allclose(got, want, 1e-4, 1e-4)
