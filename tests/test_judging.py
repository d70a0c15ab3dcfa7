from __future__ import annotations

import sys
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast._core import estimate
from ttamer_fast._utils.rule_names import FIT, FIT_NO_RECALL
from ttamer_fast.evaluation import cross_validation as cv
from ttamer_fast.evaluation.intervals import mean_interval
from ttamer_fast.fitting import learners
from ttamer_fast.traces import outcome


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
    most = trace.cost.sum(axis=1).max()
    least = trace.cost.min() if kind == "models" else trace.cost[:, 0].min()
    for name, values, low, high in (
        ("cost", cost, least, most),
        ("objective", objective, 0.1 * least / trace.full_cost, 0.9 + 0.1 * most / trace.full_cost),
    ):
        assert getattr(result, name) == pytest.approx(values.mean())
        assert getattr(result, f"{name}_ci") == pytest.approx(mean_interval(estimate(values), low, high))
    assert result.loss == pytest.approx(loss.mean())
    wilson = stats.binomtest(round(loss.sum()), trace.n).proportion_ci(method="wilson")
    assert result.loss_ci == pytest.approx((wilson.low, wilson.high))
    assert result.answer_share.sum() == pytest.approx(1.0)
    assert result.consulted_share.shape == (trace.k,)
    assert 0.0 <= result.recalled_share <= 1.0
    for stage in range(trace.k):
        answers = stats.binomtest(round(result.answer_share[stage] * trace.n), trace.n).proportion_ci(method="wilson")
        assert result.answer_share_ci[stage] == pytest.approx((answers.low, answers.high))
        low, high = result.consulted_share_ci[stage]
        assert low <= result.consulted_share[stage] <= high
    assert result.recalled_share_ci[0] <= result.recalled_share <= result.recalled_share_ci[1]
    assert result.independent == trace.n
    assert not result.heavy_tailed
    assert result.to_dict()["consulted_share"] == result.consulted_share.tolist()
    assert "95 % interval" in str(result)


def test_evaluation_needs_matching_stages_and_a_tradeoff(policy: tt.Policy, trace: tt.Trace) -> None:
    with pytest.raises(
        tt.ValidationError, match=r"`trace` must have the stages \[.*'stage 3'\], got \['stage 0', 'stage 1'\]"
    ):
        tt.evaluate(policy, make_trace(k=2))
    exact = tt.solve(tt.Model.line([[0.1, 0.5]], [0.1], [[[0.5, 0.5]]]))
    states = tt.Trace([[0.0], [1.0]], [[0.1], [0.5]], [0.1])
    with pytest.raises(tt.ValidationError, match="`tradeoff` must be given"):
        tt.evaluate(exact, states)
    assert tt.evaluate(exact, states, tradeoff=1.0).loss == pytest.approx(0.3)
    assert tt.evaluate(policy, trace, tradeoff=1.0).objective == tt.evaluate(policy, trace).loss


def costly_trace(n: int = 800, kind: str = "models") -> tt.Trace:
    """Losses of many values, and costs by row."""
    rng = np.random.default_rng(1)
    plain = make_trace(n=n, kind=kind)
    return tt.Trace(plain.signal, plain.loss * rng.random((n, 4)), rng.random((n, 4)), plain.prediction, kind=kind)


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_equal_weights_change_nothing(kind: str) -> None:
    for trace in (make_trace(n=400, kind=kind), costly_trace(400, kind)):
        equal = trace.weighted(np.full(trace.n, 0.3))
        policy = tt.fit(trace, tradeoff=0.9)
        assert tt.evaluate(policy, equal).to_dict() == tt.evaluate(policy, trace).to_dict()
        assert tt.compare(equal, 0.9, folds=2).to_dict() == tt.compare(trace, 0.9, folds=2).to_dict()
        drawn, expected = (tt.frontier(rows, folds=2, tradeoffs=[0.5, 0.9]).to_dict() for rows in (equal, trace))
        assert drawn == expected


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_whole_weights_are_repeated_rows(kind: str) -> None:
    trace = costly_trace(kind=kind)
    count = np.random.default_rng(2).integers(0, 4, trace.n)
    policy = tt.fit(trace, tradeoff=0.9)
    weighted = tt.evaluate(policy, trace.weighted(count))
    repeated = tt.evaluate(policy, trace.rows(np.repeat(np.arange(trace.n), count)))
    for name in ("loss", "cost", "objective", "consulted_share", "answer_share", "recalled_share"):
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name), rel=1e-12)
    # As many rows that are not copies of each other would say more.
    for name in ("loss_ci", "cost_ci", "objective_ci"):
        assert np.diff(getattr(weighted, name)) > np.diff(getattr(repeated, name))


def test_weighted_intervals_against_a_loop() -> None:
    trace = costly_trace()
    weight = np.random.default_rng(3).random(trace.n) ** 3
    policy = tt.fit(trace, tradeoff=0.9)
    result = tt.evaluate(policy, trace.weighted(weight))
    loss, _ = by_hand(policy, trace)
    mean = (weight * loss).sum() / weight.sum()
    size = weight.sum() ** 2 / (weight**2).sum()
    error = np.sqrt((weight**2 * (loss - mean) ** 2).sum()) / weight.sum() * np.sqrt(size / (size - 1.0))
    assert result.loss == pytest.approx(mean)
    assert result.independent == pytest.approx(size)
    for end, edge in zip(result.loss_ci, (0.0, trace.loss.max()), strict=True):
        share = (end - mean) / (edge - mean)
        second = (1.0 - share) * (error**2 * size + mean**2) + share * edge**2
        assert abs(end - mean) == pytest.approx(stats.t.ppf(0.975, size - 1.0) * np.sqrt((second - end**2) / size))
    # Of a log a share of the weight has moved to the edge in rows as heavy as the heaviest.
    judged = tt.evaluate(policy, log_of_chances(trace, weight)).loss_ci
    for end, edge in zip(judged, (0.0, trace.loss.max()), strict=True):
        share, heavy = (end - mean) / (edge - mean), weight.sum() / weight.max()
        variance = (1.0 - share) * error**2 + share * (1.0 - share) * (edge - mean) ** 2 / heavy
        assert abs(end - mean) == pytest.approx(stats.t.ppf(0.975, heavy - 1.0) * np.sqrt(variance))


def log_of_chances(trace: tt.Trace, weight: NDArray[np.float64]) -> tt.Trace:
    """The same requests, of which each came to be known by such a chance that it counts so much."""
    chance = weight.min() / weight
    chances = np.broadcast_to(chance[:, np.newaxis], trace.loss.shape)
    return tt.Trace(
        trace.signal, trace.loss, trace.cost, trace.prediction, kind=trace.kind, stages=trace.stages, propensity=chances
    )


@pytest.mark.parametrize("scale", [1.0, 250.0])
def test_no_errors_are_not_proof_of_none(scale: float) -> None:
    loss = np.column_stack([np.arange(300) % 2, np.zeros(300)]) * scale
    trace = tt.Trace(np.zeros((300, 2)), loss, [1.0, 1.0], kind="models")
    result = tt.evaluate(tt.baselines.static(trace, 1.0), trace)
    assert result.loss == 0.0
    assert result.loss_ci == pytest.approx((0.0, scale * 3.79 / 300), rel=1e-2)
    half = tt.evaluate(tt.baselines.static(trace, 1.0), trace.weighted(np.arange(300) < 150))
    assert half.loss_ci == pytest.approx((0.0, scale * 3.75 / 150), rel=1e-2)
    perfect = tt.Trace(np.random.default_rng(0).random((300, 2)), np.zeros((300, 2)), trace.cost)
    assert tt.evaluate(tt.baselines.static(perfect, 1.0), perfect).loss_ci == pytest.approx((0.0, 3.79 / 300), rel=1e-2)


def test_few_rows() -> None:
    trace = costly_trace(1)
    with pytest.warns(tt.CalibrationWarning, match="`trace` has 1 rows, which say as much as 1 independent requests"):
        policy = tt.fit(trace, tradeoff=0.9)
    result = tt.evaluate(policy, trace)
    assert result.cost_ci == (-np.inf, np.inf)
    assert "inf" in str(result)


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
    names = [row.name for row in tt.compare(make_trace(n=300, predictions=False, kind="exits"), folds=2).rows]
    assert "patience" not in names


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_comparison_and_frontier_are_weighted() -> None:
    trace = make_trace(n=900)
    weight = np.where(trace.loss[:, 0] == 0.0, 0.1, 1.0)
    weighted = trace.weighted(weight)
    result = tt.compare(weighted, tradeoff=0.9, folds=3)
    (outcomes,) = cv.cross_validate(weighted, cv.rules(weighted), [0.9], 3, 0)
    objective = {name: outcome.objective(found, 0.9, trace) for name, found in outcomes.items()}
    for row in result.rows:
        assert row.objective == pytest.approx(np.average(objective[row.name], weights=weight))
        paired = objective[row.name] - objective[result.reference]
        assert row.difference == pytest.approx(np.average(paired, weights=weight), abs=1e-12)
        plain = np.sqrt((weight**2 * (paired - row.difference) ** 2).sum()) / weight.sum()
        expected = 0.0 if row.name == result.reference else np.hypot(plain * np.sqrt(1.0 + 3.0 / 2.0), result.hindsight)
        assert row.difference_se == pytest.approx(expected, rel=1e-3)
    assert result["last stage"].loss == pytest.approx(np.average(trace.loss[:, -1], weights=weight))
    drawn = tt.frontier(weighted, folds=3, tradeoffs=[0.9])
    for name, (point,) in drawn.points.items():
        assert (point.loss, point.cost) == (result[name].loss, result[name].cost)
        assert point.loss_ci[0] < point.loss < point.loss_ci[1]
        assert point.cost_ci[0] < point.cost < point.cost_ci[1]
    assert drawn.stage_points[0].loss == pytest.approx(np.average(trace.loss[:, 0], weights=weight))
    with pytest.raises(tt.ValidationError, match="`weight` must have a positive entry in every part"):
        tt.compare(trace.weighted(np.arange(trace.n) == 5), folds=2)


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_folds_share_what_does_not_depend_on_the_goal(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = make_trace(n=600, kind=kind).weighted(np.linspace(0.5, 1.5, 600))
    learner_of = Mock(side_effect=learners.learner_of)
    monkeypatch.setattr(cv, "learner_of", learner_of)
    tradeoffs = [0.3, 0.9, 0.97]
    chosen = {name: rule for name, rule in cv.rules(trace).items() if name in cv.FITS}
    shared = cv.cross_validate(trace, chosen, tradeoffs, 3, 0)
    assert learner_of.call_count == 3
    part = np.random.default_rng(0).permutation(600) % 3
    for tradeoff, found in zip(tradeoffs, shared, strict=True):
        for name, recall in ((FIT, "auto"), (FIT_NO_RECALL, False)):
            for fold in range(3):
                policy = tt.fit(trace.rows(part != fold), tradeoff=tradeoff, recall=recall)
                alone = outcome.of_policy(policy, trace.rows(part == fold))
                assert (found[name].answer[part == fold] == alone.answer).all()
                assert (found[name].consulted[part == fold] == alone.consulted).all()
                assert (found[name].cost[part == fold] == alone.cost).all()


def test_a_useless_cascade_is_called_so() -> None:
    rng = np.random.default_rng(0)
    loss = np.column_stack([rng.random(1000) < 0.5, np.zeros(1000)])
    trace = tt.Trace(rng.random((1000, 2)), loss, [1.0, 1.0], kind="models")
    cascade, _ = tt.compare(trace, tradeoff=0.99, folds=2).verdict
    assert not cascade.startswith("a cascade is worth it")


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
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
