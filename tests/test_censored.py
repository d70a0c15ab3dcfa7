"""Traces as logs are: stages that were not run, losses that nobody knows."""

from __future__ import annotations

import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from censored_logs import Log, log_of
from conftest import make_trace

NAN = math.nan


def objective(policy: tt.Policy, trace: tt.Trace, tradeoff: float) -> float:
    """On complete requests."""
    return tt.evaluate(policy, trace, tradeoff).objective


@pytest.fixture(scope="module")
def log() -> Log:
    rule = make_trace(n=1000, seed=7)
    return log_of(make_trace(n=4000, seed=1), tt.baselines.stage_thresholds(rule, 0.9))


@pytest.mark.rates
def test_a_fit_to_a_log_is_worth_nearly_what_one_to_complete_requests_is(log: Log) -> None:
    test = make_trace(n=20_000, seed=2)
    for tradeoff in (0.8, 0.95):
        of_log = objective(tt.fit(log.trace, tradeoff=tradeoff), test, tradeoff)
        of_explored = objective(tt.fit(log.whole.rows(log.explored), tradeoff=tradeoff), test, tradeoff)
        complete = objective(tt.fit(log.whole, tradeoff=tradeoff), test, tradeoff)
        assert of_log < 1.06 * complete
        assert of_log < 1.01 * of_explored


def test_the_same_log_gives_the_same_bytes_and_says_what_it_was(log: Log) -> None:
    policy = tt.fit(log.trace, tradeoff=0.9)
    assert policy.to_bytes() == tt.fit(pickle.loads(pickle.dumps(log.trace)), tradeoff=0.9).to_bytes()
    assert policy.provenance["trace"] == log.trace.digest
    through = ~np.isnan(log.trace.loss).any(axis=1)
    assert policy.provenance["run_through"] == str(through.sum())
    assert "run_through" not in tt.fit(log.whole, tradeoff=0.9).provenance


def test_what_stages_that_were_not_run_are_said_to_have_answered_is_ignored(log: Log) -> None:
    missing = np.isnan(log.trace.loss)
    said = np.where(missing, np.random.default_rng(5).integers(0, 9, missing.shape), np.asarray(log.whole.prediction))
    t = log.trace
    other = tt.Trace(t.signal, t.loss, t.cost, said, kind=t.kind, stages=t.stages, propensity=t.propensity)
    assert other.digest == t.digest
    assert tt.fit(other, tradeoff=0.9).to_bytes() == tt.fit(t, tradeoff=0.9).to_bytes()


def test_requests_without_truth_do_not_disturb_those_with(log: Log) -> None:
    known = np.random.default_rng(3).random(log.whole.n) < 0.3
    whole = log.whole
    part = tt.Trace(
        whole.signal, np.where(known[:, np.newaxis], whole.loss, NAN), whole.cost, whole.prediction, kind=whole.kind
    )
    test = make_trace(n=3000, seed=2)
    of_all = tt.fit(part, tradeoff=0.9).replay(test.signal, test.prediction)
    alone = tt.fit(whole.rows(known), tradeoff=0.9).replay(test.signal, test.prediction)
    np.testing.assert_array_equal(of_all.answer, alone.answer)
    np.testing.assert_array_equal(of_all.consulted, alone.consulted)


def test_a_log_without_exploration_names_the_stage(log: Log) -> None:
    whole = log.whole
    deep = whole.signal[:, 0] < np.median(whole.signal[:, 0])
    run = np.ones((whole.n, whole.k), bool)
    run[~deep, 1:] = False
    trace = tt.Trace(
        np.where(run, whole.signal, NAN), np.where(run, whole.loss, NAN), whole.cost, whole.prediction, kind="models"
    )
    with pytest.warns(tt.CensoredTraceWarning) as found:
        tt.fit(trace, tradeoff=0.9)
    texts = [str(one.message) for one in found if issubclass(one.category, tt.CensoredTraceWarning)]
    assert len(texts) == 3
    assert texts[0].startswith("stage 'stage 1' was not run for ")
    row = int(texts[0].split("the first of them row ")[1].split(",")[0])
    assert whole.signal[row, 0] > np.quantile(whole.signal[:, 0], 0.55)
    assert "by its signal of stage 'stage 0'" in texts[0]


@pytest.mark.parametrize("share", [0.05, 0.02])
def test_a_log_with_exploration_is_silent(share: float) -> None:
    log = log_of(make_trace(n=4000, seed=4), tt.baselines.stage_thresholds(make_trace(n=1000, seed=7), 0.9), share)
    with warnings.catch_warnings():
        warnings.simplefilter("error", tt.CensoredTraceWarning)
        tt.fit(log.trace, tradeoff=0.9)
        tt.fit(log.whole, tradeoff=0.9)


def test_a_stage_that_was_never_run_is_an_error() -> None:
    signal = np.random.default_rng(0).random((300, 2))
    loss = (np.random.default_rng(1).random((300, 2)) > signal).astype(float)
    signal[:, 1], loss[:, 1] = NAN, NAN
    trace = tt.Trace(signal, loss, [1.0, 2.0], stages=["small", "large"], kind="models")
    with pytest.raises(tt.ValidationError, match=r"got none: stage 'large' has 0 of 300; run about 200 requests"):
        tt.fit(trace, tradeoff=0.9)
    with pytest.raises(tt.ValidationError, match="stage 'large' has 0 of 300"):
        tt.baselines.threshold(trace, 0.9)


class TestJudging:
    def test_without_a_propensity_a_censored_trace_is_refused(self, log: Log) -> None:
        t = log.trace
        bare = tt.Trace(t.signal, t.loss, t.cost, t.prediction, kind=t.kind, stages=t.stages)
        policy = tt.fit(log.whole, tradeoff=0.9)
        calls: list[Any] = [
            lambda: tt.evaluate(policy, bare),
            lambda: tt.compare(bare, folds=2),
            lambda: tt.frontier(bare, folds=2, tradeoffs=[0.9]),
            lambda: tt.risk_coverage(policy, bare),
            lambda: tt.summarize(tt.fit(bare, tradeoff=0.9), bare),
        ]
        row, stage = np.argwhere(np.isnan(t.loss))[0]
        for call in calls:
            with pytest.raises(tt.ValidationError, match=rf"got nan in `loss\[{row}, {stage}\]` .* give `propensity`"):
                call()
        with pytest.raises(tt.ValidationError, match="must have known losses and no propensity, to be certified on"):
            tt.fit_certified(t, max_loss=0.5)

    def test_a_policy_that_asks_for_nothing_else_is_judged_on_every_request(self, log: Log) -> None:
        served = tt.baselines.stage_thresholds(make_trace(n=1000, seed=7), 0.9)
        found = tt.evaluate(served, log.trace, 0.9)
        whole = tt.evaluate(served, log.whole, 0.9)
        assert (found.n, found.observed) == (log.whole.n, log.whole.n)
        assert (found.loss, found.cost, found.loss_ci) == (whole.loss, whole.cost, whole.loss_ci)

    @pytest.mark.rates
    def test_intervals_hold_the_mean_of_the_population(self) -> None:
        """95 %, for policies that ask for more than the one that served, over drawn logs."""
        population = make_trace(n=200_000, seed=11)
        served = tt.baselines.stage_thresholds(make_trace(n=1000, seed=7), 0.9)
        policy = tt.fit(make_trace(n=4000, seed=8), tradeoff=0.97)
        truth = tt.evaluate(policy, population)
        rng = np.random.default_rng(0)
        rounds, held = 200, np.zeros(3)
        for i in range(rounds):
            log = log_of(population.rows(rng.choice(population.n, 1500, replace=False)), served, 0.1, seed=i)
            found = tt.evaluate(policy, log.trace)
            assert found.observed < found.n
            for at, name in enumerate(("loss", "cost", "objective")):
                low, high = getattr(found, f"{name}_ci")
                held[at] += low <= getattr(truth, name) <= high
        # Below 0.90 with probability 0.002 for a coverage of 0.95.
        assert (held / rounds >= 0.90).all(), held / rounds

    def test_rules_are_compared_on_requests_run_through(self, log: Log) -> None:
        found = tt.compare(log.trace, 0.95, folds=2)
        whole = tt.compare(log.whole, 0.95, folds=2)
        through = log.trace.run_through()
        assert found.n == len(through) < log.whole.n / 2
        weight = np.asarray(through.weight)
        for name in ("last stage", "threshold", "fit"):
            error = 3.0 * math.sqrt(found[name].loss * (weight**2).sum()) / weight.sum()
            assert abs(found[name].loss - whole[name].loss) < error
        frontier = tt.frontier(log.trace, folds=2, tradeoffs=[0.9])
        assert frontier.n == found.n
        assert tt.summarize(tt.fit(log.trace, tradeoff=0.95), log.trace, folds=2).n == found.n

    def test_a_fold_without_a_request_run_through_is_an_error(self) -> None:
        whole = make_trace(n=60, seed=1)
        log = log_of(whole, tt.baselines.static(whole, 0.0), 0.02, seed=3)
        assert 0 < log.explored.sum() < 5
        with pytest.warns(tt.CalibrationWarning), pytest.raises(tt.ValidationError, match="in each of 30 folds"):
            tt.compare(log.trace, folds=30)


class TestTeacher:
    def test_every_report_names_the_teacher(self, log: Log, tmp_path: Path) -> None:
        t = log.whole
        taught = tt.Trace(t.signal, t.loss, t.cost, t.prediction, kind=t.kind, stages=t.stages, teacher="large")
        policy = tt.fit(taught, tradeoff=0.9)
        assert policy.provenance["teacher"] == "large"
        reports: list[Any] = [
            tt.evaluate(policy, taught),
            tt.compare(taught, folds=2),
            tt.frontier(taught, folds=2, tradeoffs=[0.9]),
            tt.risk_coverage(policy, taught),
            tt.summarize(policy, taught, folds=2),
        ]
        for report in reports:
            assert "against the answers of large, not the truth" in str(report)
            assert report.to_dict()["teacher"] == "large"
        assert taught.digest != t.digest
        assert taught.rows([0, 1]).matching(policy).teacher == "large"

    @pytest.mark.parametrize("teacher", ["", 3])
    def test_a_teacher_has_a_name(self, teacher: Any) -> None:
        with pytest.raises(tt.ValidationError, match="`teacher` must be text that is not empty"):
            tt.Trace([[0.1]], [[0.0]], [1.0], teacher=teacher)


@pytest.mark.parametrize("ending", ["npz", "parquet", "csv"])
def test_files_keep_what_is_not_known(log: Log, tmp_path: Path, ending: str) -> None:
    if ending != "npz":
        pytest.importorskip("pyarrow")
    t = log.trace
    cost = np.where(np.isnan(t.signal), NAN, np.random.default_rng(0).random(t.signal.shape))
    t = tt.Trace(
        t.signal, t.loss, cost, t.prediction, kind=t.kind, stages=t.stages, propensity=t.propensity, teacher="the judge"
    )
    path = tmp_path / f"log.{ending}"
    t.save(path)
    back = tt.read_trace(path)
    assert back.digest == t.digest
    assert (back.teacher, back.is_censored) == ("the judge", True)
    np.testing.assert_array_equal(back.propensity, t.propensity)


def refused(**changes: Any) -> str:
    given: dict[str, Any] = {
        "signal": [[0.1, 0.2], [0.3, NAN]],
        "loss": [[0.0, 1.0], [0.0, NAN]],
        "cost": [1.0, 2.0],
        **changes,
    }
    with pytest.raises(tt.ValidationError) as error:
        tt.Trace(**given)
    return str(error.value)


def test_bad_input_is_named() -> None:
    must = "`propensity[{}]` must be above 0 and at most 1 where the loss is known, got {}"
    assert refused(propensity=[[1.0, 0.0], [1.0, NAN]]) == must.format("0, 1", "0.0")
    assert refused(propensity=[[1.0, 1.5], [1.0, NAN]]) == must.format("0, 1", "1.5")
    assert refused(propensity=[[1.0, 0.5], [NAN, NAN]]) == must.format("1, 0", "nan")
    assert "`propensity` must have shape (2, 2)" in refused(propensity=[1.0, 0.5])
    assert "`cost` row 0 column 1 must be finite" in refused(cost=[[1.0, NAN], [1.0, NAN]])
    assert "`loss` row 1 column 0 must be finite as in row 0" in refused(loss=[[0.0, 1.0], [math.inf, NAN]])
    nothing = np.full((2, 2), NAN)
    assert "`loss` must be known and finite for at least one stage" in refused(loss=nothing)
    assert "`loss` row 0 column 1 must be finite and at least 0, got -1" in refused(loss=[[0.0, -1.0], [0.0, NAN]])


def test_costs_of_stages_that_were_not_run_need_not_be_known(log: Log) -> None:
    t = log.trace
    costs = np.where(np.isnan(t.signal), NAN, np.asarray(t.cost) * (1.0 + np.random.default_rng(0).random((t.n, 1))))
    trace = tt.Trace(t.signal, t.loss, costs, t.prediction, kind=t.kind, stages=t.stages, propensity=t.propensity)
    assert np.isfinite(trace.mean_cost).all()
    policy = tt.fit(trace, tradeoff=0.9)
    assert math.isfinite(tt.evaluate(policy, trace).cost)
    test = make_trace(n=5000, seed=2)
    assert objective(policy, test, 0.9) < 1.05 * objective(tt.fit(log.whole, tradeoff=0.9), test, 0.9)


def test_drift_is_watched_for_with_what_the_policy_asks_for(log: Log) -> None:
    served = tt.baselines.stage_thresholds(make_trace(n=1000, seed=7), 0.9)
    assert tt.DriftMonitor.fit(served, log.trace).report().requests == 0
    with pytest.raises(tt.ValidationError, match=r"the policy asks for, got a stage 'stage [123]' that was not run"):
        tt.DriftMonitor.fit(tt.fit(log.whole, tradeoff=0.99), log.trace)


@pytest.mark.filterwarnings("ignore::ttamer_fast.CensoredTraceWarning")  # of a short log
@pytest.mark.outside("traces")
def test_logs_of_recorded_cascades(outside_traces: Path) -> None:
    """5 % run through: within 4 % of a fit to complete requests, and intervals that hold the truth."""
    ratios = []
    for path in sorted(outside_traces.glob("*.npz")):
        found = tt.read_trace(path, kind="exits" if "minilm" in path.stem else "models")
        found = found.rows(np.random.default_rng(3).permutation(found.n))
        parts = np.array_split(np.arange(found.n), [800, 800 + (found.n - 800) // 2])
        rule, train, test = (found.rows(part[:4000]) for part in parts)
        log = log_of(train, tt.baselines.stage_thresholds(rule, 0.9), seed=1)
        of_log, complete = tt.fit(log.trace, tradeoff=0.9), tt.fit(train, tradeoff=0.9)
        ratios.append(objective(of_log, test, 0.9) / objective(complete, test, 0.9))
        judged = tt.evaluate(complete, log_of(test, tt.baselines.stage_thresholds(rule, 0.9), seed=2).trace)
        low, high = judged.loss_ci
        spread = 2.0 * math.sqrt(judged.loss / test.n)
        assert low - spread <= tt.evaluate(complete, test).loss <= high + spread
    assert math.exp(np.mean(np.log(ratios))) < 1.04, ratios
