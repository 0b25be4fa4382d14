"""Whether oneDNN can be called: the library that PyTorch's convolutions come from on x86.

jaxlib for Linux on x86-64 is built with oneDNN in it, and XLA has custom calls to it, for a
convolution and for a matrix product, which it makes itself under an experimental option. Any JAX
program can make them too, through `jax.ffi` (`_onednn_calls` has how). Nobody promises that they
stay as they are, so one of each is tried first, once in a process, against numbers that are known.

Source: onednn_convolution.cc and onednn_matmul.cc in xla/service/cpu, of XLA.
"""

from __future__ import annotations

import functools
import os
import platform
import sys
import threading

import jax
import numpy as np

from jaxconv import _compat, _onednn_calls, _processor
from jaxconv._environment import asked

# The versions of jaxlib whose calls were looked at, from 0.10.0 to 0.12.0.1, and the first that was
# not. What it does not understand, oneDNN answers by ending the process: a trial would not do.
SEEN, UNSEEN = (0, 10), (0, 13)
# The first whose oneDNN has code of its own for products with AVX2. An older one (3.7.3) leaves
# them to a way that writes where it must not: the process ended or stood still.
SAFE_PRODUCTS = (0, 12)
# Bytes of the vectors of AVX-512 and of AVX2; what oneDNN needs of the processor for each, and the
# words in ONEDNN_MAX_CPU_ISA that allow it (how they begin).
WIDE, NARROW = 64, 32
ANYTHING = ("DEFAULT", "ALL", "AVX512", "AVX10")
NEEDS = {
    WIDE: ({"avx512f", "avx512bw", "avx512vl", "avx512dq"}, ANYTHING),
    NARROW: ({"avx2", "fma"}, (*ANYTHING, "AVX2")),
}
# XLA's own use of the calls, with which ours were not tried.
XLA_OPTION = "xla_cpu_experimental_onednn_custom_call"


def wanted() -> bool:
    """Whether it may be used: unless JAXCONV_ONEDNN=off, or this jaxlib was not looked at.

    JAXCONV_ONEDNN=on has it tried there too.
    """
    said = asked("JAXCONV_ONEDNN")
    if said is not None:
        return said
    looked_at = SEEN <= _compat.JAXLIB_VERSION < UNSEEN
    return looked_at and XLA_OPTION not in os.environ.get("XLA_FLAGS", "")


@functools.cache
def vector_bytes() -> int:
    """Bytes of the vectors that oneDNN computes with: WIDE, NARROW, or 0 if its code is slow here.

    It is the processor's, unless the user allows oneDNN less.
    """
    has = _processor.flags()
    most = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "DEFAULT"
    for size, (needed, allowed) in NEEDS.items():
        if needed <= has and most.upper().startswith(allowed):
            return size
    return 0


def any_order() -> bool:
    """Whether convolutions of images that lie channels first are fast: with AVX-512 alone.

    With AVX2 oneDNN has plain loops for them, of a thousand times the time, and in older versions
    the way that is not safe for products.
    """
    return vector_bytes() == WIDE


def products() -> bool:
    """Whether the call of a product is there, computes what it should, and is safe."""
    return available() and _safe_products()


def _safe_products() -> bool:
    return vector_bytes() == WIDE or _compat.JAXLIB_VERSION >= SAFE_PRODUCTS


@functools.cache
def available() -> bool:
    """Whether the calls are there and compute what they should.

    Tried in a thread of its own, outside the transformations and context managers of the caller.
    """
    if not wanted() or sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    if not vector_bytes():
        return False
    found: list[bool] = []
    trial = threading.Thread(target=lambda: found.append(_right()))
    try:
        trial.start()
    except RuntimeError:  # no more threads
        return False
    trial.join()
    return found == [True]


def _right() -> bool:
    """Whether a small grouped convolution comes out right, and a product if it may be asked for."""
    x = np.arange(24, dtype=np.float32).reshape(1, 6, 4)
    w = np.arange(-12, 12, dtype=np.float32).reshape(3, 2, 4)
    parts = np.pad(x, ((0, 0), (1, 1), (0, 0))).reshape(8, 2, 2), w.reshape(3, 2, 2, 2)
    seen = np.stack([parts[0][k : k + 5 : 2] for k in range(3)])
    y = np.einsum("kpgc,kcgo->pgo", seen, parts[1])

    def convolution(x: jax.Array, w: jax.Array) -> jax.Array:
        return _onednn_calls.convolution(
            x,
            w,
            (1, 3, 4),
            images=(0, 2, 1),
            kernel=(2, 1, 0),
            strides=(2,),
            padding=((1, 1),),
            dilation=(1,),
            groups=2,
        )

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        return _onednn_calls.product(a, b, transpose_b=True)

    try:
        device = jax.local_devices(backend="cpu")[0]
        with jax.default_device(device), jax.transfer_guard("allow"), jax.disable_jit(False):
            found = [jax.jit(convolution)(x, w)]
            if _safe_products():
                found.append(jax.jit(product)(x[0], w[0]))
    except Exception:  # whatever a JAX that has no such calls says
        return False
    right = y.reshape(1, 3, 4), x[0] @ w[0].T
    return all(map(np.array_equal, found, right))
