"""Columns of traces in .npz, .parquet and .csv files; what they mean is for :class:`Trace` to say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.checks import shown
from .archives import read_archive, write_archive
from .csv_files import read_csv, write_csv
from .parquet_files import read_parquet, write_parquet
from .tables import FIELDS, WORDS

__all__ = ["read_columns", "write_columns"]

Way = TypeVar("Way")


def read_columns(file: Path, max_bytes: int | None = None) -> Mapping[str, Any]:
    """What a file holds of `FIELDS`, (n, k) each (`cost` also (k,)), and of ``stages``, ``kind``, ``teacher``,
    ``weight`` and ``group``.

    Raises
    ------
    OSError
        If the system refuses to read the file.
    ValidationError
        If the ending is none of the three, or the file has no signal or cost, or is too large; names the file.
    TraceFormatError
        If the file is damaged.
    MissingExtraError
        If .parquet or .csv is asked for and pyarrow is not installed.
    """
    read = _of_ending(file, {".npz": _read_npz, ".parquet": read_parquet, ".csv": read_csv})
    columns = read(file, max_bytes)
    for name in ("signal", "cost"):
        if name not in columns:
            raise ValidationError(f"{file}: `{name}` is missing")
    return columns


def write_columns(columns: Mapping[str, Any], file: Path) -> None:
    """Write columns as :func:`read_columns` gives them, those that are None left out: the old file or the new one.

    Raises
    ------
    OSError
        If the system refuses to write the file; the old one is still there.
    ValidationError
        If the ending is none of the three.
    MissingExtraError
        If .parquet or .csv is asked for and pyarrow is not installed.
    """
    write = _of_ending(file, {".npz": _write_npz, ".parquet": write_parquet, ".csv": write_csv})
    write(file, {name: column for name, column in columns.items() if column is not None})


def _of_ending(file: Path, ways: Mapping[str, Way]) -> Way:
    way = ways.get(file.suffix.lower())
    if way is None:
        raise ValidationError(f"`path` must end in .npz, .parquet or .csv, got {str(file)!r}")
    return way


def _read_npz(file: Path, max_bytes: int | None) -> Mapping[str, Any]:
    columns: dict[str, Any] = read_archive(file, (*FIELDS, "stages", *WORDS, "weight", "group"), max_bytes)
    if "stages" in columns:
        columns["stages"] = _texts(file, "stages", columns["stages"])
    for name in WORDS:
        said = sorted(set(_texts(file, name, columns.pop(name)))) if name in columns else []
        if len(said) > 1:
            raise ValidationError(f"{file}: `{name}` must be one word, got {shown(said)}")
        if said and said[0]:
            columns[name] = said[0]
    return columns


def _texts(file: Path, name: str, array: NDArray[Any]) -> list[str]:
    """Entries as text; bytes are UTF-8, padded with NUL."""
    texts = []
    for one in np.atleast_1d(array).ravel():
        try:
            raw = one if isinstance(one, bytes) else one.tobytes() if isinstance(one, np.void) else str(one).encode()
            texts.append(raw.rstrip(b"\0").decode())
        except UnicodeDecodeError as error:
            raise ValidationError(f"{file}: `{name}` must be UTF-8 text, got {shown(one)}") from error
    return texts


def _write_npz(file: Path, columns: Mapping[str, Any]) -> None:
    for i, name in enumerate(columns["stages"]):
        if name.endswith("\0"):
            raise ValidationError(f"`stages[{i}]` must not end in NUL to be kept in .npz, got {shown(name)}")
    write_archive(file, columns)
