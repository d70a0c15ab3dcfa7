"""Rules of solved models, where a signal shows a state and the state a loss (docs/theory.md, section 3)."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from reference.rule import Choice, Decisions, Fields, Report, Rule, answered, stage_or_none


class Hand(NamedTuple):
    """The best answer in hand and what it loses; infinite where its state is not known, or where there is none."""

    answer: int | None
    loss: float


def state_of(signal: float, states: int) -> int | None:
    """The state that the signal is, None if it is none of them."""
    return int(signal) if math.isfinite(signal) and signal == int(signal) and 0 <= signal < states else None


class Clock:
    """Remaining times within a deadline, in buckets: each from its least number of seconds on."""

    def __init__(self, stored: Fields) -> None:
        self.least: list[float] = stored["from"]

    def bucket(self, remaining: float) -> int | None:
        """None where less is left than the first one asks: nothing is begun any more."""
        return max((at for at, least in enumerate(self.least) if least <= remaining), default=None)


class Exact(Rule):
    """What the three graphs share."""

    def __init__(self, stored: Fields) -> None:
        self.default_loss: float = stored["default_loss"]
        self.mean_loss: list[float] = stored["mean_loss"]

    def loss(self, report: Report) -> float:
        """What answering with this stage loses; infinite where its state cannot be read."""
        raise NotImplementedError

    def hand(self, reports: Sequence[Report]) -> Hand:
        """The least loss, of the earliest of equals, where it is less than that of no answer."""
        heard = answered(reports)
        known = [(self.loss(report), at) for at, report in enumerate(heard) if self.loss(report) < math.inf]
        least, at = min(known, default=(math.inf, -1))
        if least < self.default_loss:
            return Hand(heard[at].stage, least)
        if self.default_loss == math.inf and heard:
            return Hand(heard[-1].stage, math.inf)
        return Hand(None, self.default_loss)

    def expected_loss(self, reports: Sequence[Report]) -> float:
        answer, loss = self.hand(reports)
        return self.mean_loss[answer] if answer is not None and loss == math.inf else loss

    def alone(self, report: Report) -> float | None:
        return None


class Chain(Exact):
    """Lines and skip graphs: what is next depends on the last stage, its state, and the loss in hand."""

    def __init__(self, stored: Fields) -> None:
        super().__init__(stored)
        self.start = stage_or_none(stored["start"])
        self.bins: list[list[float]] | None = stored["bins"]
        self.recall: bool = stored["recall"]
        self.unit: float = stored["unit"]
        self.losses: list[float] = stored["loss"]
        self.offset: list[int] = stored["offset"]
        self.decisions = Decisions(stored["decisions"])
        self.time: Fields | None = stored.get("time")
        if self.time is not None:
            self.clock, self.within = Clock(self.time), Decisions(self.time["decisions"])

    def row(self, report: Report) -> int:
        """Rows of a stage: one a state, and one more for a state that cannot be read."""
        first, end = self.offset[report.stage], self.offset[report.stage + 1]
        states = end - 1 - first
        if self.bins is None:
            state = state_of(report.signal, states)
        else:
            state = bisect_right(self.bins[report.stage], report.signal) if report.is_known else None
        return first + (states if state is None else state)

    def loss(self, report: Report) -> float:
        return self.losses[self.row(report)]

    def hand(self, reports: Sequence[Report]) -> Hand:
        known = [report for report in answered(reports) if self.loss(report) < math.inf]
        if self.recall or not known:
            return super().hand(reports)
        return Hand(known[-1].stage, self.loss(known[-1]))

    def begin(self, remaining: float) -> int | None:
        if self.time is None or remaining == math.inf:
            return self.start
        bucket = self.clock.bucket(remaining)
        return None if bucket is None else stage_or_none(self.time["start"][bucket])

    def observe(self, reports: Sequence[Report]) -> Choice:
        answer, loss = self.hand(reports)
        row, remaining = self.row(reports[-1]), reports[-1].remaining
        if self.time is None or remaining == math.inf:
            return Choice(self.decisions.action(row, loss), answer)
        # As many rows as without a deadline for each bucket.
        bucket, rows = self.clock.bucket(remaining), self.offset[-1]
        return Choice(None if bucket is None else self.within.action(bucket * rows + row, loss), answer)

    def expected_loss(self, reports: Sequence[Report]) -> float:
        loss = super().expected_loss(reports)
        return loss if loss == math.inf else loss * self.unit

    def alone(self, report: Report) -> float | None:
        loss = self.loss(report)
        return (self.mean_loss[report.stage] if loss == math.inf else loss) * self.unit


class Tree(Exact):
    """Trees and forests: the open stage of smallest index is next, while its index is below the loss in hand."""

    def __init__(self, stored: Fields) -> None:
        super().__init__(stored)
        self.losses: list[list[float]] = stored["loss"]
        self.parent: list[int] = stored["parent"]
        self.indices: list[list[float]] = stored["index"]

    def loss(self, report: Report) -> float:
        state = state_of(report.signal, len(self.losses[report.stage]))
        return math.inf if state is None else self.losses[report.stage][state]

    def index(self, stage: int, reports: Sequence[Report]) -> float:
        """Given the state of the parent, the last entry where that cannot be read; of a root the first."""
        parent = self.parent[stage]
        if parent == -1:
            return self.indices[stage][0]
        (report,) = [report for report in reports if report.stage == parent]
        state = state_of(report.signal, len(self.losses[parent]))
        return self.indices[stage][-1 if state is None else state]

    def next(self, reports: Sequence[Report]) -> int | None:
        ran = {report.stage for report in reports}
        stages = range(len(self.parent))
        is_open = [stage for stage in stages if stage not in ran and self.parent[stage] in {-1, *ran}]
        if not is_open:
            return None
        # Of equal indices the lower number; a negative zero is below a positive one.
        first = min(is_open, key=lambda v: (self.index(v, reports), math.copysign(1.0, self.index(v, reports)), v))
        hand = self.hand(reports)
        has_nothing = hand == Hand(None, math.inf)
        return first if has_nothing or hand.loss > self.index(first, reports) else None

    def begin(self, remaining: float) -> int | None:
        del remaining
        return self.next([])

    def observe(self, reports: Sequence[Report]) -> Choice:
        return Choice(self.next(reports), self.hand(reports).answer)


class Dag(Exact):
    """Small general graphs: every situation, which stages have run and what they showed, has its action."""

    def __init__(self, stored: Fields) -> None:
        super().__init__(stored)
        self.losses: list[list[float]] = stored["loss"]
        self.stride: list[int] = stored["stride"]
        self.action: list[int] = stored["action"]
        self.time: Fields | None = stored.get("time")

    def loss(self, report: Report) -> float:
        state = state_of(report.signal, len(self.losses[report.stage]))
        return math.inf if state is None else self.losses[report.stage][state]

    def next(self, reports: Sequence[Report], remaining: float) -> int | None:
        situation = 0
        for report in reports:
            states = len(self.losses[report.stage])
            state = state_of(report.signal, states)
            situation += ((states if state is None else state) + 1) * self.stride[report.stage]
        if self.time is None or remaining == math.inf:
            return stage_or_none(self.action[situation])
        # As many actions as without a deadline for each bucket.
        bucket = Clock(self.time).bucket(remaining)
        return None if bucket is None else stage_or_none(self.time["action"][bucket * len(self.action) + situation])

    def begin(self, remaining: float) -> int | None:
        return self.next([], remaining)

    def observe(self, reports: Sequence[Report]) -> Choice:
        return Choice(self.next(reports, reports[-1].remaining), self.hand(reports).answer)
