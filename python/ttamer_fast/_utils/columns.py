"""Names of columns, wherever an array may be a table that has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core

__all__ = ["by_name", "first_names"]


def by_name(argument: str, value: Any, stages: Sequence[str] | None) -> Any:
    """`value` with its columns, or the entries of a labelled list, in the order of `stages`; as it is without labels.

    Raises
    ------
    ValidationError
        If a stage is missing or there are others; names both lists.
    """
    if stages is None:
        return value
    labels = _labels(value)
    if labels is None:
        return _core.by_name(argument, value, list(stages))
    return np.asarray(value)[_core.in_order(argument, list(stages), labels)]


def first_names(*tables: Any) -> list[str] | None:
    """Names of the columns of the first table that has some."""
    for table in tables:
        found = _text(getattr(table, "column_names", getattr(table, "columns", None)))
        if found is not None:
            return found
    return None


def _labels(value: Any) -> list[str] | None:
    """Labels of the entries of a one-dimensional series."""
    index = getattr(value, "index", None)
    return None if callable(index) or getattr(value, "ndim", 0) != 1 else _text(index)


def _text(labels: Any) -> list[str] | None:
    """Labels that are all text, of which there are some."""
    try:
        found = list(labels)
    except TypeError:
        return None
    return found if found and all(isinstance(label, str) for label in found) else None
