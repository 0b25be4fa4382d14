"""Every figure function makes a Figure in both themes, and says what it cannot draw."""

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from jaxconv import autograd, plots
from jaxconv.plots import _gallery

GALLERY = plots.gallery()


@pytest.mark.parametrize("name", GALLERY)
def test_gallery(name):
    caption, draw = GALLERY[name]
    assert caption
    faces = []
    for theme in ("light", "dark"):
        figure = draw(theme)
        assert isinstance(figure, Figure)
        if theme == "light":
            figure.savefig(io.BytesIO(), format="png", dpi=40)
        faces.append(to_rgba(figure.get_facecolor()))
    assert faces[0] != faces[1]


def test_the_gallery_uses_every_function():
    shown = {"ecg", "gallery", "sliding_animation"}
    code = Path(_gallery.__file__).read_text()
    assert [name for name in plots.__all__ if name not in shown and f"{name}(" not in code] == []


def test_one_film(tmp_path):
    film = plots.sliding_animation([0, 1, 3, 2], [1, -1], theme="dark")
    film.save(tmp_path / "film.gif", writer="pillow")
    assert (tmp_path / "film.gif").read_bytes().startswith(b"GIF8")


def test_a_figure_shows_its_own_numbers():
    figure = plots.scalar_product(np.array([[5, 7, 11]]), np.array([[2, 3]]), position=1)
    texts = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"7", "11", "2", "3", "14", "33"} <= texts
    assert any("47" in text for text in texts)


def numbers(figure):
    return [text.get_text().replace("\N{MINUS SIGN}", "-") for text in figure.axes[0].texts]


def test_products_show_what_numpy_computes():
    """The outputs drawn, against sums that share no code with the library."""
    x, k = np.array([0, 1, 3, 2, -1, -2]), np.array([1, 2, 3])
    shown = {
        "winograd": (plots.winograd(x[:4], k), np.correlate(x[:4], k)),
        "patches": (plots.patches(x, k), x.reshape(2, 3) @ k),
        "weight": (plots.weight_gradient(x, x[:4]), np.correlate(x, x[:4])),
        "scatter": (plots.overlap_add(k, k), np.convolve([1, 0, 2, 0, 3], k)),
        "pointwise": (plots.pointwise(x.reshape(2, 3), [[5, 7]]), [5, 7] @ x.reshape(2, 3)),
        "expand": (plots.expand([3], k), 3 * k[::-1]),
        "volume": (plots.volume(x.reshape(6, 1, 1), k.reshape(3, 1, 1)), np.correlate(x, k)[-1:]),
    }
    for name, (figure, wanted) in shown.items():
        drawn = "".join(t if t.lstrip("-").isdigit() else "|" for t in numbers(figure))
        assert "".join(str(int(v)) for v in np.ravel(wanted)) in drawn, name


def test_groups_stand_in_blocks():
    shown = [int(t) for t in numbers(plots.groups(np.arange(1, 9).reshape(2, 2, 2))) if t.isdigit()]
    assert shown == [*range(1, 9), 1, 2, 0, 0, 3, 4, 0, 0, 0, 0, 5, 6, 0, 0, 7, 8]


def test_the_loop_and_its_gradient():
    figure = plots.loop_steps([[3, 4], [0.5, 0]])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1,000", "i = 7", "i = 10"]
    dots = [line.get_ydata()[0] for line in figure.axes[1].lines[:2]]
    np.testing.assert_allclose(dots, [2**8, 2**11])


def test_who_takes_part():
    figure = plots.who_takes_part([1, 2, 3], [4, 5, 6])
    both, only, neither = ([text.get_text() for text in axes.texts] for axes in figure.axes)
    assert both.count("2") == only.count("2") + 0 == 2 and both.count("5") == 2
    assert only.count("5") == 1 and neither.count("2") == 1
    assert "cut: NoGradientError" in neither and "32" in neither


def test_pyplot_is_left_alone():
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    plots.receptive_field([3, 3], theme="dark")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


ONES = np.ones


@pytest.mark.parametrize(
    ("fun", "args", "options", "message"),
    [
        (plots.band_matrix, (ONES(3),), {}, r"band_matrix: matrix must have two axes; got \(3,\)"),
        (plots.band_matrix, (ONES((2, 3)), ONES(2)), {}, r"x must be \(3,\).*got x \(2,\)"),
        (
            plots.feature_maps,
            (ONES((2, 9)), ONES((1, 1, 3))),
            {},
            r"feature_maps: x must be \(c, n\) and weight \(m, c, k\)",
        ),
        (plots.gradient_paths, (ONES(3), ONES(2)), {}, r"got x1 \(3,\), x2 \(2,\)"),
        (plots.padding_2d, (ONES(3), ONES((2, 2))), {}, "padding_2d: x and kernel must have two"),
        (plots.phases, (ONES(3), ONES(2)), {"stride": 0}, "phases: stride must be at least 1"),
        (plots.receptive_field, ([3, 3],), {"strides": [1]}, "one entry a layer.*got 2, 1 and 2"),
        (plots.receptive_field, ([3, 0],), {}, "every entry must be at least 1"),
        (plots.scalar_product, (ONES((2, 9)), ONES((1, 3))), {}, r"got x \(2, 9\)"),
        (
            plots.scalar_product,
            (ONES((1, 5)), ONES((1, 3))),
            {"position": 3},
            "position must be from 0 to n - k = 2; got 3",
        ),
        (plots.expand, (ONES(2), ONES(3)), {}, r"expand: x must be \(1,\); got x \(2,\)"),
        (plots.groups, (ONES((3, 2, 2)),), {}, r"groups: weight must be \(G, O, C\).*together=2"),
        (plots.loop_steps, (ONES(3),), {}, r"loop_steps: x must be \(m, n\).*got \(3,\)"),
        (plots.loop_steps, (0 * ONES((1, 3)),), {}, r"must reach limit=1000.0.*norms \[0.0\]"),
        (plots.overlap_add, (ONES(3), ONES(2)), {"stride": 0}, "overlap_add: stride must be at"),
        (plots.overlap_add, (ONES((1, 3)), ONES(2)), {}, "overlap_add: x and kernel must have one"),
        (plots.patches, (ONES(5), ONES(2)), {}, "patches: n must be a multiple of k"),
        (plots.pointwise, (ONES((2, 5)), ONES((3, 3))), {}, r"pointwise: x must be \(C, n\)"),
        (plots.volume, (ONES((1, 2, 2)), ONES((2, 1, 1))), {}, "volume: x must be .*no larger"),
        (plots.weight_gradient, (ONES(3), ONES(4)), {}, "dy must not be longer than x"),
        (
            plots.who_takes_part,
            (ONES(3), ONES(4)),
            {},
            r"who_takes_part: .* got x \(3,\), w \(4,\)",
        ),
        (plots.winograd, (ONES(5), ONES(3)), {}, r"winograd: x must be \(4,\) and kernel \(3,\)"),
        (plots.shifted_slices, (ONES((2, 5)), ONES(3)), {}, "shifted_slices: x must be"),
        (plots.window_matrix, (ONES(2), ONES(3)), {}, "window_matrix: x must be .* k <= n"),
        (plots.spectrum, (ONES((2, 2)), ONES(2)), {}, "spectrum: x must be"),
        (plots.signal, (ONES((1, 1, 5)),), {}, r"signal: x must be \(n,\) or \(c, n\)"),
        (plots.sliding, (ONES((1, 5)), ONES(3)), {}, "sliding: x and kernel must have one axis"),
        (plots.sliding, (ONES(5), ONES(3)), {"steps": 0}, "sliding: steps must be at least 1"),
        (plots.sliding_animation, (ONES((1, 5)), ONES(3)), {}, "must have one axis"),
        (plots.sliding, (ONES(5), ONES(3)), {"theme": "red"}, "sliding: theme must be one of"),
        (plots.sliding, (ONES(5), ONES(3)), {"stride": (1, 2)}, "sliding: expected stride to be"),
    ],
)
def test_what_it_cannot_draw(fun, args, options, message):
    with pytest.raises(ValueError, match=message):
        fun(*args, **options)


def test_one_number_stands_for_both_dimensions():
    image, kernel = np.ones((5, 6)), np.ones((3, 3))
    titles = [
        plots.padding_2d(image, kernel, stride=stride, padding=padding).axes[1].get_title("left")
        for stride, padding in ((2, 1), ((2, 2), (1, 1)))
    ]
    assert titles[0] == titles[1] == "y: 3 \u00d7 3"
    assert plots.sliding([1, 2, 3], [1, 1], stride=(1,), padding=(1,)).axes
    with pytest.raises(TypeError, match="sliding: padding must be an int"):
        plots.sliding([1, 2, 3], [1, 1], padding="same")


def test_phases_of_one_window():
    """It looked for a second one: an IndexError."""
    for x, kernel in (([1, 2], [1, -1]), ([1], [1])):
        with pytest.raises(ValueError, match=r"phases: x must be long enough for two windows"):
            plots.phases(x, kernel, stride=1)
    texts = {text.get_text() for text in plots.phases([1, 2, 3], [2], stride=3).axes[0].texts}
    assert "y[1] = 0" in texts or "y[4] = 0" in texts


def test_a_field_with_holes():
    title = plots.receptive_field(np.array([3]), dilations=np.array([2])).axes[0].get_title()
    assert title == "one unit of layer 1 sees 3 of 5 samples"


@pytest.mark.parametrize(("taps", "often"), [(1, "once"), (2, "twice"), (4, "4 times")])
def test_how_often_the_signal_is_shifted(taps, often):
    figure = plots.shifted_slices(np.arange(6.0), np.ones(taps))
    assert f"x, {often}" in {text.get_text() for text in figure.axes[0].texts}


def test_flow_chart_of_a_complex_constant():
    graph = autograd.graph(lambda x: x * (1 + 2j))(np.ones(2, np.complex64))
    assert plots.flow_chart(graph).axes


def test_flow_chart_of_a_large_graph_is_refused():
    def deep(x):
        for _ in range(200):
            x = x * 2
        return x

    with pytest.raises(ValueError, match=r"flow_chart: graph must have at most 60 nodes; got 202"):
        plots.flow_chart(autograd.graph(deep)(1.0))
    with pytest.raises(TypeError, match=r"flow_chart: graph must be a .*Graph; got a function"):
        plots.flow_chart(deep)
