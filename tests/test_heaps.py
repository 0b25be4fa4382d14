"""Temporaries in heaps: what XLA is asked when a program with our convolution is compiled."""

import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import jaxconv
from jaxconv import _compat

OPTION = "xla_multiheap_size_constraint_per_heap"
LIMIT = 32 << 20  # from this size on, glibc gives a freed block back to the kernel


@pytest.fixture
def asked(monkeypatch):
    """The compiler options of each program compiled in the test."""
    seen = []

    def create(program, *args):
        seen.append(args[-1].get(OPTION))
        return create_compile_options(program, *args)

    create_compile_options = _compat._create_compile_options
    monkeypatch.setattr(_compat, "_create_compile_options", create)
    return seen


def conv(x, w):
    return lax.conv_general_dilated(x, w, (1, 1), "SAME")


def operands(size=9):
    return jnp.ones((1, 3, size, size)), jnp.ones((4, 3, 3, 3))


def test_a_program_with_our_convolution_is_compiled_with_heaps(asked):
    jax.jit(jaxconv.accelerate(jax.grad(lambda x, w: conv(x, w).sum())))(*operands())
    jax.jit(jaxconv.conv2d)(*operands())
    assert len(asked) == 2 and all(0 < size < LIMIT for size in asked)


def test_under_install_too(asked):
    args = operands()
    jaxconv.install()
    try:
        jax.jit(conv)(*args)
    finally:
        jaxconv.uninstall()
    assert asked and all(0 < size < LIMIT for size in asked)


def test_other_programs_are_compiled_as_ever(asked):
    args = operands()
    jax.jit(jaxconv.conv2d)(*args)
    del asked[:]
    _compat._pxla.create_compile_options = _compat._options_with_heaps
    jax.jit(lambda x, w: conv(x, w) + 1)(*args)
    assert asked == [None]


def test_the_users_own_size_holds(asked, monkeypatch):
    args = operands()
    del asked[:]
    jax.jit(lambda x, w: jaxconv.conv2d(x, w), compiler_options={OPTION: 1 << 20})(*args)
    lowered = jax.jit(lambda x, w: jaxconv.conv2d(x, w) + 1).lower(*args)
    lowered.compile({OPTION: 2 << 20})
    monkeypatch.setenv("XLA_FLAGS", f"--{OPTION}=3000000")
    jax.jit(lambda x, w: jaxconv.conv2d(x, w) + 2)(*args)
    assert asked == [1 << 20, 2 << 20, None]


def test_not_where_an_array_is_larger_than_a_heap(asked):
    """XLA lets no two such arrays share their memory, not even one after the other."""
    x, w = operands(1600)
    f = jax.jit(jaxconv.conv2d)
    f.lower(x, w).compile()
    f.lower(x[..., :64], w).compile()
    *_, large, small = asked
    assert large is None and 0 < small < LIMIT


@pytest.mark.parametrize(
    "dtype, shape",
    [("float32", (3, 5)), ("complex64", (7,)), ("bfloat16", (2, 2, 3)), ("int8", ())],
)
def test_the_largest_array_of_a_program(dtype, shape):
    x = jnp.ones(shape, dtype)
    lowered = jax.jit(lambda x: (x + x)[None]).lower(x)
    assert _compat.largest_array(lowered.compiler_ir()) == x.nbytes


MANY_LARGE = """
import resource, sys, jax, jax.numpy as jnp, jaxconv
wrap = jaxconv.accelerate if sys.argv[1] == "ours" else lambda fun: fun

def net(x, w):
    for _ in range(6):
        x = jnp.tanh(jax.lax.conv_general_dilated(x, w, (1, 1), "SAME"))
    return x.mean()

x, w = jnp.ones((4, 8, 256, 256)), jnp.full((8, 8, 3, 3), 0.01)  # activations of 8 MiB
step = jax.jit(wrap(jax.grad(net, 1))).lower(x, w).compile()
for _ in range(4):
    jax.block_until_ready(step(x, w))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    jax.block_until_ready(step(x, w))
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 4)
"""


def page_faults(whose):
    done = subprocess.run(
        [sys.executable, "-c", MANY_LARGE, whose], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_large_temporaries_cost_fewer_page_faults():
    """The reason for it all, counted in pages, not seconds."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("about glibc")
    assert page_faults("ours") < 0.8 * page_faults("lax")
