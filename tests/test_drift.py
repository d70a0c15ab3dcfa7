from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

import ttamer_fast as tt
from conftest import make_trace

EXITS = ("sst2_minilm", "tweets_minilm")
TRACES = ("command_apis", "ferplus_apis", "mnist_cascade", "qwen_cosmosqa", "yelp_apis", *EXITS)


def read(folder: Path, name: str) -> tt.Trace:
    if not (file := folder / f"{name}.npz").exists():
        pytest.skip(f"{file} is absent")
    return tt.read_trace(file, kind="exits" if name in EXITS else "models")


def shuffled(trace: tt.Trace, seed: int) -> tt.Trace:
    return trace.rows(np.random.default_rng(seed).permutation(trace.n))


def watch(monitor: tt.DriftMonitor, policy: tt.Policy, stream: tt.Trace) -> bool:
    replay = policy.replay(stream.signal, stream.prediction)
    return monitor.update_replay(replay, stream.signal, stream.prediction)


def one_by_one(monitor: tt.DriftMonitor, policy: tt.Policy, stream: tt.Trace) -> tt.DriftMonitor:
    assert stream.prediction is not None
    for signal, prediction in zip(stream.signal.tolist(), stream.prediction.tolist(), strict=True):
        run, seen, said = policy.start(), {}, {}
        while run.next is not None:
            stage = run.next
            seen[stage], said[stage] = signal[stage], prediction[stage]
            run.observe(seen[stage], said[stage])
        monitor.update(seen, run.answer, said)
    return monitor


@pytest.mark.rates
@pytest.mark.parametrize("ties", [False, True])
def test_false_alarms_are_as_rare_as_stated(ties: bool) -> None:
    """Many short references: an estimate of their distribution alone would alarm far too often."""
    policy = tt.fit(make_trace(k=3), tradeoff=0.8)
    alpha, draws = 0.2, 400
    population = make_trace(n=40_000, k=3, seed=1)
    signal = np.round(population.signal * 4.0) / 4.0 if ties else population.signal
    signal = np.where(signal < 0.1, math.nan, signal)
    population = tt.Trace(signal, population.loss, population.cost, population.prediction, kind="models")
    rng = np.random.default_rng(2)
    alarms = 0
    for seed in range(draws):
        part = population.rows(rng.choice(population.n, 600, replace=False))
        monitor = tt.DriftMonitor.fit(policy, part[:200], alpha=alpha, seed=seed)
        alarms += watch(monitor, policy, part[200:])
    assert alarms <= binom.ppf(0.9999, draws, alpha)


@pytest.mark.outside("traces")
def test_silent_on_exchangeable_halves_of_every_outside_trace(outside_traces: Path) -> None:
    alpha, draws, alarms = 0.05, 12, 0
    for name in TRACES:
        train, rest = read(outside_traces, name).split(0.75, 7)
        policy = tt.fit(train, tradeoff=0.95)
        for seed in range(draws):
            both = shuffled(rest, seed)[:8000]
            reference, stream = both[: both.n // 2], both[both.n // 2 :]
            alarms += watch(tt.DriftMonitor.fit(policy, reference, alpha=alpha, seed=seed), policy, stream)
    assert alarms <= binom.ppf(0.999, draws * len(TRACES), alpha)


@pytest.mark.outside("traces")
def test_alarms_on_another_domain(outside_traces: Path) -> None:
    train, reference = read(outside_traces, "sst2_minilm").split(0.5, 0)
    policy = tt.fit(train, tradeoff=0.95)
    other = read(outside_traces, "tweets_minilm")
    delays = []
    for seed in range(5):
        monitor = tt.DriftMonitor.fit(policy, reference, alpha=0.01, seed=seed)
        assert watch(monitor, policy, shuffled(other, seed))
        assert monitor.alarmed_at is not None
        delays.append(monitor.alarmed_at)
        report = monitor.report()
        assert report.stage in report.stages
        assert report.stage in policy.stages
    assert np.median(delays) <= 1500


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_names_the_stage_that_drifted(stage: int) -> None:
    trace = make_trace(n=9000, k=3)
    train, reference = trace[:6000].split()
    policy = tt.fit(train, tradeoff=0.95)
    monitor = tt.DriftMonitor.fit(policy, reference)
    stream = trace[6000:]
    signal = stream.signal.copy()
    assert not watch(monitor, policy, stream)
    signal[:, stage] **= 4.0
    late = tt.Trace(signal, stream.loss, stream.cost, stream.prediction, kind="models")
    replay = policy.replay(stream.signal, stream.prediction)
    # The same decisions, so that no other stage sees a difference.
    assert monitor.update_batch(late.signal, replay.consulted, replay.answer, late.prediction)
    report = monitor.report()
    assert report.stage == f"stage {stage}"
    assert report.watched == "signal"
    # What the policy believes of later answers depends on the signal too.
    believed = {"expected loss", "difficulty"}
    others = {one.stage for one in report.components if one.evidence >= 1.0 and one.watched not in believed}
    assert others == {f"stage {stage}"}
    assert report.direction == "lower"
    assert report.advice is not None
    assert repr(f"stage {stage}") in report.advice
    assert report.components[0].mean < report.components[0].reference_mean
    assert f"drift of the signal of 'stage {stage}', alarm after" in str(report)
    assert f"lower than in the reference, since about request {report.since}" in str(report)
    assert report.to_dict()["components"][0]["stage"] == f"stage {stage}"


@pytest.mark.parametrize("part", ["agreement", "answer", "consulted"])
def test_watches_more_than_signals(part: str) -> None:
    trace = make_trace(n=6000, k=3)
    train, reference = trace[:3000].split()
    policy = tt.fit(train, tradeoff=0.95)
    monitor = tt.DriftMonitor.fit(policy, reference)
    stream = trace[3000:]
    replay = policy.replay(stream.signal, stream.prediction)
    consulted, answer, prediction = replay.consulted.copy(), replay.answer.copy(), stream.prediction
    assert prediction is not None
    if part == "agreement":
        prediction = np.tile([0, 1, 2], (stream.n, 1))
    elif part == "answer":
        answer = consulted.argmax(axis=1).astype(np.int32)
    else:
        consulted[::2] = True
    assert monitor.update_batch(stream.signal, consulted, answer, prediction)
    assert part in {one.watched for one in monitor.report().components if one.evidence >= 1.0}


def test_one_by_one_and_in_batches_alike(trace: tt.Trace, policy: tt.Policy) -> None:
    stream = make_trace(n=300, seed=4)
    stream = tt.Trace(stream.signal**3, stream.loss, stream.cost, stream.prediction, kind="models")
    single = one_by_one(tt.DriftMonitor.fit(policy, trace, alpha=0.1), policy, stream)
    whole, parts = (tt.DriftMonitor.fit(policy, trace, alpha=0.1) for _ in range(2))
    watch(whole, policy, stream)
    for start in range(0, stream.n, 47):
        watch(parts, policy, stream[start : start + 47])
    assert whole.alarm
    assert single.alarmed_at == whole.alarmed_at == parts.alarmed_at
    assert single.report().stage == whole.report().stage == parts.report().stage
    ours, theirs = single.report().components, whole.report().components
    assert [one.evidence for one in ours] == pytest.approx([one.evidence for one in theirs])
    assert [one.rows for one in ours] == [one.rows for one in theirs]


def test_written_and_read_it_goes_on_where_it_was(trace: tt.Trace, policy: tt.Policy, tmp_path: Path) -> None:
    monitor = tt.DriftMonitor.fit(policy, trace)
    first, second = make_trace(n=77, seed=5), make_trace(n=200, seed=6)
    watch(monitor, policy, first)
    monitor.save(tmp_path / "monitor.json")
    again = tt.DriftMonitor.load(tmp_path / "monitor.json")
    assert again.to_bytes() == monitor.to_bytes()
    for one in (monitor, again, copy := pickle.loads(pickle.dumps(again))):
        watch(one, policy, second)
    assert again.to_bytes() == monitor.to_bytes() == copy.to_bytes()
    assert again.policy_digest == policy.digest
    assert again.requests == 277
    assert again.stages == policy.stages


def test_memory_does_not_grow_and_reset_forgets(trace: tt.Trace, policy: tt.Policy) -> None:
    monitor = tt.DriftMonitor.fit(policy, trace, seed=3)
    fresh = monitor.to_bytes()
    for _ in range(20):
        watch(monitor, policy, trace)
    assert len(monitor.to_bytes()) < 3 * len(fresh)
    monitor.reset()
    assert monitor.to_bytes() == fresh
    assert "no alarm" in repr(monitor)


def test_extreme_signals_are_taken_in(policy: tt.Policy, trace: tt.Trace) -> None:
    monitor = tt.DriftMonitor.fit(policy, trace)
    for value in (math.nan, math.inf, -math.inf, 1e308):
        signal = np.full((5, 4), value)
        monitor.update_replay(policy.replay(signal), signal)
        monitor.update({0: value, 1: None}, 1)
    assert all(math.isfinite(one.evidence) for one in monitor.report().components)


def test_sums_that_overflow_are_taken_in(policy: tt.Policy, trace: tt.Trace) -> None:
    single, batch = (tt.DriftMonitor.fit(policy, trace) for _ in range(2))
    signal = np.full((1, 4), 1.7e308)
    for _ in range(3):
        single.update({0: 1.7e308}, 0)
        batch.update_batch(signal, [[True, False, False, False]], [0])
    assert single.requests == batch.requests == 3
    assert single.to_bytes() == batch.to_bytes()


def test_predictions_are_compared_where_both_stages_have_one(trace: tt.Trace, policy: tt.Policy) -> None:
    monitor = tt.DriftMonitor.fit(policy, trace)
    seen = {0: 0.5, 1: None, 2: 0.7}
    monitor.update(seen, 2, {0: "cat", 2: "cat"})
    monitor.update(seen, 2, {0: "cat", 1: "dog", 2: "dog"})
    monitor.update(seen, 2, {1: "dog", 3: "dog"})
    monitor.update(seen, None)
    agreement = {one.stage: one for one in monitor.report().components if one.watched == "agreement"}
    assert (agreement["stage 1"].rows, agreement["stage 1"].mean) == (1, 0.0)
    assert (agreement["stage 2"].rows, agreement["stage 2"].mean) == (2, 1.0)
    assert agreement["stage 3"].rows == 0


def test_records_of_a_cascade_are_taken_in(trace: tt.Trace, policy: tt.Policy) -> None:
    single, recorded = (tt.DriftMonitor.fit(policy, trace) for _ in range(2))
    stages = [lambda x, v=v: (trace.signal[x, v], int(trace.prediction[x, v])) for v in range(trace.k)]  # type: ignore[index]
    cascade: tt.Cascade[int, Any] = tt.Cascade(policy, stages, signal=lambda y: y[0], prediction=lambda y: y[1])
    for served in cascade.batch(list(range(50))):
        record = served.record
        signal = {stage: record.signal[stage] for stage in record.consulted}
        single.update(signal, record.answer, {stage: record.prediction[stage] for stage in record.consulted})
        recorded.update_record(record)
    assert recorded.requests == 50
    assert recorded.to_bytes() == single.to_bytes()


@pytest.mark.parametrize("lost", [{"failures": {0: "broken"}, "answer": 1}, {"barred": {2: "open"}}, {"late": True}])
def test_records_that_tell_of_stages_and_deadlines_are_left_out(
    trace: tt.Trace, policy: tt.Policy, lost: dict[str, Any]
) -> None:
    parts: dict[str, Any] = {
        "request_id": "7",
        "digest": policy.digest,
        "stages": policy.stages,
        "consulted": [0, 1],
        "signal": [0.5, 0.9, None, None],
        "answer": 0,
        "cost": 1.0,
        "expected_loss": 0.1,
    }
    monitor = tt.DriftMonitor.fit(policy, trace)
    monitor.update_record(tt.Record(**parts | lost))
    assert monitor.requests == 0
    monitor.update_record(tt.Record(**parts))
    assert monitor.requests == 1


def test_records_of_another_policy_are_refused(trace: tt.Trace, policy: tt.Policy) -> None:
    other = tt.fit(trace, tradeoff=0.5)
    cascade = tt.Cascade(other, [lambda x: x] * trace.k, signal=lambda y: y)
    monitor = tt.DriftMonitor.fit(policy, trace)
    with pytest.raises(tt.ValidationError, match=f"{policy.digest[:12]}, got '{other.digest[:12]}'"):
        monitor.update_record(cascade(0.9).record)
    served = tt.Cascade(policy, [lambda x: x] * trace.k, signal=lambda y: y)(0.9)
    with pytest.raises(tt.ValidationError, match="`record` must be a Record, got Served"):
        monitor.update_record(served)  # type: ignore[arg-type]
    renamed = tt.Record(
        request_id="7",
        digest=policy.digest,
        stages=["a", "b"],
        consulted=[0],
        signal=[0.9, None],
        answer=0,
        cost=1.0,
        expected_loss=0.1,
    )
    with pytest.raises(tt.ValidationError) as caught:
        monitor.update_record(renamed)
    assert str(caught.value) == (
        f"`record` must have the stages of the policy that is watched, {list(policy.stages)}, got ['a', 'b']"
    )
    assert monitor.requests == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 0.0}, "`alpha` must be above 0 and below 1, got 0.0"),
        ({"alpha": "low"}, "`alpha` must be a number, got 'low'"),
        ({"seed": -1}, "`seed` must be an integer in [0, 2**63), got -1"),
        (
            {"trace": make_trace(k=3)},
            "`trace` must have the stages ['stage 0', 'stage 1', 'stage 2', 'stage 3'], "
            "got ['stage 0', 'stage 1', 'stage 2']",
        ),
        ({"trace": make_trace(n=15)}, "`trace` must have at least 16 rows, got 15"),
        ({"trace": "trace"}, "`trace` must be a Trace, got str"),
    ],
)
def test_references_that_are_refused(
    trace: tt.Trace, policy: tt.Policy, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        tt.DriftMonitor.fit(policy, **({"trace": trace} | arguments))
    assert str(raised.value) == message


def test_requests_that_are_refused(trace: tt.Trace, policy: tt.Policy) -> None:
    monitor = tt.DriftMonitor.fit(policy, trace)
    with pytest.raises(tt.ValidationError, match="`signal` stage must be from 0 to 3, got 7"):
        monitor.update({7: 0.5}, 7)
    with pytest.raises(tt.ValidationError, match="`answer` must be a stage that was run, got 1"):
        monitor.update({0: 0.5}, 1)
    ran = np.tile([True, False, False, False], (2, 1))
    with pytest.raises(tt.ValidationError, match=r"`signal` must have shape \(n, 4\), got \(2, 3\)"):
        monitor.update_batch(np.ones((2, 3)), ran, [0, 0])
    with pytest.raises(tt.ValidationError, match=r"`consulted` must be bool of shape \(2, 4\)"):
        monitor.update_batch(np.ones((2, 4)), ran[:1], [0, 0])
    with pytest.raises(tt.ValidationError, match="`answer` entry 1 must be a stage that was run, or -1, got 2"):
        monitor.update_batch(np.ones((2, 4)), ran, [0, 2])
    with pytest.raises(tt.ValidationError, match=r"`answer` must have shape \(2,\), got \(1,\)"):
        monitor.update_batch(np.ones((2, 4)), ran, [0])
    with pytest.raises(tt.ValidationError, match=r"`prediction` must have shape \(2, 4\), got \(2, 1\)"):
        monitor.update_batch(np.ones((2, 4)), ran, [0, 0], [[1], [1]])
    assert monitor.requests == 0
    with pytest.raises(TypeError, match="made by"):
        tt.DriftMonitor()


def test_files_that_are_refused(trace: tt.Trace, policy: tt.Policy, tmp_path: Path) -> None:
    data = tt.DriftMonitor.fit(policy, trace).to_bytes()
    for other in (b"", b"[]", policy.to_bytes(), data[1:]):
        with pytest.raises(tt.PolicyFormatError, match="no drift monitor"):
            tt.DriftMonitor.from_bytes(other)
    for other in (data[:-2], data[:200], data[:10], data + b"x", data.replace(b"requests", b"requests"[::-1], 1)):
        with pytest.raises(tt.PolicyFormatError, match=r"damaged|truncated"):
            tt.DriftMonitor.from_bytes(other)
    with pytest.raises(FileNotFoundError, match="absent"):
        tt.DriftMonitor.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="monitor"):
        tt.DriftMonitor.fit(policy, trace).save(tmp_path / "absent" / "monitor")
