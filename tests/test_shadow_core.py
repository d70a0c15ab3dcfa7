"""Shadows of the engine: a second policy over what a request has shown, against its own replay of everything."""

from __future__ import annotations

import math
import os
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import logged
import ttamer_fast as tt
from children import told_by_child
from conftest import make_trace
from decided_requests import ROWS, Requests, answers, decide, ended, ended_batch, in_threads, turn
from serving_policies import policy_of, walk
from ttamer_fast._core import Shadow

KINDS = ("models", "exits", "threshold", "patience", "static", "coin", "declining", "refusing")
"""Of :func:`policy_of`: those over the same four stages."""

COUNTS = 7
"""How many of `Shadow.counts` are counts."""


@cache
def timed() -> tt.Policy:
    trace = make_trace(600, 4)
    latency = np.random.default_rng(0).random((600, 4))
    known = tt.Trace(trace.signal, trace.loss, trace.cost, trace.prediction, latency=latency)
    return tt.fit(known, tradeoff=0.9, deadline=True)


def of_kind(kind: str) -> tt.Policy:
    return timed() if kind == "timed" else policy_of(kind)


def follow(shadow: Shadow, of: Requests) -> None:
    for record in of.records:
        shadow.follow(*ended(record, of.without))


def follow_batch(shadow: Shadow, of: Requests) -> None:
    shadow.follow_batch(*ended_batch(of.decided, of.without))


def check_alike(one: Shadow, other: Shadow) -> None:
    assert one.counts[:COUNTS] == other.counts[:COUNTS]
    assert one.counts[COUNTS:] == pytest.approx(other.counts[COUNTS:])


@pytest.mark.parametrize("kind", [*KINDS, "timed"])
def test_counts_are_those_of_a_replay(kind: str) -> None:
    trace, policy = make_trace(ROWS, 4, seed=3), of_kind(kind)
    replay = policy.replay(trace.signal, trace.prediction)
    assert trace.prediction is not None
    alone = [walk(policy, *row) for row in zip(trace.signal.tolist(), trace.prediction.tolist(), strict=True)]
    seen = np.zeros(3, int)
    for other in (*KINDS, "timed"):
        of = decide(of_kind(other), trace)
        agreed = reordered = earlier = answers = 0
        costs = np.zeros(4)
        for row, record in enumerate(of.records):
            if set(np.flatnonzero(replay.consulted[row])) <= set(record.consulted):
                is_same = len(alone[row].consulted) == len(record.consulted)
                agreed, earlier = agreed + is_same, earlier + (not is_same)
                reordered += is_same and alone[row].consulted != record.consulted
                answers += (-1 if record.answer is None else record.answer) != replay.answer[row]
                costs += record.cost, replay.cost[row], record.expected_loss, alone[row].expected_loss
        found, batch = Shadow(policy), Shadow(policy)
        follow(found, of)
        follow_batch(batch, of)
        ended_at_all = agreed + earlier
        assert found.counts[:COUNTS] == (agreed, reordered, earlier, ROWS - ended_at_all, 0, answers, ended_at_all)
        assert found.counts[COUNTS:] == pytest.approx(costs)
        check_alike(batch, found)
        if other == kind:
            assert (agreed, reordered, answers) == (ROWS, 0, 0)
        seen += agreed, earlier, ROWS - ended_at_all
    assert seen[0] >= ROWS
    assert seen[1:].sum() > 0


@pytest.mark.parametrize("kind", [*KINDS, "timed"])
@pytest.mark.parametrize("without", [{}, {1: "open"}, {0: "open", 3: "open"}])
def test_a_policy_that_follows_itself_agrees_whatever_stages_do(kind: str, without: dict[int, str]) -> None:
    of = decide(of_kind(kind), make_trace(ROWS, 4, seed=4), turn, without)
    alone, batch = Shadow(of_kind(kind)), Shadow(of_kind(kind))
    follow(alone, of)
    follow_batch(batch, of)
    late = sum(record.late for record in of.records)
    assert alone.counts[:6] == (ROWS - late, 0, 0, 0, late, 0)
    assert late > 0
    check_alike(batch, alone)
    cost, beside, loss, loss_beside = alone.counts[COUNTS:]
    assert (cost, loss) == (beside, loss_beside)
    known = [one for one in of.records if not one.late and one.expected_loss < math.inf]
    assert alone.counts[6] == len(known)
    assert cost == pytest.approx(sum(one.cost for one in known))


@pytest.mark.parametrize("other", KINDS)
def test_a_batch_is_its_requests_where_stages_give_nothing(other: str) -> None:
    for without in {}, {2: "open"}:
        of = decide(policy_of(other), make_trace(ROWS, 4, seed=5), turn, without)
        alone, batch = Shadow(policy_of("models")), Shadow(policy_of("models"))
        follow(alone, of)
        follow_batch(batch, of)
        check_alike(batch, alone)
        agreed, _, *others = alone.counts[:5]
        assert agreed + sum(others) == ROWS


def test_all_that_are_barred_were_barred_before_where_nobody_says() -> None:
    without = {1: "open"}
    of = decide(policy_of("models"), make_trace(ROWS, 4, seed=6), answers, without)
    told, untold, batch = (Shadow(policy_of("models")) for _ in range(3))
    follow(told, of)
    for record in of.records:
        untold.follow(*ended(record))
    batch.follow_batch(*ended_batch(of.decided))
    assert told.counts == untold.counts
    assert told.counts[0] == ROWS
    check_alike(batch, told)


class Said:
    """A prediction that can only be compared."""

    def __init__(self, value: int) -> None:
        self.value = int(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Said) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


@pytest.mark.parametrize("said", [str, float, Said, lambda value: ("a", int(value)), np.int64])
def test_predictions_are_compared_as_values(said: Any) -> None:
    trace, shadow = make_trace(ROWS, 4, seed=7), policy_of("patience")
    # Text, numbers and objects in place of numbers: for who only asks whether they are equal.
    plain, other = (decide(policy_of("static"), trace, said=one) for one in (int, said))
    alone, batch, as_numbers = (Shadow(shadow) for _ in range(3))
    follow(as_numbers, plain)
    follow(alone, other)
    follow_batch(batch, other)
    assert alone.counts == as_numbers.counts
    check_alike(batch, alone)


class Unequal(Said):
    """A prediction that cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError("not to be compared")

    __hash__ = Said.__hash__


def test_what_comparing_raises_is_raised_and_nothing_is_counted() -> None:
    shadow = Shadow(policy_of("patience"))
    said: list[Any] = [(stage, 0.5, Unequal(stage)) for stage in range(2)]
    with pytest.raises(ArithmeticError, match="not to be compared"):
        shadow.follow(said, 1, False, 2.0, 0.1, {}, {})
    with pytest.raises(tt.ValidationError, match="`prediction` must be hashable, got list"):
        shadow.follow([(0, 0.5, [])], 0, False, 1.0, 0.1, {}, {})  # type: ignore[list-item]
    reports = [(stage, np.arange(1), np.array([0.5]), [Unequal(stage)], None, True, None) for stage in range(2)]
    with pytest.raises(ArithmeticError, match="not to be compared"):
        shadow.follow_batch(np.array([1], np.int32), None, np.ones(1), np.ones(1), reports)
    assert shadow.counts == (0,) * COUNTS + (0.0,) * 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (({9: "none"},), r"^`barred\[0\]` must be a stage in 0\.\.4, got 9$"),
        (({}, {4: "none"}), r"^`barred\[0\]` must be a stage in 0\.\.4, got 4$"),
    ],
)
def test_stages_that_there_are_not(more: Any, message: str) -> None:
    shadow = Shadow(policy_of("models"))
    with pytest.raises(tt.ValidationError, match=message):
        shadow.follow([], None, False, 0.0, math.inf, {}, *more)
    reports = [(0, np.array([2]), np.array([0.5]), None, None, True, None)]
    with pytest.raises(tt.ValidationError, match=r"^`reports` must be of rows in 0\.\.2, got 2$"):
        shadow.follow_batch(np.zeros(2, np.int32), None, np.ones(2), np.ones(2), reports)


@given(
    steps=st.lists(st.tuples(st.integers(0, 65535), st.floats(), st.integers(-5, 5) | st.none()), max_size=6),
    answer=st.none() | st.integers(0, 65535),
    cost=st.floats(),
    loss=st.floats(),
    kind=st.sampled_from(KINDS),
    data=st.data(),
)
def test_whatever_comes_is_counted_once(
    steps: Any, answer: int | None, cost: float, loss: float, kind: str, data: st.DataObject
) -> None:
    stages = st.sampled_from([stage for stage, _, _ in steps]) if steps else st.nothing()
    failures = data.draw(st.dictionaries(stages, st.just("down")))
    late = data.draw(st.booleans())
    shadow = Shadow(policy_of(kind))
    shadow.follow(steps, answer, late, cost, loss, failures, {}, {})
    agreed, reordered, earlier, more, left_out, other, summed, *sums = shadow.counts
    assert (agreed + earlier + more, left_out) == ((0, 1) if late else (1, 0))
    assert max(other, summed) <= agreed + earlier
    assert reordered <= agreed
    assert all(map(math.isfinite, sums))


def test_threads_lose_no_counts() -> None:
    of = decide(logged.policy(), logged.table(), turn)
    shadow, alone = Shadow(policy_of("models")), Shadow(policy_of("models"))
    follow(alone, of)
    ways = (follow, follow_batch) * 4
    in_threads([partial(way, shadow, of) for way in ways])
    assert shadow.counts[:COUNTS] == tuple(8 * count for count in alone.counts[:COUNTS])
    np.testing.assert_allclose(shadow.counts, 8 * np.array(alone.counts))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_counts_on_from_where_its_parent_stood() -> None:
    of, shadow = decide(logged.policy(), logged.table(), turn), Shadow(policy_of("models"))
    follow(shadow, of)

    def child() -> object:
        follow_batch(shadow, of)
        return shadow.counts[:COUNTS]

    once = shadow.counts[:COUNTS]
    assert told_by_child(child) == tuple(2 * count for count in once)
    assert shadow.counts[:COUNTS] == once
