"""One attempt of a stage for the rows of a call, on the event loop."""

from __future__ import annotations

import inspect
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from .answers import as_predictions, as_signals, check_outputs
from .failures import RETURNED_NONE, reason_of
from .stage import Stage


class Attempt(NamedTuple):
    failures: dict[int, str]
    outputs: Sequence[Any]
    signal: Sequence[Any]
    prediction: Sequence[Any] | None
    raised: bool


async def attempt_one(stage: Stage[Any, Any], where: str, x: Any) -> Attempt:
    try:
        output = stage.run(x)
        if inspect.isawaitable(output):
            output = await output
        if output is None:
            return Attempt({0: RETURNED_NONE}, (), (), None, False)
        signal = stage.signal(output)
        prediction = None if stage.prediction is None else stage.prediction(output)
    except Exception as error:
        return Attempt({0: reason_of(error)}, (), (), None, True)
    return Attempt({}, (output,), (signal,), (prediction,), False)


async def attempt_batch(stage: Stage[Any, Any], where: str, collate: Any, xs: list[Any]) -> Attempt:
    count = len(xs)
    try:
        outputs = stage.batch(collate(xs))
        if inspect.isawaitable(outputs):
            outputs = await outputs
    except Exception as error:
        return Attempt(dict.fromkeys(range(count), reason_of(error)), (), (), None, True)
    check_outputs(where, outputs, count)
    failures = {}
    if isinstance(outputs, Sequence):
        failures = {i: RETURNED_NONE for i, output in enumerate(outputs) if output is None}
        outputs = [output for output in outputs if output is not None]
        if not outputs:
            return Attempt(failures, (), (), None, False)
    try:
        signals = stage.signal(outputs)
        said = None if stage.prediction is None else stage.prediction(outputs)
    except Exception as error:
        return Attempt(dict.fromkeys(range(count), reason_of(error)), (), (), None, True)
    left = count - len(failures)
    numbers = as_signals(where, signals, left).tolist()
    predictions = None if said is None else as_predictions(where, said, left)
    return Attempt(failures, list(outputs), numbers, None if predictions is None else list(predictions), False)


def pause(stage: Stage[Any, Any], attempt: int) -> float:
    return random.uniform(0.0, min(1.0, stage.backoff * 2 ** (attempt - 1)))
