"""What a graph takes and gives: names, dtypes and shapes, and inputs that are checked against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError

__all__ = ["Row", "Tensor", "as_columns", "as_row", "takes"]

Row: TypeAlias = dict[str, NDArray[Any]]
"""Tensors by their names: of one request without the axis of rows, of several with it."""

TEXT = np.dtype(object)

LISTED = {("i", "i"), ("i", "u"), ("i", "f"), ("f", "f"), ("b", "b")}
"""Kinds of the numbers of a list, and of the tensors that take them: a list has no dtype of its own."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a graph.

    Attributes
    ----------
    name : str
        Of the tensor.
    dtype : dtype or None
        None where it is no tensor that numpy knows.
    shape : tuple of int, str or None
        The first axis is that of rows; a number is fixed, equal names are equal lengths, None is any length.
    kind : str
        What the runtime calls its type, for messages.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: tuple[int | str | None, ...]
    kind: str

    def __str__(self) -> str:
        return f"{self.kind if self.dtype is None else self.dtype} {_sizes(self.shape)}"


def as_row(tensors: Mapping[str, Tensor], x: Any) -> Row:
    """One input, by the tensors of a graph: a dict, or where there is but one tensor, its value.

    Raises
    ------
    ValidationError
        If names, dtypes or shapes are not those of the graph: names the input, what it must be and what it is.
    """
    row = {name: _converted(tensors[name], value) for name, value in _named(tensors, x).items()}
    _check_shapes(tensors, row, 1)
    return row


def as_columns(tensors: Mapping[str, Tensor], xs: Any) -> Row | list[Any]:
    """A batch of m inputs, by the tensors of a graph, if it is an array or a dict of arrays; else m inputs as a list.

    Raises
    ------
    ValidationError
        As :func:`as_row`, and if columns differ in length.
    """
    if not isinstance(xs, np.ndarray | Mapping):
        return list(xs)
    columns = _named(tensors, xs)
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) != 1:
        raise ValidationError(f"inputs must have one length, got {counts}")
    if not all(isinstance(column, np.ndarray) and column.dtype != TEXT for column in columns.values()):
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    feeds = {name: _converted(tensors[name], column) for name, column in columns.items()}
    _check_shapes(tensors, feeds, 0)
    return feeds


def takes(tensor: Tensor, given: Tensor) -> bool:
    """Whether what a graph gives can be what another takes: dtype, number of axes, and those that are fixed."""
    fixed = zip(tensor.shape[1:], given.shape[1:], strict=False)
    return (
        tensor.dtype is not None
        and tensor.dtype == given.dtype
        and len(tensor.shape) == len(given.shape)
        and all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in fixed)
    )


def _named(tensors: Mapping[str, Tensor], x: Any) -> Mapping[str, Any]:
    """Values by the names of the inputs."""
    if not isinstance(x, Mapping):
        if len(tensors) > 1:
            raise ValidationError(f"an input must be a dict with {list(tensors)}, got {type(x).__name__}")
        return dict.fromkeys(tensors, x)
    missing = [name for name in tensors if name not in x]
    if missing:
        raise ValidationError(f"an input must have {list(tensors)}, got {list(x)}: {missing[0]!r} is missing")
    unknown = [name for name in x if name not in tensors]
    if unknown:
        raise ValidationError(f"an input must have {list(tensors)}, got {list(x)}: {unknown[0]!r} is none of them")
    return x


def _converted(tensor: Tensor, value: Any) -> NDArray[Any]:
    """An array of the dtype of the tensor, where nothing is lost by it."""
    dtype = tensor.dtype
    assert dtype is not None
    if isinstance(value, np.ndarray) and value.dtype == dtype:
        return value
    try:
        array = np.asarray(value)
        if not array.size and isinstance(value, list | tuple):  # which has no dtype of its own
            array = array.astype(dtype)
        kind = array.dtype.kind
        if dtype == TEXT and kind in "OU":
            return array.astype(object)
        if kind in "biufc" and np.can_cast(array.dtype, dtype, "safe"):
            return array.astype(dtype)
        if isinstance(value, list | tuple | int | float) and (kind, dtype.kind) in LISTED:
            return np.asarray(value, dtype)
    except (ValueError, OverflowError) as error:
        raise ValidationError(f"input {tensor.name!r} must be {tensor}, got {error}") from error
    raise ValidationError(f"input {tensor.name!r} must have dtype {dtype}, got {array.dtype}")


def _check_shapes(tensors: Mapping[str, Tensor], values: Row, first: int) -> None:
    """That arrays have the axes of their tensors, from the first one on, and axes with one name one length."""
    seen: dict[str, tuple[int, str]] = {}
    for name, value in values.items():
        wanted, shape = tensors[name].shape[first:], value.shape
        if len(shape) != len(wanted) or any(isinstance(a, int) and a != b for a, b in zip(wanted, shape, strict=True)):
            what = "a row of shape" if first else "shape"
            raise ValidationError(f"input {name!r} must have {what} {_sizes(wanted)}, got {_sizes(shape)}")
        for axis, size in zip(wanted, shape, strict=True):
            if not isinstance(axis, str):
                continue
            length, other = seen.setdefault(axis, (size, name))
            if length != size:
                has = f"{length} entries on axis {axis!r}, as input {other!r} has"
                raise ValidationError(f"input {name!r} must have {has}, got {size}")


def _sizes(shape: tuple[int | str | None, ...]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"
