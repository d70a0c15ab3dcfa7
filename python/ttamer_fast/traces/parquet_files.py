"""Traces in .parquet files, and in folders of them (extra `parquet`)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError, write_file
from .._utils.arrays import int_array
from .._utils.errors import TraceFormatError
from .._utils.extras import require
from .._utils.files import decoding, open_file
from .archives import check_size
from .tables import Table, matrices, objects, parts_of, wanted, whole_if_all

__all__ = ["read_parquet", "write_parquet"]

BYTES_OF_A_NUMBER = 8


def read_parquet(file: Path, max_bytes: int | None) -> Mapping[str, Any]:
    """The columns of a file, or of a folder of files in the order of their names, as Spark writes them."""
    pyarrow = require("pyarrow", "parquet")
    parts = _parts(file) if file.is_dir() else [file]
    tables: list[Any] = []
    names: list[str] = []
    needed, size = 0, sum(part.stat().st_size for part in parts)
    for part in parts:
        with open_file(part) as stream, decoding(part, ".parquet", TraceFormatError):
            opened = require("pyarrow.parquet", "parquet").ParquetFile(stream)
            there = opened.schema_arrow.names
            needed += BYTES_OF_A_NUMBER * opened.metadata.num_rows * len(wanted(there))
            check_size(file, needed, size, max_bytes)
            tables.append(opened.read(columns=wanted(there)))
            names += [name for name in there if name not in names] if names else there
    with decoding(file, ".parquet", TraceFormatError):
        table = tables[0] if len(tables) == 1 else pyarrow.concat_tables(tables, promote_options="permissive")
    return matrices(
        Table(
            file,
            names,
            table.num_rows,
            numbers=lambda name: _numbers(file, name, _plain(table.column(name))),
            values=lambda name: table.column(name).to_pylist(),
            predictions=lambda name: _predictions(_plain(table.column(name))),
        )
    )


def write_parquet(file: Path, columns: Mapping[str, Any]) -> None:
    """One row per request; the old file or the new one, whatever happens."""
    pyarrow, stream = require("pyarrow", "parquet"), io.BytesIO()
    require("pyarrow.parquet", "parquet").write_table(pyarrow.table(parts_of(dict(columns))), stream)
    write_file(file, stream.getvalue())


def _parts(folder: Path) -> list[Path]:
    """The .parquet files of a folder; those that begin with a dot or an underscore are not data."""
    inside = sorted(one for one in folder.iterdir() if not one.name.startswith((".", "_")))
    if any(one.is_dir() for one in inside):
        raise ValidationError(f"{folder}: a folder must hold its .parquet files itself, not in folders of its own")
    parts = [one for one in inside if one.suffix.lower() == ".parquet"]
    if not parts:
        raise ValidationError(f"{folder}: this is a folder, and there is no .parquet file in it")
    return parts


def _plain(column: Any) -> Any:
    """The values of a column of categories; any other column as it is."""
    types = require("pyarrow.types", "parquet")
    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def _numbers(file: Path, name: str, column: Any) -> NDArray[Any]:
    pyarrow, kind = require("pyarrow", "parquet"), column.type
    types = pyarrow.types
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        raise ValidationError(f"{file}: column `{name}` must be numbers, got {kind}")
    if types.is_decimal(kind) or (column.null_count and not types.is_floating(kind)):
        column = column.cast(pyarrow.float64(), safe=False)
    return np.asarray(column.to_numpy())


def _predictions(column: Any) -> NDArray[Any]:
    """Whole numbers as integers, unless some are missing; anything else as objects."""
    types, kind = require("pyarrow", "parquet").types, column.type
    if not column.null_count and (types.is_boolean(kind) or types.is_integer(kind)):
        return int_array("prediction", column.to_numpy())
    if not column.null_count and types.is_floating(kind):
        return whole_if_all(column.to_numpy())
    return objects(column.to_pylist())
