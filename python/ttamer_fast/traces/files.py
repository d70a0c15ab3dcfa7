"""Traces from .npz, .parquet and .csv files."""

from __future__ import annotations

import warnings
from os import PathLike
from typing import Any

from .._core import ValidationError
from .._utils.arrays import Floats, first_bad, float_array
from .._utils.checks import check_integer, check_one_of
from .._utils.files import path_of
from .._utils.warnings import CalibrationWarning
from .formats import read_columns
from .trace import Trace

__all__ = ["read_trace"]

LOSSES = ("auto", "correct", "loss")


def read_trace(
    path: str | PathLike[str], loss: str = "auto", kind: str | None = None, max_bytes: int | None = None
) -> Trace:
    """Read a trace from a .npz, .parquet or .csv file.

    Parameters
    ----------
    path : path-like
        The ending decides the format. **.npz** holds the arrays ``signal``, ``cost`` and ``loss`` or ``correct``, and
        may hold ``prediction``, ``latency``, ``propensity``, ``stages``, ``kind``, ``teacher``, ``weight`` and ``group``;
        others are ignored.
        **.parquet** and **.csv** hold one row per request with, for each stage NAME, the columns ``signal:NAME``,
        ``cost:NAME``, ``loss:NAME`` or ``correct:NAME``, and may hold ``prediction:NAME``, ``latency:NAME``, ``propensity:NAME``, ``kind``,
        ``teacher``, ``weight`` and ``group``; the stages are in the order of the signals, other columns are ignored. A folder
        NAME.parquet is read as the .parquet files in it, in the order of their names. A .csv is UTF-8 with commas; an
        empty cell is NaN, true is 1, false is 0. Groups of a .csv are read as text, so that 7 and 007 differ, and
        taken as integers where all are; an empty cell is refused.
    loss : {"auto", "correct", "loss"}
        ``"auto"``: 1 - ``correct`` where the file has it, else ``loss``. The others ask for one of the two.
    kind : {"exits", "models"}, optional
        As in :class:`Trace`. Default: what the file says; a file that does not say it is taken as ``"exits"`` with a
        :class:`CalibrationWarning`, or as what a policy that is judged on it says (:meth:`Trace.matching`).
    max_bytes : int, optional
        Most bytes that the arrays of a .npz or .parquet may take in memory; more is refused before it is read.
        Default: 64 MiB, or 250 times the size of the file if that is more, which only what was made to burst exceeds.

    Returns
    -------
    Trace
        Losses and costs in the units of the file; 1 - ``correct`` counts wrong answers.

    Raises
    ------
    OSError
        If the system refuses to read the file, of the class that goes with its number: FileNotFoundError,
        IsADirectoryError, PermissionError.
    TraceFormatError
        If the file is damaged. It is a FormatError and a ValidationError.
    ValidationError
        If the ending is none of the three, if the file lacks a column, holds numbers that :class:`Trace` refuses, a
        `correct` outside of [0, 1], or text that is not UTF-8; names the file.
    MissingExtraError
        If .parquet or .csv is asked for and pyarrow is not installed.

    Warns
    -----
    CalibrationWarning
        If the file has several stages and says no kind, and `kind` is not given.

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
    trace, is_kind_known = trace_in(path, loss, kind, max_bytes)
    if not is_kind_known and trace.k > 1:
        warnings.warn(
            f"{path_of(path)} does not say its kind and is taken as 'exits' where no policy says otherwise: give "
            "`kind` (--kind) as 'exits', where reaching a stage costs all before it, or as 'models'",
            CalibrationWarning,
            stacklevel=2,
        )
    return trace


def trace_in(
    path: str | PathLike[str], loss: str = "auto", kind: str | None = None, max_bytes: int | None = None
) -> tuple[Trace, bool]:
    """The same without a warning, and whether its kind is known: from the file, or given."""
    file = path_of(path)
    check_one_of("loss", loss, LOSSES)
    most = None if max_bytes is None else check_integer("max_bytes", max_bytes, 0)
    columns = read_columns(file, most)
    chosen = loss
    if loss == "auto":
        chosen = "correct" if "correct" in columns else "loss"
    if chosen not in columns:
        raise ValidationError(f"{file}: `{chosen}` is missing" + (", and so is `correct`" if loss == "auto" else ""))
    said = columns.get("kind") if kind is None else kind
    try:
        trace = Trace(
            columns["signal"],
            _one_minus(columns["correct"]) if chosen == "correct" else columns["loss"],
            columns["cost"],
            columns.get("prediction"),
            kind=None if said is None else str(said),
            stages=columns.get("stages"),
            weight=columns.get("weight"),
            latency=columns.get("latency"),
            group=columns.get("group"),
            propensity=columns.get("propensity"),
            teacher=columns.get("teacher"),
        )
    except ValidationError as error:
        raise ValidationError(f"{file}: {error}") from error
    return trace, said is not None


def _one_minus(correct: Any) -> Floats:
    values = float_array("correct", correct)
    bad = (values < 0.0) | (values > 1.0)
    if bad.any():
        where, given = first_bad(values, bad)
        raise ValidationError(f"`correct`{where} must be in [0, 1], got {given}")
    return 1.0 - values
