"""Time limits of what runs in a task of asyncio."""

from __future__ import annotations

import asyncio
from contextvars import Context

from .time_left import Told, begin_wait, end_wait

__all__ = ["Limit"]


class Limit:
    """Cancels the current task once, at a time of its loop, and tells that from what others cancel; what the task calls
    until then can read how much time is left.

    :meth:`end` it once, whatever happened, where the task may go on. One timer, which is what `asyncio.timeout_at`
    costs; other than there, what is limited has also been late where it has swallowed the cancellation.
    """

    __slots__ = ("_before", "_handle", "_task", "_told", "expired")

    def __init__(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a time limit needs a task of asyncio to cancel")
        self._task = task
        self._before = task.cancelling()
        self.expired = False
        """Whether the time has come."""
        # A loop keeps the handle for a while after it was cancelled: not with all that this context holds.
        self._handle = loop.call_at(when, self._expire, context=Context())
        self._told: Told | None = begin_wait(when, loop.time)

    def end(self) -> bool:
        """No more limit. Whether it has cancelled the task, and nobody else has."""
        if self._told is None:
            return False
        end_wait(self._told)
        self._told = None
        self._handle.cancel()
        return self.expired and self._task.uncancel() <= self._before

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()
