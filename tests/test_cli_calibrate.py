"""``python -m jaxconv calibrate``: what is measured comes back as estimates."""

import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest

from jaxconv._calibration import COEFFICIENTS
from jaxconv._choose import options, view_of
from jaxconv._cost import estimate, features, generation, row
from jaxconv._methods import METHODS
from jaxconv.cli.app import main
from jaxconv.cli.calibrate import command
from jaxconv.cli.calibrate.command import modules
from jaxconv.cli.calibrate.fit import beginnings, factors, fit
from jaxconv.cli.calibrate.sample import convolutions
from jaxconv.cli.errors import UserError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kind", "nonsense"], "--kind must be one of .*dense.*; got nonsense"),
        (["--only", "nonsense"], "--only must be one of .*taps.*; got nonsense"),
        (["--changed", "nonsense"], "--changed knows no method nonsense"),
        (["--changed", "taps"], "--changed needs --blend; got taps"),
        (["--data", "/nowhere/x"], "the folder of --data must exist; got /nowhere/x"),
        (["--output", __file__], "--output must name a folder; got the file"),
    ],
)
def test_mistakes_end_with_one_sentence_and_code_2(options, message, capsys):
    """A kind that is none was looked for without end."""
    assert main(["calibrate", "--seconds", "1", *options]) == 2
    assert re.match(rf"jaxconv calibrate: .*{message}.*\.\n$", capsys.readouterr().err)


def test_a_damaged_line_of_data_is_named(tmp_path):
    file = tmp_path / "data.jsonl"
    file.write_text('{"jax": "0.10"}\n')
    assert command.read(file) == [{"jax": "0.10"}]
    file.write_text('{"jax": "0.10"}\n{"jax": "0.\n')
    with pytest.raises(UserError, match=r"data\.jsonl, whose line 2 is damaged\. Delete that"):
        command.read(file)


def records(version, times):
    """As if methods had taken `times(row)` times their estimates with AVX-512 on random layers."""
    found = []
    for layer, direction, spec in itertools.islice(convolutions(3), 60):
        seconds = {}
        for option in options(spec)[0]:
            form, method = view_of(spec, option.kind).form, METHODS[option.method]
            took = estimate(method, form, generation())
            if took:
                name = f"{option.kind}/{option.method}"
                seconds[name] = took * times(row(method.name, form)) + method.besides(form)
        told = {"layer": layer._asdict(), "direction": direction, "seconds": seconds}
        found.append({"jax": version, "kind": layer.kind, **told})
    return found


def written(texts):
    """The coefficients in the texts of modules, together."""
    tables = {}
    for text in texts.values():
        names = {}
        exec(text, names)
        tables |= names["COEFFICIENTS"]
    return tables


def test_avx2_starts_from_the_estimates_for_avx512(monkeypatch):
    """Times how much longer it took: what was not measured takes as long as its like."""
    monkeypatch.setattr(command, "TOLD", 400)
    measured = records(generation() + " avx2", lambda name: 6.0 if name.startswith("lax/") else 2.0)
    texts = modules(measured, ())
    version = generation().replace(".", "_")
    ends = ("forward_first", "forward_last", "weight_first", "weight_last")
    assert list(texts) == [f"jax_{version}_avx2_{end}.py" for end in ends]
    found, before = written(texts), COEFFICIENTS[generation()]
    ratios = {"lax": [], "scatter": []}
    for _, _, spec in itertools.islice(convolutions(0), 200):
        form = view_of(spec, "forward").form
        for method, longer in ratios.items():
            name = row(method, form)
            if name in found and name in before:
                longer.append(
                    np.dot(found[name], features(form)) / np.dot(before[name], features(form))
                )
    assert np.median(ratios["lax"]) == pytest.approx(6, rel=0.2)
    assert np.median(ratios["scatter"]) == pytest.approx(2, rel=0.2)


def test_what_was_known_counts_less_the_more_was_measured(monkeypatch):
    """As much as the measurements of a row, and no more than MOST_TOLD of them."""
    monkeypatch.setattr(command, "TOLD", 200)
    monkeypatch.setattr(command, "MOST_TOLD", 2)
    measured = command.samples(records(generation(), lambda name: 2.0))
    both = command.blended(measured, generation(), ())
    assert both[: len(measured)] == measured
    now = Counter(name for name, *_ in measured)
    told = Counter()
    for name, _, _, counts in both[len(measured) :]:
        told[name] += counts
    common = now.keys() & told.keys()
    assert max(now[name] for name in common) > command.MOST_TOLD
    for name in common:
        assert told[name] <= min(now[name], command.MOST_TOLD) + 1e-9


def test_many_measurements_in_the_other_layout_do_not_outvote_ones_own():
    """Of 10 and 200, where channels last take three times as long, those were met in both."""
    rng = np.random.default_rng(0)
    quantities = np.exp(rng.uniform(0, 8, (210, 8)))
    seconds = quantities[:, 1] * 1e-9 * np.where(np.arange(210) < 10, 1, 3)
    layouts = ["first"] * 10 + ["last"] * 200
    found = fit(
        [
            (f"lax/forward/{layout}/dense", tuple(q), took, 1.0)
            for layout, q, took in zip(layouts, quantities, seconds, strict=True)
        ]
    )
    own = found["lax/forward/first/dense"]
    np.testing.assert_allclose(quantities[:10] @ own, seconds[:10], rtol=0.1)


@pytest.mark.parametrize("large", [5, 30])
def test_what_is_beyond_the_cache_is_fitted_to_enough_of_it(large):
    """A few large arrays that took much longer say nothing of the next."""
    rng = np.random.default_rng(0)
    quantities = np.exp(rng.uniform(0, 8, (60, 8)))
    quantities[large:, -1] = 0
    seconds = quantities[:, 1] * 1e-9 + quantities[:, -1] * 1e-7
    found = fit([("lax/forward/last/dense", tuple(q), t, 1.0) for q, t in zip(quantities, seconds)])
    assert (found["lax/forward/last/dense"][-1] > 0) == (large == 30)


def test_a_factor_of_few_measurements_stays_near_that_of_the_shorter_name():
    many, few = [("a/x", 2.0)] * 40, [("a/y", 8.0)]
    longer = factors(many + few)
    mean = math.exp((40 * math.log(2) + math.log(8)) / 41)
    assert longer("b") == pytest.approx(mean)
    assert longer("a/x") == pytest.approx(longer("a/x-strided")) == pytest.approx(2, rel=0.01)
    assert 2 < longer("a/y") < 4
    assert factors(many + few * 40)("a/y") > 7
    assert beginnings("a/b-c") == ["a/b-c", "a/b", "a", ""]


def test_coefficients_come_back():
    """Seconds that are linear in the quantities are met, in a file for each form."""
    rng = np.random.default_rng(0)
    true = np.array([1e-5, 1e-11, 0, 2e-11, 0, 3e-9, 1e-10, 2e-10])
    quantities = np.exp(rng.uniform(0, 8, (60, 8))) * [1, 1e5, 1e4, 1e4, 1e3, 1e2, 1e3, 1e3]
    rows = fit([("lax/forward/last/dense", tuple(q), float(q @ true), 1.0) for q in quantities])
    for layout in "last", "first":
        np.testing.assert_allclose(
            quantities @ rows[f"lax/forward/{layout}/dense"], quantities @ true, rtol=0.02
        )
    texts = modules(records(generation(), lambda name: 1.0))
    ends = [tuple(name.removesuffix(".py").split("_")[-2:]) for name in texts]
    assert ends == list(itertools.product(("forward", "weight"), ("first", "last")))
    assert any(name.startswith("lax/") for name in written(texts))
