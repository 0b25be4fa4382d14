"""``python -m jaxconv explain``: layers by name, functions of a script, a user's mistakes."""

import pytest

from jaxconv.cli.app import main

SCRIPT = """
import jaxconv

def net(x, w):
    return jaxconv.conv2d(x, w, padding=1)

three = 3
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def test_a_layer_by_name(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["explain", "efficientnet se"]) == 0
    out = capsys.readouterr().out
    assert "EfficientNet SE 1x1 1152-48@1" in out
    assert "source" not in out  # no line of the user's
    for direction in ("forward", "input gradient", "weight gradient"):
        assert direction in out


def test_a_function_of_a_script(script, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    options = ["--arg", "2,3,8,8", "--arg", "4,3,3,3:float32", "--candidates"]
    assert main(["explain", f"{script}:net", *options]) == 0
    out = capsys.readouterr().out
    assert "2x3x8x8" in out and "4x3x3x3" in out
    assert "(estimate)" in out and "lax" in out
    assert "script.py:5" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["no such layer"], "TARGET must be script.py:function or part of a layer's name"),
        (["LeNet", "--arg", "3"], "--arg belongs to script.py:function; got the layer name LeNet"),
        (["/nowhere/x.py:f"], "the script must be a file; got /nowhere/x.py"),
        (["{script}:three"], "the script must define a function three"),
        (["{script}:net", "--arg", "3,x"], "--arg must be sizes and perhaps a dtype"),
        (["{script}:net", "--arg", "3:float99"], "--arg must be sizes and perhaps a dtype"),
    ],
)
def test_mistakes_end_with_one_sentence_and_code_2(script, options, message, capsys):
    assert main(["explain", *(option.format(script=script) for option in options)]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("jaxconv explain: ") and told.count("\n") == 1
