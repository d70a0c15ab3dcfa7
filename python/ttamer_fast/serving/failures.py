"""Stages that give no answer."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .._core import TTamerError, ValidationError
from ..traces.record import Record

__all__ = ["Final", "NoAnswerError", "PermanentError", "answered", "reason_of"]

LONGEST = 300
"""Characters of a reason that are kept."""


class Final(str):
    """Why an attempt has failed after which no other one is made. Stored and copied as text."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


RETURNED_NONE = Final("returned None")
"""Why a stage whose output is None has failed."""


class PermanentError(TTamerError):
    """For a stage to raise where another attempt would end as this one did: it fails at once, whatever its `retries`.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> def ask(x):
    ...     raise tt.PermanentError("the account is closed")
    >>> signal = np.random.default_rng(0).random((1000, 2))
    >>> policy = tt.fit(tt.Trace(signal, 1.0 - signal, cost=[1.0, 2.0]), tradeoff=0.9)
    >>> read = dict(signal=lambda output: 1.0)
    >>> cascade = tt.Cascade(policy, [tt.Stage(ask, retries=9, backoff=60.0, **read), tt.Stage(lambda x: x, **read)])
    >>> cascade("a cat").failures
    {0: 'PermanentError: the account is closed'}
    """


class NoAnswerError(TTamerError):
    """Every stage that was asked has failed, and the policy has no default answer.

    Attributes
    ----------
    failures : dict of int to str
        Why each of them failed, by their numbers in `policy.stages`.
    record : Record
        Of the request: its name, what it has cost, whether a deadline ended it.
    """

    failures: dict[int, str]
    record: Record

    def __init__(self, message: str, failures: Mapping[int, str], record: Record) -> None:
        super().__init__(message)
        self.failures = dict(failures)
        self.record = record

    @classmethod
    def of(cls, record: Record) -> NoAnswerError:
        """The error for a request that no stage answered."""
        failures = {**record._failures, **record._barred}
        where = record._policy.where
        reasons = "; ".join(f"{where(stage)}: {reason}" for stage, reason in failures.items())
        return cls(f"no stage answered: {reasons or 'too little time was left to ask any'}", failures, record)

    def __reduce__(self) -> tuple[type[NoAnswerError], tuple[str, dict[int, str], Record]]:
        return NoAnswerError, (str(self), self.failures, self.record)


def answered(record: Record) -> Record:
    """The record of a request that a stage answered, or whose policy has a default; else a NoAnswerError."""
    if record._answer is None and record._expected_loss == math.inf:
        raise NoAnswerError.of(record)
    return record


def reason_of(error: Exception) -> str:
    """What a stage raised, in one line; final where it would raise that again."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # whatever somebody else's error raises when it is shown
        text = ""
    name = type(error).__name__
    reason = (f"{name}: {text}" if text else name)[:LONGEST]
    return Final(reason) if isinstance(error, PermanentError | ValidationError) else reason
