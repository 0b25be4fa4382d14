"""What `tune` measured, kept on disk: one small file for each convolution.

The folder is that of `platformdirs.user_cache_dir`, or JAXCONV_CACHE_DIR. Below it, a folder for
each CPU model, number of threads, JAX and jaxconv version; in it a JSON file for each ConvSpec,
written to the side and then moved into place, so that several processes can read and write at
once.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import tempfile
import warnings
from pathlib import Path

import jax

from jaxconv import _processor
from jaxconv._choose import Choice, choose, refusal, view_of, wants_exact
from jaxconv._choose import real_spec as _real
from jaxconv._environment import asked
from jaxconv._methods import METHODS
from jaxconv._spec import ConvSpec

FORMAT = 1


def enabled() -> bool:
    """Whether measured winners are looked up: always, but for JAXCONV_TUNE=off."""
    return asked("JAXCONV_TUNE") is not False


def version() -> str:
    """The version of jaxconv, or "source" where it is not installed."""
    try:
        return importlib.metadata.version("jaxconv")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def threads() -> int:
    """The number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def folder() -> Path:
    """Where the measurements of this machine and these versions are kept."""
    root = os.environ.get("JAXCONV_CACHE_DIR")
    if not root:
        from platformdirs import user_cache_dir

        root = user_cache_dir("jaxconv")
    words = (
        _processor.model(),
        f"{threads()}-threads",
        f"jax-{jax.__version__}",
        f"jaxconv-{version()}",
    )
    safe = ["".join(c if c.isalnum() or c in ".-" else "_" for c in word) for word in words]
    return Path(root, *safe)


def key(spec: ConvSpec) -> str:
    """A text that names the convolution of `spec`, wherever its program goes, and nothing else."""
    words = dataclasses.asdict(spec)
    del words["portable"]
    return json.dumps(words, default=str, sort_keys=True)


def _file(spec: ConvSpec) -> Path:
    return folder() / (hashlib.sha256(key(spec).encode()).hexdigest()[:24] + ".json")


def remember(spec: ConvSpec, method: str, kind: str, seconds: dict[str, float]) -> Path:
    """Write the winner for `spec`, with the seconds of every candidate."""
    path = _file(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "format": FORMAT,
        "spec": key(spec),
        "method": method,
        "kind": kind,
        "seconds": seconds,
    }
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(record, file)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    decide.cache_clear()
    return path


def recall(spec: ConvSpec) -> Choice | None:
    """The measured winner for `spec`, or None. A damaged file is reported and ignored."""
    if not enabled():
        return None
    path = _file(spec)
    try:
        text = path.read_text()
    except OSError:
        return None
    try:
        record = json.loads(text)
        name, kind, seconds = record["method"], record["kind"], record["seconds"]
        if record["format"] != FORMAT or record["spec"] != key(spec) or name not in METHODS:
            raise ValueError("it is not a record of this convolution")
        best = float(seconds[name])
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"jaxconv: a damaged file of measured times is ignored: {path} ({error}). Delete it.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    form = view_of(_real(spec), kind).form
    if refusal(METHODS[name], form) or (wants_exact(form) and not METHODS[name].exact):
        return None
    return Choice(name, kind, best, f"measured {best * 1e3:.3g} ms by tune")


@functools.lru_cache(maxsize=8192)
def decide(spec: ConvSpec, method: str = "auto") -> Choice:
    """The measured winner where "auto" is asked for and `tune` has seen `spec`; else `choose`."""
    chosen = choose(spec, method)
    if method != "auto" or not chosen.considered:
        return chosen
    found = recall(spec)
    if found is None:
        return chosen
    return dataclasses.replace(found, considered=chosen.considered, refused=chosen.refused)
