"""The coefficients of the cost model, by generation of JAX; files are written by a command."""

from __future__ import annotations

from jaxconv._calibration import (
    jax_0_10_avx2,
    jax_0_10_forward,
    jax_0_10_weight,
    jax_0_12_avx2,
    jax_0_12_forward,
    jax_0_12_weight,
)

COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {
    "0.10": jax_0_10_forward.COEFFICIENTS | jax_0_10_weight.COEFFICIENTS,
    "0.12": jax_0_12_forward.COEFFICIENTS | jax_0_12_weight.COEFFICIENTS,
}
# How many times as long a processor with AVX2 takes.
FACTORS: dict[str, dict[str, float]] = {
    "0.10": jax_0_10_avx2.FACTORS,
    "0.12": jax_0_12_avx2.FACTORS,
}

__all__ = ["COEFFICIENTS", "FACTORS"]
