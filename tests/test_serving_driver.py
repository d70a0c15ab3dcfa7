"""The driver of one request and that of many: no server, no model."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from conftest import make_trace
from serving_policies import KINDS, policy_of, signals_of, walk, walked
from ttamer_fast.serving.batch_driver import BatchDriver
from ttamer_fast.serving.driver import Driver
from ttamer_fast.serving.slowdown import Slowdown
from ttamer_fast.traces.record import PolicyIdentity

Request = tuple[list[float | None], list[Hashable]]

MOST = 4
"""Stages of the largest policy."""

FORWARD = ("exits", "patience", "line", "skip", "default")
"""Policies under which no request goes back to a stage that it has passed over."""

signals = st.one_of(
    st.none(), st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0), st.floats(), st.integers(-(10**400), 10**400)
)
hashables = st.one_of(st.none(), st.integers(0, 2), st.sampled_from(["cat", "dog", (1, 2), 2**70, -1, 0.5, True]))
requests = st.tuples(st.lists(signals, min_size=MOST, max_size=MOST), st.lists(hashables, min_size=MOST, max_size=MOST))


def drive(driver: Driver[str], request: Request) -> bool:
    """One answer; whether there was a question."""
    if driver.ask is None:
        return False
    stage = driver.ask
    said = driver.answered(request[0][stage], request[1][stage], f"output {stage}")
    assert said == driver.ask
    return True


@given(st.sampled_from(KINDS), requests)
def test_asks_each_stage_at_most_once_and_hands_over_the_best_in_hand(kind: str, request: Request) -> None:
    policy = policy_of(kind)
    driver: Driver[str] = Driver(policy, PolicyIdentity.of(policy))
    asked = []
    while driver.ask is not None:
        asked.append(driver.ask)
        drive(driver, request)
    served, wanted = driver.served(), walk(policy, *request)
    record = served.record
    assert len(set(asked)) == len(asked) <= len(policy.stages)
    assert walked(record) == wanted
    assert served.consulted == tuple(asked) == wanted.consulted
    assert (served.output, served.stage) == (
        (None, None) if wanted.answer is None else (f"output {wanted.answer}", wanted.answer)
    )
    assert served.outcome == (
        "abstained" if wanted.answer is None else "stopped" if wanted.answer == asked[-1] else "recalled"
    )
    assert served.recalled == (served.outcome == "recalled")
    assert record.digest == policy.digest
    assert record.stages == policy.stages
    k = len(policy.stages)
    assert served.prediction == tuple(request[1][v] if v in asked else None for v in range(k))


@given(st.sampled_from(KINDS), st.lists(st.floats(0.0, 1.0), min_size=MOST, max_size=MOST), st.integers(0, 80))
def test_as_replayed(kind: str, signal: list[float], said: int) -> None:
    policy = policy_of(kind)
    k = len(policy.stages)
    prediction = [said // 3**v % 3 for v in range(k)]
    driver: Driver[str] = Driver(policy, PolicyIdentity.of(policy))
    while drive(driver, (list(signal), list(prediction))):
        pass
    served = driver.served()
    replay = policy.replay([signal[:k]], [prediction])
    assert (-1 if served.stage is None else served.stage) == replay.answer[0]
    assert sorted(served.consulted) == np.flatnonzero(replay.consulted[0]).tolist()
    assert served.cost == replay.cost[0]
    np.testing.assert_array_equal(served.signal, signals_of(signal[:k], served.consulted))


@given(st.data())
def test_requests_in_flight_do_not_touch_each_other(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    given = [data.draw(requests) for _ in kinds]
    drivers: list[Driver[str]] = [Driver(policy_of(kind), PolicyIdentity.of(policy_of(kind))) for kind in kinds]
    open_ones = [i for i, driver in enumerate(drivers) if driver.ask is not None]
    while open_ones:
        i = data.draw(st.sampled_from(open_ones))
        drive(drivers[i], given[i])
        open_ones = [i for i in open_ones if drivers[i].ask is not None]
    for kind, request, driver in zip(kinds, given, drivers, strict=True):
        assert walked(driver.served().record) == walk(policy_of(kind), *request)
    assert len({driver.served().request_id for driver in drivers}) == len(drivers)


@given(st.sampled_from(KINDS), st.lists(requests, max_size=8), st.booleans())
def test_many_in_step_as_one_by_one(kind: str, given: list[Request], telling: bool) -> None:
    policy = policy_of(kind)
    driver: BatchDriver[str] = BatchDriver(policy, PolicyIdentity.of(policy), len(given))
    asked: set[tuple[int, int]] = set()
    order: list[int] = []
    while driver.ask is not None:
        stage, rows = driver.ask
        order.append(stage)
        assert rows.tolist() == sorted(set(rows.tolist()))
        for row in rows.tolist():
            assert (row, stage) not in asked
            asked.add((row, stage))
        signal = signals_of([as_float(given[row][0][stage]) for row in rows], range(len(rows)))
        said = [given[row][1][stage] for row in rows] if telling else None
        driver.answered(signal, said, [f"output {row}.{stage}" for row in rows])
    if kind in FORWARD:
        assert order == sorted(set(order))
    table = driver.served()
    singly = [walk(policy, request[0], request[1] if telling else [None] * MOST) for request in given]
    assert len(table) == len(given)
    assert table.stage.tolist() == [-1 if one.answer is None else one.answer for one in singly]
    assert table.cost.tolist() == [one.cost for one in singly]
    k = len(policy.stages)
    assert table.consulted.tolist() == [[v in one.consulted for v in range(k)] for one in singly]
    assert [walked(served.record) for served in table] == singly
    for i, (served, one) in enumerate(zip(table, singly, strict=True)):
        assert table[i].record == served.record == table[i - len(table)].record
        assert served.output == table.outputs[i] == (None if one.answer is None else f"output {i}.{one.answer}")
        assert served.outcome == table.outcome[i]
    assert len({served.request_id for served in table}) == len(table)


def as_float(signal: float | None) -> float:
    """What an array of floats holds for a signal."""
    try:
        return math.nan if signal is None else float(signal)
    except OverflowError:
        return math.nan


def test_signals_are_kept_as_floats() -> None:
    policy = policy_of("exits")
    given: list[Any] = [np.float32(0.25), None, 10**400, 1]
    driver: Driver[str] = Driver(policy, PolicyIdentity.of(policy))
    while driver.ask is not None:
        driver.answered(given[driver.ask], driver.ask, "output")
    steps = driver.served().record.steps
    assert len(steps) == 4
    assert [repr(signal) for _, signal, _ in steps] == ["0.25", "nan", "nan", "1.0"]


def test_out_of_turn() -> None:
    policy = policy_of("exits")
    identity = PolicyIdentity.of(policy)
    driver: Driver[str] = Driver(policy, identity)
    with pytest.raises(tt.TTamerError, match="`served` must follow the last answer: stage 0 is asked"):
        driver.served()
    with pytest.raises(tt.ValidationError, match=r"`signal` of stage 0 .* must return a number, got 'high'"):
        driver.answered("high", None, "output")  # type: ignore[arg-type]
    with pytest.raises(tt.ValidationError, match=r"`prediction` of stage 0 .* must return a hashable, got"):
        driver.answered(0.5, [1], "output")  # type: ignore[arg-type]
    assert driver.ask == 0
    while driver.ask is not None:
        driver.answered(1.0, 0, "output")
    before = walked(driver.served().record)
    with pytest.raises(tt.RunFinishedError, match="the request is decided"):
        driver.answered(1.0, 0, "output")
    assert walked(driver.served().record) == before

    batch: BatchDriver[str] = BatchDriver(policy, identity, 2)
    with pytest.raises(tt.TTamerError, match="`served` must follow the last answers: stage 0 is asked"):
        batch.served()
    with pytest.raises(tt.ValidationError, match="`outputs` must have 2 entries, one a row, got 1"):
        batch.answered(np.ones(2), None, ["output"])
    with pytest.raises(tt.ValidationError, match="`signal` must have 2 entries"):
        batch.answered(np.ones(3), None, ["output", "output"])
    with pytest.raises(tt.ValidationError, match=r"`prediction` of stage 0 .* must have 2 entries"):
        batch.answered(np.ones(2), [0], ["output", "output"])
    assert batch.ask is not None
    assert batch.ask[1].tolist() == [0, 1]
    while batch.ask is not None:
        rows = batch.ask[1]
        batch.answered(np.ones(len(rows)), None, ["output"] * len(rows))
    with pytest.raises(tt.RunFinishedError, match="all requests are decided"):
        batch.answered(np.ones(0), None, [])


def timed_policy() -> tt.Policy:
    plain = make_trace(600, 4)
    latency = np.random.default_rng(5).gamma(4.0, [0.001, 0.002, 0.004, 0.008], size=(600, 4))
    trace = tt.Trace(plain.signal, plain.loss, plain.cost, prediction=plain.prediction, latency=latency)
    return tt.fit(trace, tradeoff=0.9, deadline=True)


def test_what_an_answer_took_is_told_with_it_or_before_it() -> None:
    rng = np.random.default_rng(3)
    for policy in (timed_policy(), policy_of("models")):
        identity = PolicyIdentity.of(policy)
        consulted: set[tuple[int, ...]] = set()
        paces = [Slowdown(policy), Slowdown(policy)] if policy.knows_time else [None, None]
        for deadline in [math.inf, *rng.uniform(0.0, 0.1, 200).tolist()]:
            one, many = (Driver[str](policy, identity, slowdown=pace, seconds=deadline) for pace in paces)
            assert one.ask == many.ask
            if one.ask is None:  # there is no time for anything
                continue
            left = deadline
            while (stage := one.ask) is not None:
                signal: Any = [0.1, None, np.float32(0.7), rng.random()][rng.integers(4)]
                said = int(rng.integers(3))
                seconds = float(rng.gamma(4.0, 0.004))
                left -= seconds
                if left < math.inf:
                    many.has_left(left)
                many.took(seconds)
                many.answered(signal, said, f"output {stage}")
                assert one.answered_after(signal, said, f"output {stage}", seconds, left) == one.ask == many.ask
            ours, theirs = one.served(), many.served()
            assert walked(ours.record) == walked(theirs.record)
            assert np.array_equal(ours.seconds, theirs.seconds, equal_nan=True)
            assert ours.output == theirs.output
            consulted.add(ours.consulted)
        assert len(consulted) > 3
        if paces[0] is not None and paces[1] is not None:
            assert paces[0].factor == paces[1].factor != 1.0


def test_an_answer_and_its_time_out_of_turn() -> None:
    policy = timed_policy()
    driver: Driver[str] = Driver(policy, PolicyIdentity.of(policy), slowdown=Slowdown(policy), seconds=9.0)
    asked = driver.ask
    with pytest.raises(tt.ValidationError, match=r"`signal` of stage . .* must return a number, got 'high'"):
        driver.answered_after("high", None, "output", 0.1, 8.0)  # type: ignore[arg-type]
    with pytest.raises(tt.ValidationError, match=r"`prediction` of stage . .* must return a hashable, got"):
        driver.answered_after(0.5, [1], "output", 0.1, 8.0)  # type: ignore[arg-type]
    assert driver.ask == asked
    while driver.ask is not None:
        driver.answered_after(1.0, 0, "output", 0.1, 8.0)
    before = walked(driver.served().record)
    with pytest.raises(tt.RunFinishedError, match="`answered_after` must follow a question"):
        driver.answered_after(1.0, 0, "output", 0.1, 8.0)
    assert walked(driver.served().record) == before
