"""Tables with a row per request, in files of any format: which columns a trace has, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.arrays import int_array
from .._utils.checks import listed

__all__ = ["FIELDS", "WORDS", "Table", "matrices", "objects", "parts_of", "wanted", "whole_if_all"]

FIELDS = ("signal", "loss", "correct", "cost", "prediction", "latency", "propensity")
"""Those with an entry for each request and stage."""
LARGEST = 2.0**63
WORDS = ("kind", "teacher")
"""Those with one word for all requests."""
SINGLE = (*WORDS, "weight", "group")
"""Those with an entry for each request."""


class Table(NamedTuple):
    """A file with named columns."""

    file: Path
    names: list[str]
    rows: int
    numbers: Callable[[str], NDArray[Any]]
    """A column of numbers (n,), NaN for what is missing; a ValidationError for another column."""
    values: Callable[[str], list[Any]]
    """A column of anything, None for what is missing."""
    predictions: Callable[[str], NDArray[Any]]
    """A column of predictions (n,): of integers, or of objects."""


def wanted(names: Iterable[str]) -> list[str]:
    """Which columns belong to a trace."""
    return [name for name in names if name in SINGLE or (":" in name and name.partition(":")[0] in FIELDS)]


def matrices(table: Table) -> dict[str, Any]:
    """The arrays (n, k) behind the columns ``FIELD:STAGE``, and the other columns of a trace."""
    file, names = table.file, table.names
    stages = [name.removeprefix("signal:") for name in names if name.startswith("signal:")]
    if not stages:
        raise ValidationError(f"{file}: column `signal:NAME` is missing, got {listed(names)}")
    for name in wanted(names):
        field, _, stage = name.partition(":")
        if names.count(name) > 1:
            raise ValidationError(f"{file}: column `{name}` is there twice")
        if field in FIELDS and stage not in stages:
            raise ValidationError(f"{file}: column `signal:{stage}` is missing beside `{name}`")
    if table.rows == 0:
        raise ValidationError(f"{file}: there are no rows")
    columns: dict[str, Any] = {"stages": stages}
    for field in FIELDS:
        if any(name.startswith(f"{field}:") for name in names):
            of_stages = [f"{field}:{stage}" for stage in stages]
            for name in of_stages:
                if name not in names:
                    raise ValidationError(f"{file}: column `{name}` is missing")
            columns[field] = _predictions(table, of_stages) if field == "prediction" else _numbers(table, of_stages)
    for name in WORDS:
        if name in names:
            columns |= _word(table, name)
    if "weight" in names:
        columns["weight"] = table.numbers("weight")
    if "group" in names:
        columns["group"] = table.values("group")
    return columns


def parts_of(columns: dict[str, Any]) -> dict[str, NDArray[Any] | list[str]]:
    """The columns of a table for the arrays of a trace."""
    shape = columns["signal"].shape
    table: dict[str, NDArray[Any] | list[str]] = {
        f"{field}:{name}": np.ascontiguousarray(np.broadcast_to(columns[field], shape)[:, i])
        for field in FIELDS
        if field in columns
        for i, name in enumerate(columns["stages"])
    }
    table |= {name: [columns[name]] * shape[0] for name in WORDS if name in columns}
    return table | {name: columns[name] for name in ("weight", "group") if name in columns}


def objects(values: Sequence[Any]) -> NDArray[Any]:
    """(n,) objects, whatever they are."""
    column = np.empty(len(values), object)
    column[:] = values
    return column


def whole_if_all(numbers: NDArray[Any]) -> NDArray[Any]:
    """(n,) integers where all numbers are whole, and small enough; else the numbers as objects."""
    whole = np.all((numbers == np.floor(numbers)) & (np.abs(numbers) < LARGEST))
    return int_array("prediction", numbers) if whole else objects(numbers.tolist())


def _numbers(table: Table, names: list[str]) -> NDArray[Any]:
    return np.column_stack([table.numbers(name) for name in names])


def _predictions(table: Table, names: list[str]) -> NDArray[Any]:
    """Integers, if all are: they are never rounded. Else what they are."""
    columns = [table.predictions(name) for name in names]
    if all(column.dtype.kind in "iu" for column in columns):
        return np.column_stack([int_array("prediction", column) for column in columns])
    return np.column_stack([column.astype(object) for column in columns])


def _word(table: Table, name: str) -> dict[str, str]:
    """The word of a column, if it says one."""
    said = [one for one in table.values(name) if one is not None]
    if not said:
        return {}
    if any(one != said[0] for one in said) or len(said) < table.rows:
        raise ValidationError(f"{table.file}: column `{name}` must be the same in every row")
    if not isinstance(said[0], str):
        raise ValidationError(f"{table.file}: column `{name}` must be text, got {type(said[0]).__name__}")
    return {name: said[0]}
