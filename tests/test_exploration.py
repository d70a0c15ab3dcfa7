"""Requests that are run through for the record: which, when, at what cost, and that nobody's answer depends on it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import logged
import ttamer_fast as tt
from logged import K
from virtual_loop import run

ROWS = 300

Door = Callable[[tt.RecordLog, Any], list[tt.Served[Any]]]
"""Serves requests 0, 1, …, and waits until all are logged."""


def by_call(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    cascade = logged.cascade(log, explore=explore)
    return [cascade(x) for x in range(ROWS)]


def by_batch(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    cascade = logged.cascade(log, explore=explore)
    return [one for start in range(0, ROWS, 100) for one in cascade.batch(list(range(start, start + 100)))]


def by_batches_of_one(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    cascade = logged.batched(log, [], explore=explore)
    return [cascade.batch(np.array([x]))[0] for x in range(ROWS)]


def by_array(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    return list(logged.batched(log, [], explore=explore).batch(np.arange(ROWS)))


def by_acall(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    cascade = logged.cascade(log, logged.coroutines(), explore=explore)

    async def serve() -> list[tt.Served[Any]]:
        served = await asyncio.gather(*[cascade.acall(x) for x in range(ROWS)])
        await logged.over(cascade)
        return served

    return run(serve())


def by_acall_of_functions(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    cascade = logged.cascade(log, explore=explore)

    async def serve() -> list[tt.Served[Any]]:
        served = [await cascade.acall(x) for x in range(ROWS)]
        await logged.over(cascade)
        return served

    return asyncio.run(serve())


def by_abatch(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    cascade = logged.cascade(log, logged.coroutines(), explore=explore)

    async def serve() -> list[tt.Served[Any]]:
        table = await cascade.abatch(list(range(ROWS)))
        await logged.over(cascade)
        return list(table)

    return run(serve())


def by_batcher(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    cascade = logged.batched(log, [], explore=explore)

    async def serve() -> list[tt.Served[Any]]:
        async with tt.Batcher(cascade, max_batch=16) as batcher:
            return await asyncio.gather(*[batcher(x) for x in range(ROWS)])

    return run(serve())


def by_deadline(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    cascade = logged.cascade(log, explore=explore)
    served = [cascade(x, deadline=60.0) for x in range(ROWS)]
    logged.wait_for(lambda: not cascade.exploration_report().under_way)
    return served


def in_background(log: tt.RecordLog, explore: Any) -> list[tt.Served[Any]]:
    cascade = logged.cascade(log, explore=tt.Exploration(explore, background=True))
    served = [cascade(x) for x in range(ROWS // 2)]
    served += list(cascade.batch(list(range(ROWS // 2, ROWS))))
    logged.wait_for(lambda: not cascade.exploration_report().under_way)
    return served


DOORS: list[Door] = [
    by_call,
    by_batch,
    by_batches_of_one,
    by_array,
    by_acall,
    by_acall_of_functions,
    by_abatch,
    by_batcher,
    by_deadline,
    in_background,
]


@pytest.mark.parametrize("door", DOORS)
def test_answers_are_the_policy_s_own_and_records_are_complete(tmp_path: Path, door: Door) -> None:
    with tt.RecordLog(tmp_path) as log:
        served = door(log, 0.25)
    plain = logged.cascade(None)
    asked, said = logged.consulted(), logged.table().prediction
    assert said is not None
    prices = logged.table().cost
    records = logged.by_id(tmp_path, [one.request_id for one in served])
    assert len(tt.read_records(tmp_path)) == ROWS
    for x, (one, record) in enumerate(zip(served, records, strict=True)):
        alone = plain(x)
        assert (one.stage, one.consulted, one.cost, one.outcome) == (
            alone.stage,
            alone.consulted,
            alone.cost,
            alone.outcome,
        )
        assert (record.explored, record.propensity, record.capped) == (one.explored, 0.25, False)
        assert record.consulted == one.consulted
        ran = np.ones(K, np.bool_) if one.explored else asked[x]
        np.testing.assert_array_equal(record.signal, np.where(ran, logged.table().signal[x], np.nan))
        np.testing.assert_array_equal(record.prediction[ran], said[x, ran])
        assert sorted(record.explored_stages) == np.flatnonzero(ran & ~asked[x]).tolist()
        assert record.exploration_cost == pytest.approx(prices[ran & ~asked[x]].sum())
    share = np.mean([one.explored for one in served])
    assert abs(share - 0.25) < 4.5 * math.sqrt(0.25 * 0.75 / ROWS)


def test_what_it_has_cost(tmp_path: Path) -> None:
    with tt.RecordLog(tmp_path) as log:
        calls: list[tuple[int, int]] = []
        cascade = logged.batched(log, calls, explore=0.25)
        cascade.batch(np.arange(ROWS))
        report = cascade.exploration_report()
        asked = logged.consulted()[:ROWS].sum(axis=0)
        rows = np.zeros(K, int)
        for stage, count in calls:
            rows[stage] += count
        assert list(report.runs.values()) == (rows - asked).tolist()
        assert report.cost == pytest.approx((logged.table().cost * (rows - asked)).sum())
        assert (report.capped, report.under_way, set(report.failures.values())) == (0, 0, {0})
    counts = tt.read_records(tmp_path).counts()
    assert counts.explored == report.explored
    assert counts.exploration_cost == pytest.approx(report.cost)


def test_everything_and_nothing(tmp_path: Path) -> None:
    with tt.RecordLog(tmp_path / "all") as log:
        cascade = logged.cascade(log, explore=1.0)
        assert all(cascade(x).explored for x in range(50))
        assert cascade.batch(list(range(50))).explored.all()
    trace = tt.read_records(tmp_path / "all").trace(teacher=logged.policy().stages[0])
    assert not trace.is_censored
    with tt.RecordLog(tmp_path / "none") as log:
        cascade = logged.cascade(log)
        assert not any(cascade(x).explored for x in range(50))
        assert not cascade.batch(list(range(50))).explored.any()
        assert cascade.exploration_report().explored == 0


def test_which_requests_depends_on_names_and_seed(tmp_path: Path) -> None:
    from ttamer_fast._core import drawn, drawn_of_batch

    ids = [f"9f3a-{i}" for i in range(2000)]
    one, again, other = ([drawn(name, seed, 0.1) for name in ids] for seed in (0, 0, 1))
    assert one == again != other
    assert abs(np.mean(one) - 0.1) < 0.03
    assert drawn_of_batch("9f3a", 50, 7, 0.3).tolist() == [drawn(f"9f3a.{row}", 7, 0.3) for row in range(50)]
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, explore=0.3, seed=9)
        served = [cascade(x) for x in range(200)] + list(cascade.batch(list(range(100))))
    assert all(one.explored == drawn(one.request_id, 9, 0.3) for one in served)


def test_no_name_comes_twice(tmp_path: Path) -> None:
    names: list[str] = []
    with tt.RecordLog(tmp_path) as log:
        for _ in range(3):
            cascade = logged.cascade(log, explore=0.1, seed=0)
            names += [cascade(x).request_id for x in range(50)]
            names += [one.request_id for one in cascade.batch(list(range(50)))]
    assert len(set(names)) == len(names) == 300


def broken(x: int) -> Any:
    raise OSError("no route")


@pytest.mark.parametrize("door", ["call", "batch", "acall", "batcher"])
def test_what_fails_fails_for_the_record_alone(tmp_path: Path, door: str) -> None:
    rows = [x for x in range(200) if not logged.consulted()[x, 3]]
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, {3: broken}, explore=1.0)

        async def serve() -> list[tt.Served[Any]]:
            if door == "acall":
                served = [await cascade.acall(x) for x in rows]
                await logged.over(cascade)
                return served
            async with tt.Batcher(cascade) as batcher:
                return await asyncio.gather(*[batcher(x) for x in rows])

        if door in ("call", "batch"):
            served = [cascade(x) for x in rows] if door == "call" else list(cascade.batch(rows))
        else:
            served = asyncio.run(serve())
        report = cascade.exploration_report()
    assert all(one.failures == {} and one.explored for one in served)
    assert report.failures == dict(zip(logged.policy().stages, [0, 0, 0, len(rows)], strict=True))
    for record in logged.by_id(tmp_path, [one.request_id for one in served]):
        assert record.failures == {3: "OSError: no route"}
        assert np.isnan(record.signal).tolist() == [False, False, False, True]


@pytest.mark.parametrize("bad", ["signal", "prediction", "awaitable"])
def test_stages_that_answer_nonsense_fail_for_the_record_alone(tmp_path: Path, bad: str) -> None:
    rows = [x for x in range(50) if not logged.consulted()[x, 3]]

    async def later() -> None:
        """Never awaited by anybody."""

    made = [logged.stage(v) for v in range(3)]
    if bad == "signal":
        made.append(logged.stage(3, signal=lambda y: "very"))
    elif bad == "prediction":
        made.append(logged.stage(3, prediction=lambda y: [y]))
    else:
        made.append(logged.stage(3, lambda x: later()))
    with tt.RecordLog(tmp_path) as log:
        cascade = tt.Cascade(logged.policy(), made, record=log, explore=1.0)
        served = [cascade(x) for x in rows] + list(cascade.batch(rows))

        async def serve() -> list[tt.Served[Any]]:
            served = [await cascade.acall(x) for x in rows] + list(await cascade.abatch(rows))
            await logged.over(cascade)
            return served

        if bad != "awaitable":  # on an event loop that is an answer
            served += run(serve())
    assert all(one.explored and not one.failures for one in served)
    for record in logged.by_id(tmp_path, [one.request_id for one in served]):
        assert record.explored
        assert np.isnan(record.signal).tolist() == [False, False, False, True]
        assert list(record.failures) == [3]


def test_an_open_circuit_is_left_alone(tmp_path: Path) -> None:
    calls = 0

    def fails(x: int) -> Any:
        nonlocal calls
        calls += 1
        raise OSError

    rows = [x for x in range(200) if not logged.consulted()[x, 3]]
    made = [logged.stage(v) for v in range(3)]
    made.append(logged.stage(3, fails, breaker=tt.Breaker(failures=3, cooldown=1000.0)))
    with tt.RecordLog(tmp_path) as log:
        cascade = tt.Cascade(logged.policy(), made, record=log, explore=1.0)
        served = [cascade(x) for x in rows]
        served += list(cascade.batch(rows))
    assert calls == 3
    assert cascade.circuits[logged.policy().stages[3]].state == "open"
    records = logged.by_id(tmp_path, [one.request_id for one in served])
    assert [3 in record.failures for record in records] == [True] * 3 + [False] * (len(records) - 3)
    assert all(record.explored for record in records)


def test_bad_arguments(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"explore": 0.1}, "`explore` must be 0 without `record`, got 0.1"),
        ({"explore": tt.Exploration(0.1)}, "`explore` must be 0 without `record`, got 0.1"),
        ({"record": log, "explore": 1.5}, "`explore` must be a share between 0 and 1, got 1.5"),
        ({"record": log, "explore": -0.1}, "`explore` must be a share between 0 and 1, got -0.1"),
        ({"record": log, "explore": math.nan}, "`explore` must be a share between 0 and 1, got nan"),
        ({"record": log, "explore": "much"}, "`explore` must be a number, got 'much'"),
        ({"record": log, "seed": -1}, "`seed` must be an integer"),
        ({"record": tmp_path}, "`record` must be a RecordLog or None, got PosixPath|WindowsPath"),
    ]
    stages = [logged.stage(v) for v in range(K)]
    for given, message in cases:
        with pytest.raises(tt.ValidationError, match=message):
            tt.Cascade(logged.policy(), stages, **given)
    shares: list[tuple[dict[str, Any], str]] = [
        ({"share": 2.0}, "`share` must be a share between 0 and 1, got 2.0"),
        ({"share": 0.5, "per_second": 0.0}, "`per_second` must be above 0 and finite"),
        ({"share": 0.5, "background": 1}, "`background` must be True or False"),
    ]
    for given, message in shares:
        with pytest.raises(tt.ValidationError, match=message):
            tt.Exploration(**given)
    with pytest.raises(tt.ValidationError, match="`record` must be given for an exploration report, got None"):
        tt.Cascade(logged.policy(), stages).exploration_report()
