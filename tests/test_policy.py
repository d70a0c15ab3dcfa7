"""A compiled policy: one request, a batch, a replay, bytes and threads."""

from __future__ import annotations

import math
import pickle
import threading
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ttamer_fast as tt
from conftest import make_trace

HOSTILE = [math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, -0.0, 0.5, 1.0]

TRACES = {
    "models with predictions": make_trace(n=600, k=4),
    "exits with predictions": make_trace(n=600, k=5, seed=1, kind="exits"),
    "models without predictions": make_trace(n=600, k=3, seed=2, predictions=False),
    "one stage": make_trace(n=50, k=1, seed=3),
}


METHODS = ("fit, recall", "fit, no recall", *tt.baselines.ALL)
CASES = [
    f"{name}: {method}"
    for name, trace in TRACES.items()
    for method in METHODS
    if method != "patience" or trace.prediction is not None
]


@cache
def case_of(name: str) -> tuple[tt.Trace, tt.Policy]:
    trace_name, _, method = name.partition(": ")
    trace = TRACES[trace_name]
    if method.startswith("fit"):
        return trace, tt.fit(trace, tradeoff=0.95, recall=method == "fit, recall")
    return trace, tt.baselines.ALL[method](trace, 0.9)


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[tt.Trace, tt.Policy]:
    return case_of(request.param)


def by_runs(
    policy: tt.Policy, signal: np.ndarray, prediction: np.ndarray | None
) -> tuple[list[int], list[list[bool]], list[float]]:
    answers, consulted, costs = [], [], []
    for row, values in enumerate(signal):
        run, ran = policy.start(), [False] * signal.shape[1]
        while run.next is not None:
            stage = run.next
            ran[stage] = True
            run.observe(float(values[stage]), None if prediction is None else int(prediction[row, stage]))
        answers.append(-1 if run.answer is None else run.answer)
        consulted.append(ran)
        costs.append(run.cost)
    return answers, consulted, costs


def by_batch(
    policy: tt.Policy, signal: np.ndarray, prediction: np.ndarray | None
) -> tuple[list[int], list[list[bool]], list[float]]:
    batch = policy.start_batch(len(signal))
    ran = np.zeros(signal.shape, bool)
    while (waiting := batch.first()) is not None:
        stage, rows = waiting
        assert stage == batch.next[batch.next >= 0].min()
        assert rows.tolist() == batch.rows(stage).tolist()
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
        ran[rows, stage] = True
        batch.observe(stage, signal[rows, stage], None if prediction is None else prediction[rows, stage])
    assert (batch.next == -1).all()
    return batch.answer.tolist(), ran.tolist(), batch.cost.tolist()


def assert_all_agree(policy: tt.Policy, signal: np.ndarray, prediction: np.ndarray | None) -> None:
    replay = policy.replay(signal, prediction)
    assert [a.dtype.name for a in (replay.answer, replay.consulted, replay.cost)] == ["int32", "bool", "float64"]
    replayed = (replay.answer.tolist(), replay.consulted.tolist(), replay.cost.tolist())
    assert by_runs(policy, signal, prediction) == replayed
    assert by_batch(policy, signal, prediction) == replayed


def test_run_batch_and_replay_agree_on_the_trace(case: tuple[tt.Trace, tt.Policy]) -> None:
    trace, policy = case
    assert_all_agree(policy, trace.signal, trace.prediction)
    assert_all_agree(policy, trace.signal, None)


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
@settings(max_examples=25)
@given(data=st.data())
def test_run_batch_and_replay_agree_on_anything(data: st.DataObject) -> None:
    trace, policy = case_of(data.draw(st.sampled_from(CASES)))
    n = data.draw(st.integers(1, 6))
    values = st.one_of(st.sampled_from(HOSTILE), st.floats(width=64))
    signal = np.array(data.draw(st.lists(values, min_size=n * trace.k, max_size=n * trace.k))).reshape(n, trace.k)
    integers = st.integers(-(2**63), 2**63 - 1)
    predictions = data.draw(
        st.lists(st.one_of(st.integers(0, 2), integers), min_size=n * trace.k, max_size=n * trace.k)
    )
    assert_all_agree(policy, signal, np.array(predictions, np.int64).reshape(n, trace.k))


@pytest.mark.parametrize("signal", HOSTILE)
def test_an_answer_is_always_in_hand(case: tuple[tt.Trace, tt.Policy], signal: float) -> None:
    trace, policy = case
    run = policy.start()
    ran = []
    while run.next is not None:
        ran.append(run.next)
        run.observe(signal, 0)
        assert run.answer in ran
    assert 0.0 <= run.cost <= trace.full_cost + 1e-9
    assert run.expected_loss >= 0.0


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_an_unknown_signal_is_never_answered_with_while_another_can_be() -> None:
    for trace, policy in (case_of(name) for name in CASES if name.endswith("fit, recall")):
        rng = np.random.default_rng(0)
        signal = np.where(rng.random(trace.signal.shape) < 0.4, math.nan, trace.signal)
        replay = policy.replay(signal, trace.prediction)
        known = np.isfinite(signal)
        answered_unknown = ~known[np.arange(trace.n), replay.answer]
        assert not (answered_unknown & (known & replay.consulted).any(axis=1)).any()


def test_observing_a_finished_run_is_an_error(policy: tt.Policy) -> None:
    run = policy.start()
    while run.next is not None:
        run.observe(0.99, 0)
    with pytest.raises(tt.RunFinishedError) as raised:
        run.observe(0.5, 0)
    assert isinstance(raised.value, tt.TTamerError)
    assert isinstance(raised.value, RuntimeError)


def test_signals_and_labels_of_any_kind(policy: tt.Policy) -> None:
    run = policy.start()
    first = run.observe(None, "yes")
    assert run.restart() == policy.start().next
    assert run.observe(math.nan, ("a", 1)) == first
    for signal in (1, True, np.float32(0.5), 10**400):
        run.restart()
        run.observe(signal, 2**200)
    run.restart()
    with pytest.raises(tt.ValidationError, match="`signal` must be a real number or None, got str"):
        run.observe("high")  # type: ignore[arg-type]
    with pytest.raises(tt.ValidationError, match="`prediction` must be hashable, got list"):
        run.observe(0.5, [])  # type: ignore[arg-type]


def test_batches_refuse_what_does_not_fit(policy: tt.Policy) -> None:
    batch = policy.start_batch(3)
    assert len(batch) == 3
    assert batch.answer.tolist() == [-1] * 3
    with pytest.raises(tt.ValidationError, match="signal"):
        batch.observe(0, [0.5])
    with pytest.raises(tt.ValidationError, match="prediction"):
        batch.observe(0, [0.5] * 3, [1])
    with pytest.raises(tt.ValidationError, match="stage"):
        batch.rows(99)
    assert batch.rows(0).tolist() == [0, 1, 2]


def test_replay_refuses_what_does_not_fit(policy: tt.Policy) -> None:
    for signal in ([0.5] * 4, [[0.5]], np.zeros((2, 5))):
        with pytest.raises(tt.ValidationError, match="signal"):
            policy.replay(signal)
    with pytest.raises(tt.ValidationError, match="prediction"):
        policy.replay(np.zeros((2, 4)), np.zeros((1, 4), int))
    assert len(policy.replay(np.zeros((0, 4)))) == 0


def test_bytes_round_trip(case: tuple[tt.Trace, tt.Policy], tmp_path: Path) -> None:
    trace, policy = case
    content = policy.to_bytes()
    path = tmp_path / "policy"
    policy.save(path)
    assert path.read_bytes() == content
    for copy in (tt.Policy.from_bytes(content), tt.load(path), pickle.loads(pickle.dumps(policy))):
        assert copy.to_bytes() == content
        assert copy.digest == policy.digest
        assert copy == policy
        assert hash(copy) == hash(policy)
        assert copy.describe() == policy.describe()
        ours, theirs = (p.replay(trace.signal, trace.prediction) for p in (policy, copy))
        np.testing.assert_array_equal(ours.answer, theirs.answer)
    assert [file.name for file in tmp_path.iterdir()] == ["policy"]


def test_every_flipped_bit_and_every_truncation_is_refused() -> None:
    content = tt.baselines.threshold(TRACES["one stage"], 0.9).to_bytes()
    for size in range(len(content)):
        with pytest.raises(tt.PolicyFormatError):
            tt.Policy.from_bytes(content[:size])
    with pytest.raises(tt.PolicyFormatError):
        tt.Policy.from_bytes(content + b"\0")
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(tt.PolicyFormatError):
            tt.Policy.from_bytes(bytes(damaged))


def test_files_that_are_no_policies(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    path.write_bytes(b"not a policy, but longer than any header is")
    with pytest.raises(tt.PolicyFormatError):
        tt.load(path)
    with pytest.raises(OSError, match="absent"):
        tt.load(tmp_path / "absent")
    with pytest.raises(OSError, match="folder"):
        case_of("one stage: static")[1].save(tmp_path / "folder" / "policy")


def test_threads_share_a_policy(trace: tt.Trace, policy: tt.Policy) -> None:
    expected = policy.replay(trace.signal, trace.prediction).answer
    prediction = trace.prediction
    assert prediction is not None
    wrong: list[int] = []

    def work(seed: int) -> None:
        rows = np.random.default_rng(seed).integers(0, trace.n, 200)
        answers, _, _ = by_runs(policy, trace.signal[rows], prediction[rows])
        replayed = policy.replay(trace.signal, prediction).answer
        if answers != expected[rows].tolist() or not np.array_equal(replayed, expected):
            wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("n", [2**31, 2**40, 2**62])
def test_batches_beyond_all_bounds_are_refused(policy: tt.Policy, n: int) -> None:
    with pytest.raises(tt.ValidationError, match=f"`n` must be at most 2147483647, and fit in memory, got {n}"):
        policy.start_batch(n)


def test_batches_of_less_than_nothing_are_refused(policy: tt.Policy) -> None:
    with pytest.raises(tt.ValidationError, match="`n` must be at least 0, got -1"):
        policy.start_batch(-1)
