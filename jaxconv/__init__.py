"""jaxconv: convolutions in JAX, in PyTorch's words and at its speed on a CPU, in pure JAX."""

from jaxconv._accelerate import accelerate
from jaxconv._allocator import tune_allocator
from jaxconv._conv import conv1d, conv2d, conv3d
from jaxconv._conv_transpose import conv_transpose1d, conv_transpose2d, conv_transpose3d
from jaxconv._explain import explain
from jaxconv._fold import fold, unfold
from jaxconv._general import conv_general_dilated
from jaxconv._init import init_conv, init_conv_transpose
from jaxconv._install import install, uninstall
from jaxconv._matrix import conv_matrix
from jaxconv._methods import METHODS as methods
from jaxconv._pool import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from jaxconv._shape import output_shape
from jaxconv._tune import tune

__all__ = [
    "accelerate",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_general_dilated",
    "conv_matrix",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "explain",
    "fold",
    "init_conv",
    "init_conv_transpose",
    "install",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "methods",
    "output_shape",
    "tune",
    "tune_allocator",
    "unfold",
    "uninstall",
]
