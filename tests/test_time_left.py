"""How much time a stage is told that it has, behind every door. Clocks are virtual, or told."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

import ttamer_fast as tt
import virtual_loop
from small_cascades import GO_ON, K, every, line, stages
from ttamer_fast.serving import synchronous
from ttamer_fast.serving.time_left import begin_wait, end_wait

INF = math.inf
LIMITS: list[tuple[float | None, list[float | None], list[float]]] = [
    (None, [None] * K, [INF] * K),
    (10.0, [None] * K, [10.0, 9.0, 8.0]),
    (None, [4.0, None, 5.0], [4.0, INF, 5.0]),
    (5.0, [4.0, None, 3.5], [4.0, 4.0, 3.0]),
]
"""Deadline, time-outs, and what is left when each of the stages begins, which take a second each."""

DOORS: dict[str, Callable[[tt.Cascade[Any, Any], float | None], Awaitable[Any]]] = {
    "acall": lambda cascade, deadline: cascade.acall("x", deadline),
    "abatch": lambda cascade, deadline: cascade.abatch(["x", "y"], deadline),
    "batcher": lambda cascade, deadline: in_batcher(cascade, deadline),
}


async def in_batcher(cascade: tt.Cascade[Any, Any], *deadlines: float | None) -> list[Any]:
    async with tt.Batcher(cascade) as batcher:
        return list(await asyncio.gather(*[batcher(x, one) for x, one in enumerate(deadlines)]))


def noting(heard: list[float]) -> list[Callable[[Any], Any]]:
    """Stages of a second each that write down what is left when they begin."""

    async def run(stage: int, x: Any) -> Any:
        heard.append(tt.time_left())
        await asyncio.sleep(1.0)
        return stage, x, GO_ON

    return [partial(run, stage) for stage in range(K)]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("deadline", "timeouts", "expected"), LIMITS)
def test_on_an_event_loop(
    door: str, deadline: float | None, timeouts: list[float | None], expected: list[float]
) -> None:
    async def main() -> float:
        await DOORS[door](tt.Cascade(line(), stages(noting(heard), timeout=timeouts)), deadline)
        return tt.time_left()

    heard: list[float] = []
    assert virtual_loop.run(main()) == INF
    rows = 2 if door == "abatch" else 1
    assert heard == [left for left in expected for _ in range(rows)]


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(("deadline", "timeouts", "expected"), LIMITS)
def test_in_the_caller_s_thread(
    batch: bool,
    deadline: float | None,
    timeouts: list[float | None],
    expected: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(x: Any) -> Any:
        heard.append(tt.time_left())
        return len(heard) - 1, x, GO_ON

    heard: list[float] = []
    monkeypatch.setattr(synchronous, "monotonic", lambda: 50.0 + len(heard))
    cascade = tt.Cascade(line(), stages(every(run), timeout=timeouts, threads=every(0)))
    if batch:
        cascade.batch(["x"], deadline)
    else:
        cascade("x", deadline)
    assert (heard, tt.time_left()) == (expected, INF)


def test_in_a_worker_and_in_tasks_of_the_stage() -> None:
    async def indirect(x: Any) -> Any:
        return 1, x, await asyncio.create_task(told())

    async def told() -> Any:
        heard.append(tt.time_left())
        return GO_ON

    def direct(x: Any) -> Any:
        heard.append(tt.time_left())
        return 0, x, GO_ON

    heard: list[float] = []
    asyncio.run(tt.Cascade(line(), stages([direct, indirect, indirect])).acall("x", deadline=60.0))
    tt.Cascade(line(), stages(every(direct)))("x", deadline=60.0)
    assert len(heard) == 2 * K
    assert all(0.0 < left <= 60.0 for left in heard)


def test_a_second_attempt_has_less_and_a_pause_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(x: Any) -> Any:
        heard.append(tt.time_left())
        await asyncio.sleep(1.0)
        raise OSError("busy")

    monkeypatch.setattr("ttamer_fast.serving.limits.pause", lambda backoff, retry: 0.5)
    monkeypatch.setattr("ttamer_fast.serving.dispatcher.pause", lambda backoff, retry: 0.5)
    for door in DOORS.values():
        heard: list[float] = []
        cascade = tt.Cascade(line(0.5), stages([run] * K, timeout=every(4.0), retries=every(2)))
        virtual_loop.run(door(cascade, 20.0))  # type: ignore[arg-type]
        assert sorted(set(heard), reverse=True)[:3] == [4.0, 2.5, 1.0]


def test_a_cascade_in_a_stage_has_no_more_than_the_stage() -> None:
    async def nested(x: Any) -> Any:
        await tt.Cascade(line(), stages(noting(heard), timeout=[2.0, 60.0, None])).acall(x, deadline=30.0)
        heard.append(tt.time_left())
        return 0, x, GO_ON

    heard: list[float] = []
    cascade = tt.Cascade(line(), stages([nested, *noting([])[1:]]))
    virtual_loop.run(cascade.acall("x", deadline=5.0))
    assert heard == [2.0, 4.0, 3.0, 2.0]


def test_a_call_of_many_has_until_the_last_of_them_leaves() -> None:
    async def batch(xs: Any) -> Any:
        heard.append(tt.time_left())
        await asyncio.sleep(1.0)
        return [(0, x, GO_ON) for x in xs]

    async def one(x: Any) -> Any:
        return (await batch([x]))[0]

    for timeout, deadlines, expected in (
        (None, (5.0, 9.0), [9.0, 8.0, 7.0]),
        (None, (5.0, None), [INF] * K),
        (3.0, (2.5, None), [3.0, 3.0, 3.0]),
    ):
        heard: list[float] = []
        limited = tt.Cascade(line(), stages(every(one), batch=every(batch), timeout=every(timeout)))
        virtual_loop.run(in_batcher(limited, *deadlines))
        assert heard == expected


def test_at_the_end_nothing_is_left() -> None:
    async def run(x: Any) -> Any:
        virtual_loop.spend(9.0)
        heard.append(tt.time_left())
        return 0, x, GO_ON

    heard: list[float] = []
    with pytest.raises(tt.NoAnswerError):
        virtual_loop.run(tt.Cascade(line(), stages(every(run))).acall("x", deadline=3.0))
    assert heard == [0.0]


def test_what_is_closed_in_another_context_closes_quietly() -> None:
    there, now = contextvars.copy_context(), 3.0
    told = there.run(begin_wait, 5.0, lambda: now)
    end_wait(told)
    assert (tt.time_left(), there.run(tt.time_left)) == (INF, 2.0)
