"""Deadlines, time-outs and retries in a batcher, on a virtual clock: times are exact."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter
from functools import partial
from typing import Any

import pytest

import ttamer_fast as tt
import virtual_loop
from batched_requests import by_engine, consulted, of_length, timed
from simulated_device import CALL, ROW, SimulatedDevice
from ttamer_fast.serving import dispatcher


def test_at_the_deadline_the_best_in_hand_goes_out(trace: tt.Trace, policy: tt.Policy) -> None:
    rows = of_length(policy, trace, 2)[:8]
    first = consulted(policy, trace, rows[0])[0]

    async def before(stage: int, asked: Any) -> None:
        await asyncio.sleep(0.0 if stage == first else 1e6)

    device = SimulatedDevice(trace, before=before)
    cascade = tt.Cascade(policy, device.stages())

    async def main() -> list[Any]:
        async with tt.Batcher(cascade) as batcher:
            return list(await asyncio.gather(*[timed(partial(batcher, row, deadline=0.5)) for row in rows]))

    seen = virtual_loop.observed(main())
    under_way = set(device.cancelled[0][1])
    for row, (served, at) in zip(rows, seen.result, strict=True):
        assert at == 0.5
        second = consulted(policy, trace, row)[1]
        assert (served.stage, served.output, served.outcome) == (first, row * trace.k + first, "deadline")
        if row in under_way:
            assert served.consulted == (first, second)
            assert served.failures == {second: "cut off by the deadline after 0.5 s"}
            assert served.barred == {}
        else:
            assert served.consulted == (first,)
            assert served.failures == {}
            assert served.barred == {second: "was not begun before the deadline of 0.5 s"}
        run = policy.start()
        said = trace.prediction
        assert said is not None
        run.observe(trace.signal[row, first], int(said[row, first]))
        if row in under_way:
            run.stop()
        assert served.cost == run.cost
        assert served.seconds[first] == pytest.approx(CALL + 8 * ROW)
    assert (seen.complaints, seen.tasks) == ([], [])


def test_each_request_has_a_deadline_of_its_own(trace: tt.Trace, policy: tt.Policy) -> None:
    async def for_ever(stage: int, rows: Any) -> None:
        await asyncio.sleep(1e6)

    device = SimulatedDevice(trace, before=for_ever)
    cascade = tt.Cascade(policy, device.stages())
    deadlines = [0.1 * (i + 1) for i in range(12)]

    async def main() -> list[Any]:
        async with tt.Batcher(cascade, max_batch=4, max_pending=8) as batcher:
            calls = [timed(partial(batcher, i, deadline=d)) for i, d in enumerate(deadlines)]
            return list(await asyncio.gather(*calls))

    seen = virtual_loop.observed(main())
    for row, (error, at) in enumerate(seen.result):
        assert at == deadlines[row]
        assert isinstance(error, tt.NoAnswerError)
        (reason,) = error.failures.values()
        assert "deadline" in reason
        assert ("cut off" in reason) == (row in {row for _, rows in device.cancelled for row in rows})
    # The first call is cancelled when the last of its four has left; the next four go at once.
    assert device.cancelled[0][1] == (0, 1, 2, 3)
    assert device.cancelled[1][1] == (4, 5, 6, 7)
    assert (seen.complaints, seen.tasks) == ([], [])


def test_a_deadline_runs_while_a_request_waits_outside(trace: tt.Trace, policy: tt.Policy) -> None:
    async def for_ever(stage: int, rows: Any) -> None:
        if 0 in rows:
            await asyncio.sleep(1.0)

    device = SimulatedDevice(trace, before=for_ever)
    cascade = tt.Cascade(policy, device.stages())

    async def main() -> tuple[Any, float]:
        async with tt.Batcher(cascade, max_pending=1) as batcher:
            first = asyncio.ensure_future(batcher(0))
            await asyncio.sleep(0)
            late = await timed(lambda: batcher(1, deadline=0.25))
            await first
            return late

    error, at = virtual_loop.run(main())
    assert at == 0.25
    assert set(error.failures.values()) == {"was not begun before the deadline of 0.25 s"}
    assert all(1 not in call.rows for call in device.calls)


def test_a_time_out_counts_from_the_beginning_of_the_stage_and_fails_it(trace: tt.Trace, policy: tt.Policy) -> None:
    rows = of_length(policy, trace, 1)[:3]
    first = consulted(policy, trace, rows[0])[0]

    async def stuck(stage: int, asked: Any) -> None:
        if stage == first:
            await asyncio.sleep(1e6)

    device = SimulatedDevice(trace, before=stuck)
    cascade = tt.Cascade(policy, device.stages(timeout=0.3, retries=5))

    async def main() -> list[Any]:
        async with tt.Batcher(cascade, max_batch=2) as batcher:
            return list(await asyncio.gather(*[timed(partial(batcher, row)) for row in rows]))

    seen = virtual_loop.observed(main())
    assert [set(rows) for _, rows in device.cancelled] == [{rows[0], rows[1]}, {rows[2]}]
    for row, (served, at) in zip(rows, seen.result, strict=True):
        answer, asked = by_engine(policy, trace, row, [first])
        assert (served.stage, list(served.consulted)) == (answer, asked)
        assert served.failures == {first: "time-out after 0.3 s"}
        assert served.seconds is not None
        # The third waited in the queue until the first two had lost their time.
        assert served.seconds[first] == pytest.approx(0.3 if row != rows[2] else 0.6 if at > 0.6 else 0.3, abs=0.01)
    assert (seen.complaints, seen.tasks) == ([], [])


def test_failed_calls_are_tried_again_while_the_device_serves_others(trace: tt.Trace, policy: tt.Policy) -> None:
    tries: Counter[tuple[int, int]] = Counter()

    async def moody(stage: int, rows: Any) -> None:
        tries.update((stage, row) for row in rows)
        if any(row % 5 == 0 and tries[stage, row] < 3 for row in rows):
            raise OSError("busy")

    device = SimulatedDevice(trace, before=moody)
    cascade = tt.Cascade(policy, device.stages(retries=40, backoff=0.01))

    async def main() -> list[Any]:
        async with tt.Batcher(cascade, max_batch=4) as batcher:
            return list(await asyncio.gather(*[batcher(row) for row in range(60)]))

    seen = virtual_loop.observed(main())
    for row, served in enumerate(seen.result):
        answer, asked = by_engine(policy, trace, row, [])
        assert (served.stage, list(served.consulted), served.failures) == (answer, asked, {})
    assert min(count for (_, row), count in tries.items() if row % 5 == 0) == 3
    assert any(count > 1 for (_, row), count in tries.items() if row % 5)
    # Between two attempts of a row the device has run calls without it.
    begun = [call.rows for call in device.calls]
    assert len(begun) > max(tries.values())
    assert (seen.complaints, seen.tasks) == ([], [])


@pytest.mark.parametrize("batch", [True, False])
def test_no_more_attempts_than_allowed(trace: tt.Trace, policy: tt.Policy, batch: bool) -> None:
    tries: Counter[tuple[int, int]] = Counter()

    async def broken(stage: int, rows: Any) -> None:
        tries.update((stage, row) for row in rows)
        raise OSError("down")

    device = SimulatedDevice(trace, queues=True, before=broken)
    cascade = tt.Cascade(policy, device.stages(batch=batch, retries=2))

    async def main() -> list[Any]:
        async with tt.Batcher(cascade) as batcher:
            return list(await asyncio.gather(*[timed(partial(batcher, row)) for row in range(10)]))

    seen = virtual_loop.observed(main())
    assert set(tries.values()) == {3}
    for row, (error, at) in enumerate(seen.result):
        assert set(error.failures) == set(by_engine(policy, trace, row, range(trace.k))[1])
        assert set(error.failures.values()) == {"OSError: down"}
        assert at > 0.0
    assert (seen.complaints, seen.tasks) == ([], [])


@pytest.mark.parametrize("limit", ["timeout", "deadline"])
def test_no_attempt_is_waited_for_that_could_not_begin_in_time(
    trace: tt.Trace, policy: tt.Policy, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of the time goes to other stages, and the reason is that of the last attempt."""
    row = of_length(policy, trace, 1)[0]
    first = consulted(policy, trace, row)[0]
    monkeypatch.setattr(dispatcher, "pause", lambda backoff, retry: 0.3)
    begun: list[float] = []

    async def broken(stage: int, rows: Any) -> None:
        if stage == first:
            begun.append(asyncio.get_running_loop().time())
            raise OSError("down")

    device = SimulatedDevice(trace, before=broken)
    timeout = 0.5 if limit == "timeout" else None
    cascade = tt.Cascade(policy, device.stages(retries=9, timeout=timeout))

    async def main() -> tuple[Any, float]:
        async with tt.Batcher(cascade) as batcher:
            return await timed(partial(batcher, row, deadline=0.5 if limit == "deadline" else None))

    seen = virtual_loop.observed(main())
    served, at = seen.result
    assert begun == [0.0, 0.3]
    assert 0.3 < at < 0.4
    assert (served.stage, list(served.consulted)) == by_engine(policy, trace, row, [first])
    assert served.failures == {first: "OSError: down"}
    assert (seen.complaints, seen.tasks) == ([], [])


def test_the_time_of_a_stage_ends_with_it(trace: tt.Trace, policy: tt.Policy) -> None:
    """A stage that was tried twice had a time-out, which says nothing about the stages after it."""
    row = of_length(policy, trace, 2)[0]
    first = consulted(policy, trace, row)[0]
    tries: Counter[int] = Counter()

    async def before(stage: int, rows: Any) -> None:
        tries[stage] += 1
        if stage == first and tries[stage] == 1:
            raise OSError("busy")
        await asyncio.sleep(0.0 if stage == first else 2.0)

    device = SimulatedDevice(trace, before=before)
    stages = device.stages()
    stages[first] = device.stages(timeout=0.5, retries=1, backoff=0.01)[first]

    async def main() -> Any:
        async with tt.Batcher(tt.Cascade(policy, stages)) as batcher:
            return await batcher(row)

    seen = virtual_loop.observed(main())
    assert (seen.result.stage, list(seen.result.consulted)) == by_engine(policy, trace, row, [])
    assert seen.result.failures == {}
    assert tries[first] == 2
    assert (seen.complaints, seen.tasks) == ([], [])


def test_who_leaves_between_two_attempts_is_not_tried_again(
    trace: tt.Trace, policy: tt.Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "pause", lambda backoff, retry: 1.0)
    tries: Counter[int] = Counter()

    async def broken(stage: int, rows: Any) -> None:
        tries[stage] += 1
        raise OSError("down")

    cascade = tt.Cascade(policy, SimulatedDevice(trace, before=broken).stages(retries=3))

    async def main() -> None:
        async with tt.Batcher(cascade) as batcher:
            task = asyncio.ensure_future(batcher(0))
            await asyncio.sleep(0.5)
            assert (batcher.pending, sum(tries.values())) == (1, 1)
            task.cancel()
            await asyncio.sleep(5.0)
            assert (batcher.pending, sum(tries.values())) == (0, 1)

    seen = virtual_loop.observed(main())
    assert (seen.complaints, seen.tasks) == ([], [])


def test_time_runs_out_while_a_repeated_request_waits_behind_others(trace: tt.Trace, policy: tt.Policy) -> None:
    rows = of_length(policy, trace, 1)[:2]
    first = consulted(policy, trace, rows[0])[0]
    calls: list[tuple[int, ...]] = []

    async def before(stage: int, asked: Any) -> None:
        calls.append(asked)
        if stage == first and rows[0] in asked:
            raise OSError("down")
        if rows[1] in asked and stage == first:
            await asyncio.sleep(10.0)

    device = SimulatedDevice(trace, before=before)
    stages = device.stages(retries=1, backoff=0.0)
    stages[first] = device.stages(retries=1, backoff=0.0, timeout=0.5)[first]
    other = SimulatedDevice(trace)
    cascade = tt.Cascade(policy, [stages[v] if v == first else other.stages()[v] for v in range(trace.k)])

    async def main() -> list[Any]:
        async with tt.Batcher(cascade, max_batch=1, devices=[v == first for v in range(trace.k)]) as batcher:
            one = asyncio.ensure_future(timed(lambda: batcher(rows[0])))
            two = asyncio.ensure_future(timed(lambda: batcher(rows[1])))
            return list(await asyncio.gather(one, two))

    (one, _), (two, _) = virtual_loop.run(main())
    assert calls[:2] == [(rows[0],), (rows[1],)]
    assert one.failures[first] == "OSError: down"
    assert two.failures[first] == "time-out after 0.5 s"
    assert (one.stage, list(one.consulted)) == by_engine(policy, trace, rows[0], [first])
    assert one.seconds[first] == pytest.approx(0.5, abs=1e-6)


def test_none_fails_its_row_alone(trace: tt.Trace, policy: tt.Policy) -> None:
    tries: Counter[int] = Counter()
    said = trace.prediction
    assert said is not None

    def stage(v: int) -> tt.Stage[int, Any]:
        async def batch(rows: Any) -> list[int | None]:
            tries.update(rows)
            return [None if row == 3 else row * trace.k + v for row in rows]

        async def single(row: int) -> int:
            raise AssertionError("`batch` is there")

        return tt.Stage(
            single,
            batch=batch,
            signal=lambda y: trace.signal[[one // trace.k for one in y], v],
            prediction=lambda y: said[[one // trace.k for one in y], v],
            retries=3,
        )

    async def main() -> list[Any]:
        async with tt.Batcher(tt.Cascade(policy, [stage(v) for v in range(trace.k)])) as batcher:
            return list(await asyncio.gather(*[timed(partial(batcher, row)) for row in range(8)]))

    for row, (served, _) in enumerate(virtual_loop.run(main())):
        if row == 3:
            assert set(served.failures.values()) == {"returned None"}
            assert tries[3] == len(served.failures) == len(by_engine(policy, trace, 3, range(trace.k))[1])
        else:
            assert (served.stage, list(served.consulted)) == by_engine(policy, trace, row, [])


def test_times_are_told_only_where_something_asks_for_them(trace: tt.Trace, policy: tt.Policy) -> None:
    async def served(timing: bool, deadline: float | None, **limits: Any) -> Any:
        cascade = tt.Cascade(policy, SimulatedDevice(trace).stages(**limits), timing=timing)
        async with tt.Batcher(cascade) as batcher:
            await asyncio.gather(*[batcher(row) for row in range(9)])
            return await batcher(9, deadline=deadline)

    assert virtual_loop.run(served(False, None)).seconds is None
    for timing, deadline, limits in ((True, None, {}), (False, 9.0, {}), (False, None, {"timeout": 9.0})):
        one = virtual_loop.run(served(timing, deadline, **limits))
        assert [stage for stage in range(trace.k) if not math.isnan(one.seconds[stage])] == sorted(one.consulted)
        assert one.seconds[one.consulted[0]] == pytest.approx(CALL + ROW)


def test_a_stuck_thread_holds_nobody_up(trace: tt.Trace, policy: tt.Policy) -> None:
    """In real time: the deadline is kept by a thread that is left behind, and leaving does not wait for it."""
    release = threading.Event()

    def stuck(rows: Any) -> Any:
        release.wait(30.0)
        return [0.5] * len(rows)

    stages: list[Any] = [
        tt.Stage(lambda row: 0.5, batch=stuck, signal=lambda y: y, name=name) for name in policy.stages
    ]
    cascade = tt.Cascade(policy, stages)

    async def main() -> list[Any]:
        async with tt.Batcher(cascade) as batcher:
            return list(await asyncio.gather(*[batcher(row, deadline=0.1) for row in range(3)], return_exceptions=True))

    try:
        results = asyncio.run(main())
        assert all(isinstance(one, tt.NoAnswerError) for one in results)
        assert sum(cascade.late.values()) == 1
    finally:
        release.set()


def test_single_calls_of_a_plain_function_are_begun_as_it_has_threads(policy: tt.Policy) -> None:
    """In real time: of five requests two are cut off, and three have not been begun."""
    release = threading.Event()

    def stuck(row: int) -> float:
        release.wait(30.0)
        return 0.5

    stages: list[Any] = [tt.Stage(stuck, signal=float, threads=2) for _ in policy.stages]

    async def main() -> list[Any]:
        async with tt.Batcher(tt.Cascade(policy, stages)) as batcher:
            calls = [batcher(row, deadline=0.1) for row in range(5)]
            return list(await asyncio.gather(*calls, return_exceptions=True))

    try:
        reasons = [reason for one in asyncio.run(main()) for reason in one.failures.values()]
    finally:
        release.set()
    assert sum("cut off" in reason for reason in reasons) == 2
    assert sum("not begun" in reason for reason in reasons) == 3
