"""Single inputs put together to what a stage's `batch` takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["stacked"]


def stacked(xs: Sequence[Any]) -> Any:
    """What a stage is handed for these m inputs: an array where all are rows of one, a dict of such, else a list.

    Arrays and numbers of numpy are put together where all are of one type, dtype and shape; dicts where all have the
    same keys, key by key. This undoes what iterating over an array, or over the rows of a dict of arrays, has done.
    """
    first = xs[0]
    kind = type(first)
    if kind is dict:
        if all(type(x) is dict and x.keys() == first.keys() for x in xs) and first:
            return {name: stacked([x[name] for x in xs]) for name in first}
    elif kind is np.ndarray:
        if all(type(x) is kind and x.shape == first.shape and x.dtype == first.dtype for x in xs):
            return np.stack(xs)
    elif issubclass(kind, np.generic) and all(type(x) is kind for x in xs):
        return np.array(xs)
    return list(xs)
