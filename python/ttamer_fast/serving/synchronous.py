"""The loops of `cascade(x)` and `cascade.batch(xs)` where a limit is in play, in the thread of the caller."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic, sleep
from typing import Any, TypeVar

from .._core import ValidationError
from .asking import Asked, Reading, none_of, read, read_batch
from .calls import Call
from .coroutines import discard
from .failures import reason_of
from .inputs import Input, Inputs, each_row
from .limits import Attempts, Deadline, Lost
from .telling import OneAsked, StepAsked, tell, tell_batch, tell_rows
from .time_left import Waiting, begin_wait, end_wait

__all__ = ["awaitable_error", "now", "serve", "serve_batch"]

R = TypeVar("R", Reading | str, Asked)


def serve(driver: OneAsked, calls: Sequence[Call], given: Input, deadline: float, is_timed: bool) -> None:
    """Until one request is decided; `deadline` in seconds from now, inf for none.

    Without `is_timed` no clock is read.
    """
    clock = monotonic if is_timed else _no_clock
    now = clock()
    due = Deadline(deadline, now)
    end = due.end
    told = None if end == math.inf else begin_wait(end, clock)
    try:
        while (asked := driver.ask) is not None:
            call, begun = calls[asked], now
            outcome: Reading | str | Lost
            if begun >= end:
                outcome = due.not_begun()
            elif _is_simple(call, end):
                outcome = _try_one(call, given.take(call.stage.carries), "acall(x)")
                now = clock()
                if now >= end:
                    outcome = due.cut_off()
            else:
                outcome = _ask(call, _one(call, given.take(call.stage.carries), "acall(x)"), begun, due, clock)
                now = clock()
            if is_timed and isinstance(outcome, tuple):
                output, signal, prediction = outcome
                driver.answered_after(signal, prediction, output, now - begun, end - now)
            else:
                tell(driver, outcome, now - begun if is_timed else None, end - now)
    finally:
        if told is not None:
            end_wait(told)


def serve_batch(driver: StepAsked, calls: Sequence[Call], inputs: Inputs, deadline: float, is_timed: bool) -> None:
    """Until the requests of a batch are decided, in step; the arguments as in :func:`serve`."""
    clock = monotonic if is_timed else _no_clock
    due = Deadline(deadline, clock())
    with Waiting(due.end, clock):
        while (question := driver.ask) is not None:
            asked, rows = question
            call, begun = calls[asked], clock()
            if begun >= due.end:
                driver.stopped(due.not_begun().reason)
                break
            taken, count = inputs.take(rows, call.stage.carries), len(rows)
            is_free = due.end == math.inf and not call.is_limited
            if call.stage.batch is None:
                outcomes: list[Reading | str | Lost]
                if is_free:
                    outcomes = [_try_one(call, x, "abatch(xs)") for x in each_row(taken)]
                else:
                    outcomes = [_ask_row(call, x, due, clock) for x in each_row(taken)]
                now = clock()
                tell_rows(driver, call, outcomes, now - begun if is_timed else None, due.end - now)
            else:
                outcome: Asked | Lost
                if is_free:
                    outcome = _try_batch(call, taken, count)
                else:
                    outcome = _ask(call, partial(_try_batch, call, taken, count), begun, due, clock)
                now = clock()
                tell_batch(driver, outcome, count, now - begun if is_timed else None, due.end - now)


def awaitable_error(call: Call, function: str, instead: str, output: Any) -> ValidationError:
    """A stage has returned what is still to be awaited, where nobody can."""
    discard(output)
    given = f"an awaitable, {type(output).__name__}"
    return ValidationError(
        f"`{function}` of {call.where} must return an output, got {given}: call `await cascade.{instead}`"
    )


def now() -> float:
    """On the clock of these loops."""
    return monotonic()


def _no_clock() -> float:
    return 0.0


def _ask_row(call: Call, x: Any, due: Deadline, clock: Callable[[], float]) -> Reading | str | Lost:
    now = clock()
    return due.not_begun() if now >= due.end else _ask(call, _one(call, x, "abatch(xs)"), now, due, clock)


def _ask(call: Call, work: Callable[[], R], now: float, due: Deadline, clock: Callable[[], float]) -> R | Lost:
    """What a stage comes to, by as many attempts as it may have."""
    if _is_simple(call, due.end):
        only = work()
        return only if due.end == math.inf or clock() < due.end else due.cut_off()
    attempts = Attempts(call, now, due.end)
    try:
        with Waiting(now + call.timeout, clock):
            while True:
                if (without := attempts.begin(now)) is not None:
                    return without  # type: ignore[return-value]  # a reply of this kind, or none
                reply = _attempt(call, work, now, attempts, due, clock)
                if isinstance(reply, Lost):
                    return reply
                now = clock()
                wait = attempts.ended(reply, now)
                if wait is None:
                    return reply
                sleep(wait)
                now = clock()
    finally:
        attempts.give_back()


def _is_simple(call: Call, end: float) -> bool:
    """Whether a stage is tried once, in this thread: if it is late, that is found out when it returns."""
    return not call.is_limited and (call.workers is None or end == math.inf)


def _attempt(
    call: Call, work: Callable[[], R], now: float, attempts: Attempts, due: Deadline, clock: Callable[[], float]
) -> R | Lost:
    """One attempt: in a worker where it may have to be left behind, else in this thread."""
    limit, is_begun = attempts.limit, True
    if limit == math.inf or call.workers is None:
        reply = work()
        if limit == math.inf or clock() < limit:
            return reply
    else:
        try:
            job = call.workers.submit(work)
        except RuntimeError as error:  # the system has no thread for it
            return Lost("failed", reason_of(error))
        try:
            if job.wait(limit - now):
                return job.result()
        except BaseException:
            job.abandon()
            raise
        is_begun = job.abandon()
    if limit < due.end:
        return attempts.timed_out(clock())
    return due.cut_off() if is_begun or not attempts.is_first else due.not_begun()


def _one(call: Call, x: Any, instead: str) -> Callable[[], Reading | str]:
    return partial(_try_one, call, x, instead)


def _try_one(call: Call, x: Any, instead: str) -> Reading | str:
    try:
        output = call.stage.run(x)
    except Exception as error:
        return reason_of(error)
    if type(output) is not call.plain_type and call.is_to_be_awaited(output):
        raise awaitable_error(call, "run", instead, output)
    return read(call.stage, output)


def _try_batch(call: Call, taken: Any, count: int) -> Asked:
    assert call.stage.batch is not None
    try:
        outputs = call.stage.batch(taken)
    except Exception as error:
        return none_of(count, reason_of(error))
    if type(outputs) is not call.plain_type and call.is_to_be_awaited(outputs):
        raise awaitable_error(call, "batch", "abatch(xs)", outputs)
    return read_batch(call.stage, call.where, outputs, count)
