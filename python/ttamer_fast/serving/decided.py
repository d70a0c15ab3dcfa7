"""How the requests of a batch were decided: all but the outputs."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import Batch
from ..traces.record import NONE_LOST, PolicyIdentity, Record, Step
from .answers import Predictions, listed
from .failures import answered

__all__ = ["Columns", "Decided", "Records", "Report"]


class Report(NamedTuple):
    """What became of a stage for some rows of a batch, ascending."""

    stage: int
    rows: NDArray[np.int64]
    signal: NDArray[np.float64] | None = None
    """What it said; None where it gave nothing."""
    prediction: Predictions | None = None
    reasons: Sequence[str] | None = None
    """Why it gave nothing, row by row; None where it answered."""
    is_begun: bool = True
    """Whether it was run; else it was not tried."""
    seconds: float | None = None
    """How long it took, where that was measured."""


class Columns(NamedTuple):
    """Columns of n requests that have ended."""

    cost: NDArray[np.float64]
    expected_loss: NDArray[np.float64]


class Decided:
    """How n requests were decided; columns are read-only.

    Parameters
    ----------
    batch_id : str
        What the names of the requests begin with.
    identity : PolicyIdentity
        Of the policy that decided.
    reports : sequence of Report
        What became of the stages, in their order.
    stage : (n,) array of int32
        The stages that answer, -1 for none.
    ended : Batch or Columns
        The engine's batch, which is asked for its columns when they are needed; or these.
    is_late : (n,) array of bool, or None
        Which requests the deadline ended; None for none.
    explored : (n,) array of bool, or None
        Which requests are run through; None for none.
    """

    __slots__ = ("_ended", "batch_id", "explored", "identity", "is_late", "reports", "stage")

    def __init__(
        self,
        batch_id: str,
        identity: PolicyIdentity,
        reports: Sequence[Report],
        stage: NDArray[np.int32],
        ended: Batch | Columns,
        is_late: NDArray[np.bool_] | None,
        explored: NDArray[np.bool_] | None = None,
    ) -> None:
        stage.setflags(write=False)
        self.batch_id = batch_id
        self.identity = identity
        self.reports = reports
        self.stage = stage
        self.is_late = is_late
        self.explored = explored
        self._ended = _frozen(ended) if isinstance(ended, Columns) else ended

    @property
    def cost(self) -> NDArray[np.float64]:
        """(n,) summed cost of the stages run."""
        return self._columns().cost

    @property
    def expected_loss(self) -> NDArray[np.float64]:
        """(n,) expected loss of the answers."""
        return self._columns().expected_loss

    def _columns(self) -> Columns:
        ended = self._ended
        if not isinstance(ended, Columns):
            self._ended = ended = _frozen(Columns(ended.cost, ended.expected_loss))
        return ended

    def __reduce__(self) -> tuple[type[Decided], tuple[Any, ...]]:
        parts = self.batch_id, self.identity, self.reports, self.stage, self._columns(), self.is_late, self.explored
        return Decided, parts

    def consulted(self) -> NDArray[np.bool_]:
        """(n, k) whether a stage was run."""
        consulted = np.zeros((len(self.stage), len(self.identity.stages)), np.bool_)
        for report in self.reports:
            if report.is_begun:
                consulted[report.rows, report.stage] = True
        return consulted

    def seconds(self) -> NDArray[np.float64] | None:
        """(n, k) how long the stages took, NaN where nobody measured; None where nobody measured any."""
        timed = [report for report in self.reports if report.seconds is not None]
        if not timed:
            return None
        seconds = np.full((len(self.stage), len(self.identity.stages)), math.nan)
        for report in timed:
            seconds[report.rows, report.stage] = report.seconds
        return seconds

    def outcome(self) -> NDArray[np.str_]:
        """(n,) how the requests ended, as in :attr:`Record.outcome`."""
        last = np.full(len(self.stage), -1, np.int32)
        has_failed = np.zeros(len(self.stage), np.bool_)
        for report in self.reports:
            if report.is_begun:
                last[report.rows] = report.stage
                has_failed[report.rows] = report.reasons is not None
        answered = np.where(self.stage == last, "stopped", "recalled")
        outcome = np.where(has_failed, "failed", np.where(self.stage < 0, "abstained", answered))
        return outcome if self.is_late is None else np.where(self.is_late, "deadline", outcome)

    def is_explored(self) -> NDArray[np.bool_]:
        """(n,) whether a request is run through."""
        return np.zeros(len(self.stage), np.bool_) if self.explored is None else self.explored

    def lost(self, is_begun: bool) -> dict[int, dict[int, str]]:
        """Why stages gave nothing, {row: {stage: reason}}: those that were begun, or those that were not tried."""
        lost: dict[int, dict[int, str]] = {}
        for report in self.reports:
            if report.reasons is not None and report.is_begun == is_begun:
                for row, reason in zip(report.rows.tolist(), report.reasons, strict=True):
                    lost.setdefault(row, {})[report.stage] = reason
        return lost

    def has_answer(self) -> NDArray[np.bool_]:
        """(n,) whether a stage answered, or the policy has a default."""
        by_stage: NDArray[np.bool_] = self.stage >= 0
        return by_stage if by_stage.all() else by_stage | (self.expected_loss < math.inf)

    def records(self) -> Records:
        """Those of all requests."""
        return Records(self)

    def record(self, row: int) -> Record:
        """The record of one request, looked up in O(calls log n).

        Raises
        ------
        NoAnswerError
            If no stage answered, and the policy has no default.
        """
        reports = [(report, at) for report in self.reports if (at := _place(report.rows, row)) is not None]
        steps = [(report.stage, *_said(report, at)) for report, at in reports if report.is_begun]
        failures, barred = (
            {
                report.stage: report.reasons[at]
                for report, at in reports
                if report.reasons is not None and report.is_begun == is_begun
            }
            for is_begun in (True, False)
        )
        seconds = {report.stage: report.seconds for report, _ in reports if report.seconds is not None}
        return answered(self.made(row, steps, failures, barred, seconds or None))

    def every_record(self) -> Iterator[Record]:
        """The records of all requests, also of those that nobody answered; O(n k)."""
        return map(self.records().made, range(len(self.stage)))

    def made(
        self,
        row: int,
        steps: list[Step],
        failures: Mapping[int, str],
        barred: Mapping[int, str],
        seconds: Mapping[int, float] | None,
    ) -> Record:
        """The record of a request whose steps are known, also where nobody answered it."""
        stage = self.stage.item(row)
        return Record.of_steps(
            f"{self.batch_id}.{row}",
            self.identity,
            steps,
            None if stage < 0 else stage,
            self.cost.item(row),
            self.expected_loss.item(row),
            failures,
            barred,
            self.is_late is not None and self.is_late.item(row),
            seconds,
            self.explored is not None and self.explored.item(row),
        )


class Records:
    """The records of all requests of a batch, each made when it is asked for: O(n k) for the first, O(1) for others."""

    __slots__ = ("_decided", "_spread")

    def __init__(self, decided: Decided) -> None:
        self._decided = decided
        self._spread: _Spread | None = None

    def of(self, row: int) -> Record:
        """The record of one request.

        Raises
        ------
        NoAnswerError
            If no stage answered, and the policy has no default.
        """
        return answered(self.made(row))

    def made(self, row: int) -> Record:
        """The same, also where nobody answered it."""
        if self._spread is None:
            self._spread = _spread(self._decided)
        steps, failures, barred, seconds = self._spread
        lost = failures.get(row, NONE_LOST), barred.get(row, NONE_LOST)
        return self._decided.made(row, steps[row], *lost, seconds.get(row))


class _Spread(NamedTuple):
    """What the reports say, by rows."""

    steps: list[list[Step]]
    failures: dict[int, dict[int, str]]
    barred: dict[int, dict[int, str]]
    seconds: dict[int, dict[int, float]]


def _spread(decided: Decided) -> _Spread:
    steps: list[list[Step]] = [[] for _ in range(len(decided.stage))]
    seconds: dict[int, dict[int, float]] = {}
    for report in decided.reports:
        stage, rows = report.stage, report.rows.tolist()
        if report.is_begun:
            signals = [math.nan] * len(rows) if report.signal is None else report.signal.tolist()
            said = [None] * len(rows) if report.prediction is None else listed(report.prediction)
            for row, signal, prediction in zip(rows, signals, said, strict=True):
                steps[row].append((stage, signal, prediction))
        if report.seconds is not None:
            for row in rows:
                seconds.setdefault(row, {})[stage] = report.seconds
    return _Spread(steps, decided.lost(True), decided.lost(False), seconds)


def _frozen(columns: Columns) -> Columns:
    for column in columns:
        column.setflags(write=False)
    return columns


def _place(rows: NDArray[np.int64], row: int) -> int | None:
    """Where a row stands among some, ascending."""
    at = int(rows.searchsorted(row))
    return at if at < len(rows) and rows[at] == row else None


def _said(report: Report, at: int) -> tuple[float, Hashable]:
    signal = math.nan if report.signal is None else report.signal.item(at)
    return signal, None if report.prediction is None else listed(report.prediction[at : at + 1])[0]
