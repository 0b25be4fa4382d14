"""The coefficients of the cost model, by JAX and processor; files are written by a command."""

from __future__ import annotations

from jaxconv._calibration import (
    jax_0_10_avx2_forward_first,
    jax_0_10_avx2_forward_last,
    jax_0_10_avx2_weight_first,
    jax_0_10_avx2_weight_last,
    jax_0_10_forward_first,
    jax_0_10_forward_last,
    jax_0_10_weight_first,
    jax_0_10_weight_last,
    jax_0_12_avx2_forward_first,
    jax_0_12_avx2_forward_last,
    jax_0_12_avx2_weight_first,
    jax_0_12_avx2_weight_last,
    jax_0_12_forward_first,
    jax_0_12_forward_last,
    jax_0_12_weight_first,
    jax_0_12_weight_last,
)

# The generation of JAX; without more, they are for AVX-512.
COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {
    "0.10": jax_0_10_forward_first.COEFFICIENTS
    | jax_0_10_forward_last.COEFFICIENTS
    | jax_0_10_weight_first.COEFFICIENTS
    | jax_0_10_weight_last.COEFFICIENTS,
    "0.12": jax_0_12_forward_first.COEFFICIENTS
    | jax_0_12_forward_last.COEFFICIENTS
    | jax_0_12_weight_first.COEFFICIENTS
    | jax_0_12_weight_last.COEFFICIENTS,
    "0.10 avx2": jax_0_10_avx2_forward_first.COEFFICIENTS
    | jax_0_10_avx2_forward_last.COEFFICIENTS
    | jax_0_10_avx2_weight_first.COEFFICIENTS
    | jax_0_10_avx2_weight_last.COEFFICIENTS,
    "0.12 avx2": jax_0_12_avx2_forward_first.COEFFICIENTS
    | jax_0_12_avx2_forward_last.COEFFICIENTS
    | jax_0_12_avx2_weight_first.COEFFICIENTS
    | jax_0_12_avx2_weight_last.COEFFICIENTS,
}

__all__ = ["COEFFICIENTS"]
