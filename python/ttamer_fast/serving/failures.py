"""Stages that give no answer."""

from __future__ import annotations

from collections.abc import Mapping

from .._core import TTamerError
from ..traces.record import PolicyIdentity

__all__ = ["NoAnswerError", "reason_of"]

RETURNED_NONE = "returned None"
"""Why a stage whose output is None has failed."""

LONGEST = 300
"""Characters of a reason that are kept."""


class NoAnswerError(TTamerError):
    """Every stage that was asked has failed, and the policy has no default answer.

    Attributes
    ----------
    failures : dict of int to str
        Why each of them failed, by their numbers in `policy.stages`.
    """

    failures: dict[int, str]

    def __init__(self, message: str, failures: Mapping[int, str]) -> None:
        super().__init__(message)
        self.failures = dict(failures)

    @classmethod
    def of(cls, identity: PolicyIdentity, failures: Mapping[int, str]) -> NoAnswerError:
        """The error for a request in which these stages failed."""
        reasons = "; ".join(f"{identity.where(stage)}: {reason}" for stage, reason in failures.items())
        return cls(f"no stage answered: {reasons}", failures)

    def __reduce__(self) -> tuple[type[NoAnswerError], tuple[str, dict[int, str]]]:
        return NoAnswerError, (str(self), self.failures)


def reason_of(error: Exception) -> str:
    """What a stage raised, in one line."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # whatever somebody else's error raises when it is shown
        text = ""
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:LONGEST]
