"""Continuous batching: the same answers as one by one, sooner."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
import virtual_loop
from serving_policies import walk
from simulated_device import CALL, ROW, SimulatedDevice

N = 300


def wanted(policy: tt.Policy, trace: tt.Trace, row: int) -> tuple[Any, ...]:
    """Stage, stages run, output and cost, by a plain loop around a run."""
    said = trace.prediction
    assert said is not None
    by_hand = walk(policy, trace.signal[row].tolist(), said[row].tolist())
    assert by_hand.answer is not None
    return by_hand.answer, by_hand.consulted, row * trace.k + by_hand.answer, by_hand.cost


def facts(served: tt.Served[int]) -> tuple[Any, ...]:
    return served.stage, served.consulted, served.output, served.cost


async def offer(batcher: tt.Batcher[int, int], rows: Any = range(N)) -> list[tuple[Any, ...]]:
    return [facts(served) for served in await asyncio.gather(*[batcher(row) for row in rows])]


async def all_at_once(cascade: tt.Cascade[int, int], **options: Any) -> tuple[float, list[tuple[Any, ...]]]:
    """Seconds, and what was served."""
    async with tt.Batcher(cascade, **options) as batcher:
        return asyncio.get_running_loop().time(), await offer(batcher)


@pytest.mark.parametrize("kind", ["models", "exits"])
@pytest.mark.parametrize("most", [1, 5, 32, 1000])
def test_the_same_answers_as_one_by_one(trace: tt.Trace, kind: str, most: int) -> None:
    trace = tt.Trace(trace.signal, trace.loss, trace.cost, trace.prediction, kind=kind)
    policy = tt.fit(trace, tradeoff=0.95)
    device = SimulatedDevice(trace)
    seen = virtual_loop.observed(all_at_once(tt.Cascade(policy, device.stages()), max_batch=most))
    expected = [wanted(policy, trace, row) for row in range(N)]
    assert seen.result[1] == expected
    assert (seen.complaints, seen.tasks) == ([], [])
    assert device.asked() == {row: list(consulted) for row, (_, consulted, _, _) in enumerate(expected)}
    assert max(device.sizes()) == min(most, N)


def test_an_idle_device_does_not_wait(trace: tt.Trace, policy: tt.Policy) -> None:
    device = SimulatedDevice(trace)
    cascade = tt.Cascade(policy, device.stages())

    async def trickle() -> None:
        loop = asyncio.get_running_loop()
        async with tt.Batcher(cascade) as batcher:
            for row in range(40):
                begun = loop.time()
                served = await batcher(row)
                assert loop.time() - begun == pytest.approx((CALL + ROW) * len(served.consulted))
                await asyncio.sleep(0.1)

    virtual_loop.run(trickle())
    assert set(device.sizes()) == {1}


def test_who_comes_while_the_device_is_busy_goes_next(trace: tt.Trace, policy: tt.Policy) -> None:
    device = SimulatedDevice(trace)
    cascade = tt.Cascade(policy, device.stages())

    async def two_waves() -> None:
        async with tt.Batcher(cascade) as batcher:
            first = asyncio.ensure_future(batcher(0))
            await asyncio.sleep(CALL / 2)
            await asyncio.gather(first, *[batcher(row) for row in range(1, 20)])

    virtual_loop.run(two_waves())
    first, second, *_ = device.calls
    assert first.rows == (0,)
    assert second.begun == first.ended
    assert len(second.rows) == 19


def test_the_next_request_of_who_was_answered_goes_with_those_that_wait() -> None:
    calls: list[list[int]] = []

    async def batch(rows: list[int]) -> list[int]:
        calls.append(rows)
        await asyncio.sleep(0.1)
        return rows

    async def single(row: int) -> int:
        return row

    stage = tt.Stage(single, batch=batch, signal=lambda rows: [0] * len(rows))
    cascade = tt.Cascade(tt.solve(tt.Model.line([[0.1]], [1.0], [[[1.0]]])), [stage])

    async def client(batcher: tt.Batcher[int, int], *rows: int) -> None:
        for row in rows:
            assert (await batcher(row)).output == row

    async def main() -> None:
        async with tt.Batcher(cascade) as batcher:
            first = asyncio.ensure_future(client(batcher, 1, 2, 3))
            await asyncio.sleep(0.05)
            await asyncio.gather(first, client(batcher, 10, 20))

    virtual_loop.run(main())
    assert [sorted(rows) for rows in calls] == [[1], [2, 10], [3, 20]]


@pytest.mark.parametrize("batch", [True, False])
def test_plain_functions_run_beside_the_loop(trace: tt.Trace, policy: tt.Policy, batch: bool) -> None:
    said = trace.prediction
    assert said is not None
    sizes: list[int] = []

    def stage(v: int) -> tt.Stage[int, Any]:
        def many(rows: Any) -> Any:
            sizes.append(len(rows))
            return np.asarray(rows) * trace.k + v

        return tt.Stage(
            lambda row: row * trace.k + v,
            batch=many if batch else None,
            signal=lambda y: trace.signal[np.asarray(y) // trace.k, v],
            prediction=lambda y: said[np.asarray(y) // trace.k, v],
            name=f"stage {v}",
        )

    cascade = tt.Cascade(policy, [stage(v) for v in range(trace.k)])
    seen = virtual_loop.observed(all_at_once(cascade, max_batch=16))
    assert seen.result[1] == [wanted(policy, trace, row) for row in range(N)]
    assert (seen.complaints, seen.tasks) == ([], [])
    assert bool(sizes) == batch
    assert max(sizes, default=16) == 16


def test_rows_without_batch_run_at_once_in_the_contexts_of_their_callers(trace: tt.Trace, policy: tt.Policy) -> None:
    who: contextvars.ContextVar[int] = contextvars.ContextVar("who")
    under_way, most = 0, 0

    async def run(row: int) -> int:
        nonlocal under_way, most
        assert who.get() == row
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return row

    stages = [tt.Stage(run, signal=trace.signal[:, v].__getitem__, prediction=lambda _: 0) for v in range(trace.k)]

    async def caller(batcher: tt.Batcher[int, int], row: int) -> None:
        who.set(row)
        assert (await batcher(row)).output == row

    async def main() -> None:
        async with tt.Batcher(tt.Cascade(policy, stages), max_batch=7) as batcher:
            await asyncio.gather(*[caller(batcher, row) for row in range(50)])

    virtual_loop.run(main())
    assert most == 7


def one_column(read: Callable[[Any], Any]) -> Any:
    """What a stage is handed for the inputs that `read` makes of 0, 1, 2."""
    given: list[Any] = []

    async def batch(xs: Any) -> list[float]:
        given.append(xs)
        return [0.5] * 3

    cascade: tt.Cascade[Any, float] = tt.Cascade(
        tt.solve(tt.Model.line([[0.1]], [1.0], [[[1.0]]])),
        [tt.Stage(lambda x: 0.5, batch=batch, signal=lambda outputs: [0] * len(outputs))],
    )

    async def main() -> None:
        async with tt.Batcher(cascade) as batcher:
            await asyncio.gather(*[batcher(read(i)) for i in range(3)])

    virtual_loop.run(main())
    assert len(given) == 1
    return given[0]


def test_inputs_are_put_together_as_a_batch_of_them_would_be() -> None:
    table = np.arange(12.0, dtype=np.float32).reshape(3, 2, 2)
    stacked = one_column(lambda i: table[i])
    assert stacked.dtype == np.float32
    assert stacked.tolist() == table.tolist()
    numbers = one_column(lambda i: np.array([5, 6, 7], np.int16)[i])
    assert (numbers.dtype, numbers.tolist()) == (np.int16, [5, 6, 7])
    columns = one_column(lambda i: {"ids": table[i, 0], "text": "abc"[i]})
    assert list(columns) == ["ids", "text"]
    assert columns["ids"].tolist() == table[:, 0].tolist()
    assert columns["text"] == ["a", "b", "c"]
    assert one_column(lambda i: i) == [0, 1, 2]
    for odd in ([np.zeros(1), np.zeros(2), np.zeros(1)], [np.zeros(1), np.zeros(1, int), 0], [{"a": 1}, {"b": 1}, {}]):
        assert one_column(odd.__getitem__) == odd
    assert one_column(lambda i: {}) == [{}, {}, {}]


def test_collate_makes_what_a_stage_is_handed(trace: tt.Trace, policy: tt.Policy) -> None:
    device = SimulatedDevice(trace)
    given: list[Any] = []

    def collate(rows: list[int]) -> tuple[int, ...]:
        given.append(rows)
        return tuple(rows)

    _, served = virtual_loop.run(all_at_once(tt.Cascade(policy, device.stages()), collate=collate))
    assert served == [wanted(policy, trace, row) for row in range(N)]
    assert [len(rows) for rows in given] == device.sizes()

    def broken(rows: list[int]) -> list[int]:
        if 7 in rows:
            raise KeyError("seven")
        return rows

    async def main() -> None:
        async with tt.Batcher(tt.Cascade(policy, device.stages()), collate=broken, max_batch=1) as batcher:
            with pytest.raises(tt.NoAnswerError, match="KeyError: 'seven'"):
                await batcher(7)
            assert facts(await batcher(8)) == wanted(policy, trace, 8)

    virtual_loop.run(main())


def test_a_policy_that_asks_nothing_is_answered_at_once() -> None:
    policy = tt.solve(tt.Model.line([[0.5, 0.9]], [1.0], [[[0.5, 0.5]]]), default_loss=0.1)
    cascade: tt.Cascade[int, int] = tt.Cascade(policy, [abs], signal=lambda _: 0)

    async def main() -> None:
        async with tt.Batcher(cascade) as batcher:
            served = await batcher(1)
            assert (served.outcome, served.output, served.consulted, batcher.pending) == ("abstained", None, (), 0)

    virtual_loop.run(main())
