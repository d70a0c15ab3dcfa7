"""How much slower stages are at present than when their policy was calibrated."""

from __future__ import annotations

import math

from .._core import Policy

__all__ = ["Slowdown", "planned"]

GAIN = 0.1
"""How far the factor follows one stage: a tenth of the way, in logarithms."""

REACH = 0.5
"""Logarithms beyond which it does not matter how far off a stage is: one stage moves the factor by 5 % at most."""

LEAST, MOST = math.log(1 / 4), math.log(16)
"""Between which the factor stays."""

SHORTEST = 1e-9
"""Seconds: what takes less is taken to last so long."""


def planned(slowdown: Slowdown | None, seconds: float) -> float:
    """So many seconds at present, in those of the calibration; inf where the policy is told of none."""
    return math.inf if slowdown is None or seconds == math.inf else max(seconds, 0.0) / slowdown.factor


class Slowdown:
    """Observed over expected time of the stages of a cascade, smoothed: 1 at the load of the calibration, 3 where they
    take three times as long.

    One number for all stages, as what slows them is mostly the machine that they share. It follows the middle of
    what is observed, of many stages and requests, and no single one.

    Parameters
    ----------
    policy : Policy
        One that knows time: its expected seconds.

    Notes
    -----
    O(1) a stage. Any number of threads may tell it: there is no lock, so that of two told at one moment one may be
    forgotten. A forked child begins with the factor of its parent.
    """

    __slots__ = ("_expected", "_log", "_policy")

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._expected: dict[tuple[int, int], float] = {}
        self._log = 0.0

    @property
    def factor(self) -> float:
        """Between 1/4 and 16; 1 before anything was observed."""
        return math.exp(self._log)

    def expected(self, last: int, stage: int) -> float:
        """Logarithm of the seconds that the policy expects from the end of stage `last`, -1 for the start."""
        key = last, stage
        found = self._expected.get(key)
        if found is None:
            seconds = self._policy._delay(last, stage)
            assert seconds is not None
            self._expected[key] = found = math.log(max(seconds, SHORTEST))
        return found

    def took(self, last: int, stage: int, seconds: float) -> None:
        """A stage that ran after `last` has answered after so long."""
        self._follow(math.log(max(seconds, SHORTEST)) - self.expected(last, stage))

    def took_at_least(self, last: int, stage: int, seconds: float) -> None:
        """A stage has not answered after so long: that says something only where it is longer than expected now."""
        found = math.log(max(seconds, SHORTEST)) - self.expected(last, stage)
        if found > self._log:
            self._follow(found)

    def _follow(self, found: float) -> None:
        log = self._log
        log += GAIN * min(max(found - log, -REACH), REACH)
        self._log = min(max(log, LEAST), MOST)

    def __repr__(self) -> str:
        return f"Slowdown(factor={self.factor:.3g})"
