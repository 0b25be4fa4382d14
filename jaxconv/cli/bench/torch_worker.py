"""PyTorch in a process of its own, asleep while JAX is timed.

OpenMP's threads go on spinning for a while after a call, which would slow whatever is timed next
in the same process; telling them not to (OMP_WAIT_POLICY=PASSIVE) costs PyTorch up to half its
speed on small layers. So PyTorch gets its own process and its own settings, and [`TorchWorker`][]
gives it a moment to fall asleep after each sample. Requests and answers are lines of JSON.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxconv.cli.bench.layers import Layer
from jaxconv.cli.bench.timing import Timing, measure

ASLEEP_SECONDS = 0.02
"""Seconds after which the worker's OpenMP threads have stopped spinning."""


def torch_available() -> bool:
    """Whether PyTorch is installed, found without importing it."""
    return importlib.util.find_spec("torch") is not None


class TorchWorker:
    """A process that runs PyTorch's side of the benchmarks."""

    def __init__(self, python: str | Path | None = None):
        """Starts the process; it imports torch at its first request.

        Args:
            python: The interpreter that has PyTorch; this one if None.
        """
        env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "KMP_", "GOMP_"))}
        root = str(Path(__file__).resolve().parents[3])
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (root, env.get("PYTHONPATH"))))
        self.process = subprocess.Popen(
            [str(python or sys.executable), "-m", "jaxconv.cli.bench.torch_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            # Ctrl-C is the parent's to handle: it closes the worker in order.
            start_new_session=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends one request and waits for its answer.

        Raises:
            RuntimeError: If the worker reports an error or has ended.
        """
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"the torch process ended (exit code {self.process.poll()})")
        try:
            answer = json.loads(line)
        except ValueError:
            raise RuntimeError(f"the torch process said {line.strip()!r}") from None
        if "error" in answer:
            raise RuntimeError(f"torch: {answer['error']}")
        return answer

    def prepare(self, table: str, name: str, **details: Any) -> "TorchContender":
        """Sets up one program (table "layer", "network" or "report") as a contender."""
        self.ask(op="prepare", table=table, name=name, **details)
        return TorchContender(self)

    def prepare_layer(self, layer: Layer, what: str, layout: str) -> "TorchContender":
        """Sets up a layer's "forward" or "step" as a contender."""
        return self.prepare("layer", layer.name, layer=asdict(layer), what=what, layout=layout)

    def time(self, layer: Layer, what: str = "forward", layout: str = "last") -> Timing:
        """Times one layer alone."""
        return measure({"torch": self.prepare_layer(layer, what, layout)})["torch"]

    def about(self) -> dict[str, Any]:
        """Versions and threads."""
        return self.ask(op="about")

    def close(self) -> None:
        """Ends the process."""
        if self.process.stdin and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        if self.process.stdout:
            self.process.stdout.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> "TorchWorker":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process."""
        self.close()


class TorchContender:
    """What the worker has prepared last, seen from JAX's process."""

    compile_seconds: float | None = None
    temporary_bytes: int | None = None

    def __init__(self, worker: TorchWorker):
        """The worker whose last prepared program is timed."""
        self.worker = worker

    def sample(self, calls: int) -> list[float]:
        """Seconds of each of ``calls`` calls, after untimed ones if ``calls`` > 1."""
        seconds = self.worker.ask(op="sample", calls=calls)["seconds"]
        time.sleep(ASLEEP_SECONDS)
        return seconds
