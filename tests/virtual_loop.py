"""An event loop whose clock moves only when everything waits: tests of time without waiting, and with exact times.

`run(coroutine)` is `asyncio.run` on such a loop. Use `asyncio.sleep`, `loop.call_at` and `loop.time` as ever; a clock
that is not the loop's (`time.monotonic`) goes on as it does. Where nothing is ready, the clock jumps to the next timer,
and work in threads, which takes no virtual time, is waited for as long as there is no timer.

`observed(coroutine)` also tells what reached the loop's exception handler, and which tasks are left at the end.
"""

from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

LONGEST_WAIT = 10.0
"""Seconds of real time after which waiting for a thread, or for nothing at all, is an error."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock begins at 0 and moves from timer to timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = math.ulp(self._now)
        selector: Any = self._selector  # type: ignore[attr-defined]
        look = selector.select

        def select(timeout: float | None = None) -> Any:
            if timeout is None:
                events = look(LONGEST_WAIT)
                if not events:
                    raise TimeoutError("nothing is left that could wake the loop")
                return events
            events = look(0)
            if not events and timeout > 0.0:
                scheduled: Any = self._scheduled  # type: ignore[attr-defined]
                # As the timer says, not as the sum of differences would round.
                self._now = scheduled[0].when() if scheduled else self._now + timeout
                self._clock_resolution = math.ulp(self._now)
            return events

        selector.select = select

    def time(self) -> float:
        return self._now

    def spend(self, seconds: float) -> None:
        """The thread is busy for so long: time passes, and no timer goes off meanwhile."""
        self._now += seconds
        self._clock_resolution = math.ulp(self._now)


def spend(seconds: float) -> None:
    """By what runs on a virtual loop: to be busy for so long."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.spend(seconds)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, on a virtual loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


class Observed(NamedTuple):
    """What came of a coroutine, and what it left."""

    result: Any
    complaints: list[str]
    """Messages that reached the loop's exception handler."""
    tasks: list[str]
    """Tasks that were not done a moment after it."""


def observed(coroutine: Coroutine[Any, Any, Any]) -> Observed:
    """Run on a virtual loop; objects are collected before complaints are counted."""
    complaints: list[str] = []

    async def main() -> tuple[Any, list[str]]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(str(context.get("message"))))
        result = await coroutine
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
        return result, [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    result, tasks = run(main())
    gc.collect()
    return Observed(result, complaints, tasks)
