"""Array types, and the one conversion of whatever is array-like into them; the core asks here too."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import ValidationError
from .checks import shown

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

Predictions: TypeAlias = ArrayLike | Sequence[Sequence[Hashable]]
"""What each stage said of each request: an array, a table, or rows of any hashables."""

_EXACT_INTEGERS = 2.0**63
_NUMBERS = frozenset("biuf")
_REASONS = {
    "c": "complex numbers have no order",
    "U": "text is not read as numbers",
    "T": "text is not read as numbers",
    "S": "bytes are not read as numbers",
    "M": "dates are no numbers",
    "m": "durations are no numbers",
    "V": "records are no numbers",
}
"""Why an array is refused, by the kind of its dtype."""


def float_array(name: str, value: ArrayLike) -> Floats:
    """`value` as a C-contiguous, aligned float64 array, copied only if it must be.

    Taken is what has ``__array__``, DLPack or the buffer protocol, data frames and lists: of bools, and of integers and
    floats in every width, byte order and layout. What is masked or null is NaN.

    Raises
    ------
    ValidationError
        For complex numbers, text, bytes, dates and other objects, for ragged lists, and for tensors that numpy cannot
        read, with the reason that they gave.
    """
    if type(value) is np.ndarray and value.dtype.kind in _NUMBERS:
        return np.require(value, np.float64, ("C", "ALIGNED"))
    if isinstance(value, list | tuple) and np.ma.MaskedArray in set(map(type, value)):
        value = _asked(name, np.ma.asarray, value)
    array = array_of(name, value)
    if array.dtype.kind == "O":
        array = numbers_of_objects(name, array, value)
    elif not _has_numbers(array):
        raise ValidationError(f"`{name}` must be real numbers, got dtype {array.dtype}: {_REASONS[array.dtype.kind]}")
    if isinstance(value, np.ma.MaskedArray):
        array = array.astype(np.float64)
        array[np.ma.getmaskarray(value)] = np.nan
    return np.require(array, np.float64, ("C", "ALIGNED"))


def int_array(name: str, value: ArrayLike) -> Ints:
    """`value` as a C-contiguous int64 array, copied only if it must be.

    uint64 keeps its bits, floats must be whole numbers.
    """
    array = _asked(name, np.asarray, value)
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


def array_of(name: str, value: Any) -> NDArray[Any]:
    """`value` as numpy reads it, by ``__array__``, DLPack or the buffer protocol, a view where it can be one.

    Raises
    ------
    ValidationError
        With the reason why it cannot be read.
    """
    return _asked(name, _read, value)


def first_bad(array: NDArray[Any], bad: Bools) -> tuple[str, str]:
    """Where the first true entry of `bad` is, in words, and what `array` holds there."""
    index = np.unravel_index(int(bad.argmax()), bad.shape)
    axes = ("row", "column") if array.ndim == 2 else ("entry",) * array.ndim
    where = "".join(f" {axis} {i}" for axis, i in zip(axes, index, strict=True))
    return where, f"{array[index]}"


def _asked(name: str, function: Callable[[Any], Any], value: Any) -> NDArray[Any]:
    """What `function` makes of `value`, or a ValidationError with the reason why it cannot."""
    try:
        array: NDArray[Any] = function(value)
    except MemoryError:
        raise
    except Exception as error:  # of whoever wrote the `__array__` of this value
        different = _first_different(value) if isinstance(value, list | tuple) else None
        if different is not None:
            raise ValidationError(f"`{name}` {different}") from error
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValidationError(f"`{name}` cannot be read as an array: {reason}") from error
    return array


def _first_different(rows: list[Any] | tuple[Any, ...]) -> str | None:
    """Which row of a ragged list is the first with another length, and what it should be."""
    lengths = [len(row) if hasattr(row, "__len__") and not isinstance(row, str | bytes) else None for row in rows]
    for i, length in enumerate(lengths):
        if length != lengths[0]:
            allowed, given = (_length(one) for one in (lengths[0], length))
            return f"row {i} must have {allowed} as row 0 has, got {given}"
    return None


def _length(entries: int | None) -> str:
    return "a number" if entries is None else "1 entry" if entries == 1 else f"{entries} entries"


def _read(value: Any) -> NDArray[Any]:
    """`value` as numpy reads it; columns of a data frame that may have nulls with NaN for them."""
    if isinstance(value, bytearray):
        value = bytes(value)
    kinds = _kinds_of_columns(value)
    if kinds and kinds <= _NUMBERS:
        return np.asarray(value.to_numpy(dtype=np.float64, na_value=np.nan))
    array = np.asarray(value)
    if array.dtype.kind == "O" and array.ndim == 0 and hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    return array


def _kinds_of_columns(value: Any) -> set[str]:
    """Kinds of the columns of pandas, where numpy alone would make objects of them; else nothing."""
    if not hasattr(value, "to_numpy"):
        return set()
    found = getattr(value, "dtypes", None) if getattr(value, "ndim", 1) == 2 else [getattr(value, "dtype", None)]
    dtypes = [] if found is None else list(found)
    kinds = {str(getattr(dtype, "kind", "none")) for dtype in dtypes}
    return kinds if len(kinds) > 1 or not all(isinstance(dtype, np.dtype) for dtype in dtypes) else set()


def numbers_of_objects(name: str, array: NDArray[Any], value: Any) -> Floats:
    """Numbers with nulls, of a column or a frame, with NaN for them. Any other array of objects is refused."""
    if array.ndim == 0:
        raise ValidationError(f"`{name}` must be an array of real numbers, got {type(value).__name__}")
    numbers, in_columns = np.empty(array.shape), hasattr(value, "to_numpy")
    for i, one in enumerate(array.flat):
        number = _number_of_object(one, in_columns)
        if number is None:
            where, _ = first_bad(array, (np.arange(array.size) == i).reshape(array.shape))
            nan = ": write nan for what is unknown" if one is None else ""
            raise ValidationError(f"`{name}`{where} must be a real number, got {shown(one)} (dtype object){nan}")
        numbers.flat[i] = number
    if not in_columns:
        raise ValidationError(f"`{name}` must be real numbers, got dtype object: convert it with astype(float)")
    return numbers


def _number_of_object(one: Any, in_columns: bool) -> float | None:
    """A number as a float, a null of a column as NaN; None for anything else."""
    if in_columns and (one is None or type(one).__name__ == "NAType"):
        return np.nan
    if not isinstance(one, bool | int | float | np.bool_ | np.integer | np.floating):
        return None
    try:
        return float(one)
    except OverflowError:
        return None


def _has_numbers(array: NDArray[Any]) -> bool:
    """Whether they are bools, integers or floats; those of other packages, such as bfloat16, included."""
    dtype = array.dtype
    return dtype.kind in _NUMBERS or (dtype.kind == "V" and dtype.names is None and np.can_cast(dtype, np.float64))
