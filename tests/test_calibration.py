"""One calibration, many goals: the same bytes as a fit, from threads, forks and logs too."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from censored_logs import log_of
from conftest import make_trace

GOALS: list[dict[str, Any]] = [
    {"tradeoff": 0.0},
    {"tradeoff": 0.6},
    {"tradeoff": 0.95, "recall": False},
    {"tradeoff": 1.0},
    {"max_cost": 4.0, "seed": 3},
    {"max_loss": 0.25},
    {"max_loss": "last+0.02", "recall": True},
]
FEW: list[dict[str, Any]] = [{"tradeoff": 0.9}, {"max_cost": 5.0}]
TRADEOFFS: list[dict[str, Any]] = [{"tradeoff": 0.9}, {"tradeoff": 0.5}]
EACH: list[dict[str, Any]] = [{"tradeoff": 0.8}, {"max_cost": 10.0}, {"max_loss": 0.3}]
OPTIONS: list[dict[str, Any]] = [{}, {"deadline": True}, {"default_loss": 0.2, "graph": "skip"}]
BAD_OPTIONS: list[dict[str, Any]] = [
    {"graph": "ring"},
    {"order": [7]},
    {"default_loss": -1.0},
    {"deadline": 1},
    {"deadline": True},
]
BAD_GOALS: list[tuple[str, Any]] = [
    ("tradeoff", 2.0),
    ("max_cost", -1.0),
    ("max_loss", "first"),
    ("recall", 1),
    ("seed", -1),
]
BAD_PRICES: list[tuple[Any, str]] = [
    ([1.0, 2.0], r"`cost` must have shape \(3,\), got \(2,\)"),
    (np.ones((400, 3)), "`cost` must have 1 dimension, got 2"),
    (1.0, "`cost` must have 1 dimension, got 0"),
    ([1.0, -2.0, 3.0], "`cost` entry 1 must be finite and at least 0, got -2"),
    ([1.0, 2.0, np.nan], "`cost` entry 2 must be finite and at least 0, got nan"),
    ([np.inf, 2.0, 1.0], "`cost` entry 0 must be finite and at least 0, got inf"),
    (["a", "b", "c"], "`cost` must be real numbers"),
]
pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")


def timed(trace: tt.Trace) -> tt.Trace:
    latency = np.random.default_rng(3).gamma(4.0, 0.01, (trace.n, trace.k)) * np.arange(1, trace.k + 1)
    return tt.Trace(trace.signal, trace.loss, trace.cost, trace.prediction, kind=trace.kind, latency=latency)


def with_costs(trace: tt.Trace, cost: Any) -> tt.Trace:
    return tt.Trace(
        trace.signal, trace.loss, cost, trace.prediction, kind=trace.kind, weight=trace.weight, latency=trace.latency
    )


def varied(trace: tt.Trace) -> tt.Trace:
    """Costs that differ from row to row, weights, and rows that do not count."""
    rows = np.random.default_rng(4).gamma(2.0, 0.5, (trace.n, 1)) * trace.cost
    return with_costs(trace, rows).weighted(np.arange(trace.n) % 4)


def decides(policy: tt.Policy, trace: tt.Trace) -> tuple[Any, ...]:
    replay = policy.replay(trace.signal, trace.prediction)
    return replay.answer.tobytes(), replay.consulted.tobytes(), replay.cost.tobytes()


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_a_calibration_gives_the_bytes_of_a_fit(kind: str) -> None:
    for trace in (make_trace(n=1200, kind=kind), varied(make_trace(n=900, kind=kind, predictions=False))):
        calibration = tt.calibrate(trace)
        for goal in GOALS:
            assert calibration.policy(**goal).to_bytes() == tt.fit(trace, **goal).to_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"graph": "skip", "default_loss": 0.3},
        {"graph": "line"},
        {"order": [0, 3]},
        {"order": "given", "default_loss": 0.1},
        {"deadline": True},
    ],
)
def test_options_are_those_of_a_fit(options: dict[str, Any]) -> None:
    trace = timed(make_trace(n=600))
    calibration = tt.calibrate(trace, **options)
    for goal in FEW:
        assert calibration.policy(**goal).to_bytes() == tt.fit(trace, **goal, **options).to_bytes()


def test_many_stages_and_many_rows() -> None:
    # More stages than all sets are taken of; more rows than rules are checked on, and than policies keep.
    for trace in (make_trace(n=500, k=8), make_trace(n=21_000, k=3)):
        calibration = tt.calibrate(trace)
        for goal in TRADEOFFS:
            assert calibration.policy(**goal).to_bytes() == tt.fit(trace, **goal).to_bytes()
        other = with_costs(trace, trace.cost[::-1])
        assert decides(calibration.policy(tradeoff=0.9, cost=other.cost), trace) == decides(
            tt.fit(other, tradeoff=0.9), trace
        )


def test_logs_are_completed_once_for_all_goals() -> None:
    whole = make_trace(n=2000, seed=1)
    log = log_of(whole, tt.baselines.stage_thresholds(make_trace(n=500, seed=7), 0.9)).trace
    calibration = tt.calibrate(log)
    for goal in FEW:
        policy = calibration.policy(**goal)
        assert policy.to_bytes() == tt.fit(log, **goal).to_bytes()
        assert policy.provenance["trace"] == log.digest
        assert "run_through" in policy.provenance


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_other_prices_decide_as_a_fit_to_them(kind: str) -> None:
    trace = timed(make_trace(n=800, kind=kind))
    cost = [4.0, 0.0, 1.0, 30.0]
    priced = with_costs(trace, cost)
    for options in OPTIONS:
        calibration = tt.calibrate(trace, **options)
        for goal in EACH:
            policy, fitted = calibration.policy(**goal, cost=cost), tt.fit(priced, **goal, **options)
            assert decides(policy, trace) == decides(fitted, trace)
            assert policy.describe()["rule"] == fitted.describe()["rule"]
            assert policy.value == fitted.value
            assert policy.report == fitted.report
            assert policy.provenance["cost"] == "4.0,0.0,1.0,30.0"
            assert policy.provenance["trace"] == trace.digest
        # Earlier prices leave no trace.
        assert calibration.policy(tradeoff=0.7).to_bytes() == tt.fit(trace, tradeoff=0.7, **options).to_bytes()


def test_threads_share_a_calibration() -> None:
    trace = make_trace(n=600, k=3)
    prices = [None, [1.0, 1.0, 1.0], [5.0, 1.0, 20.0]]
    jobs = [(tradeoff, cost) for tradeoff in np.linspace(0.3, 0.99, 8) for cost in prices]
    alone = tt.calibrate(trace)
    expected = [alone.policy(tradeoff=tradeoff, cost=cost).to_bytes() for tradeoff, cost in jobs]
    shared = tt.calibrate(trace)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda job: shared.policy(tradeoff=job[0], cost=job[1]).to_bytes(), jobs))
    assert found == expected


def _in_child(calibration: tt.Calibration, policy: tt.Policy, out: Any) -> None:
    out.put((calibration.policy(tradeoff=0.9).to_bytes(), policy.repriced([1.0, 9.0, 9.0]).to_bytes()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_calibrates_anew() -> None:
    trace = make_trace(n=400, k=3)
    calibration = tt.calibrate(trace)
    policy = calibration.policy(tradeoff=0.9)
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    child = context.Process(target=_in_child, args=(calibration, policy, out))
    child.start()
    found = out.get(timeout=60)
    child.join(60)
    assert found == (policy.to_bytes(), policy.repriced([1.0, 9.0, 9.0]).to_bytes())


def test_what_a_calibration_says_of_itself() -> None:
    trace = make_trace(n=400, k=3)
    calibration = tt.calibrate(trace)
    assert (calibration.stages, calibration.n) == (trace.stages, 400)
    assert np.array_equal(calibration.cost, trace.mean_cost)
    assert repr(calibration) == "Calibration(n=400, stages=[stage 0, stage 1, stage 2])"
    with pytest.raises(TypeError):
        pickle.dumps(calibration)


def test_bad_input() -> None:
    trace = make_trace(n=400, k=3)
    for bad in BAD_OPTIONS:
        with pytest.raises(tt.ValidationError, match=f"`{next(iter(bad))}"):
            tt.calibrate(trace, **bad)
    with pytest.raises(tt.ValidationError, match="`trace` must be a Trace, got list"):
        tt.calibrate([])  # type: ignore[arg-type]
    calibration = tt.calibrate(trace)
    with pytest.raises(tt.ValidationError, match=r"exactly one of .* got none"):
        calibration.policy()
    with pytest.raises(tt.ValidationError, match=r"exactly one of .* got `tradeoff` and `max_cost`"):
        calibration.policy(tradeoff=0.5, max_cost=1.0)
    with pytest.raises(tt.ValidationError, match=r"`max_cost` of 0\.0 cannot be met"):
        calibration.policy(max_cost=0.0)
    for name, value in BAD_GOALS:
        goal: dict[str, Any] = {} if name.startswith(("trade", "max")) else {"tradeoff": 0.5}
        with pytest.raises(tt.ValidationError, match=f"`{name}`"):
            calibration.policy(**goal, **{name: value})
    for cost, message in BAD_PRICES:
        with pytest.raises(tt.ValidationError, match=message):
            calibration.policy(tradeoff=0.5, cost=cost)


def test_warnings_are_those_of_a_fit() -> None:
    few = make_trace(n=40, k=3)
    with pytest.warns(tt.CalibrationWarning, match="`trace` has 40 rows"):
        tt.calibrate(few)
    rng = np.random.default_rng(0)
    noise = tt.Trace(rng.random((400, 2)), rng.random((400, 2)) < 0.3, [1.0, 2.0], kind="models")
    with pytest.warns(tt.CalibrationWarning, match="no rule is better than one stage"):
        tt.calibrate(noise).policy(tradeoff=0.5)
    with pytest.warns(tt.CalibrationWarning, match="runs nothing and never answers"):
        tt.calibrate(few, default_loss=0.0).policy(tradeoff=0.5)
