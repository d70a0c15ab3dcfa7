"""Beliefs: what each signal means, what all answers in hand say about each other, and the limits of each situation."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reference.rule import NO_PREDICTION, NO_STAGE, Choice, Decisions, Fields, Report, Rule, answered

LIMIT = 9.0
"""Beliefs stay within so many logits."""

NOWHERE = 2**16 - 1
"""The situation of requests that end with nothing at once."""

CLOSE = 1e-9
"""Logits, and shares of a signal, that rounding may be worth."""

CLOSE_SINGLE = 1e-6
"""The same where the first decision, on the raw signal, is compared with logits of 32 bits."""

NUMBERED = 4
"""Answers whose weights are summed beforehand for every way in which their predictions may agree."""

LARGEST = 1e30
"""No weight of 32 bits is beyond this."""


def limited(logit: float) -> float:
    return max(-LIMIT, min(LIMIT, logit))


def single(x: float) -> float:
    """As exact as 32 bits are."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(x))


def weight(x: float) -> float:
    return single(max(-LARGEST, min(LARGEST, x)))


class Calibration:
    """From the signal of one stage to the logit of its expected loss."""

    def __init__(self, stored: Fields) -> None:
        self.signal: list[float] = stored["signal"]
        self.logit: list[float] = stored["logit"]
        self.number: list[int] = stored["class"]
        self.curves: list[list[float]] = stored["curves"]
        self.missing_logit: float = stored["missing_logit"]
        self.is_probe: bool = stored["mean_loss"] == math.inf
        """Whether the stage informs and never answers."""

    def curve(self, prediction: int) -> list[float]:
        """Logits at the signals: those of the class that a prediction from 0 on is, where it has its own."""
        number = self.number[prediction] if 0 <= prediction < len(self.number) else 0
        return self.logit if number == 0 else self.curves[number - 1]

    def along(self, logit: list[float], signal: float) -> float:
        """Straight between the points, constant beyond them; a step where they are too close for a finite slope."""
        left = bisect_right(self.signal, signal) - 1
        if left < 0:
            return logit[0]
        if left == len(self.signal) - 1:
            return logit[-1]
        slope = single((logit[left + 1] - logit[left]) / (self.signal[left + 1] - self.signal[left]))
        if not math.isfinite(slope):
            return logit[left]
        return single(logit[left] + single(slope * (signal - self.signal[left])))

    def read(self, report: Report) -> float | None:
        """None where the signal says nothing."""
        if not report.is_known:
            return None
        return limited(self.along(self.curve(report.prediction), report.signal))


def _detours(stored: Fields) -> dict[tuple[frozenset[int], frozenset[int]], int]:
    """Sets are stored as numbers, a bit for each stage that may run."""
    if not stored["after_failure"]:
        return {}

    def stages(number: int) -> frozenset[int]:
        return frozenset(stage for at, stage in enumerate(stored["stages"]) if number >> at & 1)

    rows = zip(stored["missing"], stored["ran"], stored["situation"], strict=True)
    return {(stages(missing), stages(ran)): situation for missing, ran, situation in rows}


class Pair:
    """What it says about two stages that they name certain classes."""

    def __init__(self, stored: Fields) -> None:
        self.stages: list[int] = stored["stages"]
        self.places: list[list[int]] = stored["class"]
        self.offset: list[list[int]] = stored["offset"]

    def about(self, stage: int, said: dict[int, Report]) -> float:
        """What to add to the logit of the loss of one of the two; 0 where a class is not in the table."""
        if not all(said[one].is_known for one in self.stages):
            return 0.0
        row, column = (
            classes[said[one].prediction] if 0 <= said[one].prediction < len(classes) else 0
            for one, classes in zip(self.stages, self.places, strict=True)
        )
        if row == 0 or column == 0:
            return 0.0
        return self.offset[(row - 1) * max(self.places[1]) + column - 1][self.stages.index(stage)] / 16.0


class Best(NamedTuple):
    """The best answer in hand: the logit of its expected loss, and whose it is."""

    logit: float
    stage: int
    is_close: bool


class Belief(Rule):
    """A request moves from situation to situation: which stages are weighed, and which of them ran last."""

    def __init__(self, stored: Fields) -> None:
        self.recall: bool = stored["recall"]
        beliefs = stored["beliefs"]
        self.margin: float = beliefs["margin"]
        self.scale: float = beliefs["scale"]
        self.calibrations = [Calibration(one) for one in beliefs["calibration"]]
        self.sets: list[Fields] = beliefs["sets"]
        self.pairs = [Pair(one) for one in beliefs.get("pairs", [])]
        self.situations: list[Fields] = stored["situations"]
        self.decisions = Decisions(stored["decisions"])
        self.time: Fields | None = stored.get("time")
        if self.time is not None:
            self.within = Decisions(self.time["decisions"])
        nothing: Fields = stored.get("nothing", {"loss": math.inf, "at_once": False})
        self.nothing: float = nothing["loss"]
        self.at_once: bool = nothing["at_once"]
        share = self.nothing / self.scale
        self.limit = math.inf if share >= 1.0 else -math.inf if share == 0.0 else math.log(share / (1.0 - share))
        """The belief above which nothing is better."""
        self.detours = _detours(stored.get("without", {"after_failure": False}))
        """Where requests go on whose stages failed, by those and the ones that ran."""

    def begin(self, remaining: float) -> int | None:
        entry = self._entry(remaining)
        return None if entry is None else self.situations[entry]["stage"]

    def observe(self, reports: Sequence[Report]) -> Choice:
        best, target, is_close = self._walked(reports)
        stage = None if target is None else self.situations[target]["stage"]
        if self._declines(best):
            return Choice(stage, None, is_close)
        assert best is not None
        return Choice(stage, best.stage, is_close)

    def expected_loss(self, reports: Sequence[Report]) -> float:
        best, _, _ = self._walked(reports)
        if self._declines(best):
            return self.nothing
        assert best is not None
        return min(self.nothing, self._loss(best.logit))

    def alone(self, report: Report) -> float | None:
        return None if self.calibrations[report.stage].is_probe else self._loss(self._read(report))

    def _block(self, remaining: float) -> int | None:
        """Which decisions hold for so many seconds: the first whose end is later; None: those without time."""
        until: list[float] = [] if self.time is None else self.time["until"]
        return next((block for block, end in enumerate(until) if remaining < end), None)

    def _entry(self, remaining: float) -> int | None:
        """The situation that a request begins with, None where it ends before anything runs."""
        block = self._block(remaining)
        if self.time is None or block is None:
            return None if self.at_once else 0
        entry: int = self.time["entries"][block]
        return None if entry == NO_STAGE else entry

    def _action(self, situation: int, remaining: float, logit: float) -> int | None:
        """The situation that follows."""
        block = self._block(remaining)
        if block is None:
            return self.decisions.action(situation, logit)
        return self.within.action(block * len(self.situations) + situation, logit)

    def _declines(self, best: Best | None) -> bool:
        """Whether nothing is answered: no answer is in hand, or nothing is better."""
        return best is None or self.calibrations[best.stage].is_probe or best.logit > self.limit

    def _loss(self, logit: float) -> float:
        return self.scale / (1.0 + math.exp(-logit))

    def _read(self, report: Report) -> float:
        """What a report says by itself."""
        calibration = self.calibrations[report.stage]
        logit = calibration.read(report)
        return calibration.missing_logit if logit is None else logit

    def _walked(self, reports: Sequence[Report]) -> tuple[Best | None, int | None, bool]:
        """The best answer in hand, the situation that follows, and whether a decision on the way was close.

        A stage that failed leaves what is in hand as it is; no stage in hand is the worst belief, or, where nothing is
        an answer, what the stage that failed says on average, if that is no better than nothing. With a detour
        the request goes on as one that never could ask the stage.
        """
        best: Best | None = None
        target = self._entry(reports[0].before) if reports else None
        is_close = False
        missing = frozenset[int]()
        kept: list[Report] = []
        for report in reports:
            assert target is not None
            situation = target
            if report.is_failed:
                missing |= {report.stage}
                ran = frozenset(self.sets[self.situations[situation]["set"]]["members"]) - {report.stage}
                detour = self.detours.get((missing, ran))
                if detour is not None and not ran:
                    target = None if detour == NOWHERE else detour
                    continue
                if detour is not None:
                    situation = detour
                else:
                    kept.append(report)
            else:
                kept.append(report)
                best = self._best(situation, kept)
            target = self._action(
                situation, report.remaining, self._empty_handed(report) if best is None else best.logit
            )
            if best is not None:
                declines = abs(best.logit - self.limit) < CLOSE and best.logit != self.limit
                is_close = is_close or best.is_close or declines or self._is_close(situation, best, kept)
        return best, target, is_close

    def _empty_handed(self, last: Report) -> float:
        """The belief where all stages so far have failed."""
        return self.limit if self.limit == math.inf else max(self.limit, self._read(last))

    def _is_close(self, situation: int, best: Best, reports: Sequence[Report]) -> bool:
        """Whether a decision changes within the rounding of a belief, or of the only signal."""
        near = [best.logit - CLOSE, best.logit + CLOSE]
        heard = answered(reports)
        if len(heard) == 1 and heard[0].is_known and math.isfinite(heard[0].signal):
            (only,) = heard
            near += [best.logit - CLOSE_SINGLE, best.logit + CLOSE_SINGLE]
            width = CLOSE * max(1.0, abs(only.signal))
            moved = [only._replace(signal=only.signal + step) for step in (-width, width)]
            near += [self._read(one) for one in moved]
        remaining = reports[-1].remaining
        return len({self._action(situation, remaining, logit) for logit in [best.logit, *near]}) > 1

    def _best(self, situation: int, reports: Sequence[Report]) -> Best:
        """The answer of least expected loss, the favoured one by a margin; of equals the stage of lowest number.

        A stage without a signal answers only where no member has one. Without recall the last stage answers, or, if it
        is one without a signal, the one of highest number that has one.

        Stages that inform never answer, unless there is no other. Members that failed never answer. The others are
        weighed as where those have not run, if there is such a situation (without recall one that the last stage
        enters); else what failed says what it says on average.
        """
        last = reports[-1]
        whole = weighed = self.sets[self.situations[situation]["set"]]
        said = {report.stage: report for report in reports}
        others = [member for member in weighed["members"] if not said[member].is_failed]
        if len(others) == 1:
            return Best(self._read(said[others[0]]), others[0], False)
        for smaller in self.situations:
            if self.sets[smaller["set"]]["members"] == others and (self.recall or smaller["stage"] == last.stage):
                if others != weighed["members"]:
                    weighed = self.sets[smaller["set"]]
                break
        # While no stage that answers has, those that inform take their place.
        others = [member for member in others if not self.calibrations[member].is_probe] or others
        known = [member for member in others if said[member].is_known]
        candidates = known or others
        if not self.recall:
            ran = [report.stage for report in reports if not self.calibrations[report.stage].is_probe]
            latest = ran[-1] if ran else last.stage
            candidates = [latest if latest in candidates else candidates[-1]]
        counted = said.values() if weighed is whole else [said[member] for member in weighed["members"]]
        is_complete = all(report.is_known and report.prediction != NO_PREDICTION for report in counted)
        posterior, number = (self._weighed, weight) if is_complete else (self._posterior, float)
        logits = {member: posterior(weighed, member, said) for member in candidates}
        favour = {weighed["favoured"]: number(self.margin)}
        ranks = {member: logit - favour.get(member, 0.0) for member, logit in logits.items()}
        if is_complete:
            ranks = {member: single(rank) for member, rank in ranks.items()}
        best = min(candidates, key=lambda member: (ranks[member], member))
        is_close = any(abs(ranks[member] - ranks[best]) < CLOSE for member in candidates if member != best)
        return Best(limited(logits[best]), best, is_close)

    def _weighed(self, weighed: Fields, member: int, said: dict[int, Report]) -> float:
        """The sum of what all members, itself among them, say about a member, where all say all they can.

        It is made in 32 bits, step by step, as such sums are made online.
        """
        members: list[int] = weighed["members"]
        own = members.index(member)
        lines = []
        for at, other in enumerate(members):
            differ, equal, _ = weighed["evidence"][own * len(members) + at]
            lines.append((differ, equal, said[member].agrees(said[other]) or other == member, self._read(said[other])))
        if len(members) <= NUMBERED:
            total = weight(sum(equal[0] if agrees else differ[0] for differ, equal, agrees, _ in lines))
            for differ, equal, agrees, logit in lines:
                total = single(total + single(weight(equal[1] if agrees else differ[1]) * logit))
        else:
            total = weight(sum(differ[0] for differ, _, _, _ in lines))
            for differ, equal, agrees, logit in lines:
                offset = weight(equal[0] - differ[0]) if agrees else 0.0
                slope = weight(equal[1] if agrees else differ[1])
                total = single(total + single(offset + single(slope * logit)))
        if any(set(pair.stages) <= set(members) for pair in self.pairs) and weighed.get("shares"):
            total = single(total + single(self._named(weighed, member, said)))
        return total

    def _named(self, weighed: Fields, member: int, said: dict[int, Report]) -> float:
        """What the classes that members name add to the logit of one."""
        members: list[int] = weighed["members"]
        shares: list[float] = weighed.get("shares", [])
        if not shares:
            return 0.0
        share = shares[members.index(member)]
        about = [pair for pair in self.pairs if member in pair.stages and set(pair.stages) <= set(members)]
        return sum(share * pair.about(member, said) for pair in about)

    def _posterior(self, weighed: Fields, member: int, said: dict[int, Report]) -> float:
        """The same where signals or predictions are missing."""
        members: list[int] = weighed["members"]
        total = 0.0
        for at, other in enumerate(members):
            differ, equal, unknown = weighed["evidence"][members.index(member) * len(members) + at]
            mine, theirs = said[member], said[other]
            if theirs.is_failed:
                offset, slope = unknown
            elif not (mine.is_known and theirs.is_known):
                offset, slope = differ
            elif NO_PREDICTION in (mine.prediction, theirs.prediction):
                offset, slope = unknown
            else:
                offset, slope = equal if mine.agrees(theirs) else differ
            total += offset + slope * self._read(theirs)
        return total + self._named(weighed, member, said)
