"""One request in the caller's thread: deadlines, time-outs, retries. Clocks are told, where threads need not wait."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from small_cascades import GO_ON, STOP, K, every, line, stages
from ttamer_fast.serving import synchronous

LONG = 30.0
"""Seconds within which anything has happened."""


class Halt(BaseException):
    """Nothing that a stage fails by."""


class Clock:
    """Time that passes where a test says so."""

    def __init__(self) -> None:
        self.now, self.reads = 100.0, 0

    def read(self) -> float:
        self.reads += 1
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(synchronous, "monotonic", clock.read)
    monkeypatch.setattr(synchronous, "sleep", clock.sleep)
    return clock


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What stuck stages wait for; opened at the end."""
    gate = threading.Event()
    yield gate
    gate.set()


def taking(clock: Clock, stage: int, seconds: float, says: int = GO_ON) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        clock.now += seconds
        return stage, x, says

    return run


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_no_clock_is_read_that_nobody_asks_for(clock: Clock) -> None:
    runs = [taking(clock, v, 1.0) for v in range(K)]
    for given in ({}, {"retries": every(2)}):
        served = tt.Cascade(line(), stages(runs, **given))("x")
        assert (served.seconds, clock.reads) == (None, 0)
    limited: tuple[dict[str, Any], ...] = ({"timeout": every(9.0)}, {"breaker": every(tt.Breaker())})
    for given in limited:
        served = tt.Cascade(line(), stages(runs, threads=every(0), **given))("x")
        np.testing.assert_array_equal(served.seconds, [1.0] * K)
    served = tt.Cascade(line(), stages(runs), timing=True)("x")
    np.testing.assert_array_equal(served.seconds, [1.0] * K)
    stopping = tt.Cascade(line(), stages([taking(clock, 0, 0.5, STOP)] * K, threads=every(0)))("x", deadline=3.0)
    np.testing.assert_array_equal(stopping.seconds, [0.5, np.nan, np.nan])


def test_what_cannot_be_cut_off_is_late_when_it_comes(clock: Clock) -> None:
    runs = [taking(clock, v, seconds) for v, seconds in enumerate((0.5, 2.0, 0.5))]
    served = tt.Cascade(line(), stages(runs, threads=every(0)))("x", deadline=2.0)
    assert (served.outcome, served.consulted, served.stage, served.cost) == ("deadline", (0, 1), 0, 2 / 16)
    assert served.failures == {1: "cut off by the deadline after 2 s"}
    served = tt.Cascade(line(), stages(runs, threads=every(0), timeout=every(1.0), retries=every(3)))("x")
    assert (served.failures, served.consulted) == ({1: "time-out after 1 s"}, (0, 1, 2))


def test_no_stage_is_begun_after_the_deadline(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def moody(x: Any) -> Any:
        clock.now += 0.25
        raise OSError("busy")

    monkeypatch.setattr("ttamer_fast.serving.limits.pause", lambda backoff, retry: 0.5)
    runs = [taking(clock, 0, 0.25), moody, taking(clock, 2, 0.25)]
    cascade = tt.Cascade(line(), stages(runs, threads=every(0), retries=[0, 9, 0]))
    served = cascade("x", deadline=1.0)
    # The wait would end when it is over: the stage fails at once, and the last one is tried.
    assert (served.outcome, served.consulted, served.failures) == ("recalled", (0, 1, 2), {1: "OSError: busy"})
    served = cascade("x", deadline=1.75)
    assert (served.consulted, served.failures) == ((0, 1, 2), {1: "OSError: busy"})
    monkeypatch.setattr(synchronous, "sleep", lambda seconds: clock.sleep(2 * seconds))
    served = cascade("x", deadline=1.25)
    # It has slept for longer than it meant to, and has not tried again.
    assert (served.outcome, served.consulted) == ("deadline", (0, 1))
    assert (served.failures, served.barred) == (
        {1: "OSError: busy"},
        {2: "was not begun before the deadline of 1.25 s"},
    )


def test_retries(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttamer_fast.serving.limits.pause", lambda backoff, retry: backoff * retry)
    begun: list[float] = []

    def moody(x: Any) -> Any:
        begun.append(clock.now)
        clock.now += 1.0
        if len(begun) < 3:
            raise OSError("busy")
        return 0, x, STOP

    served = tt.Cascade(line(), stages([moody] * K, retries=every(2), backoff=every(0.5)))("x")
    assert (served.stage, served.failures) == (0, {})
    assert begun == [100.0, 101.5, 103.5]


def test_a_broken_circuit_bars_its_stage(clock: Clock) -> None:
    calls: list[float] = []

    def broken(x: Any) -> Any:
        calls.append(clock.now)
        raise ConnectionError("refused")

    runs = [broken, taking(clock, 1, 0.0, STOP), taking(clock, 2, 0.0)]
    cascade = tt.Cascade(line(), stages(runs, breaker=[tt.Breaker(2, 10.0), None, None]))
    for _ in range(2):
        assert cascade("x").failures == {0: "ConnectionError: refused"}
    clock.now += 4.0
    served = cascade("x")
    assert (served.barred, served.consulted, served.cost) == (
        {0: "not tried: 2 failures in a row, tried again in 6 s"},
        (1,),
        1 / 16,
    )
    clock.now += 6.0
    assert cascade("x").failures == {0: "ConnectionError: refused"}
    assert cascade("x").failures == {}
    assert calls == [100.0, 100.0, 110.0]
    assert list(cascade.circuits) == ["stage 0"]


def test_a_late_stage_is_left_behind_and_counted(gate: threading.Event) -> None:
    def stuck(x: Any) -> Any:
        gate.wait(LONG)
        return 1, x, STOP

    runs: list[Any] = [lambda x: (0, x, GO_ON), stuck, lambda x: (2, x, GO_ON)]
    timely = tt.Cascade(line(), stages(runs, timeout=[None, 0.25, None]))
    served = timely("x")
    assert (served.consulted, served.failures) == ((0, 1, 2), {1: "time-out after 0.25 s"})
    assert timely.late == {"stage 0": 0, "stage 1": 1, "stage 2": 0}
    due = tt.Cascade(line(), stages(runs))
    served = due("x", deadline=0.02)
    assert (served.outcome, served.stage) == ("deadline", 0)
    assert served.consulted in ((0, 1), (0,))  # on a busy machine the time is over before
    gate.set()
    until(lambda: sum(timely.late.values()) + sum(due.late.values()) == 0)


def test_no_more_calls_are_stuck_than_there_are_threads(gate: threading.Event) -> None:
    begun: list[Any] = []

    def stuck(x: Any) -> Any:
        begun.append(x)
        gate.wait(LONG)
        return 0, x, GO_ON

    runs: list[Any] = [stuck, lambda x: (1, x, GO_ON), lambda x: (2, x, GO_ON)]
    cascade = tt.Cascade(line(), stages(runs, timeout=[0.01, None, None], threads=[2, 1, 1]))
    end = time.monotonic() + LONG
    while len(begun) < 2:
        assert cascade("x").failures == {0: "time-out after 0.01 s"}
        assert time.monotonic() < end
    for _ in range(4):
        assert cascade("y").failures == {0: "time-out after 0.01 s"}
    # Nothing has been begun, so there is nothing to pay for.
    with pytest.raises(tt.NoAnswerError) as caught:
        cascade("y", deadline=0.005)
    assert caught.value.failures == {0: "was not begun before the deadline of 0.005 s"}
    assert (begun, cascade.late["stage 0"]) == (["x", "x"], 2)


def test_workers_have_the_context_of_the_caller() -> None:
    variable = contextvars.ContextVar("variable", default="none")
    seen: list[tuple[str, bool]] = []

    def run(x: Any) -> Any:
        seen.append((variable.get(), threading.current_thread() is threading.main_thread()))
        return 0, x, STOP

    variable.set("the caller's")
    for deadline in (None, LONG):
        tt.Cascade(line(), stages([run] * K))("x", deadline)
    tt.Cascade(line(), stages([run] * K, timeout=every(LONG)))("x")
    tt.Cascade(line(), stages([run] * K, threads=every(0)))("x", deadline=LONG)
    assert seen == [("the caller's", True), ("the caller's", False), ("the caller's", False), ("the caller's", True)]


@pytest.mark.parametrize("error", [Halt, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("part", ["run", "signal"])
def test_what_is_no_exception_passes_through(error: type[BaseException], part: str) -> None:
    def fall(x: Any) -> Any:
        raise error

    run, signal = (fall, float) if part == "run" else (lambda x: x, fall)
    for given in ({}, {"timeout": LONG, "retries": 2, "breaker": tt.Breaker(1)}, {"threads": 0, "timeout": LONG}):
        cascade = tt.Cascade(line(), [tt.Stage(run, signal=signal, **given)] * K)
        for deadline in (None, LONG):
            with pytest.raises(error):
                cascade(0.5, deadline)
            with pytest.raises(error):
                cascade.batch([0.5, 0.5], deadline)
        assert all(circuit.failures == 0 for circuit in cascade.circuits.values())


async def coroutine_function(x: Any) -> Any:
    return 0, x, STOP


def test_coroutine_functions_are_refused_before_anything_runs() -> None:
    ran: list[Any] = []
    runs = [ran.append, coroutine_function, ran.append]
    cascade = tt.Cascade(line(), stages(runs))
    for serve, instead in ((cascade, "acall(x)"), (lambda x, **given: cascade.batch([x], **given), "abatch(xs)")):
        for given in ({}, {"deadline": 1.0}):
            with pytest.raises(tt.ValidationError) as caught:
                serve("x", **given)
            where = "stage 1 ('stage 1')"
            assert str(caught.value) == f"`run` of {where} is a coroutine function: call `await cascade.{instead}`"
    assert ran == []
    batched = stages([lambda x: (0, x, STOP)] * K, batch=every(coroutine_function))
    assert tt.Cascade(line(), batched)("x").stage == 0
    with pytest.raises(tt.ValidationError, match=r"^`batch` of stage 0 .* is a coroutine function"):
        tt.Cascade(line(), batched).batch(["x"])
    single = stages(every(coroutine_function), batch=every(lambda xs: [(0, x, STOP) for x in xs]))
    with pytest.raises(tt.ValidationError, match=r"^`run` of stage 0 .* is a coroutine function"):
        tt.Cascade(line(), single)("x")


@pytest.mark.parametrize(
    "given", [{}, {"timeout": every(LONG), "breaker": every(tt.Breaker(1))}, {"retries": every(1)}]
)
def test_what_turns_out_to_be_awaitable_is_refused(given: dict[str, Any]) -> None:
    message = "must return an output, got an awaitable, coroutine: call `await cascade."
    cascade = tt.Cascade(line(), stages(every(lambda x: coroutine_function(x)), **given))
    for deadline in (None, LONG):
        with pytest.raises(tt.ValidationError) as caught:
            cascade("x", deadline)
        assert str(caught.value) == f"`run` of stage 0 ('stage 0') {message}acall(x)`"
        with pytest.raises(tt.ValidationError) as caught:
            cascade.batch(["x"], deadline)
        assert str(caught.value) == f"`run` of stage 0 ('stage 0') {message}abatch(xs)`"
    assert all(circuit.failures == 0 for circuit in cascade.circuits.values())
    many = stages(every(lambda x: (0, x, STOP)), batch=every(lambda xs: coroutine_function(xs)), **given)
    with pytest.raises(tt.ValidationError) as caught:
        tt.Cascade(line(), many).batch(["x"])
    assert str(caught.value) == f"`batch` of stage 0 ('stage 0') {message}abatch(xs)`"


def _run_async(cascade: tt.Cascade[Any, Any], deadline: float | None) -> Any:
    return asyncio.run(cascade.acall("x", deadline))


@pytest.mark.parametrize("given", [{}, {"timeout": every(LONG)}, {"retries": every(1)}])
def test_a_wrong_signal_is_a_mistake_of_the_program(given: dict[str, Any]) -> None:
    cascade = tt.Cascade(line(), stages(every(lambda x: (0, x, "sure")), **given))
    for deadline in (None, LONG):
        doors: tuple[Callable[[], Any], ...] = (
            partial(cascade, "x", deadline),
            partial(_run_async, cascade, deadline),
        )
        for door in doors:
            with pytest.raises(tt.ValidationError) as caught:
                door()
            assert str(caught.value) == "`signal` of stage 0 ('stage 0') must return a number, got 'sure'"


@pytest.mark.parametrize("deadline", [0, -1.0, float("nan"), "1"])
def test_deadlines_that_are_none(deadline: Any) -> None:
    ran: list[Any] = []
    cascade = tt.Cascade(line(), stages([ran.append] * K))
    doors: list[Callable[[], Any]] = [
        lambda: cascade("x", deadline=deadline),
        lambda: cascade.batch(["x"], deadline=deadline),
        lambda: asyncio.run(cascade.acall("x", deadline=deadline)),
        lambda: asyncio.run(cascade.abatch(["x"], deadline=deadline)),
    ]
    for door in doors:
        with pytest.raises(tt.ValidationError, match=r"^`deadline` must be "):
            door()
    assert ran == []
    with pytest.raises(tt.ValidationError, match="`timing` must be True or False, got 1"):
        tt.Cascade(line(), stages([ran.append] * K), timing=1)  # type: ignore[arg-type]


PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
import ttamer_fast as tt
from small_cascades import K, line, stages

def stuck(x):
    print("begun", flush=True)
    time.sleep(1000)

cascade = tt.Cascade(line(), stages([stuck] * K, timeout=[1000.0] * K, breaker=[tt.Breaker(1)] * K))
try:
    cascade("x", deadline=1000.0)
except KeyboardInterrupt:
    print("interrupted", cascade.late, cascade.circuits["stage 0"])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c_ends_the_wait_for_a_stage() -> None:
    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        time.sleep(0.2)  # so that the caller waits
        child.send_signal(signal.SIGINT)
        told = child.communicate(timeout=LONG)[0]
    late = {"stage 0": 1, "stage 1": 0, "stage 2": 0}
    assert told == f"interrupted {late} Circuit(state='closed', failures=0)\n"
    assert child.returncode == 0
