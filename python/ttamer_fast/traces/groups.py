"""Groups of requests as integers."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from .._core import ValidationError
from .._utils.arrays import Ints, int_array
from .._utils.checks import shown

__all__ = ["group_numbers"]


def group_numbers(group: Any) -> Ints:
    """(n,) integers as they are; other values numbered in the order in which they appear.

    Raises
    ------
    ValidationError
        If it is no array or sequence, or a value is missing (named by its row) or not hashable.

    Notes
    -----
    O(n).
    """
    if isinstance(group, str | bytes | bytearray | Set | Mapping):
        raise ValidationError(f"`group` must be an array or a sequence of n values, got {type(group).__name__}")
    if not isinstance(group, np.ndarray) and hasattr(group, "__dlpack__"):
        group = np.asarray(group)  # the entries of a tensor are hashed by where they are, not by their values
    if isinstance(group, np.ndarray) and group.dtype.kind in "iu" and not isinstance(group, np.ma.MaskedArray):
        return int_array("group", group)
    numbers: dict[Any, int] = {}
    try:
        values = list(group)
        if all(isinstance(value, int | np.integer) and -(2**63) <= value < 2**63 for value in values):
            return np.array(values, np.int64)
        found = np.empty(len(values), np.int64)
        for row, value in enumerate(values):
            found[row] = -1 if _is_missing(value) else numbers.setdefault(value, len(numbers))
            if found[row] < 0:
                raise ValidationError(f"`group` row {row} must be known, got {shown(value)}")
    except TypeError as error:
        raise ValidationError(f"`group` must have a hashable value for each row: {error}") from None
    return found


def _is_missing(value: Any) -> bool:
    """None, what is masked, and what is not equal to itself or does not say: NaN, NaT and their like."""
    if value is None or value is np.ma.masked:
        return True
    try:
        return bool(value != value)
    except ValueError:  # an array, which is not hashable
        return False
    except TypeError:
        return True
