"""Inputs and states of a network in PyTorch: rows put together, moved to the device, and taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError

if TYPE_CHECKING:
    import torch

__all__ = [
    "Row",
    "Values",
    "as_row",
    "call",
    "merged",
    "on_device",
    "rows_of",
    "rows_shape_of",
    "shape_of",
    "stacked",
    "values_of",
]

Values: TypeAlias = "tuple[torch.Tensor, ...] | dict[str, torch.Tensor]"
"""What a block is called with, by position or by name; each with one row a request."""

Row: TypeAlias = "tuple[torch.Tensor | NDArray[Any], ...] | dict[str, torch.Tensor | NDArray[Any]]"
"""The same of one request, without an axis of rows."""


def call(module: Any, values: Values) -> Any:
    """What a module returns for them."""
    return module(**values) if isinstance(values, dict) else module(*values)


def values_of(torch: Any, what: str, returned: Any, count: int) -> Values:
    """A tensor, or a tuple, list or dict of tensors, each with `count` rows.

    Raises
    ------
    ValueError
        If it is none of these; names `what` returned it.
    """
    values: Values
    if isinstance(returned, Mapping):
        values = dict(returned)
    else:
        values = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
    if not values:
        raise ValueError(f"{what} must return tensors, got none")
    for tensor in _entries(values):
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{what} must return tensors, got {type(tensor).__name__}")
        if tensor.ndim == 0 or len(tensor) != count:
            raise ValueError(f"{what} must return tensors of {count} rows, got shape {tuple(tensor.shape)}")
    return values


def as_row(torch: Any, x: Any) -> Row:
    """An input without an axis of rows: a tensor, array or number, or a tuple or dict of these.

    Raises
    ------
    ValidationError
        If it is something else.
    """
    if isinstance(x, Mapping):
        return {name: _entry(torch, value) for name, value in x.items()}
    return tuple([_entry(torch, value) for value in (x if isinstance(x, tuple) else (x,))])


def shape_of(row: Row) -> tuple[Any, ...]:
    """Equal for inputs that can be put together."""
    names = tuple(row) if isinstance(row, dict) else ()
    return names, *[(type(one), tuple(one.shape), one.dtype, getattr(one, "device", None)) for one in _entries(row)]


def stacked(torch: Any, rows: Sequence[Row]) -> Values:
    """Inputs of one shape with an axis of rows."""
    first = rows[0]
    columns = [
        torch.stack(column) if isinstance(column[0], torch.Tensor) else torch.from_numpy(np.stack(column))
        for column in zip(*[_entries(row) for row in rows], strict=True)
    ]
    return dict(zip(first, columns, strict=True)) if isinstance(first, dict) else tuple(columns)


def on_device(torch: Any, values: Values, device: torch.device, dtype: torch.dtype | None) -> Values:
    """Values on the device, floats of the dtype; nothing waits for the device."""

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        if dtype is not None and tensor.is_floating_point():
            tensor = tensor.to(dtype)
        if device.type == "cuda" and tensor.device.type == "cpu":
            tensor = tensor.pin_memory()
        return tensor.to(device, non_blocking=True)

    return _each(moved, values)


def rows_of(torch: Any, state: Values, rows: Sequence[int], device: torch.device) -> Values:
    """Some rows of a state, in this order; all of them are not copied."""
    count = len(_entries(state)[0])
    if list(rows) == list(range(count)):
        return state
    (index,) = _entries(on_device(torch, (torch.tensor(rows, dtype=torch.int64),), device, None))
    return _each(lambda tensor: tensor.index_select(0, index), state)


def rows_shape_of(values: Values) -> tuple[Any, ...]:
    """Equal for values whose rows can be put together."""
    names = tuple(values) if isinstance(values, dict) else ()
    return names, *[(tensor.shape[1:], tensor.dtype) for tensor in _entries(values)]


def merged(torch: Any, parts: Sequence[Values]) -> Values:
    """The rows of all, which have one shape."""
    first = parts[0]
    if len(parts) == 1:
        return first
    joined = [torch.cat(column) for column in zip(*[_entries(part) for part in parts], strict=True)]
    return dict(zip(first, joined, strict=True)) if isinstance(first, dict) else tuple(joined)


def _entries(values: Any) -> list[Any]:
    return list(values.values()) if isinstance(values, dict) else list(values)


def _each(function: Callable[[Any], Any], values: Values) -> Values:
    if isinstance(values, dict):
        return {name: function(tensor) for name, tensor in values.items()}
    return tuple([function(tensor) for tensor in values])


def _entry(torch: Any, value: Any) -> Any:
    """A tensor as it is, all else as an array of numbers."""
    if isinstance(value, torch.Tensor):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise ValidationError(
            f"an input must be a tensor, array or number, got {type(value).__name__} of {array.dtype}"
        )
    return array
