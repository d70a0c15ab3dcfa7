from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace


def test_the_same_input_gives_the_same_bytes(trace: tt.Trace) -> None:
    again = make_trace()
    assert tt.fit(again, tradeoff=0.95, seed=3).to_bytes() == tt.fit(trace, tradeoff=0.95, seed=3).to_bytes()
    assert tt.fit(again, max_cost=5.0).to_bytes() == tt.fit(trace, max_cost=5.0).to_bytes()


def test_provenance_says_what_a_policy_is_made_from(trace: tt.Trace) -> None:
    known = tt.fit(trace, tradeoff=0.95).provenance
    assert known["goal"] == "tradeoff=0.95"
    assert known["rows"] == str(trace.n)
    assert known["trace"] == trace.digest
    assert known["kind"] == "models"
    assert known["version"] == tt.__version__


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ({}, "exactly one of `tradeoff`, `max_cost`, `max_loss` must be given, got none"),
        (
            {"tradeoff": 0.9, "max_cost": 3.0},
            "exactly one of `tradeoff`, `max_cost`, `max_loss` must be given, got `tradeoff` and `max_cost`",
        ),
        ({"tradeoff": 1.5}, "`tradeoff` must be between 0 and 1, got 1.5"),
        ({"tradeoff": math.nan}, "`tradeoff` must be between 0 and 1, got nan"),
        ({"tradeoff": "high"}, "`tradeoff` must be a number, got 'high'"),
        ({"max_cost": -1.0}, "`max_cost` must be finite and at least 0, got -1.0"),
        ({"max_loss": math.inf}, "`max_loss` must be finite and at least 0, got inf"),
        ({"max_loss": "low"}, "`max_loss` must be a number or 'last+<number>', got 'low'"),
        ({"max_loss": "last+low"}, "`max_loss` must be a number after 'last+', got 'low'"),
        ({"max_loss": "last+-1"}, "`max_loss` must be finite and at least 0, got -1.0"),
        ({"tradeoff": 0.9, "graph": "tree"}, "`graph` must be one of 'auto', 'line', 'skip', got 'tree'"),
        (
            {"tradeoff": 0.9, "estimator": "bins"},
            "`estimator` must be one of 'auto', 'pathwise', 'markov', got 'bins'",
        ),
        ({"tradeoff": 0.9, "recall": "yes"}, "`recall` must be True, False or 'auto', got 'yes'"),
        ({"tradeoff": 0.9, "seed": -1}, "`seed` must be an integer in [0, 2**64), got -1"),
        ({"max_cost": 0.5}, "`max_cost` of 0.5 cannot be met on this trace: the least reachable is 1"),
    ],
)
def test_refusals(trace: tt.Trace, goal: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        tt.fit(trace, **goal)
    assert str(raised.value) == message


def test_unreachable_loss_names_the_least(trace: tt.Trace) -> None:
    with pytest.raises(
        tt.ValidationError, match=r"`max_loss` of 0\.0 cannot be met on this trace: the least reachable is 0"
    ):
        tt.fit(trace, max_loss=0.0)


def test_only_traces_are_fitted(trace: tt.Trace) -> None:
    with pytest.raises(tt.ValidationError, match="`trace` must be a Trace, got ndarray"):
        tt.fit(trace.signal, tradeoff=0.9)  # type: ignore[arg-type]
    with pytest.raises(tt.ValidationError, match="`trace` must be a Trace, got ndarray"):
        tt.baselines.static(trace.signal, 0.9)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_budgets_are_kept_and_used(kind: str) -> None:
    trace = make_trace(kind=kind)
    losses = []
    for budget in (2.0, 4.0, 8.0):
        result = tt.evaluate(tt.fit(trace, max_cost=budget), trace)
        assert result.cost <= budget
        losses.append(result.loss)
    assert losses == sorted(losses, reverse=True)
    loose, tight = (tt.evaluate(tt.fit(trace, max_loss=limit), trace) for limit in (0.3, 0.25))
    assert loose.loss <= 0.3
    assert tight.loss <= 0.25
    assert loose.cost <= tight.cost


@pytest.mark.parametrize("kind", ["models", "exits"])
@pytest.mark.parametrize("tradeoff", [0.0, 0.5, 0.95, 1.0])
def test_value_is_the_mean_objective_on_the_trace(kind: str, tradeoff: float) -> None:
    trace = make_trace(kind=kind)
    for policy in (tt.fit(trace, tradeoff=tradeoff), *(tuned(trace, tradeoff) for tuned in tt.baselines.ALL.values())):
        assert math.isclose(policy.value, tt.evaluate(policy, trace).objective, rel_tol=1e-9, abs_tol=1e-12)


def test_fit_beats_the_rules_of_thumb_where_there_is_much_to_gain() -> None:
    train, test = make_trace(n=8000).split()
    ours = tt.evaluate(tt.fit(train, tradeoff=0.95), test).objective
    for tuned in (tt.baselines.static, tt.baselines.threshold, tt.baselines.patience):
        assert ours < tt.evaluate(tuned(train, 0.95), test).objective


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_degenerate_traces() -> None:
    ones = np.ones((20, 3))
    for signal in (ones, ones * math.nan, ones * math.inf, ones * 1e308, np.tile([math.inf, -math.inf, 0.0], (20, 1))):
        for loss in (ones, 0.0 * ones, 1e300 * ones):
            for cost in ([0.0, 0.0, 0.0], [1.0, 2.0, 3.0]):
                trace = tt.Trace(signal, loss, cost, prediction=ones)
                policies = [tt.fit(trace, tradeoff=0.9), *(tuned(trace, 0.9) for tuned in tt.baselines.ALL.values())]
                for policy in policies:
                    assert (policy.replay(signal).answer >= 0).all()
    single = tt.Trace([[0.5]], [[1.0]], [1.0])
    assert tt.fit(single, tradeoff=0.9).replay([[0.1]]).answer.tolist() == [0]


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
@pytest.mark.parametrize("kind", ["models", "exits"])
def test_stages_that_are_never_right_twice_there_or_free(kind: str) -> None:
    plain = make_trace(n=1500, k=3, kind=kind)
    assert plain.prediction is not None
    columns = [0, 1, 1, 2]
    loss = plain.loss[:, columns].copy()
    loss[:, 0] = 1.0
    for cost in ([1.0, 2.0, 2.0, 8.0], [0.0, 0.0, 0.0, 0.0]):
        trace = tt.Trace(plain.signal[:, columns], loss, cost, plain.prediction[:, columns], kind=kind)
        for goal in ({"tradeoff": 0.5}, {"tradeoff": 0.95}, {"max_cost": 5.0}, {"max_loss": "last+0.05"}):
            policy = tt.fit(trace, **goal)
            result = tt.evaluate(policy, trace)
            assert result.answer_share[0] < 0.01
            assert not re.search(r"\bnan\b", str(policy.describe()), re.IGNORECASE)
            assert math.isfinite(result.objective)
            if kind == "models" and max(cost) > 0.0:
                replay = policy.replay(trace.signal, trace.prediction)
                assert replay.consulted[:, 1:3].all(axis=1).mean() < 0.05


def test_static_baseline() -> None:
    trace = tt.Trace(np.ones((10, 3)), np.tile([0.5, 0.1, 0.4], (10, 1)), [1.0, 1.0, 1.0], kind="models")
    replay = tt.baselines.static(trace, 0.9).replay(trace.signal)
    assert replay.answer.tolist() == [1] * 10
    assert replay.consulted.tolist() == [[False, True, False]] * 10


def test_patience_needs_predictions() -> None:
    with pytest.raises(tt.ValidationError, match="prediction"):
        tt.baselines.patience(make_trace(predictions=False), 0.9)


def test_weights_count_requests() -> None:
    trace = make_trace(n=3000)
    right = trace.loss[:, 0] == 0.0
    easy = tt.fit(trace, tradeoff=0.9, weight=np.where(right, 1.0, 1e-3))
    hard = tt.fit(trace, tradeoff=0.9, weight=np.where(right, 1e-3, 1.0))
    assert (
        easy.replay(trace.signal, trace.prediction).cost.mean()
        < hard.replay(trace.signal, trace.prediction).cost.mean()
    )
    ones = tt.fit(trace, tradeoff=0.9, weight=np.full(trace.n, 5))
    plain = tt.fit(trace, tradeoff=0.9)
    assert (ones.replay(trace.signal).answer == plain.replay(trace.signal).answer).all()
    assert "weight" in ones.provenance
    assert "weight" not in plain.provenance


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, 2.0], r"`weight` must have shape \(2000,\), got \(2,\)"),
        (np.full(2000, -1.0), "`weight` entry 0 must be finite and at least 0, got -1.0"),
        (np.zeros(2000), "`weight` must have a positive entry, got zeros only"),
        (np.full(2000, math.nan), "`weight` entry 0 must be finite"),
        ("heavy", "`weight` must be real numbers"),
    ],
)
def test_refused_weights(weight: Any, message: str) -> None:
    trace = make_trace(n=2000)
    with pytest.raises(tt.ValidationError, match=message):
        tt.fit(trace, tradeoff=0.9, weight=weight)


def test_the_report_says_what_was_chosen_from() -> None:
    trace = make_trace(n=2000)
    policy = tt.fit(trace, tradeoff=0.9)
    names = [found["name"] for found in policy.report]
    assert names == ["pathwise", "pathwise, no recall", "static", "threshold", "stage_thresholds", "patience"]
    (chosen,) = [found for found in policy.report if found["chosen"]]
    assert chosen["name"].startswith(policy.method)
    default = policy.report[0]
    assert default["difference"] == 0.0
    for found in policy.report:
        assert math.isclose(found["objective"], default["objective"] + found["difference"], abs_tol=1e-12)
        assert found["standard_error"] >= 0.0
    assert policy.describe()["report"] == policy.report
    assert tt.Policy.from_bytes(policy.to_bytes()).report == policy.report
    assert tt.fit(trace, tradeoff=0.9, recall=True).report == []


@pytest.mark.rates
@pytest.mark.parametrize("kind", ["models", "exits"])
def test_budgets_hold_on_other_requests(kind: str) -> None:
    loss_excess, cost_excess = [], []
    for seed in range(6):
        train, test = make_trace(n=4000, kind=kind, seed=seed).split(seed=seed)
        cost_excess.append(tt.evaluate(tt.fit(train, max_cost=5.0), test).cost - 5.0)
        loss_excess.append(tt.evaluate(tt.fit(train, max_loss=0.25), test).loss - 0.25)
    # Each is met up to the noise of 2000 requests, and on average.
    assert max(cost_excess) < 0.3
    assert max(loss_excess) < 0.03
    assert np.mean(cost_excess) < 0.1
    assert np.mean(loss_excess) < 0.01


@pytest.mark.parametrize("graph", ["line", "skip", "auto"])
def test_graphs(graph: str) -> None:
    trace = make_trace(n=2000)
    policy = tt.fit(trace, tradeoff=0.9, graph=graph, recall=True)
    assert policy.graph == {"line": "line", "skip": "skip", "auto": "lattice"}[graph]
    assert (policy.replay(trace.signal, trace.prediction).answer >= 0).all()
    with pytest.raises(tt.ValidationError, match="needs the estimator 'pathwise'"):
        tt.fit(trace, tradeoff=0.9, graph="skip", estimator="markov")


def test_a_loss_goal_relative_to_the_last_stage() -> None:
    trace = make_trace(2000, 4, seed=5)
    last = float(trace.loss[:, -1].mean())
    relative, absolute = tt.fit(trace, max_loss="last + 0.02"), tt.fit(trace, max_loss=last + 0.02)
    assert relative.to_bytes() == absolute.to_bytes()
    assert tt.evaluate(relative, trace).loss <= last + 0.02


@pytest.mark.parametrize("goal", [{"tradeoff": 0.9}, {"max_cost": 4.0}, {"max_loss": 0.3}])
def test_a_trace_with_weights_is_fitted_with_them(goal: dict[str, Any]) -> None:
    costs = np.random.default_rng(0).random((1500, 4))
    plain = make_trace(n=1500)
    trace = tt.Trace(plain.signal, plain.loss, plain.cost * costs, plain.prediction, kind="models")
    weight = np.where(trace.loss[:, 0] == 0.0, 0.2, 1.0)
    policy = tt.fit(trace.weighted(weight), **goal)
    assert policy.to_bytes() == tt.fit(trace, weight=weight, **goal).to_bytes()
    assert policy.to_bytes() == tt.fit(trace.weighted(np.ones(1500)), weight=weight, **goal).to_bytes()
    assert policy.provenance["trace"] == trace.weighted(weight).digest
    result = tt.evaluate(policy, trace.weighted(weight))
    assert result.cost <= goal.get("max_cost", math.inf)
    assert result.loss <= goal.get("max_loss", math.inf)


def test_baselines_are_tuned_with_the_weights_of_the_trace() -> None:
    trace = make_trace(n=1500, kind="exits")
    weighted = trace.weighted(np.where(trace.loss[:, 0] == 0.0, 1.0, 0.01))
    for tuned in tt.baselines.ALL.values():
        policy = tuned(weighted, 0.9)
        assert math.isclose(policy.value, tt.evaluate(policy, weighted).objective, rel_tol=1e-9)
        assert "weight" in policy.provenance
        assert tt.evaluate(tuned(trace, 0.9), weighted).objective > policy.value + 1e-3
