"""``python -m jaxconv lecture``: every listing is shown, run and checked."""

import re

import jax.numpy as jnp
import pytest

from jaxconv.cli.app import main
from jaxconv.cli.lecture import listings
from jaxconv.cli.lecture.listings import LISTINGS, SECTIONS

SIGNATURES = {".svg": b"<?xml", ".gif": b"GIF8"}


def test_everything_agrees(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["lecture"]) == 0
    lines = capsys.readouterr().out.rstrip().splitlines()
    assert lines[-1] == f"{len(LISTINGS)} of {len(LISTINGS)} listings agree"
    shown = "\n".join(lines)
    for number, title in SECTIONS.items():
        assert f"{number}. {title}" in shown
    for expected in ("autograd.while_loop(", "(1, 16, 62, 124)", "no_grad at"):
        assert expected in shown
    assert shown.count("as in the lecture") == len(LISTINGS)


def test_one_section(capsys):
    assert main(["lecture", "--section", "2"]) == 0
    out = capsys.readouterr().out
    assert SECTIONS[2] in out and SECTIONS[1] not in out
    assert out.rstrip().endswith("4 of 4 listings agree")


def test_a_listing_that_disagrees_ends_with_code_1(capsys, monkeypatch):
    wrong = listings.Listing(2, "Wrong", _wrong, {"y": [1, 3]})
    monkeypatch.setattr(listings, "LISTINGS", [wrong])
    assert main(["lecture"]) == 1
    out = capsys.readouterr().out
    assert "the lecture has [1, 3]" in out
    assert "0 of 1 listings agree" in out


def _wrong():
    y = jnp.array([1, 2])
    return {"y": y}


def test_figures(tmp_path, capsys, monkeypatch):
    from jaxconv import plots

    few = dict(list(plots.gallery().items())[-2:])
    monkeypatch.setattr(plots, "gallery", lambda: few)
    folder = tmp_path / "new" / "figures"
    assert main(["lecture", "--section", "5", "--figures", str(folder)]) == 0
    wanted = {f"{name}-{theme}.svg" for name in few for theme in ("light", "dark")}
    assert {path.name for path in folder.iterdir()} == {*wanted, "sliding.gif"}
    for path in folder.iterdir():
        assert path.read_bytes().startswith(SIGNATURES[path.suffix])
    out = capsys.readouterr().out
    assert f"5 files written to {folder}\n" in out
    assert re.search(r"\n(\d+) of \1 listings agree\n$", out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--section", "7"], "--section"),
        (["--figures", "{file}"], "--figures must name a folder; got the file"),
        (["--figures", "{file}/below"], "the folder of --figures must be writable"),
    ],
)
def test_mistakes_end_with_one_sentence_and_code_2(options, message, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    options = [option.format(file=file) for option in options]
    if "--section" not in options:
        options += ["--section", "2"]
    assert main(["lecture", *options]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
