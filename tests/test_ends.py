"""Requests that are stopped, stages that are barred, and what is pending: of runs and batches."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from serving_policies import KINDS, policy_of

MOST = 4
"""Stages of the largest policy."""

TURNS = ("observe", "fail", "bar", "stop")

requests = st.tuples(
    st.lists(st.one_of(st.just(math.nan), st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=MOST, max_size=MOST),
    st.lists(st.one_of(st.none(), st.integers(0, 2), st.just(("a", 1.5))), min_size=MOST, max_size=MOST),
    st.lists(st.sampled_from(TURNS), min_size=MOST, max_size=MOST),
)


class Said:
    """A prediction that can only be compared."""

    def __init__(self, when_compared: Callable[[], object] = lambda: None) -> None:
        self.when_compared = when_compared

    def __eq__(self, other: object) -> bool:
        self.when_compared()
        return self is other

    def __hash__(self) -> int:
        return 1


def walked(policy: tt.Policy, signal: list[float], prediction: list[Hashable], turns: list[str]) -> tt.Run:
    """The decided run; nothing that a stage does not say changes what is in hand."""
    run, asked, answered, cost = policy.start(), [], [], 0.0
    while (stage := run.next) is not None:
        held = run.answer, run.expected_loss
        asked.append(stage)
        if turns[stage] == "observe":
            answered.append(stage)
            assert run.observe(signal[stage], prediction[stage]) == run.next
        else:
            assert getattr(run, turns[stage])() == run.next
            assert (run.answer, run.expected_loss) == held
        assert run.cost == cost if turns[stage] == "bar" else run.cost >= cost
        cost = run.cost
        assert run.answer is None or run.answer in answered
    assert len(set(asked)) == len(asked)
    return run


@given(st.sampled_from(KINDS), st.lists(requests, min_size=1, max_size=6))
def test_a_batch_is_so_many_runs(kind: str, given: list[tuple[list[float], list[Hashable], list[str]]]) -> None:
    policy = policy_of(kind)
    runs = [walked(policy, *one) for one in given]
    batch = policy.start_batch(len(given))
    while (pending := batch.pending()) is not None:
        stage, rows = pending
        sizes = [len(batch.rows(v)) for v in range(len(policy.stages))]
        assert (type(stage), rows.dtype) == (int, np.dtype(np.int64))
        assert rows.tolist() == batch.rows(stage).tolist()
        assert stage == max(v for v, size in enumerate(sizes) if size == max(sizes))
        by_turn = {turn: [row for row in rows if given[row][2][stage] == turn] for turn in TURNS}
        batch.stop(by_turn["stop"])
        batch.bar(stage, by_turn["bar"])
        batch.fail(stage, by_turn["fail"])
        told = by_turn["observe"]
        batch.observe(stage, [given[row][0][stage] for row in told], [given[row][1][stage] for row in told])
    assert batch.answer.tolist() == [-1 if run.answer is None else run.answer for run in runs]
    assert batch.cost.tolist() == [run.cost for run in runs]
    assert batch.expected_loss.dtype == np.float64
    assert batch.expected_loss.tolist() == [run.expected_loss for run in runs]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_expected_after_the_first_report(kind: str) -> None:
    """Of the requests that it ends, too."""
    policy, rng = policy_of(kind), np.random.default_rng(0)
    first = policy.start().next
    signal = rng.choice([*rng.random(40), math.nan, math.inf, 0.0, 1.0], 200)
    batch = policy.start_batch(len(signal))
    assert batch.expected_loss.tolist() == [policy.start().expected_loss] * len(signal)
    if first is None:
        return
    said = rng.integers(0, 3, len(signal))
    for prediction in (None, said):
        batch, runs = policy.start_batch(len(signal)), [policy.start() for _ in signal]
        batch.observe(first, signal, prediction)
        for row, run in enumerate(runs):
            run.observe(signal[row], None if prediction is None else prediction[row])
        assert batch.expected_loss.tolist() == [run.expected_loss for run in runs]
        batch.stop()
        assert batch.expected_loss.tolist() == [run.expected_loss for run in runs]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_happens_to_an_ended_request(kind: str) -> None:
    policy = policy_of(kind)
    run, batch = policy.start(), policy.start_batch(3)
    run.stop()
    batch.stop()
    ended = run.next, run.answer, run.cost, run.expected_loss
    assert ended[:2] == (None, None)
    run.stop()
    with pytest.raises(tt.RunFinishedError):
        run.bar()
    with pytest.raises(tt.RunFinishedError):
        run.fail()
    batch.stop()
    batch.stop([0, 2])
    batch.stop(rows=np.array([1], np.int32))
    assert (run.next, run.answer, run.cost, run.expected_loss) == ended
    assert (batch.pending(), batch.answer.tolist(), batch.cost.tolist()) == (None, [-1] * 3, [run.cost] * 3)
    assert run.restart() == policy.start().next
    assert run.cost == 0.0


def test_no_request_is_pending_in_an_empty_batch() -> None:
    batch = policy_of("models").start_batch(0)
    batch.stop()
    batch.stop([])
    assert batch.pending() is None
    assert batch.expected_loss.shape == (0,)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 0], r"`rows\[1\]` must be a request in 0\.\.3, larger than the entry before, got 0"),
        ([2, 1], r"`rows\[1\]` must be a request in 0\.\.3, larger than the entry before, got 1"),
        ([0, 3], r"`rows\[1\]` must be a request in 0\.\.3, larger than the entry before, got 3"),
        ([-1], r"`rows\[0\]` must be a request in 0\.\.3, larger than the entry before, got -1"),
        ([0.5], r"`rows` must be an array of integers, got float64"),
        ("all", r"`rows` must be an array of integers, got <U3"),
    ],
)
def test_rows_that_are_none(rows: Any, message: str) -> None:
    batch = policy_of("exits").start_batch(3)
    with pytest.raises(tt.ValidationError, match=f"^{message}$"):
        batch.stop(rows)
    with pytest.raises(tt.ValidationError, match=r"^`rows"):
        batch.bar(0, rows)
    assert (batch.next.tolist(), batch.cost.tolist()) == ([0] * 3, [0.0] * 3)
    with pytest.raises(tt.ValidationError, match=r"^`stage` must be in 0\.\.4, got 9$"):
        batch.bar(9, [0])


@pytest.mark.parametrize("way", ["fail", "bar", "stop"])
def test_objects_of_ended_requests_are_let_go(way: str) -> None:
    policy = policy_of("models")
    first = policy.start().next
    assert first is not None
    run, batch = policy.start(), policy.start_batch(2)
    kept = [Said() for _ in range(3)]
    alive = [weakref.ref(one) for one in kept]
    run.observe(0.3, kept[0])
    batch.observe(first, [0.3, 0.3], kept[1:])
    kept.clear()
    gc.collect()
    assert run.next is not None
    assert None not in [one() for one in alive]
    while run.next is not None:
        getattr(run, way)()
    while (pending := batch.pending()) is not None:
        batch.stop([0, 1]) if way == "stop" else getattr(batch, way)(*pending)
    gc.collect()
    assert [one() for one in alive] == [None] * 3


def test_a_run_that_is_stopped_while_a_report_is_converted_takes_in_nothing() -> None:
    run = policy_of("models").start()
    run.observe(0.3, Said())
    held = run.answer, run.expected_loss
    with pytest.warns(RuntimeWarning, match="has finished the run: this report was not taken in"):
        assert run.observe(0.99, Said(run.stop)) is None
    assert (run.answer, run.expected_loss) == held
    run.restart()
    run.observe(0.3, Said())
    with pytest.raises(tt.ValidationError, match="this report was not taken in"):
        run.observe(0.99, Said(lambda: run.bar() if run.next == 1 else None))
    assert (run.next, run.answer, run.expected_loss) == (2, *held)


def test_threads_may_end_requests_of_one_batch() -> None:
    """Each row is ended once, whoever comes first; what is pending is so between two changes."""
    policy = policy_of("models")
    batch = policy.start_batch(400)
    errors: list[Exception] = []

    def end(part: int) -> None:
        try:
            for row in range(part, 400, 4):
                batch.stop([row])
                pending = batch.pending()
                assert pending is None or row not in pending[1]
                assert batch.expected_loss[row] == math.inf
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=end, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    run = policy.start()
    run.stop()
    assert (batch.pending(), batch.cost.tolist()) == (None, [run.cost] * 400)
