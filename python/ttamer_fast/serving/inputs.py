"""What stages are given: an input, or some rows of a batch, bare or as requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .request import Request
from .rows import length, rows_at

__all__ = ["Input", "Inputs", "count_rows", "each_row", "take_rows"]


class Input:
    """One input."""

    __slots__ = ("_request", "_x")

    def __init__(self, x: Any) -> None:
        self._x = x
        self._request: Request[Any] | None = None

    def take(self, carries: bool) -> Any:
        """What a stage is given: the input, or its request, which is the same one for all stages."""
        if not carries:
            return self._x
        if self._request is None:
            self._request = Request(self._x)
        return self._request


class Inputs:
    """The n inputs of a batch."""

    __slots__ = ("_n", "_requests", "_xs")

    def __init__(self, xs: Any, n: int) -> None:
        self._xs = xs
        self._n = n
        self._requests: list[Request[Any]] | None = None

    def take(self, rows: NDArray[np.int64], carries: bool) -> Any:
        """What a stage is given for some rows, ascending: inputs as :func:`take_rows` takes them, or their requests."""
        if not carries:
            return take_rows(self._xs, rows, self._n)
        if self._requests is None:
            every = take_rows(self._xs, np.arange(self._n), self._n)
            self._requests = [Request(x) for x in each_row(every)]
        return take_rows(self._requests, rows, self._n)


def count_rows(xs: Any) -> int:
    """How many rows a batch has.

    Raises
    ------
    ValidationError
        If it is no list, array or dict of them, or if the columns of a dict differ in length.
    """
    if type(xs) is list or not isinstance(xs, Mapping):
        return _length("`xs` must be a list, an array or a dict of arrays", xs)
    lengths = {name: _length(f"`xs` column {name!r} must be an array or a list", xs[name]) for name in xs}
    if len(set(lengths.values())) != 1:
        raise ValidationError(f"`xs` must have columns, all of one length, got {lengths}")
    return next(iter(lengths.values()))


def take_rows(xs: Any, rows: NDArray[np.int64], n: int) -> Any:
    """Some of the n rows, ascending: of an array an array, of a dict a dict, of anything else a list.

    An array of which all rows are asked for is handed on as it is.
    """
    if isinstance(xs, np.ndarray):
        return xs if len(rows) == n else xs[rows]
    if type(xs) is not list and isinstance(xs, Mapping):
        return {name: take_rows(column, rows, n) for name, column in xs.items()}
    return list(xs) if len(rows) == n else rows_at(xs, rows)


def each_row(xs: Any) -> Iterator[Any]:
    """What :func:`take_rows` gave, row by row; a row of a dict is a dict."""
    if not isinstance(xs, dict):
        yield from xs
        return
    for row in zip(*xs.values(), strict=True):
        yield dict(zip(xs, row, strict=True))


def _length(allowed: str, rows: Any) -> int:
    n = length(rows)
    if n is None:
        raise ValidationError(f"{allowed}, got {type(rows).__name__}")
    return n
