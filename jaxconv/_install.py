"""install and uninstall: the engine under every convolution of the process."""

from __future__ import annotations

import functools
import threading

import jax

from jaxconv import _compat, _lax_pools
from jaxconv._primitive import lower_cpu

_lock = threading.Lock()
_installed = False
_RULES = {
    _compat.lax_conv_p: functools.partial(lower_cpu, method="auto"),
    **{p: functools.partial(_lax_pools.lower_cpu, primitive=p) for p in _lax_pools.FUNCTIONS},
}


def install() -> str:
    """Make this library compute JAX's own convolution on the CPU, in the whole process.

    Replaces the CPU lowering of `lax.conv_general_dilated`, so that Flax, Equinox, Haiku, Keras,
    `jax.scipy.signal` and everything else that convolves becomes fast without a change. Programs
    compiled before are forgotten (`jax.clear_caches`), and are compiled anew when they are called.
    Max pooling and its gradient are ours too. Other platforms are not touched. A second call does
    nothing. Safe from several threads.

    Programs with a convolution are also compiled with their temporaries in several heaps, which the
    C library keeps from call to call, if no array is larger than 28 MiB (docs: "The engine",
    Memory). For that, a function of JAX is wrapped, and stays so.

    Returns:
      One sentence that says what was done.

    See `uninstall` for the way back, `accelerate` for one function only.

    Example:
      >>> import jaxconv
      >>> print(jaxconv.install())
      jaxconv: installed as the CPU lowering of lax.conv_general_dilated; compiled programs cleared.
      >>> print(jaxconv.install())
      jaxconv: already installed; nothing done.
      >>> print(jaxconv.uninstall())
      jaxconv: uninstalled; JAX's own CPU lowering is back; compiled programs cleared.
    """
    global _installed
    with _lock:
        if _installed:
            return "jaxconv: already installed; nothing done."
        for primitive, rule in _RULES.items():
            _compat.replace_cpu_lowering(primitive, rule)
        _installed = True
        jax.clear_caches()
        return (
            "jaxconv: installed as the CPU lowering of lax.conv_general_dilated; "
            "compiled programs cleared."
        )


def uninstall() -> str:
    """Put JAX's own CPU lowering of its convolution back, exactly as it was.

    Returns:
      One sentence that says what was done.
    """
    global _installed
    with _lock:
        if not _installed:
            return "jaxconv: not installed; nothing done."
        _compat.restore_cpu_lowerings()
        _installed = False
        jax.clear_caches()
        return "jaxconv: uninstalled; JAX's own CPU lowering is back; compiled programs cleared."


def installed() -> bool:
    """Whether `install` is in force."""
    return _installed
