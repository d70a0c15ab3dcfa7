"""Which stage a device runs next, and when."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
import virtual_loop
from simulated_device import CALL, ROW, SimulatedDevice
from ttamer_fast.serving.queues import Device, StageQueue


class Waiting:
    def __init__(self, queued: float = 0.0) -> None:
        self.queued = queued


def device_with(lengths: Sequence[int], most: int = 4) -> Device[Waiting]:
    queues: list[StageQueue[Waiting]] = [StageQueue(stage, most) for stage in range(len(lengths))]
    for queue, length in zip(queues, lengths, strict=True):
        for _ in range(length):
            queue.push(Waiting())
    return Device(queues)


@pytest.mark.parametrize(
    ("lengths", "most", "stage", "reason"),
    [
        ([1, 3, 2], 4, 1, "idle"),
        ([3, 1, 3], 4, 2, "idle"),
        ([9, 4, 3], 4, 1, "full"),
        ([0, 0, 1], 4, 2, "idle"),
        ([5, 0, 0], 4, 0, "full"),
        ([2, 1, 1], 4, 0, "idle"),
        ([3, 2, 0], 8, 1, "idle"),
        ([4, 3, 3], 8, 0, "idle"),
    ],
)
def test_the_fullest_goes_first_and_of_equals_the_deepest(
    lengths: list[int], most: int, stage: int, reason: str
) -> None:
    chosen = device_with(lengths, most).choose(0.0, 0.0)
    assert chosen is not None
    assert (chosen[0].stage, chosen[1]) == (stage, reason)


def test_nobody_waits_nobody_goes() -> None:
    device = device_with([0, 0])
    assert device.choose(0.0, 0.0) is None
    assert device.due(1.0) == math.inf


def test_with_patience_a_queue_waits_until_it_is_full_or_its_first_has_waited() -> None:
    first, second = StageQueue[Waiting](0, 2), StageQueue[Waiting](1, 2)
    device = Device([first, second])
    first.push(Waiting(1.0))
    second.push(Waiting(0.5))
    assert device.choose(1.0, 0.75) is None
    assert device.due(0.75) == 1.25
    chosen = device.choose(1.25, 0.75)
    assert chosen is not None
    assert (chosen[0].stage, chosen[1]) == (1, "waited")
    first.push(Waiting(1.25))
    chosen = device.choose(1.25, 0.75)
    assert chosen is not None
    assert (chosen[0].stage, chosen[1]) == (0, "full")
    # A queue that has to wait is not passed over.
    assert (first.passed, second.passed) == (0, 0) or second.passed == 1


def test_queues_are_first_in_first_out_and_can_be_left() -> None:
    queue = StageQueue[Waiting](0, 4)
    every = [Waiting(float(i)) for i in range(5)]
    for one in every:
        queue.push(one)
    queue.remove(every[1])
    assert queue.take(2, "full", 10.0) == [every[0], every[2]]
    assert queue.take(9, "idle", 11.0) == every[3:]
    stats = queue.stats()
    assert (stats.calls, stats.rows, stats.mean_batch, stats.longest_wait) == (2, 4, 2.0, 10.0)
    assert stats.mean_wait == (10.0 + 8.0 + 8.0 + 7.0) / 4
    assert stats.released == {"full": 1, "idle": 1, "waited": 0, "passed over": 0, "joined": 0}


def test_who_comes_after_all_have_left_has_not_been_passed_over() -> None:
    device = device_with([4, 1], 4)
    first, second = device.queues
    for _ in range(5):
        device.choose(0.0, 0.0)
    assert (first.passed, second.passed) == (0, 5)
    second.remove(next(iter(second)))
    second.push(Waiting())
    assert second.passed == 0


@given(
    st.integers(1, 6),
    st.integers(1, 5),
    st.lists(st.lists(st.integers(0, 12), min_size=6, max_size=6), min_size=1, max_size=60),
    st.data(),
)
def test_nobody_at_the_head_of_a_queue_is_passed_over_for_ever(
    q: int, most: int, arrivals: list[list[int]], data: st.DataObject
) -> None:
    """However requests arrive: after max(8, 2 q) + q - 1 calls of others the head of a queue goes."""
    device = device_with([0] * q, most)
    passed: Counter[Waiting] = Counter()
    for step in arrivals:
        for queue, count in zip(device.queues, step, strict=False):
            for _ in range(count):
                queue.push(Waiting())
        heads = {queue.stage: next(iter(queue)) for queue in device.queues if len(queue)}
        chosen = device.choose(0.0, 0.0)
        assert (chosen is None) == (not heads)
        if chosen is None:
            continue
        for stage, head in heads.items():
            if stage != chosen[0].stage:
                passed[head] += 1
                assert passed[head] <= max(8, 2 * q) + q - 1
        chosen[0].take(most, chosen[1], 0.0)


def line_of_three(flood: float) -> tuple[tt.Trace, tt.Policy]:
    """Stage 0 ends nearly all requests; some go on to stages 1 and 2."""
    rng = np.random.default_rng(0)
    n = 4000
    goes_on = rng.random(n) > flood
    signal = np.where(goes_on[:, None], [0.1, 0.1, 0.9], [0.9, 0.9, 0.9])
    loss = np.where(goes_on[:, None], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0])
    trace = tt.Trace(signal, loss, [1.0, 1.0, 1.0], prediction=(loss > 0).astype(int), kind="exits")
    return trace, tt.baselines.threshold(trace, tradeoff=0.9)


def test_a_flood_of_new_requests_does_not_hold_up_those_that_have_begun() -> None:
    trace, policy = line_of_three(0.97)
    device = SimulatedDevice(trace)
    cascade = tt.Cascade(policy, device.stages())

    async def flood() -> dict[str, Any]:
        async with tt.Batcher(cascade, max_batch=8, max_pending=64) as batcher:
            served = await asyncio.gather(*[batcher(row) for row in range(2000)])
            assert sum(len(one.consulted) > 1 for one in served) >= 30
            return batcher.stats()

    stats = virtual_loop.run(flood())
    begun = {(call.stage, row): at for at, call in enumerate(device.calls) for row in call.rows}
    waits = [begun[stage + 1, row] - at for (stage, row), at in begun.items() if (stage + 1, row) in begun]
    assert len(waits) >= 30
    assert max(waits) <= 8 + 2 + 1
    assert stats["stage 2"].released["passed over"] > 0
    assert stats["stage 0"].mean_batch > 7.0


def test_stages_with_devices_of_their_own_run_side_by_side(trace: tt.Trace, policy: tt.Policy) -> None:
    devices = [SimulatedDevice(trace) for _ in range(trace.k)]
    stages = [device.stages()[v] for v, device in enumerate(devices)]
    names: tuple[Any, ...] = tuple(range(trace.k))

    async def main(own: Any) -> float:
        async with tt.Batcher(tt.Cascade(policy, stages), devices=own, max_batch=8) as batcher:
            await asyncio.gather(*[batcher(row) for row in range(200)])
        return asyncio.get_running_loop().time()

    apart = virtual_loop.run(main(names))
    overlaps = [
        (one, other)
        for one in devices[0].calls
        for other in devices[-1].calls
        if one.begun < other.ended and other.begun < one.ended
    ]
    assert overlaps
    by_name = virtual_loop.run(main(dict(zip(policy.stages, names, strict=True))))
    shared = virtual_loop.run(main(None))
    assert apart == by_name < shared
    for device in devices:
        assert max(device.sizes()) <= 8


def test_max_wait_waits_for_companions_and_no_longer(trace: tt.Trace, policy: tt.Policy) -> None:
    device = SimulatedDevice(trace)
    cascade = tt.Cascade(policy, device.stages())
    patience = 0.05

    async def main() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        async with tt.Batcher(cascade, max_wait=patience, max_batch=4) as batcher:
            alone = await batcher(0)
            assert loop.time() == pytest.approx(len(alone.consulted) * (patience + CALL + ROW))
            device.calls.clear()
            begun = loop.time()
            first = asyncio.ensure_future(batcher(0))
            await asyncio.sleep(patience / 2)
            others = [asyncio.ensure_future(batcher(row)) for row in (1, 2)]
            await asyncio.sleep(patience)
            assert device.calls[0].rows == (0, 1, 2)
            assert device.calls[0].begun == begun + patience
            await asyncio.gather(first, *others)
            device.calls.clear()
            begun = loop.time()
            await asyncio.gather(*[batcher(0) for _ in range(4)])
            assert len(device.calls[0].rows) == 4
            assert device.calls[0].begun == begun
            return batcher.stats()

    stats = virtual_loop.run(main())
    first = stats[policy.stages[device.calls[0].stage]]
    assert first.released["full"] >= 1
    assert first.released["waited"] >= 2
    assert first.longest_wait == pytest.approx(patience)
    assert all(one.released["idle"] == 0 for one in stats.values())


def test_those_that_wait_for_single_calls_join_the_one_under_way(trace: tt.Trace, policy: tt.Policy) -> None:
    """One that is stuck takes one of the places, and does not hold up the others of its stage."""
    under_way, most = 0, 0

    async def run(row: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(1e3 if row == 0 else 0.01)
        under_way -= 1
        return row

    stages = [tt.Stage(run, signal=trace.signal[:, v].__getitem__, prediction=lambda _: 0) for v in range(trace.k)]

    async def main(devices: Any) -> tuple[list[float], dict[str, Any]]:
        loop, ended = asyncio.get_running_loop(), list[float]()

        async def one(row: int) -> None:
            assert (await batcher(row)).output == row
            ended.append(loop.time())

        async with tt.Batcher(tt.Cascade(policy, stages), max_batch=4, devices=devices) as batcher:
            await asyncio.gather(*[one(row) for row in range(41)])
        return sorted(ended), batcher.stats()

    ended, stats = virtual_loop.run(main(range(trace.k)))
    assert ended[-2] < 1.0
    assert ended[-1] >= 1e3
    assert sum(one.released["joined"] for one in stats.values()) >= 10
    # On a device of all stages the others wait for it, so that every stage has its turn.
    most = 0
    ended, stats = virtual_loop.run(main(None))
    assert sum(seconds > 1e3 for seconds in ended) > 1
    assert most == 4


def test_nobody_joins_while_others_wait_for_another_stage(trace: tt.Trace, policy: tt.Policy) -> None:
    """Single calls that overlap without a gap would else keep the device for ever."""
    ended: list[int] = []

    async def run(row: int) -> int:
        await asyncio.sleep(1.0 + row % 2 / 2)
        return row

    stages = [tt.Stage(run, signal=trace.signal[:, v].__getitem__, prediction=lambda _: 0) for v in range(trace.k)]
    cascade = tt.Cascade(policy, stages)

    async def one(batcher: tt.Batcher[int, int], row: int) -> None:
        served = await batcher(row)
        if len(served.consulted) > 1:
            ended.append(row)

    async def main() -> None:
        async with tt.Batcher(cascade, max_batch=4) as batcher:
            tasks = [asyncio.ensure_future(one(batcher, row)) for row in range(400)]
            while len(ended) < 20:
                await asyncio.sleep(1.0)
            assert batcher.stats()["stage 0"].rows < 200
            await asyncio.gather(*tasks)

    virtual_loop.run(main())


def test_leaving_ends_the_wait_for_companions(trace: tt.Trace, policy: tt.Policy) -> None:
    cascade = tt.Cascade(policy, SimulatedDevice(trace).stages())

    async def main() -> float:
        async with tt.Batcher(cascade, max_wait=60.0) as batcher:
            task = asyncio.ensure_future(batcher(0))
            await asyncio.sleep(1.0)
        await task
        return asyncio.get_running_loop().time()

    assert virtual_loop.run(main()) < 1.1


def test_stats_tell_why_calls_were_begun_and_how_long_rows_waited(trace: tt.Trace, policy: tt.Policy) -> None:
    device = SimulatedDevice(trace)
    cascade = tt.Cascade(policy, device.stages())

    async def main() -> dict[str, Any]:
        batcher = tt.Batcher(cascade, max_batch=16)
        assert {(one.calls, one.rows, one.longest_wait) for one in batcher.stats().values()} == {(0, 0, 0.0)}
        async with batcher:
            await asyncio.gather(*[batcher(row) for row in range(200)])
        return batcher.stats()

    stats = virtual_loop.run(main())
    assert tuple(stats) == policy.stages
    for stage, name in enumerate(policy.stages):
        calls = [call for call in device.calls if call.stage == stage]
        one = stats[name]
        assert (one.calls, one.rows) == (len(calls), sum(len(call.rows) for call in calls))
        assert sum(one.released.values()) == one.calls
        assert one.released["full"] == sum(len(call.rows) == 16 for call in calls)
        assert math.isnan(one.mean_wait) == (not calls)
        assert 0.0 <= one.longest_wait <= device.calls[-1].begun


def test_one_by_one_in_step_and_continuous(trace: tt.Trace, policy: tt.Policy) -> None:
    """With a fixed cost a call, continuous batching is many times as fast as one by one."""
    device = SimulatedDevice(trace)
    cascade = tt.Cascade(policy, device.stages())

    async def main() -> float:
        async with tt.Batcher(cascade) as batcher:
            await asyncio.gather(*[batcher(row) for row in range(600)])
        return asyncio.get_running_loop().time()

    taken = virtual_loop.run(main())
    rows = sum(device.sizes())
    assert rows * (CALL + ROW) / taken >= 10.0
    # No arrangement needs less than full batches throughout.
    assert 1.0 <= taken / (rows * (CALL / 32 + ROW)) <= 1.1
