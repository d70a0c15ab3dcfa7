"""The loops of `await cascade.acall(x)` and `await cascade.abatch(xs)`, on the event loop of the caller.

Whatever batches requests in its own way makes single attempts here, :func:`try_one` and :func:`try_batch`, without the
limits of the stage, and keeps these itself with :mod:`.limits` and :attr:`Call.circuit`.
"""

from __future__ import annotations

import asyncio
import math
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from .asking import Asked, Reading, none_of, read, read_batch
from .calls import Call
from .coroutines import is_awaitable
from .failures import reason_of
from .inputs import Input, Inputs, each_row
from .limits import Attempts, Deadline, Lost
from .tasks import run_all
from .telling import OneAsked, StepAsked, tell, tell_batch, tell_rows
from .time_left import Waiting
from .timers import Limit
from .workers import Job, Workers

__all__ = ["NotBegunError", "serve", "serve_batch", "try_batch", "try_one"]

T = TypeVar("T")
R = TypeVar("R", Reading | str, Asked)


class NotBegunError(CancelledError):
    """Cancelled while the call of a plain function was waiting for a free worker."""


async def serve(driver: OneAsked, calls: Sequence[Call], given: Input, deadline: float, is_timed: bool) -> None:
    """Until one request is decided; `deadline` in seconds from now, inf for none.

    Without `is_timed` no clock is read.
    """
    loop = asyncio.get_running_loop()
    clock = loop.time if is_timed else _no_clock
    begun = now = clock()
    due = Deadline(deadline, now)
    end = due.end
    limit = None if end == math.inf else Limit(loop, end)
    try:
        while (asked := driver.ask) is not None:
            call, begun = calls[asked], now
            outcome: Reading | str | Lost
            if begun >= end:
                outcome = due.not_begun()
            else:
                taken = given.take(call.stage.carries)
                if call.is_limited:
                    outcome = await _ask(call, partial(try_one, call, taken), begun, due)
                else:
                    outcome = await try_one(call, taken)
                now = clock()
                if limit is not None and (limit.expired or now >= end):
                    outcome = due.cut_off()
            if is_timed and isinstance(outcome, tuple):
                output, signal, prediction = outcome
                driver.answered_after(signal, prediction, output, now - begun, end - now)
            else:
                tell(driver, outcome, now - begun if is_timed else None, end - now)
    except CancelledError as error:
        if limit is None or not limit.end():
            raise
        tell(driver, due.not_begun() if isinstance(error, NotBegunError) else due.cut_off(), clock() - begun, 0.0)
    finally:
        if limit is not None:
            limit.end()


async def serve_batch(
    driver: StepAsked, calls: Sequence[Call], inputs: Inputs, deadline: float, is_timed: bool
) -> None:
    """Until the requests of a batch are decided, in step; the arguments as in :func:`serve`.

    A stage without `batch` is run on all rows that wait for it at the same time.
    """
    clock = asyncio.get_running_loop().time if is_timed else _no_clock
    due = Deadline(deadline, clock())
    with Waiting(due.end, clock):
        while (question := driver.ask) is not None:
            asked, rows = question
            call, begun = calls[asked], clock()
            if begun >= due.end:
                driver.stopped(due.not_begun().reason)
                break
            taken, count = inputs.take(rows, call.stage.carries), len(rows)
            if call.stage.batch is not None:
                (outcome,) = await _ask_all(call, [partial(try_batch, call, taken, count)], begun, due)
                now = clock()
                tell_batch(driver, outcome, count, now - begun if is_timed else None, due.end - now)
            else:
                outcomes = await _ask_all(call, [partial(try_one, call, x) for x in each_row(taken)], begun, due)
                now = clock()
                tell_rows(driver, call, outcomes, now - begun if is_timed else None, due.end - now)


async def try_one(call: Call, x: Any) -> Reading | str:
    """One attempt of a stage on one input: the output, its signal and prediction, or why it failed.

    A plain function runs in a worker, or on the event loop where it has none; what it returns may be awaitable. What is
    no Exception passes through. When this is cancelled, a coroutine is cancelled too; a call in a worker goes on and is
    counted as late, or, if it has not been begun, is dropped: a :class:`NotBegunError` then.
    """
    stage = call.stage
    if not call.runs_async:
        return await _try_plain(call, partial(stage.run, x), partial(read, stage), str)
    try:
        output = await stage.run(x)
    except Exception as error:
        return reason_of(error)
    return read(stage, output)


async def try_batch(call: Call, taken: Any, count: int) -> Asked:
    """One attempt of the `batch` of a stage on `count` inputs, in the same way; what it raises fails all rows.

    Raises
    ------
    ValidationError
        If outputs, signals or predictions are not one a row, or if a signal is no number; names the stage.
    """
    batch = call.stage.batch
    assert batch is not None
    if not call.batches_async:
        reader = partial(read_batch, call.stage, call.where, count=count)
        return await _try_plain(call, partial(batch, taken), reader, partial(none_of, count))
    try:
        outputs = await batch(taken)
    except Exception as error:
        return none_of(count, reason_of(error))
    return read_batch(call.stage, call.where, outputs, count)


class _Pending:
    """What a plain function returned that is still to be awaited."""

    __slots__ = ("awaitable",)

    def __init__(self, awaitable: Any) -> None:
        self.awaitable = awaitable


async def _try_plain(
    call: Call, function: Callable[[], Any], reader: Callable[[Any], R], lost: Callable[[str], R]
) -> R:
    """Call a plain function and read what it returns, both in a worker if there is one; `lost` makes a reply of why it
    failed."""
    if call.workers is None:
        reply = _run(function, reader, lost)
    else:
        try:
            job = await _done(call.workers, partial(_run, function, reader, lost))
        except RuntimeError as error:  # the system has no thread for it
            return lost(reason_of(error))
        reply = job.result()
    if not isinstance(reply, _Pending):
        return reply
    try:
        output = await reply.awaitable
    except Exception as error:
        return lost(reason_of(error))
    return reader(output)


def _run(function: Callable[[], Any], reader: Callable[[Any], R], lost: Callable[[str], R]) -> R | _Pending:
    try:
        output = function()
    except Exception as error:
        return lost(reason_of(error))
    return _Pending(output) if is_awaitable(output) else reader(output)


async def _done(workers: Workers, work: Callable[[], T]) -> Job[T]:
    """The work, once a worker has done it."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()
    job = workers.submit(work, partial(_wake, loop, ended))
    try:
        await ended
    except BaseException as error:
        if not job.abandon() and isinstance(error, CancelledError):
            raise NotBegunError from None
        raise
    return job


def _wake(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
    """By the worker: nobody waits on a loop that is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_set, ended)


def _set(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


async def _ask(call: Call, attempt: Callable[[], Awaitable[R]], begun: float, due: Deadline) -> R | Lost:
    """What a stage comes to, by as many attempts as it may have, within its time-out."""
    if not call.is_limited:
        return await attempt()
    loop = asyncio.get_running_loop()
    attempts = Attempts(call, begun, due.end)
    limit = Limit(loop, attempts.limit) if attempts.limit < due.end else None
    try:
        while True:
            if (without := attempts.begin(begun)) is not None:
                return without  # type: ignore[return-value]  # a reply of this kind, or none
            reply = await attempt()
            now = loop.time()
            if limit is not None and (limit.expired or now >= attempts.limit):
                return attempts.timed_out(now)
            wait = attempts.ended(reply, now)
            if wait is None:
                return reply
            await asyncio.sleep(wait)
            begun = loop.time()
    except CancelledError as error:
        if limit is not None and limit.end():
            return attempts.timed_out(loop.time())
        if isinstance(error, NotBegunError) and not attempts.is_first:
            raise CancelledError from None
        raise
    finally:
        if limit is not None:
            limit.end()
        attempts.give_back()


async def _ask_all(
    call: Call, attempts: Sequence[Callable[[], Coroutine[Any, Any, R]]], begun: float, due: Deadline
) -> list[R | Lost]:
    """What a stage comes to for some inputs, or for one call of a batch, at the same time."""
    if due.end == math.inf and len(attempts) == 1:
        return [await _ask(call, attempts[0], begun, due)]
    loop = asyncio.get_running_loop()
    outcomes: list[R | Lost] = [due.not_begun()] * len(attempts)

    async def one(at: int, attempt: Callable[[], Coroutine[Any, Any, R]]) -> None:
        outcomes[at] = due.cut_off()
        try:
            outcome = await _ask(call, attempt, begun, due)
        except NotBegunError:
            outcomes[at] = due.not_begun()
            raise
        if due.end == math.inf or loop.time() < due.end:
            outcomes[at] = outcome

    await run_all([one(at, attempt) for at, attempt in enumerate(attempts)], due.end - begun)
    return outcomes


def _no_clock() -> float:
    return 0.0
