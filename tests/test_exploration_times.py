"""Requests that are run through for the record: when their other stages run, and what happens meanwhile."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import logged
import ttamer_fast as tt
from logged import K
from ttamer_fast.serving import exploration as exploration_module
from virtual_loop import VirtualLoop, run


def test_a_cap_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(exploration_module, "monotonic", lambda: now)
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, explore=tt.Exploration(1.0, per_second=2.0))

        def explored(count: int) -> int:
            return sum(cascade(x).explored for x in range(count))

        assert explored(5) == 2
        now += 0.5
        assert explored(5) == 1
        now += 60.0
        assert explored(5) == 2
        now += 1.0
        table = cascade.batch(list(range(7)))
        assert table.explored.tolist() == [True] * 2 + [False] * 5
        report = cascade.exploration_report()
        assert (report.explored, report.capped) == (7, 15)
    counts = tt.read_records(tmp_path).counts()
    assert (counts.requests, counts.explored, counts.capped) == (22, 7, 15)


def test_answers_go_out_before_the_other_stages_run(tmp_path: Path) -> None:
    first = logged.policy().start().next
    rows = [x for x in range(200) if logged.consulted()[x].sum() == 1]
    begun, may_go_on = threading.Event(), threading.Event()

    def slow(number: int) -> Callable[[int], Any]:
        def look(x: int) -> Any:
            begun.set()
            assert may_go_on.wait(20.0)
            return logged.Spoken(x, number)

        return look

    runs = {number: slow(number) for number in range(K) if number != first}
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, runs, explore=tt.Exploration(1.0, background=True))
        served = cascade(rows[0])
        assert begun.wait(20.0)
        assert served.explored
        assert cascade.exploration_report().under_way == 1
        assert (log.pending, log.written) == (0, 0)
        may_go_on.set()
        logged.wait_for(lambda: not cascade.exploration_report().under_way)
    (record,) = logged.by_id(tmp_path, [served.request_id])
    assert not np.isnan(record.signal).any()


def test_on_an_event_loop_answers_do_not_wait(tmp_path: Path) -> None:
    first = logged.policy().start().next
    rows = [x for x in range(200) if logged.consulted()[x].sum() == 1]

    def slow(number: int) -> Callable[[int], Awaitable[Any]]:
        async def look(x: int) -> Any:
            if number != first:
                await asyncio.sleep(10.0)
            return logged.Spoken(x, number)

        return look

    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, {v: slow(v) for v in range(K)}, explore=1.0)

        async def serve() -> list[float]:
            loop = asyncio.get_running_loop()
            times = []
            await cascade.acall(rows[0], deadline=1.0)
            times.append(loop.time())
            await cascade.abatch(rows[:2])
            times.append(loop.time())
            async with tt.Batcher(cascade) as batcher:
                await batcher(rows[0])
                times.append(loop.time())
            times.append(loop.time())
            await logged.over(cascade)
            return [*times, loop.time()]

        *answers, left, _ = run(serve())
    assert answers == [0.0, 0.0, 0.0]
    assert left == 30.0  # whoever leaves the batcher waits for the records
    for record in tt.read_records(tmp_path):
        assert record.explored
        assert not np.isnan(record.signal).any()


def test_a_loop_that_ends_leaves_records_of_what_ran(tmp_path: Path) -> None:
    first = logged.policy().start().next
    rows = [x for x in range(200) if logged.consulted()[x].sum() == 1][:5]

    async def never(x: int) -> Any:
        await asyncio.sleep(1e9)

    runs: dict[int, Any] = dict.fromkeys(range(K), never)
    assert first is not None
    runs[first] = logged.coroutines()[first]
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, runs, explore=1.0)

        async def serve() -> None:
            for x in rows:
                await cascade.acall(x)

        asyncio.run(serve())
        assert cascade.exploration_report().under_way == 0

        async def leave() -> None:
            async with tt.Batcher(cascade) as batcher:
                await batcher(rows[0])
                raise KeyError

        with pytest.raises(KeyError):
            run(leave())
        assert cascade.exploration_report().under_way == 0
    records = list(tt.read_records(tmp_path))
    assert len(records) == 6
    for record in records:
        assert record.explored
        assert record.explored_stages == ()


def test_a_loop_that_is_closed_early_leaves_records_of_what_ran(tmp_path: Path) -> None:
    rows = [x for x in range(200) if logged.consulted()[x].sum() == 1][:5]
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, logged.coroutines(), explore=1.0)
        for x in rows:
            loop = VirtualLoop()
            loop.set_exception_handler(lambda loop, context: None)  # tasks are destroyed, as it would say
            loop.run_until_complete(cascade.acall(x))
            loop.close()
        assert log.pending + log.written == 4
        report = cascade.exploration_report()
        assert (report.explored, report.under_way) == (5, 0)
    records = list(tt.read_records(tmp_path))
    assert [record.explored for record in records] == [True] * 5
    assert all(len(record.consulted) == 1 for record in records)


def test_the_deadline_of_a_request_is_not_one_of_its_exploration(tmp_path: Path) -> None:
    left = []

    def look(x: int) -> Any:
        left.append(tt.time_left())
        return logged.Spoken(x, 3)

    rows = [x for x in range(200) if not logged.consulted()[x, 3]]
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, {3: look}, explore=1.0)
        served = [cascade(rows[0], deadline=30.0), *cascade.batch(rows[:2], deadline=30.0)]
        logged.wait_for(lambda: not cascade.exploration_report().under_way)

        async def serve() -> None:
            await cascade.acall(rows[0], deadline=30.0)
            await logged.over(cascade)

        asyncio.run(serve())
    assert left == [math.inf] * len(left)
    assert len(left) == 4
    assert all(one.outcome != "deadline" for one in served)


def test_stages_that_carry_get_the_same_request(tmp_path: Path) -> None:
    seen: dict[int, list[int]] = {}

    def carrying(number: int) -> Callable[[Any], Any]:
        def look(request: Any) -> Any:
            request.kept.setdefault("stages", []).append(number)
            seen[request.x] = request.kept["stages"]
            return logged.Spoken(request.x, number)

        return look

    made = [logged.stage(v, carrying(v), carries=True) for v in range(K)]
    with tt.RecordLog(tmp_path) as log:
        cascade = tt.Cascade(logged.policy(), made, record=log, explore=1.0)
        for x in range(50):
            served = cascade(x)
            assert seen[x][: len(served.consulted)] == list(served.consulted)
            assert sorted(seen[x]) == list(range(K))
        cascade.batch(list(range(50, 80)))
        assert all(sorted(seen[x]) == list(range(K)) for x in range(50, 80))


def test_an_interrupt_passes_and_leaves_a_record(tmp_path: Path) -> None:
    def interrupted(x: int) -> Any:
        raise KeyboardInterrupt

    rows = [x for x in range(200) if not logged.consulted()[x, 3]]
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, {3: interrupted}, explore=1.0)
        for serve in (lambda: cascade(rows[0]), lambda: cascade.batch(rows[:2])):
            with pytest.raises(KeyboardInterrupt):
                serve()
        assert cascade.exploration_report().under_way == 0
    records = list(tt.read_records(tmp_path))
    assert [record.explored for record in records] == [True] * 3
