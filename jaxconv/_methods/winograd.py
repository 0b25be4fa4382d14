"""winograd2 and winograd4: kernels of three taps with fewer multiplications.

Along one dimension, m outputs of r taps see t = m + r - 1 inputs d. They are the coefficients of a
product of polynomials, and a product of polynomials is known from its values at t points: transform
the inputs and the kernel g, multiply entry by entry, transform back,

    y = A^T [ (G g) * (B^T d) ],

t multiplications in place of m r. In two dimensions each side is transformed twice, and an entry's
product over all channels is a matrix product. For 3x3 that makes 2.25 times fewer multiplications
with m = 2 and 4 times with m = 4, against more rounding and the time for the transforms.

The weight gradient is the same with the roles changed: its 3 outputs are sums of m taps, the
gradient of a tile of outputs.

The points for m = 4 are 0, infinity, and c, -c, 1/c, -1/c with c = sqrt(2): a quarter of the error
that 0, 1, -1, 2, -2 have.

Source: A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016,
equations 8 to 12 and section 4.3, after S. Winograd, "Arithmetic Complexity of Computations",
1980. The points: S. A. Alam, A. Anderson, B. Barabasz, D. Gregg, "Winograd convolution for deep
neural networks: efficient point selection", 2022 (arXiv:2201.10369).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, in_the_plane, pad_positions
from jaxconv._methods._base import Method
from jaxconv._methods._loop import Index, cut, divisor, join, part, total, traced_once
from jaxconv._methods._products import over_rows, product
from jaxconv._methods._terms import add_up, times
from jaxconv._methods._transposes import apart_if_large, moved_last

# The points for tiles of t inputs; one more lies at infinity.
POINTS = {4: (0.0, 1.0, -1.0), 6: (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))}
# With more channels than this the rounding would leave the accuracy that "auto" promises.
MOST_CHANNELS = {2: 2048, 4: 512}
# Transformed entries of input and output in a block: 16 MiB. Smaller ones leave the cores idle,
# larger ones paid for new pages in each call where temporaries lie in one block.
MOST = 1 << 22
# Temporary numbers beyond twice the arrays: 32 MiB.
SPARE = 1 << 23
# Multiply-adds of the product, and entries transformed, a second; two AVX-512 cores.
PRODUCT, TRANSFORM, CALL = 100e9, 0.8e9, 40e-6


class Transforms(NamedTuple):
    """A^T (outputs, t), G (t, taps) and B^T (t, t)."""

    back: np.ndarray
    kernel: np.ndarray
    input: np.ndarray


@functools.cache
def transforms(outputs: int, taps: int) -> Transforms:
    """The matrices for so many outputs of so many taps, after Toom and Cook.

    Rows of B^T are the polynomials that are zero at all points but one, G and A^T the powers of the
    points; what makes the value at a point 1 is in G.
    """
    if outputs == taps == 1:
        one = np.ones((1, 1))
        return Transforms(one, one, one)
    size = outputs + taps - 1
    points = POINTS[size]
    others = [[q for q in points if q != p] for p in points]
    scale = [math.prod(p - q for q in rest) for p, rest in zip(points, others, strict=True)]
    rows = [np.poly(rest)[::-1] for rest in others]
    input = np.zeros((size, size))
    for row, found in zip(input, [*rows, np.poly(points)[::-1]], strict=True):
        row[: len(found)] = np.where(np.abs(found) < 1e-12, 0, found)
    kernel = np.zeros((size, taps))
    kernel[:-1] = [[p**k / n for k in range(taps)] for p, n in zip(points, scale, strict=True)]
    kernel[-1, -1] = 1
    back = np.array([[*(p**k for p in points), k == outputs - 1] for k in range(outputs)], float)
    return Transforms(back, kernel, input)


def scaled(c: float, entry: Array) -> Array:
    """c * entry, without a product for 1 and -1."""
    if abs(c) == 1:
        return entry if c == 1 else lax.neg(entry)
    return times(entry, np.asarray(c, np.float32))


def mixed(matrix: np.ndarray, entries: Sequence[Array]) -> list[Array]:
    """matrix @ entries, without the products with 0 and 1."""
    rows = []
    for row in matrix.tolist():
        terms = [scaled(c, entry) for c, entry in zip(row, entries, strict=True) if c]
        rows.append(add_up(terms, 1))
    return rows


def neighbours(x: Array, i: int, count: int, axis: int) -> Array:
    """Positions i, i + step, ..., `count` of them, of an axis split in two: (blocks, step)."""
    step = x.shape[axis + 1]
    begin, end = [0] * x.ndim, list(x.shape)
    begin[axis : axis + 2] = i // step, i % step
    end[axis : axis + 2] = i // step + count, i % step + 1
    return lax.squeeze(lax.slice(x, begin, end), (axis + 1,))


def spread(x: Array, tiles: tuple[int, int], steps: Sequence[int], by: list[np.ndarray]) -> Array:
    """Tiles of x (N, H, W, C), `steps` apart, transformed: (entries, N * tall * wide, C).

    The columns are mixed by one sum with numbers read from an array: as sums of their own, of runs
    as short as C, they compile two to five times as slowly. Rows are long runs.
    """
    (tall, wide), (down, beside), (for_rows, for_columns) = tiles, steps, by
    n, _, width, c = x.shape
    x = x.reshape(n, -1, down, width * c)
    rows = [neighbours(x, i, tall, 1) for i in range(for_rows.shape[1])]
    x = lax.optimization_barrier(jnp.stack(mixed(for_rows, rows)))
    x = x.reshape(len(for_rows), n, tall, width // beside, beside, c)
    numbers = for_columns.T.astype(np.float32).reshape(*for_columns.T.shape, 1, 1, 1, 1)
    columns = [lax.expand_dims(neighbours(x, j, wide, 3), (1,)) for j in range(len(numbers))]
    terms = list(map(times, columns, numbers))
    return add_up(terms, 1).reshape(-1, n * tall * wide, c)


def both_ways(by: list[np.ndarray], entries: Array) -> Array:
    """Entries (t * t, ...) transformed over rows and columns: one product, so read but once."""
    matrix = np.kron(*by).astype(np.float32)
    flat = jnp.matmul(matrix, entries.reshape(matrix.shape[1], -1), precision=lax.Precision.HIGHEST)
    return flat.reshape(-1, *entries.shape[1:])


class Plan(NamedTuple):
    """How a result is covered: in blocks of some images, or of a band of tiles of one image.

    Attributes:
      steps: outputs of a tile, down and across.
      images: in a block.
      tiles: of an image in a block, down and across.
      bands: blocks of an image, where that has several; they follow each other on `axis`.
      axis: 1 or 2.
    """

    steps: tuple[int, ...]
    images: int
    tiles: tuple[int, int]
    bands: int
    axis: int

    @property
    def outputs(self) -> tuple[int, ...]:
        """Rows and columns of a block."""
        return tuple(count * step for count, step in zip(self.tiles, self.steps, strict=True))

    def whole(self, more: Sequence[int] = (0, 0)) -> list[int]:
        """Rows and columns of all blocks of an image, and `more` tiles."""
        counts = [n * self.bands if d + 1 == self.axis else n for d, n in enumerate(self.tiles)]
        return [(n + m) * step for n, m, step in zip(counts, more, self.steps, strict=True)]

    def count(self, batch: int) -> int:
        """How many blocks so many images make."""
        return batch * self.bands // self.images

    def cutter(
        self, x: Array, pad: Callable[[Array], Array], more: Sequence[int] = (0, 0)
    ) -> Callable[[Index], Array]:
        """What block i takes of the padded x: images, padded by themselves, or a band of one."""
        if self.bands == 1:
            return lambda i: pad(part(x, i, self.images))
        x = pad(x)
        sizes = [n + m * step for n, m, step in zip(self.outputs, more, self.steps, strict=True)]

        def band(i: Index) -> Array:
            start: list[Index] = [i // self.bands, 0, 0, 0]
            start[self.axis] = i % self.bands * self.outputs[self.axis - 1]
            return cut(x, start, (1, *sizes, x.shape[-1]))

        return band


def steps_of(form: Form, m: int) -> tuple[int, ...]:
    """Outputs of a tile in each dimension: m, or 1 where there is but one tap."""
    return tuple(m if k > 1 else 1 for k in form.kernel)


def tiles_of(form: Form, m: int) -> tuple[int, ...]:
    """How many tiles cover the result in each dimension."""
    counts = zip(form.out_spatial, steps_of(form, m), strict=True)
    return tuple(-(-out // step) for out, step in counts)


def entries_of(form: Form, m: int) -> int:
    """Transformed numbers of a tile and channel."""
    return math.prod(step + k - 1 for step, k in zip(steps_of(form, m), form.kernel, strict=True))


def tiles_in_all(form: Form, m: int) -> int:
    """How many tiles cover the results of the batch."""
    return form.batch * math.prod(tiles_of(form, m))


def numbers_of(form: Form, m: int) -> int:
    """Transformed numbers of a tile, of input and output."""
    return entries_of(form, m) * (form.in_channels + form.out_channels)


def plan(form: Form, m: int) -> Plan:
    """Blocks of up to MOST entries, of whole images if one has no more."""
    steps, (tall, wide) = steps_of(form, m), tiles_of(form, m)
    tile = numbers_of(form, m)
    if tall * wide * tile <= MOST:
        images = divisor(form.batch, MOST // (tall * wide * tile))
        return Plan(steps, images, (tall, wide), 1, 1)
    by_rows = tall > 1 and wide * tile <= MOST
    count, other = (tall, wide) if by_rows else (wide, tall)
    bands = -(-count // max(1, MOST // (other * tile)))
    size = -(-count // bands)
    bands = -(-count // size)
    tiles, axis = ((size, wide), 1) if by_rows else ((tall, size), 2)
    return Plan(steps, 1, tiles, bands, axis)


def padded(x: Array, form: Form, whole: Sequence[int]) -> Array:
    """x with its padding, zeros in place of what is cropped, up to `whole` rows and columns."""
    seen = [n + min(hi, 0) for n, (_, hi) in zip(form.spatial, form.padding, strict=True)]
    x = x[:, : seen[0], : seen[1]]
    sides = zip(form.padding, whole, seen, strict=True)
    return pad_positions(x, [(lo, size - lo - n, 0) for (lo, _), size, n in sides], "last")


def forward(x: Array, w: Array, form: Form, m: int) -> Array:
    """y, a block at a time."""
    plane = in_the_plane(form)
    blocks = plan(plane, m)
    found = [transforms(s, k) for s, k in zip(blocks.steps, plane.kernel, strict=True)]
    more = [int(k > 1) for k in plane.kernel]  # a tile reaches into the next one
    x = moved_last(x, form).reshape(plane.x_shape)
    w = w.reshape(plane.taps, *w.shape[-2:])
    u = both_ways([t.kernel for t in found], w)
    seen = blocks.cutter(x, lambda x: padded(x, plane, blocks.whole(more)), more)

    @traced_once
    def transformed(x: Array) -> Array:
        v = spread(x, blocks.tiles, blocks.steps, [t.input for t in found])
        z = product(v, u, form)
        return lax.optimization_barrier(both_ways([t.back for t in found], z))

    def images(y: Array) -> Array:
        (tall, wide), (down, beside) = blocks.tiles, blocks.steps
        y = y.reshape(down, beside, -1, tall, wide, form.out_channels)
        return y.transpose(2, 3, 0, 4, 1, 5).reshape(-1, *blocks.outputs, form.out_channels)

    def together(*parts: Array) -> Array:
        return jnp.concatenate([images(y) for y in parts])

    count = blocks.count(form.batch)
    if count <= 2:
        # Two blocks side by side: where a product keeps to one core, each has its own.
        parts = [transformed(seen(i)) for i in range(count)]
        y = apart_if_large(together, *parts) if form.layout == "first" else together(*parts)
    else:
        y = join(count, lambda i: images(transformed(seen(i))))
    if blocks.bands > 1:
        y = y.reshape(form.batch, blocks.bands, *y.shape[1:])
        y = jnp.moveaxis(y, 1, blocks.axis)  # nothing moves where the bands are rows
    y = y.reshape(form.batch, *blocks.whole(), form.out_channels)
    return y[:, : plane.out_spatial[0], : plane.out_spatial[1]].reshape(form.y_shape)


def weight(x: Array, y: Array, form: Form, m: int) -> Array:
    """w, the sum of the blocks' products, transformed once."""
    plane = in_the_plane(form)
    blocks = plan(plane, m)
    found = [transforms(k, s) for s, k in zip(blocks.steps, plane.kernel, strict=True)]
    more = [int(k > 1) for k in plane.kernel]
    x, y = moved_last(x, form), moved_last(y, form)
    x, y = x.reshape(plane.x_shape), y.reshape(plane.y_shape)
    sides = zip(blocks.whole(), plane.out_spatial, strict=True)
    below = [(0, size - out, 0) for size, out in sides]
    seen = blocks.cutter(x, lambda x: padded(x, plane, blocks.whole(more)), more)
    outputs = blocks.cutter(y, lambda y: pad_positions(y, below, "last"))

    def block(i: Index) -> Array:
        v = spread(seen(i), blocks.tiles, blocks.steps, [t.input for t in found])
        u = spread(outputs(i), blocks.tiles, blocks.steps, [t.kernel for t in found])
        return over_rows(v, u, form)

    return both_ways([t.back for t in found], total(blocks.count(form.batch), block)).reshape(
        form.w_shape
    )


def supports(form: Form, m: int) -> str | None:
    """Kernels of three taps (and one) in up to two dimensions, plain, float32, enough channels."""
    if form.ndim > 2 or set(form.kernel) - {1, 3} or form.taps == 1 or form.groups > 1:
        return "takes a kernel of 3x3, 3x1, 1x3 or 3, and one group"
    if {*form.strides, *form.dilation, *form.lhs_dilation} != {1}:
        return "takes stride 1 and no dilation"
    if form.dtype != np.float32:
        return f"takes float32, not {form.dtype}"
    if form.examples > 1:
        return "takes one example"
    if form.kind == "forward" and form.in_channels > MOST_CHANNELS[m]:
        return (
            f"takes at most {MOST_CHANNELS[m]} channels for its rounding, here {form.in_channels}"
        )
    if form.in_channels < 8 or form.out_channels < 8:
        return "takes at least 8 channels"
    tiles = tiles_in_all(form, m)
    if form.in_channels * form.out_channels > 2 * tiles * (form.in_channels + form.out_channels):
        return f"takes images with more work than its kernel's transform, here {tiles} tiles"
    allowed = 2 * sum(map(math.prod, (form.x_shape, form.w_shape, form.y_shape))) + SPARE
    if held(form, m) > allowed:
        return "takes kernels whose transform is not much larger than the arrays"
    return None


def held(form: Form, m: int) -> float:
    """Numbers held at once, about: transformed kernels, and blocks with their mixed rows."""
    kernels = entries_of(form, m) * form.in_channels * form.out_channels
    everything = tiles_in_all(form, m) * numbers_of(form, m)
    if form.kind == "weight":  # the sum so far, and a block's
        return 2 * kernels + 1.5 * min(MOST, everything)
    return kernels + 1.5 * min(2 * MOST, everything)


def in_whole_tiles(form: Form, m: int) -> Form:
    """`form` with its outputs, where there are taps, up to a whole number of tiles."""
    counts = zip(tiles_of(form, m), steps_of(form, m), strict=True)
    return dataclasses.replace(form, out_spatial=tuple(n * step for n, step in counts))


def cost(form: Form, m: int) -> float:
    """The products, and the transforms of the two larger arrays and of the third."""
    tiles, kernels = (
        tiles_in_all(form, m),
        entries_of(form, m) * form.in_channels * form.out_channels,
    )
    transformed = tiles * numbers_of(form, m)
    return tiles * kernels / PRODUCT + transformed / TRANSFORM + kernels / 2e9 + CALL


def method(m: int) -> Method:
    """The method with tiles of m outputs in a dimension."""
    return Method(
        f"winograd{m}",
        f"three taps with {3 * m / (m + 2):g} times fewer products a dimension, tiles of {m}",
        functools.partial(supports, m=m),
        functools.partial(forward, m=m),
        functools.partial(weight, m=m),
        functools.partial(cost, m=m),
        exact=False,
        work=functools.partial(in_whole_tiles, m=m),
    )


METHOD2, METHOD4 = method(2), method(4)
