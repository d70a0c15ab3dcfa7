"""Predictions of any kind lead to the same decisions at every door and in every process."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from conftest import make_trace
from prediction_values import VALUES
from ttamer_fast._core import prediction_codes

TRACE = make_trace(n=400, k=4, seed=3)
POLICIES = {
    "pathwise": tt.fit(TRACE, tradeoff=0.95),
    "patience": tt.baselines.patience(TRACE, 0.9),
    "mixture": tt.fit(TRACE, max_cost=1.6),
}


def by_run(policy: tt.Policy, signal: list[float], said: list[Any]) -> tuple[int | None, float]:
    run = policy.start()
    while run.next is not None:
        run.observe(signal[run.next], said[run.next])
    return run.answer, run.cost


def by_batch(policy: tt.Policy, signals: list[list[float]], rows: list[list[Any]]) -> list[tuple[int | None, float]]:
    batch = policy.start_batch(len(rows))
    while (batch.next >= 0).any():
        stage = int(batch.next.max())
        waiting = batch.rows(stage).tolist()
        batch.observe(stage, [signals[row][stage] for row in waiting], [rows[row][stage] for row in waiting])
    return list(zip(batch.answer.tolist(), batch.cost.tolist(), strict=True))


def by_replay(policy: tt.Policy, signals: list[list[float]], rows: Any) -> list[tuple[int | None, float]]:
    replay = policy.replay(signals, rows)
    return list(zip(replay.answer.tolist(), replay.cost.tolist(), strict=True))


def test_the_policies_are_of_every_kind() -> None:
    assert POLICIES["mixture"].describe()["rule"]["type"] == "mixture"


@pytest.mark.parametrize("kind", POLICIES)
@given(st.data())
def test_every_door_decides_alike(kind: str, data: st.DataObject) -> None:
    policy = POLICIES[kind]
    n, k = data.draw(st.integers(1, 4)), TRACE.k
    pool = data.draw(st.lists(VALUES, min_size=1, max_size=3))
    rows = data.draw(st.lists(st.lists(st.sampled_from(pool), min_size=k, max_size=k), min_size=n, max_size=n))
    signals = data.draw(
        st.lists(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=k, max_size=k), min_size=n, max_size=n)
    )
    alone = [by_run(policy, signal, said) for signal, said in zip(signals, rows, strict=True)]
    assert by_batch(policy, signals, rows) == alone
    assert by_replay(policy, signals, rows) == alone
    trace = tt.Trace(signals, np.zeros((n, k)), TRACE.cost, rows, kind=TRACE.kind)
    assert trace.prediction is not None
    assert by_replay(policy, signals, trace.prediction) == alone
    stages = [lambda row, v=v: (signals[row][v], rows[row][v]) for v in range(k)]
    cascade: tt.Cascade[int, Any] = tt.Cascade(policy, stages, signal=lambda y: y[0], prediction=lambda y: y[1])
    assert [(served.stage, served.cost) for served in map(cascade, range(n))] == alone
    assert [(served.stage, served.cost) for served in cascade.batch(range(n))] == alone


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, ttamer_fast as tt
from prediction_values import EQUAL, OBJECTS
from test_prediction_doors import POLICIES, TRACE, by_batch, by_replay, by_run
from ttamer_fast._core import prediction_codes
rng = np.random.default_rng(0)
words = [value for group in EQUAL for value in group if not isinstance(value, np.ndarray)] + OBJECTS
print(prediction_codes(words, 1).tolist())
signals = np.round(rng.random((600, TRACE.k)), 1).tolist()
rows = [[words[i] for i in row] for row in rng.integers(0, len(words), (600, TRACE.k))]
for policy in POLICIES.values():
    print(by_replay(policy, signals, rows), by_batch(policy, signals, rows) == by_replay(policy, signals, rows))
    print([by_run(policy, *both) for both in zip(signals, rows)] == by_replay(policy, signals, rows))
"""


def test_every_process_decides_alike() -> None:
    tests = str(Path(__file__).parent)

    def told(salt: str) -> str:
        command = [sys.executable, "-c", CHILD, tests]
        environment = dict(os.environ, PYTHONHASHSEED=salt)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    one, other = told("1"), told("2")
    assert one == other
    assert "False" not in one


def test_what_the_methods_of_predictions_raise_passes() -> None:
    class Broken:
        def __init__(self, method: str, error: type[BaseException]) -> None:
            self.method, self.error = method, error

        def __hash__(self) -> int:
            return self.fail("hash")

        def __eq__(self, other: object) -> bool:
            return self.fail("eq") == 0

        def fail(self, method: str) -> int:
            if method == self.method:
                raise self.error
            return 0

    class BrokenIndex:
        def __index__(self) -> int:
            raise KeyboardInterrupt

    policy = POLICIES["pathwise"]
    for broken, error in ((Broken("hash", MemoryError), MemoryError), (Broken("eq", KeyError), KeyError)):
        for call in (
            lambda broken=broken: policy.start().observe(0.5, broken),
            lambda broken=broken: prediction_codes([[broken]]),
            lambda broken=broken: policy.start_batch(1).observe(0, [0.5], [broken]),
        ):
            with pytest.raises(error):
                call()
    with pytest.raises(KeyboardInterrupt):
        policy.start().observe(0.5, BrokenIndex())


def test_a_batch_lets_go_of_objects_when_their_request_is_decided() -> None:
    class Said:
        alive = 0

        def __init__(self) -> None:
            Said.alive += 1

        def __del__(self) -> None:
            Said.alive -= 1

    policy = POLICIES["pathwise"]
    batch = policy.start_batch(2)
    entry = policy.start().next
    assert entry is not None
    batch.observe(entry, [0.5, 0.5], [Said(), Said()])
    assert Said.alive == int((batch.next >= 0).sum()) > 0
    while (batch.next >= 0).any():
        stage = int(batch.next.max())
        batch.observe(stage, [0.5] * len(batch.rows(stage)))
    assert Said.alive == 0


def test_a_batch_is_not_observed_by_what_it_compares() -> None:
    policy = POLICIES["pathwise"]
    entry = int(policy.start_batch(1).next[0])
    batch = policy.start_batch(1)

    class Meddler:
        def __eq__(self, other: object) -> bool:
            if len(batch.rows(entry)):
                batch.observe(entry, [0.0])
            return False

        def __ne__(self, other: object) -> bool:
            return False

        def __hash__(self) -> int:
            return 0

    with pytest.raises(tt.ValidationError):
        batch.observe(entry, [0.5], [Meddler()])


def test_class_curves_see_numbers_in_whatever_type() -> None:
    rng = np.random.default_rng(0)
    said = rng.integers(0, 3, (3000, 2))
    signal = rng.random((3000, 2))
    loss = rng.random((3000, 2)) < np.where(said == 1, 0.7, 0.1)
    plain = tt.fit(tt.Trace(signal, loss, [1.0, 2.0], said, kind="models"), tradeoff=0.9)
    for dtype in (np.uint8, np.float32, object, np.uint64):
        trace = tt.Trace(signal, loss, [1.0, 2.0], said.astype(dtype), kind="models")
        assert tt.fit(trace, tradeoff=0.9).digest == plain.digest
