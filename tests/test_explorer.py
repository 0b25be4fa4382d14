"""The explorer page, in a browser: it must draw what the library computes."""

import html
import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import jaxconv

STATIC = Path(__file__).parent.parent / "docs" / "_static"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync --disable-extensions"
).split()

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)

PAGE = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="{css}">
<body data-theme="{theme}" style="margin:0;background:{background}">
{body}<pre id="log"></pre><script src="{js}"></script><script>
addEventListener("DOMContentLoaded", () => {{
  const log = (value) => document.getElementById("log").append(JSON.stringify(value) + "\\n");
  {script}
}});
</script></body>"""


def browse(folder, *, body="", script="", theme="light", address="", screenshot=None):
    """Opens a page that holds the explorer; returns the document after its scripts, as text."""
    background = {"light": "#ffffff", "dark": "#131416"}[theme]
    page = folder / "page.html"
    page.write_text(
        PAGE.format(
            css=(STATIC / "explorer.css").as_uri(), js=(STATIC / "explorer.js").as_uri(),
            theme=theme, background=background, body=body, script=script,
        )
    )  # fmt: skip
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=900,520"]
    command += ["--virtual-time-budget=2000", "--allow-file-access-from-files"]
    command.append(f"--screenshot={screenshot}" if screenshot else "--dump-dom")
    done = subprocess.run(
        [*command, page.as_uri() + address], capture_output=True, text=True, timeout=60,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return html.unescape(done.stdout)


def drawn(document, kind):
    """The values in the boxes of one kind, as drawn."""
    pattern = rf'<g class="cell ({kind})"[^>]*>.*?<text[^>]*>([^<]*)</text>'
    return [float(text.replace("−", "-")) for _, text in re.findall(pattern, document)]


def test_every_setting_is_what_conv1d_computes(tmp_path):
    settings = [
        {"k": k, "stride": s, "padding": p, "dilation": d}
        for k, s, p, d in itertools.product(range(1, 8), (1, 2, 4), (0, 1, 4), (1, 3))
    ]
    script = f"""
      log([jaxconvExplorer.SIGNAL, jaxconvExplorer.KERNELS]);
      for (const s of {json.dumps(settings)})
        log([jaxconvExplorer.conv1d(jaxconvExplorer.SIGNAL, jaxconvExplorer.KERNELS[s.k], s),
             jaxconvExplorer.formula(jaxconvExplorer.SIGNAL.length, s.k, s)]);
    """
    document = browse(tmp_path, script=script)
    lines = document.split('<pre id="log">')[1].split("</pre>")[0].strip().splitlines()
    signal, kernels = json.loads(lines[0])
    assert len(lines) == len(settings) + 1
    x = np.array(signal, np.float32)
    for setting, line in zip(settings, lines[1:], strict=True):
        values, formula = json.loads(line)
        kernel = kernels[str(setting["k"])]
        assert len(kernel) == setting["k"]
        parameters = {n: v for n, v in setting.items() if n != "k"}
        reach = setting["dilation"] * (setting["k"] - 1) + 1
        if reach > len(x) + 2 * setting["padding"]:
            assert values == []
            continue
        # np.convolve shares no code with the page or the library; it turns the kernel round.
        spread = np.zeros(reach)
        spread[:: setting["dilation"]] = kernel
        padded = np.pad(x, setting["padding"])
        want = np.convolve(padded, spread[::-1], "valid")[:: setting["stride"]]
        np.testing.assert_array_equal(values, want, err_msg=str(setting))
        assert formula.endswith(f" = {len(want)}")
        if setting["stride"] != 4:  # one compilation less for each kernel
            ours = jaxconv.conv1d(x[None], jnp.array(kernel, jnp.float32)[None, None], **parameters)
            np.testing.assert_allclose(values, ours[0], atol=1e-5, err_msg=str(setting))


def test_it_draws_the_outputs_and_the_formula(tmp_path):
    document = browse(
        tmp_path, body="<div data-explorer></div>",
        address="#k=3&stride=2&padding=1&dilation=2&position=1",
    )  # fmt: skip
    x, w = drawn(document, "x"), drawn(document, "w")
    assert w == [-1, 0, 1]
    want = jaxconv.conv1d(
        jnp.array(x)[None], jnp.array(w)[None, None], stride=2, padding=1, dilation=2
    )[0]
    np.testing.assert_allclose(drawn(document, "y(?: chosen)?"), want, atol=1e-5)
    assert drawn(document, "x pad") == [0, 0]
    assert "output width = ⌊(12 + 2·1 − 2·(3 − 1) − 1) / 2⌋ + 1 = 5" in document
    assert "y[1] = 1·(−1) + 2·0 + (−2)·1 = −3" in document
    # The curve: heights in proportion to the values.
    heights = [224 - float(y) for y in re.findall(r'<circle[^>]*cy="([\d.]+)"', document)]
    np.testing.assert_allclose(heights, np.asarray(want) / np.abs(want).max() * 38, atol=1e-3)


def test_sliders_keys_and_the_mouse_move_the_window(tmp_path):
    script = """
      const root = document.querySelector("[data-explorer]");
      const picture = root.querySelector("svg");
      const state = () => log([Number(root.dataset.position), JSON.parse(root.dataset.output)]);
      state();
      picture.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
      state();
      const at = (kind, box) => {
        const { left, width, top, height } = box.getBoundingClientRect();
        picture.dispatchEvent(new PointerEvent(kind, {
          clientX: left + width / 2, clientY: top + height / 2, pointerId: 1, bubbles: true,
        }));
      };
      at("pointerdown", root.querySelectorAll(".cell.x")[3]);
      at("pointermove", root.querySelectorAll(".cell.x")[7]);
      at("pointerup", root.querySelectorAll(".cell.x")[7]);
      state();
      at("pointermove", root.querySelectorAll(".cell.x")[2]);
      state();
      const slider = root.querySelector("input[data-name=padding]");
      slider.value = 1;
      slider.dispatchEvent(new Event("input"));
      state();
      log(window.location.hash);
    """
    document = browse(tmp_path, body="<div data-explorer></div>", script=script)
    lines = document.split('<pre id="log">')[1].split("</pre>")[0].strip().splitlines()
    first, key, dragged, released, padded, address = map(json.loads, lines)
    assert (first[0], key[0], dragged[0], released[0]) == (0, 1, 6, 6)
    x = np.array(drawn(document, "x"), np.float32)
    w = jnp.array([[[-1.0, 0, 1]]])
    np.testing.assert_allclose(dragged[1], jaxconv.conv1d(x[None], w)[0], atol=1e-5)
    np.testing.assert_allclose(padded[1], jaxconv.conv1d(x[None], w, padding=1)[0], atol=1e-5)
    assert address == "#k=3&stride=1&padding=1&dilation=1&position=6"


def test_a_kernel_wider_than_the_signal_and_a_bad_address(tmp_path):
    document = browse(
        tmp_path, body="<div data-explorer></div>", address="#k=7&dilation=3&stride=x&constructor=2"
    )
    assert "there is no output" in document
    assert drawn(document, "y(?: chosen)?") == []
    assert 'data-output="[]"' in document


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_is_not_blank(tmp_path, theme):
    from matplotlib.image import imread

    target = tmp_path / "page.png"
    browse(tmp_path, body="<div data-explorer></div>", theme=theme, screenshot=target)
    pixels = imread(target)[..., :3]
    background = {"light": 1.0, "dark": 0x13 / 255}[theme]
    assert abs(pixels[-1, -1, 0] - background) < 0.01
    other = np.abs(pixels - pixels[-1, -1]).max(-1) > 0.05
    assert 0.03 < other.mean() < 0.6
    # The window is orange, the chosen output green.
    red, green, blue = (pixels[..., c] for c in range(3))
    assert ((red - blue) > 0.4).sum() > 500
    assert ((green - red) > 0.2).sum() > 100
