"""Figures of convolutions, from your own arrays: each function returns a matplotlib Figure.

Every function takes `theme="light"` or `theme="dark"`. Nothing here touches pyplot or its settings:
`figure.savefig("name.svg")` writes a file, and a notebook shows the figure when it is the value of
a cell. Needs matplotlib (`pip install 'jaxconv[cli]'`).
"""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ModuleNotFoundError as _error:
    raise ModuleNotFoundError(
        "jaxconv.plots: needs the package matplotlib, which is not installed. "
        "Install it with pip install 'jaxconv[cli]'.",
        name=_error.name,
    ) from None

from jaxconv.plots._band_matrix import band_matrix
from jaxconv.plots._feature_maps import feature_maps
from jaxconv.plots._flow_chart import flow_chart
from jaxconv.plots._gallery import ecg, gallery
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
from jaxconv.plots._sliding import sliding, sliding_animation
from jaxconv.plots._who_takes_part import who_takes_part

__all__ = [
    "band_matrix",
    "ecg",
    "expand",
    "feature_maps",
    "flow_chart",
    "gallery",
    "gradient_paths",
    "groups",
    "loop_steps",
    "overlap_add",
    "padding_2d",
    "patches",
    "phases",
    "pointwise",
    "receptive_field",
    "scalar_product",
    "shifted_slices",
    "signal",
    "sliding",
    "sliding_animation",
    "spectrum",
    "volume",
    "weight_gradient",
    "who_takes_part",
    "window_matrix",
    "winograd",
]
