"""``python -m jaxconv bench``: the tables are what they say, both sides compute the same."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxconv.cli.app import main
from jaxconv.cli.bench.layers import LAYERS, Layer
from jaxconv.cli.bench.more_layers import MORE_LAYERS
from jaxconv.cli.bench.networks import NETWORKS
from jaxconv.cli.bench.networks_jax import network_step
from jaxconv.cli.bench.reports import REPORTS
from jaxconv.cli.bench.run import (
    TABLES,
    Case,
    Result,
    _difference,
    cases,
    geometric_mean,
    summary,
)
from jaxconv.cli.bench.timing import Timing, compare, measure, training_step

needs_torch = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="PyTorch is a test dependency on Python 3.11 only"
)
TINY = (
    Layer("plain", "t", 2, (6, 7), (3, 4), (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 2)),
    Layer("grouped", "t", 2, (9,), (4, 8), (3,), (1,), ((1, 1),), (1,), groups=2),
    Layer("causal", "t", 1, (10,), (4, 4), (3,), (1,), ((4, 0),), (2,), groups=4),
    Layer("volume", "t", 1, (4, 5, 6), (2, 3), (3, 1, 2), (1,) * 3, ((1, 1),) * 3, (1,) * 3),
)  # fmt: skip


def test_the_table_is_wide():
    assert len(LAYERS) >= 45
    assert len({layer.name for layer in LAYERS}) == len(LAYERS)
    families = {layer.family for layer in LAYERS}
    assert families >= {
        "dense", "1x1", "stem", "patchify", "depthwise", "grouped", "dilated", "transposed", "1-D",
        "3-D",
    }  # fmt: skip
    assert {layer.ndim for layer in LAYERS} == {1, 2, 3}
    assert min(layer.batch for layer in LAYERS) == 1 < max(layer.batch for layer in LAYERS)


@pytest.mark.parametrize("layout", ["last", "first"])
def test_every_layer_is_a_valid_convolution(layout):
    for layer in LAYERS:
        x, w, y = (jax.ShapeDtypeStruct(s, jnp.float32) for s in layer.shapes(layout))
        function = layer.function(layout, lax.conv_general_dilated)
        assert jax.eval_shape(function, x, w).shape == y.shape, layer.name
        value, dx, dw = jax.eval_shape(training_step(function), x, w, y)
        assert (value.shape, dx.shape, dw.shape) == (y.shape, x.shape, w.shape)


def test_flops_of_known_layers():
    flops = {layer.name: layer.forward_flops for layer in LAYERS}
    assert flops["ResNet-50 3x3 64@56"] == 2 * 8 * 56 * 56 * 64 * 64 * 9
    assert flops["MobileNetV2 dw3x3 144@56"] == 2 * 8 * 56 * 56 * 144 * 9
    assert flops["U-Net T2x2 s2 128-64@56"] == 2 * 2 * 56 * 56 * 128 * 64 * 4


@needs_torch
@pytest.mark.parametrize("layer", TINY, ids=lambda layer: layer.name)
def test_both_sides_run_the_same_layer(layer):
    from jaxconv.cli.bench.torch_process import layer_program

    fields = json.loads(json.dumps(dataclasses.asdict(layer)))
    function = layer.function("first", lax.conv_general_dilated)
    expected = training_step(function)(*map(jnp.asarray, layer.arrays("first")))
    for layout in ("first", "last"):
        y, (dx, dw) = layer_program(fields, "step", layout)()
        for ours, theirs in zip(expected, (y, dx, dw), strict=True):
            np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=2e-5)
        forward = layer_program(fields, "forward", layout)()
        np.testing.assert_allclose(forward.numpy(), expected[0], atol=2e-5)


@needs_torch
def test_transposed_layers_have_the_same_shape_on_both_sides():
    from jaxconv.cli.bench.torch_process import layer_program

    for layer in LAYERS:
        if layer.transposed:
            small = dataclasses.replace(layer, batch=1, channels=(2, 3))
            y = layer_program(dataclasses.asdict(small), "forward", "first")()
            assert tuple(y.shape) == small.shapes("first")[2]


@needs_torch
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_both_sides_train_the_same_network(network):
    from jaxconv.cli.bench.networks_torch import network_program

    size = (64,) if len(network.size) == 1 else (32, 32)
    small = dataclasses.replace(network, batch=2, size=size)
    step, (parameters, x) = network_step(small, "last", lax.conv_general_dilated)
    step = jax.jit(step)
    program = network_program(small, "last")
    for _ in range(2):
        loss, parameters = step(parameters, x)
        # The second loss has gone through every gradient.
        np.testing.assert_allclose(program(), loss, rtol=2e-4)


def test_networks_agree_in_both_layouts():
    for network in NETWORKS:
        losses = []
        for layout in ("last", "first"):
            step, args = network_step(network, layout, lax.conv_general_dilated)
            losses.append(jax.eval_shape(step, *args)[0])
        assert losses[0].shape == losses[1].shape == ()


def test_every_report_can_be_built():
    names = " ".join(report.name for report in REPORTS)
    for where in (
        "jax#23713", "equinox#970", "jax#12868", "jax#5227", "jax#13800", "jax#26266", "jax#31662",
        "jax#1606", "netket#1870",
    ):  # fmt: skip
        assert where in names
    for report in REPORTS:
        with jax.enable_x64(report.x64):
            function, args = report.build(lax.conv_general_dilated)
            out = jax.tree.leaves(jax.eval_shape(function, *args))
        assert out and all(np.prod(leaf.shape) > 0 or leaf.shape == () for leaf in out)
        if report.x64:
            assert {leaf.dtype for leaf in out} == {np.dtype("float64")}


@needs_torch
def test_every_report_has_another_side():
    from jaxconv.cli.bench.reports_torch import PROGRAMS

    for report in REPORTS:
        assert any(report.name.startswith(key) for key in PROGRAMS)


def test_compare_times_each_function():
    x = jnp.ones((8, 8))
    timings = compare({"a": lambda x: x + 1, "b": jax.jit(lambda x: x @ x)}, (x,), rounds=2)
    for timing in timings.values():
        assert 0 < timing.low <= timing.seconds <= timing.high
        assert timing.calls >= 4
        assert timing.compile_seconds and timing.temporary_bytes is not None


def test_a_ratio_is_taken_round_by_round():
    # The machine was ten times slower in the last two rounds; one contender had them alone.
    mine, other = (
        Timing(1.0, 1, 1, 5, rounds) for rounds in ((2.0, 2, 2, 20, 20), (1.0, 1, 1, 10))
    )
    assert mine.over(other) == 2.0
    assert Timing(3.0, 3, 3, 1, (3.0,)).over(other) == 3.0


class Script:
    """A contender whose times are written down beforehand."""

    compile_seconds: float | None = None
    temporary_bytes: int | None = None

    def __init__(self, log, name, seconds):
        self.log, self.name, self.seconds = log, name, seconds

    def sample(self, calls):
        self.log.append(self.name)
        return [self.seconds] * calls


def test_rounds_are_interleaved_and_turn():
    log = []
    contenders = {name: Script(log, name, 0.02) for name in "abc"}
    timings = measure(contenders, rounds=3)
    assert log == [*"aabbcc", *"abc", *"cba", *"bca"]
    assert timings["a"] == Timing(0.02, 0.02, 0.02, 6, (0.02,) * 3)


def test_a_very_slow_contender_is_called_once():
    log = []
    timings = measure({"slow": Script(log, "s", 60.0), "quick": Script(log, "q", 0.5)}, rounds=9)
    assert log.count("s") == 1 and timings["slow"].calls == 1
    # Three seconds of timed calls are enough of it.
    assert timings["quick"].calls == 6


def result(family, ours, lax_seconds, torch_seconds):
    case = Case("layers", family, family, "forward", "last", 1, None, None)  # pyright: ignore
    seconds = {"jaxconv": ours, "lax": lax_seconds, "torch": torch_seconds}
    return Result(case, {k: Timing(v, v, v, 1) for k, v in seconds.items() if v})


def test_summary_is_the_geometric_mean():
    rows = summary(
        [result("a", 1.0, 4.0, 2.0), result("b", 8.0, 8.0, 1.0), result("b", 1, 1, None)]
    )
    everything = rows[0]
    assert everything["cases"] == 3
    assert everything["jaxconv_over_torch"] == pytest.approx(2.0)  # (1/2 * 8) ** 1/2
    assert everything["lax_over_torch"] == pytest.approx(4.0)
    assert everything["jaxconv_over_torch_worst"] == 8.0
    assert [row["family"] for row in rows] == ["", "a", "b"]
    assert geometric_mean([None]) is None


def test_only_selects_by_name_and_family():
    assert {c.family for c in cases(["layers"], ["last"], ["PATCHIFY"])} == {"patchify"}
    assert {c.name for c in cases(["reports"], ["last"], ["netket", "jax#5227"])} == {
        "netket#1870 10x10 k3, vmap(grad) 256", "jax#5227 300x300*300x300 (SciPy)",
    }  # fmt: skip
    both = cases(["layers"], ["last", "first"])
    assert len(both) == 4 * len(LAYERS)


def test_more_layers_are_others_and_are_timed_when_asked_for():
    more = cases(["more"], ["last"])
    assert len(more) == 2 * len(MORE_LAYERS) and {c.table for c in more} == {"more"}
    assert not {c.name for c in more} & {c.name for c in cases(TABLES, ["last"])}
    described = [dataclasses.replace(x, name="", family="") for x in (*LAYERS, *MORE_LAYERS)]
    assert len(set(described)) == len(described)


def test_a_run_writes_json_and_a_picture(tmp_path, capsys):
    file, picture = tmp_path / "r.json", tmp_path / "r.png"
    options = ["--only", "EfficientNet SE", "--layout", "last", "--rounds", "1"]
    sides = ["--json", str(file), "--plot", str(picture)]
    if sys.version_info >= (3, 12):
        sides.append("--no-torch")
    assert main(["bench", *options, *sides]) == 0
    out = capsys.readouterr().out
    assert "EfficientNet SE" in out and "Geometric means" in out
    record = json.loads(file.read_text())
    assert record["machine"]["matmul_gflops"] > 0 and record["machine"]["jax"] == jax.__version__
    assert [row["what"] for row in record["results"]] == ["forward", "step"]
    for row in record["results"]:
        assert row["timings"]["lax"]["seconds"] > 0
        assert row["notes"] == []
        assert row["difference"] < 1e-5
        assert row["jaxconv_over_lax"] > 0
        if sys.version_info < (3, 12):
            assert row["jaxconv_over_torch"] > 0 and row["lax_over_torch"] > 0
    assert record["summary"][0]["cases"] == 1
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_list_prints_the_rows(capsys):
    assert main(["bench", "--list", "--only", "wavenet"]) == 0
    out = capsys.readouterr().out
    assert "WaveNet k2 d64 64-128" in out and "WaveNet-like" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "zzz"], "--only must match a row's name or family; got zzz"),
        (["--json", "/nowhere/a.json"], "the folder of --json must exist; got /nowhere/a.json"),
        (["--rounds", "0"], "--rounds"),
        (["--layout", "middle"], "middle"),
        (["--torch-python", "/nowhere/python"], "one with PyTorch; got /nowhere/python"),
        (["--torch-python", "/bin/true"], "one with PyTorch; got /bin/true"),
        (["--torch-python", "/bin/echo"], "one with PyTorch; got /bin/echo"),
    ],
)
def test_mistakes_end_with_one_sentence_and_code_2(options, message, capsys):
    assert main(["bench", *options]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("jaxconv bench: ") and told.count("\n") == 1


def test_differences_count_by_output_but_not_rounding():
    ones, zeros = np.ones(3), np.zeros(3)
    assert _difference((ones, zeros), (ones, zeros)) == _difference(zeros, zeros) == 0
    assert _difference((ones, 1e-3 * ones), (ones, 2e-3 * ones)) == pytest.approx(0.5)
    assert _difference((ones, -1e-12 * ones), (ones, 1e-12 * ones)) < 1e-5
