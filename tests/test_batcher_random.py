"""Whatever happens to requests in a batcher: each ends once, as the engine would end it by what its stages gave."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
import virtual_loop
from conftest import make_trace
from serving_policies import policy_of
from simulated_device import SimulatedDevice

TRACE = make_trace(600, 4)
LONGEST = 12
"""Requests at most."""


class Request(NamedTuple):
    comes: float
    deadline: float | None
    leaves: float | None


class Options(NamedTuple):
    max_batch: int
    max_wait: float
    max_pending: int
    apart: bool
    batch: bool
    retries: int
    timeout: float | None
    breaker: bool
    stops: float | None
    """When the block is left by an exception."""


class Halt(BaseException):
    """No failure of a stage."""


class StopError(Exception):
    """Leaves the block."""


times = st.sampled_from([0.0, 1e-3, 2e-3, 3e-3, 5e-3, 0.01, 0.03, 0.1, 0.4])
requests = st.builds(
    Request, times, st.one_of(st.none(), times.filter(bool)), st.one_of(st.none(), st.none(), times.filter(bool))
)
happenings = st.sampled_from(
    ["answers"] * 8 + ["raises", "raises", "raises once", "is slow", "is slow", "hangs", "halts"]
)
options = st.builds(
    Options,
    max_batch=st.integers(1, 4),
    max_wait=st.sampled_from([0.0, 0.0, 4e-3]),
    max_pending=st.integers(1, LONGEST),
    apart=st.booleans(),
    batch=st.booleans(),
    retries=st.integers(0, 2),
    timeout=st.sampled_from([None, 0.05, 0.5]),
    breaker=st.booleans(),
    stops=st.one_of(st.none(), st.none(), times),
)


class World:
    """Stages to which something happens, row by row."""

    def __init__(self, happens: list[list[str]], given: Options) -> None:
        self.happens = happens
        self.given = given
        self.begun: Counter[tuple[int, int]] = Counter()
        self.most = 0
        self.devices = [
            SimulatedDevice(TRACE, queues=not given.batch, before=self.before)
            for _ in range(TRACE.k if given.apart else 1)
        ]
        limits = {"retries": given.retries, "timeout": given.timeout, "backoff": 4e-3}
        breaker = tt.Breaker(failures=2, cooldown=0.02) if given.breaker else None
        own = [device.stages(batch=given.batch, breaker=breaker, **limits) for device in self.devices]
        self.cascade = tt.Cascade(policy_of("models"), [own[v if given.apart else 0][v] for v in range(TRACE.k)])

    async def before(self, stage: int, rows: Any) -> None:
        self.begun.update((stage, row) for row in rows)
        self.most = max(self.most, len(rows))
        what = {self.happens[row][stage] for row in rows}
        if "hangs" in what:
            await asyncio.sleep(1e6 if self.given.timeout is not None else 0.3)
        if "is slow" in what:
            await asyncio.sleep(0.02)
        if "halts" in what:
            raise Halt
        if "raises" in what or any(
            self.happens[row][stage] == "raises once" and self.begun[stage, row] == 1 for row in rows
        ):
            raise OSError("down")


class End(NamedTuple):
    result: Any
    at: float


async def one(batcher: tt.Batcher[int, int], row: int, request: Request) -> End:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(request.comes)
    task = asyncio.ensure_future(batcher(row, deadline=request.deadline))
    if request.leaves is not None:
        loop.call_later(request.leaves, task.cancel)
    (result,) = await asyncio.gather(task, return_exceptions=True)
    return End(result, loop.time())


async def serve(world: World, asked: list[Request]) -> list[End]:
    given = world.given
    batcher = tt.Batcher(
        world.cascade,
        max_batch=given.max_batch,
        max_wait=given.max_wait,
        max_pending=given.max_pending,
        devices=range(TRACE.k) if given.apart else None,
    )
    callers: list[asyncio.Task[End]] = []
    with contextlib.suppress(StopError):
        async with batcher:
            callers = [asyncio.ensure_future(one(batcher, row, request)) for row, request in enumerate(asked)]
            if given.stops is not None:
                await asyncio.sleep(given.stops)
                raise StopError
            await asyncio.gather(*callers)
    assert (batcher.pending, batcher.outside) == (0, 0)
    assert sum(one.rows for one in batcher.stats().values()) >= sum(world.begun.values())
    return list(await asyncio.gather(*callers))


def as_the_engine_says(row: int, served: tt.Served[int]) -> None:
    """The stages asked, what failed or was barred, and the answer fit each other."""
    said = TRACE.prediction
    assert said is not None
    run, seen = policy_of("models").start(), []
    is_late = served.outcome == "deadline"
    while (stage := run.next) is not None:
        failure, barred = served.failures.get(stage), served.barred.get(stage)
        if is_late and "deadline" in (failure or barred or ""):
            if failure:
                seen.append(stage)
                run.stop()
            break
        if barred:
            run.bar()
            continue
        seen.append(stage)
        if failure:
            run.fail()
        else:
            run.observe(TRACE.signal[row, stage], int(said[row, stage]))
    assert (served.stage, served.consulted, served.cost) == (run.answer, tuple(seen), run.cost)
    assert served.output == row * TRACE.k + (served.stage or 0)


@given(
    st.lists(requests, min_size=1, max_size=LONGEST),
    st.lists(st.lists(happenings, min_size=4, max_size=4), min_size=LONGEST, max_size=LONGEST),
    options,
)
def test_every_request_ends_once_and_as_the_engine_says(
    asked: list[Request], happens: list[list[str]], given: Options
) -> None:
    world = World(happens, given)
    seen = virtual_loop.observed(serve(world, asked))
    assert (seen.complaints, seen.tasks) == ([], [])
    assert world.most <= given.max_batch
    for row, (request, end) in enumerate(zip(asked, seen.result, strict=True)):
        if request.deadline is not None:
            assert end.at <= request.comes + request.deadline
        if request.leaves is not None:
            assert end.at <= request.comes + request.leaves
        if isinstance(end.result, asyncio.CancelledError):
            assert request.leaves is not None
            continue
        if isinstance(end.result, Halt):
            assert any("halts" in stages for stages in happens)
            continue
        if type(end.result) in (tt.TTamerError, tt.ValidationError):
            assert given.stops is not None
            assert end.at >= given.stops
            assert str(end.result) in (
                "the batcher was left by StopError before the answer",
                "`batcher` must be open, and is closed",
            )
            continue
        if isinstance(end.result, tt.Served):
            as_the_engine_says(row, end.result)
            assert {stage for stage, own in world.begun if own == row} <= set(end.result.consulted)
        else:
            assert isinstance(end.result, tt.NoAnswerError)
            assert end.result.failures
    assert all(count <= given.retries + 1 for count in world.begun.values())


def test_the_same_arrivals_are_served_alike() -> None:
    """Nothing depends on anything but the clock, where nobody draws a pause."""
    given = Options(3, 0.0, 5, False, True, 0, 0.05, False, None)
    happens = [["answers", "raises", "is slow", "hangs"], ["is slow", "answers", "answers", "raises"]] * 6
    asked = [Request(1e-3 * row, 0.2 if row % 3 else None, None) for row in range(LONGEST)]

    def once() -> list[Any]:
        ends = virtual_loop.run(serve(World(happens, given), asked))
        return [(end.at, getattr(end.result, "consulted", None), getattr(end.result, "stage", None)) for end in ends]

    assert once() == once()
