"""Checks of arguments and shapes that several layers share."""

from __future__ import annotations

from typing import Any, Sequence

from leukemia_tf.errors import InputError


def positive(name: str, value: Any) -> int:
    """``value`` as a Python int, or an `InputError` that names the argument if it is no whole number above zero."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 1:
        raise InputError(f"`{name}` must be a whole number above zero. Received: {value!r}")
    return int(value)


def rate(name: str, value: Any) -> float:
    """``value`` as a Python float, or an `InputError` that names the argument if it lies outside [0, 1)."""
    if isinstance(value, bool) or not hasattr(value, "__float__") or not 0 <= float(value) < 1:
        raise InputError(f"`{name}` must be a number of at least 0 and below 1. Received: {value!r}")
    return float(value)


def check_map(layer: Any, shape: Sequence[int | None]) -> int:
    """The number of channels of a map (B, h, w, C), or an `InputError` if ``shape`` is none."""
    return _check(layer, shape, 4, "a feature map (B, h, w, C) with a known number of channels")


def check_tokens(layer: Any, shape: Sequence[int | None]) -> int:
    """The width of tokens (B, T, D), or an `InputError` if ``shape`` is no such thing."""
    return _check(layer, shape, 3, "tokens (B, T, D) of a known width")


def _check(layer: Any, shape: Sequence[int | None], rank: int, what: str) -> int:
    if len(shape) != rank or shape[-1] is None:
        raise InputError(f"`{type(layer).__name__}` takes {what}. Received: shape {tuple(shape)}")
    return int(shape[-1])
