"""Temporaries in heaps that the C library keeps from call to call.

XLA asks for the temporaries of a program in one block at each call. From 32 MiB on glibc takes such
a block from the kernel and gives it back when it is freed, so that every page of it costs a fault
in every call. XLA has an option to lay the temporaries out in several heaps of limited size;
programs with a convolution of ours are compiled with it.

Source: xla_multiheap_size_constraint_per_heap in XLA's debug options (its buffer assignment);
mallopt(3), M_MMAP_THRESHOLD. Measured in docs/xla.md.
"""

from __future__ import annotations

import functools
import math
import os
import re
from typing import Any

import jax
from jax.extend.mlir import ir

from jaxconv import _compat

OPTION = "xla_multiheap_size_constraint_per_heap"
# Bytes of a heap: below the 32 MiB, and two of them fit the 64 MiB that glibc gives a thread.
SIZE = 28 << 20


def keep_in_heaps(ctx: Any) -> None:
    """Compile the program that is being lowered with `heap_options`."""
    _compat.add_compile_options(ctx, heap_options)


def heap_options(program: Any) -> dict[str, Any]:
    """The compiler options for a lowered program: none if the user chose in XLA_FLAGS.

    None for a program with an array larger than a heap either. XLA lets no two such arrays share
    their memory, not even one after the other, so that deep networks would need several times what
    they do in one block.
    """
    if OPTION in os.environ.get("XLA_FLAGS", "") or not known(OPTION):
        return {}
    return {OPTION: SIZE} if largest_array(program) <= SIZE else {}


@functools.cache
def known(option: str) -> bool:
    """Whether XLA has the option; a JAX newer than those this was written for is asked."""
    if _compat.JAX_VERSION < (0, 13):
        return True
    try:
        jax.jit(lambda: 0, compiler_options={option: 1 << 20}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def largest_array(program: Any) -> int:
    """Bytes of the largest result of an operation in a lowered program, before any fusion."""
    types = set()

    def see(operation: Any) -> Any:
        types.update(result.type for result in operation.results)
        return ir.WalkResult.ADVANCE

    program.operation.walk(see)
    return max(map(_bytes_of, types), default=0)


def _bytes_of(kind: Any) -> int:
    """Bytes of an array of a type like "tensor<2x3xf32>"; 0 for what is no array."""
    parts = re.fullmatch(r"tensor<((?:\d+x)*)(complex<)?[a-z]+(\d+).*>", str(kind))
    if not parts:
        return 0
    sizes, is_complex, bits = parts.groups()
    numbers = math.prod(int(size) for size in sizes.split("x")[:-1])
    return numbers * max(8, int(bits)) * (2 if is_complex else 1) // 8
