"""oneDNN's calls: right for every order of arrays, and left alone where they cannot be had."""

import concurrent.futures
import functools
import os
import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from direct_sum import convolution
from hypothesis import assume, given
from hypothesis import strategies as st
from jax import lax
from test_methods import form_of

import jaxconv
from jaxconv import _compat, _onednn, _onednn_calls, _processor, _tuned
from jaxconv._choose import choose, seconds_of
from jaxconv._form import Form
from jaxconv._methods import METHODS, _products
from jaxconv._methods.onednn_weight import cut, oriented, turns
from jaxconv._spec import ConvSpec

HERE = sys.platform == "linux" and platform.machine() == "x86_64" and _onednn.wanted()
HERE = HERE and _onednn.vector_bytes() > 0
there = pytest.mark.skipif(not HERE, reason="oneDNN is in jaxlib for Linux, and fast with AVX2")
onednn = METHODS["onednn"]
CALL = "__onednn$convolution"


@pytest.fixture(autouse=True)
def nothing_is_kept_on_disk(monkeypatch):
    monkeypatch.setattr(_compat, "kept_on_disk", lambda: False)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


X, W = normal(2, 14, 14, 64), normal(3, 3, 16, 64)
GROUPED = ("NHWC", "HWIO", "NHWC")


def grouped(x, w, **kwargs):
    return jaxconv.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=GROUPED, feature_group_count=4, **kwargs
    )


by_name = functools.partial(grouped, method="onednn")
by_lax = functools.partial(grouped, method="lax")


def close(got, want, tolerance=1e-5):
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * float(np.abs(want).max()))


@there
def test_linux_on_x86_has_it():
    """The promise that the tables of measurements stand on."""
    assert _onednn.available()
    assert _onednn.products() or _onednn.vector_bytes() < 64
    close(by_name(X, W), by_lax(X, W))
    assert CALL in jax.jit(by_name).lower(X, W).as_text()


TAKEN = {
    "dense": (2, 1, 16, 20, (9, 7), (3, 3), (1, 1), ((1, 1), (1, 2)), (1, 1), (1, 1)),
    "strided": (2, 1, 3, 16, (11, 8), (3, 2), (2, 3), ((1, 0), (0, 1)), (1, 1), (1, 1)),
    "dilated": (1, 1, 8, 5, (11, 8), (3, 2), (1, 1), ((2, 4), (1, 0)), (2, 3), (1, 1)),
    "grouped": (2, 4, 8, 16, (7, 6), (3, 3), (1, 2), ((1, 1), (1, 2)), (1, 1), (1, 1)),
    "depthwise": (2, 17, 1, 1, (9, 8), (3, 5), (2, 1), ((1, 1), (2, 2)), (1, 1), (1, 1)),
    "with multipliers": (2, 6, 1, 3, (9, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1)),
    "pointwise": (2, 1, 6, 17, (5, 4), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
    "1-d": (2, 1, 4, 3, (19,), (5,), (2,), ((3, 1),), (2,), (1,)),
    "3-d": (1, 2, 3, 4, (5, 6, 4), (2, 3, 2), (1, 2, 1), ((1, 0),) * 3, (1, 1, 1), (1, 1, 1)),
}


@there
@pytest.mark.parametrize("case", TAKEN)
@pytest.mark.parametrize("layout", ["first", "last"])
@pytest.mark.parametrize("weight_first", [False, True])
@pytest.mark.parametrize("outputs_first", [False, True])
def test_what_it_takes_in_every_order(case, layout, weight_first, outputs_first):
    form = form_of("forward", layout, *TAKEN[case])
    order = {"weight_first": weight_first, "outputs_first": outputs_first}
    form = Form(**{**vars(form), **order})
    assert onednn.supports(form) is None
    x, w = normal(*form.x_shape), normal(*form.w_shape, seed=1)
    close(onednn.forward(x, w, form), convolution(np.float64(x), np.float64(w), form))


@st.composite
def drawn_forms(draw, kind="forward"):
    """Forms that lie in any order; most of them oneDNN takes."""
    ndim = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(ndim))

    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 8, 17]))
    c, o = draw(st.sampled_from([1, 2, 3, 8, 16, 17])), draw(st.sampled_from([1, 2, 5, 8, 16]))
    kernel, stride, dilation = each(1, 4), each(1, 3), each(1, 2)
    least, up = (-1, each(1, 2)) if kind == "weight" else (0, (1,) * ndim)
    padding = tuple(tuple(draw(st.integers(least, 3)) for _ in range(2)) for _ in range(ndim))
    size = tuple(
        draw(st.integers(1, 6)) + (k - 1) * d - 2 * least for k, d in zip(kernel, dilation)
    )
    sizes = (groups, c, o, size, kernel, stride, padding, dilation, up)
    layout = draw(st.sampled_from(["first", "last"]))
    order = {"weight_first": draw(st.booleans()), "outputs_first": draw(st.booleans())}
    form = form_of(kind, layout, draw(st.integers(1, 3)), *sizes)
    return Form(**{**vars(form), **order})


@there
@given(drawn_forms())
def test_any_form_that_it_takes(form):
    assume(onednn.supports(form) is None)
    x, w = normal(*form.x_shape), normal(*form.w_shape, seed=1)
    want = convolution(np.float64(x), np.float64(w), form)
    close(jax.jit(lambda x, w: onednn.forward(x, w, form))(x, w), want)


WEIGHTS = {
    "dense": (3, 1, 5, 20, (9, 7), (3, 2), (1, 1), ((1, 0), (1, 2)), (1, 1), (1, 1)),
    "a single image": (1, 1, 5, 20, (12, 7), (3, 2), (1, 1), ((1, 1), (1, 2)), (1, 1), (1, 1)),
    "many images": (34, 2, 4, 5, (6, 7), (3, 2), (1, 1), ((1, 1), (0, 0)), (1, 1), (1, 1)),
    "few outputs": (2, 1, 17, 3, (9, 7), (3, 2), (1, 1), ((1, 0), (1, 2)), (1, 1), (1, 1)),
    "strided": (2, 1, 3, 16, (12, 9), (3, 2), (2, 3), ((1, 0), (0, 1)), (1, 1), (1, 1)),
    "dilated rows": (2, 1, 3, 16, (12, 9), (3, 2), (2, 1), ((1, 3), (0, 1)), (3, 1), (1, 1)),
    "dilated x": (2, 3, 4, 4, (5, 4), (3, 3), (2, 1), ((1, 2), (1, 0)), (1, 1), (2, 3)),
    "cropped": (2, 1, 2, 17, (8, 9), (2, 3), (1, 2), ((-1, 4), (5, -2)), (1, 1), (1, 1)),
    "grouped": (4, 4, 8, 16, (7, 6), (3, 3), (1, 2), ((1, 1), (1, 2)), (1, 1), (1, 1)),
    "1-d": (2, 1, 4, 16, (33,), (5,), (2,), ((3, 1),), (2,), (1,)),
    "a slim line": (3, 1, 2, 16, (33,), (5,), (2,), ((3, 1),), (1,), (1,)),
    "a slim line, dilated": (1, 1, 1, 20, (17,), (3,), (1,), ((2, 1),), (1,), (3,)),
    "a slim line for y": (2, 1, 17, 3, (23,), (4,), (1,), ((1, 2),), (1,), (1,)),
    "3-d": (2, 2, 5, 4, (5, 6, 4), (2, 3, 2), (1, 2, 1), ((1, 0),) * 3, (2, 1, 1), (1, 1, 1)),
}


@there
@pytest.mark.parametrize("case", WEIGHTS)
@pytest.mark.parametrize("layout", ["first", "last"])
def test_weight_gradients(case, layout):
    form = form_of("weight", layout, *WEIGHTS[case])
    assert onednn.supports(form) is None
    x, y = normal(*form.x_shape), normal(*form.y_shape, seed=1)
    close(onednn.weight(x, y, form), convolution(np.float64(x), np.float64(y), form))


def test_weight_gradients_cut_the_positions_into_calls():
    """Two images or strips at least, for groups; no more than are summed at a good rate."""
    forms = {case: oriented(form_of("weight", "last", *WEIGHTS[case])) for case in WEIGHTS}
    found = {case: cut(form) for case, form in forms.items()}
    assert found["many images"] == (17, 6, 2)
    assert found["a single image"].images > 1 and found["a single image"].calls == 1
    for case, form in forms.items():
        mine = found[case]
        assert mine
        images, rows, calls = mine
        assert images * rows * calls == form.batch * form.out_spatial[0]
        assert images > 1 or form.groups == 1
    large = form_of("weight", "last", 8, 1, 64, 64, (112, 112), (3, 3), *TAKEN["dense"][6:])
    assert cut(large).calls > 1


@there
@pytest.mark.parametrize("channels, row", [(1, 5), (7, 35), (8, 8)])
def test_a_line_of_few_channels_is_one_row(channels, row):
    """80 taps, 1 to 128 channels at 4x16000, took 15 to 32 ms in rows of one, 4 to 7 so."""
    form = form_of("weight", "last", 4, 1, channels, 16, (40,), (5,), (2,), ((2, 2),), (1,), (1,))
    x, y = (jax.ShapeDtypeStruct(shape, np.float32) for shape in (form.x_shape, form.y_shape))
    program = str(jax.make_jaxpr(lambda x, y: onednn.weight(x, y, form))(x, y))
    assert f"f32[1,{5 * channels // row},{row},16]" in program


@there
@given(drawn_forms("weight"))
def test_any_weight_gradient_that_it_takes(form):
    assume(onednn.supports(form) is None)
    x, y = normal(*form.x_shape), normal(*form.y_shape, seed=1)
    want = convolution(np.float64(x), np.float64(y), form)
    close(jax.jit(lambda x, y: onednn.weight(x, y, form))(x, y), want, 2e-5)


@pytest.mark.optimised
@there
@pytest.mark.parametrize("case", ["dense", "a single image", "many images", "few outputs"])
def test_nan_in_weight_gradients(case):
    """Turned, with x and y in each other's place, a NaN of x reaches all taps of its channel."""
    form = form_of("weight", "last", *WEIGHTS[case])
    x, y = normal(*form.x_shape), normal(*form.y_shape, seed=1)
    x[0, 0, 0, 1] = np.nan
    got = np.isfinite(onednn.weight(x, y, form))
    want = np.isfinite(convolution(np.float64(x), np.float64(y), form))
    assert not want.all() and not (got & ~want).any()
    assert (got == want).all() or turns(form)
    assert (got[:, :, 0] == want[:, :, 0]).all()


def refusal_of(kind="forward", **changes):
    sizes = (2, 1, 8, 8, (9, 9), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1))
    form = form_of(kind, "last", *sizes)
    return onednn.supports(Form(**{**vars(form), **changes}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dtype": np.dtype(np.float64)}, "float32, not float64"),
        ({"lhs_dilation": (2, 1)}, "no dilated input"),
        ({"padding": ((-1, 0), (1, 1))}, "no negative padding"),
        ({"padding": ((3, 0), (1, 1))}, "no padding that a window fits into"),
        ({"in_channels": 1, "groups": 8, "dilation": (2, 1)}, "without dilation"),
        ({"portable": True}, "kept on disk"),
        ({"kind": "weight", "portable": True}, "kept on disk"),
        ({"kind": "weight", "examples": 2}, "one weight gradient at a time"),
        ({"kind": "weight", "dilation": (1, 2)}, "dilated in the last dimension"),
        ({"kind": "weight", "groups": 8, "in_channels": 2}, "at least 4 channels"),
        ({"kind": "weight", "kernel": (1, 1)}, "several taps"),
        ({"kind": "weight", "groups": 8, "batch": 1, "out_spatial": (1, 9)}, "an even cut"),
    ],
)
def test_refusals_say_why(changes, words):
    assert words in refusal_of(**changes)


def test_the_work_of_a_few_output_channels_is_that_of_sixteen():
    """A 7x7 depthwise weight gradient, groups of 8 images to 1, took 12 times its estimate."""

    def outputs(groups, c, o):
        form = form_of("forward", "last", 2, groups, c, o, *TAKEN["dense"][4:])
        return onednn.work(form).out_channels

    assert [outputs(1, 64, o) for o in (1, 15, 16, 17)] == [16, 16, 16, 32]
    assert [outputs(8, c, o) for c, o in ((8, 1), (1, 1), (8, 8), (4, 4))] == [16, 1, 8, 4]
    turned = onednn.work(form_of("weight", "last", *WEIGHTS["few outputs"]))
    assert (turned.in_channels, turned.out_channels) == (32, 3)


def test_not_where_it_is_turned_off_or_unseen(monkeypatch):
    monkeypatch.setattr(_compat, "JAXLIB_VERSION", (0, 12, 0))
    monkeypatch.setenv("JAXCONV_ONEDNN", "off")
    assert not _onednn.wanted()
    monkeypatch.delenv("JAXCONV_ONEDNN")
    assert _onednn.wanted()
    monkeypatch.setenv("XLA_FLAGS", f"--{_onednn.XLA_OPTION}=true")
    assert not _onednn.wanted()
    monkeypatch.delenv("XLA_FLAGS")
    for unseen in (_onednn.UNSEEN, (0, 9, 2)):
        monkeypatch.setattr(_compat, "JAXLIB_VERSION", unseen)
        assert not _onednn.wanted()
    monkeypatch.setenv("JAXCONV_ONEDNN", "on")
    assert _onednn.wanted()


AVX2 = {"fma", "avx", "avx2"}
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


@pytest.mark.parametrize(
    ("flags", "allowed", "size"),
    [
        (AVX512, "", 64),
        (AVX512, "AVX512_CORE_VNNI", 64),
        (AVX512, "default", 64),
        (AVX512, "AVX2_VNNI", 32),
        (AVX512, "SSE41", 0),
        (AVX2 | {"avx512f"}, "", 32),
        (AVX2, "", 32),
        (AVX2, "AVX512_CORE", 32),
        (AVX2, "AVX", 0),
        ({"avx"}, "", 0),
        (set(), "", 0),
    ],
)
def test_the_vectors_it_computes_with(flags, allowed, size, monkeypatch):
    monkeypatch.setattr(_processor, "flags", lambda: flags)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    assert _onednn.vector_bytes.__wrapped__() == size
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", allowed)
    assert _onednn.vector_bytes.__wrapped__() == size


@pytest.mark.parametrize(
    ("size", "version", "safe"),
    [(64, (0, 10, 2), True), (32, (0, 10, 2), False), (32, (0, 11, 2), False), (32, (0, 12), True)],
)
def test_products_where_they_are_safe(size, version, safe, monkeypatch):
    monkeypatch.setattr(_onednn, "vector_bytes", lambda: size)
    monkeypatch.setattr(_onednn, "available", lambda: True)
    monkeypatch.setattr(_compat, "JAXLIB_VERSION", version)
    assert _onednn.products() == safe
    monkeypatch.setattr(_onednn, "available", lambda: False)
    assert not _onednn.products()


@there
def test_images_lie_channels_last_where_it_has_short_vectors(monkeypatch):
    """It has no fast code for others with AVX2: 7 seconds in place of 10 ms."""
    form = form_of("forward", "first", *TAKEN["dense"])
    x, w = normal(*form.x_shape), normal(*form.w_shape, seed=1)
    want = convolution(np.float64(x), np.float64(w), form)
    for fast, channels in ((True, 1), (False, 3)):
        monkeypatch.setattr(_onednn, "any_order", lambda fast=fast: fast)
        lowered = jax.jit(lambda x, w: onednn.forward(x, w, form)).lower(x, w)
        assert f"feature_dim\\22: \\22{channels}\\22" in lowered.as_text()
        close(lowered.compile()(x, w), want)


def python(code, *arguments, **environment):
    """Run `code` in a process of its own, which says what it found by failing or not."""
    clean = {k: v for k, v in os.environ.items() if k not in ("JAXCONV_ONEDNN", CACHE)}
    done = subprocess.run(
        [sys.executable, "-c", SETUP + code, *map(str, arguments)],
        env={**clean, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


CACHE = "JAX_COMPILATION_CACHE_DIR"
SETUP = """
import os, sys, warnings, numpy as np, jax, jaxconv
from jaxconv import _onednn, _onednn_calls
def grouped(x, w):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jaxconv.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=4
    )
def one_by_one(x, w):
    return jaxconv.conv2d(x, w, layout="NHWC", method="pointwise")
def step(x, w, ones):
    return (grouped(x, w) ** 2).sum() + (one_by_one(x, ones) ** 2).sum()
gradients = jax.jit(jax.grad(step, (0, 1, 2)))
"""


@pytest.mark.parametrize("how", ["turned off", "another system", "no such call"])
def test_the_same_numbers_without_it(how, tmp_path):
    """As on a machine that has no oneDNN: no call, no method of that name, the same results."""
    code = """
def missing(*args, **kwargs):
    raise jax.errors.JaxRuntimeError("UNIMPLEMENTED: no such custom call")
if sys.argv[1] == "another system":
    sys.platform = "darwin"
if sys.argv[1] == "no such call":
    _onednn_calls.convolution = missing
operands = [np.load(sys.argv[2])[name] for name in ("x", "w", "ones")]
lowered = gradients.lower(*operands)
assert "onednn" not in lowered.as_text() and not _onednn.available()
try:
    jaxconv.conv2d(operands[0], np.ones((4, 14, 3, 3), np.float32), method="onednn")
except NotImplementedError as error:
    assert "oneDNN" in str(error)
else:
    raise AssertionError("method='onednn' was taken")
found = lowered.compile()(*operands)
np.savez(sys.argv[2], **dict(zip(("x", "w", "ones"), found)))
"""
    file, ones = tmp_path / "arrays.npz", normal(32, 64, 1, 1, seed=2)
    np.savez(file, x=X, w=W, ones=ones)
    python(code, how, file, JAXCONV_ONEDNN="off" if how == "turned off" else "")

    def step(x, w, ones):
        y = jnp.einsum("nhwc,oc->nhwo", x, ones[..., 0, 0], precision="highest")
        return (by_lax(x, w) ** 2).sum() + (y**2).sum()

    want = jax.grad(step, (0, 1, 2))(X, W, ones)
    for name, wanted in zip(("x", "w", "ones"), want):
        close(np.load(file)[name], wanted)


@there
def test_programs_that_leave_the_process_have_none(tmp_path):
    """XLA cannot write the calls to a file: exports fail, and JAX's cache warns and has nothing."""
    code = """
import jax.export
from jaxconv import _cost
warnings.simplefilter("error")
rows = _cost.COEFFICIENTS[_cost.calibration()]  # whatever was fitted: oneDNN is chosen if it may be
rows.update({name: (1e-9,) + (0,) * 7 for name in rows if name.startswith("onednn/")})
operands = [np.ones(s, np.float32) for s in ((2, 14, 14, 64), (3, 3, 16, 64), (32, 64, 1, 1))]
assert "onednn" in gradients.lower(*operands).as_text()
exported = jax.export.export(gradients)(*operands)
assert "onednn" not in exported.mlir_module()
exported.call(*operands)  # export refuses calls that may change
jax.clear_caches()
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
assert "onednn" not in gradients.lower(*operands).as_text()
assert "onednn" not in {c.method for c in jaxconv.explain(gradients, *operands)}
gradients(*operands)
assert any(name.startswith("jit_step") for name in os.listdir(sys.argv[1]))
"""
    python(code, tmp_path)


@pytest.mark.parametrize(
    "settings",
    [
        'jax.config.update("jax_transfer_guard", "disallow")',
        'jax.config.update("jax_disable_jit", True)',
        'jax.config.update("jax_enable_x64", True)',
        'jax.config.update("jax_debug_nans", True)',
        'jax.config.update("jax_numpy_dtype_promotion", "strict")',
    ],
)
@there
def test_it_is_found_under_any_settings(settings):
    python(settings + "\nassert _onednn.available()")


@there
def test_nothing_is_overwritten_with_short_vectors():
    """jaxlib 0.10's batched products with AVX2 wrote where they must not, or stood still."""
    code = """
assert _onednn.vector_bytes() == 32
numbers = np.random.default_rng(0)
for layout in ("NHWC", "NCHW"):
    x = numbers.standard_normal((8, 8, 8, 384), np.float32)
    x = x if layout == "NHWC" else x.transpose(0, 3, 1, 2)
    w = numbers.standard_normal((384, 384, 3, 3), np.float32)
    def step(conv):
        def loss(x, w):
            return (conv(x, w) ** 2).sum()
        return jax.jit(jax.grad(loss, (0, 1)))
    def conv(x, w, method):
        return jaxconv.conv2d(x, w, padding=1, layout=layout, method=method)
    want = step(lambda x, w: conv(x, w, "lax"))(x, w)
    for method in ("auto", "winograd2", "onednn", "im2col"):
        program = step(lambda x, w: conv(x, w, method))
        for _ in range(30):
            found = jax.block_until_ready(program(x, w))
        for one, other in zip(found, want):
            assert float(abs(one - other).max()) < 1e-4 * float(abs(other).max()), method
"""
    python(code, ONEDNN_MAX_CPU_ISA="AVX2", JAXCONV_TUNE="off")


@there
def test_in_loops_and_in_branches():
    def looped(conv):
        def body(x, _):
            return jnp.tanh(conv(x, W) / 10), None

        return lambda x: lax.scan(body, x, None, length=4)[0]

    def branches(conv):  # independent of each other: XLA may run them at the same time
        return lambda x: sum(conv(x + i, W) * (i + 1) for i in range(8))

    for program in (looped, branches):
        want = jax.jit(program(by_lax))(X)
        compiled = jax.jit(program(by_name))
        for _ in range(20):
            close(compiled(X), want, 1e-4)


@there
def test_from_many_threads():
    compiled = jax.jit(by_name)
    want = np.asarray(by_lax(X, W))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda i: np.asarray(compiled(X * i, W)), range(1, 60))
        for i, y in enumerate(found, 1):
            close(y, i * want)


@pytest.mark.optimised
@there
def test_nan_and_inf_reach_what_they_reach_in_lax():
    x = X.copy()
    x.flat[1000], x.flat[4321] = np.nan, np.inf
    want = np.asarray(by_lax(x, W))
    np.testing.assert_array_equal(np.isfinite(by_name(x, W)), np.isfinite(want))


@there
def test_vmap_and_shard_map():
    xs = np.stack([X, 2 * X])
    close(jax.vmap(by_name, (0, None))(xs, W), jax.vmap(by_lax, (0, None))(xs, W))
    form = form_of("forward", "last", *TAKEN["grouped"])
    x, w = normal(*form.x_shape), normal(*form.w_shape, seed=1)
    y = jax.vmap(lambda x: onednn.forward(x, w, form))(np.stack([x, 3 * x]))
    close(y[1], 3 * y[0])
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, whole = jax.P("batch"), jax.P()

    def gradients(conv):
        return jax.grad(lambda x, w: (conv(x, w) ** 2).sum(), (0, 1))

    mapped = jax.shard_map(
        gradients(by_name), mesh=mesh, in_specs=(rows, whole), out_specs=(rows, whole)
    )
    for got, want in zip(jax.jit(mapped)(X, W), gradients(by_lax)(X, W)):
        close(got, want)


@there
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "complex64", "float64"])
def test_other_dtypes(dtype):
    with jax.enable_x64(dtype == "float64"):
        x, w = jnp.asarray(X, dtype), jnp.asarray(W, dtype)
        want = np.asarray(grouped(x, w, method="lax"))
        tolerance = {"bfloat16": 1e-2, "float16": 1e-3}.get(dtype, 1e-5)
        assert grouped(x, w).dtype == want.dtype
        close(np.asarray(grouped(x, w), want.dtype), want, tolerance)


@there
def test_gradients_of_a_method_asked_for_by_name():
    def gradients(conv):
        return jax.jit(jax.grad(lambda x, w: (conv(x, w) ** 2).sum(), (0, 1)))(X, W)

    for got, want in zip(gradients(by_name), gradients(by_lax)):
        close(got, want)


def test_transposes_are_counted_where_it_needs_them(monkeypatch):
    """A stem of 3 to 24 channels at 8x256x256 took 10 to 19 ms so, and 6 by rows (AVX2)."""
    first, last = (form_of("forward", layout, *TAKEN["dense"]) for layout in ("first", "last"))
    monkeypatch.setattr(_onednn, "any_order", lambda: True)
    usual = [seconds_of(onednn, form) for form in (first, last)]
    monkeypatch.setattr(_onednn, "any_order", lambda: False)
    more = [seconds_of(onednn, form) - s for form, s in zip((first, last), usual)]
    numbers = np.prod(first.x_shape) + np.prod(first.y_shape)
    assert more[0] == pytest.approx(4 * numbers / 6e9) and more[1] == 0


@pytest.mark.parametrize("early", [True, False])
def test_depthwise_kernels_channels_first_take_longer_on_early_avx512(early, monkeypatch):
    """ConvNeXt's 7x7, 192 channels at 8x56x56: 50 ms, and 17 by `depthwise` (an Intel Xeon)."""
    monkeypatch.setattr(_onednn, "any_order", lambda: True)
    monkeypatch.setattr(_processor, "early_avx512", lambda: early)
    found = {
        (layout, case): onednn.besides(form_of("forward", layout, *TAKEN[case]))
        for layout in ("first", "last")
        for case in ("depthwise", "dense", "grouped")
    }
    assert {key for key, seconds in found.items() if seconds} == (
        {("first", "depthwise")} if early else set()
    )


# --- products ----------------------------------------------------------------------------------


def any_form(portable=False):
    some = form_of("weight", "last", 1, 1, 2, 2, (3,), (1,), (1,), ((0, 0),), (1,), (1,))
    return Form(**{**vars(some), "portable": portable})


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
@pytest.mark.parametrize("portable", [False, True])
def test_products(transpose_a, transpose_b, batch, portable):
    a = normal(*batch, *((7, 4) if transpose_a else (4, 7)))
    b = normal(*batch, *((6, 7) if transpose_b else (7, 6)), seed=1)
    want = (a.swapaxes(-1, -2) if transpose_a else a) @ (b.swapaxes(-1, -2) if transpose_b else b)

    def product(a, b):
        return _products.product(
            a, b, any_form(portable), transpose_a=transpose_a, transpose_b=transpose_b
        )

    close(product(a, b), want)
    close(jax.vmap(product)(np.stack([a, 2 * a]), np.stack([b, b])), np.stack([want, 2 * want]))
    called = "__onednn$matmul" in jax.jit(product).lower(a, b).as_text()
    assert called == (_onednn.products() and not portable)


def test_one_matrix_for_many():
    if not _onednn.products():
        pytest.skip("products are XLA's here")
    a, b = normal(1, 4, 7), normal(5, 7, 6, seed=1)
    close(_products.product(a, b, any_form()), a @ b)


def test_products_of_other_dtypes_are_xlas():
    with jax.enable_x64(True):
        a, b = np.float64(normal(3, 4)), np.float64(normal(4, 5))
        got = _products.product(jnp.asarray(a), jnp.asarray(b), any_form())
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, a @ b, rtol=1e-12)


def test_what_would_end_the_process_is_an_error():
    x, w = jnp.ones((1, 6, 4)), jnp.ones((3, 4, 8))
    known = {
        "images": (0, 2, 1), "kernel": (2, 1, 0), "strides": (1,), "padding": ((1, 1),),
        "dilation": (1,), "groups": 1,
    }  # fmt: skip
    wrong = [{"groups": 2}, {"strides": (2,)}, {"padding": ((0, 1),)}, {"kernel": (1, 2, 0)}]
    for changes in wrong:
        with pytest.raises(ValueError, match="shapes that fit"):
            _onednn_calls.convolution(x, w, (1, 6, 8), **{**known, **changes})
    with pytest.raises(ValueError, match="no negative padding"):
        _onednn_calls.convolution(x, w, (1, 6, 8), **{**known, "padding": ((-1, 3),)})
    with pytest.raises(ValueError, match="make a product"):
        _onednn_calls.product(jnp.ones((3, 4)), jnp.ones((3, 4)))
    with pytest.raises(ValueError, match="make a product"):
        _onednn_calls.product(jnp.ones((3, 0)), jnp.ones((0, 4)))
    with pytest.raises(TypeError, match="takes float32"):
        _onednn_calls.product(jnp.ones((3, 4), jnp.bfloat16), jnp.ones((4, 3), jnp.bfloat16))


def spec_of(x, w, portable=False):
    params = {
        "window_strides": (1, 1), "padding": ((1, 1), (1, 1)), "lhs_dilation": (1, 1),
        "rhs_dilation": (1, 1), "feature_group_count": 4, "batch_group_count": 1,
        "dimension_numbers": lax.conv_dimension_numbers(x.shape, w.shape, GROUPED),
        "precision": None, "preferred_element_type": None,
    }  # fmt: skip
    return ConvSpec.of(x, w, params, portable=portable)


@there
def test_the_choice_considers_it_unless_the_program_travels():
    names = {option.method for option in choose(spec_of(X, W)).considered}
    assert "onednn" in names
    travels = choose(spec_of(X, W, portable=True))
    assert "onednn" not in {option.method for option in travels.considered}
    assert "onednn" in dict(travels.refused)


def test_what_tune_found_holds_for_programs_that_travel():
    assert _tuned.key(spec_of(X, W)) == _tuned.key(spec_of(X, W, portable=True))
