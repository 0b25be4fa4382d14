"""Every figure of the lecture, from real arrays: what the command line and the site draw."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxconv import autograd
from jaxconv._matrix import conv_matrix
from jaxconv.plots._band_matrix import band_matrix
from jaxconv.plots._feature_maps import feature_maps
from jaxconv.plots._flow_chart import flow_chart
from jaxconv.plots._gradient_paths import gradient_paths
from jaxconv.plots._loop_steps import loop_steps
from jaxconv.plots._orders import phases, shifted_slices, spectrum, window_matrix
from jaxconv.plots._padding import padding_2d
from jaxconv.plots._products import (
    expand,
    groups,
    overlap_add,
    patches,
    pointwise,
    volume,
    weight_gradient,
    winograd,
)
from jaxconv.plots._receptive_field import receptive_field
from jaxconv.plots._scalar_product import scalar_product
from jaxconv.plots._signal import signal
from jaxconv.plots._sliding import sliding
from jaxconv.plots._style import ThemeName
from jaxconv.plots._who_takes_part import who_takes_part

SHORT = np.array([0, 1, 3, 2, -1, -2, 0, 1], np.float32)
EDGE = np.array([-1, 0, 1], np.float32)


def ecg() -> np.ndarray:
    """An electrocardiogram of 1,024 samples, mean 0, in units of its standard deviation.

    Returns:
      (1024,) float32.

    Raises:
      ModuleNotFoundError: PyWavelets, which carries the recording, is not installed.

    Source: the recording that PyWavelets carries, pywt.data.ecg.

    Example:
      >>> from jaxconv import plots
      >>> plots.ecg().shape
      (1024,)
    """
    try:
        from pywt.data import ecg as recording
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ecg: needs the package PyWavelets, which is not installed. "
            "Install it with pip install 'jaxconv[cli]'.",
            name=error.name,
        ) from None
    x = recording().astype(np.float32)
    return (x - x.mean()) / x.std()


def _stereo() -> np.ndarray:
    """The recording as two ears hear it: the right one 9 samples later and fainter."""
    left = ecg()[:512]
    right = 0.6 * np.concatenate([np.full(9, left[0]), left[:-9]])
    return np.stack([left, right])


def _kernels() -> np.ndarray:
    """Five kernels of 7 taps: mean, slope, curvature, and a fast and a slow wave."""
    t = np.arange(-3, 4)
    window = np.exp(-(t**2) / 6)
    rows = [np.ones(7) / 7, t / 28, np.array([0, 0, 1, -2, 1, 0, 0]) / 4]
    rows += [np.sin(np.pi * t / 2) * window / 2, np.cos(np.pi * t / 3) * window / 2]
    return np.stack(rows).astype(np.float32)


def _lecture_graph(theme: ThemeName) -> Figure:
    def a(x: jax.Array) -> jax.Array:
        y = x - 2.0
        z = y * y * 3.0
        return jnp.mean(z)

    graph = autograd.graph(a)(jnp.array([[1.0, 2.0], [3.0, 4.0]]))
    return flow_chart(graph, names=_lecture_names(graph), theme=theme)


def _lecture_names(graph: autograd.Graph) -> dict[int, str]:
    """x, y, z and a, found from both ends: y is the subtraction, a the output."""
    made = [i for i, node in enumerate(graph.nodes) if node.inputs]
    products = [i for i in made if graph.nodes[i].name == "mul"]
    return {made[0]: "y", products[-1]: "z", made[-1]: "a"}


def _image(height: int, width: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return ((3 * rows + 2 * columns) % 7 - 3).astype(np.float32)


_FIGURES: dict[str, tuple[str, Callable[[ThemeName], Figure]]] = {
    "signal-mono": ("A monophonic signal: an electrocardiogram",
        lambda theme: signal(ecg(), theme=theme)),
    "signal-stereo": ("A stereo signal",
        lambda theme: signal(_stereo(), theme=theme)),
    "sliding": ("A kernel slides over a signal",
        lambda theme: sliding(SHORT, EDGE, theme=theme)),
    "sliding-stride": ("Stride 2, padding 1, dilation 2",
        lambda theme: sliding(SHORT, EDGE, stride=2, padding=1, dilation=2, theme=theme)),
    "sliding-dilation": ("Dilation 2: even samples meet even samples",
        lambda theme: sliding(SHORT, EDGE, dilation=2, theme=theme)),
    "feature-maps": ("Five kernels, five feature maps",
        lambda theme: feature_maps(ecg()[100:400], _kernels(), theme=theme)),
    "feature-maps-stereo": ("Kernels two channels thick",
        lambda theme: feature_maps(
            _stereo()[:, 60:260], np.stack([_kernels()[:3], _kernels()[2:]], 1), theme=theme
        )),
    "band-matrix": ("A band matrix times a vector",
        lambda theme: band_matrix(
            conv_matrix(jnp.asarray([[[1.0, 2.0, 3.0]]]), (8,)).todense(), SHORT, theme=theme
        )),
    "band-matrix-large": ("The same for two kernels and a longer signal: two bands",
        lambda theme: band_matrix(
            conv_matrix(jnp.asarray(_kernels()[3:5, None]), (40,)).todense(), theme=theme
        )),
    "band-matrix-2d": ("The matrix of a 3x3 kernel over an 8x8 image: bands within bands",
        lambda theme: band_matrix(
            conv_matrix(jnp.arange(-4.0, 5.0).reshape(1, 1, 3, 3), (8, 8)).todense(), theme=theme
        )),
    "scalar-product": ("One output, channel by channel",
        lambda theme: scalar_product(
            np.array([[1, 3, 2, -1, 0, 2, 1], [0, 1, -2, 1, 2, -1, 3]]),
            np.array([[1, 0, -1], [2, 1, 0]]), position=2, theme=theme,
        )),
    "padding-2d": ("A 3x5 kernel, padding (1, 2): the output is as large as the image",
        lambda theme: padding_2d(
            _image(6, 9), np.ones((3, 5)), padding=(1, 2), theme=theme
        )),
    "padding-2d-stride": ("Stride 2 and dilation 2",
        lambda theme: padding_2d(
            _image(7, 9), np.ones((3, 3)), stride=(2, 2), padding=(1, 1), dilation=(2, 2),
            theme=theme,
        )),
    "receptive-field": ("Three layers of kernel size 3",
        lambda theme: receptive_field([3, 3, 3], theme=theme)),
    "receptive-field-stride": ("A stride makes the field of the layers above it grow faster",
        lambda theme: receptive_field([3, 3, 3], strides=[2, 1, 1], theme=theme)),
    "shifted-slices": ("Taps outside: shifted copies, each times one weight",
        lambda theme: shifted_slices(SHORT, [1, 2, 3], theme=theme)),
    "window-matrix": ("Windows outside: a matrix of windows, times the kernel",
        lambda theme: window_matrix(SHORT, [1, 2, 3], theme=theme)),
    "spectrum": ("In the frequency domain",
        lambda theme: spectrum(ecg()[:512], np.hanning(41) / 20, theme=theme)),
    "phases": ("A transposed convolution, phase by phase",
        lambda theme: phases([1, 3, 2, -1, 2], [1, 2, -1], theme=theme)),
    "weight-gradient": ("The gradient of a kernel, tap by tap",
        lambda theme: weight_gradient(SHORT, [1, -1, 2, 0, 1, 3], theme=theme)),
    "groups": ("Groups apart, and two at a time",
        lambda theme: groups(np.arange(1, 17).reshape(4, 2, 2) % 5 - 1, theme=theme)),
    "pointwise": ("A kernel of size 1 is a matrix",
        lambda theme: pointwise(_image(2, 6), [[1, 2], [0, -1], [3, 1]], theme=theme)),
    "patches": ("Windows that do not overlap",
        lambda theme: patches([0, 1, 3, 2, -1, -2, 0, 1, 2], [1, 2, 3], theme=theme)),
    "overlap-add": ("A transposed convolution, sample by sample",
        lambda theme: overlap_add([1, 3, 2, -1], [1, 2, -1], theme=theme)),
    "volume": ("Depth taps become channels",
        lambda theme: volume(
            np.stack([_image(3, 3) + i for i in range(3)]), np.ones((2, 2, 2)), theme=theme
        )),
    "expand": ("One position under every window",
        lambda theme: expand([3], [1, 2, -1, 4], theme=theme)),
    "winograd": ("Four multiplications for two outputs",
        lambda theme: winograd([0, 1, 3, 2], [1, 2, 3], theme=theme)),
    "loop-steps": ("Doubling until the norm is 1,000",
        lambda theme: loop_steps([[-0.4, 1.2, 0.7], [3, 4, 0], [0.02, 0, 0.01]], theme=theme)),
    "who-takes-part": ("Both marked, only w, and inside no_grad",
        lambda theme: who_takes_part([1, 2, 3], [1, 1, 1], theme=theme)),
    "flow-chart": ("x, y, z, a",
        _lecture_graph),
    "gradient-paths": ("add, split and max",
        lambda theme: gradient_paths([1, 4, 2], [3, 0, 1], theme=theme)),
}  # fmt: skip


def gallery() -> dict[str, tuple[str, Callable[[ThemeName], Figure]]]:
    """Every figure of the lecture: name -> (caption, a function from theme to Figure).

    Example:
      >>> from jaxconv import plots
      >>> caption, draw = plots.gallery()["receptive-field"]
      >>> caption
      'Three layers of kernel size 3'
    """
    return dict(_FIGURES)
