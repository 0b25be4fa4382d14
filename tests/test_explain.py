"""explain: what is found, where, in which direction."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import jaxconv
from jaxconv._explain import explanation

X = jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32)
W = jax.ShapeDtypeStruct((3, 3, 4, 6), jnp.float32)


def layer(x, w):
    return lax.conv_general_dilated(
        x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def step(x, w):
    return jax.grad(lambda x, w: (layer(x, w) ** 2).sum(), (0, 1))(x, w)


def test_the_three_convolutions_of_a_training_step(capsys):
    found = jaxconv.explain(step, X, W)
    assert [c.direction for c in found] == ["forward", "weight gradient", "input gradient"]
    assert all(c.source.startswith("test_explain.py:") for c in found)
    assert found[0].spec.out_shape == (2, 4, 4, 6)
    assert found[0].gflop == 2 * (2 * 4 * 4 * 6) * (3 * 3 * 4) / 1e9
    assert capsys.readouterr().out.rstrip() == str(found)
    for c in found:
        assert c.method in jaxconv.methods
        assert c.why and c.source in str(found)
    assert repr(found) == "<Explanation: 3 convolutions>"


DOORS = {
    "conv2d": lambda x, w: jaxconv.conv2d(x, w, layout="NHWC"),
    "conv_transpose2d": lambda x, w: jaxconv.conv_transpose2d(x, w.swapaxes(0, 1), layout="NHWC"),
    "conv_general_dilated": lambda x, w: jaxconv.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "OIHW", "NHWC")
    ),
    "conv3d": lambda x, w: jaxconv.conv3d(x[None], w[:, :, None], layout="NDHWC"),
    "accelerate": jaxconv.accelerate(
        lambda x, w: lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "OIHW", "NHWC")
        )
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_the_lines_are_the_users_at_every_door(door):
    """They were those of jaxconv's own files."""

    def program(x, w):
        return jax.vmap(DOORS[door], (0, None))(x[None], w).sum()

    w = jax.ShapeDtypeStruct((6, 4, 3, 3), jnp.float32)
    found = explanation(jax.grad(program, (0, 1)), X, w)
    assert len(found) >= 3
    assert all(c.source.startswith("test_explain.py:") for c in found)


def test_nothing_is_refused_where_a_method_is_asked_for():
    found = explanation(
        lambda x, w: jaxconv.conv2d(x, w, method="direct"),
        jnp.ones((1, 2, 5, 5)),
        jnp.ones((3, 2, 3, 3)),
    )
    assert found[0].method == "direct" and "refused" not in str(found)


def test_a_method_is_refused_once():
    """It was twice where a convolution is looked at in two forms."""
    for c in explanation(step, X, W):
        names = [name for name, _ in c.refused]
        assert len(names) == len(set(names))
        assert not set(names) & {option.method for option in c.choice.considered}
    forward = explanation(layer, X, W)[0]
    assert ("taps", "computes weight gradients alone") in forward.refused
    assert "taps, weight_patches" in " ".join(str(explanation(layer, X, W)).split())


def test_under_vmap_jit_and_scan():
    def program(x, w):
        y, _ = lax.scan(lambda h, _: (h + step(h, w)[0], None), x, None, length=2)
        return jax.jit(layer)(y, w)

    xs = jax.ShapeDtypeStruct((5, *X.shape), X.dtype)
    found = explanation(jax.vmap(program, (0, None)), xs, W)
    assert [c.context for c in found] == [("scan",)] * (len(found) - 1) + [()]
    assert {"forward", "input gradient"} <= {c.direction for c in found}


def test_a_gradient_that_the_method_asked_for_cannot_compute():
    def program(x, w):
        return jaxconv.conv_transpose2d(x, w, stride=2, method="phases").sum()

    x, w = jnp.ones((1, 2, 5, 5)), jnp.ones((2, 3, 3, 3))
    found = explanation(jax.value_and_grad(program, (0, 1)), x, w)
    assert [c.method for c in found if c.direction != "input gradient"] == ["phases", "phases"]
    (c,) = (c for c in found if c.direction == "input gradient")
    assert c.method == "lax" and c.why.startswith("phases was asked for: ")
    assert c.refused[0][0] == "phases"


def test_nothing_found():
    found = explanation(lambda x: x + 1, jnp.ones(3))
    assert len(found) == 0 and str(found) == "no convolution found"


@pytest.mark.parametrize("method", ["lax", "direct"])
def test_named_method(method):
    found = explanation(
        lambda x, w: jaxconv.conv2d(x, w, method=method),
        jnp.ones((1, 2, 5, 5)),
        jnp.ones((3, 2, 2, 2)),
    )
    assert found[0].method == method and found[0].why == "asked for by name"
