"""`policy.repriced(cost)`: the same beliefs under other prices, decided anew."""

from __future__ import annotations

import copy
import gc
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from censored_logs import log_of
from children import in_another_process
from conftest import make_trace
from test_calibration import BAD_PRICES, decides, timed, varied, with_costs

pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")

DEARER = [1.0, 2.0, 6.0, 40.0]
GOALS: list[dict[str, Any]] = [
    {"tradeoff": 0.9},
    {"tradeoff": 0.3, "recall": True},
    {"max_cost": 5.0},
    {"max_loss": 0.3, "seed": 5},
]


def at_prices(tradeoff: float, before: Any, now: Any) -> float:
    """λ at which a loss is worth as much of the unit of costs as before."""
    worth = (1 - tradeoff) / (tradeoff * float(np.sum(before)))
    return 1 / (1 + worth * float(np.sum(now)))


@pytest.mark.parametrize("kind", ["models", "exits"])
@pytest.mark.parametrize("goal", GOALS)
def test_the_same_prices_give_the_same_decisions(kind: str, goal: dict[str, Any]) -> None:
    trace = make_trace(n=1000, kind=kind)
    for policy in (tt.fit(trace, **goal), tt.calibrate(trace).policy(**goal)):
        same = policy.repriced(trace.cost)
        assert same.describe()["rule"] == policy.describe()["rule"]
        assert decides(same, trace) == decides(policy, trace)
        assert (same.value, same.report) == (policy.value, policy.report)
        known = dict(same.provenance)
        assert known.pop("repriced_from") == policy.digest
        assert known.pop("cost") == ",".join(map(repr, trace.cost.tolist()))
        assert known == policy.provenance


@pytest.mark.parametrize("options", [{}, {"deadline": True}, {"default_loss": 0.25, "order": [0, 1, 3]}])
@pytest.mark.parametrize("kind", ["models", "exits"])
def test_other_prices_decide_as_a_fit_to_them(kind: str, options: dict[str, Any]) -> None:
    trace = timed(make_trace(n=800, kind=kind))
    priced = with_costs(trace, DEARER)
    for goal in GOALS:
        policy = tt.fit(trace, **goal, **options).repriced(DEARER)
        if "tradeoff" in goal:
            goal = goal | {"tradeoff": at_prices(goal["tradeoff"], trace.cost, DEARER)}
            assert float(policy.provenance["tradeoff"]) == pytest.approx(goal["tradeoff"], rel=1e-12)
            goal["tradeoff"] = float(policy.provenance["tradeoff"])
        fitted = tt.fit(priced, **goal, **options)
        assert policy.describe()["rule"] == fitted.describe()["rule"]
        assert decides(policy, trace) == decides(fitted, trace)
        assert policy.provenance["goal"] == fitted.provenance["goal"]
        assert policy.provenance["trace"] == trace.digest


def test_prices_of_prices() -> None:
    trace = make_trace(n=800)
    policy = tt.fit(trace, tradeoff=0.9)
    dearer = policy.repriced(DEARER)
    back = dearer.repriced(trace.cost)
    assert float(back.provenance["tradeoff"]) == pytest.approx(0.9, rel=1e-12)
    assert decides(back, trace) == decides(policy, trace)
    assert back.provenance["repriced_from"] == dearer.digest
    assert list(back.provenance) == list(dearer.provenance)
    ends = [tt.fit(trace, tradeoff=tradeoff).repriced(DEARER).provenance["tradeoff"] for tradeoff in (0.0, 1.0)]
    assert ends == ["0.0", "1.0"]


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_a_dearer_stage_is_asked_less_often(kind: str) -> None:
    trace = make_trace(n=3000, kind=kind)
    policy = tt.fit(trace, tradeoff=0.9)
    shares = []
    for factor in (0.25, 1.0, 4.0, 16.0, 64.0):
        cost = trace.cost * [1.0, 1.0, 1.0, factor]
        shares.append(policy.repriced(cost).replay(trace.signal, trace.prediction).consulted[:, 3].mean())
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1] + 0.1


def test_costs_by_row_and_weights() -> None:
    trace = varied(make_trace(n=900))
    policy = tt.fit(trace, tradeoff=0.9)
    priced = with_costs(trace, DEARER).weighted(trace.weight)
    policy = policy.repriced(DEARER)
    tradeoff = float(policy.provenance["tradeoff"])
    assert tradeoff == pytest.approx(at_prices(0.9, trace.mean_cost, DEARER), rel=1e-9)
    assert decides(policy, trace) == decides(tt.fit(priced, tradeoff=tradeoff), trace)


def test_logs() -> None:
    served = tt.baselines.stage_thresholds(make_trace(n=500, seed=7), 0.9)
    log = log_of(make_trace(n=2000, seed=1), served).trace
    policy = tt.fit(log, tradeoff=0.9)
    assert decides(policy.repriced(log.cost), log) == decides(policy, log)
    dearer = policy.repriced(DEARER)
    assert dearer.provenance["run_through"] == policy.provenance["run_through"]
    tradeoff = float(dearer.provenance["tradeoff"])
    assert decides(dearer, log) == decides(tt.fit(with_costs(log, DEARER), tradeoff=tradeoff), log)


@pytest.mark.parametrize("name", list(tt.baselines.ALL))
def test_baselines_are_tuned_anew(name: str) -> None:
    trace = make_trace(n=800)
    policy = tt.baselines.ALL[name](trace, 0.9)
    assert decides(policy.repriced(trace.cost), trace) == decides(policy, trace)
    dearer = policy.repriced(DEARER)
    tradeoff = float(dearer.provenance["tradeoff"])
    assert decides(dearer, trace) == decides(tt.baselines.ALL[name](with_costs(trace, DEARER), tradeoff), trace)
    assert dearer.method == name


def test_of_many_rows_a_sample_is_kept() -> None:
    trace, test = make_trace(n=24_000, k=3), make_trace(n=20_000, k=3, seed=9)
    calibration = tt.calibrate(trace)
    policy = calibration.policy(tradeoff=0.9)
    cost = [1.0, 2.0, 30.0]
    repriced = policy.repriced(cost)
    assert repriced.provenance["repriced_rows"] == "20000"
    assert repriced.provenance["rows"] == "24000"
    # The calibration knows more rows; what is decided does not depend on whether it still lives.
    del calibration
    assert policy.repriced(cost).to_bytes() == repriced.to_bytes()
    assert list(repriced.repriced(cost).provenance).count("repriced_rows") == 1
    tradeoff = float(repriced.provenance["tradeoff"])
    fitted = tt.fit(with_costs(trace, cost), tradeoff=tradeoff)
    worth = [tt.evaluate(one, with_costs(test, cost), tradeoff).objective for one in (repriced, fitted)]
    assert worth[0] == pytest.approx(worth[1], rel=0.01)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux for the memory of the process")
def test_a_policy_does_not_keep_a_large_trace() -> None:
    # A process of its own: what others have left in memory is used again, or not.
    grown, repriced_rows = in_another_process(resident_with_policies, 8)
    tables = 3 * 200_000 * 8 * 8 / 2**20
    assert (grown[-1] - grown[3]) / 4 < 0.5 * tables
    assert repriced_rows == "20000"


def resident_with_policies(count: int) -> tuple[list[float], str]:
    """MiB of the process after each policy of a large trace, and what one says of the rows that it kept."""
    # What was freed is used again, so that what grows with each trace is what its policy keeps.
    policies, grown = [], []
    for seed in range(count):
        policies.append(tt.baselines.static(make_trace(n=200_000, k=8, seed=seed), 0.9))
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        grown.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
    return grown, policies[0].repriced(np.ones(8)).provenance["repriced_rows"]


def test_summaries_are_at_the_prices_of_the_policy() -> None:
    trace = make_trace(n=600, k=3)
    cost = [2.0, 1.0, 20.0]
    repriced = tt.fit(trace, tradeoff=0.9).repriced(cost)
    priced = with_costs(trace, cost)
    fitted = tt.fit(priced, tradeoff=float(repriced.provenance["tradeoff"]))
    assert tt.summarize(repriced, trace) == tt.summarize(fitted, priced)


def test_handles_do_not_travel(tmp_path: Path) -> None:
    trace = make_trace(n=400, k=3)
    policy = tt.fit(trace, tradeoff=0.9)
    cost = trace.cost * [1.0, 1.0, 5.0]
    size = len(pickle.dumps(policy))
    repriced = policy.repriced(cost)
    assert len(pickle.dumps(policy)) == size
    policy.save(tmp_path / "a.policy")
    travelled = (
        tt.load(tmp_path / "a.policy"),
        tt.Policy.from_bytes(policy.to_bytes()),
        pickle.loads(pickle.dumps(policy)),
        pickle.loads(pickle.dumps(repriced)),
    )
    for other in travelled:
        with pytest.raises(tt.ValidationError, match="fit or calibrate in this process, and reprice there"):
            other.repriced(cost)
    assert copy.copy(policy).repriced(cost) == copy.deepcopy(policy).repriced(cost) == repriced


def test_policies_without_rows_say_so() -> None:
    trace = make_trace(n=400, k=3)
    certified = tt.fit_certified(trace, max_loss=0.9)
    with pytest.raises(tt.ValidationError, match="certified policies do not have"):
        certified.repriced(trace.cost)
    model = tt.Model.line([[0.1, 0.9], [0.3]], [0.05, 0.1], [[[0.5, 0.5]], [[1.0], [1.0]]])
    with pytest.raises(tt.ValidationError, match="solve the model with other costs"):
        tt.solve(model).repriced([1.0, 1.0])


def test_threads_share_what_is_kept() -> None:
    trace = make_trace(n=500, k=3)
    prices = [[1.0, 2.0, float(last)] for last in range(1, 13)]
    alone = [tt.fit(trace, tradeoff=0.9).repriced(cost).to_bytes() for cost in prices]
    policy = tt.fit(trace, tradeoff=0.9)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda cost: policy.repriced(cost).to_bytes(), prices)) == alone


def test_bad_input() -> None:
    trace = make_trace(n=400, k=3)
    policy, bounded = tt.fit(trace, tradeoff=0.9), tt.fit(trace, max_loss=0.4)
    for cost, message in BAD_PRICES:
        for one in (policy, bounded):
            with pytest.raises(tt.ValidationError, match=message):
                one.repriced(cost)
    with pytest.raises(tt.ValidationError, match=r"`cost` must have a positive entry, .* got zeros only"):
        policy.repriced(np.zeros(3))
    # Whoever has a budget for the loss pays nothing then.
    free = bounded.repriced(np.zeros(3))
    assert not free.replay(trace.signal, trace.prediction).cost.any()
    with pytest.raises(tt.ValidationError, match="where every stage was free"):
        tt.fit(with_costs(trace, np.zeros(3)), tradeoff=0.9).repriced([1.0, 1.0, 1.0])
    cheap = tt.fit(trace, max_cost=1.5)
    with pytest.raises(tt.ValidationError, match=r"`max_cost` of 1\.5 cannot be met on this trace"):
        cheap.repriced([2.0, 3.0, 4.0])
