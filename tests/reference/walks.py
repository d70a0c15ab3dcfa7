"""Rules that walk over the stages and answer with the last one: thresholds and patience."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reference.rule import NO_PREDICTION, Choice, Fields, Report, Rule, answered, stage_or_none


class Walk(Rule):
    """Runs stages in a fixed order until :meth:`is_enough`.

    The last stage with a signal is the answer; while there is none, the last stage. Those that failed are passed over.
    Where the walk ends with a report that :meth:`is_refused`, nothing is.
    """

    def __init__(self, walk: Fields) -> None:
        self.entry: int = walk["entry"]
        self.successor: list[int] = walk["successor"]
        self.mean_loss: list[float] = walk["mean_loss"]
        self.default_loss: float = walk.get("default_loss", math.inf)

    def is_enough(self, reports: Sequence[Report]) -> bool:
        raise NotImplementedError

    def is_refused(self, reports: Sequence[Report]) -> bool:
        raise NotImplementedError

    def begin(self, remaining: float) -> int | None:
        del remaining
        return stage_or_none(self.entry)

    def answer(self, reports: Sequence[Report]) -> int | None:
        heard = answered(reports)
        known = [report for report in heard if report.is_known]
        last = reports[-1] if reports else None
        if last is not None and not last.is_failed and self.successor[last.stage] == -1 and self.is_refused(heard):
            return None
        return (known or heard)[-1].stage if heard else None

    def observe(self, reports: Sequence[Report]) -> Choice:
        last = reports[-1]
        onward = stage_or_none(self.successor[last.stage])
        is_enough = not last.is_failed and self.is_enough(answered(reports))
        return Choice(None if is_enough else onward, self.answer(reports))

    def expected_loss(self, reports: Sequence[Report]) -> float:
        answer = self.answer(reports)
        return self.default_loss if answer is None else self.mean_loss[answer]

    def alone(self, report: Report) -> float | None:
        return self.mean_loss[report.stage]


class Threshold(Walk):
    """Enough is a signal at or above the threshold of its stage."""

    def __init__(self, stored: Fields) -> None:
        super().__init__(stored["walk"])
        self.threshold: list[float] = stored["threshold"]
        self.reject: float = stored.get("reject", -math.inf)

    def is_enough(self, reports: Sequence[Report]) -> bool:
        last = reports[-1]
        return last.is_known and last.signal >= self.threshold[last.stage]

    def is_refused(self, reports: Sequence[Report]) -> bool:
        last = reports[-1]
        return self.reject > -math.inf and not (last.is_known and last.signal >= self.reject)


class Patience(Walk):
    """Enough is a prediction that the stages run last repeated so many times."""

    def __init__(self, stored: Fields) -> None:
        super().__init__(stored["walk"])
        self.patience: int = stored["patience"]
        self.rejects: bool = stored.get("rejects", False)

    def is_enough(self, reports: Sequence[Report]) -> bool:
        *before, last = reports
        repeats = 0
        while repeats < len(before) and before[-1 - repeats].prediction == last.prediction != NO_PREDICTION:
            repeats += 1
        return repeats >= self.patience

    def is_refused(self, reports: Sequence[Report]) -> bool:
        return self.rejects and not self.is_enough(reports)
