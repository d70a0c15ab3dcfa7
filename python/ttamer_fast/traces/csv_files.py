"""Traces in .csv files (extra `parquet`). Every cell is read as text: types do not depend on the first rows."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError, write_file
from .._utils.checks import shown
from .._utils.errors import TraceFormatError
from .._utils.extras import require
from .._utils.files import decoding, open_file
from .tables import Table, matrices, objects, parts_of, wanted, whole_if_all

__all__ = ["read_csv", "write_csv"]

BLOCK = 2**24
"""Bytes that are parsed at a time; a row has to fit."""
WORDS = {"true": 1.0, "false": 0.0}


def read_csv(file: Path, _max_bytes: int | None) -> Mapping[str, Any]:
    """The columns of a file; as nothing in it is packed, it takes no more memory than a few times its size."""
    require("pyarrow", "parquet")
    with open_file(file) as stream, decoding(file, ".csv", TraceFormatError):
        _check_text(file, stream)
        names = _header(stream)
        if len(names) == 1 and any(f"{mark}cost:" in names[0] for mark in (";", "\t", "|")):
            raise ValidationError(f"{file}: columns must be separated by commas, got {shown(names[0])}")
        texts = _texts(stream, names)
    columns = matrices(
        Table(
            file,
            names,
            len(next(iter(texts.values()), [])),
            numbers=lambda name: _numbers(file, name, texts[name]),
            values=lambda name: list(texts[name].to_pylist()),
            predictions=lambda name: _predictions(texts[name]),
        )
    )
    if "group" in columns:
        columns["group"] = _integers_if_all(columns["group"])
    return columns


def write_csv(file: Path, columns: Mapping[str, Any]) -> None:
    """One row per request; the old file or the new one, whatever happens."""
    pyarrow, stream = require("pyarrow", "parquet"), io.BytesIO()
    require("pyarrow.csv", "parquet").write_csv(pyarrow.table(parts_of(dict(columns))), stream)
    write_file(file, stream.getvalue())


def _check_text(file: Path, stream: BinaryIO) -> None:
    """A ValidationError naming the first byte that is not UTF-8."""
    decoder, start, line = codecs.getincrementaldecoder("utf-8")(), 0, 1
    for chunk in iter(lambda: stream.read(2**20), b""):
        waiting = len(decoder.getstate()[0])
        try:
            decoder.decode(chunk)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            at, byte = start - waiting + error.start, error.object[error.start]
            raise ValidationError(
                f"{file}: byte {at} (line {line}) must be UTF-8, got 0x{byte:02x}: save the file as UTF-8"
            ) from None
        start, line = start + len(chunk), line + chunk.count(b"\n")
    stream.seek(0)


def _header(stream: BinaryIO) -> list[str]:
    """Names of the columns."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    names = next(csv.reader(text), [])
    text.detach()
    stream.seek(0)
    return names


def _texts(stream: BinaryIO, names: list[str]) -> dict[str, Any]:
    """The columns of a trace as text, null where a cell is empty or says so."""
    pyarrow, arrow = require("pyarrow", "parquet"), require("pyarrow.csv", "parquet")
    # Read as a row of data, the header makes every column text.
    places = {f"f{i}": name for i, name in enumerate(names) if wanted([name])}
    if not places:
        return {}
    table = arrow.read_csv(
        stream,
        read_options=arrow.ReadOptions(autogenerate_column_names=True, block_size=BLOCK),
        parse_options=arrow.ParseOptions(newlines_in_values=True),
        convert_options=arrow.ConvertOptions(
            include_columns=list(places),
            column_types=dict.fromkeys(places, pyarrow.string()),
            strings_can_be_null=True,
        ),
    )
    return {name: table.column(place).slice(1) for place, name in places.items()}


def _numbers(file: Path, name: str, column: Any) -> NDArray[Any]:
    """Text as numbers: true is 1, false is 0, null is NaN."""
    pyarrow = require("pyarrow", "parquet")
    with suppress(pyarrow.ArrowInvalid):
        return np.asarray(column.cast(pyarrow.float64()).to_numpy())
    numbers = np.empty(len(column))
    for row, text in enumerate(column.to_pylist()):
        number = np.nan if text is None else _number(text.strip())
        if number is None:
            raise ValidationError(f"{file}: column `{name}` row {row} must be a number, got {shown(text)}")
        numbers[row] = number
    return numbers


def _number(text: str) -> float | None:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _predictions(column: Any) -> NDArray[Any]:
    """Whole numbers as integers, never rounded, unless some are missing; anything else as text."""
    pyarrow = require("pyarrow", "parquet")
    if not column.null_count:
        for kind in (pyarrow.int64(), pyarrow.uint64()):
            with suppress(pyarrow.ArrowInvalid):
                return np.asarray(column.cast(kind).to_numpy())
        with suppress(pyarrow.ArrowInvalid):
            numbers = whole_if_all(column.cast(pyarrow.float64()).to_numpy())
            if numbers.dtype.kind == "i":
                return numbers
    return objects(column.to_pylist())


def _integers_if_all(texts: list[str | None]) -> list[Any]:
    """Integers where every text is one as it would be written; else the texts."""
    try:
        numbers = [int(text) for text in texts if text is not None]
    except ValueError:
        return texts
    return numbers if list(map(str, numbers)) == texts else texts
