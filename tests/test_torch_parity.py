"""Values, gradients and rejections of every function beside PyTorch's, awkward corners too."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxconv

if sys.version_info >= (3, 12):
    pytest.skip("PyTorch is a test dependency on Python 3.11 only", allow_module_level=True)
import torch
import torch.nn.functional as F

RNG = np.random.default_rng(0)


def draw(*shape, dtype=np.float64):
    values = RNG.standard_normal(shape)
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * RNG.standard_normal(shape)
    return values.astype(dtype)


def same(name, arrays, *args, gradients=True, tolerance=1e-10, **kwargs):
    """Hold jaxconv's `name` against torch's: the result and gradients of a weighted sum.

    float16 is held against torch's float64: in float16 torch rounds sums on the way.
    """
    ours, theirs = getattr(jaxconv, name), getattr(F, name)
    dtype = theirs(*map(torch.tensor, arrays), *args, **kwargs).dtype
    wide = [a.astype(np.float64) if a.dtype == np.float16 else a for a in arrays]
    tensors = [torch.tensor(a, requires_grad=gradients) for a in wide]
    want = theirs(*tensors, *args, **kwargs)
    cotangent = draw(*want.shape).astype(str(dtype)[6:]) if gradients else None

    def compute(*values):
        if cotangent is None:
            return ours(*values, *args, **kwargs), ()
        result, back = jax.vjp(lambda *values: ours(*values, *args, **kwargs), *values)
        return result, back(jnp.asarray(cotangent))

    with jax.enable_x64(True):
        # One program; tests of the doors without jit are in test_settings.
        got, grads = jax.jit(compute)(*map(jnp.asarray, arrays))
        assert got.shape == tuple(want.shape) and str(got.dtype) == str(dtype)[6:]
        np.testing.assert_allclose(got, want.detach().numpy(), tolerance, tolerance)
        if gradients:
            want.backward(torch.tensor(cotangent, dtype=want.dtype))
        for mine, tensor in zip(grads, tensors):
            np.testing.assert_allclose(mine, tensor.grad.numpy(), tolerance, tolerance)


CONV = [
    # ndim, spatial, C_in, C_out, kernel, keyword arguments
    (1, (11,), 4, 6, (3,), {}),
    (1, (11,), 4, 6, (4,), {"padding": "same", "dilation": 2}),
    (1, (9,), 4, 6, (3,), {"stride": (2,), "padding": [1], "groups": 2}),
    (2, (9, 8), 4, 6, (3, 2), {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}),
    (2, (7, 8), 4, 8, (3, 3), {"groups": 4, "padding": 1}),
    (2, (7, 8), 3, 4, (2, 5), {"padding": "same"}),
    (2, (7, 8), 3, 4, (2, 5), {"padding": "valid"}),
    (2, (8, 8), 3, 4, (4, 4), {"stride": 4}),
    (2, (5, 6), 3, 4, (5, 6), {}),
    (2, (3, 3), 2, 2, (1, 1), {"padding": 3, "stride": 3}),
    (3, (5, 6, 4), 2, 4, (2, 3, 2), {"stride": (1, 2, 1), "padding": (1, 0, 1), "groups": 2}),
    (3, (4, 4, 4), 2, 3, (3, 3, 3), {"padding": "same"}),
]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("case", range(len(CONV)))
@pytest.mark.parametrize("batch", [(), (2,)])
def test_convolutions(case, batch):
    ndim, spatial, c_in, c_out, kernel, kwargs = CONV[case]
    weight = draw(c_out, c_in // kwargs.get("groups", 1), *kernel)
    same(f"conv{ndim}d", (draw(*batch, c_in, *spatial), weight, draw(c_out)), **kwargs)


def test_positional_order():
    x, w, b = draw(1, 4, 9, 9), draw(6, 2, 3, 3), draw(6)
    same("conv2d", (x, w, b), 2, 1, 1, 2)
    same("conv_transpose2d", (x, draw(4, 3, 3, 3), draw(6)), 2, 1, 1, 2, 1)
    same("max_pool2d", (x,), 3, 2, 1, 1, True)
    same("avg_pool2d", (x,), 3, 2, 1, True, False, 5)
    same("unfold", (x,), 3, 2, 1, 2)
    same("fold", (draw(1, 18, 25),), (5, 5), 3, 1, 1, 1)


TRANSPOSED = [
    (1, (7,), 4, 6, (3,), {}),
    (1, (7,), 4, 6, (4,), {"stride": 2, "padding": 1}),
    (1, (7,), 4, 6, (3,), {"stride": 3, "output_padding": 2, "groups": 2}),
    (1, (5,), 2, 2, (2,), {"stride": 5}),
    (2, (4, 5), 4, 6, (3, 2), {"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)}),
    (2, (4, 5), 4, 6, (3, 3), {"dilation": 2, "output_padding": 1, "stride": 1, "groups": 2}),
    (2, (4, 5), 2, 3, (2, 2), {"stride": 2}),
    (3, (3, 2, 4), 2, 3, (3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
]


@pytest.mark.parametrize("case", range(len(TRANSPOSED)))
@pytest.mark.parametrize("batch", [(), (2,)])
def test_transposed_convolutions(case, batch):
    ndim, spatial, c_in, c_out, kernel, kwargs = TRANSPOSED[case]
    weight = draw(c_in, c_out // kwargs.get("groups", 1), *kernel)
    arrays = (draw(*batch, c_in, *spatial), weight, draw(c_out))
    same(f"conv_transpose{ndim}d", arrays, **kwargs)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.complex64, np.complex128])
def test_dtypes(dtype):
    x, w, b = (draw(*s, dtype=dtype) for s in ((2, 4, 7, 6), (6, 2, 3, 3), (6,)))
    tolerance = {np.float16: 4e-3, np.complex128: 1e-10}.get(dtype, 1e-4)
    plain = not np.issubdtype(dtype, np.complexfloating)
    same("conv2d", (x, w, b), padding=1, groups=2, gradients=plain, tolerance=tolerance)
    t = draw(4, 3, 3, 3, dtype=dtype)
    same("conv_transpose2d", (x, t, b), stride=2, groups=2, gradients=plain, tolerance=tolerance)


@pytest.mark.optimised
def test_bfloat16_is_rounded_once():
    x, w, b = (torch.tensor(draw(*s)).bfloat16() for s in ((2, 4, 7, 6), (6, 4, 3, 3), (6,)))
    want = F.conv2d(x.double(), w.double(), b.double()).bfloat16().double().numpy()
    got = jaxconv.conv2d(*(jnp.asarray(a.float().numpy(), jnp.bfloat16) for a in (x, w, b)))
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(got, np.float64), want, rtol=2**-8)


def test_integers():
    x, w = (RNG.integers(-9, 9, s).astype(np.int32) for s in ((2, 4, 7, 6), (6, 4, 3, 3)))
    want = F.conv2d(torch.tensor(x), torch.tensor(w), stride=2).numpy()
    np.testing.assert_array_equal(jaxconv.conv2d(x, w, stride=2), want)
    small = jaxconv.conv2d(
        x.astype(np.int8), w.astype(np.int8), stride=2, preferred_element_type=jnp.int32
    )
    np.testing.assert_array_equal(small, want)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate"])
@pytest.mark.parametrize("padding", [2, "same"])
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_padding_modes(mode, padding):
    for ndim, layer in ((1, torch.nn.Conv1d), (2, torch.nn.Conv2d)):
        net = layer(2, 3, 4, padding=padding, padding_mode=mode)
        x = draw(2, 2, *(6, 7)[:ndim], dtype=np.float32)
        want = net(torch.tensor(x)).detach().numpy()
        w, b = (p.detach().numpy() for p in (net.weight, net.bias))
        conv = getattr(jaxconv, f"conv{ndim}d")
        got = conv(x, w, b, padding=padding, padding_mode=mode)
        np.testing.assert_allclose(got, want, 1e-5, 1e-5)


@pytest.mark.parametrize("layout", ["NHWC"])
def test_channels_last_is_the_same(layout):
    x, w = draw(2, 4, 9, 8, dtype=np.float32), draw(6, 2, 3, 3, dtype=np.float32)
    last = np.moveaxis(x, 1, -1)
    for name, weight in (("conv2d", w), ("conv_transpose2d", draw(4, 3, 3, 3, dtype=np.float32))):
        fun = getattr(jaxconv, name)
        want = fun(x, weight, stride=2, groups=2)
        got = fun(last, weight, stride=2, groups=2, layout=layout)
        np.testing.assert_allclose(np.moveaxis(got, -1, 1), want, 1e-4, 1e-4)
        got = fun(last[0], weight, stride=2, groups=2, layout=layout)
        np.testing.assert_allclose(np.moveaxis(got, -1, 0), want[0], 1e-4, 1e-4)


POOLS = [
    ((9, 8), {"kernel_size": 2}),
    ((9, 8), {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 1)}),
    ((9, 8), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ((5, 7), {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True}),
    ((4, 4), {"kernel_size": 6, "padding": 3, "stride": 2, "ceil_mode": True}),
]


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("case", range(len(POOLS)))
def test_pools(case, ndim):
    spatial, kwargs = POOLS[case]
    spatial = (*spatial, 6)[:ndim]
    if ndim == 3 and kwargs["kernel_size"] == 6:
        pytest.skip("PyTorch's 3-D pools want the window inside the input")
    kwargs = {k: v[0] if isinstance(v, tuple) and ndim != 2 else v for k, v in kwargs.items()}
    for x in (draw(2, 3, *spatial), draw(3, *spatial)):
        same(f"max_pool{ndim}d", (x,), **kwargs)
        same(f"avg_pool{ndim}d", (x,), **kwargs)
        same(f"avg_pool{ndim}d", (x,), **kwargs, count_include_pad=False)
    if ndim > 1:
        same(f"avg_pool{ndim}d", (x,), **kwargs, divisor_override=-3)
    ties = np.floor(draw(2, 3, *spatial) * 2)
    same(f"max_pool{ndim}d", (ties,), **kwargs)
    if kwargs["kernel_size"] != 6:
        same(f"max_pool{ndim}d", (ties,), **kwargs, **({} if ndim == 1 else {"dilation": 1}))


@pytest.mark.parametrize(("size", "stride"), [(33, 1), (33, 40), (70, 2)])
def test_pools_of_long_windows(size, stride):
    """The gradient of a mean over more than 32 elements was an error."""
    for pool in ("max_pool", "avg_pool"):
        same(f"{pool}1d", (draw(2, 3, 80),), kernel_size=size, stride=stride, padding=3)
        same(f"{pool}2d", (draw(2, 80, 5),), kernel_size=(size, 2), stride=(stride, 1))
        function = getattr(jaxconv, f"{pool}1d")

        def energy(x, function=function):
            return (function(x, size, stride) ** 3).sum()

        x = jnp.asarray(draw(2, 80), jnp.float32)
        hessian = jax.jvp(jax.grad(energy), (x,), (x,))[1]
        np.testing.assert_allclose(hessian, 2 * jax.grad(energy)(x), 1e-3, 1e-4)
        rows = jax.vmap(jax.grad(energy))(jnp.stack([x, 2 * x]))
        np.testing.assert_allclose(rows, [jax.grad(energy)(x), 4 * jax.grad(energy)(x)], 1e-3)


@pytest.mark.parametrize(
    ("dtype", "value", "size", "divisor"),
    [
        ("uint8", 200, 2, None),
        ("int8", 1, 16, None),
        ("uint8", 1, 16, None),
        ("int8", 100, 2, 256),
        ("int32", 7, 2, 2**32),
        ("int16", -30000, 4, -7000),
        ("int32", 5, 3, -(2**31)),
        ("int8", -3, 3, 2),
    ],
)
def test_means_of_narrow_integers(dtype, value, size, divisor):
    """PyTorch has none of them: its mean of int64 says what is right."""
    x = np.full((1, size, size), value, dtype)
    got = jaxconv.avg_pool2d(jnp.asarray(x), size, divisor_override=divisor)
    want = F.avg_pool2d(torch.tensor(x.astype(np.int64)), size, divisor_override=divisor)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, want.numpy().astype(dtype))


@pytest.mark.optimised
def test_max_pool_of_nan_and_infinity_and_indices():
    x = np.array([[[np.nan, 1, np.nan, 4, -np.inf, -np.inf, np.inf, 2, 2, 2]]])
    for kwargs in ({"kernel_size": 3, "stride": 1}, {"kernel_size": 2, "padding": 1}):
        want, places = F.max_pool1d(torch.tensor(x), **kwargs, return_indices=True)
        with jax.enable_x64(True):
            got, mine = jaxconv.max_pool1d(jnp.asarray(x), **kwargs, return_indices=True)
        np.testing.assert_array_equal(got, want.numpy())
        np.testing.assert_array_equal(mine, places.numpy())
        same("max_pool1d", (x,), **kwargs)
    plane = np.floor(draw(2, 3, 7, 8) * 2)
    kwargs = {"kernel_size": (3, 2), "stride": 2, "padding": 1, "dilation": (1, 2)}
    want, places = F.max_pool2d(torch.tensor(plane), **kwargs, return_indices=True)
    got, mine = jaxconv.max_pool2d(plane, **kwargs, return_indices=True)
    np.testing.assert_array_equal(got, want.numpy())
    np.testing.assert_array_equal(mine, places.numpy())


FOLDS = [
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)},
    {"kernel_size": (2, 3), "dilation": (2, 1), "padding": 1, "stride": 2},
]


@pytest.mark.parametrize("kwargs", FOLDS)
def test_unfold_and_fold(kwargs):
    for x in (draw(2, 3, 7, 8), draw(3, 7, 8)):
        same("unfold", (x,), **kwargs)
        columns = F.unfold(torch.tensor(x), **kwargs)
        same("fold", (draw(*columns.shape),), output_size=(7, 8), **kwargs)


X, W = np.ones((1, 4, 5, 5), np.float32), np.ones((2, 4, 3, 3), np.float32)
T = np.ones((4, 3, 3, 3), np.float32)
EMPTY = [
    ("conv2d", (X[:0], W), {}),
    ("conv_transpose2d", (X[:0], T), {"stride": 2}),
    ("max_pool2d", (X[:0], 2), {}),
    ("avg_pool2d", (X[:0], 2), {}),
    ("unfold", (X[:0], 3), {}),
    ("fold", (np.ones((0, 18, 9), np.float32), (5, 5), 3), {}),
    ("conv2d", (X[:, :0], W[:, :0]), {}),
    ("max_pool2d", (X, 6), {"ceil_mode": True}),
    ("max_pool2d", (X, 2), {"stride": []}),
    ("conv1d", (X[:, :, 0][:0], W[..., 0]), {"padding": "same"}),
]


@pytest.mark.parametrize("case", range(len(EMPTY)))
def test_empty_and_odd_calls_that_pytorch_takes(case):
    name, args, kwargs = EMPTY[case]
    tensors = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
    want = getattr(F, name)(*tensors, **kwargs)
    got = getattr(jaxconv, name)(*args, **kwargs)
    assert got.shape == tuple(want.shape)
    np.testing.assert_allclose(got, want.numpy())


# What PyTorch rejects, and the words of its message that ours keeps.
REJECTED = [
    ("conv2d", (X, W[:0]), {}, "expected weight to be at least 1 at dimension 0"),
    ("conv2d", (X[:, :, :0], W), {"padding": 2}, "Only zero batch or zero channel inputs"),
    ("conv2d", (X, W[:, :, :0]), {}, "kernel size should be greater than zero"),
    ("conv2d", (X, np.ones((2, 4, 7, 3), np.float32)), {}, "Kernel size can't be greater than"),
    ("conv2d", (X, W), {"groups": 0}, "non-positive groups is not supported"),
    ("conv2d", (X, np.ones((3, 2, 3, 3), np.float32)), {"groups": 2}, "to be divisible by 2"),
    ("conv2d", (X, W[:, :3]), {}, r"expected input\[1, 4, 5, 5\] to have 3 channels|to have 3"),
    ("conv2d", (X, W, X[0, :3, 0, 0]), {}, "expected bias to be 1-dimensional with 2 elements"),
    ("conv2d", (X, W), {"stride": 0}, "non-positive stride is not supported"),
    ("conv2d", (X, W), {"dilation": 0}, "dilation should be greater than zero"),
    ("conv2d", (X, W), {"padding": -1}, "negative padding is not supported"),
    ("conv2d", (X, W), {"stride": (1, 1, 1)}, "expected stride to be a single integer value or"),
    ("conv2d", (X, W), {"stride": ()}, "expected stride to be a single integer value or"),
    ("conv2d", (X, W), {"padding": "same", "stride": 2}, "padding='same' is not supported for str"),
    ("conv2d", (X, W), {"padding": "SAME"}, "padding must be 'valid' or 'same'"),
    ("conv2d", (X[0, 0], W), {}, r"Expected 3D \(unbatched\) or 4D \(batched\) input to conv2d"),
    ("conv2d", (X, W[..., 0]), {}, "Expected 3-dimensional input for 3-dimensional weight"),
    ("conv2d", (X, W.astype(np.int32)), {}, "should be the same"),
    ("conv2d", (X, W), {"stride": 1.0}, "stride must be an int"),
    ("conv2d", (X, W), {"stride": True}, "stride must be an int"),
    ("conv2d", ([[1.0]], W), {}, "input must be a JAX or NumPy array"),
    ("conv2d", (X > 0, W > 0), {}, "not implemented"),
    (
        "conv_transpose2d",
        (X, T),
        {"stride": 2, "output_padding": 2},
        "output padding must be smaller",
    ),
    (
        "conv_transpose2d",
        (X, T),
        {"output_padding": -1},
        "negative output_padding is not supported",
    ),
    ("conv_transpose2d", (X[..., :1, :1], T), {"padding": 2}, "Output size is too small"),
    ("conv_transpose2d", (X, T[:3]), {}, "to have 3 channels"),
    ("conv_transpose2d", (X, T), {"padding": "same"}, "padding must be an int"),
    ("conv_transpose2d", (X, T[:, :0]), {}, "non-empty weight is expected"),
    ("max_pool2d", (X, 3), {"stride": 0}, "stride should not be zero"),
    ("max_pool2d", (X, 3), {"padding": 2}, "pad should be at most half of effective kernel size"),
    ("max_pool2d", (X, 3), {"padding": -1}, "pad must be non-negative"),
    ("max_pool2d", (X, 3), {"dilation": 0}, "dilation should be greater than zero"),
    ("max_pool2d", (X, 7), {}, "Output size is too small"),
    ("max_pool2d", (X[:, :0], 2), {}, "optional 0 dim batch size"),
    (
        "max_pool2d",
        (X[0, 0], 2),
        {},
        r"non-empty 3D or 4D \(batch mode\) tensor expected for input",
    ),
    ("max_pool2d", (X > 0, 2), {}, "not implemented"),
    (
        "max_pool1d",
        (X[0], 2),
        {"padding": 2, "dilation": 3},
        "padding should be at most half of kernel size",
    ),
    ("max_pool1d", (X[0], 3), {"padding": 2}, "padding should be at most half of kernel size"),
    ("avg_pool2d", (X, 3), {"padding": 2}, "pad should be at most half of effective kernel size"),
    ("avg_pool2d", (X, 2), {"divisor_override": 0}, "divisor must be not zero"),
    ("avg_pool1d", (X[0], (3, 3)), {}, "kernel_size"),
    ("unfold", (X, 0), {}, "kernel size should be greater than zero"),
    ("unfold", (X, 7), {}, "sliding blocks"),
    ("unfold", (X, 3), {"stride": 0}, "stride should be greater than zero"),
    ("unfold", (X, 3), {"padding": -1}, "padding should be non-negative"),
    ("fold", (X[:, :, 0, :], (5, 5), 3), {}, "divisible by the product of"),
    ("fold", (np.ones((1, 18, 8), np.float32), (5, 5), 3), {}, "sliding blocks"),
]


@pytest.mark.parametrize("case", range(len(REJECTED)))
def test_what_pytorch_rejects(case):
    name, args, kwargs, words = REJECTED[case]
    tensors = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
    with pytest.raises((RuntimeError, TypeError)):
        getattr(F, name)(*tensors, **kwargs)
    with pytest.raises((ValueError, TypeError), match=f"(?s)^{name}: .*({words}).*; got .*\\.$"):
        getattr(jaxconv, name)(*args, **kwargs)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_initialisation_is_pytorchs_distribution(ndim):
    sizes = (8, 12, 3)
    for ours, layer in (
        (jaxconv.init_conv, getattr(torch.nn, f"Conv{ndim}d")),
        (jaxconv.init_conv_transpose, getattr(torch.nn, f"ConvTranspose{ndim}d")),
    ):
        params = ours(jax.random.key(0), *sizes, ndim=ndim, groups=2)
        net = layer(*sizes, groups=2)
        for name in ("weight", "bias"):
            mine, theirs = np.asarray(params[name]), getattr(net, name).detach().numpy()
            assert mine.shape == theirs.shape
            bound = 1 / np.sqrt(np.prod(params["weight"].shape[1:]))
            assert np.abs(mine).max() <= bound and np.abs(theirs).max() <= bound
            assert np.abs(mine).max() > 0.7 * bound


def test_conv_matrix_is_the_convolution():
    for spatial, kernel, kwargs in (
        ((9,), (3,), {"stride": 2, "padding": 1}),
        ((5, 6), (3, 2), {"dilation": (1, 2), "groups": 2, "padding": "same"}),
        ((3, 4, 3), (2, 2, 3), {"padding": (1, 0, 1), "groups": 2}),
    ):
        x, w = draw(4, *spatial), draw(6, 4 // kwargs.get("groups", 1), *kernel)
        want = getattr(F, f"conv{len(spatial)}d")(torch.tensor(x), torch.tensor(w), **kwargs)
        with jax.enable_x64(True):
            a = jaxconv.conv_matrix(jnp.asarray(w), spatial, **kwargs)
            np.testing.assert_allclose(a @ x.ravel(), want.numpy().ravel(), 1e-10)
            np.testing.assert_allclose(a.todense() @ x.ravel(), want.numpy().ravel(), 1e-10)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("transposed", [False, True])
def test_output_shape_is_that_of_the_result(transposed):
    for ndim, spatial, c_in, c_out, kernel, kwargs in TRANSPOSED if transposed else CONV:
        function = getattr(F, f"conv_transpose{ndim}d" if transposed else f"conv{ndim}d")
        first, second = (c_in, c_out) if transposed else (c_out, c_in)
        weight = (first, second // kwargs.get("groups", 1), *kernel)
        for batch in ((), (0,), (2,)):
            shape = (*batch, c_in, *spatial)
            want = tuple(function(torch.zeros(shape), torch.zeros(weight), **kwargs).shape)
            kwargs = {**kwargs, "transposed": transposed}
            assert jaxconv.output_shape(shape, weight, **kwargs) == want
            last = (*batch, *spatial, c_in), {1: "NWC", 2: "NHWC", 3: "NDHWC"}[ndim]
            got = jaxconv.output_shape(last[0], weight, **kwargs, layout=last[1])
            assert got == (*batch, *want[len(batch) + 1 :], want[len(batch)])
            kwargs.pop("transposed")


@pytest.mark.parametrize(
    ("shape", "weight", "padding"),
    [
        ((1, 0, 5, 5), (2, 0, 3, 3), 0),  # no channels: a result without any
        ((0, 5, 5), (2, 0, 3, 3), 0),
        ((0, 4, 0, 5), (2, 4, 3, 3), 2),  # no examples: padding alone may hold the window
        ((2, 0, 5, 0), (2, 0, 3, 3), 2),
        ((0, 4, 0, 5), (2, 4, 3, 3), 0),
        ((1, 4, 0, 5), (2, 4, 3, 3), 2),
        ((0, 4, 0), (2, 4, 3), 2),
    ],
)
def test_output_shape_of_empty_arrays(shape, weight, padding):
    function = getattr(F, f"conv{len(weight) - 2}d")
    try:
        want = tuple(function(torch.zeros(shape), torch.zeros(weight), padding=padding).shape)
    except RuntimeError:
        with pytest.raises(ValueError, match=r"^output_shape: "):
            jaxconv.output_shape(shape, weight, padding=padding)
    else:
        assert jaxconv.output_shape(shape, weight, padding=padding) == want


@pytest.mark.parametrize("shape", [5, "5", (1, 2, 5.0), (1, None, 5)])
def test_output_shape_takes_shapes(shape):
    with pytest.raises(TypeError, match=r"^output_shape: input_shape must be a shape"):
        jaxconv.output_shape(shape, (2, 2, 3))


@pytest.mark.parametrize("groups", ["2", 2.0])
def test_conv_matrix_takes_a_number_of_groups(groups):
    with pytest.raises(TypeError, match=r"^conv_matrix: groups must be an int"):
        jaxconv.conv_matrix(jnp.ones((2, 1, 3)), 5, groups=groups)


KEY = jax.random.key(0)
TEXT, DATES = np.array([["a"] * 9] * 2), np.zeros((2, 9), "datetime64[s]")
FIELDS = np.zeros((2, 9), [("a", np.float32)])
SIGNAL, TAPS = np.ones((1, 2, 9), np.float32), np.ones((4, 2, 3), np.float32)
WRONG = {
    "channels are a float": (lambda: jaxconv.init_conv(KEY, 2.0, 4, 3, ndim=2), "in_channels must"),
    "channels are text": (lambda: jaxconv.init_conv(KEY, 2, "4", 3, ndim=2), "out_channels must"),
    "groups are a float": (
        lambda: jaxconv.init_conv_transpose(KEY, 2, 4, 3, ndim=2, groups=1.0),
        "groups must be an int",
    ),
    "ndim is a float": (lambda: jaxconv.init_conv(KEY, 2, 4, 3, ndim=2.0), "ndim must be an int"),
    "weights of ints": (
        lambda: jaxconv.init_conv(KEY, 2, 4, 3, ndim=2, dtype=jnp.int32),
        "dtype must be a float dtype; got dtype=int32",
    ),
    "a dtype that does not parse": (
        lambda: jaxconv.conv1d(SIGNAL, TAPS, preferred_element_type="(1,"),
        "preferred_element_type must be a dtype",
    ),
    "no dtype": (
        lambda: jaxconv.init_conv(KEY, 2, 4, 3, ndim=2, dtype="foo"),
        "dtype must be a dtype; got dtype='foo'",
    ),
    "no key": (lambda: jaxconv.init_conv(0, 2, 4, 3, ndim=2), "key must be a key of jax.random"),
    "text": (lambda: jaxconv.conv1d(TEXT, TAPS), "input must be .* of numbers; got input of type"),
    "dates": (lambda: jaxconv.max_pool1d(DATES, 2), "input must be .* of numbers; .* datetime64"),
    "fields": (lambda: jaxconv.unfold(FIELDS, 2), "input must be a JAX or NumPy array of numbers"),
    "keys": (lambda: jaxconv.unfold(jax.random.split(KEY, (2, 3, 3)), 2), "numbers; .* key<fry>"),
    "no result dtype": (
        lambda: jaxconv.conv1d(SIGNAL, TAPS, preferred_element_type="foo"),
        "preferred_element_type must be a dtype",
    ),
    "another kind": (
        lambda: jaxconv.conv1d(SIGNAL, TAPS, preferred_element_type=jnp.int32),
        "preferred_element_type must be of the kind of float32",
    ),
    "narrower": (
        lambda: jaxconv.conv_transpose1d(SIGNAL, TAPS[:2], preferred_element_type=jnp.float16),
        "no narrower; got preferred_element_type=float16",
    ),
    "no precision": (
        lambda: jaxconv.conv1d(SIGNAL, TAPS, precision="foo"),
        "precision must be one that .*; got precision='foo'",
    ),
    "no function to explain": (lambda: jaxconv.explain(3), "fun must be a function; got int"),
    "no function to tune": (lambda: jaxconv.tune(3), "fun must be a function; got int"),
    "a negative size": (
        lambda: jaxconv.output_shape((-1, 2, 5), (1, 2, 3)),
        "input_shape must hold no negative size; got input_shape=.-1, 2, 5",
    ),
    "a size in an array": (
        lambda: jaxconv.output_shape(np.array(5), (1, 2, 3)),
        "input_shape must be a shape, a sequence of ints",
    ),
    "a negative length": (
        lambda: jaxconv.conv_matrix(TAPS, -5),
        "input_shape must hold no negative size",
    ),
    "padding of a transposed one": (
        lambda: jaxconv.output_shape((1, 2, 5), (1, 2, 3), output_padding=1),
        "output_padding is for a transposed convolution",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_kinds_get_one_sentence(case):
    call, words = WRONG[case]
    (function,) = {name for name in call.__code__.co_names if name in jaxconv.__all__}
    with pytest.raises((TypeError, ValueError), match=rf"^{function}: .*{words}.*\.$") as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [None, float, "bfloat16", jnp.float32])
def test_the_dtype_of_first_weights(dtype):
    want = jax.random.uniform(KEY, (1,), dtype).dtype
    assert jaxconv.init_conv(KEY, 2, 4, 3, ndim=1, dtype=dtype)["weight"].dtype == want


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float8_e5m2fnuz"])
def test_pools_of_eight_bit_floats(dtype):
    """Not all of them have an infinity to pad with: the maximum was NaN."""
    x = jnp.asarray(-np.arange(1.0, 10).reshape(1, 3, 3)).astype(dtype)
    for pool in (jaxconv.max_pool2d, jaxconv.avg_pool2d):
        got, want = (jnp.asarray(pool(a, 3, 1, 1)) for a in (x, x.astype(jnp.float32)))
        assert got.dtype == dtype
        np.testing.assert_array_equal(got.astype("float32"), want.astype(dtype).astype("float32"))
    largest = jnp.asarray(jaxconv.max_pool2d(jnp.ones((1, 40, 40), dtype), 40))
    assert (largest.astype("float32") == 1).all()


@pytest.mark.parametrize(("given", "wide"), [("int8", "int32"), ("uint8", "int32")])
def test_wider_sums_of_integers(given, wide):
    x, w = jnp.full((1, 2, 9), 100, given), jnp.full((1, 2, 3), 100, given)
    y = jaxconv.conv1d(x, w, preferred_element_type=wide)
    assert y.dtype == wide and (y == 60000).all()
    assert jaxconv.conv1d(x, w, preferred_element_type="float32").dtype == "float32"


@pytest.mark.parametrize(
    ("layout", "shape", "remedy"),
    [
        (None, (1, 8, 8, 3), "channels of input lie last, pass layout='NHWC'"),
        (None, (8, 8, 3), "channels of input lie last, pass layout='NHWC'"),
        ("NHWC", (1, 3, 8, 8), "channels of input lie first, pass layout='NCHW'"),
        (None, (1, 8, 8, 8), r"Change groups or weight.shape\[1\]\.$"),
    ],
)
def test_an_input_in_the_other_layout(layout, shape, remedy):
    with pytest.raises(ValueError, match=f"^conv2d: .*{remedy}"):
        jaxconv.conv2d(jnp.ones(shape), jnp.ones((4, 3, 3, 3)), layout=layout)


BAD_SHAPES = [
    ((2, 4, 3, 3), {"stride": 0}, "non-positive stride"),
    ((2, 4, 3, 3), {"padding": -1}, "negative padding"),
    ((2, 4, 3, 3), {"dilation": 0}, "dilation should be greater than zero"),
    ((2, 4, 7, 7), {}, "Kernel size can't be greater than"),
    ((2, 4, 3, 3), {"groups": 0}, "non-positive groups"),
    ((2, 4, 3, 3), {"groups": 1.0}, "groups must be an int"),
    ((2, 4, 3, 3), {"groups": True}, "groups must be an int"),
    ((2, 3, 3, 3), {}, "to have 3 channels"),
    ((2, 4, 3), {}, r"that rank or one less|to have"),
    ((4, 2, 3, 3), {"padding": -1, "transposed": True}, "negative padding"),
    ((4, 2, 3, 3), {"padding": 4, "transposed": True}, "Output size is too small"),
    ((4, 0, 3, 3), {"transposed": True}, "non-empty weight is expected"),
    ((4, 2, 3, 3), {"output_padding": 1, "transposed": True}, "output padding must be smaller"),
]


@pytest.mark.parametrize(("weight", "kwargs", "words"), BAD_SHAPES)
def test_what_output_shape_rejects(weight, kwargs, words):
    with pytest.raises((ValueError, TypeError), match=f"(?s)^output_shape: .*({words}).*; got .*"):
        jaxconv.output_shape((1, 4, 5, 5), weight, **kwargs)
