"""The other side of `torch_worker`: reads requests, runs PyTorch, answers with seconds.

Run as ``python -m jaxconv.cli.bench.torch_process``; it ends when its input does.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from jaxconv.cli.bench.timing import timed_calls


def layer_program(
    fields: dict[str, Any], what: str, layout: str, contiguous_weight: bool = False
) -> Callable[[], Any]:
    """A layer's forward pass or training step, ready to call."""
    import torch
    import torch.nn.functional as F

    from jaxconv.cli.bench.layers import Layer

    layer = Layer(**{k: _tuple(v) for k, v in fields.items()})
    x_array, w_array, y_array = layer.arrays("first")
    if layer.transposed:
        c_in, c_out = layer.channels
        w_array = w_array.reshape(c_in, c_out // layer.groups, *layer.kernel)
    x, w, g = torch.from_numpy(x_array), torch.from_numpy(w_array), torch.from_numpy(y_array)
    if layout == "last" and layer.ndim > 1:
        memory_format = torch.channels_last if layer.ndim == 2 else torch.channels_last_3d
        x, g = x.to(memory_format=memory_format), g.to(memory_format=memory_format)
        if not contiguous_weight:
            w = w.to(memory_format=memory_format)

    before = tuple(lo for lo, _ in layer.padding)
    causal = any(lo != hi for lo, hi in layer.padding)
    shared = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    if layer.transposed:
        conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[layer.ndim - 1]
    else:
        conv = (F.conv1d, F.conv2d, F.conv3d)[layer.ndim - 1]

    def forward() -> Any:
        if not causal:
            return conv(x, w, padding=before, **shared)
        # As the networks do it: pad both ends by the larger, drop the end.
        ends = tuple(max(pair) for pair in layer.padding)
        y = conv(x, w, padding=ends, **shared)
        lead = [end - lo for end, (lo, _) in zip(ends, layer.padding, strict=True)]
        cut = [slice(a, a + n) for a, n in zip(lead, layer.output_size, strict=True)]
        return y[(slice(None), slice(None), *cut)]

    if what == "forward":

        def run_forward() -> Any:
            with torch.inference_mode():
                return forward()

        return run_forward
    x.requires_grad_()
    w.requires_grad_()

    def run_step() -> Any:
        y = forward()
        return y, torch.autograd.grad(y, (x, w), g)

    return run_step


def _tuple(value: Any) -> Any:
    return tuple(_tuple(v) for v in value) if isinstance(value, list) else value


class Server:
    """Answers requests; remembers the program that was prepared last."""

    def __init__(self):
        """Nothing is prepared."""
        self.program: Callable[[], Any] = lambda: None

    def about(self) -> dict[str, Any]:
        """Version and threads."""
        import torch

        return {"version": torch.__version__, "threads": torch.get_num_threads()}

    def prepare(self, table: str, name: str, **details: Any) -> dict[str, Any]:
        """Builds a program and keeps its fastest setting: threads, the weight's memory format."""
        import torch

        programs: list[Callable[[], Any]] = []
        if table == "layer":
            programs = [layer_program(details["layer"], details["what"], details["layout"])]
            if details["layout"] == "last" and len(details["layer"]["size"]) > 1:
                programs.append(
                    layer_program(details["layer"], details["what"], details["layout"], True)
                )
        elif table == "network":
            from jaxconv.cli.bench.networks import NETWORKS
            from jaxconv.cli.bench.networks_torch import network_program

            network = next(network for network in NETWORKS if network.name == name)
            programs = [network_program(network, details["layout"])]
        else:
            from jaxconv.cli.bench.reports_torch import report_program

            programs = [report_program(name)]
        everyone = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        best = (float("inf"), 1)
        for threads in {everyone or os.cpu_count() or 1, 1}:
            for program in programs:
                torch.set_num_threads(threads)
                seconds = min(timed_calls(program, 4))
                if seconds < best[0]:
                    best, self.program = (seconds, threads), program
        torch.set_num_threads(best[1])
        return {"threads": best[1]}

    def sample(self, calls: int) -> dict[str, Any]:
        """Seconds of each of ``calls`` calls, after untimed ones if ``calls`` > 1."""
        return {"seconds": timed_calls(self.program, calls)}


def main() -> None:
    """Answers each line of the input with one line."""
    # Only answers may reach the pipe: whatever else prints goes to the error stream.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, request.pop("op"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        try:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
        except BrokenPipeError:  # nobody waits any more
            os._exit(0)


if __name__ == "__main__":
    main()
