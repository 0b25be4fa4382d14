"""winograd2 and winograd4: 3x3 convolutions with fewer multiplications.

An output tile of m x m is made of the products of (m + 2)^2 numbers, not 9 m^2: a tile of the
input, d, and the kernel, g, are transformed, multiplied entry by entry (a matrix product over
channels for each entry), and transformed back,

    Y = A^T [ (G g G^T) * (B^T d B) ] A.

2.25 times fewer multiplications for m = 2, 4 times for m = 4, against more rounding: the entries
of the transforms for m = 4 reach 8.

Source: A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016,
equations 8 to 12 and section 4.3, after S. Winograd, "Arithmetic Complexity of Computations",
1980.
"""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxconv._form import Form, pad_positions
from jaxconv._methods._base import Method
from jaxconv._methods._loop import Index, join, part

# (A^T, G, B^T) for tiles of m outputs along a dimension.
TRANSFORMS = {
    2: (
        np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32),
        np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32),
        np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32),
    ),
    4: (
        np.array(
            [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
            np.float32,
        ),
        np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24,
        np.array(
            [
                [4, 0, -5, 0, 1, 0],
                [0, -4, -4, 1, 1, 0],
                [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0],
                [0, 2, -1, -2, 1, 0],
                [0, 4, 0, -5, 0, 1],
            ],
            np.float32,
        ),
    ),
}
# With more channels than this, m = 4 would leave the accuracy that "auto" promises.
MOST_CHANNELS = {2: 2048, 4: 512}
# Entries of the transformed tiles of a block of images: 4 MiB, in the last cache. But so many
# tiles, up to 16 MiB: products of few rows run at half the rate.
BLOCK, TILES, MOST = 1 << 20, 256, 1 << 22
# Multiply-adds of the product, and entries transformed, a second; two AVX-512 cores.
PRODUCT, TRANSFORM, CALL = 100e9, 0.8e9, 40e-6


def mixed(matrix: np.ndarray, parts: list[Array]) -> list[Array]:
    """matrix @ parts, without the products with 0 and 1."""
    rows = []
    for row in matrix:
        terms = [
            part if c == 1 else -part if c == -1 else np.float32(c) * part
            for c, part in zip(row, parts, strict=True)
            if c
        ]
        rows.append(functools.reduce(jnp.add, terms))
    return rows


def both_ways(a: np.ndarray) -> np.ndarray:
    """The matrix that does to a flat tile what a does to its rows and then to its columns."""
    return np.kron(a, a)


def kernel_tiles(w: Array, m: int) -> Array:
    """G g G^T: ((m + 2)^2, C, O), as one product, so that w is read once, however it lies."""
    both = both_ways(TRANSFORMS[m][1].astype(np.float32))
    tiles = jnp.matmul(both, w.reshape(9, -1), precision=lax.Precision.HIGHEST)
    return tiles.reshape(-1, *w.shape[2:])


def input_tiles(x: Array, tiles: tuple[int, int], m: int) -> Array:
    """B^T d B of the overlapping tiles of x (N, (th + 1) m, (tw + 1) m, C): (t, t, N, th, tw, C).

    A tile is m rows of its own and the first two of the next one, and so with its columns. The
    columns are mixed by one sum with numbers read from an array: as six sums, of runs as short as
    C, they compile two to five times as slowly. Rows are long runs.
    """
    b, (th, tw) = TRANSFORMS[m][2], tiles
    n, _, width, c = x.shape
    x = x.reshape(n, th + 1, m, width * c)
    rows = [x[:, :th, i] for i in range(m)] + [x[:, 1:, i] for i in range(2)]
    x = lax.optimization_barrier(jnp.stack(mixed(b, rows)))
    x = x.reshape(m + 2, n, th, tw + 1, m, c)
    columns = [x[..., :tw, j, :] for j in range(m)] + [x[..., 1:, j, :] for j in range(2)]
    weights = b.T.reshape(m + 2, m + 2, 1, 1, 1, 1)
    terms = (part[:, None] * weight for part, weight in zip(columns, weights, strict=True))
    return functools.reduce(jnp.add, terms)


def output_tiles(z: Array, m: int) -> Array:
    """A^T z A of the products z (t, t, N, th, tw, O), put together: (N, th m, tw m, O).

    As one product: for m = 4, sixteen sums of up to 25 terms would be much to compile.
    """
    both = both_ways(TRANSFORMS[m][0])
    _, _, n, th, tw, o = z.shape
    tiles = jnp.matmul(both, z.reshape(both.shape[1], -1), precision=lax.Precision.HIGHEST)
    tiles = lax.optimization_barrier(tiles.reshape(m, m, n, th, tw, o))
    return tiles.transpose(2, 3, 0, 4, 1, 5).reshape(n, th * m, tw * m, o)


def forward(x: Array, w: Array, form: Form, m: int) -> Array:
    """y, a cache-sized block of images, or of rows of tiles of an image, at a time."""
    tall, wide = tiles_of(form, m)
    images, rows = block_of(form, m)
    bands = -(-tall // rows)
    u = kernel_tiles(w, m)

    def padded(x: Array) -> Array:
        low = tuple(lo for lo, _ in form.padding)
        whole = ((bands * rows + 1) * m, (wide + 1) * m)
        edges = [
            (lo, size - lo - n, 0) for lo, size, n in zip(low, whole, form.spatial, strict=True)
        ]
        return pad_positions(x, edges, form.layout)

    def block(x: Array) -> Array:
        n = x.shape[0]
        v = input_tiles(x, (rows, wide), m).reshape(-1, n * rows * wide, form.in_channels)
        z = lax.dot_general(v, u, (((2,), (1,)), ((0,), (0,))), precision=form.precision)
        return output_tiles(z.reshape(m + 2, m + 2, n, rows, wide, -1), m)

    if bands > 1:
        x = padded(x)

        def band(i: Index) -> Array:
            start = (i // bands, i % bands * rows * m, 0, 0)
            return block(lax.dynamic_slice(x, start, (1, (rows + 1) * m, *x.shape[2:])))

        y = join(form.batch * bands, band)
    else:
        y = join(form.batch // images, lambda i: block(padded(part(x, i, images))))
    y = y.reshape(form.batch, bands * rows * m, wide * m, form.out_channels)
    return y[:, : form.out_spatial[0], : form.out_spatial[1]]


def tiles_of(form: Form, m: int) -> tuple[int, int]:
    """How many tiles of m outputs cover the result, down and across."""
    tall, wide = (-(-out // m) for out in form.out_spatial)
    return tall, wide


def block_of(form: Form, m: int) -> tuple[int, int]:
    """(images, rows of tiles) whose tiles stay in the cache: whole images if one of them does."""
    tall, wide = tiles_of(form, m)
    tile = (m + 2) ** 2 * (form.in_channels + form.out_channels)
    row, block = wide * tile, max(BLOCK, min(TILES * tile, MOST))
    if tall * row <= block:
        most = min(block // (tall * row), form.batch)
        return max(n for n in range(1, most + 1) if form.batch % n == 0), tall
    bands = -(-tall // max(1, block // row))
    return 1, -(-tall // bands)


def supports(form: Form, m: int) -> str | None:
    """3x3, stride 1, no dilation, one group, float32, channels enough and not too many."""
    if form.kernel != (3, 3) or form.groups > 1:
        return "takes a 3x3 kernel and one group"
    if {*form.strides, *form.dilation, *form.lhs_dilation} != {1}:
        return "takes stride 1 and no dilation"
    if form.dtype != np.float32:
        return f"takes float32, not {form.dtype}"
    if form.in_channels > MOST_CHANNELS[m]:
        return (
            f"takes at most {MOST_CHANNELS[m]} channels for its rounding, here {form.in_channels}"
        )
    if form.in_channels < 8 or form.out_channels < 8:
        return "takes at least 8 channels"
    tiles = form.batch * math.prod(tiles_of(form, m))
    if form.in_channels * form.out_channels > 2 * tiles * (form.in_channels + form.out_channels):
        return f"takes images with more work than its kernel's transform, here {tiles} tiles"
    return None


def cost(form: Form, m: int) -> float:
    """The products, and the transforms of input and output."""
    entries = form.batch * math.prod(tiles_of(form, m)) * (m + 2) ** 2
    c, o = form.in_channels, form.out_channels
    return entries * c * o / PRODUCT + entries * (c + o) / TRANSFORM + 36 * c * o / 2e9 + CALL


def method(m: int) -> Method:
    """The method with output tiles of m x m."""
    return Method(
        f"winograd{m}",
        f"3x3 with {9 * m * m / (m + 2) ** 2:g} times fewer multiplications, tiles of {m}x{m}",
        functools.partial(supports, m=m),
        functools.partial(forward, m=m),
        None,
        functools.partial(cost, m=m),
        exact=False,
        tile=m,
    )


METHOD2, METHOD4 = method(2), method(4)
