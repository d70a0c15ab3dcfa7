"""Stages that their breakers bar, for requests in a batcher."""

from __future__ import annotations

import asyncio
from typing import Any

import ttamer_fast as tt
import virtual_loop
from batched_requests import consulted, of_length
from simulated_device import CALL, ROW, SimulatedDevice


def test_a_barred_stage_is_not_tried_and_not_paid_for(trace: tt.Trace, policy: tt.Policy) -> None:
    rows = of_length(policy, trace, 1)[:30]
    first = consulted(policy, trace, rows[0])[0]
    failing = True

    async def broken(stage: int, asked: Any) -> None:
        if stage == first and failing:
            raise OSError("down")

    device = SimulatedDevice(trace, before=broken)
    cascade = tt.Cascade(policy, device.stages(breaker=tt.Breaker(failures=2, cooldown=5.0)))

    async def main() -> list[Any]:
        nonlocal failing
        async with tt.Batcher(cascade, max_batch=4) as batcher:
            served = await asyncio.gather(*[batcher(row) for row in rows])
            assert cascade.circuits[f"stage {first}"].state == "open"
            await asyncio.sleep(6.0)
            again = await asyncio.gather(*[batcher(row) for row in rows])  # one call tries it, and fails
            failing = False
            await asyncio.sleep(6.0)
            at_last = await asyncio.gather(*[batcher(row) for row in rows])
            assert cascade.circuits[f"stage {first}"].state == "closed"
            return [served, again, at_last, await asyncio.gather(*[batcher(row) for row in rows])]

    seen = virtual_loop.observed(main())
    counts = []
    for served in seen.result:
        counts.append((sum(first in one.failures for one in served), sum(first in one.barred for one in served)))
        for one in served:
            assert (first in one.consulted) == (first not in one.barred)
            if first in one.barred:
                assert one.barred[first].startswith("not tried: ")
                assert one.stage != first
    # Two calls of four open it: the other 22, which wait, go on without. Then one request at a time tries it.
    assert counts == [(8, 22), (1, 29), (0, 29), (0, 0)]
    assert (seen.complaints, seen.tasks) == ([], [])


def test_who_was_to_try_a_stage_and_leaves_lets_another_try(trace: tt.Trace, policy: tt.Policy) -> None:
    rows = of_length(policy, trace, 1)[:3]
    first = consulted(policy, trace, rows[0])[0]

    hold = 0.0

    async def broken(stage: int, asked: Any) -> None:
        if stage == first:
            raise OSError("down")
        await asyncio.sleep(hold)

    device = SimulatedDevice(trace, before=broken)
    cascade = tt.Cascade(policy, device.stages(breaker=tt.Breaker(failures=1, cooldown=1.0)))

    async def main() -> None:
        nonlocal hold
        async with tt.Batcher(cascade) as batcher:
            await batcher(rows[0])
            await asyncio.sleep(2.0)
            circuit = cascade.circuits[f"stage {first}"]
            prober = asyncio.ensure_future(batcher(rows[1]))
            await asyncio.sleep(0)
            assert circuit.state == "half-open"
            prober.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            assert circuit.state == "open"
            assert (await batcher(rows[2])).failures == {first: "OSError: down"}
            hold = 5.0
            busy = asyncio.ensure_future(batcher(rows[0]))  # goes on without the stage, which is barred
            await asyncio.sleep(2.0)
            prober = asyncio.ensure_future(batcher(rows[1]))
            await asyncio.sleep(0)
            assert circuit.state == "half-open"
            prober.cancel()
            await asyncio.sleep(0)
            assert circuit.state == "open"
            assert list((await busy).barred) == [first]
            hold = 0.0
            served = await batcher(rows[2])
            assert served.failures == {first: "OSError: down"}

    virtual_loop.run(main())


def test_those_who_wait_for_companions_are_barred_at_once(trace: tt.Trace, policy: tt.Policy) -> None:
    rows = of_length(policy, trace, 1)[:3]
    first = consulted(policy, trace, rows[0])[0]

    async def broken(stage: int, asked: Any) -> None:
        if stage == first:
            raise OSError("down")

    device = SimulatedDevice(trace, before=broken)
    stages = device.stages()
    stages[first] = device.stages(breaker=tt.Breaker(failures=1, cooldown=60.0))[first]

    async def main() -> Any:
        async with tt.Batcher(tt.Cascade(policy, stages), max_batch=2, max_wait=5.0) as batcher:
            calls = [asyncio.ensure_future(batcher(row)) for row in rows]
            await asyncio.sleep(0.001)
            assert "stage 1" in batcher.stats()
            before = {name: one.calls for name, one in batcher.stats().items()}
            await asyncio.gather(*calls)
            return before, calls[2].result()

    before, third = virtual_loop.run(main())
    assert before[f"stage {first}"] == 1
    assert list(third.barred) == [first]
    assert third.seconds is not None
    # It went on to the next stage at once, and waited for companions there alone.
    following = third.consulted[0]
    assert third.seconds[following] <= 5.0 + 2 * (CALL + ROW * 3)
    assert next(call.begun for call in device.calls if rows[2] in call.rows) < 5.1


def test_a_stage_that_was_begun_and_is_then_barred_has_failed(trace: tt.Trace, policy: tt.Policy) -> None:
    rows = of_length(policy, trace, 1)[:3]
    first = consulted(policy, trace, rows[0])[0]

    async def broken(stage: int, asked: Any) -> None:
        if stage == first:
            await asyncio.sleep(0.1)
            raise OSError(f"down for {asked[0]}")

    device = SimulatedDevice(trace, before=broken)
    stages = device.stages(breaker=tt.Breaker(failures=2, cooldown=60.0), retries=1, backoff=0.0)

    async def main() -> Any:
        async with tt.Batcher(tt.Cascade(policy, stages), max_batch=1) as batcher:
            return list(await asyncio.gather(*[batcher(row) for row in rows]))

    served = virtual_loop.run(main())
    for row, one in zip(rows[:2], served, strict=False):
        assert one.failures == {first: f"OSError: down for {row}"}
        assert one.barred == {}
    assert (served[2].failures, list(served[2].barred)) == ({}, [first])


def test_many_who_are_barred_at_the_door_leave_one_after_the_other() -> None:
    """Not one within the other."""
    policy = tt.solve(tt.Model.line([[0.1]], [1.0], [[[1.0]]]))

    async def broken(row: int) -> int:
        raise OSError("down")

    breaker = tt.Breaker(failures=1, cooldown=60.0)
    cascade: tt.Cascade[int, int] = tt.Cascade(policy, [tt.Stage(broken, signal=lambda _: 0, breaker=breaker)])

    async def main() -> list[Any]:
        async with tt.Batcher(cascade, max_pending=1) as batcher:
            return list(await asyncio.gather(*[batcher(row) for row in range(3000)], return_exceptions=True))

    seen = virtual_loop.observed(main())
    assert {type(one) for one in seen.result} == {tt.NoAnswerError}
    assert (seen.complaints, seen.tasks) == ([], [])
