"""Losses of any kind: what one row, a unit, a constant, a permutation or a row that does not count may change."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast._utils.arrays import Floats, Ints
from ttamer_fast._utils.warnings import HeavyTailWarning

FRESH = make_trace(n=4000, seed=77)
N = 1500


def with_losses(loss: Floats, seed: int = 0, rows: slice | Ints = slice(None)) -> tt.Trace:
    made = make_trace(n=len(loss), seed=seed)
    trace = tt.Trace(made.signal, loss, made.cost, prediction=made.prediction, kind=made.kind)
    return trace.rows(rows)


def wrong(seed: int = 0) -> Floats:
    return make_trace(n=N, seed=seed).loss.copy()


def objective(policy: tt.Policy) -> float:
    """On other requests, whose losses are 0 and 1."""
    return tt.evaluate(policy, FRESH, tradeoff=0.9).objective


def decisions(policy: tt.Policy) -> Floats:
    found = policy.replay(FRESH.signal, FRESH.prediction)
    return np.column_stack([found.answer, found.consulted])


def share_differing(one: tt.Policy, other: tt.Policy) -> float:
    return float((decisions(one) != decisions(other)).any(axis=1).mean())


@pytest.mark.parametrize("huge", [3.0, 100.0, 1e12])
def test_what_one_row_loses_at_every_stage_is_no_reason(huge: float) -> None:
    loss = wrong()
    loss[17] = 1.0
    plain = tt.fit(with_losses(loss), tradeoff=0.9)
    loss[17] = huge
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HeavyTailWarning)
        outlier = tt.fit(with_losses(loss), tradeoff=0.9)
    if huge < 1e6:
        assert share_differing(plain, outlier) == 0.0
    assert objective(outlier) < 1.01 * objective(plain)


@pytest.mark.parametrize("unit", [2.0**-40, 0.1, 8.0, 1e9])
def test_the_unit_of_the_loss_changes_no_decision(unit: float) -> None:
    """Other units of the loss, with the trade-off that stands for the same price, decide alike."""
    loss = wrong() * np.random.default_rng(1).choice([0.5, 1.0, 3.0], (N, 1))
    plain = tt.fit(with_losses(loss), tradeoff=0.9)
    scaled = tt.fit(with_losses(loss * unit), tradeoff=0.9 / (0.9 + unit * 0.1))
    assert share_differing(plain, scaled) < 0.001


@pytest.mark.rates
def test_severities_that_nothing_tells_cost_little() -> None:
    """As good as a fit to right and wrong at the mean severity."""
    ratios, tradeoff = [], 0.9 * 1.4 / (0.9 * 1.4 + 0.1)
    for seed in range(4):
        loss = wrong(seed)
        severity = np.where(np.random.default_rng(seed).random((N, 1)) < 0.1, 5.0, 1.0)
        plain = tt.fit(with_losses(loss, seed), tradeoff=tradeoff)
        graded = tt.fit(with_losses(loss * severity, seed), tradeoff=0.9)
        with_severity, without = (tt.evaluate(policy, FRESH, tradeoff=tradeoff).objective for policy in (graded, plain))
        ratios.append(with_severity / without)
    assert np.mean(ratios) < 1.01


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_severities_that_nothing_tells_are_no_reason(seed: int) -> None:
    """Decisions are those of right and wrong at the mean severity of a mistake."""
    loss = wrong(seed)
    severe = loss * np.where(np.random.default_rng(seed).random((N, 1)) < 0.05, 20.0, 1.0)
    price = 0.9 * severe.sum() / loss.sum()
    plain = tt.fit(with_losses(loss, seed), tradeoff=price / (price + 0.1), recall=True)
    assert share_differing(plain, tt.fit(with_losses(severe, seed), tradeoff=0.9, recall=True)) < 0.001


def test_severities_that_a_prediction_tells_are_used() -> None:
    """A wrong answer 0 is ten times as bad as any other."""
    made = make_trace(n=6000, seed=5)
    rng = np.random.default_rng(5)
    said = rng.integers(0, 2, (6000, 1)) + np.zeros((1, made.k), int)
    loss = made.loss * np.where(said == 0, 10.0, 1.0)
    train, test = tt.Trace(made.signal, loss, made.cost, prediction=said, kind="models").split()
    policy = tt.fit(train, tradeoff=0.5)
    found = policy.replay(test.signal, test.prediction)
    assert test.prediction is not None
    severe = test.prediction[:, 0] == 0
    assert found.cost[severe].mean() > 1.3 * found.cost[~severe].mean()


def test_the_order_of_the_rows_hardly_matters() -> None:
    loss = wrong()
    shuffled = np.random.default_rng(2).permutation(N)
    plain = tt.fit(with_losses(loss), tradeoff=0.9, recall=True)
    assert share_differing(plain, tt.fit(with_losses(loss, rows=shuffled), tradeoff=0.9, recall=True)) < 0.02


@pytest.mark.parametrize("goal", [{"tradeoff": 0.9}, {"max_cost": 5.0}, {"max_loss": 0.3}])
def test_rows_of_weight_0_are_not_there(goal: dict[str, Any]) -> None:
    made = make_trace(n=N)
    kept = np.random.default_rng(3).random(N) < 0.5
    weighted = tt.fit(made.weighted(kept.astype(float)), **goal)
    assert share_differing(weighted, tt.fit(made.rows(kept), **goal)) == 0.0


def test_heavy_tails_are_said() -> None:
    loss = wrong()
    loss[3, 1] = 1e6
    with (
        pytest.warns(tt.CalibrationWarning, match="no rule is better than one stage for all requests"),
        pytest.warns(
            HeavyTailWarning, match=r"`trace` has 1 of 1500 rows with a loss above 1 that make up 100% of all"
        ),
    ):
        tt.fit(with_losses(loss), tradeoff=0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tt.fit(with_losses(wrong()), tradeoff=0.9)
        tt.fit(with_losses(np.random.default_rng(0).exponential(size=(N, 4))), tradeoff=0.9)
