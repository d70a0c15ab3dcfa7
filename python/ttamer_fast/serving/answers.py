"""What stages return, checked and converted to what a driver takes."""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .stage import Stage

__all__ = ["Predictions", "as_signal", "codes", "pick", "read"]

Predictions: TypeAlias = NDArray[Any] | list[Hashable]
"""One prediction a row."""

NO_PREDICTION = -(2**63)
"""What the engine takes as "no prediction" in an array of integers."""


def read(
    stage: Stage[Any, Any], where: str, outputs: Any, count: int
) -> tuple[NDArray[np.float64], Predictions | None]:
    """Signals and predictions of the outputs that a stage gave for `count` rows.

    Parameters
    ----------
    stage : Stage
        Its `signal` and `prediction` get all outputs if it has a `batch`, else one by one.
    where : str
        The stage in words, for messages.
    outputs : object
        What it returned.
    count : int
        How many it should be.

    Raises
    ------
    ValidationError
        If these are not `count` outputs, signals or predictions, or if a signal is no number.
    """
    if stage.batch is None:
        signals = _as_signals(where, [stage.signal(output) for output in outputs], count)
        return signals, None if stage.prediction is None else [stage.prediction(output) for output in outputs]
    _check_outputs(where, outputs, count)
    signals = _as_signals(where, stage.signal(outputs), count)
    return signals, None if stage.prediction is None else _as_predictions(where, stage.prediction(outputs), count)


def as_signal(signal: Any) -> float:
    """A number as the engine takes it: NaN for None and for what is beyond all floats."""
    try:
        return math.nan if signal is None else float(signal)
    except OverflowError:
        return math.nan


def codes(predictions: Predictions) -> NDArray[np.int64]:
    """Predictions as a batch takes them: the integers that a run makes of them, one by one."""
    array = _array(predictions)
    if array is not None and array.ndim == 1 and array.dtype.kind in "ib":
        return array.astype(np.int64, copy=False)
    return np.array([_code(said) for said in predictions], np.int64)


def pick(outputs: Sequence[Any] | NDArray[Any], positions: NDArray[np.int64]) -> list[Any]:
    """The outputs at some positions; of an array its elements or rows."""
    if isinstance(outputs, np.ndarray):
        return list(outputs[positions])
    return [outputs[position] for position in positions.tolist()]


def _as_signals(where: str, signals: Any, count: int) -> NDArray[np.float64]:
    """A new array: what a stage has returned may be written to again."""
    array = _array(signals)
    if array is not None and array.dtype.kind in "fiub":
        _check_shape("signal", where, "numbers", array, count)
        return np.array(array, np.float64)
    _check_count("signal", where, "numbers", signals, count)
    found = np.empty(count)
    for i, signal in enumerate(signals):
        try:
            if isinstance(signal, str | bytes):
                raise TypeError
            found[i] = as_signal(signal)
        except (TypeError, ValueError):
            raise ValidationError(f"`signal` of {where} must return numbers, got {signal!r} at row {i}") from None
    return found


def _as_predictions(where: str, predictions: Any, count: int) -> Predictions:
    """A copy: what a stage has returned may be written to again."""
    if isinstance(predictions, np.ndarray):
        _check_shape("prediction", where, "predictions", predictions, count)
        return predictions.copy()
    _check_count("prediction", where, "predictions", predictions, count)
    return list(predictions)


def _check_outputs(where: str, outputs: Any, count: int) -> None:
    known = isinstance(outputs, np.ndarray | list)
    if not known and (isinstance(outputs, str | bytes | Mapping) or not hasattr(outputs, "__getitem__")):
        kind = type(outputs).__name__
        raise ValidationError(f"`batch` of {where} must return a sequence of {count} outputs, got {kind}")
    _check_count("batch", where, "outputs", outputs, count)


def _check_count(argument: str, where: str, what: str, values: Any, count: int) -> None:
    try:
        given = len(values)
    except TypeError:
        kind = type(values).__name__
        raise ValidationError(f"`{argument}` of {where} must return {count} {what}, got {kind}") from None
    if given != count:
        raise ValidationError(f"`{argument}` of {where} must return {count} {what}, got {given}")


def _check_shape(argument: str, where: str, what: str, array: NDArray[Any], count: int) -> None:
    if array.shape != (count,):
        given = str(len(array)) if array.ndim == 1 else f"an array of shape {array.shape}"
        raise ValidationError(f"`{argument}` of {where} must return {count} {what}, got {given}")


def _array(values: Any) -> NDArray[Any] | None:
    """None where the values are of different lengths."""
    try:
        return np.asarray(values)
    except ValueError:
        return None


def _code(said: Any) -> int:
    if said is None:
        return NO_PREDICTION
    try:
        code = operator.index(said)
    except TypeError:
        return hash(said)
    return code if -(2**63) <= code < 2**63 else hash(said)
