"""tune and its files: winners are kept, found again, and damaged files are survived."""

import concurrent.futures

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxconv
from jaxconv import _tuned
from jaxconv._explain import explanation


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXCONV_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("JAXCONV_TUNE", raising=False)
    _tuned.decide.cache_clear()
    yield tmp_path
    _tuned.decide.cache_clear()


def layer(x, w):
    return jaxconv.conv2d(x, w, padding=1, groups=16)


ARGS = (jnp.ones((2, 16, 12, 12)), jnp.ones((16, 1, 3, 3)))


def spec_of_layer():
    return explanation(layer, *ARGS)[0].spec


def test_winners_are_measured_kept_and_used(folder):
    tuning = jaxconv.tune(layer, *ARGS)
    (result,) = tuning
    assert result.method in result.seconds and "lax" in result.seconds
    assert all(s > 0 for s in result.seconds.values())
    assert min(result.seconds, key=result.seconds.get) == result.method
    assert len(list(folder.rglob("*.json"))) == 1
    (found,) = explanation(layer, *ARGS)
    assert found.method == result.method and "by tune" in found.why
    assert result.method in str(tuning) and repr(tuning) == "<Tuning: 1 convolution>"
    np.testing.assert_allclose(jax.jit(layer)(*ARGS)[0, 0, 1, 1], 9)


def test_a_remembered_method_overrules_the_estimate(monkeypatch):
    spec = spec_of_layer()
    _tuned.remember(spec, "lax", "forward", {"lax": 1e-9})
    assert explanation(layer, *ARGS)[0].method == "lax"
    monkeypatch.setenv("JAXCONV_TUNE", "off")
    _tuned.decide.cache_clear()
    assert "estimated" in explanation(layer, *ARGS)[0].why


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"format": 99, "method": "lax"}']
)
def test_a_damaged_file_is_reported_and_ignored(text):
    spec = spec_of_layer()
    path = _tuned.remember(spec, "lax", "forward", {"lax": 1.0})
    path.write_text(text)
    _tuned.decide.cache_clear()
    with pytest.warns(RuntimeWarning, match="damaged file of measured times is ignored"):
        assert "estimated" in explanation(layer, *ARGS)[0].why


def test_an_unwritable_or_missing_folder_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("JAXCONV_CACHE_DIR", str(tmp_path / "not" / "there"))
    assert "estimated" in explanation(layer, *ARGS)[0].why


def test_many_writers_leave_a_whole_file():
    spec = spec_of_layer()

    def write(number):
        _tuned.remember(spec, "lax", "forward", {"lax": 1.0 + number})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))
    choice = _tuned.recall(spec)
    assert choice is not None and choice.method == "lax"


def test_the_folder_names_machine_and_versions(folder):
    name = str(_tuned.folder())
    assert jax.__version__ in name and f"{_tuned.threads()}-threads" in name
