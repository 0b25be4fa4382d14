"""The table of methods: one file each, all with one signature."""

from __future__ import annotations

from jaxconv._methods import (
    channel_blocks,
    crop,
    depthwise,
    direct,
    expand,
    extra_row,
    fft,
    flatten,
    group_products,
    group_split,
    im2col,
    lax,
    onednn,
    padded,
    patches,
    phases,
    pointwise,
    scatter,
    shift_weight,
    shifts,
    space_to_batch,
    taps,
    toeplitz,
    volume,
    weight_lines,
    weight_patches,
    winograd,
)
from jaxconv._methods._base import Method

_TABLE = (
    # what JAX has, and the methods that teach; "auto" chooses among those from fft on, and lax
    lax.METHOD,
    direct.METHOD,
    toeplitz.METHOD,
    im2col.METHOD,
    fft.METHOD,
    # fast methods
    shifts.METHOD,
    depthwise.METHOD,
    channel_blocks.METHOD,
    shift_weight.METHOD,
    group_products.METHOD,
    group_split.METHOD,
    group_split.BLOCKS,
    pointwise.METHOD,
    onednn.METHOD,
    taps.METHOD,
    weight_patches.METHOD,
    weight_lines.METHOD,
    extra_row.METHOD,
    winograd.METHOD2,
    winograd.METHOD4,
    patches.METHOD,
    crop.METHOD,
    padded.METHOD,
    phases.METHOD,
    space_to_batch.METHOD,
    scatter.METHOD,
    volume.METHOD,
    flatten.METHOD,
    expand.METHOD,
)

METHODS: dict[str, Method] = {method.name: method for method in _TABLE}

__all__ = ["METHODS", "Method"]
