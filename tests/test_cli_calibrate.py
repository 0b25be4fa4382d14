"""``python -m jaxconv calibrate``: what is measured comes back as estimates."""

import itertools
import math

import numpy as np
import pytest

from jaxconv import _processor
from jaxconv._choose import options, view_of, wide_seconds
from jaxconv._cost import generation, row
from jaxconv._methods import METHODS
from jaxconv.cli.app import main
from jaxconv.cli.calibrate.command import factor_module, modules
from jaxconv.cli.calibrate.fit import fit, fit_factors
from jaxconv.cli.calibrate.sample import convolutions


def records(times):
    """As if every method had taken `times(row)` times its estimate on random layers."""
    found = []
    for layer, direction, spec in itertools.islice(convolutions(3), 60):
        seconds = {}
        for option in options(spec)[0]:
            form, method = view_of(spec, option.kind).form, METHODS[option.method]
            name = f"{option.kind}/{option.method}"
            seconds[name] = wide_seconds(method, form) * times(row(method.name, form))
        told = {"layer": layer._asdict(), "direction": direction, "seconds": seconds}
        found.append({"jax": generation(), "kind": layer.kind, **told})
    return found


def written(texts, variable):
    """The tables in the texts of modules, together."""
    tables = {}
    for text in texts.values():
        names = {}
        exec(text, names)
        tables |= names[variable]
    return tables


def test_factors_come_back():
    found = factor_module(records(lambda name: 6.0 if name.startswith("lax/") else 2.0))
    (name,) = found
    assert name == f"jax_{generation().replace('.', '_')}_avx2.py"
    factors = written(found, "FACTORS")
    of_lax = {name: value for name, value in factors.items() if name.startswith("lax")}
    others = {name: value for name, value in factors.items() if not name.startswith("lax")}
    assert 2 < others.pop("") < 6  # the mean of all
    assert all(4 < value <= 6 for value in of_lax.values()) and max(of_lax.values()) > 5.5
    assert others and all(2 <= value < 3.5 for value in others.values())


def test_a_factor_of_few_measurements_stays_near_that_of_the_shorter_name():
    many, few = [("a/x", 2.0)] * 40, [("a/y", 8.0)]
    factors = fit_factors(many + few)
    assert factors[""] == pytest.approx(math.exp((40 * math.log(2) + math.log(8)) / 41), rel=0.01)
    assert 2 < factors["a/y"] < 4 and "a/x" not in factors  # as the mean of all
    assert fit_factors(many + few * 40)["a/y"] > 7


def test_coefficients_come_back():
    """Seconds that are linear in the quantities are met, in a file for each form."""
    rng = np.random.default_rng(0)
    true = np.array([1e-5, 1e-11, 0, 2e-11, 0, 3e-9, 1e-10])
    quantities = np.exp(rng.uniform(0, 8, (60, 7))) * [1, 1e5, 1e4, 1e4, 1e3, 1e2, 1e3]
    rows = fit([("lax/forward/last/dense", tuple(q), float(q @ true), 1.0) for q in quantities])
    for layout in "last", "first":
        np.testing.assert_allclose(
            quantities @ rows[f"lax/forward/{layout}/dense"], quantities @ true, rtol=0.02
        )
    texts = modules(records(lambda name: 1.0))
    assert [name.rpartition("_")[2] for name in texts] == ["forward.py", "weight.py"]
    assert any(name.startswith("lax/") for name in written(texts, "COEFFICIENTS"))


def test_blend_is_for_the_processors_that_the_estimates_are_of(monkeypatch, capsys):
    monkeypatch.setattr(_processor, "narrow", lambda: True)
    assert main(["calibrate", "--blend", "--output", "x"]) == 2
    told = capsys.readouterr().err
    assert "--blend needs a processor with AVX-512; got AVX2. Leave it out" in told
