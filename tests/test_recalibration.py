"""`policy.recalibrated(trace)`: what signals mean is learned anew from few requests of another domain."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from test_calibration import decides, timed

pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")

CLASSES = 5
COST = np.array([1.0, 3.0, 9.0])
TRADEOFF = 0.9
WAYS = ["as it was", "calibration", "calibration and decisions", "all"]


def domain(n: int, seed: int, hotter: float = 1.0, weak: int | None = None, kind: str = "models") -> tt.Trace:
    """Stages that know how sure they may be. `hotter`: signals are so many times as sure; wrong answers of two
    stages are mostly of the class `weak`."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=(n, 1))
    logit = np.array([0.3, 1.3, 2.6]) - 1.1 * difficulty + 0.7 * rng.normal(size=(n, 3))
    truth = rng.integers(0, CLASSES, (n, 1))
    right = rng.random((n, 3)) < 1 / (1 + np.exp(-logit))
    said = np.where(right, truth, (truth + rng.integers(1, CLASSES, (n, 3))) % CLASSES)
    if weak is not None:
        lured = ~right[:, :2] & (rng.random((n, 2)) < 0.6)
        said[:, :2] = np.where(lured, weak, said[:, :2])
    loss = (said != truth).astype(float)
    return tt.Trace(1 / (1 + np.exp(-hotter * logit)), loss, COST, said, kind=kind)


def objective(policy: tt.Policy, trace: tt.Trace) -> float:
    return tt.evaluate(policy, trace, tradeoff=TRADEOFF).objective


@pytest.mark.parametrize(("shift", "share"), [({"hotter": 3.0}, 0.6), ({"hotter": 0.3}, 0.6), ({"weak": 2}, 0.4)])
@pytest.mark.parametrize("kind", ["models", "exits"])
def test_few_requests_of_another_domain_win_back_most(kind: str, shift: dict[str, Any], share: float) -> None:
    old = tt.fit(domain(6000, 1, kind=kind), tradeoff=TRADEOFF)
    judge = domain(20_000, 2, kind=kind, **shift)
    fresh = tt.fit(domain(6000, 3, kind=kind, **shift), tradeoff=TRADEOFF)
    stale, best = objective(old, judge), objective(fresh, judge)
    assert stale > 1.02 * best
    found = [objective(old.recalibrated(domain(400, 10 + seed, kind=kind, **shift)), judge) for seed in range(4)]
    assert np.mean(found) < stale - share * (stale - best)
    assert max(found) <= stale


def test_the_same_domain_changes_little() -> None:
    old, judge = tt.fit(domain(6000, 1), tradeoff=TRADEOFF), domain(20_000, 2)
    before = objective(old, judge)
    found = [objective(old.recalibrated(domain(300, 10 + seed)), judge) for seed in range(8)]
    assert np.mean(found) < 1.01 * before
    assert max(found) < 1.03 * before


def test_the_policy_itself_where_nothing_is_better() -> None:
    old = tt.fit(domain(6000, 1), tradeoff=TRADEOFF)
    found = [old.recalibrated(domain(200, 10 + seed)) for seed in range(8)]
    same = [policy for policy in found if policy == old]
    assert same
    assert all(policy.digest == old.digest for policy in same)


def test_it_says_what_it_did() -> None:
    old, new = tt.fit(domain(6000, 1), tradeoff=TRADEOFF), domain(500, 2, hotter=4.0)
    policy = old.recalibrated(new)
    assert [row["name"] for row in policy.report] == WAYS
    (chosen,) = [row for row in policy.report if row["chosen"]]
    assert chosen["name"] != "as it was"
    assert chosen["objective"] == min(row["objective"] for row in policy.report)
    assert chosen["difference"] < -0.5 * chosen["standard_error"] < 0.0
    known = {name: found for name, found in policy.provenance.items() if not name.startswith("recalibrated_")}
    assert known == old.provenance
    assert policy.provenance["recalibrated_from"] == old.digest
    assert policy.provenance["recalibrated_rows"] == "500"
    assert policy.provenance["recalibrated_trace"] == new.digest
    assert policy.value == pytest.approx(objective(policy, new))
    assert policy.recalibrated(domain(500, 3, hotter=0.2)).provenance["recalibrated_from"] == policy.digest


def test_files_can_be_recalibrated_and_runs_are_replays() -> None:
    old, new = tt.fit(domain(6000, 1), tradeoff=TRADEOFF), domain(400, 2, hotter=4.0, weak=1)
    policy = old.recalibrated(new)
    again = tt.Policy.from_bytes(old.to_bytes()).recalibrated(new)
    assert policy == again
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert decides(policy, new) == decides(tt.Policy.from_bytes(policy.to_bytes()), new)
    assert new.prediction is not None
    replay = policy.replay(new.signal, new.prediction)
    for row in range(50):
        run = policy.start()
        while run.next is not None:
            run.observe(new.signal[row, run.next], new.prediction[row, run.next])
        assert (run.answer, run.cost) == (replay.answer[row], replay.cost[row])


def test_recalibrating_again_and_again_does_not_grow_the_policy() -> None:
    policy = tt.fit(domain(3000, 1), tradeoff=TRADEOFF)
    sizes = []
    for seed in range(6):
        policy = policy.recalibrated(domain(500, 10 + seed, hotter=(4.0, 0.25)[seed % 2]))
        calibrated = next((row for row in policy.report if row["chosen"]), {"name": "as it was"})["name"]
        sizes.append((calibrated, len(policy.to_bytes())))
    assert {name for name, _ in sizes} != {"as it was"}
    assert max(size for _, size in sizes) < 1.5 * sizes[0][1], sizes


def test_stages_are_matched_by_name() -> None:
    old, new = tt.fit(domain(3000, 1), tradeoff=TRADEOFF), domain(400, 2, hotter=4.0)
    names = ["a", "b", "c"]
    named = tt.fit(_of(domain(3000, 1), [0, 1, 2], names), tradeoff=TRADEOFF)
    turned = _of(new, [2, 0, 1], ["c", "a", "b"])
    assert decides(named.recalibrated(turned), new) == decides(old.recalibrated(new), new)


def _of(trace: tt.Trace, order: list[int], names: list[str]) -> tt.Trace:
    assert trace.prediction is not None
    said = trace.prediction[:, order]
    return tt.Trace(trace.signal[:, order], trace.loss[:, order], trace.cost[order], said, kind="models", stages=names)


def test_logs_with_stages_that_were_not_run_are_completed() -> None:
    old, new = tt.fit(domain(6000, 1), tradeoff=TRADEOFF), domain(1500, 2, hotter=4.0)
    ran = old.replay(new.signal, new.prediction).consulted | (np.random.default_rng(0).random((len(new), 1)) < 0.2)
    log = tt.Trace(
        np.where(ran, new.signal, np.nan), np.where(ran, new.loss, np.nan), COST, new.prediction, kind="models"
    )
    judge = domain(20_000, 3, hotter=4.0)
    assert objective(old.recalibrated(log), judge) < objective(old, judge)


def test_signals_that_are_missing_and_probes_stay_what_they_are() -> None:
    new = domain(600, 2, hotter=4.0)
    signal, loss = new.signal.copy(), new.loss.copy()
    signal[::7, 1] = np.nan
    loss[:, 0] = np.inf
    old = domain(3000, 1)
    old_loss = old.loss.copy()
    old_loss[:, 0] = np.inf
    known = tt.Trace(old.signal, old_loss, COST, old.prediction, kind="models")
    policy = tt.fit(known, tradeoff=TRADEOFF).recalibrated(tt.Trace(signal, loss, COST, new.prediction, kind="models"))
    replay = policy.replay(signal, new.prediction)
    assert (replay.answer > 0).all()


def test_decisions_by_time_stay_and_a_price_of_no_answer_too() -> None:
    trace, new = timed(make_trace(n=2000, kind="models")), timed(make_trace(n=400, kind="models", seed=5))
    policy = tt.fit(trace, tradeoff=0.9, deadline=True, default_loss=0.3).recalibrated(new)
    assert policy.knows_time
    assert policy.default_loss == 0.3
    assert [row["name"] for row in policy.report] in (WAYS[:2], [])


@pytest.mark.parametrize("rule", ["threshold", "markov"])
def test_only_beliefs_can_be_recalibrated(rule: str) -> None:
    trace = domain(1000, 1)
    policy = getattr(tt.baselines, rule)(trace, tradeoff=TRADEOFF)
    said = f"`recalibrated` needs a policy that weighs beliefs, for one trade-off, got {rule}: fit"
    with pytest.raises(tt.ValidationError, match=said):
        policy.recalibrated(trace)


def test_mixtures_for_a_budget_cannot_be_recalibrated() -> None:
    trace = domain(1000, 1)
    fits = (tt.fit(trace, max_cost=float(cost)) for cost in np.linspace(2.0, 6.0, 9))
    mixed = next(policy for policy in fits if "mixed_share" in policy.provenance)
    with pytest.raises(tt.ValidationError, match="got a mixture of two: fit"):
        mixed.recalibrated(trace)


def test_what_does_not_fit_is_refused() -> None:
    policy = tt.fit(domain(1000, 1), tradeoff=TRADEOFF)
    with pytest.raises(tt.ValidationError, match="`trace` must be a Trace, got list"):
        policy.recalibrated([])  # type: ignore[arg-type]
    with pytest.raises(tt.ValidationError, match="`trace` must have the stages"):
        policy.recalibrated(make_trace(n=100, kind="models"))
    with pytest.raises(tt.ValidationError, match="`trace` must be of kind 'models', as the policy is, got 'exits'"):
        policy.recalibrated(domain(100, 1, kind="exits"))
    with pytest.raises(tt.ValidationError, match="enough requests to hold some back in 4 parts, got 2"):
        policy.recalibrated(domain(2, 1))
