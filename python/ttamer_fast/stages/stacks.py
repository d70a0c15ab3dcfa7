"""Rows put together into what a graph takes at once, padded where they differ in length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.checks import shown
from .tensors import Row, Tensor, as_row

__all__ = ["Lengths", "Padding", "check_padding", "fitting", "lengths_of", "scattered", "stacked"]

Lengths: TypeAlias = dict[str, int]
"""How long the axes are that have a name."""

Padding: TypeAlias = Mapping[str, float]
"""What stands at the end of shorter rows, by tensor."""


def check_padding(padding: float | Padding | None, tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """What rows are padded with, by tensor; a number is for all of them, None is none.

    Raises
    ------
    ValidationError
        If a name is not one of the tensors, or a value is no number that the tensor can hold.
    """
    if padding is None:
        return {}
    given = padding if isinstance(padding, Mapping) else dict.fromkeys(tensors, padding)
    for name, value in given.items():
        if name not in tensors:
            raise ValidationError(f"`pad` must have names of inputs, {list(tensors)}, got {shown(name)}")
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise ValidationError(f"`pad` of input {name!r} must be a number, got {shown(value)}")
        dtype = tensors[name].dtype
        if dtype is not None and dtype.kind in "iu" and not _is_of(dtype, value):
            raise ValidationError(f"`pad` of input {name!r} must be of {dtype}, got {shown(value)}")
    return dict(given)


def _is_of(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a number is an integer of this dtype."""
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max and value == int(value)


def fitting(tensors: Mapping[str, Tensor], xs: Sequence[Any]) -> tuple[list[Row], list[int]]:
    """Of m inputs those that fit a graph, and their places.

    Raises
    ------
    ValidationError
        If none does: what is said of the first.
    """
    rows: list[Row] = []
    places: list[int] = []
    first: ValidationError | None = None
    for place, x in enumerate(xs):
        try:
            rows.append(as_row(tensors, x))
            places.append(place)
        except ValidationError as error:
            first = first or error
    if first is not None and not rows:
        raise first
    return rows, places


def scattered(outputs: NDArray[Any], places: Sequence[int], count: int) -> NDArray[Any] | list[NDArray[Any] | None]:
    """Outputs for all of `count` rows, of which those at `places` have one; None is that of the others."""
    if len(places) == count:
        return outputs
    every: list[NDArray[Any] | None] = [None] * count
    for place, output in zip(places, outputs, strict=True):
        every[place] = output
    return every


def lengths_of(tensors: Mapping[str, Tensor], rows: Sequence[Row]) -> Lengths:
    """How long the axes with a name are, in the longest of some rows."""
    lengths: Lengths = {}
    for name, tensor in tensors.items():
        for at, axis in enumerate(tensor.shape[1:]):
            if isinstance(axis, str):
                lengths[axis] = max(lengths.get(axis, 0), *[row[name].shape[at] for row in rows])
    return lengths


def stacked(tensor: Tensor, rows: Sequence[NDArray[Any]], lengths: Lengths, padding: Padding) -> NDArray[Any]:
    """m rows of a tensor as one array: axes with a name as long as `lengths` says, others as in the longest row.

    Raises
    ------
    ValidationError
        If rows would have to be padded and are not.
    """
    longest = [max(sizes) for sizes in zip(*[row.shape for row in rows], strict=True)]
    named = zip(tensor.shape[1:], longest, strict=True)
    shape = tuple([lengths[axis] if isinstance(axis, str) else size for axis, size in named])
    rows = [row[tuple(map(slice, shape))] for row in rows]
    if all(row.shape == shape for row in rows):
        return np.stack(rows)
    if tensor.name not in padding:
        other = next(row.shape for row in rows if row.shape != shape)
        wanted = "rows of one shape in a batch, or be padded by `pad`"
        raise ValidationError(f"input {tensor.name!r} must have {wanted}, got {other} and {shape}")
    padded = np.full((len(rows), *shape), padding[tensor.name], rows[0].dtype)
    for at, row in enumerate(rows):
        inside: tuple[Any, ...] = (at, *map(slice, row.shape))
        padded[inside] = row
    return padded
