"""How the tools of this package name things: argument leaves by path, arrays by type."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def kind(x: Any) -> str:
    """The dtype and shape of an array or an abstract value: "float32[3,4]"."""
    aval = x if hasattr(x, "shape") and hasattr(x, "dtype") else jax.typeof(x)
    return f"{aval.dtype}[{','.join(map(str, aval.shape))}]"


def line_of(fun: Callable[..., Any]) -> str:
    """Where a function is defined: "file.py:12", or ""."""
    code = getattr(inspect.unwrap(fun), "__code__", None)
    return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}" if code else ""


def differentiable(dtype: Any) -> bool:
    """Whether values of this dtype carry a gradient."""
    return jnp.issubdtype(dtype, np.inexact)


def is_array(x: Any) -> bool:
    """Whether `x` is an array or a number, the leaves JAX computes with."""
    if isinstance(x, np.ndarray | np.generic):  # not all of NumPy's: text, dates and objects
        try:
            return jax.typeof(x) is not None
        except TypeError:
            return False
    return isinstance(x, jax.Array | int | float | complex)


def thing(x: Any) -> str:
    """What is said of something that is no array: "a str", "an ndarray of dtype object"."""
    name = type(x).__name__
    article = "an" if name[0].lower() in "aeiou" or name == "ndarray" else "a"
    dtype = f" of dtype {x.dtype}" if isinstance(x, np.ndarray | np.generic) else ""
    return f"{article} {name}{dtype}"


def argument_names(fun: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """What the caller of `fun` knows its positional arguments as."""
    try:
        parameters = [
            parameter
            for parameter in inspect.signature(fun).parameters.values()
            if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD)
        ]
    except (TypeError, ValueError):
        parameters = []
    names = []
    for i in range(len(args)):
        parameter = parameters[min(i, len(parameters) - 1)] if parameters else None
        if parameter is not None and parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names.append(f"{parameter.name}[{i - len(parameters) + 1}]")
        elif parameter is not None and i < len(parameters):
            names.append(parameter.name)
        else:
            names.append(f"args[{i}]")
    return names


def leaf_names(name: str, tree: Any) -> list[str]:
    """One name a leaf, in JAX's order: "params['conv1']['weight']"."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [name + jax.tree_util.keystr(path) for path, _ in leaves]
