"""Rules that walk over the stages and answer with the last one: thresholds and patience."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reference.rule import NO_PREDICTION, Choice, Fields, Report, Rule, answered, stage_or_none


class Walk(Rule):
    """Runs stages in a fixed order until :meth:`is_enough`.

    The last stage with a signal is the answer; while there is none, the last stage. Those that failed are passed over.
    """

    def __init__(self, walk: Fields) -> None:
        self.entry: int = walk["entry"]
        self.successor: list[int] = walk["successor"]
        self.mean_loss: list[float] = walk["mean_loss"]

    def is_enough(self, reports: Sequence[Report]) -> bool:
        raise NotImplementedError

    def begin(self) -> int | None:
        return self.entry

    def answer(self, reports: Sequence[Report]) -> int | None:
        heard = answered(reports)
        known = [report for report in heard if report.is_known]
        return (known or heard)[-1].stage if heard else None

    def observe(self, reports: Sequence[Report]) -> Choice:
        last = reports[-1]
        onward = stage_or_none(self.successor[last.stage])
        is_enough = not last.is_failed and self.is_enough(answered(reports))
        return Choice(None if is_enough else onward, self.answer(reports))

    def expected_loss(self, reports: Sequence[Report]) -> float:
        answer = self.answer(reports)
        return math.inf if answer is None else self.mean_loss[answer]

    def alone(self, report: Report) -> float | None:
        return self.mean_loss[report.stage]


class Threshold(Walk):
    """Enough is a signal at or above the threshold of its stage."""

    def __init__(self, stored: Fields) -> None:
        super().__init__(stored["walk"])
        self.threshold: list[float] = stored["threshold"]

    def is_enough(self, reports: Sequence[Report]) -> bool:
        last = reports[-1]
        return last.is_known and last.signal >= self.threshold[last.stage]


class Patience(Walk):
    """Enough is a prediction that the stages run last repeated so many times."""

    def __init__(self, stored: Fields) -> None:
        super().__init__(stored["walk"])
        self.patience: int = stored["patience"]

    def is_enough(self, reports: Sequence[Report]) -> bool:
        *before, last = reports
        repeats = 0
        while repeats < len(before) and before[-1 - repeats].prediction == last.prediction != NO_PREDICTION:
            repeats += 1
        return repeats >= self.patience
