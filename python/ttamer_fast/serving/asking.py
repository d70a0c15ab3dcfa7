"""A stage is asked for some rows of a batch: what it answers, and for which rows it fails."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .answers import Predictions, as_predictions, as_signals, check_outputs
from .failures import RETURNED_NONE, reason_of
from .inputs import each_row
from .stage import Stage

__all__ = ["Asked", "ask"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a stage gave for m rows, of which f failed."""

    failures: dict[int, str]
    """Why it gave nothing, by positions among the m rows, ascending."""
    outputs: Sequence[Any] | NDArray[Any] = ()
    """(m - f) outputs of the others."""
    signal: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """(m - f,) NaN: no information."""
    prediction: Predictions | None = None
    """(m - f) entries, None for none."""


def ask(stage: Stage[Any, Any], where: str, taken: Any, count: int) -> Asked:
    """Run a stage on `count` rows.

    A row fails where the stage, its `signal` or its `prediction` raises an Exception, or the output is None; what
    `batch` raises, and `signal` and `prediction` of its outputs, fails all rows.

    Raises
    ------
    ValidationError
        If outputs, signals or predictions of a batch are not one a row, or if a signal is no number; names the stage,
        `where`.
    """
    if stage.batch is None:
        return _ask_each(stage, where, taken)
    return _ask_batch(stage, where, taken, count)


def _ask_each(stage: Stage[Any, Any], where: str, taken: Any) -> Asked:
    run, signal, prediction = stage.run, stage.signal, stage.prediction
    failures: dict[int, str] = {}
    outputs: list[Any] = []
    signals: list[Any] = []
    predictions: list[Hashable] = []
    for position, x in enumerate(each_row(taken)):
        try:
            output = run(x)
            if output is None:
                failures[position] = RETURNED_NONE
                continue
            sure, said = signal(output), None if prediction is None else prediction(output)
        except Exception as error:
            failures[position] = reason_of(error)
            continue
        outputs.append(output)
        signals.append(sure)
        predictions.append(said)
    numbers = as_signals(where, signals, len(outputs))
    return Asked(failures, outputs, numbers, None if prediction is None else predictions)


def _ask_batch(stage: Stage[Any, Any], where: str, taken: Any, count: int) -> Asked:
    try:
        outputs = stage.batch(taken) if stage.batch is not None else ()
    except Exception as error:
        return Asked(dict.fromkeys(range(count), reason_of(error)))
    check_outputs(where, outputs, count)
    failures: dict[int, str] = {}
    if isinstance(outputs, Sequence) or (isinstance(outputs, np.ndarray) and outputs.dtype.kind == "O"):
        failures = {i: RETURNED_NONE for i, output in enumerate(outputs) if output is None}
    if failures:
        outputs = [output for output in outputs if output is not None]
        if not outputs:
            return Asked(failures)
    try:
        signals = stage.signal(outputs)
        predictions = None if stage.prediction is None else stage.prediction(outputs)
    except Exception as error:
        return Asked(dict.fromkeys(range(count), reason_of(error)) | failures)
    left = count - len(failures)
    numbers = as_signals(where, signals, left)
    return Asked(failures, outputs, numbers, None if predictions is None else as_predictions(where, predictions, left))
