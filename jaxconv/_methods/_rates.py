"""How fast a method is at most: the floors of estimates for what no layer that was timed is like.

An estimate is linear in quantities that differ little among the layers of networks, and far from
them it may come to more multiply-adds a second than the processor does. Each rate here is one that
no measurement on two cores with AVX-512 exceeded (`python -m jaxconv calibrate`, and random layers
unlike those of networks).
"""

from __future__ import annotations

import math

from jaxconv._form import Form

# Multiply-adds a second of a loop over terms that are written out: half as many were seen.
LOOP_RATE = 60e9
# Numbers a second of a matrix of windows to be multiplied, or of products to be added up, where
# each stands for so FEW channels, or of a kernel of MANY_TAPS for SOME; of more, estimates are of
# measurements.
MATRIX_RATE, FEW, SOME, MANY_TAPS = 1e9, 3, 16, 49


def of_loops(form: Form) -> float:
    """Multiply-adds a second of sums of written terms."""
    return LOOP_RATE


def by_outputs(form: Form) -> float:
    """Where the windows of each group are multiplied: each number is used for every output."""
    return MATRIX_RATE * form.out_channels if form.out_channels <= FEW else math.inf


def by_inputs(form: Form) -> float:
    """Where the products of all taps are added up: each is a sum over the inputs."""
    few = SOME if form.taps >= MANY_TAPS else FEW
    return MATRIX_RATE * form.in_channels if form.in_channels <= few else math.inf
