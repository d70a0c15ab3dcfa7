"""What the stages of a request keep for one another: through every door, and gone with the request."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from small_cascades import GO_ON, STOP, K, line

N = 40
LONG = 30.0

Trail = tuple[int, tuple[int, ...], int]
"""The input, the stages that have run for it, and what the last one says."""


def signal(output: Trail | list[Trail]) -> Any:
    return [one[2] for one in output] if isinstance(output, list) else output[2]


def walk(stage: int, request: tt.Request[int]) -> Trail:
    """Input x ends at stage x % K."""
    trail = (*request.kept.get("trail", ()), stage)
    request.kept["trail"] = trail
    return int(request.x), trail, STOP if int(request.x) % K == stage else GO_ON


def walking(kind: str) -> list[tt.Stage[Any, Any]]:
    """Stages that carry: plain functions or coroutine functions, with `batch` or without."""

    def made(stage: int) -> tt.Stage[Any, Any]:
        async def run_async(request: tt.Request[int]) -> Trail:
            await asyncio.sleep(0)
            return walk(stage, request)

        async def batch_async(requests: list[tt.Request[int]]) -> list[Trail]:
            await asyncio.sleep(0)
            return batch(requests)

        def run(request: tt.Request[int]) -> Trail:
            return walk(stage, request)

        def batch(requests: list[tt.Request[int]]) -> list[Trail]:
            assert type(requests) is list
            return [walk(stage, request) for request in requests]

        is_async = kind.startswith("async")
        batches: Any = None if kind.endswith("single") else batch_async if is_async else batch
        return tt.Stage(run_async if is_async else run, batch=batches, signal=signal, carries=True)

    return [made(stage) for stage in range(K)]


def served_by(kind: str, door: str, xs: Any) -> list[Any]:
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), walking(kind))

    async def together() -> list[Any]:
        if door == "batcher":
            async with tt.Batcher(cascade, max_batch=7) as batcher:
                return list(await asyncio.gather(*[batcher(x) for x in xs]))
        if door == "abatch":
            return list(await cascade.abatch(xs))
        limit = LONG if door == "acall in time" else None
        return list(await asyncio.gather(*[cascade.acall(x, limit) for x in xs]))

    if door == "call":
        return [cascade(x) for x in xs]
    if door == "call in time":
        return [cascade(x, LONG) for x in xs]
    if door == "batch":
        return list(cascade.batch(xs))
    if door == "batch in time":
        return list(cascade.batch(xs, LONG))
    return asyncio.run(together())


SYNC = ("call", "call in time", "batch", "batch in time")
ASYNC = ("acall", "acall in time", "abatch", "batcher")
DOORS = [(kind, door) for kind in ("plain", "plain single") for door in (*SYNC, *ASYNC)]
DOORS += [(kind, door) for kind in ("async", "async single") for door in ASYNC]


@pytest.mark.parametrize(("kind", "door"), DOORS)
def test_stages_of_a_request_see_what_the_ones_before_kept(kind: str, door: str) -> None:
    batches: list[Any] = [list(range(N)), np.arange(N), [5]]
    for xs in batches:
        for x, served in zip(xs, served_by(kind, door, xs), strict=True):
            assert served.output == (x, tuple(range(x % K + 1)), STOP)
            assert served.consulted == tuple(range(x % K + 1))


def test_stages_that_carry_stand_beside_others() -> None:
    seen: list[Any] = []

    def bare(xs: Any) -> Any:
        seen.append(xs)
        return [(int(x), (), STOP if x % K == 1 else GO_ON) for x in xs]

    first, _, last = walking("plain")
    stages = [first, tt.Stage(lambda x: bare([x])[0], batch=bare, signal=signal), last]
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), stages)
    rows = np.arange(N)
    outputs = cascade.batch(rows).outputs
    assert outputs[:3] == [(0, (0,), STOP), (1, (), STOP), (2, (0, 2), STOP)]
    (given,) = seen
    assert isinstance(given, np.ndarray)
    assert given.tolist() == [x for x in range(N) if x % K]
    assert [cascade(x).output for x in range(N)] == outputs


def test_a_batch_of_columns_is_a_request_a_row() -> None:
    seen: list[dict[str, Any]] = []

    def batch(requests: list[tt.Request[dict[str, Any]]]) -> list[Trail]:
        seen.extend(request.x for request in requests)
        return [(0, (), STOP) for _ in requests]

    stage: tt.Stage[Any, Any] = tt.Stage(lambda request: batch([request])[0], batch=batch, signal=signal, carries=True)
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), [stage] * K)
    assert cascade.batch({"a": np.arange(3), "b": list("xyz")}).outputs == [(0, (), STOP)] * 3
    assert seen == [{"a": 0, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "z"}]


class State:
    """Something that can be seen to be gone."""


@pytest.mark.parametrize("door", ["call", "call in time", "batch", "acall", "abatch", "batcher"])
def test_nothing_is_kept_of_a_request_that_has_ended(door: str) -> None:
    kept: list[weakref.ref[State]] = []

    def keep(request: tt.Request[int]) -> Trail:
        request.kept["state"] = state = State()
        kept.append(weakref.ref(state))
        return request.x, (), GO_ON

    def end(request: tt.Request[int]) -> Trail:
        assert isinstance(request.kept["state"], State)
        if request.x % 2:
            raise ValueError("odd")
        return request.x, (), STOP

    stages = [tt.Stage(run, signal=signal, carries=True) for run in (keep, end, end)]
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), stages)

    async def together() -> list[Any]:
        if door == "abatch":
            return list(await cascade.abatch(list(range(N))))
        if door == "acall":
            return [await cascade.acall(x) for x in range(N)]
        async with tt.Batcher(cascade) as batcher:
            return list(await asyncio.gather(*[batcher(x) for x in range(N)]))

    calls: dict[str, Callable[[], list[Any]]] = {
        "call": lambda: [cascade(x) for x in range(N)],
        "call in time": lambda: [cascade(x, LONG) for x in range(N)],
        "batch": lambda: list(cascade.batch(list(range(N)))),
    }
    served = calls[door]() if door in calls else asyncio.run(together())
    assert [one.stage for one in served] == [x % 2 == 0 for x in range(N)]
    gc.collect()
    assert len(kept) == N
    assert [ref() for ref in kept] == [None] * N


def test_what_a_stage_left_behind_keeps_ends_with_it() -> None:
    kept: list[weakref.ref[State]] = []
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slow(request: tt.Request[int]) -> Trail:
        begun.set()
        assert go_on.wait(LONG)
        request.kept["state"] = state = State()
        kept.append(weakref.ref(state))
        done.set()
        return request.x, (), STOP

    def quick(request: tt.Request[int]) -> Trail:
        assert begun.wait(LONG)
        return request.x, (len(request.kept),), STOP

    stages = [tt.Stage(slow, signal=signal, timeout=0.05, carries=True)]
    stages += [tt.Stage(quick, signal=signal, carries=True)] * 2
    cascade: tt.Cascade[Any, Any] = tt.Cascade(line(), stages)
    served = cascade(3)
    assert (served.output, served.stage) == ((3, (0,), STOP), 1)
    go_on.set()
    assert done.wait(LONG)
    while any(cascade.late.values()):
        pass
    gc.collect()
    assert kept[0]() is None


def test_carries_is_a_flag_and_goes_with_the_stage() -> None:
    stage = tt.Stage(str, signal=len, carries=True)
    assert stage.carries
    assert not tt.Stage(str, signal=len).carries
    assert pickle.loads(pickle.dumps(stage)).carries
    with pytest.raises(tt.ValidationError, match="`carries` must be True or False, got 1"):
        tt.Stage(str, signal=len, carries=1)  # type: ignore[call-overload]
    assert repr(tt.Request(7)) == "Request(7, kept=[])"
