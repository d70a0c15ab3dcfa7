"""Threads that do the calls of a stage."""

from __future__ import annotations

import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from ttamer_fast.serving import workers as module
from ttamer_fast.serving.workers import Workers, when_abandoned

LONG = 30.0
"""Seconds within which anything has happened."""


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def threads_of(name: str) -> int:
    return sum(thread.name == f"ttamer {name}" for thread in threading.enumerate())


def test_results_errors_and_context() -> None:
    pool = Workers("results", 2)
    variable = contextvars.ContextVar("variable", default="outside")
    variable.set("the caller's")

    def work() -> str:
        seen = variable.get()
        variable.set("the worker's")
        return seen

    job = pool.submit(work)
    assert job.wait(LONG)
    assert (job.result(), variable.get()) == ("the caller's", "the caller's")

    class Halt(BaseException):
        pass

    for error in (ValueError("x"), KeyboardInterrupt(), SystemExit(3), Halt()):

        def fail(error: BaseException = error) -> None:
            raise error

        failing = pool.submit(fail)
        assert failing.wait(LONG)
        with pytest.raises(type(error)) as caught:
            failing.result()
        assert caught.value is error


def test_as_many_threads_as_needed_and_no_more() -> None:
    pool, gate, begun = Workers("bounded", 3), threading.Event(), list[int]()

    def work(i: int) -> int:
        begun.append(i)
        gate.wait(LONG)
        return i

    first = pool.submit(lambda: work(0))
    until(lambda: begun == [0])
    assert threads_of("bounded") == 1
    jobs = [first, *(pool.submit(lambda i=i: work(i)) for i in range(1, 7))]  # type: ignore[misc]
    until(lambda: len(begun) == 3)
    assert threads_of("bounded") == 3
    gate.set()
    assert all(job.wait(LONG) for job in jobs)
    assert [job.result() for job in jobs] == list(range(7))
    assert threads_of("bounded") == 3
    gate.clear()
    again = pool.submit(lambda: work(7))
    until(lambda: 7 in begun)
    gate.set()
    assert again.wait(LONG)
    assert threads_of("bounded") <= 3


def test_threads_end_when_they_have_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", 0.01)
    pool = Workers("idle", 4)
    for _ in range(3):
        job = pool.submit(lambda: "done")
        assert job.wait(LONG)
        until(lambda: threads_of("idle") == 0)
        assert job.result() == "done"


def test_abandoned_work_is_dropped_or_counted() -> None:
    pool, gate, done = Workers("late", 1), threading.Event(), list[str]()

    def stuck() -> None:
        gate.wait(LONG)
        done.append("stuck")

    stuck_job = pool.submit(stuck)
    until(lambda: stuck_job.begun)
    dropped, kept = pool.submit(lambda: done.append("dropped")), pool.submit(lambda: done.append("kept"))
    assert not stuck_job.wait(0.01)
    assert (stuck_job.abandon(), dropped.abandon(), pool.late) == (True, False, 1)
    assert (stuck_job.abandon(), dropped.abandon(), pool.late) == (True, False, 1)
    gate.set()
    assert kept.wait(LONG)
    assert (done, pool.late) == (["stuck", "kept"], 0)
    assert (kept.abandon(), pool.late) == (True, 0)


def test_nobody_is_told_of_abandoned_work() -> None:
    pool, gate, told = Workers("told", 1), threading.Event(), list[str]()
    late = pool.submit(lambda: gate.wait(LONG), lambda: told.append("late"))
    until(lambda: late.begun)
    late.abandon()
    gate.set()
    heard = pool.submit(lambda: None, lambda: told.append("heard"))
    assert heard.wait(LONG)
    until(lambda: told == ["heard"])


def test_work_is_told_that_nobody_waits_for_it() -> None:
    pool = Workers("told", 1)
    told, inside, go_on = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with when_abandoned(told.set):
            inside.set()
            assert told.wait(LONG)

    job = pool.submit(work)
    assert inside.wait(LONG)
    assert not told.is_set()
    assert job.abandon()
    assert job.wait(LONG)

    def late() -> list[str]:
        heard: list[str] = []
        inside.set()
        assert go_on.wait(LONG)
        with when_abandoned(lambda: heard.append("at once")):
            return [*heard, "begun"]

    inside.clear()
    other = pool.submit(late)
    assert inside.wait(LONG)
    assert other.abandon()
    go_on.set()
    assert other.wait(LONG)
    assert other.result() == ["at once", "begun"]


def test_work_is_told_once_and_only_while_it_can_be_ended() -> None:
    pool = Workers("told once", 1)
    heard: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def work() -> None:
        with when_abandoned(lambda: heard.append("first")):
            pass
        with when_abandoned(lambda: heard.append("second")):
            inside.set()
            assert go_on.wait(LONG)
        with pytest.raises(ValueError, match="raised"), when_abandoned(lambda: heard.append("third")):
            raise ValueError("raised inside")

    for _ in range(2):
        inside.clear()
        go_on.clear()
        heard.clear()
        job = pool.submit(work)
        assert inside.wait(LONG)
        assert job.abandon()
        assert job.abandon()
        assert heard == ["second"]
        go_on.set()
        assert job.wait(LONG)
        job.result()
        assert heard == ["second", "third"]  # abandoned before it began: at once
    job = pool.submit(lambda: None)
    assert job.wait(LONG)
    assert job.abandon()
    with when_abandoned(lambda: heard.append("outside")):
        pass
    assert heard == ["second", "third"]


def test_nothing_is_kept_of_work_that_has_ended() -> None:
    class Input:
        def read(self) -> None:
            raise ValueError(self)

    pool, given = Workers("kept", 1), Input()
    gone = weakref.ref(given)
    job = pool.submit(given.read)
    assert job.wait(LONG)
    with pytest.raises(ValueError):
        job.result()
    del given, job
    gc.collect()
    assert gone() is None


def test_a_system_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, gate = Workers("none", 2), threading.Event()

    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            pool.submit(lambda: None)
    busy = pool.submit(lambda: gate.wait(LONG))
    until(lambda: busy.begun)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        queued = pool.submit(lambda: "by the other one")
    gate.set()
    assert queued.wait(LONG)
    assert queued.result() == "by the other one"


def test_many_callers() -> None:
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        pool, found = Workers("many", 4), list[bool]()

        def call(i: int) -> None:
            for j in range(100):
                job = pool.submit(lambda j=j: (i, j))  # type: ignore[misc]
                if j % 7 == 0:
                    job.abandon()
                else:
                    found.append(job.wait(LONG) and job.result() == (i, j))

        callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert len(found) == 8 * 85
        assert all(found)
        until(lambda: pool.late == 0)
    finally:
        sys.setswitchinterval(switching)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_workers_of_its_own() -> None:
    pool, gate = Workers("forked", 1), threading.Event()
    job = pool.submit(lambda: gate.wait(LONG))
    until(lambda: job.begun)
    job.abandon()
    with pool._pool.lock:  # as another thread may hold it
        child = os.fork()
        if child == 0:
            own = pool.submit(lambda: 7)
            os._exit(0 if own.wait(LONG) and own.result() == 7 and pool.late == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.late == 1
    gate.set()


STUCK = """
import signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from ttamer_fast.serving.workers import Workers, when_abandoned
job = Workers("stuck", 1).submit(lambda: time.sleep(1000))
while not job.begun: time.sleep(0.001)
print("begun", flush=True)
"""


def test_a_stuck_worker_does_not_keep_the_interpreter_from_ending() -> None:
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("begun\n", "")


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_waiting_is_interrupted_at_once() -> None:
    program = STUCK + "try: job.wait(1000)\nexcept KeyboardInterrupt: print('interrupted', job.abandon())\n"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        time.sleep(0.2)  # so that it waits
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=60)[0] == "interrupted True\n"
    assert child.returncode == 0
