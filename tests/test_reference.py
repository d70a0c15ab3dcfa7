"""Run, batch and replay decide what the reference decides: every rule, crafted and fitted, on every kind of report.

Runs and batches also where stages fail, are barred, or are under way when a request is stopped.
"""

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


def decided(
    policy: reference.Policy, signal: list[float], prediction: list[int], turns: list[int], is_exact: bool
) -> list[Seen]:
    """What the reference sees before and after each turn, up to a decision that rounding may change."""
    request = policy.start()
    steps = [Seen(request.next, None, 0.0, request.expected_loss)]
    while request.next is not None:
        stage = request.next
        reference.take_turn(request, turns[stage], signal[stage], prediction[stage])
        if request.is_close and not (
            is_exact and all(one.is_failed or abs(one.signal) >= TINY for one in request.reports)
        ):
            return [*steps, Seen(-1, -1, math.nan, math.nan)]
        steps.append(Seen(request.next, request.answer, request.cost, request.expected_loss))
    return steps


def check(data: bytes, signal: NDArray[np.float64], prediction: NDArray[np.int64], is_exact: bool) -> int:
    """Compares all three with the reference; returns how many rows were too close to compare to their end.

    Once where all stages report, and once where some fail, are barred, or are under way when the request is stopped.
    """
    close = 0
    for turns in (
        np.full(signal.shape, reference.OBSERVE),
        crafted.turns(np.random.default_rng(len(data)), signal.shape),
    ):
        policy, expected = tt.Policy.from_bytes(data), reference.policy_of(data)
        given = list(zip(signal.tolist(), prediction.tolist(), turns.tolist(), strict=True))
        rows = [decided(expected, *one, is_exact) for one in given]
        losses = [check_run(policy, steps, *one) for steps, one in zip(rows, given, strict=True)]
        is_close = np.array([steps[-1].next == -1 for steps in rows])
        is_silent = (prediction == NO_PREDICTION).all(axis=1)
        for chosen, said in ((~is_close, prediction), (~is_close & is_silent, None)):
            at = np.flatnonzero(chosen)
            said = None if said is None else said[chosen]
            check_batch(
                policy, [rows[row] for row in at], [losses[row] for row in at], signal[chosen], said, turns[chosen]
            )
            if (turns == reference.OBSERVE).all():
                check_replay(policy, [rows[row] for row in at], signal[chosen], said)
        close += int(is_close.sum())
    return close


def check_run(
    policy: tt.Policy, steps: list[Seen], signal: list[float], prediction: list[int], turns: list[int]
) -> list[float]:
    """Returns the expected losses, which are the same up to rounding."""
    run = policy.start()
    losses: list[float] = []
    for at, step in enumerate(steps):
        if step.next == -1:
            return losses
        told = (signal, prediction, turns, at)
        assert (run.next, run.answer, run.cost) == step[:3], told
        assert run.expected_loss == pytest.approx(step.expected_loss, rel=1e-12, abs=1e-300), told
        losses.append(run.expected_loss)
        if step.next is not None:
            said = prediction[step.next]
            reference.take_turn(run, turns[step.next], signal[step.next], None if said == NO_PREDICTION else said)
    run.stop()
    assert (run.next, run.answer, run.cost) == steps[-1][:3], "an ended request is stopped"
    return losses


def check_batch(
    policy: tt.Policy,
    rows: list[list[Seen]],
    losses: list[list[float]],
    signal: NDArray[np.float64],
    prediction: NDArray[np.int64] | None,
    turns: NDArray[np.int64],
) -> None:
    """After every turn of a stage, every request is where the reference has it."""
    batch, at = policy.start_batch(len(rows)), np.zeros(len(rows), int)
    while True:
        seen = [steps[step] for steps, step in zip(rows, at, strict=True)]
        assert batch.next.tolist() == [-1 if one.next is None else one.next for one in seen]
        assert batch.answer.tolist() == [-1 if one.answer is None else one.answer for one in seen]
        assert batch.cost.tolist() == [one.cost for one in seen]
        assert batch.expected_loss.tolist() == [of_run[step] for of_run, step in zip(losses, at, strict=True)]
        waiting = [one.next for one in seen if one.next is not None]
        pending = batch.pending()
        if pending is None:
            assert not waiting
            return
        fullest = max(waiting, key=lambda stage: (waiting.count(stage), stage))
        assert (pending[0], pending[1].tolist()) == (fullest, batch.rows(fullest).tolist())
        stage = waiting[len(waiting) // 2]
        asked = batch.rows(stage)
        assert asked.tolist() == [row for row, one in enumerate(seen) if one.next == stage]
        turn = turns[asked, stage]
        batch.stop(asked[turn == reference.STOP])
        batch.fail(stage, asked[turn == reference.FAIL])
        batch.bar(stage, asked[turn == reference.BAR])
        told = asked[turn == reference.OBSERVE]
        batch.observe(stage, signal[told, stage], None if prediction is None else prediction[told, stage])
        at[asked] += 1


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
            turns = crafted.turns(rng, signal.shape)
            turns[:15] = reference.OBSERVE
            for one, said, turn in zip(signal.tolist(), prediction.tolist(), turns.tolist(), strict=True):
                request, held, taken = policy.start(), None, [reference.OBSERVE]
                while request.next is not None:
                    stage, held = request.next, request.answer
                    taken.append(turn[stage])
                    reference.take_turn(request, turn[stage], one[stage], said[stage])
                if set(taken) == {reference.OBSERVE}:
                    last = request.last
                    answers = "nothing" if request.answer is None else "last" if request.answer == last else "earlier"
                    seen |= {answers, f"{min(len(request.reports), 4)} stages"}
                else:
                    hand = "nothing" if held is None else "an answer"
                    seen.add(f"{('report', 'failure', 'bar', 'stop')[taken[-1]]} with {hand} in hand")
                    seen |= (
                        {"last resort"}
                        if request.answer not in [None, *(one.stage for one in request.reports)]
                        else set()
                    )
    for kind, seen in events.items():
        assert {"1 stages", "2 stages", "3 stages", "4 stages", "last", "earlier"} <= seen, kind
        ends = {
            f"{last} with {hand} in hand" for last in ("failure", "bar", "stop") for hand in ("nothing", "an answer")
        }
        assert ends <= seen, kind
    assert {kind for kind, seen in events.items() if "last resort" in seen} == set(crafted.KINDS) - {"tree", "dag"}
    assert all("nothing" in events[kind] for kind in ("chain", "tree", "dag"))


def test_vectors_of_the_core_are_what_the_reference_decides() -> None:
    cases = vectors.recorded()
    assert {case["kind"] for case in cases} == set(crafted.KINDS)
    for case in cases:
        policy = reference.policy_of(case["policy"])
        for row in case["rows"]:
            found = vectors.steps(policy, row["signal"], row["prediction"], row["turns"])
            for (*seen, loss), (*expected, expected_loss) in zip(found, row["steps"], strict=True):
                assert seen == expected
                assert loss == pytest.approx(expected_loss, rel=1e-12)
