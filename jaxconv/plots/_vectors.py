"""What figures ask of the vectors they draw."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def vectors(name: str, **arrays: Any) -> list[np.ndarray]:
    """The arguments as vectors, none of them empty."""
    found = [np.asarray(array, np.float32) for array in arrays.values()]
    if any(array.ndim != 1 or not array.size for array in found):
        raise ValueError(
            f"{name}: {' and '.join(arrays)} must have one axis; got {_shapes(arrays, found)}."
        )
    return found


def of_one_length(name: str, **arrays: Any) -> list[jax.Array]:
    """The arguments as vectors of one length, for JAX to differentiate."""
    found = [jnp.asarray(array, jnp.float32) for array in arrays.values()]
    if found[0].ndim != 1 or any(array.shape != found[0].shape for array in found):
        raise ValueError(
            f"{name}: {' and '.join(arrays)} must be (n,) each; got {_shapes(arrays, found)}."
        )
    return found


def _shapes(arrays: dict[str, Any], found: Any) -> str:
    return ", ".join(f"{key} {a.shape}" for key, a in zip(arrays, found, strict=True))
