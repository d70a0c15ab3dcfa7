"""Array types and the checks that turn what a caller passed into them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import ValidationError

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

Predictions: TypeAlias = ArrayLike | Sequence[Sequence[Hashable]]
"""What each stage said of each request: an array, a table, or rows of any hashables."""

_EXACT_INTEGERS = 2.0**63


def float_array(name: str, value: ArrayLike) -> Floats:
    """`value` as a C-contiguous float64 array, copied only if it must be; bool and integer arrays are converted."""
    array = _rectangular(name, value)
    if array.dtype.kind not in "biuf":
        raise ValidationError(f"`{name}` must be real numbers, got dtype {array.dtype}")
    return np.require(array, np.float64, ("C", "ALIGNED"))


def int_array(name: str, value: ArrayLike) -> Ints:
    """`value` as a C-contiguous int64 array, copied only if it must be.

    uint64 keeps its bits, floats must be whole numbers.
    """
    array = _rectangular(name, value)
    if array.dtype.kind == "f":
        bad = ~((array == np.floor(array)) & (np.abs(array) < _EXACT_INTEGERS))
        if bad.any():
            where, given = first_bad(array, bad)
            raise ValidationError(f"`{name}`{where} must be an integer, got {given}")
    elif array.dtype.kind not in "biu":
        raise ValidationError(f"`{name}` must be integers, got dtype {array.dtype}")
    return np.require(array.astype(np.int64, copy=False), np.int64, ("C", "ALIGNED"))


def check_not_negative(name: str, array: Floats) -> None:
    """Refuse negative, infinite and NaN entries, naming the first."""
    if array.size and array.min() >= 0.0 and array.max() < np.inf:
        return
    bad = ~((array >= 0.0) & (array < np.inf))
    if bad.any():
        where, given = first_bad(array, bad)
        raise ValidationError(f"`{name}`{where} must be finite and at least 0, got {given}")


def first_bad(array: NDArray[Any], bad: Bools) -> tuple[str, str]:
    """Where the first true entry of `bad` is, in words, and what `array` holds there."""
    index = np.unravel_index(int(bad.argmax()), bad.shape)
    axes = ("row", "column") if array.ndim == 2 else ("entry",) * array.ndim
    where = "".join(f" {axis} {i}" for axis, i in zip(axes, index, strict=True))
    return where, f"{array[index]}"


def _rectangular(name: str, value: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValidationError(f"`{name}` must be a rectangular array of numbers") from error
