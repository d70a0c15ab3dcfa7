"""Checked by mypy, never run: the types that users of the public face see."""

from __future__ import annotations

from collections.abc import Sized
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
    cascade: tt.Cascade[str, int] = tt.Cascade(policy, [len, len], signal=float, prediction=abs)
    served = cascade("text")
    assert_type(served, tt.Served[int])
    assert_type(served.output, int | None)
    assert_type(served.record, tt.Record)
    assert_type(served.signal, NDArray[np.float64])
    table = cascade.batch(["a", "b"])
    assert_type(table, tt.ServedBatch[int])
    assert_type(table[0], tt.Served[int])
    assert_type(table.outputs, list[int | None])
    assert_type(table.consulted, NDArray[np.bool_])
    assert_type(tt.Cascade(policy, [tt.Stage(len, signal=float)]), tt.Cascade[Sized, int])
    served.cost = 0.0  # type: ignore[misc]


async def remote(text: str) -> int:
    """A model that is awaited."""
    return len(text)


def local(text: str) -> int:
    """A model that is not."""
    return len(text)


async def serving_coroutines(policy: tt.Policy) -> None:
    limited = tt.Stage(remote, signal=float, timeout=0.5, retries=2, breaker=tt.Breaker(failures=3), threads=1)
    assert_type(limited, tt.Stage[str, int])
    cascade = tt.Cascade(policy, [limited, tt.Stage(local, signal=float)], timing=True)
    assert_type(cascade, tt.Cascade[str, int])
    assert_type(await cascade.acall("text", deadline=0.5), tt.Served[int])
    assert_type(await cascade.abatch(["a", "b"], deadline=None), tt.ServedBatch[int])
    assert_type((await cascade.acall("text")).seconds, NDArray[np.float64] | None)
    assert_type(cascade.late, dict[str, int])
    assert_type(cascade.circuits["small"].state, str)
    tt.Stage(remote, signal=float, breaker=5)  # type: ignore[call-overload]
