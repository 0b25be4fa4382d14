"""Temporaries in heaps: what XLA is asked when a program with our convolution is compiled."""

import platform
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import jaxconv
from jaxconv import _compat, _heaps

OPTION = "xla_multiheap_size_constraint_per_heap"
LIMIT = 32 << 20  # from this size on, glibc gives a freed block back to the kernel
F32 = jnp.float32


@pytest.fixture
def asked(monkeypatch):
    """The size of heaps asked of XLA for each program that is compiled in the test."""
    seen = []
    compiler = vars(_compat._pxla)["compiler"]
    get_compile_options = compiler.get_compile_options

    def get(*args, **kwargs):
        seen.append((kwargs["env_options_overrides"] or {}).get(OPTION))
        return get_compile_options(*args, **kwargs)

    monkeypatch.setattr(compiler, "get_compile_options", get)
    return seen


def conv(x, w):
    return lax.conv_general_dilated(x, w, (1, 1), "SAME")


def ours(x, w):
    return jaxconv.conv2d(x, w)


def operands(size=9):
    return jax.ShapeDtypeStruct((1, 3, size, size), F32), jax.ShapeDtypeStruct((4, 3, 3, 3), F32)


def compile_anew(fun, args, **options):
    return jax.jit(lambda *args: fun(*args), **options).lower(*args).compile()


def test_a_program_with_our_convolution_is_compiled_with_heaps(asked):
    compile_anew(jaxconv.accelerate(jax.grad(lambda x, w: conv(x, w).sum())), operands())
    compile_anew(ours, operands())
    assert len(asked) == 2 and all(0 < size < LIMIT for size in asked)


def test_under_install_too(asked):
    jaxconv.install()
    try:
        compile_anew(conv, operands())
    finally:
        jaxconv.uninstall()
    (size,) = asked
    assert 0 < size < LIMIT


def test_other_programs_are_compiled_as_ever(asked):
    compile_anew(ours, operands())
    compile_anew(conv, operands())
    assert asked[1:] == [None]


def test_the_users_own_size_holds(asked, monkeypatch):
    compile_anew(ours, operands(), compiler_options={OPTION: 1 << 20})
    jax.jit(lambda x, w: ours(x, w)).lower(*operands()).compile({OPTION: 2 << 20})
    monkeypatch.setenv("XLA_FLAGS", f"--{OPTION}=3000000")
    compile_anew(ours, operands())
    assert asked == [1 << 20, 2 << 20, None]


def test_not_where_an_array_is_larger_than_a_heap(asked):
    """XLA lets no two such arrays share their memory, not even one after the other."""
    compile_anew(ours, operands(1600))
    compile_anew(ours, operands(64))
    large, small = asked
    assert large is None and 0 < small < LIMIT


def test_a_newer_jax_is_asked_whether_it_has_the_option(monkeypatch):
    monkeypatch.setattr(_compat, "JAX_VERSION", (99, 0))
    ask = _heaps.known.__wrapped__
    assert ask(OPTION)
    assert not ask("xla_no_such_option")


@pytest.mark.parametrize(
    "dtype, shape",
    [("float32", (3, 5)), ("complex64", (7,)), ("bfloat16", (2, 2, 3)), ("int8", ())],
)
def test_the_largest_array_of_a_program(dtype, shape):
    x = jnp.ones(shape, dtype)
    lowered = jax.jit(lambda x: (x + x)[None]).lower(x)
    assert _heaps.largest_array(lowered.compiler_ir()) == x.nbytes


MANY_LARGE = """
import resource, sys, jax, jax.numpy as jnp, jaxconv

def net(x, w):
    for _ in range(6):
        x = jnp.tanh(jaxconv.conv2d(x, w, padding=1))
    return x.mean()

x, w = jnp.ones((4, 8, 256, 256)), jnp.full((8, 8, 3, 3), 0.01)  # activations of 8 MiB
options = {"xla_multiheap_size_constraint_per_heap": -1} if sys.argv[1] == "one block" else None
step = jax.jit(jax.grad(net, 1)).lower(x, w).compile(options)
for _ in range(4):
    jax.block_until_ready(step(x, w))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    jax.block_until_ready(step(x, w))
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 4)
"""


def page_faults(layout):
    done = subprocess.run(
        [sys.executable, "-c", MANY_LARGE, layout], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc")
def test_large_temporaries_cost_fewer_page_faults():
    """The reason for it all, counted in pages, not seconds."""
    assert page_faults("heaps") < 0.8 * page_faults("one block")
