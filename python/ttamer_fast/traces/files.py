"""Traces from .npz, .parquet and .csv files."""

from __future__ import annotations

import warnings
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from .._core import ValidationError
from .._utils.warnings import CalibrationWarning
from .formats import read_columns
from .trace import Trace

__all__ = ["read_trace"]

LOSSES = ("auto", "correct", "loss")


def read_trace(path: str | PathLike[str], loss: str = "auto", kind: str | None = None) -> Trace:
    """Read a trace from a .npz, .parquet or .csv file.

    Parameters
    ----------
    path : path-like
        The ending decides the format. **.npz** holds the arrays ``signal``, ``cost`` and ``loss`` or ``correct``, and
        may hold ``prediction``, ``stages``, ``kind``, ``weight`` and ``group``; others are ignored. **.parquet** and
        **.csv** hold one row per request with, for each stage NAME, the columns ``signal:NAME``, ``cost:NAME``,
        ``loss:NAME`` or ``correct:NAME``, and may hold ``prediction:NAME``, ``kind``, ``weight`` and ``group``; the
        stages are in the order of the signals. Groups of a .csv are read as text, so that 7 and 007 differ, and
        taken as integers where all are; an empty cell is refused.
    loss : {"auto", "correct", "loss"}
        ``"auto"``: 1 - ``correct`` where the file has it, else ``loss``. The others ask for one of the two.
    kind : {"exits", "models"}, optional
        As in :class:`Trace`. Default: what the file says; a file that does not say it is taken as ``"exits"`` with a
        :class:`CalibrationWarning`, or as what a policy that is judged on it says (:meth:`Trace.matching`).

    Returns
    -------
    Trace
        Losses and costs in the units of the file; 1 - ``correct`` counts wrong answers.

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
    trace, is_kind_known = trace_in(Path(path), loss, kind)
    if not is_kind_known and trace.k > 1:
        warnings.warn(
            f"`kind` must be given, as {path} does not say it: taken as 'exits' where no policy says otherwise; "
            "separate models are 'models'",
            CalibrationWarning,
            stacklevel=2,
        )
    return trace


def trace_in(file: Path, loss: str = "auto", kind: str | None = None) -> tuple[Trace, bool]:
    """The same without a warning, and whether its kind is known: from the file, or given."""
    if loss not in LOSSES:
        raise ValidationError(f"`loss` must be 'auto', 'correct' or 'loss', got {loss!r}")
    columns = read_columns(file)
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
            group=columns.get("group"),
        )
    except ValidationError as error:
        raise ValidationError(f"{file}: {error}") from error
    return trace, said is not None


def _one_minus(correct: Any) -> Any:
    if correct.dtype.kind not in "biuf":
        raise ValidationError(f"`correct` must be true or false, got dtype {correct.dtype}")
    return 1.0 - correct.astype(np.float64)
