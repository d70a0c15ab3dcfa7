"""Stages that give no answer: in a run, in a batch, in a cascade."""

from __future__ import annotations

import math
import pickle
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from serving_policies import DEFAULTS, KINDS, policy_of, walked
from ttamer_fast.serving.driver import Driver
from ttamer_fast.traces.record import PolicyIdentity

MOST = 4
"""Stages of the largest policy."""

rows = st.tuples(
    st.lists(st.one_of(st.just(math.nan), st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=MOST, max_size=MOST),
    st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=MOST, max_size=MOST),
    st.frozensets(st.integers(0, MOST - 1)),
)


def run_through(
    policy: tt.Policy, signal: Sequence[float], prediction: Sequence[Hashable], broken: frozenset[int]
) -> tuple[tt.Run, list[int]]:
    """The decided run, and the stages asked."""
    run, asked = policy.start(), []
    while (stage := run.next) is not None:
        asked.append(stage)
        before = run.answer, run.cost
        if stage in broken:
            assert run.fail() == run.next
            assert run.answer == before[0]
            assert run.cost >= before[1]
        else:
            run.observe(signal[stage], prediction[stage])
    return run, asked


@given(st.sampled_from(KINDS), rows)
def test_a_request_ends_with_the_best_answer_that_there_is(
    kind: str, row: tuple[list[float], list[Hashable], frozenset[int]]
) -> None:
    policy = policy_of(kind)
    run, asked = run_through(policy, *row)
    answered = [stage for stage in asked if stage not in row[2]]
    assert len(set(asked)) == len(asked)
    assert run.answer is None or run.answer in answered
    if kind not in DEFAULTS:
        assert (run.answer is None) == (not answered)
        assert (run.expected_loss == math.inf) == (not answered)
    with pytest.raises(tt.RunFinishedError):
        run.fail()


@given(st.sampled_from(KINDS), rows)
def test_nothing_that_failed_is_remembered_after_a_restart(
    kind: str, row: tuple[list[float], list[Hashable], frozenset[int]]
) -> None:
    policy = policy_of(kind)
    used, _ = run_through(policy, row[0], row[1], frozenset(range(MOST)))
    fresh = policy.start()
    assert used.restart() == fresh.next
    while (stage := fresh.next) is not None:
        assert used.next == stage
        used.observe(row[0][stage], row[1][stage])
        fresh.observe(row[0][stage], row[1][stage])
    assert (used.next, used.answer, used.cost, used.expected_loss) == (
        None,
        fresh.answer,
        fresh.cost,
        fresh.expected_loss,
    )


@given(st.sampled_from(KINDS), st.lists(rows, min_size=1, max_size=6))
def test_a_batch_decides_as_its_requests_alone(
    kind: str, requests: list[tuple[list[float], list[Hashable], frozenset[int]]]
) -> None:
    policy = policy_of(kind)
    batch = policy.start_batch(len(requests))
    while (batch.next >= 0).any():
        stage = int(batch.next.max())
        waiting = batch.rows(stage)
        lost = np.array([row for row in waiting if stage in requests[row][2]], np.int64)
        batch.fail(stage, lost)
        left = batch.rows(stage)
        assert set(left.tolist()) == set(waiting.tolist()) - set(lost.tolist())
        none = -(2**63)
        said = [none if requests[row][1][stage] is None else requests[row][1][stage] for row in left]
        batch.observe(stage, np.array([requests[row][0][stage] for row in left]), np.array(said, np.int64))
    alone = [run_through(policy, *row)[0] for row in requests]
    assert batch.answer.tolist() == [-1 if run.answer is None else run.answer for run in alone]
    assert batch.cost.tolist() == [run.cost for run in alone]


def test_a_failed_stage_is_no_evidence() -> None:
    """With one other answer in hand, the belief is what that answer alone is worth."""
    policy = policy_of("models")
    run = policy.start()
    first = run.next
    run.fail()
    second = run.next
    assert second is not None
    run.observe(0.4, 1)
    for signal in (0.1, 0.4, 0.9):
        again = policy.start()
        again.fail()
        again.observe(signal, 1)
        assert again.answer == second != first
        assert 0 < again.expected_loss < 1
    doubtful, sure = policy.start(), policy.start()
    for other, signal in ((doubtful, 0.1), (sure, 0.9)):
        other.fail()
        other.observe(signal, 1)
    assert sure.expected_loss < doubtful.expected_loss


def test_what_is_in_hand_stays() -> None:
    policy = policy_of("models")
    run = policy.start()
    run.observe(0.2, 1)
    held = run.answer, run.expected_loss
    assert run.next is not None
    run.fail()
    assert (run.answer, run.expected_loss) == held


def test_stages_that_no_decision_leads_to_are_the_last_resort() -> None:
    """A policy of one stage asks the others, the best first, once that has failed."""
    losses = np.array([[0.5, 0.0, 0.25, 0.75]] * 8)
    trace = tt.Trace(np.full((8, 4), 0.5), losses, [1.0, 2.0, 3.0, 4.0], kind="models")
    policy = tt.baselines.static(trace, tradeoff=0.99)
    run = policy.start()
    assert run.next == 1
    assert [run.fail(), run.expected_loss] == [2, math.inf]
    assert [run.fail(), run.fail()] == [0, 3]
    assert run.observe(0.5) is None
    assert (run.answer, run.expected_loss, run.cost) == (3, 0.75, 10.0)
    run.restart()
    assert [run.fail() for _ in range(4)] == [2, 0, 3, None]
    assert (run.answer, run.expected_loss) == (None, math.inf)


def test_stages_that_were_jumped_over_are_not_gone_back_to() -> None:
    costs = [[0.1, 0.1, 0.3], [0.0, 0.1, 0.1], [0.0, 0.0, 0.1]]
    run = tt.solve(tt.Model.skip([[0.9], [0.0], [0.1]], costs, [[[1.0]]] * 3)).start()
    assert run.next == 1
    assert run.fail() == 2
    assert run.fail() is None
    assert (run.answer, run.cost) == (None, 0.2)


def test_an_exact_policy_takes_it_for_a_state_that_cannot_be_read_and_never_answers_with_it() -> None:
    policy = policy_of("tree")
    failed, unread = policy.start(), policy.start()
    assert failed.fail() == unread.observe(math.nan)
    assert (failed.answer, failed.cost) == (None, unread.cost)
    assert unread.answer is not None


def test_a_default_is_the_answer_where_every_stage_fails() -> None:
    policy = policy_of("default")
    run, _ = run_through(policy, [], [], frozenset(range(2)))
    assert (run.answer, run.expected_loss) == (None, 0.3)
    served = tt.Cascade(policy, [broken] * 2, signal=float)(1.0)
    assert (served.output, served.outcome) == (None, "failed")
    assert set(served.failures) == set(served.consulted)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0, 0], r"`rows\[1\]` must be a request that waits for stage 0, larger than the entry before, got 0"),
        ([1, 0], r"`rows\[1\]` must be a request that waits for stage 0, larger than the entry before, got 0"),
        ([0, 3], r"`rows\[1\]` must be a request that waits for stage 0, larger than the entry before, got 3"),
        ([-1], r"`rows\[0\]` must be a request that waits for stage 0, larger than the entry before, got -1"),
    ],
)
def test_rows_that_do_not_wait(given: list[int], message: str) -> None:
    batch = policy_of("exits").start_batch(3)
    with pytest.raises(tt.ValidationError, match=f"^{message}$"):
        batch.fail(0, given)
    assert batch.rows(0).tolist() == [0, 1, 2]
    with pytest.raises(tt.ValidationError, match=r"`stage` must be in 0\.\.4, got 9"):
        batch.fail(9, [0])


def broken(_x: Any) -> Any:
    raise TimeoutError("upstream\nis late")


def absent(_x: Any) -> Any:
    return None


def cascade_of(policy: tt.Policy, failing: dict[int, Any]) -> tt.Cascade[Any, Any]:
    """Stages that return what they were given, but for some."""

    def same(x: float) -> float:
        return x

    return tt.Cascade(policy, [failing.get(v, same) for v in range(4)], signal=float)


@pytest.mark.parametrize(("model", "reason"), [(broken, "TimeoutError: upstream is late"), (absent, "returned None")])
def test_a_cascade_goes_on_without_a_stage_that_fails(model: Any, reason: str) -> None:
    policy = policy_of("models")
    first = policy.start().next
    assert first is not None
    cascade = cascade_of(policy, {first: model})
    served = cascade(0.6)
    run, asked = run_through(policy, [0.6] * 4, [None] * 4, frozenset([first]))
    assert (served.stage, served.consulted, served.cost) == (run.answer, tuple(asked), run.cost)
    assert served.expected_loss == run.expected_loss
    assert served.failures == served.record.failures == {first: reason}
    assert served.output == 0.6
    assert math.isnan(served.signal[first])
    table = cascade.batch([0.6, 0.6])
    assert [walked(one.record) for one in table] == [walked(served.record)] * 2
    assert [one.failures for one in table] == [served.failures] * 2
    assert table.failures == {0: served.failures, 1: served.failures}
    assert table[1].expected_loss == served.expected_loss
    assert pickle.loads(pickle.dumps(served.record)) == served.record


def test_the_outcome_says_that_the_last_stage_failed() -> None:
    policy = policy_of("exits")
    last = cascade_of(policy, {1: broken, 2: broken, 3: broken})
    served = last(0.01)
    assert (served.outcome, served.stage, served.recalled) == ("failed", 0, False)
    assert len(served.consulted) > 1
    table = last.batch([0.01])
    assert table.outcome.tolist() == ["failed"]
    assert table[0].outcome == "failed"


def test_no_answer_at_all() -> None:
    policy = policy_of("models")
    cascade = cascade_of(policy, dict.fromkeys(range(4), broken))
    with pytest.raises(
        tt.NoAnswerError, match=r"^no stage answered: stage \d .*: TimeoutError: upstream is late"
    ) as caught:
        cascade(0.5)
    assert caught.value.failures == dict.fromkeys(range(4), "TimeoutError: upstream is late")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.failures) == (str(caught.value), caught.value.failures)
    table = cascade.batch([0.5, 0.6])
    assert table.stage.tolist() == [-1, -1]
    assert table.outputs == [None, None]
    assert table.outcome.tolist() == ["failed", "failed"]
    with pytest.raises(tt.NoAnswerError, match="no stage answered"):
        table[1]
    with pytest.raises(tt.NoAnswerError, match="no stage answered"):
        list(table)


def test_rows_of_a_batch_fail_one_by_one() -> None:
    policy = policy_of("models")
    first = policy.start().next
    assert first is not None

    def moody(x: float) -> float:
        if x < 0:
            raise ValueError("negative")
        return x

    def same(x: float) -> float:
        return abs(x)

    cascade = tt.Cascade(policy, [moody if v == first else same for v in range(4)], signal=abs)
    table = cascade.batch([0.99, -0.5, 0.99])
    alone = [cascade(x) for x in (0.99, -0.5, 0.99)]
    assert [(one.stage, one.consulted, one.failures) for one in table] == [
        (one.stage, one.consulted, one.failures) for one in alone
    ]
    assert table.failures == {1: {first: "ValueError: negative"}}


def test_none_among_the_outputs_of_a_batch_fails_its_row() -> None:
    policy = policy_of("models")
    handed: list[Any] = []

    def signal(outputs: list[float]) -> list[float]:
        handed.append(outputs)
        return outputs

    def model(xs: list[float]) -> list[float | None]:
        return [None if x < 0 else x for x in xs]

    stages: list[tt.Stage[Any, Any]] = [tt.Stage(abs, batch=model, signal=signal)] * 4
    table = tt.Cascade(policy, stages).batch([0.9, -1.0, 0.8])
    assert None not in [x for outputs in handed for x in outputs]
    assert table.stage[1] == -1
    assert table.failures[1] == dict.fromkeys(range(4), "returned None")
    assert [table[0].output, table[2].output] == [0.9, 0.8]


@pytest.mark.parametrize("broken_part", ["batch", "signal", "prediction"])
def test_what_a_call_for_a_batch_raises_fails_its_rows(broken_part: str) -> None:
    policy = policy_of("models")
    first = policy.start().next
    parts: dict[str, Any] = {"batch": list, "signal": list, "prediction": list}
    good = tt.Stage(float, **parts)
    bad = tt.Stage(float, **(parts | {broken_part: broken}))
    table = tt.Cascade(policy, [bad if v == first else good for v in range(4)]).batch([0.9, 0.8])
    assert (table.stage >= 0).all()
    assert table.failures == {
        0: {first: "TimeoutError: upstream is late"},
        1: {first: "TimeoutError: upstream is late"},
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_of_a_stage_passes_through(error: type[BaseException]) -> None:
    def stop(_x: float) -> float:
        raise error

    cascade: tt.Cascade[Any, Any] = tt.Cascade(policy_of("models"), [stop] * 4, signal=float)
    with pytest.raises(error):
        cascade(0.5)
    with pytest.raises(error):
        cascade.batch([0.5])


def test_a_driver_is_asked_before_it_is_told() -> None:
    policy = policy_of("exits")
    driver: Driver[str] = Driver(policy, PolicyIdentity.of(policy))
    while driver.ask is not None:
        driver.answered(0.99, None, "output")
    with pytest.raises(tt.RunFinishedError, match="`failed` must follow a question"):
        driver.failed("late")


PARTS: dict[str, Any] = {
    "request_id": "7",
    "digest": "",
    "stages": ["small", "large"],
    "consulted": [0, 1],
    "signal": [0.4, 0.2],
    "prediction": ["cat", "dog"],
    "answer": 0,
    "cost": 5.0,
    "expected_loss": 0.3,
}


def test_a_record_of_a_failure() -> None:
    record = tt.Record(**PARTS, failures={1: "late"})
    assert record.steps[0] == (0, 0.4, "cat")
    assert record.steps[1][2] is None
    assert math.isnan(record.signal[1])
    assert (record.outcome, record.recalled, record.failures) == ("failed", False, {1: "late"})
    assert record != tt.Record(**PARTS)
    assert record == pickle.loads(pickle.dumps(record))


@pytest.mark.parametrize(
    ("failures", "message"),
    [
        ([1], "`failures` must be a dict of stages and texts, got list"),
        ({2: "late"}, "`failures` must have stages run, [0, 1], as keys, got 2"),
        ({1: None}, "`failures` must be a string, got NoneType"),
        ({0: "late"}, "`answer` must be None or one of the stages that answered, [1], got 0"),
    ],
)
def test_failures_that_do_not_fit(failures: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError) as caught:
        tt.Record(**PARTS, failures=failures)
    assert str(caught.value) == message
