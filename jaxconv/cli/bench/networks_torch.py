"""The networks' training step in PyTorch, the twin of `networks_jax`."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from jaxconv.cli.bench import networks as n
from jaxconv.cli.bench.networks_jax import RATE


def network_program(network: n.Network, layout: str) -> Callable[[], Any]:
    """One training step, ready to call: returns the loss, updates its parameters in place."""
    ndim = len(network.size)
    parameters = [torch.from_numpy(p) for p in network.parameters()]
    x = torch.from_numpy(network.input())
    if layout == "last" and ndim == 2:
        x = x.to(memory_format=torch.channels_last)
        parameters = [
            p.to(memory_format=torch.channels_last) if p.ndim == 4 else p for p in parameters
        ]
    for p in parameters:
        p.requires_grad_()

    def step() -> Any:
        loss = torch.square(_run(network.body, iter(parameters), x) - 1).mean()
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for p, gradient in zip(parameters, gradients, strict=True):
                p.sub_(gradient, alpha=RATE)
        return loss.item()

    return step


def _run(ops: tuple[n.Op, ...], take: Iterator[Any], x: Any) -> Any:
    ndim = x.ndim - 2
    for op in ops:
        if isinstance(op, n.Conv):
            conv = F.conv1d if ndim == 1 else F.conv2d
            before, after = op.pair
            size = x.shape[2:]
            weight, bias = next(take), next(take) if op.bias else None
            y = conv(x, weight, bias, op.stride, before, op.dilation, op.groups or x.shape[1])
            x = y if before == after else y[..., : size[-1]]
        elif isinstance(op, n.Up):
            x = F.conv_transpose2d(x, next(take), next(take), 2)
        elif isinstance(op, n.Norm) and op.kind == "batch":
            x = F.batch_norm(x, None, None, next(take), next(take), training=True)
        elif isinstance(op, n.Norm):
            scale, shift = next(take), next(take)
            x = F.layer_norm(x.movedim(1, -1), scale.shape, scale, shift).movedim(-1, 1)
        elif isinstance(op, n.Act):
            x = _activate(op.kind, x)
        elif isinstance(op, n.Residual):
            y = _run(op.body, take, x)
            x = _run(op.shortcut, take, x) + y
        elif isinstance(op, n.Concat):
            x = torch.cat([x, _run(op.body, take, x)], 1)
        else:
            x = F.linear(x.flatten(2).mean(2), next(take), next(take))
    return x


def _activate(kind: str, x: Any) -> Any:
    if kind == "gate":
        a, b = x.chunk(2, 1)
        return torch.tanh(a) * torch.sigmoid(b)
    if kind == "gelu":
        return F.gelu(x, approximate="tanh")
    return F.relu6(x) if kind == "relu6" else F.relu(x)
