"""Time limits of what runs in a task of asyncio."""

from __future__ import annotations

import asyncio

__all__ = ["Limit"]


class Limit:
    """Cancels the current task once, at a time of its loop, and tells that from what others cancel.

    :meth:`end` it once, whatever happened, where the task may go on. One timer, which is what `asyncio.timeout_at`
    costs; other than there, what is limited has also been late where it has swallowed the cancellation.
    """

    __slots__ = ("_before", "_handle", "_is_ended", "_task", "expired")

    def __init__(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a time limit needs a task of asyncio to cancel")
        self._task = task
        self._before = task.cancelling()
        self._is_ended = False
        self.expired = False
        """Whether the time has come."""
        self._handle = loop.call_at(when, self._expire)

    def end(self) -> bool:
        """No more limit. Whether it has cancelled the task, and nobody else has."""
        if self._is_ended:
            return False
        self._is_ended = True
        self._handle.cancel()
        return self.expired and self._task.uncancel() <= self._before

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()
