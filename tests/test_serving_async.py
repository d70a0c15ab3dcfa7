"""One request on an event loop: deadlines, time-outs, retries, cancellation. The clock is virtual."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
import virtual_loop
from small_cascades import GO_ON, STOP, K, every, line, stages

Run = Callable[[Any], Awaitable[Any]]


class Halt(BaseException):
    """Nothing that a stage fails by."""


def sleeper(stage: int, seconds: float, says: int = GO_ON, ended: list[Any] | None = None) -> Run:
    """A stage that takes so long, and writes down where it is cancelled."""

    async def run(x: Any) -> Any:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if ended is not None:
                ended.append((stage, asyncio.get_running_loop().time()))
            raise
        return stage, x, says

    return run


async def timed(awaitable: Awaitable[Any]) -> tuple[Any, float]:
    """A Served, or the NoAnswerError; and when it came."""
    result: Any
    try:
        result = await awaitable
    except tt.NoAnswerError as error:
        result = error
    return result, asyncio.get_running_loop().time()


def alone(cascade: tt.Cascade[Any, Any], deadline: float | None = None) -> tuple[Any, float]:
    """What one request comes to, and when; nothing is left behind."""
    seen = virtual_loop.observed(timed(cascade.acall("x", deadline)))
    assert (seen.complaints, seen.tasks) == ([], [])
    result: tuple[Any, float] = seen.result
    return result


def _instantly(stage: int, says: int, x: Any) -> Any:
    return stage, x, says


def of(*seconds: float, says: int = GO_ON, **given: Any) -> tt.Cascade[Any, Any]:
    runs = [sleeper(stage, one, says) for stage, one in enumerate(seconds)]
    return tt.Cascade(line(), stages(runs, **given))


def test_without_limits_as_by_a_plain_call() -> None:
    for says in (GO_ON, STOP):
        plain = tt.Cascade(line(), stages([partial(_instantly, v, says) for v in range(K)]))("x")
        served, when = alone(of(1.0, 2.0, 3.0, says=says))
        assert (served.output, served.consulted, served.cost) == (plain.output, plain.consulted, plain.cost)
        assert (served.outcome, served.seconds) == (plain.outcome, None)
        assert when == (6.0 if says == GO_ON else 1.0)


def test_the_best_in_hand_goes_out_at_the_deadline() -> None:
    cancelled: list[Any] = []
    runs = [sleeper(v, seconds, ended=cancelled) for v, seconds in enumerate((0.25, 0.5, 9.0))]
    served, when = alone(tt.Cascade(line(), stages(runs)), 1.0)
    assert (when, cancelled) == (1.0, [(2, 1.0)])
    assert (served.outcome, served.consulted, served.cost) == ("deadline", (0, 1, 2), 3 / 16)
    assert served.failures == {2: "cut off by the deadline after 1 s"}
    assert served.output[:2] in ((0, "x"), (1, "x"))
    np.testing.assert_array_equal(served.seconds, [0.25, 0.5, 0.25])


def test_a_stage_that_is_not_begun_is_not_paid_for() -> None:
    async def blocks(x: Any) -> Any:
        virtual_loop.spend(1.5)
        return 1, x, GO_ON

    cascade = tt.Cascade(line(), stages([sleeper(0, 0.5), blocks, sleeper(2, 0.5)]))
    served, when = alone(cascade, 1.0)
    assert (when, served.outcome, served.consulted) == (2.0, "deadline", (0, 1))
    assert served.failures == {1: "cut off by the deadline after 1 s"}
    in_time, _ = alone(cascade, 2.5)
    assert (in_time.outcome, in_time.consulted) == ("deadline", (0, 1, 2))


def test_no_answer_at_the_deadline() -> None:
    error, when = alone(of(9.0, 0.0, 0.0), 0.125)
    assert isinstance(error, tt.NoAnswerError)
    assert (when, error.failures) == (0.125, {0: "cut off by the deadline after 0.125 s"})
    served, when = alone(tt.Cascade(line(0.5), stages([sleeper(v, 9.0) for v in range(K)])), 0.125)
    assert (when, served.output, served.outcome, served.stage) == (0.125, None, "deadline", None)


def test_what_comes_at_the_deadline_is_late() -> None:
    served, when = alone(of(0.5, 0.5, 0.0), 1.0)
    assert (when, served.outcome, served.consulted) == (1.0, "deadline", (0, 1))


@pytest.mark.parametrize("after", ["answers", "raises", "gives None"])
def test_a_coroutine_that_goes_on_when_it_is_cancelled_is_late(after: str) -> None:
    async def stubborn(x: Any) -> Any:
        try:
            await asyncio.sleep(9.0)
        except asyncio.CancelledError:
            await asyncio.sleep(0.5)
        if after == "raises":
            raise OSError("interrupted")
        return None if after == "gives None" else (1, x, STOP)

    breaker = tt.Breaker(failures=1)
    cascade = tt.Cascade(line(), stages([sleeper(0, 0.25), stubborn, sleeper(2, 0.0)], breaker=[None, breaker, None]))
    served, when = alone(cascade, 1.0)
    assert (when, served.outcome, served.consulted) == (1.5, "deadline", (0, 1))
    assert served.failures == {1: "cut off by the deadline after 1 s"}
    assert cascade.circuits["stage 1"].failures == 0
    late = stages([sleeper(0, 0.25), stubborn, sleeper(2, 0.0)], timeout=[None, 0.5, None], retries=[0, 2, 0])
    served, when = alone(tt.Cascade(line(), late), 9.0)
    assert (when, served.consulted) == (1.25, (0, 1, 2))
    assert served.failures == {1: "time-out after 0.5 s"}


@pytest.mark.parametrize("given", [{}, {"timeout": every(0.5)}])
def test_what_is_no_exception_comes_out_though_the_deadline_is_over(given: dict[str, Any]) -> None:
    async def falls(x: Any) -> Any:
        try:
            await asyncio.sleep(9.0)
        finally:
            raise Halt

    cascade = tt.Cascade(line(), stages([falls] * K, **given))
    with pytest.raises(Halt):
        virtual_loop.run(cascade.acall("x", deadline=1.0))


@pytest.mark.parametrize("error", [Halt, asyncio.CancelledError, GeneratorExit])
def test_what_is_no_exception_passes_through(error: type[BaseException]) -> None:
    async def falls(x: Any) -> Any:
        raise error

    def falls_in_worker(x: Any) -> Any:
        raise error

    for run in (falls, falls_in_worker):
        for limited in ({}, {"timeout": every(0.5), "breaker": every(tt.Breaker(1))}):
            for deadline in (None, 1.0):
                cascade = tt.Cascade(line(), stages([run] * K, **limited))
                with pytest.raises(error):
                    virtual_loop.run(cascade.acall("x", deadline))
                assert all(circuit.failures == 0 for circuit in cascade.circuits.values())


def test_a_time_out_fails_the_stage_and_the_request_goes_on() -> None:
    cancelled: list[Any] = []
    runs = [sleeper(0, 9.0, ended=cancelled), sleeper(1, 0.25), sleeper(2, 9.0, ended=cancelled)]
    cascade = tt.Cascade(line(), stages(runs, timeout=[0.5, 0.5, 1.0], retries=every(3)))
    served, when = alone(cascade)
    assert (when, cancelled) == (1.75, [(0, 0.5), (2, 1.75)])
    assert (served.stage, served.outcome) == (1, "failed")
    assert served.failures == {0: "time-out after 0.5 s", 2: "time-out after 1 s"}
    np.testing.assert_array_equal(served.seconds, [0.5, 0.25, 1.0])


@pytest.mark.parametrize(
    ("timeout", "deadline", "how"), [(1.0, 0.5, "cut off"), (0.5, 0.5, "cut off"), (0.25, 0.5, "time-out")]
)
def test_whichever_comes_first(timeout: float, deadline: float, how: str) -> None:
    served, when = alone(of(9.0, 0.0625, 9.0, timeout=every(timeout)), deadline)
    if how == "cut off":
        assert isinstance(served, tt.NoAnswerError)
        assert (when, list(served.failures)) == (0.5, [0])
    else:
        assert (when, served.outcome) == (0.5, "deadline")
        assert served.failures == {0: "time-out after 0.25 s", 2: "cut off by the deadline after 0.5 s"}


class Moody:
    """Raises so many times, then answers; each attempt takes a while."""

    def __init__(self, raises: int, seconds: float = 0.0) -> None:
        self.left, self.seconds, self.begun = raises, seconds, list[float]()

    async def __call__(self, x: Any) -> Any:
        self.begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        self.left -= 1
        if self.left >= 0:
            raise OSError(f"busy, {self.left} left")
        return 0, x, STOP


def test_retries_wait_a_while_and_stop_when_one_answers() -> None:
    moody = Moody(3, seconds=1.0)
    served, when = alone(tt.Cascade(line(), stages([moody] * K, retries=every(5), backoff=every(0.25))))
    assert (served.output, served.failures) == ((0, "x", STOP), {})
    waits = np.diff(moody.begun) - 1.0
    assert len(waits) == 3
    assert all(0.0 <= wait <= most for wait, most in zip(waits, (0.25, 0.5, 1.0), strict=True))
    assert when == moody.begun[-1] + 1.0


def test_retries_that_are_used_up_or_have_no_time() -> None:
    moody = Moody(99)
    error, _ = alone(tt.Cascade(line(), stages([moody] * K, retries=every(2))))
    assert isinstance(error, tt.NoAnswerError)
    assert len(moody.begun) == 3 * K
    assert error.failures[0] == "OSError: busy, 96 left"
    for deadline, timeout in ((1.5, None), (None, 1.5)):
        late = Moody(99, seconds=1.0)
        limited = {"retries": every(9), "backoff": every(0.0), "timeout": every(timeout)}
        runs: list[Run] = [late, sleeper(1, 0.25), sleeper(2, 0.125)]
        served, when = alone(tt.Cascade(line(), stages(runs, **limited)), deadline)
        # Without a wait the second attempt begins at once, and does not end in time.
        assert len(late.begun) == 2
        if deadline is None:
            assert (when, served.failures) == (1.875, {0: "time-out after 1.5 s"})
        else:
            assert (when, served.failures) == (1.5, {0: "cut off by the deadline after 1.5 s"})


def test_an_attempt_that_could_not_begin_in_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttamer_fast.serving.limits.pause", lambda backoff, retry: 0.75)
    late = Moody(99, seconds=0.5)
    served, when = alone(
        tt.Cascade(line(), stages([late, *[sleeper(v, 0.125) for v in (1, 2)]], retries=[9, 0, 0])), 1.0
    )
    assert (when, served.outcome, served.failures) == (0.75, "recalled", {0: "OSError: busy, 98 left"})


def test_none_is_not_asked_for_again() -> None:
    asked: list[Any] = []

    async def nothing(x: Any) -> None:
        asked.append(x)

    error, _ = alone(tt.Cascade(line(), stages([nothing] * K, retries=every(5))))
    assert isinstance(error, tt.NoAnswerError)
    assert len(asked) == K


def cancelled_at(cascade: tt.Cascade[Any, Any], when: float, deadline: float | None = None) -> tuple[bool, float]:
    """Whether the caller's cancellation comes out, and when."""

    async def main() -> tuple[bool, float]:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(cascade.acall("x", deadline))
        loop.call_at(when, task.cancel)
        await asyncio.wait([task])
        return task.cancelled(), loop.time()

    seen = virtual_loop.observed(main())
    assert (seen.complaints, seen.tasks) == ([], [])
    result: tuple[bool, float] = seen.result
    return result


@pytest.mark.parametrize("deadline", [None, 9.0])
@pytest.mark.parametrize(
    "given", [{}, {"timeout": every(5.0)}, {"retries": every(1)}, {"breaker": every(tt.Breaker(1))}]
)
def test_cancelling_the_caller_cancels_the_stage(given: dict[str, Any], deadline: float | None) -> None:
    ended: list[Any] = []
    runs = [sleeper(0, 1.0), sleeper(1, 9.0, ended=ended), sleeper(2, 0.0)]
    cascade = tt.Cascade(line(), stages(runs, **given))
    assert cancelled_at(cascade, 1.5, deadline) == (True, 1.5)
    assert ended == [(1, 1.5)]
    assert all(circuit.failures == 0 for circuit in cascade.circuits.values())


def test_cancelling_while_it_waits_for_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttamer_fast.serving.limits.pause", lambda backoff, retry: 0.75)
    moody = Moody(99)
    assert cancelled_at(tt.Cascade(line(), stages([moody] * K, retries=every(9))), 1.0) == (True, 1.0)
    assert moody.begun == [0.0, 0.75]


@pytest.mark.parametrize(("timeout", "deadline"), [(None, 1.0), (1.0, None), (1.0, 1.0), (0.5, 1.0)])
def test_a_caller_that_is_cancelled_when_the_time_is_over_too(timeout: float | None, deadline: float | None) -> None:
    cascade = of(9.0, 9.0, 9.0, timeout=every(timeout))
    assert cancelled_at(cascade, 1.0, deadline) == (True, 1.0)


def test_the_caller_s_own_time_limit() -> None:
    async def main() -> tuple[str, int]:
        cascade, task = of(0.5, 9.0, 9.0), asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(1.0):
                await cascade.acall("x", deadline=5.0)
        except TimeoutError:
            pass
        async with asyncio.timeout(5.0):
            served = await cascade.acall("x", deadline=1.0)
        return served.outcome, task.cancelling()

    assert virtual_loop.run(main()) == ("deadline", 0)


def test_a_stage_that_gives_up_its_own_time_limit_fails() -> None:
    async def impatient(x: Any) -> Any:
        async with asyncio.timeout(0.25):
            await asyncio.sleep(9.0)

    served, when = alone(tt.Cascade(line(), stages([impatient, sleeper(1, 0.25), sleeper(2, 0.25)])), 5.0)
    assert (when, served.failures) == (0.75, {0: "TimeoutError"})


def test_a_broken_circuit_bars_its_stage() -> None:
    calls: list[float] = []
    is_broken = True

    async def broken(x: Any) -> Any:
        calls.append(asyncio.get_running_loop().time())
        if is_broken:
            raise ConnectionError("refused")
        await asyncio.sleep(1.0)
        return 0, x, STOP

    runs = [broken, sleeper(1, 0.0, STOP), sleeper(2, 0.0)]
    cascade = tt.Cascade(line(), stages(runs, breaker=[tt.Breaker(2, 10.0), None, None]))

    async def main() -> None:
        nonlocal is_broken
        for _ in range(2):
            served = await cascade.acall("x")
            assert (served.stage, served.failures, served.cost) == (1, {0: "ConnectionError: refused"}, 2 / 16)
        await asyncio.sleep(4.0)
        barred = await cascade.acall("x")
        assert (barred.stage, barred.failures, barred.consulted, barred.cost) == (1, {}, (1,), 1 / 16)
        assert barred.barred == {0: "not tried: 2 failures in a row, tried again in 6 s"}
        assert barred.outcome == "stopped"
        await asyncio.sleep(6.0)
        assert (await cascade.acall("x")).failures == {0: "ConnectionError: refused"}
        is_broken = False
        await asyncio.sleep(10.0)
        one = asyncio.ensure_future(cascade.acall("x"))
        await asyncio.sleep(0.5)
        other = await cascade.acall("x")
        assert other.barred == {0: "not tried: 3 failures in a row, another request is trying it"}
        assert cascade.circuits["stage 0"].state == "half-open"
        assert (await one).stage == 0
        assert (await cascade.acall("x")).stage == 0

    virtual_loop.run(main())
    assert calls == [0.0, 0.0, 10.0, 20.0, 21.0]
    assert cascade.circuits["stage 0"].state == "closed"


def test_the_call_that_decides_gives_its_place_back() -> None:
    """Where it is cancelled or cut off, another one may try."""
    breaker = tt.Breaker(1, 10.0)

    async def main() -> None:
        for limit in ("cancel", "deadline"):
            is_broken = True

            async def run(x: Any) -> Any:
                if is_broken:  # noqa: B023
                    raise OSError
                await asyncio.sleep(5.0)
                return 0, x, STOP

            cascade = tt.Cascade(line(), stages([run, sleeper(1, 0.0), sleeper(2, 0.0)], breaker=[breaker, None, None]))
            circuit = cascade.circuits["stage 0"]
            await cascade.acall("x")
            is_broken = False
            await asyncio.sleep(10.0)
            if limit == "cancel":
                task = asyncio.ensure_future(cascade.acall("x"))
                await asyncio.sleep(1.0)
                assert circuit.state == "half-open"
                task.cancel()
                await asyncio.wait([task])
            else:
                with pytest.raises(tt.NoAnswerError):
                    await cascade.acall("x", deadline=1.0)
            assert circuit.state == "open"
            assert (await cascade.acall("x")).stage == 0
            assert circuit.state == "closed"

    virtual_loop.run(main())


def test_every_stage_barred() -> None:
    async def broken(x: Any) -> Any:
        raise OSError("gone")

    cascade = tt.Cascade(line(), stages([broken] * K, breaker=every(tt.Breaker(1))))

    async def main() -> dict[int, str]:
        for _ in range(2):
            with pytest.raises(tt.NoAnswerError) as caught:
                await cascade.acall("x")
        return caught.value.failures

    reason = "not tried: 1 failure in a row, tried again in 10 s"
    assert virtual_loop.run(main()) == dict.fromkeys(range(K), reason)


@given(
    st.lists(st.integers(1, 64), min_size=K, max_size=K),
    st.lists(st.sampled_from(["answers", "raises", "None"]), min_size=K, max_size=K),
    st.lists(st.one_of(st.none(), st.integers(1, 64)), min_size=K, max_size=K),
    st.one_of(st.none(), st.integers(1, 128)),
)
def test_the_times_add_up(
    seconds: list[int], ends: list[str], timeouts: list[int | None], deadline: int | None
) -> None:
    """Against a table of when each stage begins and ends."""

    def stage(v: int) -> Run:
        async def run(x: Any) -> Any:
            await asyncio.sleep(seconds[v])
            if ends[v] == "raises":
                raise ValueError
            return None if ends[v] == "None" else (v, x, GO_ON)

        return run

    cascade = tt.Cascade(line(), stages([stage(v) for v in range(K)], timeout=timeouts))
    result, when = virtual_loop.run(timed(cascade.acall("x", deadline)))
    end, now, consulted, answered, is_cut = (
        math.inf if deadline is None else deadline,
        0.0,
        list[int](),
        list[int](),
        False,
    )
    for v in range(K):
        consulted.append(v)
        own = timeouts[v] or math.inf
        now += min(seconds[v], own)
        if now >= end:
            now, is_cut = end, True
            break
        if ends[v] == "answers" and seconds[v] < own:
            answered.append(v)
    assert when == now
    if not answered:
        assert isinstance(result, tt.NoAnswerError)
        assert list(result.failures) == consulted
        return
    assert result.consulted == tuple(consulted)
    assert (result.outcome == "deadline") == is_cut
    assert result.stage in answered
    assert sorted(result.failures) == [v for v in consulted if v not in answered]
