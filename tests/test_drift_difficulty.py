"""Drift monitors: what changed, since when, what to do; threads, forks, rows that are not in a random order."""

from __future__ import annotations

import json
import math
import multiprocessing
import pickle
import threading
import warnings

import numpy as np
import pytest
from scipy.stats import binom

import ttamer_fast as tt
from conftest import make_trace

Parts = tuple[tt.Policy, tt.Trace, tt.Trace]


@pytest.fixture(scope="module")
def parts() -> Parts:
    """A policy, and two traces that it was not fitted on."""
    return _parts(predictions=True)


def _parts(predictions: bool) -> Parts:
    train, rest = make_trace(n=30_000, k=3, seed=3, predictions=predictions).split(0.9)
    return tt.fit(train, tradeoff=0.9), *rest.split(0.9)


def harder(trace: tt.Trace, more: float, seed: int) -> tt.Trace:
    """Requests that stage 0 gets wrong so many times as frequent, in a random order."""
    rng = np.random.default_rng(seed)
    wrong = trace.loss[:, 0] > 0.0
    order = rng.permutation(trace.n)
    return trace.rows(order[(wrong | (rng.random(trace.n) < 1.0 / more))[order]][:4000])


def watched(monitor: tt.DriftMonitor, policy: tt.Policy, stream: tt.Trace) -> tt.DriftReport:
    monitor.update_replay(policy.replay(stream.signal, stream.prediction), stream.signal, stream.prediction)
    return monitor.report()


def requests(policy: tt.Policy, trace: tt.Trace) -> list[tuple[dict[int, float], int | None, dict[int, int]]]:
    """Every request as `update` takes it."""
    assert trace.prediction is not None
    found = []
    for signal, prediction in zip(trace.signal.tolist(), trace.prediction.tolist(), strict=True):
        run = policy.start()
        seen: dict[int, float] = {}
        said: dict[int, int] = {}
        while (stage := run.next) is not None:
            seen[stage], said[stage] = signal[stage], prediction[stage]
            run.observe(seen[stage], said[stage])
        found.append((seen, run.answer, said))
    return found


@pytest.mark.rates
def test_requests_that_became_harder_raise_an_alarm(parts: Parts) -> None:
    policy, reference, rest = parts
    draws, alarms, calm, named = 20, 0, 0, 0
    for seed in range(draws):
        rows = np.random.default_rng(seed).permutation(reference.n)[:1500]
        for more in (1.0, 2.0):
            monitor = tt.DriftMonitor.fit(policy, reference.rows(rows), alpha=0.05, seed=seed)
            report = watched(monitor, policy, harder(rest, more, seed))
            if more == 1.0:
                calm += report.alarm
            else:
                alarms += report.alarm
                named += (report.watched, report.direction) == ("difficulty", "higher")
    assert alarms >= 0.75 * draws
    assert named >= 0.5 * draws
    assert calm <= binom.ppf(0.9999, draws, 0.05)


def test_the_alarm_says_what_changed_since_when_and_what_to_do(parts: Parts) -> None:
    policy, reference, rest = parts
    monitor = tt.DriftMonitor.fit(policy, reference)
    before = watched(monitor, policy, rest[:3000])
    assert (before.alarm, before.stage, before.since, before.direction, before.advice) == (False,) + (None,) * 4
    report = watched(monitor, policy, harder(rest[3000:], 4.0, 0))
    assert (report.watched, report.stage, report.direction) == ("difficulty", "stage 0", "higher")
    assert report.since is not None
    assert report.alarmed_at is not None
    assert abs(report.since - 3000) < 500
    assert 3000 < report.alarmed_at < 4000
    assert report.advice is not None
    assert report.advice.startswith("requests became harder for 'stage 0'")
    assert f"higher than in the reference, since about request {report.since}\nwhat to do: requests" in str(report)
    difficulty = next(one for one in report.components if one.watched == "difficulty")
    assert difficulty.mean > difficulty.reference_mean


def test_answers_that_are_believed_less_are_seen() -> None:
    # Predictions of these traces would say who is right, whatever the signal.
    policy, reference, rest = _parts(predictions=False)
    monitor = tt.DriftMonitor.fit(policy, reference)
    replay = policy.replay(rest.signal, rest.prediction)
    # Stage 0 still answers, but of late a signal that says less.
    signal = np.where((replay.answer == 0)[:, None], np.quantile(rest.signal, 0.3, axis=0), rest.signal)
    monitor.update_batch(signal, replay.consulted, replay.answer, rest.prediction)
    evidence = {(one.stage, one.watched): one for one in monitor.report().components}
    believed = evidence["stage 0", "expected loss"]
    assert believed.evidence >= 1.0
    assert (believed.direction, believed.mean > believed.reference_mean) == ("higher", True)
    assert evidence["stage 2", "expected loss"].evidence < 1.0


def test_reports_are_json_whatever_has_been_seen(parts: Parts) -> None:
    policy, reference, _ = parts
    monitor = tt.DriftMonitor.fit(policy, reference)
    for signal in (None, math.nan, math.inf, 1.7e308, 1.7e308):
        told = json.loads(json.dumps(monitor.report().to_dict(), allow_nan=False))
        monitor.update({0: signal, 2: signal}, None)
    assert {one["mean"] for one in told["components"] if one["watched"] == "agreement"} == {None}
    assert json.dumps(monitor.report().to_dict(), allow_nan=False)


def test_threads_lose_no_request(parts: Parts) -> None:
    policy, reference, rest = parts
    shared, alone = (tt.DriftMonitor.fit(policy, reference) for _ in range(2))
    part = rest[:500]
    singles = requests(policy, part)
    replay = policy.replay(part.signal, part.prediction)

    def serve() -> None:
        for signal, answer, prediction in singles:
            shared.update(signal, answer, prediction)
        shared.update_batch(part.signal, replay.consulted, replay.answer, part.prediction)

    threads = [threading.Thread(target=serve) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for _ in range(16):
        alone.update_batch(part.signal, replay.consulted, replay.answer, part.prediction)
    assert shared.requests == alone.requests == 8000
    ours, theirs = (
        {(one.stage, one.watched): (one.rows, pytest.approx(one.mean)) for one in monitor.report().components}
        for monitor in (shared, alone)
    )
    assert ours == theirs


def _goes_on(monitor: tt.DriftMonitor, builder: tt.TraceBuilder, requests: int) -> None:
    monitor.update({0: 0.5}, 0)
    builder.append([[0.5]], [[0.0]], [1.0])
    assert monitor.requests >= requests + 1
    assert builder.n > 0


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_threads_work_goes_on(parts: Parts) -> None:
    policy, reference, rest = parts
    monitor, builder, done = tt.DriftMonitor.fit(policy, reference), tt.TraceBuilder(["only"]), threading.Event()
    replay = policy.replay(rest.signal, rest.prediction)

    def work() -> None:
        while not done.is_set():
            monitor.update_batch(rest.signal, replay.consulted, replay.answer, rest.prediction)
            builder.append(np.ones((1000, 1)), np.ones((1000, 1)), [1.0])

    threads = [threading.Thread(target=work) for _ in range(3)]
    for one in threads:
        one.start()
    try:
        for _ in range(10):
            child = multiprocessing.get_context("fork").Process(
                target=_goes_on, args=(monitor, builder, monitor.requests)
            )
            child.start()
            child.join(20)
            assert child.exitcode == 0
    finally:
        done.set()
        for one in threads:
            one.join()


def test_predictions_and_keys_of_any_kind_are_taken(parts: Parts) -> None:
    policy, reference, rest = parts
    plain, odd = (tt.DriftMonitor.fit(policy, reference) for _ in range(2))
    for signal, answer, prediction in requests(policy, rest[:200]):
        plain.update(signal, answer, prediction)
        odd.update(
            {np.int64(stage): np.float64(value) for stage, value in reversed(signal.items())},  # type: ignore[misc]
            None if answer is None else np.int64(answer),  # type: ignore[arg-type]
            {np.int64(stage): np.int64(said) for stage, said in prediction.items()},  # type: ignore[misc]
        )
    assert plain.to_bytes() == odd.to_bytes()
    for signal_of, message in [
        ({"0": 0.5}, "`signal` stage must be from 0 to 2, got '0'"),
        ({-1: 0.5}, "`signal` stage must be from 0 to 2, got -1"),
        ({0: "sure"}, "`signal` of stage 0 must be a number or None, got 'sure'"),
    ]:
        with pytest.raises(tt.ValidationError) as raised:
            plain.update(signal_of, None)  # type: ignore[arg-type]
        assert str(raised.value) == message
    for other in (-1, 7, "0"):
        with pytest.raises(tt.ValidationError, match=f"`answer` must be a stage that was run, got {other!r}"):
            plain.update({0: 0.5}, other)  # type: ignore[arg-type]
    assert plain.requests == 200


def test_stored_monitors_with_parts_that_do_not_fit_are_refused(parts: Parts) -> None:
    import hashlib

    policy, reference, _ = parts
    data = tt.DriftMonitor.fit(policy, reference, alpha=0.25).to_bytes()
    content = data[:-32]
    assert hashlib.sha256(content).digest() == data[-32:]

    def with_checksum(changed: bytes) -> bytes:
        assert changed != content
        return changed + hashlib.sha256(changed).digest()

    alpha = b"\xa5alpha\xcb" + b"\x3f\xd0" + bytes(6)
    for changed, message in [
        (content.replace(alpha, b"\xa5alpha\xcb" + b"\x40" + bytes(7)), "alpha"),
        (content.replace(b"difficulty", b"consulted\x00", 1), "damaged"),
        (content[:8] + b"\x01" + content[9:], "version 1 is not readable"),
        (content + b"\xc0", "left over"),
    ]:
        with pytest.raises(tt.PolicyFormatError, match=message):
            tt.DriftMonitor.from_bytes(with_checksum(changed))


def test_rows_in_a_random_order_have_no_findings() -> None:
    for seed in range(40):
        trace = make_trace(n=500, k=3, seed=seed)
        rounded = np.round(trace.signal, 1)
        assert tt.order_findings(trace.signal, trace.prediction, np.arange(500)) == ()
        assert tt.order_findings(rounded, trace.prediction) == ()
    assert tt.order_findings(np.full((3000, 2), 0.5), np.zeros((3000, 2), np.int64)) == ()
    assert tt.order_findings(np.sort(np.random.default_rng(0).random((63, 1)), axis=0)) == ()


def test_what_breaks_the_order_is_found() -> None:
    trace = make_trace(n=2000, k=3)
    signal, prediction = trace.signal, trace.prediction
    assert prediction is not None
    rng = np.random.default_rng(0)

    def kinds(index: np.ndarray, **more: object) -> set[str]:
        return {one.kind for one in tt.order_findings(signal[index], prediction[index], **more)}  # type: ignore[arg-type]

    assert "neighbours" in kinds(signal[:, 1].argsort())
    assert "classes" in kinds(prediction[:, 0].argsort(kind="stable"))
    assert "repeats" in kinds(np.repeat(np.arange(2000), 1 + (rng.random(2000) < 0.1)))
    assert {"repeats", "neighbours"} <= kinds(np.repeat(rng.permutation(2000)[:400], 5))
    assert kinds(rng.permutation(2000), group=np.arange(2000) // 2) == {"group"}
    easy = np.sort(rng.permutation(2000)[:1000])
    day = np.concatenate([easy[signal[easy, 0] > 0.4], np.setdiff1d(np.arange(2000), easy)])
    assert kinds(day) == {"trend"}
    # A stream in which something changes is what a monitor is for.
    assert kinds(day, is_stream=True) == set()
    named = tt.order_findings(signal[signal[:, 1].argsort()], stages=["small", "middle", "large"])
    assert named[0].text.startswith("neighbouring rows have alike signals of stage 'middle', correlation ")
    assert named[0].column == 1
    with pytest.raises(tt.ValidationError, match=r"`signal` must have shape \(n, k\), got \(3,\)"):
        tt.order_findings([0.1, 0.2, 0.3])


def test_files_that_are_sorted_are_warned_of(parts: Parts) -> None:
    policy, reference, rest = parts
    sorted_rows = reference.rows(reference.signal[:, 0].argsort())
    with pytest.warns(tt.OrderWarning, match="rows of `trace` are not in a random order: .* of stage 'stage 0'"):
        monitor = tt.DriftMonitor.fit(policy, sorted_rows)
    stream = rest.rows(rest.signal[:, 0].argsort())
    replay = policy.replay(stream.signal, stream.prediction)
    with pytest.warns(tt.OrderWarning, match="rows of `signal`"):
        monitor.update_replay(replay, stream.signal, stream.prediction)
    assert issubclass(tt.OrderWarning, tt.TTamerWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pickle.loads(pickle.dumps(monitor)).to_bytes() == monitor.to_bytes()
