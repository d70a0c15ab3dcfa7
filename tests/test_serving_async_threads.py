"""Plain functions on an event loop: they run in worker threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ttamer_fast as tt
import virtual_loop
from small_cascades import GO_ON, STOP, K, every, line, stages

LONG = 30.0
"""Seconds within which anything has happened."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What stuck stages wait for; opened at the end."""
    gate = threading.Event()
    yield gate
    gate.set()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


async def aуntil(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


async def happened(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


def observed(main: Any) -> Any:
    """On a real loop, as threads take real time; nothing is left behind."""
    complaints: list[str] = []

    async def outer() -> tuple[Any, int]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
        result = await main
        await asyncio.sleep(0)
        gc.collect()
        await asyncio.sleep(0)
        return result, len(asyncio.all_tasks())

    result, tasks = asyncio.run(outer())
    gc.collect()
    assert (complaints, tasks) == ([], 1)
    return result


def test_where_functions_run_and_what_they_see() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    seen: list[tuple[str, bool]] = []

    def plain(x: Any) -> Any:
        seen.append((variable.get(), threading.current_thread() is threading.main_thread()))
        return 0, x, GO_ON

    async def coroutine(x: Any) -> Any:
        return plain(x)

    async def main() -> None:
        variable.set("the caller's")
        await tt.Cascade(line(), stages([plain, coroutine, plain], threads=[2, 2, 0])).acall("x")

    observed(main())
    assert seen == [("the caller's", False), ("the caller's", True), ("the caller's", True)]


def test_the_loop_goes_on_while_a_function_runs(gate: threading.Event) -> None:
    def waits(x: Any) -> Any:
        assert gate.wait(LONG)
        return 0, x, STOP

    async def main() -> Any:
        request = asyncio.ensure_future(tt.Cascade(line(), stages([waits] * K)).acall("x"))
        await asyncio.sleep(0.01)
        assert not request.done()
        gate.set()
        return (await request).output

    assert observed(main()) == (0, "x", STOP)


@pytest.mark.parametrize("threads", [0, 8])
def test_what_turns_out_to_be_awaitable_is_awaited_on_the_loop(threads: int) -> None:
    async def inner(x: Any) -> Any:
        assert threading.current_thread() is threading.main_thread()
        await asyncio.sleep(0)
        if x == "broken":
            raise OSError(x)
        return 0, x, STOP

    async def inner_batch(xs: Any) -> Any:
        return [await inner(x) for x in xs]

    given = {"threads": every(threads)}
    cascade = tt.Cascade(line(), stages(every(lambda x: inner(x)), **given))
    batched = tt.Cascade(line(), stages(every(inner), batch=every(lambda xs: inner_batch(xs)), **given))

    async def main() -> None:
        assert (await cascade.acall("x")).output == (0, "x", STOP)
        assert (await cascade.abatch(["x", "y"])).outputs == [(0, "x", STOP), (0, "y", STOP)]
        assert (await batched.abatch(["x", "y"])).outputs == [(0, "x", STOP), (0, "y", STOP)]
        for failing in (cascade.acall("broken"), _first(batched.abatch(["broken"]))):
            with pytest.raises(tt.NoAnswerError, match="OSError: broken"):
                await failing

    observed(main())


async def _first(table: Any) -> Any:
    return (await table)[0]


def test_a_late_function_is_left_behind_and_counted(gate: threading.Event) -> None:
    begun: list[Any] = []

    def stuck(x: Any) -> Any:
        begun.append(x)
        gate.wait(LONG)
        raise OSError("nobody hears this")

    runs: list[Any] = [lambda x: (0, x, GO_ON), stuck, lambda x: (2, x, GO_ON)]
    timely = tt.Cascade(line(), stages(runs, timeout=[None, 0.25, None]))
    due = tt.Cascade(line(), stages(runs))

    async def main() -> None:
        served = await timely.acall("x")
        assert served.failures == {1: "time-out after 0.25 s"}
        request = asyncio.ensure_future(due.acall("y"))
        await happened(lambda: "y" in begun)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert (timely.late["stage 1"], due.late["stage 1"]) == (1, 1)

    observed(main())  # the loop is closed while they are still under way
    gate.set()
    until(lambda: sum(timely.late.values()) + sum(due.late.values()) == 0)


def test_cut_off_at_the_deadline(gate: threading.Event) -> None:
    def stuck(x: Any) -> Any:
        gate.wait(LONG)
        return 0, x, STOP

    async def fast(x: Any) -> Any:
        return 0, x, GO_ON

    cascade = tt.Cascade(line(), stages([fast, stuck, fast], threads=[0, 1, 0]))

    async def main() -> list[tt.Served[Any]]:
        return await asyncio.gather(*(cascade.acall(i, deadline=1.0) for i in range(3)))

    served = virtual_loop.run(main())  # its clock jumps to the deadline at once
    assert {one.outcome for one in served} == {"deadline"}
    # One of them has a worker and pays for it; the others have been waiting for it.
    assert sum(one.consulted == (0, 1) for one in served) <= 1
    for one in served:
        lost = one.failures if one.consulted == (0, 1) else one.barred
        assert list(lost) == [1]
        assert ("cut off" in lost[1]) == (one.consulted == (0, 1))
    assert cascade.late["stage 1"] <= 1


def test_a_retry_that_waits_for_a_worker_has_been_begun(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttamer_fast.serving.limits.pause", lambda backoff, retry: 0.5)
    calls: list[Any] = []

    def moody(x: Any) -> Any:
        calls.append(x)
        if x == "stuck":
            gate.wait(LONG)
        raise OSError("busy")

    async def fast(x: Any) -> Any:
        return 0, x, GO_ON

    cascade = tt.Cascade(line(), stages([fast, moody, fast], threads=[0, 1, 0], retries=[0, 9, 0]))

    async def main() -> tt.Served[Any]:
        request = asyncio.ensure_future(cascade.acall("x", deadline=1.0))
        while not calls:
            await asyncio.sleep(0)
        stuck = asyncio.ensure_future(cascade.acall("stuck"))
        while "stuck" not in calls:
            await asyncio.sleep(0)
        served = await request  # it tries again at 0.5, and waits for the worker until the deadline
        stuck.cancel()
        await asyncio.wait([stuck])
        return served

    served = virtual_loop.run(main())
    assert (served.outcome, served.consulted) == ("deadline", (0, 1))
    assert served.failures == {1: "cut off by the deadline after 1 s"}
    assert calls == ["x", "stuck"]


def test_what_is_no_exception_comes_out_of_a_worker(gate: threading.Event) -> None:
    class Halt(BaseException):
        pass

    def halt(x: Any) -> Any:
        raise Halt

    async def main() -> None:
        for serve in (tt.Cascade(line(), stages([halt] * K)).acall, _rows_of(tt.Cascade(line(), stages([halt] * K)))):
            with pytest.raises(Halt):
                await serve("x")

    observed(main())


def _rows_of(cascade: tt.Cascade[Any, Any]) -> Any:
    return lambda x: cascade.abatch([x, x])


def test_a_wrong_number_of_outputs_is_a_mistake_of_the_program() -> None:
    async def short(xs: Any) -> Any:
        return xs[1:]

    for batch in (short, lambda xs: xs[1:]):
        for given in ({}, {"timeout": every(LONG), "breaker": every(tt.Breaker(1)), "retries": every(2)}):
            cascade = tt.Cascade(line(), stages(every(str), batch=every(batch), **given))
            for deadline in (None, LONG):
                with pytest.raises(tt.ValidationError) as caught:
                    observed(cascade.abatch(["x", "y"], deadline))
                assert str(caught.value) == "`batch` of stage 0 ('stage 0') must return 2 outputs, got 1"
            assert all(circuit.failures == 0 for circuit in cascade.circuits.values())


def test_a_cancelled_caller_of_many_leaves_nothing(gate: threading.Event) -> None:
    """Also where what they wait for raises in the moment of the cancellation."""
    begun: list[Any] = []

    def stuck(x: Any) -> Any:
        begun.append(x)
        gate.wait(LONG)
        raise ValueError(x)

    cascade = tt.Cascade(line(), stages([stuck] * K, threads=every(2)))

    async def main() -> None:
        requests = [asyncio.ensure_future(cascade.acall(i)) for i in range(4)]
        table = asyncio.ensure_future(cascade.abatch(list(range(4))))
        await happened(lambda: len(begun) == 2)
        gate.set()
        for one in (*requests, table):
            one.cancel()
        await asyncio.wait([*requests, table])
        assert all(one.cancelled() for one in (*requests, table))

    observed(main())
    until(lambda: cascade.late["stage 0"] == 0)
