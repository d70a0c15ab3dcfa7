"""What a stage returned for some rows of a batch, read: what it says of which rows, and for which it fails."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .answers import Predictions, as_predictions, as_signals, check_outputs
from .failures import RETURNED_NONE, reason_of
from .stage import Stage

__all__ = ["Asked", "Reading", "none_of", "read", "read_batch", "read_rows"]

Reading: TypeAlias = tuple[Any, Any, Hashable]
"""An output, its signal and its prediction, as the stage's functions gave them."""


class Asked:
    """What a stage gave for m rows, of which f failed."""

    __slots__ = ("failures", "outputs", "prediction", "signal")

    def __init__(
        self,
        failures: dict[int, str],
        outputs: Sequence[Any] | NDArray[Any],
        signal: NDArray[np.float64],
        prediction: Predictions | None,
    ) -> None:
        self.failures = failures
        """Why it gave nothing, by positions among the m rows, ascending."""
        self.outputs = outputs
        """(m - f) outputs of the others."""
        self.signal = signal
        """(m - f,) NaN: no information."""
        self.prediction = prediction
        """(m - f) entries, None for none."""


def none_of(count: int, reason: str) -> Asked:
    """A stage that gave nothing for any row."""
    return Asked(dict.fromkeys(range(count), reason), (), np.empty(0), None)


def read(stage: Stage[Any, Any], output: Any) -> Reading | str:
    """What one output of a stage says; the reason where the stage fails by it."""
    if output is None:
        return RETURNED_NONE
    try:
        return output, stage.signal(output), None if stage.prediction is None else stage.prediction(output)
    except Exception as error:
        return reason_of(error)


def read_rows(stage: Stage[Any, Any], where: str, rows: Sequence[Reading | str]) -> Asked:
    """What a stage gave for m rows that were run one by one: each what it said, or why it gave nothing.

    Raises
    ------
    ValidationError
        If a signal is no number; names the stage, `where`.
    """
    failures = {position: row for position, row in enumerate(rows) if isinstance(row, str)}
    said = [row for row in rows if not isinstance(row, str)]
    if not said:
        return Asked(failures, (), np.empty(0), None)
    outputs, signals, predictions = zip(*said, strict=True)
    numbers = as_signals(where, signals, len(said))
    return Asked(failures, outputs, numbers, None if stage.prediction is None else list(predictions))


def read_batch(stage: Stage[Any, Any], where: str, outputs: Any, count: int) -> Asked:
    """What the `batch` of a stage returned for `count` rows.

    A None among the outputs fails its row; what `signal` and `prediction` raise fails all rows.

    Raises
    ------
    ValidationError
        If outputs, signals or predictions are not one a row, or if a signal is no number; names the stage, `where`.
    """
    check_outputs(where, outputs, count)
    failures: dict[int, str] = {}
    is_list = type(outputs) is list or (isinstance(outputs, Sequence) and not isinstance(outputs, np.ndarray))
    if is_list or (isinstance(outputs, np.ndarray) and outputs.dtype.kind == "O"):
        failures = {i: RETURNED_NONE for i, output in enumerate(outputs) if output is None}
    left = count - len(failures)
    if failures:
        outputs = [output for output in outputs if output is not None]
        if not left:
            return none_of(count, RETURNED_NONE)
    try:
        signals = stage.signal(outputs)
        predictions = None if stage.prediction is None else stage.prediction(outputs)
    except Exception as error:
        return Asked(dict.fromkeys(range(count), reason_of(error)) | failures, (), np.empty(0), None)
    numbers = as_signals(where, signals, left)
    return Asked(failures, outputs, numbers, None if predictions is None else as_predictions(where, predictions, left))
