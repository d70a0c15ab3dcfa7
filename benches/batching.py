"""Requests that come one by one to a device with a fixed cost a call: one by one, in step, continuously batched.

usage: python benches/batching.py [--requests 2000] [--repeats 9] [--rates 200 800 2000]

The device runs one call at a time, 2 ms and 0.02 ms a row of it, on an event loop whose clock is virtual: times are
exact and cost nothing. Stages are the exits of a synthetic trace; answers are compared with those of a replay. Prints
two markdown tables: requests served a second and how long they took, by how many are offered a second (inf: all at
once); and the CPU time of a batcher a request and stage, in real time, with stages that do nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import ttamer_fast as tt
import virtual_loop
from conftest import make_trace
from simulated_device import SimulatedDevice

TRADEOFF = 0.9
BATCH = 32

Cascade = tt.Cascade[int, int]
Serve = Callable[[int], Awaitable[int | None]]
"""From a request to the stage that answered."""


class InStep:
    """Batches of the requests that wait, decided as a whole before the next one."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.waiting: list[tuple[int, asyncio.Future[int]]] = []
        self.worker: asyncio.Task[None] | None = None

    async def __call__(self, row: int) -> int:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((row, future))
        if self.worker is None or self.worker.done():
            self.worker = asyncio.ensure_future(self.work())
        return int(await future)

    async def work(self) -> None:
        await asyncio.sleep(0)
        while self.waiting:
            now, self.waiting = self.waiting[:BATCH], self.waiting[BATCH:]
            table = await self.cascade.abatch([row for row, _ in now])
            for (_, future), stage in zip(now, table.stage.tolist(), strict=True):
                future.set_result(stage)


async def arrive(serve: Serve, arrivals: NDArray[np.float64]) -> tuple[list[int | None], NDArray[np.float64], float]:
    """The stages that answered, how long each request took, and when the last one was served."""
    loop = asyncio.get_running_loop()

    async def one(row: int, comes: float) -> tuple[int | None, float]:
        await asyncio.sleep(comes)
        stage = await serve(row)
        return stage, loop.time() - comes

    served = await asyncio.gather(*[one(row, comes) for row, comes in enumerate(arrivals.tolist())])
    return [stage for stage, _ in served], np.array([seconds for _, seconds in served]), loop.time()


async def one_by_one(cascade: Cascade, arrivals: NDArray[np.float64]) -> Any:
    async def serve(row: int) -> int | None:
        return (await cascade.acall(row)).stage

    return await arrive(serve, arrivals)


async def in_step(cascade: Cascade, arrivals: NDArray[np.float64]) -> Any:
    return await arrive(InStep(cascade), arrivals)


async def continuously(cascade: Cascade, arrivals: NDArray[np.float64]) -> Any:
    async with tt.Batcher(cascade, max_batch=BATCH) as batcher:

        async def serve(row: int) -> int | None:
            return (await batcher(row)).stage

        return await arrive(serve, arrivals)


WAYS: dict[str, Callable[[Cascade, NDArray[np.float64]], Coroutine[Any, Any, Any]]] = {
    "one by one": one_by_one,
    "in step": in_step,
    "`tt.Batcher`": continuously,
}


def simulated(trace: tt.Trace, policy: tt.Policy, n: int, rates: Sequence[float]) -> None:
    assert trace.prediction is not None
    answer = policy.replay(trace.signal[:n], trace.prediction[:n]).answer.tolist()
    print("| offered a second | way | served a second | p50 ms | p99 ms | mean batch |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rate in rates:
        gaps = np.zeros(n) if rate == math.inf else np.random.default_rng(0).exponential(1.0 / rate, n)
        for name, way in WAYS.items():
            device = SimulatedDevice(trace, queues=True)
            stages, seconds, ended = virtual_loop.run(way(tt.Cascade(policy, device.stages()), np.cumsum(gaps)))
            assert stages == answer, name
            p50, p99 = 1e3 * np.quantile(seconds, [0.5, 0.99])
            print(f"| {rate:g} | {name} | {n / ended:.0f} | {p50:.1f} | {p99:.1f} | {np.mean(device.sizes()):.1f} |")


def idle_stages(trace: tt.Trace, batch: bool) -> list[tt.Stage[int, Any]]:
    """Stages that hand on the request's number at once."""
    said = trace.prediction
    assert said is not None

    async def many(rows: Any) -> Any:
        return np.asarray(rows)

    async def one(row: int) -> int:
        return row

    def stage(v: int) -> tt.Stage[int, Any]:
        signal, prediction = np.ascontiguousarray(trace.signal[:, v]), np.ascontiguousarray(said[:, v])
        if batch:
            return tt.Stage(one, batch=many, signal=signal.__getitem__, prediction=prediction.__getitem__)
        return tt.Stage(one, signal=signal.tolist().__getitem__, prediction=prediction.tolist().__getitem__)

    return [stage(v) for v in range(trace.k)]


def cpu(trace: tt.Trace, policy: tt.Policy, n: int, repeats: int) -> None:
    said = trace.prediction
    assert said is not None
    replay = policy.replay(trace.signal[:n], said[:n])
    steps, answer = int(replay.consulted.sum()), replay.answer.tolist()
    signal, prediction = trace.signal.tolist(), said.tolist()
    many, single = tt.Cascade(policy, idle_stages(trace, True)), tt.Cascade(policy, idle_stages(trace, False))

    def bare() -> list[int | None]:
        answers = []
        for row in range(n):
            run = policy.start()
            stage = run.next
            while stage is not None:
                stage = run.observe(signal[row][stage], prediction[row][stage])
            answers.append(run.answer)
        return answers

    def tasks() -> list[int | None]:
        async def wait(row: int) -> int | None:
            await asyncio.sleep(0)
            return int(answer[row])

        async def main() -> list[int | None]:
            return await asyncio.gather(*[wait(row) for row in range(n)])

        return asyncio.run(main())

    def batched(cascade: Cascade, most: int = BATCH, deadline: float | None = None) -> Callable[[], list[int | None]]:
        async def main() -> list[int | None]:
            async with tt.Batcher(cascade, max_batch=most, max_pending=n) as batcher:
                served = await asyncio.gather(*[batcher(row, deadline=deadline) for row in range(n)])
            return [one.stage for one in served]

        return lambda: asyncio.run(main())

    ways: dict[str, Callable[[], list[int | None]]] = {
        "a bare loop around a run": bare,
        "a task a request that waits once, in `gather`": tasks,
        f"`tt.Batcher`, {BATCH} rows a call": batched(many),
        "the same, 256 rows a call": batched(many, 256),
        "the same, 1 row a call": batched(many, 1),
        f"{BATCH} rows a call, a deadline a request": batched(many, deadline=60.0),
        f"{BATCH} rows at once, stages without `batch`": batched(single),
    }
    least = dict.fromkeys(ways, math.inf)
    for _ in range(repeats):
        for name, way in ways.items():
            begun = time.process_time()
            answers = way()
            least[name] = min(least[name], time.process_time() - begun)
            assert answers == answer, name
    print(f"\n{steps / n:.2f} of {trace.k} stages a request; µs of CPU time a request and stage\n")
    print("| way | µs |\n| --- | --- |")
    for name, seconds in least.items():
        print(f"| {name} | {1e6 * seconds / steps:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--rates", type=float, nargs="+", default=[200.0, 800.0, 2000.0, math.inf])
    given = parser.parse_args()
    trace = make_trace(2 * given.requests, kind="exits")
    policy = tt.fit(trace, tradeoff=TRADEOFF)
    simulated(trace, policy, given.requests, given.rates)
    cpu(trace, policy, given.requests, given.repeats)


if __name__ == "__main__":
    main()
