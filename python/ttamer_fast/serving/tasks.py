"""Coroutines that run at the same time, of which nothing is left behind."""

from __future__ import annotations

import asyncio
import math
from asyncio import CancelledError
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

__all__ = ["run_all"]


async def run_all(coroutines: Sequence[Coroutine[Any, Any, None]], seconds: float) -> None:
    """Run some coroutines at the same time, for so many seconds at most, inf for however long.

    What is not done then is cancelled and its end awaited, and so it is where one of them raises, or the caller is
    cancelled. What one of them raises comes out by itself, of several that of the first in order.
    """
    loop = asyncio.get_running_loop()
    woken, left, is_over = loop.create_future(), len(coroutines), False

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    def ended(task: asyncio.Task[None]) -> None:
        nonlocal left
        left -= 1
        if task.cancelled() or task.exception() is not None or not left:
            wake()

    def expire() -> None:
        nonlocal is_over
        is_over = True
        wake()

    tasks = [loop.create_task(coroutine) for coroutine in coroutines]
    for task in tasks:
        task.add_done_callback(ended)
    timer = None if seconds == math.inf else loop.call_later(seconds, expire)
    try:
        await woken
    finally:
        if timer is not None:
            timer.cancel()
        await _cancel(tasks)
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            try:
                raise error
            finally:
                del error, task, tasks  # these refer to each other
    if not is_over and any(task.cancelled() for task in tasks):
        raise CancelledError


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel what is not done, and wait for its end, however often the caller is cancelled meanwhile."""
    again: CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        try:
            await asyncio.wait(left)
        except CancelledError as error:
            again = error
    if again is not None:
        raise again
