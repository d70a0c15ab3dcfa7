"""Seconds that a request has left, told to runs, batches and replays."""

from __future__ import annotations

import math
import pickle
import threading
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace

INF = math.inf


def timed(kind: str, seed: int = 7) -> tuple[tt.Trace, tt.Policy]:
    plain = make_trace(n=1500, k=4, seed=seed, kind=kind)
    rng = np.random.default_rng(seed)
    slow = rng.normal(size=(len(plain), 1))
    latency = np.geomspace(0.01, 0.08, 4) * np.exp(0.5 * slow + 0.4 * rng.normal(size=(len(plain), 4)))
    trace = tt.Trace(plain.signal, plain.loss, plain.cost, prediction=plain.prediction, kind=kind, latency=latency)
    return trace, tt.fit(trace, tradeoff=0.95, deadline=True)


TRACES = {kind: timed(kind) for kind in ("exits", "models")}
TIMELESS = tt.fit(make_trace(n=600, k=4, seed=5), tradeoff=0.95)
DEADLINES = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 1.0, INF)


def report(trace: tt.Trace, row: int, stage: int) -> tuple[float, int]:
    assert trace.prediction is not None
    return float(trace.signal[row, stage]), int(trace.prediction[row, stage])


def end(run: tt.Run) -> tuple[Any, ...]:
    return run.next, run.answer, run.cost, run.expected_loss


def needed(trace: tt.Trace, kind: str, row: int, last: int, stage: int) -> float:
    """Seconds that a stage takes after another one (-1: none)."""
    assert trace.latency is not None
    first = last + 1 if kind == "exits" else stage
    return float(trace.latency[row, first : stage + 1].sum())


def walk(policy: tt.Policy, trace: tt.Trace, kind: str, row: int, deadline: float) -> tuple[tt.Run, list[int], bool]:
    run, left, last, asked = policy.start(deadline), deadline, -1, []
    while (stage := run.next) is not None:
        asked.append(stage)
        left -= needed(trace, kind, row, last, stage)
        if left < 0.0:
            run.stop()
            return run, asked, True
        last = stage
        run.observe(*report(trace, row, stage), left)
    return run, asked, False


@pytest.mark.parametrize("kind", TRACES)
@pytest.mark.parametrize("deadline", DEADLINES)
def test_runs_batches_and_replays_decide_alike_within_a_deadline(kind: str, deadline: float) -> None:
    trace, policy = TRACES[kind]
    n = 200
    replay = policy.replay(trace.signal[:n], trace.prediction[:n], trace.latency[:n], deadline)  # type: ignore[index]
    batch = policy.start_batch(n, remaining=deadline)
    left, last, late = np.full(n, deadline), np.full(n, -1), np.zeros(n, bool)
    while (pending := batch.pending()) is not None:
        stage, rows = pending
        left[rows] -= [needed(trace, kind, int(row), int(last[row]), stage) for row in rows]
        last[rows] = stage
        over = rows[left[rows] < 0.0]
        late[over] = True
        batch.stop(over)
        rows = rows[left[rows] >= 0.0]
        batch.observe(stage, trace.signal[rows, stage], trace.prediction[rows, stage], left[rows])  # type: ignore[index]
    for row in range(n):
        run, asked, is_late = walk(policy, trace, kind, row, deadline)
        assert (replay.answer[row], batch.answer[row]) == (run_answer(run),) * 2
        assert np.flatnonzero(replay.consulted[row]).tolist() == sorted(asked)
        assert replay.late[row] == late[row] == is_late
        assert replay.cost[row] == batch.cost[row] == run.cost
        assert batch.expected_loss[row] == run.expected_loss
    assert late.any() == (0.0 < deadline < 0.5), "without any time nothing is begun"


def run_answer(run: tt.Run) -> int:
    return -1 if run.answer is None else run.answer


@pytest.mark.parametrize("kind", TRACES)
def test_without_a_deadline_nothing_changes(kind: str) -> None:
    trace, policy = TRACES[kind]
    plain = policy.replay(trace.signal, trace.prediction)
    free = policy.replay(trace.signal, trace.prediction, trace.latency, INF)
    for name in ("answer", "last", "consulted", "cost", "late"):
        assert np.array_equal(getattr(plain, name), getattr(free, name))
    assert not plain.late.any()
    for row in range(50):
        told, untold, infinite = policy.start(INF), policy.start(), policy.start(None)
        while untold.next is not None:
            said = report(trace, row, untold.next)
            told.observe(*said, INF)
            infinite.observe(*said, None)
            untold.observe(*said)
            assert end(told) == end(untold) == end(infinite)


def test_what_was_told_last_holds_until_something_else_is_told() -> None:
    trace, policy = TRACES["models"]
    differs = 0
    for row in range(200):
        kept, told, free = policy.start(0.04), policy.start(remaining=0.04), policy.start()
        while kept.next is not None:
            said = report(trace, row, kept.next)
            kept.observe(*said)
            told.observe(*said, 0.04)
            assert end(kept) == end(told)
        while free.next is not None:
            free.observe(*report(trace, row, free.next))
        differs += end(free) != end(kept)
    assert differs > 20, "time plays a part"


def test_a_failure_may_say_what_is_left() -> None:
    _, policy = TRACES["models"]
    ends = {}
    for left in (None, INF, 0.0, 0.03):
        run = policy.start(0.1)
        run.fail() if left is None else run.fail(left)
        batch = policy.start_batch(3, remaining=0.1)
        first = int(batch.next[0])
        if left is None:
            batch.fail(first, [0, 2])
        else:
            batch.fail(first, [0, 2], [left, left])
        assert batch.next.tolist() == [
            -1 if run.next is None else run.next,
            first,
            -1 if run.next is None else run.next,
        ]
        kept = policy.start(0.1)
        kept.fail(None)
        if left is None:
            assert end(run) == end(kept)
        ends[left] = run.next
    assert ends[INF] != ends[0.0] or ends[INF] != ends[0.03], "time plays a part"


def test_numbers_of_seconds_are_whatever_numbers_there_are() -> None:
    trace, policy = TRACES["models"]
    first = policy.start(2.0).next
    assert first is not None
    said = report(trace, 0, first)
    expected = policy.start(2)
    expected.observe(*said, 1)
    numbers: list[Any] = [1, 1.0, np.float32(1), np.float64(1), np.int64(1), np.array(1.0), np.uint8(1), Fraction(1)]
    for number in numbers:
        run = policy.start(remaining=2 * number)
        run.observe(*said, number)
        assert end(run) == end(expected)
        failed = policy.start(2 * number)
        failed.fail(number)
        if isinstance(number, Fraction):
            continue
        batch = policy.start_batch(2, 2 * number)
        batch.observe(first, [said[0]] * 2, [said[1]] * 2, number)
        assert batch.next.tolist() == [-1 if run.next is None else run.next] * 2


BAD: list[tuple[Any, str]] = [
    (-1.0, "must be at least 0 seconds, or inf, got -1"),
    (-1, "must be at least 0 seconds, or inf, got -1"),
    (math.nan, "must be at least 0 seconds, or inf, got NaN"),
    (-INF, "must be at least 0 seconds, or inf, got -inf"),
    ("1", "must be a number, got '1'"),
    (True, "must be a number, got True"),
    (1j, "must be a number, got 1j"),
    ([1.0], "must be a number, got [1.0]"),
    (10**400, "must be a number that a float can hold, got "),
]


@pytest.mark.parametrize(("remaining", "told"), BAD)
def test_bad_seconds_are_refused_and_change_nothing(remaining: Any, told: str) -> None:
    _, policy = TRACES["models"]
    run = policy.start(0.1)
    before = end(run)
    calls: list[Callable[[], Any]] = [
        lambda: policy.start(remaining),
        lambda: policy.start(remaining=remaining),
        lambda: run.observe(0.5, 1, remaining),
        lambda: run(0.5, None, remaining),
        lambda: run.observe(Fraction(1, 2), "said", remaining),
        lambda: run.fail(remaining),
        lambda: run.restart(remaining),
    ]
    for call in calls:
        with pytest.raises(tt.ValidationError) as refused:
            call()
        assert str(refused.value).startswith(f"`remaining` {told}")
        assert end(run) == before
    run.observe(0.5, 1, 0.05)


def test_bad_seconds_of_many_are_refused_and_change_nothing() -> None:
    _, policy = TRACES["models"]
    batch = policy.start_batch(3, 0.1)
    stage = int(batch.next[0])
    before = batch.next.tolist(), batch.cost.tolist()
    bad: list[tuple[Any, str]] = [
        (-1.0, "`remaining` must be at least 0 seconds, or inf, got -1"),
        ([0.1, math.nan, -1], "`remaining[1]` must be at least 0 seconds, or inf, got NaN"),
        ([0.1, 0.2], "`remaining` must be one number or have shape (3,), got [2]"),
        ([[0.1, 0.2, 0.3]], "`remaining` must be one number or have shape (3,), got [1, 3]"),
        ([], "`remaining` must be one number or have shape (3,), got [0]"),
    ]
    for remaining, told in bad:
        calls: list[Callable[[], Any]] = [
            partial(policy.start_batch, 3, remaining=remaining),
            partial(batch.observe, stage, [0.5] * 3, None, remaining),
            partial(batch.fail, stage, [0, 1, 2], remaining),
        ]
        for call in calls:
            with pytest.raises(tt.ValidationError) as refused:
                call()
            assert str(refused.value) == told
            assert (batch.next.tolist(), batch.cost.tolist()) == before
    with pytest.raises(tt.ValidationError, match=r"`stage` must be in 0\.\.4, got 9"):
        batch.observe(9, [0.5], None, 0.1)
    batch.observe(stage, [0.5] * 3, None, [0.1, INF, 0.0])


def test_a_policy_that_knows_no_time_says_how_to_fit_one_that_does() -> None:
    run, batch = TIMELESS.start(), TIMELESS.start_batch(2)
    told = (
        r" must be inf, as this policy knows no time, got 0\.5: fit one that does by "
        r"`fit\(trace, \.\.\., deadline=True\)` on a trace with `latency`"
    )
    calls: list[Callable[[], Any]] = [
        lambda: TIMELESS.start(0.5),
        lambda: run.observe(0.5, 1, 0.5),
        lambda: run.fail(0.5),
        lambda: TIMELESS.start_batch(2, 0.5),
        lambda: batch.observe(int(batch.next[0]), [0.5, 0.5], None, 0.5),
        lambda: batch.fail(int(batch.next[0]), [0], [0.5]),
    ]
    before = end(run), batch.next.tolist()
    for call in calls:
        with pytest.raises(tt.ValidationError, match=told):
            call()
    assert (end(run), batch.next.tolist()) == before
    assert TIMELESS.start(INF).observe(0.01, 1, INF) == TIMELESS.start().observe(0.01, 1)
    assert (TIMELESS.knows_time, TIMELESS.latency) == (False, None)
    batch.observe(int(batch.next[0]), [0.5, 0.5], None, [INF, INF])


def test_replays_ask_for_what_a_deadline_needs() -> None:
    trace, policy = TRACES["models"]
    signal, latency = trace.signal[:3], np.array(trace.latency[:3])  # type: ignore[index]
    wrong = latency.copy()
    wrong[1, 2] = math.nan
    cases: list[tuple[dict[str, Any], str]] = [
        ({"deadline": 0.1}, "`latency` must be given with a `deadline`, got a deadline of 0.1"),
        ({"latency": latency[:2], "deadline": 0.1}, "`latency` must have the shape of `signal`, got 8 entries for 12"),
        ({"latency": latency[:, :2], "deadline": 0.1}, "`latency` must have shape (n, 4), got [3, 2]"),
        ({"latency": wrong, "deadline": 0.1}, "`latency[1, 2]` must be 0 or more seconds, got NaN"),
        ({"latency": latency, "deadline": -0.1}, "`deadline` must be 0 or more seconds, got -0.1"),
        ({"latency": latency, "deadline": math.nan}, "`deadline` must be 0 or more seconds, got NaN"),
    ]
    for given, told in cases:
        with pytest.raises(tt.ValidationError) as refused:
            policy.replay(signal, **given)
        assert str(refused.value) == told


def test_a_policy_without_time_is_cut_off_in_a_replay() -> None:
    trace, _ = TRACES["models"]
    plain = tt.fit(make_trace(n=1500, k=4, seed=7, kind="models"), tradeoff=0.95)
    free = plain.replay(trace.signal, trace.prediction)
    cut = plain.replay(trace.signal, trace.prediction, trace.latency, 0.05)
    assert cut.late.any()
    assert np.array_equal(cut.answer[~cut.late], free.answer[~cut.late])
    assert (cut.consulted <= free.consulted).all()


def test_time_is_kept_by_what_a_policy_and_a_replay_are_stored_as() -> None:
    trace, policy = TRACES["exits"]
    again = pickle.loads(pickle.dumps(policy))
    assert (again.knows_time, again.digest) == (True, policy.digest)
    assert again.latency.tolist() == policy.latency.tolist()  # type: ignore[union-attr]
    assert policy.latency is not None
    policy.latency[0] = -1.0
    assert policy.latency[0] > 0.0
    replay = policy.replay(trace.signal, trace.prediction, trace.latency, 0.05)
    stored = pickle.loads(pickle.dumps(replay))
    for name in ("answer", "last", "consulted", "cost", "late"):
        assert np.array_equal(getattr(stored, name), getattr(replay, name))


class Calling:
    """A number of seconds that calls something when it is read."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def __float__(self) -> float:
        self.call()
        return 0.05


def test_seconds_that_change_the_run_do_not_reach_another_stage() -> None:
    _, policy = TRACES["models"]
    reports: list[tuple[str, tuple[Any, ...]]] = [("observe", (0.01, 1)), ("fail", ())]
    for verb, said in reports:
        run = policy.start(0.5)
        tell: Callable[..., Any] = getattr(run, verb)
        seconds = Calling(partial(run.observe, 0.01, 0, 0.4))
        with pytest.raises(tt.ValidationError, match="must not observe or restart the run while they are converted"):
            tell(*said, seconds)
        alone = policy.start(0.5)
        alone.observe(0.01, 0, 0.4)
        assert end(run) == end(alone)
        run.restart()
        assert end(run) == end(policy.start())
    finished = policy.start()
    while finished.next is not None:
        finished.observe(1.0, 0)
    with pytest.raises(tt.RunFinishedError):
        finished.fail(0.1)
    with pytest.raises(tt.RunFinishedError):
        finished.observe(0.5, 1, 0.1)
    with pytest.raises(TypeError, match=r"fail\(\) takes the seconds left, by position, or nothing, got 2 arguments"):
        policy.start().fail(0.1, 0.2)  # type: ignore[call-arg]


def test_threads_share_a_policy_that_knows_time() -> None:
    trace, policy = TRACES["exits"]
    expected = policy.replay(trace.signal, trace.prediction, trace.latency, 0.05)
    wrong: list[int] = []

    def work(rows: range) -> None:
        for row in rows:
            run, _, late = walk(policy, trace, "exits", row, 0.05)
            if (run_answer(run), late) != (expected.answer[row], expected.late[row]):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(range(at, 400, 4),)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
