"""What is said of a policy's first requests where they do not look like its trace."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace

TRACE = make_trace(n=600, seed=1)
BYTES = tt.fit(TRACE, tradeoff=0.95).to_bytes()
SAID = np.asarray(TRACE.prediction)


def fresh() -> tt.Policy:
    """A policy that has served nothing yet."""
    return tt.Policy.from_bytes(BYTES)


def serve(policy: tt.Policy, signal: Any, prediction: Any, rows: int = 100) -> list[str]:
    """What is said of requests that are served one by one."""

    def work() -> None:
        for row in range(rows):
            run = policy.start()
            while (stage := run.next) is not None:
                run.observe(signal[row][stage], None if prediction is None else prediction[row][stage])

    return said_of(work)


def said_of(work: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
    assert all(issubclass(one.category, tt.ServingWarning) for one in caught)
    return [str(one.message) for one in caught]


def test_requests_like_the_trace() -> None:
    assert serve(fresh(), TRACE.signal.tolist(), SAID.tolist()) == []
    assert said_of(lambda: fresh().replay(TRACE.signal, SAID)) == []
    unknown = np.where(np.random.default_rng(0).random(TRACE.signal.shape) < 0.2, np.nan, TRACE.signal)
    assert serve(fresh(), unknown.tolist(), SAID.tolist()) == []


@pytest.mark.parametrize(
    ("signal", "prediction", "said"),
    [
        (
            TRACE.signal,
            None,
            r"stage \d \('stage \d'\) reports no prediction, where those of the calibration trace did",
        ),
        (
            100.0 * TRACE.signal,
            SAID,
            r"stage \d \('stage \d'\) reports signals as [\d.]+, where the calibration trace had",
        ),
        (TRACE.signal / 1000.0 - 0.01, SAID, "reports signals as -0.00"),
        (
            TRACE.signal,
            SAID.astype(str),
            "reports predictions of another kind than the calibration trace, which had integers",
        ),
    ],
)
def test_what_differs_is_said_once(signal: Any, prediction: Any, said: str) -> None:
    def in_step(policy: tt.Policy) -> None:
        batch = policy.start_batch(len(signal))
        while (batch.next >= 0).any():
            stage = int(batch.next.max())
            rows = batch.rows(stage)
            batch.observe(stage, signal[rows, stage], None if prediction is None else prediction[rows, stage])

    listed = None if prediction is None else prediction.tolist()
    policy = fresh()
    found = [
        serve(policy, signal.tolist(), listed),
        said_of(lambda: fresh().replay(signal, prediction)),
        said_of(lambda: in_step(fresh())),
    ]
    for one in found:
        assert len(one) == 1
        assert re.search(said, one[0])
    assert serve(policy, signal.tolist(), listed) == []


def test_a_report_is_not_lost_where_warnings_are_errors() -> None:
    run = fresh().start()
    stage = run.next
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(tt.ServingWarning):
            run.observe(0.5)
        assert (run.next, run.cost, run.answer) == (stage, 0.0, None)
        run.observe(0.5)
    assert run.answer == stage
    batch = fresh().start_batch(2)
    first = int(batch.next[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(tt.ServingWarning):
            batch.observe(first, [0.5, 0.5])
        assert batch.rows(first).tolist() == [0, 1]
        batch.observe(first, [0.5, 0.5])


def test_only_the_first_requests_are_looked_at() -> None:
    policy = fresh()
    assert serve(policy, TRACE.signal.tolist(), SAID.tolist(), 64) == []
    assert serve(policy, TRACE.signal.tolist(), None) == []
    again = pickle.loads(pickle.dumps(policy))
    assert len(serve(again, TRACE.signal.tolist(), None)) == 1


def test_a_policy_without_predictions_expects_none() -> None:
    trace = make_trace(n=600, predictions=False)
    policy = tt.fit(trace, tradeoff=0.95)
    assert serve(policy, trace.signal.tolist(), None) == []
    assert serve(tt.baselines.threshold(TRACE, 0.9), TRACE.signal.tolist(), SAID.tolist()) == []


def test_a_state_that_the_model_does_not_have() -> None:
    model = tt.Model.line([[0.1, 0.9], [0.0, 0.2]], [0.05, 0.1], [[[0.5, 0.5]], [[0.3, 0.7], [0.6, 0.4]]])
    (said,) = said_of(lambda: tt.solve(model).start().observe(7))
    assert said.startswith("stage 0 ('stage 0') reports signals as 7, where the calibration trace had 0 to 1")
    assert said_of(lambda: tt.solve(model).start().observe(1)) == []
