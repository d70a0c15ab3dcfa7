"""Lists, arrays and tensors: what has its rows in order, and rows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["length", "rows_at"]


def length(rows: Any) -> int | None:
    """How many rows an array, a sequence or a tensor has; None for all else.

    Tables and labelled columns are not taken: iterated or indexed, they give columns, or rows by their labels.
    """
    if type(rows) is list:
        return len(rows)
    if isinstance(rows, np.ndarray):
        return len(rows) if rows.ndim else None
    if isinstance(rows, str | bytes | bytearray):
        return None
    if not isinstance(rows, Sequence) and not hasattr(rows, "__dlpack__"):
        return None
    try:
        return len(rows)
    except TypeError:  # a tensor without axes
        return None


def rows_at(rows: Any, positions: NDArray[np.int64]) -> list[Any]:
    """The rows at some positions."""
    if isinstance(rows, np.ndarray):
        return list(rows[positions])
    # What is no sequence promises its order only where it is iterated.
    ordered = rows if type(rows) is list or isinstance(rows, Sequence) else list(rows)
    return [ordered[position] for position in positions.tolist()]
