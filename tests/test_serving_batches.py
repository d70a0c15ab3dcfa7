"""Many requests in step, within limits: on a virtual event loop, and in this thread with a clock that is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
import virtual_loop
from small_cascades import GO_ON, STOP, K, every, line, stages
from ttamer_fast.serving import synchronous

LONG = 30.0
"""Seconds within which anything has happened."""


class Halt(BaseException):
    """Nothing that a stage fails by."""


async def timed(awaitable: Any) -> Any:
    return await awaitable, asyncio.get_running_loop().time()


def served(cascade: tt.Cascade[Any, Any], xs: Any, deadline: float | None = None) -> tuple[tt.ServedBatch[Any], float]:
    """What a batch comes to, and when; nothing is left behind."""
    seen = virtual_loop.observed(timed(cascade.abatch(xs, deadline)))
    assert (seen.complaints, seen.tasks) == ([], [])
    result: tuple[tt.ServedBatch[Any], float] = seen.result
    return result


def sleeper(stage: int, seconds: Callable[[Any], float], says: int = GO_ON, ended: list[Any] | None = None) -> Any:
    """A stage that takes a time of its own for every input, and writes down where it is cancelled."""

    async def run(x: Any) -> Any:
        try:
            await asyncio.sleep(seconds(x))
        except asyncio.CancelledError:
            if ended is not None:
                ended.append((stage, x))
            raise
        return stage, x, says

    return run


@pytest.mark.parametrize("deadline", [None, 99.0])
def test_rows_of_a_stage_without_batch_run_at_the_same_time(deadline: float | None) -> None:
    cascade = tt.Cascade(line(), stages([sleeper(v, float) for v in range(K)]))
    table, when = served(cascade, [1.0, 3.0, 2.0], deadline)
    assert when == 3.0 * K
    assert [output[1] for output in table.outputs if output] == [1.0, 3.0, 2.0]
    assert table.consulted.all()


def test_at_the_deadline_rows_that_answered_keep_their_answers() -> None:
    ended: list[Any] = []
    runs = [sleeper(v, float, STOP if v else GO_ON, ended) for v in range(K)]
    table, when = served(tt.Cascade(line(), stages(runs)), [0.25, 4.0, 1.0], deadline=5.0)
    # The first stage ends at 4; the second has answered two rows by 5.
    assert (when, sorted(ended)) == (5.0, [(1, 1.0), (1, 4.0)])
    assert table.outcome.tolist() == ["stopped", "deadline", "deadline"]
    assert table.stage.tolist() == [1, 0, 0]
    assert table.cost.tolist() == [2 / 16] * 3
    assert table.failures == {row: {1: "cut off by the deadline after 5 s"} for row in (1, 2)}
    seconds = table[1].seconds
    assert seconds is not None
    assert np.isnan(seconds).tolist() == [False, False, True]


def test_rows_that_nobody_answered_by_the_deadline() -> None:
    table, when = served(tt.Cascade(line(), stages([sleeper(0, float)] * K)), [0.5, 9.0], deadline=0.75)
    assert (when, table.stage.tolist()) == (0.75, [0, -1])
    with pytest.raises(tt.NoAnswerError, match=r"cut off by the deadline after 0\.75 s"):
        table[1]


def test_rows_fail_and_are_retried_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttamer_fast.serving.limits.pause", lambda backoff, retry: 0.5)
    tries: dict[Any, int] = {}

    async def moody(x: int) -> Any:
        tries[x] = tries.get(x, 0) + 1
        if x == 9:
            await asyncio.sleep(9.0)
        if x == 8:
            return None
        if tries[x] <= x:
            raise OSError(f"busy {x}")
        return 0, x, STOP

    runs = [moody, sleeper(1, lambda x: 0.0, STOP), sleeper(2, lambda x: 0.0)]
    cascade = tt.Cascade(line(), stages(runs, retries=[2, 0, 0], timeout=[2.0, None, None]))
    table, when = served(cascade, [0, 1, 2, 3, 8, 9])
    assert tries == {0: 1, 1: 2, 2: 3, 3: 3, 8: 1, 9: 1}
    assert table.stage.tolist() == [0, 0, 0, 1, 1, 1]
    assert table.failures == {3: {0: "OSError: busy 3"}, 4: {0: "returned None"}, 5: {0: "time-out after 2 s"}}
    assert when == 2.0


def test_a_call_of_batch_is_one_call() -> None:
    calls: list[Any] = []

    async def batch(xs: Any) -> Any:
        calls.append(list(xs))
        await asyncio.sleep(1.0)
        if len(calls) < 3:
            raise OSError("busy")
        return [(0, x, STOP) for x in xs]

    given: dict[str, Any] = {"batch": every(batch), "backoff": every(0.0), "breaker": every(tt.Breaker(5))}
    cascade = tt.Cascade(line(), stages(every(str), retries=every(2), **given))
    table, when = served(cascade, [5, 6, 7])
    assert (calls, when) == ([[5, 6, 7]] * 3, 3.0)
    assert table.outputs == [(0, 5, STOP), (0, 6, STOP), (0, 7, STOP)]
    calls.clear()
    failing = tt.Cascade(line(), stages(every(str), timeout=[0.5, None, None], **given))
    table, when = served(failing, np.arange(2))
    assert calls == [[0, 1]] * 3
    assert table.failures == {row: {0: "time-out after 0.5 s", 1: "OSError: busy"} for row in (0, 1)}
    assert [failing.circuits[f"stage {v}"].failures for v in range(K)] == [1, 1, 0]


@pytest.mark.parametrize("has_batch", [True, False])
def test_a_call_that_the_deadline_cuts_off(has_batch: bool) -> None:
    ended: list[Any] = []

    async def batch(xs: Any) -> Any:
        try:
            await asyncio.sleep(9.0)
        except asyncio.CancelledError:
            ended.append(xs)
            raise

    given = {"batch": [None, batch if has_batch else None, None]}
    runs = [sleeper(0, lambda x: 0.25), sleeper(1, lambda x: 9.0, ended=ended), sleeper(2, lambda x: 0.0)]
    table, when = served(tt.Cascade(line(), stages(runs, **given)), ["x", "y"], deadline=1.0)
    assert (when, ended) == (1.0, [["x", "y"]] if has_batch else [(1, "x"), (1, "y")])
    assert table.outcome.tolist() == ["deadline"] * 2
    assert [one.failures for one in table] == [{1: "cut off by the deadline after 1 s"}] * 2
    np.testing.assert_array_equal(table[0].seconds, [0.25, 0.75, np.nan])


def test_run_and_batch_may_be_of_different_kinds() -> None:
    def many(xs: Any) -> Any:
        assert threading.current_thread() is not threading.main_thread()
        return [(0, x, STOP) for x in xs]

    async def amany(xs: Any) -> Any:
        return [(0, x, STOP) for x in xs]

    for run, batch in ((sleeper(0, lambda x: 0.0, STOP), many), (lambda x: (0, x, STOP), amany)):
        cascade = tt.Cascade(line(), stages(every(run), batch=every(batch)))
        expected = [(0, "x", STOP), (0, "y", STOP)]
        assert asyncio.run(cascade.abatch(["x", "y"])).outputs == expected
        assert asyncio.run(cascade.acall("x")).output == expected[0]


@pytest.mark.parametrize("error", [Halt, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("deadline", [None, 9.0])
def test_what_is_no_exception_of_a_row_ends_the_others(error: type[BaseException], deadline: float | None) -> None:
    ended: list[Any] = []

    async def run(x: Any) -> Any:
        if x == 1:
            await asyncio.sleep(0.5)
            raise error
        return await sleeper(0, lambda x: 99.0, ended=ended)(x)

    async def main() -> float:
        with pytest.raises(error) as caught:
            await tt.Cascade(line(), stages([run] * K)).abatch([0, 1, 2], deadline)
        assert type(caught.value) is error
        return asyncio.get_running_loop().time()

    seen = virtual_loop.observed(main())
    assert (seen.complaints, seen.tasks) == ([], [])
    assert (seen.result, ended) == (0.5, [(0, 0), (0, 2)])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_of_a_row(error: type[BaseException]) -> None:
    """asyncio lets these out of the loop at once, and cancels what is left."""
    ended: list[Any] = []

    async def run(x: Any) -> Any:
        if x == 1:
            raise error
        return await sleeper(0, lambda x: 99.0, ended=ended)(x)

    with pytest.raises(error):
        virtual_loop.run(tt.Cascade(line(), stages([run] * K)).abatch([0, 1, 2]))
    assert ended == [(0, 0)] or ended == []


@pytest.mark.parametrize("deadline", [None, 9.0])
def test_a_mistake_of_the_program_ends_the_others(deadline: float | None) -> None:
    """A signal that is no number is known once all rows have answered; outputs that are too few at once."""
    for x, given in (("sure", {}), (STOP, {"batch": every(sleeper(0, lambda x: 0.5))})):
        cascade = tt.Cascade(line(), stages(every(sleeper(0, lambda x: 0.5, x)), **given))  # type: ignore[arg-type]

        async def main(cascade: tt.Cascade[Any, Any] = cascade) -> str:
            with pytest.raises(tt.ValidationError) as caught:
                await cascade.abatch(["x"] * 4, deadline)
            return str(caught.value)

        seen = virtual_loop.observed(main())
        assert (seen.complaints, seen.tasks) == ([], [])
        assert "stage 0 ('stage 0') must return" in seen.result


def test_cancelling_the_caller_cancels_every_row() -> None:
    ended: list[Any] = []
    breaker = tt.Breaker(1)
    runs = [sleeper(0, lambda x: 0.25), sleeper(1, lambda x: 9.0, ended=ended), sleeper(2, lambda x: 0.0)]
    for deadline in (None, 5.0):
        cascade = tt.Cascade(line(), stages(runs, breaker=every(breaker), timeout=[None, 7.0, None]))

        async def main(
            cascade: tt.Cascade[Any, Any] = cascade, deadline: float | None = deadline
        ) -> tuple[bool, float]:
            task = asyncio.ensure_future(cascade.abatch(["x", "y"], deadline))
            await asyncio.sleep(1.0)
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled(), asyncio.get_running_loop().time()

        seen = virtual_loop.observed(main())
        assert (seen.result, seen.complaints, seen.tasks) == ((True, 1.0), [], [])
        assert ended == [(1, "x"), (1, "y")]
        assert all(circuit.failures == 0 for circuit in cascade.circuits.values())
        ended.clear()


def test_a_caller_that_is_cancelled_while_rows_end() -> None:
    """Rows that take their time to end are waited for, however often the caller is cancelled."""
    ended: list[float] = []

    async def slow_to_end(x: Any) -> Any:
        try:
            await asyncio.sleep(99.0)
        finally:
            try:
                await asyncio.sleep(1.0)
            finally:
                ended.append(asyncio.get_running_loop().time())

    async def main() -> tuple[bool, float]:
        task = asyncio.ensure_future(tt.Cascade(line(), stages([slow_to_end] * K)).abatch(["x", "y"]))
        await asyncio.sleep(1.0)
        task.cancel()
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled(), asyncio.get_running_loop().time()

    seen = virtual_loop.observed(main())
    assert (seen.result, seen.complaints, seen.tasks) == ((True, 1.5), [], [])
    assert ended == [1.5, 1.5]


def test_rows_that_a_circuit_bars() -> None:
    async def broken(x: Any) -> Any:
        await asyncio.sleep(float(x))
        raise OSError("gone")

    runs = [broken, sleeper(1, lambda x: 0.0, STOP), sleeper(2, lambda x: 0.0)]
    cascade = tt.Cascade(line(), stages(runs, breaker=[tt.Breaker(2, 10.0), None, None]))

    async def main() -> None:
        first = await cascade.abatch([0, 0, 1, 1])
        assert first.consulted[:, 0].all()  # they began before anything was known
        second = await cascade.abatch([0, 0])
        assert not second.consulted[:, 0].any()
        assert second[1].barred == {0: "not tried: 2 failures in a row, tried again in 9 s"}
        await asyncio.sleep(20.0)
        third = await cascade.abatch([0, 0, 0])
        assert third.consulted[:, 0].tolist() == [True, False, False]
        assert third[1].barred == {0: "not tried: 2 failures in a row, another request is trying it"}
        assert third.stage.tolist() == [1, 1, 1]

    virtual_loop.run(main())


class Clock:
    """Time that passes where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(synchronous, "monotonic", clock.read)
    monkeypatch.setattr(synchronous, "sleep", clock.sleep)
    return clock  # type: ignore[return-value]


def test_in_this_thread_rows_are_begun_until_the_deadline(clock: Clock) -> None:
    def taking(stage: int) -> Any:
        def run(x: float) -> Any:
            clock.now += x
            return stage, x, STOP if stage else GO_ON

        return run

    cascade = tt.Cascade(line(), stages([taking(v) for v in range(K)], threads=every(0)))
    table = cascade.batch([1.0, 1.0, 1.0, 1.0], deadline=5.5)
    # The first stage ends after 4 seconds, the second row of the second stage is late.
    assert table.outcome.tolist() == ["stopped", "deadline", "deadline", "deadline"]
    assert table.consulted.tolist() == [[True, True, False]] * 2 + [[True, False, False]] * 2
    assert table.cost.tolist() == [2 / 16, 2 / 16, 1 / 16, 1 / 16]
    assert table.stage.tolist() == [1, 0, 0, 0]
    assert table[1].failures == {1: "cut off by the deadline after 5.5 s"}
    assert table[2].barred == {1: "was not begun before the deadline of 5.5 s"}
    late = cascade.batch([2.0, 2.0], deadline=1.0)
    assert late.stage.tolist() == [-1, -1]
    for row, reason in ((0, "cut off by the deadline after 1 s"), (1, "was not begun before the deadline of 1 s")):
        with pytest.raises(tt.NoAnswerError) as caught:
            late[row]
        assert caught.value.failures == {0: reason}


def test_in_this_thread_a_call_of_batch_is_one_call(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttamer_fast.serving.limits.pause", lambda backoff, retry: 0.5)
    calls: list[float] = []

    def batch(xs: Any) -> Any:
        calls.append(clock.now)
        clock.now += 1.0
        if len(calls) < 3:
            raise OSError("busy")
        return [(0, x, STOP) for x in xs]

    cascade = tt.Cascade(
        line(), stages(every(str), batch=every(batch), retries=every(2), threads=every(0)), timing=True
    )
    table = cascade.batch(["x", "y"])
    assert (calls, table.outputs) == ([100.0, 101.5, 103.0], [(0, "x", STOP), (0, "y", STOP)])
    np.testing.assert_array_equal(table[1].seconds, [4.0, np.nan, np.nan])
    calls.clear()
    late = cascade.batch(["x", "y"], deadline=0.5)
    assert (late.stage.tolist(), len(calls)) == ([-1, -1], 1)


def test_workers_keep_the_deadline_of_a_batch() -> None:
    gate = threading.Event()

    def stuck(x: Any) -> Any:
        gate.wait(LONG)
        return 1, x, STOP

    def stuck_batch(xs: Any) -> Any:
        return [stuck(x) for x in xs]

    try:
        for batch in (None, stuck_batch):
            runs: list[Any] = [lambda x: (0, x, GO_ON), stuck, lambda x: (2, x, GO_ON)]
            cascade = tt.Cascade(line(), stages(runs, batch=[None, batch, None]))
            table = cascade.batch(["x", "y"], deadline=0.05)
            assert table.outcome.tolist() == ["deadline", "deadline"]
            assert cascade.late["stage 1"] <= 1
            assert all(set(one.failures) | set(one.barred) <= {0, 1} for one in _answered(table))
            timely = tt.Cascade(line(), stages(runs, batch=[None, batch, None], timeout=[None, 0.02, None]))
            table = timely.batch(["x", "y"])
            assert table.failures == {row: {1: "time-out after 0.02 s"} for row in (0, 1)}
            assert table.consulted.all()
    finally:
        gate.set()


def _answered(table: tt.ServedBatch[Any]) -> list[tt.Served[Any]]:
    return [table[i] for i in range(len(table)) if table.stage[i] >= 0]
