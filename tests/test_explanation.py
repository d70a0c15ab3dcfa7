"""Served requests in words: they name what answered, what failed, and what the policy made of each report."""

from __future__ import annotations

import math
import pickle

import pytest

import ttamer_fast as tt
from serving_policies import KINDS, policy_of


def cascade_of(policy: tt.Policy, failing: tuple[int, ...] = (), silent: tuple[int, ...] = ()) -> tt.Cascade[int, int]:
    def stage(v: int) -> tt.Stage[int, int]:
        def run(x: int) -> int:
            if v in failing:
                raise RuntimeError(f"stage {v} is down")
            return v

        return tt.Stage(run, signal=lambda y: None if y in silent else 0.0, prediction=lambda y: f"said {y}")

    return tt.Cascade(policy, [stage(v) for v in range(len(policy.stages))])


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_what_a_run_says(kind: str) -> None:
    policy = policy_of(kind)
    served = cascade_of(policy)(0)
    lines = served.explain().lines
    assert len(lines) == 1 + len(served.consulted)
    run = policy.start()
    for line, stage in zip(lines[1:], served.consulted, strict=True):
        run.observe(0.0, f"said {stage}")
        hand = "nothing" if run.answer is None else f"the answer of {policy.stages[run.answer]}"
        then = "ended" if run.next is None else f"asked {policy.stages[run.next]}"
        said = f"{policy.stages[stage]}: signal 0, prediction 'said {stage}'"
        assert line.partition(". ")[2] == f"{said}; in hand {hand}, expected loss {run.expected_loss:.4g}; {then}"
    assert lines[0].startswith(f"request {served.request_id}: ")
    assert (served.stage_name or "no answer") in lines[0]
    assert f"policy {policy.digest[:12]}" in lines[0]


def test_failures_and_what_was_not_said() -> None:
    policy = policy_of("models")
    first = policy.start().next
    assert first is not None
    served = cascade_of(policy, failing=(first,))(0)
    text = str(served.explain())
    assert f"{policy.stages[first]} failed: RuntimeError: stage {first} is down" in text
    silent = cascade_of(policy, silent=(first,))(0)
    assert f"{policy.stages[first]}: no signal, prediction 'said {first}'" in str(silent.explain())


def test_no_answer() -> None:
    with pytest.raises(tt.NoAnswerError) as raised:
        cascade_of(policy_of("models"), failing=(0, 1, 2, 3))(0)
    record = raised.value.record
    assert (record.answer, record.cost > 0.0, math.isinf(record.expected_loss)) == (None, True, True)
    assert pickle.loads(pickle.dumps(raised.value)).record == record


def test_a_copy_by_pickle_says_what_it_knows() -> None:
    served = cascade_of(policy_of("models"))(0)
    copy = pickle.loads(pickle.dumps(served))
    assert copy == served or copy.record == served.record
    lines = copy.explain().lines
    assert lines[0] == served.explain().lines[0]
    assert "in hand" in served.explain().lines[1]
    assert "in hand" not in str(copy.explain())


def test_a_row_of_a_batch() -> None:
    cascade = cascade_of(policy_of("exits"))
    (row,), one = cascade.batch([0]), cascade(0)
    assert row.explain().lines[1:] == one.explain().lines[1:]
    many = cascade.batch([0, 0, 0])
    assert many[2].explain().lines[1:] == one.explain().lines[1:]
