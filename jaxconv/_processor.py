"""What the system tells of the processor."""

from __future__ import annotations

import functools
import platform
from pathlib import Path


def told(name: str) -> str:
    """The first entry of that name in Linux's /proc/cpuinfo, "" where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(found, "")


@functools.cache
def model() -> str:
    """The name of the processor."""
    return told("model name") or platform.processor() or platform.machine()


def flags() -> set[str]:
    """What it has, in Linux's words ("avx2"); nothing where that is not told."""
    return set(told("flags").split())


@functools.cache
def avx2_only() -> bool:
    """Whether its vectors are those of AVX2, half as wide as those of AVX-512.

    False where that is not told.
    """
    has = flags()
    return "avx2" in has and "avx512f" not in has


@functools.cache
def early_avx512() -> bool:
    """Whether it has AVX-512 without bfloat16, as Intel's up to Ice Lake. False where not told."""
    has = flags()
    return "avx512f" in has and "avx512_bf16" not in has
