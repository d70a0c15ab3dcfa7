from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import ttamer_fast as tt

Answer = tuple[int, float]


def models_of(trace: tt.Trace, calls: list[int]) -> list[Callable[[int], Answer]]:
    """Models that look up what the trace recorded for a request, and write down that they ran."""
    labels = trace.prediction
    assert labels is not None

    def model(stage: int) -> Callable[[int], Answer]:
        def answer(row: int) -> Answer:
            calls.append(stage)
            return int(labels[row, stage]), float(trace.signal[row, stage])

        return answer

    return [model(stage) for stage in range(trace.k)]


def confidence(answer: Answer) -> float:
    return answer[1]


def label(answer: Answer) -> int:
    return answer[0]


def test_one_by_one_and_in_batches_as_replayed(trace: tt.Trace, policy: tt.Policy) -> None:
    calls: list[int] = []
    cascade = tt.Cascade(policy, models_of(trace, calls), confidence=confidence, label=label)
    replay = policy.replay(trace.signal, trace.prediction)
    rows = range(200)
    singly = [cascade(row) for row in rows]
    assert len(calls) == sum(len(served.consulted) for served in singly)
    for row, served in zip(rows, singly, strict=True):
        assert served.stage == replay.answer[row]
        assert list(served.consulted) == np.flatnonzero(replay.consulted[row]).tolist()
        assert served.cost == replay.cost[row]
        assert served.answer[1] == trace.signal[row, served.stage]
    assert cascade.batch(list(rows)) == singly
    assert cascade.batch(np.arange(200)) == singly
    assert cascade.batch([]) == []


def test_batch_models_run_once_a_stage(trace: tt.Trace, policy: tt.Policy) -> None:
    single = models_of(trace, [])
    sizes: list[int] = []

    def batched(model: Callable[[int], Answer]) -> Callable[[Sequence[int]], list[Answer]]:
        def answers(rows: Sequence[int]) -> list[Answer]:
            sizes.append(len(rows))
            return [model(row) for row in rows]

        return answers

    cascade = tt.Cascade(
        policy, single, confidence=confidence, label=label, batch_models=[batched(model) for model in single]
    )
    served = cascade.batch(range(100))
    assert len(sizes) <= trace.k
    assert sum(sizes) == sum(len(one.consulted) for one in served)
    assert served == [cascade(row) for row in range(100)]


def test_refusals(trace: tt.Trace, policy: tt.Policy) -> None:
    models = models_of(trace, [])
    with pytest.raises(tt.ValidationError, match="`models` must have one model for each of 4 stages, got 3"):
        tt.Cascade(policy, models[:3], confidence=confidence)
    short = tt.Cascade(policy, models, confidence=confidence, batch_models=[lambda xs: []] * 4)
    with pytest.raises(tt.ValidationError, match="`batch_models` entry 0 must return 2 answers, got 0"):
        short.batch([0, 1])

    def broken(_row: int) -> Answer:
        raise OSError("model server is down")

    with pytest.raises(OSError, match="model server is down"):
        tt.Cascade(policy, [broken] * 4, confidence=confidence)(0)


def test_a_default_answer_is_not_a_model_s() -> None:
    free = tt.solve(tt.Model.line([[0.5]], [1.0], [[[1.0]]]), default_loss=0.1)
    cascade: tt.Cascade[int, float] = tt.Cascade(free, [float], confidence=float)
    with pytest.raises(tt.TTamerError, match="default"):
        cascade(0)
    with pytest.raises(tt.TTamerError, match="default"):
        cascade.batch([0])
