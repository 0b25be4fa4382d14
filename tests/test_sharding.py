"""Several devices: equal results, no gathering of the input. Runs in a process with 8 of them."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import jaxconv

mesh = Mesh(np.array(jax.devices()), ("d",))
rng = np.random.default_rng(0)
x = jnp.asarray(rng.standard_normal((8, 32, 16, 8)), jnp.float32)
w = jnp.asarray(rng.standard_normal((12, 8, 3, 3)), jnp.float32)

def theirs(x, w):
    numbers = ("NHWC", "OIHW", "NHWC")
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=numbers)

WAYS = {
    "function": lambda x, w: jaxconv.conv2d(x, w, padding="same", layout="NHWC"),
    "accelerate": jaxconv.accelerate(theirs),
    "install": theirs,
}
want = np.asarray(theirs(x, w))
grads = jax.grad(lambda x, w: (theirs(x, w) ** 2).sum(), (0, 1))(x, w)
for name, fun in WAYS.items():
    if name == "install":
        jaxconv.install()
    for spec in (P("d"), P(None, "d")):
        xs = jax.device_put(x, NamedSharding(mesh, spec))
        ws = jax.device_put(w, NamedSharding(mesh, P()))
        program = jax.jit(fun).lower(xs, ws).compile()
        assert "all-gather" not in program.as_text(), (name, spec)
        np.testing.assert_allclose(program(xs, ws), want, 1e-4, 1e-4)
        got = jax.jit(jax.grad(lambda x, w: (fun(x, w) ** 2).sum(), (0, 1)))(xs, ws)
        for a, b in zip(got, grads):
            np.testing.assert_allclose(a, b, 1e-3, 1e-3)
    mapped = jax.shard_map(fun, mesh=mesh, in_specs=(P("d"), P()), out_specs=P("d"))
    np.testing.assert_allclose(jax.jit(mapped)(x, w), want, 1e-4, 1e-4)
jaxconv.uninstall()

explicit = jax.make_mesh((8,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
with jax.set_mesh(explicit):
    xs = jax.device_put(x, NamedSharding(explicit, P("d")))
    ws = jax.device_put(w, NamedSharding(explicit, P()))
    out = jax.jit(WAYS["function"])(xs, ws)
    np.testing.assert_allclose(out, want, 1e-4, 1e-4)
    assert out.sharding.spec[0] == "d"
print("all equal")
"""


def test_on_eight_virtual_devices():
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        pytest.fail(done.stderr[-4000:])
    assert "all equal" in done.stdout
