"""A batcher is entered once, in one event loop; it bounds what is inside, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import pytest

import ttamer_fast as tt
import virtual_loop
from simulated_device import SimulatedDevice


@pytest.fixture
def device(trace: tt.Trace) -> SimulatedDevice:
    return SimulatedDevice(trace)


@pytest.fixture
def cascade(policy: tt.Policy, device: SimulatedDevice) -> tt.Cascade[int, int]:
    return tt.Cascade(policy, device.stages())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "`max_batch` must be an integer of at least 1, got 0"),
        ({"max_batch": 2.0}, "`max_batch` must be an integer of at least 1, got 2.0"),
        ({"max_wait": -1}, "`max_wait` must be finite and at least 0, got -1"),
        ({"max_wait": float("nan")}, "`max_wait` must be finite and at least 0, got nan"),
        ({"max_wait": float("inf")}, "`max_wait` must be finite and at least 0, got inf"),
        ({"max_wait": "1"}, "`max_wait` must be a number, got '1'"),
        ({"max_pending": 0}, "`max_pending` must be an integer of at least 1, got 0"),
        ({"when_full": "drop"}, "`when_full` must be one of 'wait', 'raise', got 'drop'"),
        ({"collate": 3}, "`collate` must be callable or None, got int"),
        ({"devices": 3}, "`devices` must be a sequence or mapping of hashables, got int"),
        ({"devices": "gpu0"}, "`devices` must be a sequence or mapping of hashables, got str"),
        ({"devices": [0, 1]}, "`devices` must have 4 entries, one a stage, got 2"),
        ({"devices": [0, 1, [], 3]}, r"`devices\[2\]` must be hashable, got \[\]"),
        ({"devices": {"a": 1}}, r"`devices` must have the stages \['stage 0', .*\], got \['a'\]"),
    ],
)
def test_arguments_are_checked(cascade: tt.Cascade[int, int], options: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError, match=f"^{message}$"):
        tt.Batcher(cascade, **options)


def test_the_cascade_is_one(policy: tt.Policy) -> None:
    with pytest.raises(tt.ValidationError, match=r"^`cascade` must be a Cascade, got Policy$"):
        tt.Batcher(policy)  # type: ignore[arg-type]


@pytest.mark.parametrize("deadline", [0, 0.0, -1.0, float("nan"), "soon", True])
def test_a_deadline_is_above_zero(cascade: tt.Cascade[int, int], deadline: Any) -> None:
    async def main() -> None:
        async with tt.Batcher(cascade) as batcher:
            with pytest.raises(tt.ValidationError, match=r"^`deadline` must be "):
                await batcher(0, deadline=deadline)
            assert batcher.pending == 0
            for none in (None, float("inf"), 1e300):
                assert (await batcher(0, deadline=none)).outcome in ("stopped", "recalled")

    virtual_loop.run(main())


def test_it_serves_only_while_it_is_open(cascade: tt.Cascade[int, int]) -> None:
    batcher = tt.Batcher(cascade)

    async def main() -> None:
        with pytest.raises(tt.ValidationError, match=r"^`batcher` must be entered by `async with` before"):
            await batcher(0)
        async with batcher:
            with pytest.raises(tt.ValidationError, match=r"^`batcher` must be entered once, and is open$"):
                await batcher.__aenter__()
            await batcher(0)
        with pytest.raises(tt.ValidationError, match=r"^`batcher` must be open, and is closed$"):
            await batcher(0)
        with pytest.raises(tt.ValidationError, match=r"^`batcher` must be entered once, and is closed$"):
            async with batcher:
                raise AssertionError("entered twice")

    virtual_loop.run(main())


def test_it_belongs_to_the_loop_in_which_it_was_entered(cascade: tt.Cascade[int, int]) -> None:
    async def elsewhere(batcher: tt.Batcher[int, int]) -> str:
        with pytest.raises(tt.ValidationError) as caught:
            await batcher(0)
        return str(caught.value)

    async def main() -> str:
        async with tt.Batcher(cascade) as batcher:
            task = asyncio.ensure_future(batcher(0))
            message = await asyncio.to_thread(lambda: virtual_loop.run(elsewhere(batcher)))
            assert (await task).stage is not None
            return message

    assert virtual_loop.run(main()) == "`batcher` must be called in the event loop in which it was entered, got another"


def test_leaving_answers_all_that_was_offered(cascade: tt.Cascade[int, int], device: SimulatedDevice) -> None:
    async def main() -> list[Any]:
        async with tt.Batcher(cascade, max_pending=8) as batcher:
            tasks = [asyncio.ensure_future(batcher(row)) for row in range(50)]
        assert (batcher.pending, batcher.outside) == (0, 0)
        return list(await asyncio.gather(*tasks))

    seen = virtual_loop.observed(main())
    assert [served.output // device.trace.k for served in seen.result] == list(range(50))
    assert (seen.complaints, seen.tasks) == ([], [])


def test_while_it_is_left_new_requests_are_refused(cascade: tt.Cascade[int, int]) -> None:
    async def late(batcher: tt.Batcher[int, int]) -> str:
        await asyncio.sleep(1e-3)
        with pytest.raises(tt.ValidationError) as caught:
            await batcher(1)
        return str(caught.value)

    async def main() -> str:
        async with tt.Batcher(cascade) as batcher:
            first = asyncio.ensure_future(batcher(0))
            refused = asyncio.ensure_future(late(batcher))
        assert (await first).stage is not None
        return await refused

    assert virtual_loop.run(main()) == "`batcher` must be open, and is closing"


@pytest.mark.parametrize("error", [KeyError("out"), asyncio.CancelledError(), SystemExit(3)])
def test_left_by_an_exception_no_caller_hangs(
    cascade: tt.Cascade[int, int], device: SimulatedDevice, error: BaseException
) -> None:
    async def main() -> list[Any]:
        batcher = tt.Batcher(cascade, max_pending=40, max_batch=8)
        tasks: list[asyncio.Task[Any]] = []

        async def block() -> None:
            async with batcher:
                tasks.extend(asyncio.ensure_future(batcher(row)) for row in range(60))
                await asyncio.sleep(1e-3)
                assert (batcher.pending, batcher.outside) == (40, 20)
                raise error

        with pytest.raises(type(error)):
            await block()
        assert (batcher.pending, batcher.outside) == (0, 0)
        assert asyncio.get_running_loop().time() == 1e-3
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    seen = virtual_loop.observed(main())
    assert {type(one) for one in seen.result} == {tt.TTamerError}
    name = type(error).__name__
    assert {str(one) for one in seen.result} == {f"the batcher was left by {name} before the answer"}
    assert (seen.complaints, seen.tasks) == ([], [])
    assert [len(rows) for _, rows in device.cancelled] == [8]
    assert device.calls == []


def test_cancelled_while_it_is_left_it_lets_go_of_all(trace: tt.Trace, policy: tt.Policy) -> None:
    async def for_ever(stage: int, rows: Any) -> None:
        await asyncio.sleep(1e6)

    device = SimulatedDevice(trace, before=for_ever)
    cascade = tt.Cascade(policy, device.stages())
    tasks: list[asyncio.Task[Any]] = []

    async def block() -> None:
        async with tt.Batcher(cascade) as batcher:
            tasks.extend(asyncio.ensure_future(batcher(row)) for row in range(3))

    async def main() -> list[Any]:
        leaving = asyncio.ensure_future(block())
        await asyncio.sleep(1.0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    seen = virtual_loop.observed(main())
    assert [str(one) for one in seen.result] == ["the batcher was left by CancelledError before the answer"] * 3
    assert (seen.complaints, seen.tasks) == ([], [])
    assert len(device.cancelled) == 1


def test_no_more_than_max_pending_are_inside_and_others_come_in_turn(
    cascade: tt.Cascade[int, int], device: SimulatedDevice
) -> None:
    async def main() -> None:
        async with tt.Batcher(cascade, max_pending=5, max_batch=2) as batcher:
            most = 0

            async def one(row: int) -> None:
                nonlocal most
                await batcher(row)
                most = max(most, batcher.pending)

            tasks = [asyncio.ensure_future(one(row)) for row in range(40)]
            await asyncio.sleep(0)
            assert (batcher.pending, batcher.outside) == (5, 35)
            await asyncio.gather(*tasks)
            assert most == 5

    virtual_loop.run(main())
    first = [call.rows for call in device.calls if call.stage == device.calls[0].stage]
    assert [row for rows in first for row in rows] == list(range(40))


def test_a_full_batcher_may_refuse(cascade: tt.Cascade[int, int]) -> None:
    async def main() -> None:
        async with tt.Batcher(cascade, max_pending=3, when_full="raise") as batcher:
            results = await asyncio.gather(*[batcher(row) for row in range(5)], return_exceptions=True)
            assert [isinstance(one, tt.Served) for one in results] == [True] * 3 + [False] * 2
            for refused in results[3:]:
                assert type(refused) is tt.OverloadedError
                assert str(refused) == "`max_pending` is 3, and so many requests are inside"
            assert isinstance(await batcher(4), tt.Served)
            assert issubclass(tt.OverloadedError, tt.TTamerError)
            assert not issubclass(tt.OverloadedError, ValueError)

    virtual_loop.run(main())


def test_a_cancelled_caller_leaves_from_wherever_it_is(cascade: tt.Cascade[int, int], device: SimulatedDevice) -> None:
    async def main() -> list[Any]:
        async with tt.Batcher(cascade, max_pending=6, max_batch=2) as batcher:
            tasks = [asyncio.ensure_future(batcher(row)) for row in range(8)]
            await asyncio.sleep(1e-3)
            assert (batcher.pending, batcher.outside) == (6, 2)
            for row in (0, 3, 7):  # in the call, in the queue, outside
                tasks[row].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert (batcher.pending, batcher.outside) == (5, 0)
            return list(await asyncio.gather(*tasks, return_exceptions=True))

    seen = virtual_loop.observed(main())
    assert [row for row, one in enumerate(seen.result) if isinstance(one, asyncio.CancelledError)] == [0, 3, 7]
    assert (seen.complaints, seen.tasks) == ([], [])
    assert device.calls[0].rows == (0, 1)
    asked = device.asked()
    assert len(asked[0]) == 1
    assert 3 not in asked
    assert 7 not in asked


def test_a_call_that_all_have_left_is_cancelled_and_the_device_goes_on(trace: tt.Trace, policy: tt.Policy) -> None:
    async def stuck(stage: int, rows: Any) -> None:
        if 0 in rows or 1 in rows:
            await asyncio.sleep(1e6)

    device = SimulatedDevice(trace, before=stuck)
    cascade = tt.Cascade(policy, device.stages())

    async def main() -> float:
        async with tt.Batcher(cascade, max_batch=2) as batcher:
            tasks = [asyncio.ensure_future(batcher(row)) for row in range(4)]
            await asyncio.sleep(1.0)
            tasks[0].cancel()
            await asyncio.sleep(1.0)
            assert device.cancelled == []
            tasks[1].cancel()
            await asyncio.gather(*tasks[2:])
            return asyncio.get_running_loop().time()

    seen = virtual_loop.observed(main())
    assert seen.result < 2.1
    assert len(device.cancelled) == 1
    assert device.cancelled[0][1] == (0, 1)
    assert (seen.complaints, seen.tasks) == ([], [])


@pytest.mark.parametrize("leaves", ["answered", "abandoned"])
def test_a_call_that_does_not_end_when_it_is_cancelled_holds_up_leaving_for_a_moment_only(
    policy: tt.Policy, leaves: str
) -> None:
    release: list[asyncio.Event] = []

    async def stubborn(rows: Any) -> list[float]:
        release.append(asyncio.Event())
        while not release[-1].is_set():
            try:
                await release[-1].wait()
            except asyncio.CancelledError:
                continue
        return [0.5] * len(rows)

    async def single(row: int) -> float:
        return 0.5

    stages = [tt.Stage(single, batch=stubborn, signal=lambda y: y) for _ in policy.stages]

    async def block(batcher: tt.Batcher[int, float]) -> None:
        async with batcher:
            with pytest.raises(tt.NoAnswerError, match="deadline"):
                await batcher(0, deadline=0.1)
            if leaves == "abandoned":
                raise KeyError

    async def main() -> float:
        batcher = tt.Batcher(tt.Cascade(policy, stages))
        if leaves == "abandoned":
            with pytest.raises(KeyError):
                await block(batcher)
        else:
            await block(batcher)
        release[0].set()
        return asyncio.get_running_loop().time()

    seen = virtual_loop.observed(main())
    assert seen.result == pytest.approx(1.1)
    assert (seen.complaints, seen.tasks) == ([], [])


def test_nothing_of_a_request_is_kept(policy: tt.Policy) -> None:
    """Without the collector of cycles: what goes in and out is let go of at once."""

    class Thing:
        """To be referred to weakly."""

    async def many(things: Any) -> list[Thing | None]:
        return [None if at % 3 == 1 else Thing() for at in range(len(things))]

    async def single(thing: Thing) -> Thing:
        return thing

    stages = [
        tt.Stage(single, batch=many, signal=lambda y: [0.5] * len(y), timeout=5.0, retries=1) for _ in policy.stages
    ]

    async def main() -> list[weakref.ref[Any]]:
        seen: list[weakref.ref[Any]] = []

        async def one() -> None:
            thing = Thing()
            seen.append(weakref.ref(thing))
            with contextlib.suppress(tt.NoAnswerError):
                seen.append(weakref.ref((await batcher(thing, deadline=60.0)).output))

        async with tt.Batcher(tt.Cascade(policy, stages), max_batch=8, max_pending=20) as batcher:
            await asyncio.gather(*[one() for _ in range(60)])
            await asyncio.sleep(0.1)
            assert len(seen) > 60
            return [one for one in seen if one() is not None]

    gc.collect()
    gc.disable()
    try:
        assert virtual_loop.run(main()) == []
    finally:
        gc.enable()


class Halt(BaseException):
    """No failure of a stage."""


@pytest.mark.parametrize("kind", [Halt, asyncio.CancelledError])
@pytest.mark.parametrize("batch", [True, False])
def test_what_is_no_exception_reaches_every_caller_of_the_call(
    trace: tt.Trace, policy: tt.Policy, kind: type[BaseException], batch: bool
) -> None:
    async def halt(stage: int, rows: Any) -> None:
        if 2 in rows:
            raise kind

    device = SimulatedDevice(trace, queues=True, before=halt)
    cascade = tt.Cascade(policy, device.stages(batch=batch))

    async def main() -> list[Any]:
        async with tt.Batcher(cascade, max_batch=4) as batcher:
            return list(await asyncio.gather(*[batcher(row) for row in range(12)], return_exceptions=True))

    seen = virtual_loop.observed(main())
    raised = {row for row, one in enumerate(seen.result) if isinstance(one, kind)}
    assert raised == ({0, 1, 2, 3} if batch else {2})
    assert all(isinstance(one, tt.Served) for row, one in enumerate(seen.result) if row not in raised)
    assert (seen.complaints, seen.tasks) == ([], [])


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_ends_it(trace: tt.Trace, policy: tt.Policy, kind: type[BaseException]) -> None:
    async def stop(stage: int, rows: Any) -> None:
        raise kind

    cascade = tt.Cascade(policy, SimulatedDevice(trace, before=stop).stages())

    async def main() -> None:
        async with tt.Batcher(cascade) as batcher:
            await batcher(0)

    with pytest.raises(kind):
        virtual_loop.run(main())


def test_a_wrong_number_of_outputs_reaches_every_caller_of_the_call(policy: tt.Policy) -> None:
    async def batch(rows: Any) -> list[float]:
        return [0.5] * (len(rows) + (3 in rows))

    async def single(row: int) -> float:
        return 0.5

    stages = [tt.Stage(single, batch=batch, signal=lambda outputs: outputs) for _ in policy.stages]
    cascade = tt.Cascade(policy, stages)

    async def main() -> list[Any]:
        async with tt.Batcher(cascade, max_batch=4) as batcher:
            return list(await asyncio.gather(*[batcher(row) for row in range(8)], return_exceptions=True))

    seen = virtual_loop.observed(main())
    raised = {row for row, one in enumerate(seen.result) if isinstance(one, tt.ValidationError)}
    assert raised == {0, 1, 2, 3}
    assert "must return 4 outputs, got 5" in str(seen.result[3])
    assert all(isinstance(one, tt.Served) for one in seen.result[4:])
    assert (seen.complaints, seen.tasks) == ([], [])


def test_what_a_policy_cannot_take_reaches_its_caller_alone(policy: tt.Policy) -> None:
    async def batch(rows: Any) -> list[int]:
        return list(rows)

    async def single(row: int) -> int:
        return row

    def prediction(rows: Any) -> list[Any]:
        return [[] if row == 2 else 0 for row in rows]

    stages = [
        tt.Stage(single, batch=batch, signal=lambda rows: [0.5] * len(rows), prediction=prediction)
        for _ in policy.stages
    ]

    async def main() -> list[Any]:
        async with tt.Batcher(tt.Cascade(policy, stages)) as batcher:
            return list(await asyncio.gather(*[batcher(row) for row in range(5)], return_exceptions=True))

    results = virtual_loop.run(main())
    assert [isinstance(one, tt.ValidationError) for one in results] == [False, False, True, False, False]
    assert "must return a hashable, got []" in str(results[2])


def test_it_tells_what_it_is(cascade: tt.Cascade[int, int]) -> None:
    batcher = tt.Batcher(cascade, max_batch=7)
    assert "max_batch=7, new, pending=0)" in repr(batcher)
