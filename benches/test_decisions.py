"""Call, batch and replay of a fitted 6-stage policy, each beside what a user would write without it (pytest-benchmark).

Every benchmark asserts its answer before it is timed. Labels: *call* is one Python call, *batch* a request, amortised.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from speed import answers_of
from ttamer_fast.evaluation.overhead import synthetic_trace

Benchmark = Callable[..., Any]

ROWS = 2_000
BATCH = 100_000
REPLAYED = 500_000
THRESHOLD = 0.83


@pytest.fixture(scope="module")
def trace() -> tt.Trace:
    return synthetic_trace()


@pytest.fixture(scope="module")
def policy(trace: tt.Trace) -> tt.Policy:
    return tt.fit(trace, tradeoff=0.97)


@pytest.fixture(scope="module")
def requests(trace: tt.Trace) -> tuple[list[tuple[float, ...]], list[tuple[int, ...]]]:
    assert trace.prediction is not None
    signals = [tuple(row) for row in trace.signal[:ROWS].tolist()]
    return signals, [tuple(row) for row in trace.prediction[:ROWS].tolist()]


def test_call_whole_requests(benchmark: Benchmark, policy: tt.Policy, trace: tt.Trace, requests: Any) -> None:
    signals, predictions = requests
    assert trace.prediction is not None
    replay = policy.replay(trace.signal[:ROWS], trace.prediction[:ROWS])
    assert answers_of(policy, signals, predictions) == replay.answer.tolist()
    benchmark(answers_of, policy, signals, predictions)


def test_call_python_threshold_function(benchmark: Benchmark, requests: Any) -> None:
    signals, _ = requests

    def rule(signal: float) -> bool:
        return signal >= THRESHOLD

    def serve() -> list[int]:
        answers = []
        for signal in signals:
            stage = 0
            while not rule(signal[stage]) and stage < 5:
                stage += 1
            answers.append(stage)
        return answers

    assert serve() == [next((i for i, s in enumerate(signal) if s >= THRESHOLD), 5) for signal in signals]
    benchmark(serve)


def test_batch_first_observation(benchmark: Benchmark, policy: tt.Policy) -> None:
    signal = np.random.default_rng(0).random(BATCH)
    prediction = np.zeros(BATCH, np.int64)

    def observe() -> tt.Batch:
        batch = policy.start_batch(BATCH)
        batch.rows(0)
        batch.observe(0, signal, prediction)
        return batch

    run = policy.start()
    expected = run.observe(float(signal[0]), 0)
    assert observe().next[0] == (-1 if expected is None else expected)
    benchmark(observe)


def test_batch_numpy_threshold(benchmark: Benchmark) -> None:
    signal = np.random.default_rng(0).random(BATCH)
    assert (signal >= THRESHOLD).nonzero()[0].size == int((signal >= THRESHOLD).sum())
    benchmark(lambda: (signal >= THRESHOLD).nonzero())


def test_replay(benchmark: Benchmark, policy: tt.Policy) -> None:
    signal = np.random.default_rng(0).random((REPLAYED, 6))
    prediction = (signal > 0.5).astype(np.int64)
    assert len(policy.replay(signal, prediction)) == REPLAYED
    benchmark(lambda: policy.replay(signal, prediction))


def test_replay_numpy_threshold_exits(benchmark: Benchmark) -> None:
    signal = np.random.default_rng(0).random((REPLAYED, 6))

    def exits() -> np.ndarray:
        stops = signal >= THRESHOLD
        return np.where(stops.any(axis=1), stops.argmax(axis=1), 5)

    assert exits().shape == (REPLAYED,)
    benchmark(exits)
