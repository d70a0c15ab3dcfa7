"""What a rule is: from the reports of a request to what is next and whose answer is best."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

NO_PREDICTION = -(2**63)
"""In arrays of predictions: this stage gave none. It is equal to no prediction, not even to itself."""

Fields: TypeAlias = Mapping[str, Any]
"""Stored fields by name."""


class Report(NamedTuple):
    """What a stage said."""

    stage: int
    signal: float
    """NaN: nothing."""
    prediction: int
    """:data:`NO_PREDICTION`: none."""
    is_failed: bool = False
    """Whether the stage gave nothing at all: it was asked and is no answer."""
    before: float = math.inf
    """Seconds that the request had left when the stage was chosen, as was said last."""
    remaining: float = math.inf
    """Seconds that it has left now, likewise."""

    @property
    def is_known(self) -> bool:
        return not math.isnan(self.signal)

    def agrees(self, other: Report) -> bool:
        return self.prediction == other.prediction != NO_PREDICTION


def failed(stage: int, before: float = math.inf, remaining: float = math.inf) -> Report:
    """That the stage gave nothing."""
    return Report(stage, math.nan, NO_PREDICTION, True, before, remaining)


def answered(reports: Sequence[Report]) -> list[Report]:
    """Without those of stages that gave nothing."""
    return [report for report in reports if not report.is_failed]


class Choice(NamedTuple):
    """What follows a report."""

    next: int | None
    """The stage to run, None: the request ends."""
    answer: int | None
    """The stage whose answer is the best in hand."""
    is_close: bool = False
    """Whether rounding may decide otherwise."""


class Rule(ABC):
    """Decides from all reports of a request, in the order in which stages ran."""

    @abstractmethod
    def begin(self, remaining: float) -> int | None:
        """The stage to run first with so many seconds left, inf without a deadline."""

    @abstractmethod
    def observe(self, reports: Sequence[Report]) -> Choice:
        """What follows the last of these reports; there is at least one."""

    @abstractmethod
    def expected_loss(self, reports: Sequence[Report]) -> float:
        """Of the answer in hand; infinite while there is none and nothing to answer with by default."""

    @abstractmethod
    def alone(self, report: Report) -> float | None:
        """Expected loss of an answer that is all there is; None where stages do not run out of their turn."""


def stage_or_none(number: int) -> int | None:
    """Stored stage numbers say "stop" by -1."""
    return None if number == -1 else number


NO_STAGE = 2**16 - 1
"""Stored numbers of situations say "none" by this."""


class Decisions:
    """For each row: stop at or below a value, else what the first limit at or above the value says, else the last.

    Stored row after row, with the limits of all rows in one list.
    """

    def __init__(self, stored: Fields) -> None:
        self._rows: list[tuple[float, list[tuple[float, int]], int]] = []
        before = 0
        for stop, last, count in zip(stored["stop"], stored["last"], stored["steps"], strict=True):
            limits = stored["limit"][before : before + count]
            targets = stored["next"][before : before + count]
            self._rows.append((stop, list(zip(limits, targets, strict=True)), last))
            before += count

    def action(self, row: int, value: float) -> int | None:
        stop, steps, last = self._rows[row]
        if value <= stop:
            return None
        for limit, target in steps:
            if value <= limit:
                return stage_or_none(target)
        return stage_or_none(last)
