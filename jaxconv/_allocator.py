"""tune_allocator: let glibc keep freed memory, so that large temporaries cost no page faults."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform

# The parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4

_KEEP = 2**31 - 1


def tune_allocator() -> str:
    """Make the C library keep freed memory for the next call instead of giving it back.

    XLA asks for its temporaries at each call. From a size of 128 KiB (rising to 32 MiB), glibc
    takes such memory from the kernel and gives it back when it is freed, so that every page of it
    costs a fault in every call: doubling an array of 60 MB took 16 ms on the machine this was
    measured on, 3.2 ms after this setting. It lasts until the process ends.

    Programs with a convolution of this library mostly ask for pieces below 32 MiB, and need it
    less. A piece of more than 64 MiB is taken from the kernel all the same, since glibc gives a
    thread no more in one piece and XLA allocates in threads of its own. With MALLOC_ARENA_MAX=1 in
    the environment when Python starts, such pieces are kept too, but all threads wait for one lock.

    The cost: memory once used stays with the process. Its size is that of its largest moment, even
    when nothing needs it any more, and other processes cannot have it. So it is not done unasked.

    Returns:
      One sentence that says what was done. Where the C library is not glibc (macOS, Windows, musl),
      nothing is done, and it says so.

    Source: mallopt(3): M_MMAP_MAX=0 (no memory by mmap), M_TRIM_THRESHOLD (give back nothing below
      2 GiB), M_TOP_PAD.

    Example:
      >>> import jaxconv
      >>> said = jaxconv.tune_allocator()
    """
    if platform.libc_ver()[0] != "glibc":
        return "jaxconv: tune_allocator does nothing here: the C library is not glibc."
    libc = ctypes.CDLL(None)
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _KEEP), (_M_TOP_PAD, 16 * 2**20))
    if not all([libc.mallopt(name, value) for name, value in settings]):
        return "jaxconv: tune_allocator: mallopt refused a setting; nothing can be relied on."
    return (
        "jaxconv: glibc now keeps freed memory: fewer page faults, memory stays with the process."
    )
