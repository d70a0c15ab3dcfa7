"""Traces in .npz, .parquet and .csv files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .._core import ValidationError
from .._utils.atomic import replacing
from .._utils.extras import require
from .trace import Trace

__all__ = ["read_trace", "write_trace"]

LOSSES = ("auto", "correct", "loss")


def read_trace(path: str | PathLike[str], loss: str = "auto", kind: str | None = None) -> Trace:
    """Read a trace from a .npz, .parquet or .csv file.

    Parameters
    ----------
    path : path-like
        The ending decides the format. **.npz** holds the arrays ``signal``, ``cost`` and ``loss`` or ``correct``, and
        may hold ``prediction``, ``stages``, ``kind`` and ``weight``; others are ignored. **.parquet** and **.csv**
        hold one row per request with, for each stage NAME, the columns ``signal:NAME``, ``cost:NAME``, ``loss:NAME`` or
        ``correct:NAME``, and may hold ``prediction:NAME``, ``kind`` and ``weight``; the stages are in the order of
        the signals.
    loss : {"auto", "correct", "loss"}
        ``"auto"``: 1 - ``correct`` where the file has it, else ``loss``. The others ask for one of the two.
    kind : {"exits", "models"}, optional
        As in :class:`Trace`. Default: what the file says, else ``"exits"``.

    Raises
    ------
    ValidationError
        If the file cannot be read, lacks a column, or holds numbers that :class:`Trace` refuses; names the file.
    MissingExtraError
        If .parquet or .csv is asked for and pyarrow is not installed.

    Examples
    --------
    >>> import pathlib, tempfile, ttamer_fast as tt
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "trace.npz")
    >>> tt.Trace([[0.9, 0.8]], [[0, 1]], [1.0, 4.0], kind="models").save(path)
    >>> tt.read_trace(path).kind
    'models'
    >>> folder.cleanup()
    """
    file = Path(path)
    if loss not in LOSSES:
        raise ValidationError(f"`loss` must be 'auto', 'correct' or 'loss', got {loss!r}")
    read = _reader(file)
    if not file.is_file():
        raise ValidationError(f"cannot read {file}: no such file")
    columns = read(file)
    for name in ("signal", "cost"):
        if name not in columns:
            raise ValidationError(f"{file}: `{name}` is missing")
    chosen = loss
    if loss == "auto":
        chosen = "correct" if "correct" in columns else "loss"
    if chosen not in columns:
        raise ValidationError(f"{file}: `{chosen}` is missing" + (", and so is `correct`" if loss == "auto" else ""))
    try:
        return Trace(
            columns["signal"],
            _one_minus(columns["correct"]) if chosen == "correct" else columns["loss"],
            columns["cost"],
            columns.get("prediction"),
            kind=kind or str(columns.get("kind", "exits")),
            stages=columns.get("stages"),
            weight=columns.get("weight"),
        )
    except ValidationError as error:
        raise ValidationError(f"{file}: {error}") from error


def write_trace(trace: Trace, path: str | PathLike[str]) -> None:
    """Write `trace` to a .npz, .parquet or .csv file, atomically."""
    file = Path(path)
    writers = {".npz": _write_npz, ".parquet": _write_parquet, ".csv": _write_csv}
    if file.suffix not in writers:
        raise ValidationError(f"`path` must end in .npz, .parquet or .csv, got {str(file)!r}")
    try:
        with replacing(file) as temporary:
            writers[file.suffix](trace, temporary)
    except OSError as error:
        raise ValidationError(f"cannot write {file}: {_reason(error)}") from error


def _reader(file: Path) -> Any:
    readers = {".npz": _read_npz, ".parquet": _read_parquet, ".csv": _read_csv}
    if file.suffix not in readers:
        raise ValidationError(f"`path` must end in .npz, .parquet or .csv, got {str(file)!r}")
    return readers[file.suffix]


def _one_minus(correct: Any) -> Any:
    if correct.dtype.kind not in "biuf":
        raise ValidationError(f"`correct` must be true or false, got dtype {correct.dtype}")
    return 1.0 - correct.astype(np.float64)


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


# .npz


def _read_npz(file: Path) -> Mapping[str, Any]:
    wanted = ("signal", "loss", "correct", "cost", "prediction", "stages", "kind", "weight")
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in wanted if name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValidationError(f"cannot read {file} as .npz: {_reason(error)}") from error
    if "stages" in columns:
        columns["stages"] = [str(name) for name in np.atleast_1d(columns["stages"])]
    return columns


def _write_npz(trace: Trace, file: Path) -> None:
    content: dict[str, Any] = {
        "signal": trace.signal,
        "loss": trace.loss,
        "cost": trace.cost,
        "stages": np.array(trace.stages),
        "kind": np.array(trace.kind),
    }
    if trace.prediction is not None:
        content["prediction"] = trace.prediction
    if trace.weight is not None:
        content["weight"] = trace.weight
    with file.open("wb") as stream:
        np.savez_compressed(stream, **content)


# .parquet and .csv: the same columns


def _read_parquet(file: Path) -> Mapping[str, Any]:
    pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    try:
        table = parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise ValidationError(f"cannot read {file} as .parquet: {_reason(error)}") from error
    return _matrices(file, table)


def _read_csv(file: Path) -> Mapping[str, Any]:
    pyarrow, csv = require("pyarrow", "parquet"), require("pyarrow.csv", "parquet")
    try:
        table = csv.read_csv(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise ValidationError(f"cannot read {file} as .csv: {_reason(error)}") from error
    return _matrices(file, table)


def _write_parquet(trace: Trace, file: Path) -> None:
    require("pyarrow.parquet", "parquet").write_table(_table(trace), file)


def _write_csv(trace: Trace, file: Path) -> None:
    require("pyarrow.csv", "parquet").write_csv(_table(trace), file)


def _table(trace: Trace) -> Any:
    pyarrow = require("pyarrow", "parquet")
    fields: dict[str, Any] = {
        "signal": trace.signal,
        "loss": trace.loss,
        "cost": np.broadcast_to(trace.cost, trace.loss.shape),
    }
    if trace.prediction is not None:
        fields["prediction"] = trace.prediction
    columns = {
        f"{field}:{name}": pyarrow.array(np.ascontiguousarray(values[:, i]))
        for field, values in fields.items()
        for i, name in enumerate(trace.stages)
    }
    columns["kind"] = pyarrow.array([trace.kind] * trace.n)
    if trace.weight is not None:
        columns["weight"] = pyarrow.array(trace.weight)
    return pyarrow.table(columns)


def _matrices(file: Path, table: Any) -> Mapping[str, Any]:
    """The arrays (n, k) behind the columns ``FIELD:STAGE``."""
    names = list(table.column_names)
    stages = [name.removeprefix("signal:") for name in names if name.startswith("signal:")]
    if not stages:
        raise ValidationError(f"{file}: column `signal:NAME` is missing")
    if table.num_rows == 0:
        raise ValidationError(f"{file}: there are no rows")
    columns: dict[str, Any] = {"stages": stages}
    for field in ("signal", "loss", "correct", "cost", "prediction"):
        if any(name.startswith(f"{field}:") for name in names):
            columns[field] = np.column_stack([_column(file, table, f"{field}:{stage}") for stage in stages])
    if "kind" in names:
        kinds = set(table.column("kind").to_pylist())
        if len(kinds) != 1:
            raise ValidationError(f"{file}: column `kind` must be the same in every row")
        columns["kind"] = kinds.pop()
    if "weight" in names:
        columns["weight"] = _column(file, table, "weight")
    return columns


def _column(file: Path, table: Any, name: str) -> Any:
    pyarrow = require("pyarrow", "parquet")
    found = table.column_names.count(name)
    if found != 1:
        raise ValidationError(f"{file}: column `{name}` " + ("is missing" if found == 0 else "is there twice"))
    column = table.column(name)
    kind = column.type
    if pyarrow.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pyarrow.types.is_boolean(kind) or pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)):
        raise ValidationError(f"{file}: column `{name}` must be numbers, got {kind}")
    return column.to_numpy()
