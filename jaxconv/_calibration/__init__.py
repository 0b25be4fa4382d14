"""The coefficients of the cost model, by generation of JAX: a file each, written by a command."""

from __future__ import annotations

from jaxconv._calibration import jax_0_10, jax_0_12

COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {
    "0.10": jax_0_10.COEFFICIENTS,
    "0.12": jax_0_12.COEFFICIENTS,
}

__all__ = ["COEFFICIENTS"]
