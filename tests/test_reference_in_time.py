"""Runs, batches and replays decide what the reference decides where they are told how much time is left."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import reference
import ttamer_fast as tt
from conftest import make_trace
from models import GRAPHS
from reference import NO_PREDICTION, crafted, timed, varied
from test_reference import TINY, Seen
from timed_models import Timed
from timed_models import timed as timed_models

Told = list[Any]
"""Seconds left at the start, and once each stage has run; None: not told."""


def decided(
    policy: reference.Policy,
    signal: list[float],
    prediction: list[int],
    turns: list[int],
    told: Told,
    is_exact: bool,
) -> tuple[list[Seen], list[float]]:
    """What the reference sees before and after each turn, up to a decision that rounding may change; and what it takes
    for the time that is left then."""
    request = policy.start(told[0])
    steps, left = [Seen(request.next, None, 0.0, request.expected_loss)], [request.remaining]
    while request.next is not None:
        stage = request.next
        reference.take_turn(request, turns[stage], signal[stage], prediction[stage], told[1 + stage])
        left.append(request.remaining)
        if request.is_close and not (
            is_exact and all(one.is_failed or abs(one.signal) >= TINY for one in request.reports)
        ):
            return [*steps, Seen(-1, -1, math.nan, math.nan)], left
        steps.append(Seen(request.next, request.answer, request.cost, request.expected_loss))
    return steps, left


def check(
    data: bytes, signal: NDArray[np.float64], prediction: NDArray[np.int64], is_exact: bool, seed: int
) -> tuple[int, int]:
    """Compares runs and batches with the reference, with stages that report, fail, are barred or are stopped.

    Returns how many rows were too close to compare to their end, and how many run other stages than without a deadline.
    """
    policy, expected = tt.Policy.from_bytes(data), reference.policy_of(data)
    assert policy.knows_time
    rng = np.random.default_rng(seed)
    turns = crafted.turns(rng, signal.shape)
    turns[rng.random(len(turns)) < 0.6] = reference.OBSERVE
    told = timed.remaining(reference.opened(data), rng, *signal.shape)
    given = list(zip(signal.tolist(), prediction.tolist(), turns.tolist(), told, strict=True))
    found = [decided(expected, *one, is_exact) for one in given]
    other = 0
    for (steps, _), (one, said, turn, seconds) in zip(found, given, strict=True):
        check_run(policy, steps, one, said, turn, seconds)
        endless, _ = decided(expected, one, said, turn, [math.inf] + [None] * len(one), is_exact)
        other += [step.next for step in steps] != [step.next for step in endless]
    whole = [at for at, (steps, _) in enumerate(found) if steps[-1].next != -1]
    check_batch(policy, [found[at] for at in whole], signal[whole], prediction[whole], turns[whole])
    return len(found) - len(whole), other


def check_run(
    policy: tt.Policy, steps: list[Seen], signal: list[float], prediction: list[int], turns: list[int], told: Told
) -> None:
    run = policy.start(told[0])
    for at, step in enumerate(steps):
        if step.next == -1:
            return
        given = (signal, prediction, turns, told, at)
        assert (run.next, run.answer, run.cost) == step[:3], given
        assert run.expected_loss == pytest.approx(step.expected_loss, rel=1e-12, abs=1e-300), given
        if step.next is not None:
            said = prediction[step.next]
            said_or_none = None if said == NO_PREDICTION else said
            reference.take_turn(run, turns[step.next], signal[step.next], said_or_none, told[1 + step.next])


def check_batch(
    policy: tt.Policy,
    found: list[tuple[list[Seen], list[float]]],
    signal: NDArray[np.float64],
    prediction: NDArray[np.int64],
    turns: NDArray[np.int64],
) -> None:
    """After every turn of a stage, every request is where the reference has it."""
    batch = policy.start_batch(len(found), remaining=np.array([left[0] for _, left in found]))
    at = np.zeros(len(found), int)
    while True:
        seen = [steps[step] for (steps, _), step in zip(found, at, strict=True)]
        assert batch.next.tolist() == [-1 if one.next is None else one.next for one in seen]
        assert batch.answer.tolist() == [-1 if one.answer is None else one.answer for one in seen]
        assert batch.cost.tolist() == [one.cost for one in seen]
        waiting = [one.next for one in seen if one.next is not None]
        if not waiting:
            return
        stage = waiting[len(waiting) // 2]
        asked = batch.rows(stage)
        turn = turns[asked, stage]
        # What is not told is what was said last.
        left = np.array([found[row][1][at[row] + 1] for row in asked])
        batch.stop(asked[turn == reference.STOP])
        batch.fail(stage, asked[turn == reference.FAIL], left[turn == reference.FAIL])
        batch.bar(stage, asked[turn == reference.BAR])
        told = asked[turn == reference.OBSERVE]
        batch.observe(stage, signal[told, stage], prediction[told, stage], left[turn == reference.OBSERVE])
        at[asked] += 1


def crafted_case(kind: str, seed: int, rows: int) -> tuple[int, int]:
    rng = np.random.default_rng(seed)
    fields = timed.within(crafted.policy(kind, rng), rng)
    signal, prediction = crafted.requests(rng, len(fields["stages"]), rows)
    return check(reference.sealed(fields), signal, prediction, True, seed)


@pytest.mark.parametrize("kind", timed.KINDS)
def test_crafted(kind: str) -> None:
    """Policies that no fit would make: what lies exactly on an edge of time, or on a limit, is decided alike."""
    other = sum(crafted_case(kind, seed, 50)[1] for seed in range(60))
    assert other > 600, "time decides"


@settings(max_examples=60)
@given(kind=st.sampled_from(timed.KINDS), seed=st.integers(0, 2**32 - 1))
@example(kind="belief", seed=374)
def test_crafted_anew(kind: str, seed: int) -> None:
    crafted_case(kind, seed, 20)


FITS: dict[str, dict[str, Any]] = {
    "any order": {"tradeoff": 0.95},
    "skip": {"tradeoff": 0.9, "graph": "skip"},
    "line without recall": {"tradeoff": 0.95, "graph": "line", "recall": False},
    "or nothing": {"tradeoff": 0.95, "default_loss": 0.2},
}


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("kind", ["models", "exits"])
def test_fitted(name: str, kind: str) -> None:
    """As fitted, with a first stage for every block of time, and the same with its numbers changed."""
    plain = make_trace(n=700, k=4, seed=3, kind=kind)
    rng = np.random.default_rng(4)
    seconds = plain.cost * rng.gamma(2.0, size=(700, 1)) * rng.gamma(4.0, size=(700, 4))
    trace = tt.Trace(plain.signal, plain.loss, plain.cost, plain.prediction, kind, latency=seconds)
    data = tt.fit(trace, deadline=True, **FITS[name]).to_bytes()
    entries = set(reference.opened(data)["rule"]["component"]["belief"]["time"]["entries"])
    assert len(entries) > 1, "the first stage depends on the time"
    close = other = 0
    for at, changed in enumerate((data, reference.sealed(varied.varied(reference.opened(data), rng)))):
        named = np.array(sorted(varied.signals(reference.opened(changed))))
        signal = np.concatenate([trace.signal[:150], rng.choice(named, size=(50, 4))])
        said = np.concatenate([trace.prediction[:150], rng.integers(-1, 4, size=(50, 4))])  # type: ignore[index]
        said[rng.random(said.shape) < 0.05] = NO_PREDICTION
        signal[rng.random(signal.shape) < 0.05] = math.nan
        found = check(changed, signal, said, False, at)
        close, other = close + found[0], other + found[1]
    assert close < 20
    assert other > 50, "time decides"


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("default_loss", [math.inf, 0.5])
def test_solved(graph: str, default_loss: float) -> None:
    """Exact models with a deadline, told any number of seconds, also more than they were solved for."""

    @settings(max_examples=12)
    @given(small=timed_models(graph), seed=st.integers(0, 2**32 - 1), ticks=st.integers(0, 8))
    def solved(small: Timed, seed: int, ticks: int) -> None:
        policy = tt.solve(small.model(), default_loss=default_loss, deadline=ticks * small.tick)
        signal, prediction = crafted.requests(np.random.default_rng(seed), len(policy.stages), 20)
        check(policy.to_bytes(), signal, prediction, True, seed)

    solved()


def test_replays_move_by_what_stages_take() -> None:
    """Within a deadline, each row by its own seconds: cut off where a stage takes longer than what is left."""
    for kind in timed.KINDS:
        for seed in range(25):
            rng = np.random.default_rng(seed)
            fields = timed.within(crafted.policy(kind, rng), rng)
            k = len(fields["stages"])
            policy, expected = tt.Policy.from_bytes(reference.sealed(fields)), reference.Policy(fields)
            if "jump" in fields["price"]:
                continue  # a jump waits for what lies between
            signal, prediction = crafted.requests(rng, k, 30)
            signal = np.where(np.abs(signal) < TINY, 0.0, signal)
            seconds = rng.integers(0, 24, size=(30, k)) / 8
            deadline = float(rng.integers(0, 80)) / 8
            replay = policy.replay(signal, prediction, seconds, deadline=deadline)
            for row in range(30):
                request, left, late, ran = expected.start(deadline), deadline, False, []
                while (stage := request.next) is not None:
                    ran.append(stage)
                    left -= float(seconds[row, stage])
                    if left < 0.0:
                        request.stop()
                        late = True
                    else:
                        request.observe(float(signal[row, stage]), int(prediction[row, stage]), left)
                assert replay.answer[row] == (-1 if request.answer is None else request.answer)
                assert np.flatnonzero(replay.consulted[row]).tolist() == sorted(ran)
                assert (replay.late[row], replay.cost[row]) == (late, request.cost)


def test_bytes_are_written_back_as_they_were_read() -> None:
    for kind in timed.KINDS:
        rng = np.random.default_rng(5)
        fields = timed.within(crafted.policy(kind, rng), rng)
        assert reference.opened(tt.Policy.from_bytes(reference.sealed(fields)).to_bytes()) == fields
