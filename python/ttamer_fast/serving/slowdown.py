"""How much slower stages are at present than when their policy was calibrated."""

from __future__ import annotations

import math
from math import exp, log, sqrt

from .._core import Policy
from .call_sizes import CallSizes

__all__ = ["Slowdown", "planned"]

GAIN = 0.1
"""How far the factor follows one stage: a tenth of the way, in logarithms."""

REACH = 0.5
"""Logarithms beyond which it does not matter how far off a stage is: one stage moves the factor by 5 % at most."""

FURTHEST = GAIN * REACH
"""Logarithms by which one stage moves it at most."""

HEAVIEST = 3.0
"""As how many single stages a call of many requests counts at most: it is as sure as its rows are many, but for what
delays all of them."""

LEAST, MOST = log(1 / 4), log(16)
"""Between which the factor stays."""

SHORTEST = 1e-9
"""Seconds: what takes less is taken to last so long."""


LONGEST = 1e9
"""Seconds: what takes more is taken to last so long."""


def planned(slowdown: Slowdown | None, seconds: float, rows: int = 1) -> float:
    """So many seconds at present, in those of the calibration, for a request that was last in a call of so many; inf
    where the policy is told of none."""
    if slowdown is None or seconds == math.inf:
        return math.inf
    return slowdown.planned(seconds) if rows == 1 else slowdown.planned_after(rows, seconds)


class Slowdown:
    """Observed over expected time of the stages of a cascade, smoothed: 1 at the load of the calibration, 3 where they
    take three times as long.

    One number for all stages, as what slows them is mostly the machine that they share. It follows the middle of
    what is observed, of many stages and requests, and no single one.

    A call for several requests takes longer without anything being slow. Each stage's calls of about as many requests
    are therefore compared with one another: the first few say what is usual, and move nothing; what comes then is
    compared with that. What is left to a request of such calls is divided by the factor, and by how much longer the
    next call usually takes after one of that size than the policy expects for one request.

    Parameters
    ----------
    policy : Policy
        One that knows time: its expected seconds.

    Notes
    -----
    O(1) a stage. Any number of threads may tell it: there is no lock, so that of two told at one moment one may be
    forgotten. A forked child begins with the factor of its parent.
    """

    __slots__ = ("_expected", "_is_told", "_log", "_policy", "_sizes", "factor")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._expected: dict[tuple[int, int], float] = {}
        self._sizes = CallSizes()
        self._is_told = False
        self._log = 0.0
        self.factor = 1.0
        """Between 1/4 and 16; 1 before anything was observed."""

    def turn_to(self, policy: Policy, expected: dict[tuple[int, int], float]) -> None:
        """From now on times are compared with what another policy expects, of which `expected` is kept from time to
        time. Requests that have begun by the one before may be compared with it too."""
        self._policy, self._expected = policy, expected

    def expected(self, last: int, stage: int) -> float:
        """Seconds that the policy expects from the end of stage `last`, -1 for the start, to that of `stage`."""
        found = self._expected.get((last, stage))
        if found is None:
            seconds = self._policy._delay(last, stage)
            assert seconds is not None
            self._expected[last, stage] = found = max(seconds, SHORTEST)
        return found

    def took(self, last: int, stage: int, seconds: float) -> None:
        """A stage that ran after `last` has answered after so long."""
        expected = self._expected.get((last, stage)) or self.expected(last, stage)
        self._follow(log((seconds if seconds > SHORTEST else SHORTEST) / expected))

    def took_at_least(self, last: int, stage: int, seconds: float) -> None:
        """A stage has not answered after so long: that says something only where it is longer than expected now."""
        found = log(max(seconds, SHORTEST) / self.expected(last, stage))
        if found > self._log:
            self._follow(found)

    def call_took(self, last: int, stage: int, seconds: float, rows: int, before: int) -> None:
        """A call for so many requests has answered after so long, of which the one that had come least far had run
        `last`. They had been in calls of up to `before` requests; 0 where a batcher has just let them in."""
        found = self._found(last, stage, seconds)
        usually: float | None = 0.0
        if rows == 1:
            self._follow(found)
        else:
            usual = self._sizes.of_stage(stage, rows)
            expected, is_known = usual.value, usual.is_known
            usual.hear(found - self._log)
            usually = usual.value if usual.is_known else None
            if is_known:
                self._follow(found - expected, min(sqrt(rows), HEAVIEST))
        if before != 1 and usually is not None:
            self._sizes.told_after(before, usually)

    def call_took_at_least(self, last: int, stage: int, seconds: float, rows: int, before: int) -> None:
        """The same of a call that has not answered after so long."""
        expected = self._log + (self._sizes.of_stage(stage, rows).value if rows > 1 else 0.0)
        if self._found(last, stage, seconds) >= expected:
            self.call_took(last, stage, seconds, rows, before)

    def not_begun(self, rows: int) -> None:
        """A request ends before its first stage, for lack of time; `rows` as for :meth:`planned_after`.

        Where that is all that happens, nothing would ever say that stages are fast again. From the second in a row on,
        each moves what is known towards what was expected at first.
        """
        if self._is_told:
            self._is_told = False
            return
        if self._log > 0.0:
            self._follow(0.0)
            self._is_told = False
        if rows != 1:
            self._sizes.told_after(rows, 0.0)

    def planned(self, seconds: float) -> float:
        """So many seconds at present, finite, in those of the calibration."""
        return seconds / self.factor if seconds > 0.0 else 0.0

    def planned_after(self, rows: int, seconds: float) -> float:
        """The same for a request that was last in a call of so many; 0 where a batcher lets it in."""
        return self.planned(seconds) / exp(self._sizes.after(rows))

    def _found(self, last: int, stage: int, seconds: float) -> float:
        return log(min(max(seconds, SHORTEST), LONGEST) / self.expected(last, stage))

    def _follow(self, found: float, weight: float = 1.0) -> None:
        before = self._log
        off = found - before
        if off > REACH:
            after = before + weight * FURTHEST
        elif off < -REACH:
            after = before - weight * FURTHEST
        else:
            after = before + weight * GAIN * off
        if after > MOST:
            after = MOST
        elif after < LEAST:
            after = LEAST
        self._log = after
        self._is_told = True
        self.factor = exp(after)

    def __repr__(self) -> str:
        return f"Slowdown(factor={self.factor:.3g})"
