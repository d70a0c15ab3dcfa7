"""One request that a batcher has been offered, and the calls that such requests are rows of."""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from typing import Any

from .inputs import Input
from .queues import StageQueue
from .telling import OneAsked

__all__ = ["Offered", "Part"]


class Offered:
    """A request, where it is, and who waits for it.

    It waits at the door, in the queue of the stage that its driver asks, or for its next attempt; or it is a row of a
    part of a call; or it has ended.
    """

    __slots__ = (
        "asked",
        "attempts",
        "context",
        "deadline",
        "driver",
        "ends",
        "expires",
        "future",
        "input",
        "is_timed",
        "part",
        "permit",
        "queue",
        "queued",
        "reason",
        "row",
        "rows",
        "timer",
        "wake",
    )

    def __init__(
        self,
        given: Input,
        driver: OneAsked,
        future: asyncio.Future[None],
        context: Context | None,
        is_timed: bool,
        deadline: float,
    ) -> None:
        self.input = given
        self.driver = driver
        self.future = future
        """What the caller waits for; done once the request has ended."""
        self.context = context
        self.is_timed = is_timed
        """Whether its driver is told how long stages took."""
        self.deadline = deadline
        """Seconds from the call; inf for none."""
        self.ends = math.inf
        """When that is, on the clock of the loop."""
        self.timer: asyncio.TimerHandle | None = None
        """Goes off then."""

        self.queue: StageQueue[Offered] | None = None
        self.part: Part | None = None
        self.row = 0
        """Which row of `part`."""
        self.rows = 1
        """How many rows the last call had that it was in."""
        self.wake: asyncio.TimerHandle | None = None
        """Ends the wait for the next attempt, or the time of the stage while the request waits in the queue again."""
        self.permit: int | None = None
        """Of a stage whose circuit is half-open: the request that is to try it."""

        self.asked = self.queued = 0.0
        """When it came to the stage that is asked, and when it last came into the queue."""
        self.attempts = 0
        """Calls of this stage that it has been in."""
        self.expires = math.inf
        """When the time of the stage is over."""
        self.reason = ""
        """Why the last attempt failed."""


class Part:
    """Rows of a call that one task runs: all of them through `batch`, else one.

    A row that has left, as its request has ended or the time of the stage is over, is None.
    """

    __slots__ = ("left", "permit", "rows", "stage", "task", "timer")

    task: asyncio.Task[Any]

    def __init__(self, stage: int, rows: list[Offered], permit: int | None) -> None:
        self.stage = stage
        self.rows: list[Offered | None] = [*rows]
        self.left = len(rows)
        self.permit = permit
        """Of the circuit of the stage, until it is told what came of this."""
        self.timer: asyncio.TimerHandle | None = None
        """Goes off when the time of the stage is over for a row."""

    def release(self, request: Offered) -> None:
        """A row leaves; the task is cancelled when nobody is left."""
        self.rows[request.row] = None
        request.part = None
        self.left -= 1
        if not self.left:
            self.task.cancel()
