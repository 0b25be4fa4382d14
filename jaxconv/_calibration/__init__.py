"""The coefficients of the cost model, by JAX and processor; files are written by a command."""

from __future__ import annotations

from jaxconv._calibration import (
    jax_0_10_avx2_forward,
    jax_0_10_avx2_weight,
    jax_0_10_forward,
    jax_0_10_weight,
    jax_0_12_avx2_forward,
    jax_0_12_avx2_weight,
    jax_0_12_forward,
    jax_0_12_weight,
)

# The generation of JAX; without more, they are for AVX-512.
COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {
    "0.10": jax_0_10_forward.COEFFICIENTS | jax_0_10_weight.COEFFICIENTS,
    "0.12": jax_0_12_forward.COEFFICIENTS | jax_0_12_weight.COEFFICIENTS,
    "0.10 avx2": jax_0_10_avx2_forward.COEFFICIENTS | jax_0_10_avx2_weight.COEFFICIENTS,
    "0.12 avx2": jax_0_12_avx2_forward.COEFFICIENTS | jax_0_12_avx2_weight.COEFFICIENTS,
}

__all__ = ["COEFFICIENTS"]
