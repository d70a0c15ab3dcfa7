"""Which of the requests that wait for stages run next: a queue a stage, and devices that run one call at a time."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

__all__ = ["Device", "Reason", "StageQueue", "StageStats", "Waits"]

Reason: TypeAlias = Literal["full", "idle", "waited", "passed over", "joined"]
"""Why a call was begun when it was."""

REASONS: tuple[Reason, ...] = ("full", "idle", "waited", "passed over", "joined")

LEAST_PASSED = 8
"""Calls that a waiting queue is passed over by, at least, before it goes next whatever waits elsewhere."""


class Waits(Protocol):
    """What waits in a queue."""

    queued: float
    """When it came into the queue, seconds on the clock of whoever asks."""


W = TypeVar("W", bound=Waits)


@dataclass(frozen=True, slots=True)
class StageStats:
    """What a batcher has made of one stage so far.

    Attributes
    ----------
    calls : int
        Calls begun.
    rows : int
        Requests in them, repeated attempts included.
    released : dict of str to int
        Calls by why they were begun when they were: "full": `max_batch` requests waited; "idle": fewer did, and the
        device was free; "waited": fewer did, and the oldest had waited for `max_wait`; "passed over": fewer did than
        elsewhere, and the device had served other stages often enough. "joined": the call of a stage without `batch`
        was under way and had room, and nobody waited for another stage of the device.
    mean_wait : float
        Mean time in the queue, seconds; NaN before the first call.
    longest_wait : float
        Longest time in the queue, seconds; 0 before the first call.
    """

    calls: int
    rows: int
    released: dict[Reason, int]
    mean_wait: float
    longest_wait: float

    @property
    def mean_batch(self) -> float:
        """Mean number of requests a call; NaN before the first."""
        return self.rows / self.calls if self.calls else math.nan

    @classmethod
    def none(cls) -> StageStats:
        """Before the first call."""
        return cls(0, 0, dict.fromkeys(REASONS, 0), math.nan, 0.0)


class StageQueue(Generic[W]):
    """Requests that wait for a stage, first in, first out; `most` of them are a full call."""

    __slots__ = ("_calls", "_longest", "_released", "_rows", "_seconds", "_waiting", "most", "passed", "stage")

    def __init__(self, stage: int, most: int) -> None:
        self.stage = stage
        self.most = most
        self.passed = 0
        self._waiting: OrderedDict[W, None] = OrderedDict()
        self._calls = self._rows = 0
        self._seconds = self._longest = 0.0
        self._released: dict[Reason, int] = dict.fromkeys(REASONS, 0)

    def push(self, request: W) -> None:
        """Puts a request at the end."""
        if not self._waiting:
            self.passed = 0
        self._waiting[request] = None

    def remove(self, request: W) -> None:
        """Takes out a request, wherever it stands."""
        del self._waiting[request]

    def take(self, most: int, reason: Reason, now: float) -> list[W]:
        """Takes out the first requests, at most so many, for a call that is begun now."""
        waiting = self._waiting
        count = min(most, len(waiting))
        taken = [waiting.popitem(last=False)[0] for _ in range(count)]
        self._calls += 1
        self._rows += count
        self._released[reason] += 1
        self._seconds += sum([now - request.queued for request in taken])
        # The first one need not be the oldest: who is tried again comes to the end of the queue.
        self._longest = max(self._longest, now - min([request.queued for request in taken]))
        return taken

    def due(self, patience: float) -> float:
        """When the first request has waited so long; the queue is not empty."""
        return next(iter(self._waiting)).queued + patience

    def stats(self) -> StageStats:
        """Counts so far."""
        mean = self._seconds / self._rows if self._rows else math.nan
        return StageStats(self._calls, self._rows, dict(self._released), mean, self._longest)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[W]:
        return iter(self._waiting)


class Device(Generic[W]):
    """What runs one call at a time, for the stages whose queues it has.

    The fullest queue goes next, counted up to its `most`; of equals the deepest, and those that are not half full are
    equals: below saturation requests then end before others begin, which halves the time of the slowest. One that has
    been passed over by max(8, 2 q) calls since it last went, or since its first request came, goes before: with q
    queues nobody at the head of one is passed over by more than max(8, 2 q) + q - 1 calls.

    Parameters
    ----------
    queues : sequence of q StageQueue
        With ascending stages.
    """

    __slots__ = ("_limit", "queues")

    def __init__(self, queues: Sequence[StageQueue[W]]) -> None:
        self.queues = tuple(queues)
        self._limit = max(LEAST_PASSED, 2 * len(queues))

    def choose(self, now: float, patience: float) -> tuple[StageQueue[W], Reason] | None:
        """The queue that goes next, and why; None if there is none that has not to wait for companions.

        A queue with fewer than its `most` requests waits until its first one has waited for `patience` seconds.
        """
        ready = [
            queue for queue in self.queues if (n := len(queue)) and (n >= queue.most or queue.due(patience) <= now)
        ]
        if not ready:
            return None
        fullest = max(ready, key=self._fullness)
        chosen = max(ready, key=lambda queue: (queue.passed, queue.stage)) if len(ready) > 1 else fullest
        if chosen.passed < self._limit:
            chosen = fullest
        for queue in ready:
            queue.passed += 1
        reason: Reason = "idle" if patience <= 0.0 else "waited"
        if len(chosen) >= chosen.most:
            reason = "full"
        elif chosen is not fullest:
            reason = "passed over"
        chosen.passed = 0
        return chosen, reason

    def due(self, patience: float) -> float:
        """When the first queue will have waited for so long; inf if nobody waits."""
        return min([queue.due(patience) for queue in self.queues if len(queue)], default=math.inf)

    def _fullness(self, queue: StageQueue[W]) -> tuple[int, int]:
        count = min(len(queue), queue.most)
        return (count if 2 * count >= queue.most else 0), queue.stage
