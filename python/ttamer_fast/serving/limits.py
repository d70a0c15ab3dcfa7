"""When a stage may be tried, how often, and until when: told what time it is, without a clock of its own."""

from __future__ import annotations

import math
from random import SystemRandom
from typing import Any, Literal, TypeAlias

from .._core import ValidationError
from .._utils.checks import check_number
from .asking import Asked, Reading
from .calls import Call
from .failures import Final

__all__ = ["Attempts", "Deadline", "Lost", "Reply", "check_deadline", "may_repeat", "pause"]

LONGEST_PAUSE = 1.0
"""Seconds between two attempts, at most."""

# A system's own: forked processes do not draw alike, and nobody's seeded numbers are used up.
_random = SystemRandom()


class Lost:
    """Why a stage gave nothing: told to a driver by the method `how`."""

    __slots__ = ("how", "reason")

    def __init__(self, how: Literal["failed", "barred", "cut_off", "stopped"], reason: str) -> None:
        self.how = how
        self.reason = reason


Reply: TypeAlias = Reading | str | Asked
"""What one attempt gave: of one input what the output says, or why it failed; of a batch what it gave for its rows."""


class Deadline:
    """When a request has to be answered: `seconds` from the call, at the time `end`; inf for never."""

    __slots__ = ("end", "seconds")

    def __init__(self, seconds: float, now: float) -> None:
        self.seconds = seconds
        self.end = now + seconds

    def cut_off(self) -> Lost:
        """Of a stage that is under way at that time."""
        return Lost("cut_off", f"cut off by the deadline after {self.seconds:g} s")

    def not_begun(self) -> Lost:
        """Of a stage that has not been begun by then."""
        return Lost("stopped", f"was not begun before the deadline of {self.seconds:g} s")


def check_deadline(deadline: float | None) -> float:
    """Seconds, inf for None, or a ValidationError."""
    if deadline is None:
        return math.inf
    if type(deadline) is float and deadline > 0.0:
        return deadline
    seconds = check_number("deadline", deadline)
    if not seconds > 0.0:
        raise ValidationError(f"`deadline` must be above 0 seconds, or None, got {deadline}")
    return seconds


def has_failed(reply: Reply) -> bool:
    """Whether an attempt gave nothing at all."""
    return isinstance(reply, str) or (isinstance(reply, Asked) and bool(reply.failures) and not len(reply.outputs))


def may_repeat(reply: Reply) -> bool:
    """Whether an attempt failed, and another one might not: not so after a None, or what a stage says is permanent."""
    if isinstance(reply, str):
        return not isinstance(reply, Final)
    return has_failed(reply) and not all(isinstance(reason, Final) for reason in reply.failures.values())  # type: ignore[union-attr]


def pause(backoff: float, retry: int) -> float:
    """Seconds to wait before a retry, the first being 1: drawn evenly from 0 to ``backoff * 2 ** (retry - 1)``."""
    return _random.uniform(0.0, min(LONGEST_PAUSE, math.ldexp(backoff, min(retry - 1, 64))))


class Attempts:
    """The attempts of one stage, for one input or one call of a batch.

    :meth:`begin` before each, :meth:`ended` after it; :meth:`give_back` where it is not known what came of it.

    Attributes
    ----------
    limit : float
        When the stage is late, by its time-out or the deadline.
    """

    __slots__ = ("_call", "_end", "_last", "_permit", "_retries", "limit")

    def __init__(self, call: Call, now: float, end: float) -> None:
        self._call = call
        self._end = end
        self._last: Any = None
        self._permit: int | None = None
        self._retries = 0
        self.limit = min(now + call.timeout, end)

    @property
    def is_first(self) -> bool:
        """Whether none has ended."""
        return self._last is None

    def begin(self, now: float) -> Reply | Lost | None:
        """None if an attempt may begin; else what the stage comes to without it."""
        if self._last is not None and now >= self.limit:
            return self._last  # type: ignore[no-any-return]
        if (circuit := self._call.circuit) is not None:
            permit = circuit.admit(now)
            if isinstance(permit, str):
                return Lost("barred", permit) if self._last is None else self._last
            self._permit = permit
        return None

    def ended(self, reply: Reply, now: float) -> float | None:
        """Seconds to wait before another attempt; None: the reply is what the stage comes to."""
        if now >= self._end:
            self.give_back()
            return None
        failed = has_failed(reply)
        self._tell(failed, now)
        stage = self._call.stage
        if not failed or self._retries >= stage.retries or not may_repeat(reply):
            return None
        self._retries += 1
        self._last = reply
        wait = pause(stage.backoff, self._retries)
        return wait if now + wait < self.limit else None

    def timed_out(self, now: float) -> Lost:
        """What the stage comes to where it takes longer than its time-out."""
        self._tell(True, now)
        return Lost("failed", f"time-out after {self._call.timeout:g} s")

    def give_back(self) -> None:
        """Nobody will know what came of the attempt under way, if there is one."""
        if self._call.circuit is not None and self._permit is not None:
            self._call.circuit.give_back(self._permit)
            self._permit = None

    def _tell(self, failed: bool, now: float) -> None:
        circuit, permit = self._call.circuit, self._permit
        if circuit is not None and permit is not None:
            self._permit = None
            if failed:
                circuit.failed(permit, now)
            else:
                circuit.succeeded(permit)
