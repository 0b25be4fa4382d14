"""The arguments that PyTorch's functions share: arrays, ints for each dimension, layouts."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxconv import _compat
from jaxconv._errors import fail, listed

Ints = int | Sequence[int]

LAYOUTS = {1: ("NCW", "NWC"), 2: ("NCHW", "NHWC"), 3: ("NCDHW", "NDHWC")}
AXES = {1: "W", 2: "HW", 3: "DHW"}


def array(function: str, name: str, value: Any) -> Array:
    """`value` as a JAX array; only JAX and NumPy arrays of numbers are taken."""
    if isinstance(value, jax.Array) and not jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return value
    if isinstance(value, np.ndarray):
        with contextlib.suppress(TypeError, ValueError):  # of text, dates, objects
            return jnp.asarray(value)
    dtype = getattr(value, "dtype", None)
    raise fail(
        TypeError,
        function,
        f"{name} must be a JAX or NumPy array of numbers",
        f"{name} of type {type(value).__name__}" + (f" of {dtype}" if dtype is not None else ""),
        f"Convert it first, for example with jnp.asarray({name})"
        if dtype is None
        else "Convert it to a dtype of numbers that JAX has, such as float32",
    )


def integer(value: Any) -> int | None:
    """`value` as an int if it is an integer and no bool, else None."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _is_list(value: Any) -> bool:
    """Whether `value` is a sequence of entries, and no text."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def ints(function: str, name: str, value: Any, ndim: int) -> tuple[int, ...]:
    """`value`, one int or one for each of `ndim` dimensions, as a tuple of `ndim` ints."""
    one = integer(value)
    if one is not None:
        return (one,) * ndim
    if _is_list(value):
        entries = [integer(entry) for entry in value]
        if None not in entries and len(entries) in (1, ndim):
            return tuple(entries) * (ndim if len(entries) == 1 else 1)  # type: ignore[return-value]
        if None not in entries:
            raise fail(
                ValueError,
                function,
                f"expected {name} to be a single integer value or a list of {ndim} values to match "
                f"the {ndim} spatial dimensions",
                f"{name}={list(value)}",
                f"Give one int or {ndim}",
            )
    raise fail(
        TypeError,
        function,
        f"{name} must be an int or a sequence of ints",
        f"{name}={value!r}",
        "Give integers",
    )


def shape(function: str, name: str, value: Any) -> tuple[int, ...]:
    """`value`, a shape, as a tuple of ints."""
    if _is_list(value):
        entries = [n if _compat.is_symbol(n) else integer(n) for n in value]
        if None not in entries:
            if any(_compat.surely_less(n, 0) for n in entries):
                rule, got = f"{name} must hold no negative size", f"{name}={value!r}"
                raise fail(ValueError, function, rule, got, "Give the array's shape")
            return tuple(entries)  # type: ignore[arg-type]
    raise fail(
        TypeError,
        function,
        f"{name} must be a shape, a sequence of ints",
        f"{name}={value!r}",
        "Give the array's shape",
    )


def number(function: str, name: str, value: Any) -> int:
    """`value` as an int."""
    found = integer(value)
    if found is None:
        raise fail(
            TypeError, function, f"{name} must be an int", f"{name}={value!r}", "Give an int"
        )
    return found


def dtype(function: str, name: str, value: Any) -> np.dtype:
    """`value` as a dtype."""
    try:
        return np.dtype(value)
    except (TypeError, ValueError, SyntaxError):
        rule, got = f"{name} must be a dtype", f"{name}={value!r}"
        raise fail(TypeError, function, rule, got, "Give one such as jnp.float32") from None


def precision(function: str, value: Any) -> Any:
    """`value` as lax has a precision."""
    try:
        return _compat.canonical_precision(value)
    except (ValueError, TypeError):
        raise fail(
            ValueError,
            function,
            "precision must be one that jax.lax takes: None, a name such as 'highest', a "
            "jax.lax.Precision or DotAlgorithmPreset, or a pair of these",
            f"precision={value!r}",
            "Choose one of these",
        ) from None


def callable_fun(function: str, fun: Any, remedy: str) -> None:
    """Raise unless `fun` can be called."""
    if not callable(fun):
        raise fail(TypeError, function, "fun must be a function", type(fun).__name__, remedy)


def at_least(function: str, name: str, values: Sequence[int], least: int, phrase: str) -> None:
    """Raise if an entry of `values` lies below `least`; `phrase` is PyTorch's wording."""
    if any(value < least for value in values):
        raise fail(
            ValueError,
            function,
            f"{phrase} ({name} must be at least {least} in every dimension)",
            f"{name}={tuple(values)}",
            f"Change {name}",
        )


def positive_dilation(function: str, dilation: Sequence[int]) -> None:
    """Raise if a dilation of a convolution lies below 1, in both of PyTorch's wordings."""
    phrase = "non-positive dilation is not supported: dilation should be greater than zero"
    at_least(function, "dilation", dilation, 1, phrase)


def one_of(function: str, name: str, value: Any, known: Sequence[str]) -> None:
    """Raise if `value` is not one of the `known` words."""
    if not isinstance(value, str) or value not in known:
        raise fail(
            ValueError if isinstance(value, str) else TypeError,
            function,
            f"{name} must be {listed(known)}",
            f"{name}={value!r}",
            f"Choose one of these for {name}",
        )


def batched(function: str, input: Array, ndim: int, what: str = "input") -> bool:
    """Whether `input` has a batch dimension; raises if its rank is neither of the two."""
    if input.ndim not in (ndim + 1, ndim + 2):
        raise fail(
            ValueError,
            function,
            f"Expected {ndim + 1}D (unbatched) or {ndim + 2}D (batched) input to {function}",
            f"{what} of size {list(input.shape)} with rank {input.ndim}",
            f"Add or remove dimensions, so that {what} has shape (N, C, {', '.join(AXES[ndim])}) "
            "with or without N",
        )
    return input.ndim == ndim + 2


def channels_last(function: str, layout: str | None, ndim: int) -> bool:
    """Whether `layout` (default: channels first) puts the channels last."""
    if layout is None:
        return False
    one_of(function, "layout", layout, LAYOUTS[ndim])
    return layout == LAYOUTS[ndim][1]


def by(sizes: Sequence[int]) -> str:
    """Sizes as PyTorch prints them: (5 x 3)."""
    return "(" + " x ".join(map(str, sizes)) + ")"
