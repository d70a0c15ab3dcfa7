"""The engine's counts of requests: what records say of them, one by one and in batches."""

from __future__ import annotations

import math
import os
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pytest

import logged
import ttamer_fast as tt
from children import told_by_child
from decided_requests import ROWS, Requests, answers, decide, ended, ended_batch, has_answer, in_threads, turn
from serving_policies import policy_of
from ttamer_fast._core import Counted, Counters

COSTS = [1.0, 2.0, 4.0, 8.0]
SECONDS = [0.125, 0.25]
TAKEN = 0.25

KINDS = {
    "answers": {"becomes": answers},
    "failures": {"becomes": turn},
    "barred": {"becomes": turn, "without": {1: "open"}},
    "timed": {"becomes": turn, "seconds": TAKEN},
    "nobody": {"becomes": lambda row, stage: "failed"},
}


def requests(kind: str) -> Requests:
    return decide(logged.policy(), logged.table(), **KINDS[kind])  # type: ignore[arg-type]


def new() -> Counters:
    return Counters(logged.K, COSTS, SECONDS)


def count(counters: Counters, of: Requests) -> None:
    for record in of.records:
        counters.count(*ended(record, record._seconds, record.explored))


def count_batch(counters: Counters, of: Requests) -> None:
    counters.count_batch(*ended_batch(of.decided, of.decided.explored))


def as_dict(counted: Counted) -> dict[str, Any]:
    names = [name for name in dir(counted) if not name.startswith("_")]
    values = {name: getattr(counted, name) for name in names}
    return {name: one.tolist() if isinstance(one, np.ndarray) else one for name, one in values.items()}


def by_hand(of: Requests) -> dict[str, Any]:
    """What records say."""
    k = logged.K
    outcomes = dict.fromkeys(("stopped", "recalled", "deadline", "failed", "abstained", "none"), 0)
    outcomes |= Counter(record.outcome if has_answer(record) else "none" for record in of.records)
    each = {name: [0] * k for name in ("runs", "failures", "barred")}
    answered = [[0, 0] for _ in range(k)]
    seconds = [[0] * (len(SECONDS) + 1) for _ in range(k)]
    for record in of.records:
        for name, stages in ("runs", record.consulted), ("failures", record.failures), ("barred", record.barred):
            for stage in stages:
                each[name][stage] += 1
        if record.answer is not None:
            answered[record.answer][record.recalled] += 1
        for stage, taken in (record._seconds or {}).items():
            seconds[stage][int(np.searchsorted(SECONDS, taken))] += 1
    costs = np.array([record.cost for record in of.records])
    return {
        **each,
        "outcomes": outcomes,
        "explored": sum(record.explored for record in of.records),
        "answers": answered,
        "cost_counts": np.bincount(np.searchsorted(COSTS, costs), minlength=len(COSTS) + 1).tolist(),
        "cost_sum": pytest.approx(costs.sum()),
        "seconds_counts": seconds,
        "seconds_sum": pytest.approx([TAKEN * sum(of_stage) for of_stage in seconds]),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_what_records_say(kind: str) -> None:
    of = requests(kind)
    expected = by_hand(of)
    alone, batch = new(), new()
    count(alone, of)
    count_batch(batch, of)
    assert as_dict(alone.read()) == expected
    assert as_dict(batch.read()) == expected
    assert sum(expected["outcomes"].values()) == ROWS
    if kind == "nobody":
        assert expected["outcomes"]["none"] == ROWS
    elif kind == "answers":
        assert expected["outcomes"]["recalled"] > 0
    else:
        ways = ["stopped", "recalled", "deadline", "failed"]
        assert min(expected["outcomes"][way] for way in ways) > 0
        assert sum(expected["barred"]) > 0
        assert sum(map(sum, expected["seconds_counts"])) == (sum(expected["runs"]) if kind == "timed" else 0)


def test_requests_that_nothing_is_better_for_are_abstained() -> None:
    of = decide(policy_of("declining"), tt.Trace(*_table()))
    counters = new()
    count(counters, of)
    count_batch(counters, of)
    outcomes = counters.read().outcomes
    assert outcomes["abstained"] == 2 * sum(record.answer is None for record in of.records) > 0
    assert (outcomes["none"], sum(outcomes.values())) == (0, 2 * ROWS)


def _table() -> tuple[Any, ...]:
    table = logged.table()
    return table.signal, table.loss, table.cost, table.prediction


def test_what_is_read_stays_as_it_was() -> None:
    counters = new()
    before = counters.read()
    count(counters, requests("failures"))
    assert sum(before.outcomes.values()) == before.cost_sum == before.runs.sum() == 0
    after = counters.read()
    after.runs[:] = 0
    assert after.runs.sum() > 0


def test_bounds_are_inclusive_and_what_is_not_finite_is_left_out() -> None:
    counters = Counters(1, [1.0], [0.5])
    for cost, seconds in (1.0, 0.5), (1.5, 0.75), (math.inf, math.nan), (math.nan, math.inf):
        counters.count([(0, 0.5, None)], 0, False, cost, 0.1, {}, {}, {0: seconds}, False)
    counted = counters.read()
    assert (counted.cost_counts.tolist(), counted.cost_sum) == ([1, 1], 2.5)
    assert (counted.seconds_counts.tolist(), counted.seconds_sum.tolist()) == ([[1, 1]], [1.25])
    assert counted.outcomes["stopped"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, [2.0, 1.0], []), r"^`cost_bounds\[1\]` must be finite and larger than the one before, got 1$"),
        ((1, [], [math.nan]), r"^`seconds_bounds\[0\]` must be finite and larger than the one before, got NaN$"),
        ((1, [0.0] * 1001, []), "^`cost_bounds` must have at most 1000 entries, got 1001$"),
    ],
)
def test_bounds_that_are_none(arguments: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError, match=message):
        Counters(*arguments)


def test_rows_that_are_none_are_refused_and_nothing_is_counted() -> None:
    counters = new()
    stage, late, cost, loss, reports = ended_batch(requests("answers").decided)
    with pytest.raises(tt.ValidationError, match=r"^`reports` must be of rows in 0\.\.3, got "):
        counters.count_batch(stage[:3], late, cost[:3], loss[:3], reports, None)
    with pytest.raises(tt.ValidationError, match=r"^columns must have 200 entries, as `stage` has, got 3$"):
        counters.count_batch(stage, late, cost[:3], loss, reports, None)
    with pytest.raises(TypeError):
        counters.count([(0, 0.5, None), "no step"], 0, False, 1.0, 0.1, {}, {}, None, False)  # type: ignore[list-item]
    assert sum(counters.read().outcomes.values()) == counters.read().runs.sum() == 0


def test_threads_lose_no_counts() -> None:
    of, counters, alone = requests("timed"), new(), new()
    count(alone, of)
    ways = (count, count_batch) * 4
    in_threads([partial(way, counters, of) for way in ways])
    once, all_of_them = as_dict(alone.read()), as_dict(counters.read())
    for name, one in once.items():
        values = np.array(list(one.values()) if isinstance(one, dict) else one)
        found = all_of_them[name]
        np.testing.assert_allclose(list(found.values()) if isinstance(found, dict) else found, 8 * values)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_counts_on_from_where_its_parent_stood() -> None:
    of, counters = requests("failures"), new()
    count(counters, of)

    def child() -> object:
        count_batch(counters, of)
        return counters.read().runs.tolist()

    once = counters.read().runs
    assert told_by_child(child) == (2 * once).tolist()
    assert counters.read().runs.tolist() == once.tolist()
