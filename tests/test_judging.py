from __future__ import annotations

import sys

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace


def by_hand(policy: tt.Policy, trace: tt.Trace) -> tuple[np.ndarray, np.ndarray]:
    replay = policy.replay(trace.signal, trace.prediction)
    cost = np.broadcast_to(trace.cost, trace.loss.shape)
    paid = np.zeros(trace.n)
    for row in range(trace.n):
        ran = np.flatnonzero(replay.consulted[row])
        paid[row] = cost[row, ran].sum() if trace.kind == "models" else cost[row, : ran[-1] + 1].sum()
    return trace.loss[np.arange(trace.n), replay.answer], paid


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_evaluation_against_a_loop(kind: str) -> None:
    fitted = make_trace(kind=kind)
    trace = tt.Trace(
        fitted.signal,
        fitted.loss,
        np.random.default_rng(0).random((fitted.n, fitted.k)),
        prediction=fitted.prediction,
        kind=kind,
    )
    policy = tt.fit(fitted, tradeoff=0.9)
    result = tt.evaluate(policy, trace)
    loss, cost = by_hand(policy, trace)
    objective = 0.9 * loss + 0.1 * cost / trace.full_cost
    for name, values in (("loss", loss), ("cost", cost), ("objective", objective)):
        assert getattr(result, name) == pytest.approx(values.mean())
        half = 1.959964 * values.std(ddof=1) / np.sqrt(trace.n)
        assert getattr(result, f"{name}_ci") == pytest.approx((values.mean() - half, values.mean() + half))
    assert result.answer_share.sum() == pytest.approx(1.0)
    assert result.consulted_share.shape == (trace.k,)
    assert 0.0 <= result.recalled_share <= 1.0
    assert result.to_dict()["consulted_share"] == result.consulted_share.tolist()
    assert "95 % interval" in str(result)


def test_evaluation_needs_matching_stages_and_a_tradeoff(policy: tt.Policy, trace: tt.Trace) -> None:
    with pytest.raises(tt.ValidationError, match="`trace` must have the 4 stages of the policy, got 2"):
        tt.evaluate(policy, make_trace(k=2))
    exact = tt.solve(tt.Model.line([[0.1, 0.5]], [0.1], [[[0.5, 0.5]]]))
    states = tt.Trace([[0.0], [1.0]], [[0.1], [0.5]], [0.1])
    with pytest.raises(tt.ValidationError, match="`tradeoff` must be given"):
        tt.evaluate(exact, states)
    assert tt.evaluate(exact, states, tradeoff=1.0).loss == pytest.approx(0.3)
    assert tt.evaluate(policy, trace, tradeoff=1.0).objective == tt.evaluate(policy, trace).loss


def test_comparison() -> None:
    trace = make_trace(n=1500)
    shares: list[float] = []
    result = tt.compare(trace, tradeoff=0.95, folds=3, progress=shares.append)
    names = [row.name for row in result.rows]
    assert names == [
        "last stage",
        "static",
        "threshold",
        "stage_thresholds",
        "patience",
        "markov",
        "fit, no recall",
        "fit",
        "clairvoyant",
    ]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert result[result.reference].difference == 0.0
    simple = names[:6]
    assert result[result.reference].objective == min(result[name].objective for name in simple)
    for row in result.rows:
        assert row.difference == pytest.approx(row.objective - result[result.reference].objective)
        assert result["clairvoyant"].objective <= row.objective
    assert result["last stage"].loss == pytest.approx(trace.loss[:, -1].mean())
    assert result["last stage"].cost == pytest.approx(trace.mean_cost[-1])
    cascade, recall = result.verdict
    assert cascade.startswith("a cascade ")
    assert recall.startswith("recall ")
    text = str(result)
    assert all(name in text for name in names)
    assert text.endswith(recall)
    assert result.to_dict()["rows"][0]["name"] == "last stage"
    assert result.to_pandas().loc["fit", "objective"] == result["fit"].objective
    assert tt.compare(trace, tradeoff=0.95, folds=3).to_dict() == result.to_dict()


def test_comparison_without_predictions_or_of_exits() -> None:
    names = [row.name for row in tt.compare(make_trace(n=300, labels=False, kind="exits"), folds=2).rows]
    assert "patience" not in names


def test_a_useless_cascade_is_called_so() -> None:
    rng = np.random.default_rng(0)
    loss = np.column_stack([rng.random(1000) < 0.5, np.zeros(1000)])
    trace = tt.Trace(rng.random((1000, 2)), loss, [1.0, 1.0], kind="models")
    cascade, _ = tt.compare(trace, tradeoff=0.99, folds=2).verdict
    assert not cascade.startswith("a cascade is worth it")


def test_costs_of_zero() -> None:
    trace = tt.Trace(np.random.default_rng(0).random((50, 2)), np.zeros((50, 2)), [0.0, 0.0])
    assert tt.compare(trace, folds=2)["fit"].objective == 0.0


@pytest.mark.parametrize("folds", [1, 0, -1, True, 2.0, 10_000])
def test_folds_out_of_range(trace: tt.Trace, folds: int) -> None:
    with pytest.raises(tt.ValidationError, match="`folds`"):
        tt.compare(trace, folds=folds)


def test_pandas_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    result = tt.compare(make_trace(n=100), folds=2)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(tt.MissingExtraError, match=r"ttamer_fast\[pandas\]"):
        result.to_pandas()


def test_frontier() -> None:
    trace = make_trace(n=600)
    result = tt.frontier(trace, folds=2, tradeoffs=[0.95, 0.5])
    assert [point.tradeoff for point in result.points["fit"]] == [0.5, 0.95]
    cheap, dear = result.points["fit"]
    assert cheap.cost <= dear.cost
    assert [point.loss for point in result.stage_points] == pytest.approx(trace.loss.mean(axis=0).tolist())
    assert result.to_dict()["points"]["fit"][0]["tradeoff"] == 0.5
    assert "fit" in str(result)
    with pytest.raises(tt.ValidationError, match="`tradeoff`"):
        tt.frontier(trace, tradeoffs=[2.0])
