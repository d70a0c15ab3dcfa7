"""Columns of traces in .npz, .parquet and .csv files; what they mean is for :class:`Trace` to say."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .._core import ValidationError
from .._utils.atomic import replacing
from .._utils.extras import require

__all__ = ["read_columns", "write_columns"]

Way = TypeVar("Way")

FIELDS = ("signal", "loss", "correct", "cost", "prediction")
"""Those with an entry for each request and stage."""


def read_columns(file: Path) -> Mapping[str, Any]:
    """What a file holds of `FIELDS`, (n, k) each (`cost` also (k,)), and of ``stages``, ``kind``, ``weight``
    and ``group``.

    Raises
    ------
    ValidationError
        If the ending is none of the three, or the file cannot be read or has no signal or cost; names the file.
    MissingExtraError
        If .parquet or .csv is asked for and pyarrow is not installed.
    """
    read = _of_ending(file, {".npz": _read_npz, ".parquet": _read_parquet, ".csv": _read_csv})
    if not file.is_file():
        raise ValidationError(f"cannot read {file}: no such file")
    columns = read(file)
    for name in ("signal", "cost"):
        if name not in columns:
            raise ValidationError(f"{file}: `{name}` is missing")
    return columns


def write_columns(columns: Mapping[str, Any], file: Path) -> None:
    """Write columns as :func:`read_columns` gives them, those that are None left out, atomically.

    Raises
    ------
    ValidationError
        If the ending is none of the three or the file cannot be written.
    MissingExtraError
        If .parquet or .csv is asked for and pyarrow is not installed.
    """
    write = _of_ending(file, {".npz": _write_npz, ".parquet": _write_parquet, ".csv": _write_csv})
    try:
        with replacing(file) as temporary:
            write({name: column for name, column in columns.items() if column is not None}, temporary)
    except OSError as error:
        raise ValidationError(f"cannot write {file}: {_reason(error)}") from error


def _of_ending(file: Path, ways: Mapping[str, Way]) -> Way:
    if file.suffix not in ways:
        raise ValidationError(f"`path` must end in .npz, .parquet or .csv, got {str(file)!r}")
    return ways[file.suffix]


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


# .npz


def _read_npz(file: Path) -> Mapping[str, Any]:
    wanted = (*FIELDS, "stages", "kind", "weight", "group")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in wanted if name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValidationError(f"cannot read {file} as .npz: {_reason(error)}") from error
    if "stages" in columns:
        columns["stages"] = [str(name) for name in np.atleast_1d(columns["stages"])]
    return columns


def _write_npz(columns: Mapping[str, Any], file: Path) -> None:
    with file.open("wb") as stream:
        np.savez_compressed(stream, **columns)


# .parquet and .csv: the same columns


def _read_parquet(file: Path) -> Mapping[str, Any]:
    pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    try:
        with parquet.ParquetFile(file) as opened:
            table = opened.read()
    except (OSError, pyarrow.ArrowException) as error:
        raise ValidationError(f"cannot read {file} as .parquet: {_reason(error)}") from error
    return _matrices(file, table)


def _read_csv(file: Path) -> Mapping[str, Any]:
    pyarrow, csv = require("pyarrow", "parquet"), require("pyarrow.csv", "parquet")
    try:
        # As text, groups 7 and 007 differ, and long numbers are not rounded.
        options = csv.ConvertOptions(column_types={"group": pyarrow.string()}, strings_can_be_null=True)
        table = csv.read_csv(file, convert_options=options)
    except (OSError, pyarrow.ArrowException) as error:
        raise ValidationError(f"cannot read {file} as .csv: {_reason(error)}") from error
    columns = _matrices(file, table)
    if "group" not in columns:
        return columns
    return {**columns, "group": _integers_if_all(columns["group"])}


def _integers_if_all(texts: list[str | None]) -> list[Any]:
    """Integers where every text is one as it would be written; else the texts."""
    try:
        numbers = [int(text) for text in texts if text is not None]
    except ValueError:
        return texts
    return numbers if list(map(str, numbers)) == texts else texts


def _write_parquet(columns: Mapping[str, Any], file: Path) -> None:
    require("pyarrow.parquet", "parquet").write_table(_table(columns), file)


def _write_csv(columns: Mapping[str, Any], file: Path) -> None:
    require("pyarrow.csv", "parquet").write_csv(_table(columns), file)


def _table(columns: Mapping[str, Any]) -> Any:
    pyarrow = require("pyarrow", "parquet")
    shape = columns["signal"].shape
    table = {
        f"{field}:{name}": pyarrow.array(np.ascontiguousarray(np.broadcast_to(columns[field], shape)[:, i]))
        for field in FIELDS
        if field in columns
        for i, name in enumerate(columns["stages"])
    }
    table["kind"] = pyarrow.array([columns["kind"]] * shape[0])
    table |= {name: pyarrow.array(columns[name]) for name in ("weight", "group") if name in columns}
    return pyarrow.table(table)


def _matrices(file: Path, table: Any) -> Mapping[str, Any]:
    """The arrays (n, k) behind the columns ``FIELD:STAGE``."""
    names = list(table.column_names)
    stages = [name.removeprefix("signal:") for name in names if name.startswith("signal:")]
    if not stages:
        raise ValidationError(f"{file}: column `signal:NAME` is missing")
    if table.num_rows == 0:
        raise ValidationError(f"{file}: there are no rows")
    columns: dict[str, Any] = {"stages": stages}
    for field in FIELDS:
        if any(name.startswith(f"{field}:") for name in names):
            columns[field] = np.column_stack([_column(file, table, f"{field}:{stage}") for stage in stages])
    if "kind" in names:
        kinds = set(_only(file, table, "kind").to_pylist())
        if len(kinds) != 1:
            raise ValidationError(f"{file}: column `kind` must be the same in every row")
        columns["kind"] = kinds.pop()
    if "weight" in names:
        columns["weight"] = _column(file, table, "weight")
    if "group" in names:
        columns["group"] = _only(file, table, "group").to_pylist()
    return columns


def _column(file: Path, table: Any, name: str) -> Any:
    pyarrow = require("pyarrow", "parquet")
    column = _only(file, table, name)
    kind = column.type
    if pyarrow.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pyarrow.types.is_boolean(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
        raise ValidationError(f"{file}: column `{name}` must be numbers, got {kind}")
    return column.to_numpy()


def _only(file: Path, table: Any, name: str) -> Any:
    """The one column of this name."""
    found = table.column_names.count(name)
    if found != 1:
        raise ValidationError(f"{file}: column `{name}` " + ("is missing" if found == 0 else "is there twice"))
    return table.column(name)
