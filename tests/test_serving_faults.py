"""Stages that fail at random and under load: every request gets the answer that the engine alone would give."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import ttamer_fast as tt
import virtual_loop
from conftest import make_trace
from serving_policies import policy_of
from small_cascades import STOP, line, stages

N = 200
"""Requests of a test."""

LONG = 30.0
"""Seconds within which anything has happened."""


class Ended(NamedTuple):
    """How a request ends."""

    answer: int | None
    consulted: tuple[int, ...]
    failed: tuple[int, ...]
    cost: float | None


class Faults:
    """Requests of a trace, of which some stages fail; a request is its row number, an output says row and stage."""

    def __init__(self, kind: str, share: float) -> None:
        self.policy = policy_of(kind)
        self.trace = make_trace(600, 4, kind="models" if kind == "models" else "exits")
        self.fails = np.random.default_rng(7).random((N, 4)) < share
        self.calls: Counter[tuple[int, int]] = Counter()

    def expected(self) -> list[Ended]:
        said = self.trace.prediction
        assert said is not None
        found = []
        for row in range(N):
            run, consulted = self.policy.start(), list[int]()
            while (stage := run.next) is not None:
                consulted.append(stage)
                if self.fails[row, stage]:
                    run.fail()
                else:
                    run.observe(float(self.trace.signal[row, stage]), int(said[row, stage]))
            failed = tuple(stage for stage in consulted if self.fails[row, stage])
            found.append(Ended(run.answer, tuple(consulted), failed, None if run.answer is None else run.cost))
        return found

    def answer(self, row: int, stage: int) -> tuple[int, int]:
        self.calls[row, stage] += 1
        if self.fails[row, stage]:
            raise RuntimeError(f"no luck with {row}")
        return row, stage

    def cascade(self, way: Callable[[Faults, int], dict[str, Any]], **given: Any) -> tt.Cascade[int, Any]:
        said = self.trace.prediction
        assert said is not None

        def stage(v: int) -> tt.Stage[int, Any]:
            return tt.Stage(
                signal=lambda y: float(self.trace.signal[y[0], v]),
                prediction=lambda y: int(said[y[0], v]),
                name=self.policy.stages[v],
                **way(self, v),
                **given,
            )

        return tt.Cascade(self.policy, [stage(v) for v in range(4)])


def plainly(faults: Faults, stage: int) -> dict[str, Any]:
    return {"run": lambda row: faults.answer(row, stage)}


def by_coroutine(faults: Faults, stage: int) -> dict[str, Any]:
    async def run(row: int) -> tuple[int, int]:
        await asyncio.sleep(0.001 * (row % 3))
        return faults.answer(row, stage)

    return {"run": run}


def ended(serve: Callable[[], tt.Served[Any]]) -> Ended:
    try:
        served = serve()
    except tt.NoAnswerError as error:
        failures = error.failures
        return Ended(None, tuple(failures), tuple(v for v, reason in failures.items() if "no luck" in reason), None)
    assert served.output is not None
    assert served.output[1] == served.stage
    assert (served.outcome == "failed") == (served.consulted[-1] in served.failures)
    return Ended(served.stage, served.consulted, tuple(served.failures), served.cost)


def rows_of(table: tt.ServedBatch[Any]) -> list[Ended]:
    return [ended(lambda row=row: table[row]) for row in range(len(table))]  # type: ignore[misc]


async def one_by_one(cascade: tt.Cascade[int, Any], deadline: float | None) -> list[Ended]:
    async def one(row: int) -> Ended:
        try:
            served = await cascade.acall(row, deadline)
        except tt.NoAnswerError as error:
            caught = error

            def fail() -> Any:
                raise caught

            return ended(fail)
        assert served.output is not None
        assert served.output[0] == row
        return ended(lambda: served)

    return await asyncio.gather(*(one(row) for row in range(N)))


DOORS: dict[str, Callable[[Faults, dict[str, Any], float | None], list[Ended]]] = {
    "call": lambda faults, given, deadline: [
        ended(lambda row=row: faults.cascade(plainly, **given)(row, deadline))  # type: ignore[misc]
        for row in range(N)
    ],
    "batch": lambda faults, given, deadline: rows_of(faults.cascade(plainly, **given).batch(range(N), deadline)),
    "acall": lambda faults, given, deadline: virtual_loop.run(
        one_by_one(faults.cascade(by_coroutine, **given), deadline)
    ),
    "abatch": lambda faults, given, deadline: rows_of(
        virtual_loop.run(faults.cascade(by_coroutine, **given).abatch(range(N), deadline))
    ),
    "abatch in workers": lambda faults, given, deadline: rows_of(
        asyncio.run(faults.cascade(plainly, **given).abatch(range(N), deadline))
    ),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", ["models", "exits"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 1.0])
def test_answered_exactly_where_a_stage_that_was_asked_answers(door: str, kind: str, share: float) -> None:
    faults = Faults(kind, share)
    expected = faults.expected()
    assert DOORS[door](faults, {}, None) == expected
    assert set(faults.calls.values()) == {1}
    assert {(row, v) for row, one in enumerate(expected) for v in one.consulted} == set(faults.calls)


@pytest.mark.parametrize("door", DOORS)
def test_limits_that_nothing_comes_near_to_change_nothing(door: str) -> None:
    faults = Faults("models", 0.2)
    given = {"timeout": LONG, "retries": 2, "backoff": 0.0, "breaker": tt.Breaker(10**6)}
    assert DOORS[door](faults, given, LONG) == faults.expected()
    assert set(faults.calls.values()) == {1, 3}
    assert all(count == (3 if faults.fails[at] else 1) for at, count in faults.calls.items())


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
@pytest.mark.parametrize("given", [{}, {"timeout": LONG, "breaker": tt.Breaker(10**6), "threads": 3}])
def test_many_threads_and_an_event_loop_give_the_answers_of_one_thread(given: dict[str, Any]) -> None:
    faults = Faults("models", 0.2)
    expected, cascade = faults.expected(), faults.cascade(plainly, **given)
    found: list[list[Ended]] = []

    def call() -> None:
        found.append([ended(lambda row=row: cascade(row)) for row in range(N)])  # type: ignore[misc]
        found.append(rows_of(cascade.batch(range(N))))

    def loop() -> None:
        found.append(asyncio.run(one_by_one(cascade, None)))

    threads = [threading.Thread(target=target) for target in (*[call] * 8, loop)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(found) == 17
    assert all(one == expected for one in found)
    assert sum(cascade.late.values()) == 0


@pytest.mark.usefixtures("switching")
def test_a_stage_that_dies_under_load_loses_no_request_and_is_left_alone() -> None:
    """The first stage dies when half of the requests are through: later ones are answered without it."""
    is_dead, calls, served = threading.Event(), Counter[bool](), list[tt.Served[Any]]()
    # No call is under way then: what succeeds late would begin the count of failures anew.
    half, counting = threading.Barrier(8, action=is_dead.set), threading.Lock()

    def first(x: int) -> Any:
        with counting:
            calls[is_dead.is_set()] += 1
        if is_dead.is_set():
            raise ConnectionError("refused")
        return 0, x, STOP

    runs: list[Any] = [first, lambda x: (1, x, STOP), lambda x: (2, x, STOP)]
    cascade = tt.Cascade(line(), stages(runs, breaker=[tt.Breaker(5, 1000.0), None, None]))

    def call() -> None:
        for x in range(200):
            if x == 100:
                half.wait(LONG)
            served.append(cascade(x))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert len(served) == 1600
    assert {one.stage for one in served} == {0, 1}
    # Five in a row open it; a thread that had begun a call before may add one.
    assert 5 <= calls[True] <= 5 + 8
    assert sum(bool(one.failures) for one in served) == calls[True]
    assert sum(bool(one.barred) for one in served) == sum(one.stage == 1 for one in served) - calls[True]
    assert cascade.circuits["stage 0"].state == "open"


def test_a_stage_that_hangs_under_load_is_left_alone() -> None:
    """On the event loop: once it is known to be late, nobody waits for it, but one now and then."""
    is_hanging = False

    async def first(x: int) -> Any:
        await asyncio.sleep(1000.0 if is_hanging else 0.01)
        return 0, x, STOP

    async def second(x: int) -> Any:
        return 1, x, STOP

    limits: dict[str, list[Any]] = {"timeout": [0.1, None, None], "breaker": [tt.Breaker(3, 1.0), None, None]}
    cascade = tt.Cascade(line(), stages([first, second, second], **limits))

    async def request(at: float) -> tuple[tt.Served[Any], float]:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(at)
        return await cascade.acall(at), loop.time() - at

    async def main() -> list[tuple[tt.Served[Any], float]]:
        nonlocal is_hanging
        requests = [asyncio.ensure_future(request(0.05 * i)) for i in range(120)]
        await asyncio.sleep(2.001)
        is_hanging = True
        await asyncio.sleep(2.0)
        is_hanging = False
        return await asyncio.gather(*requests)

    found = virtual_loop.run(main())
    late = [one for one, _ in found if one.failures]
    assert {reason for one in late for reason in one.failures.values()} == {"time-out after 0.1 s"}
    assert 3 <= len(late) <= 3 + 2 + 2  # those that open it, those under way then, and one a second that tries
    assert all(one.stage == 1 for one in late)
    assert max(took for _, took in found) <= 0.1 + 1e-9
    assert sum(bool(one.barred) for one, _ in found) >= 30
    assert [one.stage for one, _ in found[-20:]] == [0] * 20
    assert cascade.circuits["stage 0"].state == "closed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_serves_though_calls_were_stuck() -> None:
    gate = threading.Event()

    def stuck(x: Any) -> Any:
        if x == "stuck":
            gate.wait(LONG)
        return 0, x, STOP

    runs: list[Any] = [stuck, lambda x: (1, x, STOP), lambda x: (2, x, STOP)]
    cascade = tt.Cascade(line(), stages(runs, timeout=[0.5, None, None], threads=[1, 1, 1]))
    assert cascade("stuck").failures == {0: "time-out after 0.5 s"}
    child = os.fork()
    if child == 0:
        served = cascade("free", deadline=LONG)
        os._exit(0 if served.stage == 0 and sum(cascade.late.values()) == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cascade.late["stage 0"] == 1
    gate.set()
    end = time.monotonic() + LONG
    while cascade.late["stage 0"]:
        assert time.monotonic() < end
        time.sleep(0.001)
