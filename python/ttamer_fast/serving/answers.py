"""What stages return, checked and converted to what a driver takes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from .._utils.checks import shown
from .rows import length

__all__ = ["Predictions", "as_predictions", "as_signal", "as_signals", "check_outputs", "listed"]

Predictions: TypeAlias = NDArray[Any] | list[Hashable]
"""One prediction a row."""

REAL = "fiub"
"""Kinds of arrays that are signals as they stand."""

NOT_REAL = "cmMSU"
"""Kinds of arrays that are no signals: complex numbers, times, text."""

NOT_COMPARABLE = "V"
"""The kind of arrays that are no predictions: records."""

TEXT = (str, bytes, bytearray)


def as_signal(signal: Any) -> float:
    """A number as the engine takes it: NaN for None, for what is masked and for what is beyond all floats.

    Raises
    ------
    TypeError
        If it is text, a complex number or a time: some of these would pass for a float.
    Exception
        What else its conversion to a float raises.
    """
    if isinstance(signal, float):
        return float(signal)
    if signal is None or signal is np.ma.masked:
        return math.nan
    if isinstance(signal, TEXT) or _kind(signal) in NOT_REAL:
        raise TypeError("not a real number")
    try:
        return float(signal)
    except OverflowError:
        return math.nan


def as_signals(where: str, signals: Any, count: int) -> NDArray[np.float64]:
    """Signals of `count` rows, in a new array: what a stage has returned may be written to again.

    Raises
    ------
    ValidationError
        If these are not `count` numbers in a list or an array.
    """
    if type(signals) is np.ndarray and signals.dtype.kind in REAL and signals.shape == (count,):
        return signals.astype(np.float64)
    _check_kind("signal", where, "numbers", signals, count, NOT_REAL)
    array = None if _has_masked(signals) else _array(signals)
    if array is not None and array.dtype.kind in REAL:
        _check_shape("signal", where, "numbers", array, count)
        return np.array(array, np.float64)
    _check_count("signal", where, "numbers", signals, count)
    found = np.empty(count)
    for i, signal in enumerate(signals):
        try:
            found[i] = as_signal(signal)
        except Exception as error:
            message = f"`signal` of {where} must return numbers, got {shown(signal)} at row {i}"
            raise ValidationError(message) from error
    return found


def as_predictions(where: str, predictions: Any, count: int) -> Predictions:
    """Predictions of `count` rows, copied: what a stage has returned may be written to again.

    Raises
    ------
    ValidationError
        If these are not `count` entries of a list or an array.
    """
    _check_kind("prediction", where, "predictions", predictions, count, NOT_COMPARABLE)
    if isinstance(predictions, Sequence):
        _check_count("prediction", where, "predictions", predictions, count)
        return list(predictions)
    array = predictions if isinstance(predictions, np.ndarray) else _array(predictions)
    if array is None or array.ndim == 0:  # a tensor that numpy cannot read
        _check_count("prediction", where, "predictions", predictions, count)
        return [said.item() if hasattr(said, "item") else said for said in predictions]
    _check_shape("prediction", where, "predictions", array, count)
    if array.dtype.kind in "mM":  # as a list they would be other objects
        return list(array)
    # A list has None where an array is masked.
    return array.tolist() if isinstance(array, np.ma.MaskedArray) else array.copy()


def _check_kind(argument: str, where: str, what: str, values: Any, count: int, refused: str) -> None:
    """Refuse what is no list or array, and arrays of some kinds."""
    is_listed = length(values) is not None
    if is_listed and _kind(values) not in refused:
        return
    given = f"an array of {values.dtype}" if is_listed else type(values).__name__
    raise ValidationError(f"`{argument}` of {where} must return a list or an array of {count} {what}, got {given}")


def listed(predictions: Predictions) -> list[Hashable]:
    """Predictions as objects."""
    return predictions.tolist() if isinstance(predictions, np.ndarray) else predictions


def check_outputs(where: str, outputs: Any, count: int) -> None:
    """Refuse what are not `count` outputs in a list or an array, by a ValidationError."""
    if type(outputs) is list and len(outputs) == count:
        return
    _check_kind("batch", where, "outputs", outputs, count, "")
    _check_count("batch", where, "outputs", outputs, count)


def _check_count(argument: str, where: str, what: str, values: Any, count: int) -> None:
    given = len(values)
    if given != count:
        raise ValidationError(f"`{argument}` of {where} must return {count} {what}, got {given}")


def _check_shape(argument: str, where: str, what: str, array: NDArray[Any], count: int) -> None:
    if array.shape != (count,):
        given = str(len(array)) if array.ndim == 1 else f"an array of shape {array.shape}"
        raise ValidationError(f"`{argument}` of {where} must return {count} {what}, got {given}")


def _array(values: Any) -> NDArray[Any] | None:
    """None where the values are of different lengths, or cannot be read as an array."""
    try:
        return np.asarray(values)
    except Exception:  # whatever the conversion of somebody else's array raises
        return None


def _has_masked(values: Any) -> bool:
    """Whether reading the values as an array would show what is masked."""
    if isinstance(values, np.ma.MaskedArray):
        return True
    masked = np.ma.masked
    return isinstance(values, Sequence) and any(value is masked for value in values)


def _kind(value: Any) -> str:
    """The kind of a numpy array's or number's dtype; a space for all else."""
    return value.dtype.kind if isinstance(value, np.ndarray | np.generic) else " "
