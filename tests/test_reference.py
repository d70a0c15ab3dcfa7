"""Run, batch and replay decide what the reference decides: every rule, crafted and fitted, on every kind of report."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import reference
import ttamer_fast as tt
from golden_policies import POLICIES
from golden_traces import SYNTHETIC, made, odd_requests
from models import GRAPHS, Small, smalls
from reference import NO_PREDICTION, crafted, varied, vectors

DIGITS = Path(__file__).parent.parent / "benches" / "data" / "digits.npz"
TINY = 2.0**-1000
"""Signals below are beneath the rounding of any belief."""


class Seen(NamedTuple):
    """What can be seen of a request at any time."""

    next: int | None
    answer: int | None
    cost: float
    expected_loss: float


def decided(policy: reference.Policy, signal: list[float], prediction: list[int], is_exact: bool) -> list[Seen]:
    """What the reference sees before and after each report, up to a decision that rounding may change."""
    request = policy.start()
    steps = [Seen(request.next, None, 0.0, request.expected_loss)]
    while request.next is not None:
        stage = request.next
        request.observe(signal[stage], prediction[stage])
        if request.is_close and not (is_exact and all(abs(report.signal) >= TINY for report in request.reports)):
            return [*steps, Seen(-1, -1, math.nan, math.nan)]
        steps.append(Seen(request.next, request.answer, request.cost, request.expected_loss))
    return steps


def check(data: bytes, signal: NDArray[np.float64], prediction: NDArray[np.int64], is_exact: bool) -> int:
    """Compares all three with the reference; returns how many rows were too close to compare to their end."""
    policy, expected = tt.Policy.from_bytes(data), reference.policy_of(data)
    rows = [
        decided(expected, one, said, is_exact) for one, said in zip(signal.tolist(), prediction.tolist(), strict=True)
    ]
    for steps, one, said in zip(rows, signal.tolist(), prediction.tolist(), strict=True):
        check_run(policy, steps, one, said)
    is_close = np.array([steps[-1].next == -1 for steps in rows])
    is_silent = (prediction == NO_PREDICTION).all(axis=1)
    for chosen, said in ((~is_close, prediction), (~is_close & is_silent, None)):
        followed = [rows[row] for row in np.flatnonzero(chosen)]
        check_batch(policy, followed, signal[chosen], None if said is None else said[chosen])
        check_replay(policy, followed, signal[chosen], None if said is None else said[chosen])
    return int(is_close.sum())


def check_run(policy: tt.Policy, steps: list[Seen], signal: list[float], prediction: list[int]) -> None:
    run = policy.start()
    for at, step in enumerate(steps):
        if step.next == -1:
            return
        told = (signal, prediction, at)
        assert (run.next, run.answer, run.cost) == step[:3], told
        assert run.expected_loss == pytest.approx(step.expected_loss, rel=1e-12, abs=1e-300), told
        if step.next is not None:
            said = prediction[step.next]
            run.observe(signal[step.next], None if said == NO_PREDICTION else said)


def check_batch(
    policy: tt.Policy, rows: list[list[Seen]], signal: NDArray[np.float64], prediction: NDArray[np.int64] | None
) -> None:
    """After every report of a stage, every request is where the reference has it."""
    batch, at = policy.start_batch(len(rows)), np.zeros(len(rows), int)
    while True:
        seen = [steps[step] for steps, step in zip(rows, at, strict=True)]
        assert batch.next.tolist() == [-1 if one.next is None else one.next for one in seen]
        assert batch.answer.tolist() == [-1 if one.answer is None else one.answer for one in seen]
        assert batch.cost.tolist() == [one.cost for one in seen]
        waiting = [one.next for one in seen if one.next is not None]
        if not waiting:
            return
        stage = waiting[len(waiting) // 2]
        reporting = batch.rows(stage)
        assert reporting.tolist() == [row for row, one in enumerate(seen) if one.next == stage]
        batch.observe(stage, signal[reporting, stage], None if prediction is None else prediction[reporting, stage])
        at[reporting] += 1


def check_replay(
    policy: tt.Policy, rows: list[list[Seen]], signal: NDArray[np.float64], prediction: NDArray[np.int64] | None
) -> None:
    replay = policy.replay(signal, prediction)
    ran = [[step.next for step in steps if step.next is not None] for steps in rows]
    assert replay.answer.tolist() == [-1 if steps[-1].answer is None else steps[-1].answer for steps in rows]
    assert replay.last.tolist() == [stages[-1] if stages else -1 for stages in ran]
    assert replay.consulted.tolist() == [[v in stages for v in range(signal.shape[1])] for stages in ran]
    assert replay.cost.tolist() == [steps[-1].cost for steps in rows]


@pytest.mark.parametrize("kind", crafted.KINDS)
def test_crafted(kind: str) -> None:
    """Policies that no fit would make: here even what lies exactly on a limit has to be the same."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        fields = crafted.policy(kind, rng)
        signal, prediction = crafted.requests(rng, len(fields["stages"]), 50)
        check(reference.sealed(fields), signal, prediction, is_exact=True)


@settings(max_examples=60)
@given(kind=st.sampled_from(crafted.KINDS), seed=st.integers(0, 2**32 - 1))
def test_crafted_anew(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fields = crafted.policy(kind, rng)
    signal, prediction = crafted.requests(rng, len(fields["stages"]), 20)
    check(reference.sealed(fields), signal, prediction, is_exact=True)


def real_trace() -> tt.Trace:
    trace = tt.read_trace(DIGITS)
    return trace.rows(np.arange(0, trace.n, max(1, trace.n // 300)))


def traces() -> Iterator[tuple[str, tt.Trace]]:
    yield "digits", real_trace()
    for seed, shape in enumerate(SYNTHETIC):
        yield shape.name, made(shape, seed).train


TRACES = dict(traces())


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_fitted() -> None:
    """Every way to fit, on traces of every shape, and the same with its numbers changed."""
    compared = close = 0
    for at, fit in enumerate(POLICIES.values()):
        suitable = [trace for trace in TRACES.values() if fit.suits(trace)]
        for trace in (suitable[at % len(suitable)], suitable[(7 * at + 3) % len(suitable)]):
            rng = np.random.default_rng(at)
            data = fit.policy(trace).to_bytes()
            for changed in (data, reference.sealed(varied.varied(reference.opened(data), rng))):
                signal, prediction = requests(changed, trace, rng)
                close += check(changed, signal, prediction, is_exact=False)
                compared += len(signal)
    assert compared > 5_000
    assert close < 0.05 * compared, f"{close} of {compared}"


def requests(data: bytes, trace: tt.Trace, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rows of the trace, odd ones, signals that the policy itself names, and any of them with some missing."""
    recorded = rng.choice(trace.n, 30, replace=False)
    odd, odd_prediction = odd_requests(trace.k)
    named = np.array(sorted(varied.signals(reference.opened(data))) or [0.5])
    beside = np.concatenate([named, np.nextafter(named, -math.inf), np.nextafter(named, math.inf)])
    chosen = rng.choice(beside, size=(40, trace.k))
    signal = np.concatenate([trace.signal[recorded], odd, chosen])
    said = rng.integers(-1, 4, size=(len(signal), trace.k))
    if trace.prediction is not None:
        said[:30] = trace.prediction[recorded]
    said[30 : 30 + len(odd)] = odd_prediction
    said[rng.random(said.shape) < 0.05] = NO_PREDICTION
    signal[rng.random(signal.shape) < 0.05] = math.nan
    return signal, said


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("default_loss", [math.inf, 0.5, 0.0])
def test_solved(graph: str, default_loss: float) -> None:
    """Exact models, with and without recall; states that are none included."""

    @settings(max_examples=15)
    @given(small=smalls(graph), seed=st.integers(0, 2**32 - 1))
    def solved(small: Small, seed: int) -> None:
        for recall in (True, False) if graph in ("line", "skip") else (True,):
            policy = tt.solve(small.model(), recall=recall, default_loss=default_loss)
            signal, prediction = crafted.requests(np.random.default_rng(seed), len(policy.stages), 20)
            check(policy.to_bytes(), signal, prediction, is_exact=True)

    solved()


def test_bytes_are_written_back_as_they_were_read() -> None:
    """Whatever is accepted is kept, part by part."""
    for kind in crafted.KINDS:
        fields = crafted.policy(kind, np.random.default_rng(5))
        assert reference.opened(tt.Policy.from_bytes(reference.sealed(fields)).to_bytes()) == fields


def test_the_reference_sees_every_kind_of_event() -> None:
    """Requests that the crafted policies get are not all alike."""
    events: dict[str, set[Any]] = {}
    for kind in crafted.KINDS:
        seen = events.setdefault(kind, set())
        for seed in range(30):
            rng = np.random.default_rng(seed)
            fields = crafted.policy(kind, rng)
            policy = reference.Policy(fields)
            signal, prediction = crafted.requests(rng, len(policy.stages), 30)
            for one, said in zip(signal.tolist(), prediction.tolist(), strict=True):
                request = policy.start()
                while request.next is not None:
                    request.observe(one[request.next], said[request.next])
                last = request.last
                answers = "nothing" if request.answer is None else "last" if request.answer == last else "earlier"
                seen |= {answers, f"{min(len(request.reports), 4)} stages"}
    for kind, seen in events.items():
        assert {"1 stages", "2 stages", "3 stages", "4 stages", "last", "earlier"} <= seen, kind
    assert all("nothing" in events[kind] for kind in ("chain", "tree", "dag"))


def test_vectors_of_the_core_are_what_the_reference_decides() -> None:
    cases = vectors.recorded()
    assert {case["kind"] for case in cases} == set(crafted.KINDS)
    for case in cases:
        policy = reference.policy_of(case["policy"])
        for row in case["rows"]:
            found = vectors.steps(policy, row["signal"], row["prediction"])
            for (*seen, loss), (*expected, expected_loss) in zip(found, row["steps"], strict=True):
                assert seen == expected
                assert loss == pytest.approx(expected_loss, rel=1e-12)
