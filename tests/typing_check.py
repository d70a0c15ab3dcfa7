"""Checked by mypy, never run: the types that users of the public face see."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt


def traces(trace: tt.Trace) -> None:
    train, test = trace.split(test=0.5, seed=0)
    assert_type(train, tt.Trace)
    assert_type(test.signal, NDArray[np.float64])
    assert_type(test.prediction, NDArray[np.int64] | None)
    assert_type(trace[:10], tt.Trace)
    assert_type(trace.weighted([1.0, 2.0]).weight, NDArray[np.float64] | None)
    assert_type(tt.read_trace("trace.npz", loss="auto", kind="models"), tt.Trace)


def deciding(policy: tt.Policy) -> None:
    run = policy.start()
    assert_type(run.next, int | None)
    assert_type(run.observe(0.5, "a prediction"), int | None)
    assert_type(run.answer, int | None)
    assert_type(run.cost, float)
    batch = policy.start_batch(3)
    assert_type(batch.rows(0), NDArray[np.int64])
    assert_type(batch.next, NDArray[np.int32])
    replay = policy.replay([[0.5]])
    assert_type(replay.answer, NDArray[np.int32])
    assert_type(replay.consulted, NDArray[np.bool_])
    assert_type(tt.load("policy"), tt.Policy)
    run.observe("high")  # type: ignore[arg-type]


def fitting(trace: tt.Trace) -> None:
    assert_type(tt.fit(trace, tradeoff=0.95, recall="auto"), tt.Policy)
    assert_type(tt.baselines.markov(trace, tradeoff=0.9), tt.Policy)
    tt.fit(trace, goal=1.0)  # type: ignore[call-arg]


def judging(policy: tt.Policy, trace: tt.Trace) -> None:
    assert_type(tt.evaluate(policy, trace).loss_ci, tuple[float, float])
    comparison = tt.compare(trace, tradeoff=0.95, folds=5)
    assert_type(comparison["fit"].difference_se, float)
    assert_type(comparison.to_dict(), dict[str, Any])
    assert_type(tt.frontier(trace).points["fit"], tuple[tt.FrontierPoint, ...])


def serving(policy: tt.Policy) -> None:
    cascade: tt.Cascade[str, int] = tt.Cascade(policy, [len, len], confidence=float, label=abs)
    assert_type(cascade("text"), tt.Served[int])
    assert_type(cascade.batch(["a", "b"]), list[tt.Served[int]])
