"""ConvSpec: one general convolution, in lax's words, without its arrays.

Everything that is known of a convolution before its data: shapes, dtypes and the parameters of
`jax.lax.conv_general_dilated`. It is frozen and hashable, so it can key a cache, a table of
measured times, or a choice of method.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from jax import lax

from jaxconv import _compat

Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def dilated(size: int, dilation: int) -> int:
    """The length of `size` elements with `dilation - 1` gaps between neighbours."""
    return 0 if size == 0 else (size - 1) * dilation + 1


@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """The static description of one `lax.conv_general_dilated`.

    Attributes:
      lhs_shape, rhs_shape: shapes as given, in the order that `dimension_numbers` says.
      lhs_dtype, rhs_dtype: dtypes of the operands.
      window_strides, padding, lhs_dilation, rhs_dilation: one entry for each spatial dimension;
        padding is a pair (low, high), which may be negative (a crop).
      dimension_numbers: `lax.ConvDimensionNumbers`.
      feature_group_count, batch_group_count: at most one of them is over 1.
      precision: as `lax.conv_general_dilated` canonicalises it.
      preferred_element_type: dtype of the result, or None for that of the operands.
      portable: whether the compiled program is to be kept or taken elsewhere, so that it may hold
        nothing that cannot be written to a file.
    """

    lhs_shape: Shape
    rhs_shape: Shape
    lhs_dtype: np.dtype
    rhs_dtype: np.dtype
    window_strides: Shape
    padding: Pads
    lhs_dilation: Shape
    rhs_dilation: Shape
    dimension_numbers: lax.ConvDimensionNumbers
    feature_group_count: int = 1
    batch_group_count: int = 1
    precision: Any = None
    preferred_element_type: np.dtype | None = None
    portable: bool = False

    @classmethod
    def of(
        cls, lhs: Any, rhs: Any, params: dict[str, Any], *, portable: bool | None = None
    ) -> ConvSpec:
        """The spec of a convolution of `lhs` and `rhs` (anything with shape and dtype).

        As far as nothing else is said, it is portable while JAX keeps its programs on disk.
        """
        preferred = params["preferred_element_type"]
        return cls(
            tuple(lhs.shape),
            tuple(rhs.shape),
            np.dtype(lhs.dtype),
            np.dtype(rhs.dtype),
            tuple(params["window_strides"]),
            tuple((lo, hi) for lo, hi in params["padding"]),
            tuple(params["lhs_dilation"]),
            tuple(params["rhs_dilation"]),
            lax.ConvDimensionNumbers(*(tuple(s) for s in params["dimension_numbers"])),
            params["feature_group_count"],
            params["batch_group_count"],
            params["precision"],
            None if preferred is None else np.dtype(preferred),
            _compat.kept_on_disk() if portable is None else portable,
        )

    @property
    def ndim(self) -> int:
        """The number of spatial dimensions."""
        return len(self.window_strides)

    @property
    def batch(self) -> int:
        """The batch size of lhs."""
        return self.lhs_shape[self.dimension_numbers.lhs_spec[0]]

    @property
    def in_channels(self) -> int:
        """The number of features of lhs, over all groups."""
        return self.lhs_shape[self.dimension_numbers.lhs_spec[1]]

    @property
    def out_channels(self) -> int:
        """The number of output features of rhs, over all groups."""
        return self.rhs_shape[self.dimension_numbers.rhs_spec[0]]

    @property
    def spatial(self) -> Shape:
        """The spatial shape of lhs."""
        return tuple(self.lhs_shape[d] for d in self.dimension_numbers.lhs_spec[2:])

    @property
    def kernel(self) -> Shape:
        """The spatial shape of rhs."""
        return tuple(self.rhs_shape[d] for d in self.dimension_numbers.rhs_spec[2:])

    @property
    def out_spatial(self) -> Shape:
        """The spatial shape of the result."""
        sizes = []
        for n, k, s, (lo, hi), ld, rd in zip(
            self.spatial,
            self.kernel,
            self.window_strides,
            self.padding,
            self.lhs_dilation,
            self.rhs_dilation,
            strict=True,
        ):
            room = dilated(n, ld) + lo + hi - dilated(k, rd)
            sizes.append(max(0, room // s + 1))
        return tuple(sizes)

    @property
    def out_shape(self) -> Shape:
        """The shape of the result, in the order that `dimension_numbers` says."""
        logical = (self.batch // self.batch_group_count, self.out_channels, *self.out_spatial)
        shape = [0] * len(logical)
        for size, place in zip(logical, self.dimension_numbers.out_spec, strict=True):
            shape[place] = size
        return tuple(shape)

    @property
    def out_dtype(self) -> np.dtype:
        """The dtype of the result."""
        return self.preferred_element_type or self.lhs_dtype

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct sum, padding counted, zeros of lhs not.

        A convolution over a dilated input touches only one in `lhs_dilation` positions.
        """
        fan_in = self.in_channels // self.feature_group_count
        products = (math.prod(self.out_shape) * fan_in * math.prod(self.kernel)) // math.prod(
            self.lhs_dilation
        )
        return 2 * products

    @property
    def is_static(self) -> bool:
        """Whether every size is a plain integer (False in a shape-polymorphic export)."""
        sizes = (
            *self.lhs_shape,
            *self.rhs_shape,
            *self.window_strides,
            *self.lhs_dilation,
            *self.rhs_dilation,
            *(side for pair in self.padding for side in pair),
        )
        return all(isinstance(size, (int, np.integer)) for size in sizes)
