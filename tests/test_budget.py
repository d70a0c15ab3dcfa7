from __future__ import annotations

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace

# Coins are tossed where the first signal never changes.
pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")


def coarse_trace(n: int = 4000, seed: int = 0) -> tt.Trace:
    """Two exits with one signal between them: without a coin a policy costs 1 or 4, and nothing in between."""
    rng = np.random.default_rng(seed)
    loss = np.column_stack([rng.random(n) < 0.4, rng.random(n) < 0.1])
    return tt.Trace(np.ones((n, 2)), loss, [1.0, 3.0], prediction=rng.integers(2000, 10**9, (n, 2)))


def paid(policy: tt.Policy, trace: tt.Trace) -> float:
    return float(policy.replay(trace.signal, trace.prediction).cost.mean())


def test_a_coin_uses_up_what_no_single_policy_does() -> None:
    trace, other = coarse_trace(), coarse_trace(seed=1)
    for budget in (1.5, 2.5, 3.9):
        policy = tt.fit(trace, max_cost=budget)
        assert policy.describe()["rule"]["type"] == "mixture"
        assert budget - 0.02 < paid(policy, trace) <= budget
        assert paid(policy, other) == pytest.approx(budget, abs=0.1)
        known = policy.provenance
        assert 0.0 < float(known["mixed_share"]) < 1.0
        assert float(known["tradeoff"]) < float(known["mixed_tradeoff"])
        assert policy.value == pytest.approx(tt.evaluate(policy, trace).objective)
    losses = [tt.evaluate(tt.fit(trace, max_cost=budget), trace).loss for budget in (1.0, 2.0, 3.0, 4.0)]
    assert losses == sorted(losses, reverse=True)
    tight = tt.fit(trace, max_loss=0.25)
    assert 0.24 < tt.evaluate(tight, trace).loss <= 0.25
    assert 1.0 < paid(tight, trace) < 4.0


def test_the_seed_is_that_of_the_coin() -> None:
    trace = coarse_trace()
    policy = tt.fit(trace, max_cost=2.5, seed=7)
    assert policy.to_bytes() == tt.fit(trace, max_cost=2.5, seed=7).to_bytes()
    other = tt.fit(trace, max_cost=2.5, seed=8)
    assert policy.provenance["seed"] == "7"
    assert (
        policy.replay(trace.signal, trace.prediction).cost != other.replay(trace.signal, trace.prediction).cost
    ).any()


def test_equal_first_reports_cannot_be_told_apart() -> None:
    trace = coarse_trace()
    alike = tt.Trace(trace.signal, trace.loss, trace.cost)
    policy = tt.fit(alike, max_cost=2.5)
    assert paid(policy, alike) == 1.0


def test_a_mixture_is_saved_shown_and_decided_like_any_policy() -> None:
    trace = coarse_trace()
    policy = tt.fit(trace, max_cost=2.5)
    assert tt.Policy.from_bytes(policy.to_bytes()) == policy
    assert [len(index) for index in policy.index] == [0, 0]
    replay = policy.replay(trace.signal, trace.prediction)
    batch = policy.start_batch(trace.n)
    for stage in range(trace.k):
        rows = batch.rows(stage)
        batch.observe(stage, trace.signal[rows, stage], trace.prediction[rows, stage])  # type: ignore[index]
    assert (batch.answer == replay.answer).all()
    assert (batch.cost == replay.cost).all()
    for row in range(200):
        run = policy.start()
        while run.next is not None:
            run.observe(trace.signal[row, run.next], int(trace.prediction[row, run.next]))  # type: ignore[index]
            assert 0.0 <= run.expected_loss <= 1.0
        assert (run.answer, run.cost) == (replay.answer[row], replay.cost[row])


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_budgets_of_simple_rules(kind: str) -> None:
    """Where a simple rule is clearly better, a budget is met with it, too."""
    rng = np.random.default_rng(3)
    signal = rng.random((250, 4))
    trace = tt.Trace(signal, rng.random((250, 4)) > signal ** [1.0, 0.9, 0.8, 0.1], [1.0, 1.0, 1.0, 1.0], kind=kind)
    policy = tt.fit(trace, max_cost=2.0)
    assert tt.evaluate(policy, trace).cost <= 2.0
    assert sum(found["chosen"] for found in policy.report) == 1


def test_budgets_respect_weights_and_varying_costs() -> None:
    trace = make_trace(n=1500, kind="exits")
    weight = np.where(trace.loss[:, 0] > 0.0, 3.0, 1.0)
    policy = tt.fit(trace, max_cost=5.0, weight=weight)
    cost = policy.replay(trace.signal, trace.prediction).cost
    assert np.average(cost, weights=weight) <= 5.0
    varying = tt.Trace(
        trace.signal, trace.loss, np.outer(np.linspace(0.5, 1.5, trace.n), trace.mean_cost), trace.prediction
    )
    assert tt.evaluate(tt.fit(varying, max_cost=5.0), varying).cost <= 5.0
