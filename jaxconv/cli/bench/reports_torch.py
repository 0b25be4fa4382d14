"""The users' reports in PyTorch (SciPy where the report compares with SciPy)."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F


def report_program(name: str) -> Callable[[], Any]:
    """The report's program, ready to call.

    Args:
        name: The report's full name; its first word or words choose the program.
    """
    start = max((key for key in PROGRAMS if name.startswith(key)), key=len)
    return PROGRAMS[start]()


def _quick(f: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with torch.inference_mode():
            return f()

    return run


def _depthwise_bias() -> Callable[[], Any]:
    last = torch.channels_last
    x = torch.randn(1, 256, 124, 124).to(memory_format=last)
    w, b = torch.randn(256, 1, 3, 3).to(memory_format=last), torch.randn(256)
    return _quick(lambda: F.conv2d(x, w, b, padding=1, groups=256))


def _equinox() -> Callable[[], Any]:
    x, w, b = torch.randn(1, 512, 124, 124), torch.randn(512, 1, 3, 3), torch.randn(512)
    return _quick(lambda: F.conv2d(x, w, b, padding=1, groups=512))


def _loop() -> Callable[[], Any]:
    x0, w = torch.randn(1, 1000, 1024), torch.randn(1000, 1000, 1)

    def f() -> Any:
        x = x0
        for _ in range(2):
            x = x + 1e-6 * F.conv1d(x, w)
        return x

    return _quick(f)


def _scipy() -> Callable[[], Any]:
    import numpy as np
    from scipy import signal

    a, b = np.random.default_rng(0).standard_normal((2, 300, 300))
    return lambda: signal.convolve(a, b, "same")


def _grouped_layers() -> Callable[[], Any]:
    x0, weights = torch.randn(2, 512, 1024), [torch.randn(512, 1, 5) for _ in range(2)]
    for w in weights:
        w.requires_grad_()

    def step() -> Any:
        x = x0
        for w in weights:
            x = F.conv1d(x, w, padding=2, groups=512)
        return torch.autograd.grad(torch.square(x).mean(), weights)

    return step


def _dilated_depthwise(kernel: int, channels: int, dilation: int, step: bool) -> Any:
    x, w = torch.randn(32, channels, 1024), torch.randn(channels, 1, kernel)

    def f() -> Any:
        pad = dilation * (kernel - 1) // 2
        return F.conv1d(x, w, padding=pad, dilation=dilation, groups=channels)

    if not step:
        return _quick(f)
    x.requires_grad_()
    w.requires_grad_()
    return lambda: torch.autograd.grad(torch.square(f()).mean(), (x, w))


def _transpose3d() -> Callable[[], Any]:
    x = torch.randn(1, 64, 64, 64, 32, dtype=torch.bfloat16)
    w = torch.randn(64, 1, 3, 3, 3, dtype=torch.bfloat16).requires_grad_()
    g = torch.randn(1, 1, 128, 128, 64, dtype=torch.bfloat16)
    y = F.conv_transpose3d(x, w, stride=2, padding=1, output_padding=1)
    return lambda: torch.autograd.grad(y, w, g, retain_graph=True)


def _lattice(batch: int, size: int, channels: tuple[int, ...], kernel: int) -> Any:
    x = torch.randn(batch, size, size, dtype=torch.float64)
    pairs = zip((1, *channels), channels, strict=False)
    weights = [torch.randn(o, i, kernel, kernel, dtype=torch.float64) / kernel for i, o in pairs]

    def scalar(weights: Any, x: Any) -> Any:
        x = x[None, None]
        for w in weights:
            x = torch.tanh(F.conv2d(F.pad(x, (0, kernel - 1) * 2, mode="circular"), w))
        return x.sum()

    gradients = torch.func.vmap(torch.func.grad(scalar), (None, 0))
    return lambda: gradients(weights, x)


PROGRAMS: dict[str, Callable[[], Callable[[], Any]]] = {
    "jax#23713": _depthwise_bias,
    "equinox#970": _equinox,
    "jax#12868": _loop,
    "jax#5227": _scipy,
    "jax#13800": _grouped_layers,
    "jax#26266 dw k3 d1 64": lambda: _dilated_depthwise(3, 64, 1, True),
    "jax#26266 dw k7 d8 64": lambda: _dilated_depthwise(7, 64, 8, True),
    "jax#26266 dw k7 d8 256": lambda: _dilated_depthwise(7, 256, 8, False),
    "jax#31662": _transpose3d,
    "jax#1606": lambda: _lattice(300, 4, (4, 1), 2),
    "netket#1870": lambda: _lattice(256, 10, (8, 8), 3),
}
