"""Categories of warnings, so that each can be silenced, or made an error, by itself."""

from __future__ import annotations

__all__ = [
    "CalibrationWarning",
    "CensoredTraceWarning",
    "EvaluationWarning",
    "HeavyTailWarning",
    "RecordsWarning",
    "ServingWarning",
    "TTamerWarning",
]


class TTamerWarning(UserWarning):
    """What this package warns of; the others are below it."""


class CalibrationWarning(TTamerWarning):
    """A trace that a policy can learn little from, or whose kind had to be guessed."""


class CensoredTraceWarning(CalibrationWarning):
    """A trace that lacks what stages would have said where they were not run."""


class EvaluationWarning(TTamerWarning):
    """A figure whose interval may not hold what it promises."""


class HeavyTailWarning(CalibrationWarning):
    """Losses of which a few requests make up most: means and their intervals are less sure than they look."""


class RecordsWarning(TTamerWarning):
    """Records of served requests that are lost, damaged, or not there."""


class ServingWarning(TTamerWarning):
    """Requests that do not look like the trace that a policy was fitted to."""
