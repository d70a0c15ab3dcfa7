"""One outcome: what a policy is worth and what judging it says are one number, also where costs vary by row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast import _core
from ttamer_fast._core import estimate

FITS: dict[str, Callable[[tt.Trace], tt.Policy]] = {
    "fit": lambda trace: tt.fit(trace, tradeoff=0.9),
    "no recall": lambda trace: tt.fit(trace, tradeoff=0.9, recall=False),
    "skip": lambda trace: tt.fit(trace, tradeoff=0.9, graph="skip"),
    "max_cost": lambda trace: tt.fit(trace, max_cost=0.4 * trace.full_cost),
    "max_loss": lambda trace: tt.fit(trace, max_loss="last+0.05"),
    **{name: lambda trace, rule=rule: rule(trace, 0.9) for name, rule in tt.baselines.ALL.items()},  # type: ignore[misc]
}


def hard_ones_dearer(n: int = 1000, seed: int = 0, kind: str = "models", weighted: bool = False) -> tt.Trace:
    """Requests that cost more the less sure the first stage is."""
    plain = make_trace(n=n, seed=seed, kind=kind)
    cost = plain.cost * (0.2 + 3.0 * (1.0 - plain.signal[:, :1])) * np.linspace(0.5, 1.5, n)[:, None]
    weight = np.random.default_rng(seed).random(n) if weighted else None
    return tt.Trace(plain.signal, plain.loss, cost, plain.prediction, kind=kind, weight=weight)


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize("kind", ["models", "exits"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_value_is_the_objective_on_the_trace_to_the_last_bit(name: str, kind: str, weighted: bool) -> None:
    trace = hard_ones_dearer(kind=kind, weighted=weighted)
    policy = FITS[name](trace)
    found = tt.evaluate(policy, trace)
    assert policy.value == found.objective
    tradeoff = float(policy.provenance["tradeoff"])
    expected = tradeoff * found.loss + (1.0 - tradeoff) * found.cost / trace.full_cost
    assert found.objective == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_budgets_are_in_the_currency_of_the_rows(kind: str) -> None:
    trace = hard_ones_dearer(n=2000, kind=kind)
    for share in (0.15, 0.2, 0.25):
        budget = share * trace.full_cost
        assert 0.9 * budget < tt.evaluate(tt.fit(trace, max_cost=budget), trace).cost <= budget


def test_what_each_row_costs_is_made_use_of() -> None:
    """On fresh requests a fit that knows the cost of each row is better than one that knows their means."""
    ratios = []
    for seed in range(4):
        trace, fresh = hard_ones_dearer(6000, seed), hard_ones_dearer(20_000, seed + 100)
        alike = tt.Trace(trace.signal, trace.loss, trace.mean_cost, trace.prediction, kind="models")
        values = [tt.evaluate(tt.fit(one, tradeoff=0.8), fresh, tradeoff=0.8).objective for one in (trace, alike)]
        ratios.append(values[0] / values[1])
    assert np.max(ratios) <= 1.0
    assert np.mean(ratios) < 0.995


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=700))
def test_means_are_those_of_numpy_to_the_last_bit(values: list[float]) -> None:
    array = np.array(values)
    found = estimate(array)
    assert found.mean == array.mean()
    assert found.size == len(values)
    if len(values) > 1:
        assert found.standard_error == pytest.approx(array.std(ddof=1) / np.sqrt(len(values)), rel=1e-9, abs=1e-9)


def test_weights_of_a_mean_are_checked() -> None:
    with pytest.raises(tt.ValidationError, match="`weight` must have shape"):
        estimate(np.ones(3), np.ones(2))


def test_an_outcome_is_read_only_and_outlives_its_trace() -> None:
    found = _core.Outcome.of_stage(make_trace(n=5, k=3).core, 1)
    arrays = [found.answer, found.last, found.consulted, found.loss, found.cost]
    assert found.consulted.shape == (5, 3)
    assert found.answer.tolist() == [1] * 5
    del found
    assert all(not array.flags.writeable for array in arrays)
    assert arrays[0].tolist() == [1] * 5
    with pytest.raises(tt.ValidationError, match=r"`stage` entry 0 must be in 0\.\.3, got 3"):
        _core.Outcome.of_stage(make_trace(n=5, k=3).core, 3)
    with pytest.raises(tt.ValidationError, match="`pieces`"):
        _core.Outcome.joined([])


def test_constants_of_learning_can_be_varied() -> None:
    trace = make_trace(n=600)
    plain = _core.Learner(trace.core).policy(0.9)
    assert _core.Learner(trace.core, tuning={}).policy(0.9) == plain
    assert _core.Learner(trace.core, tuning={"ridge_models": 5.0}).policy(0.9) == plain
    assert _core.Learner(trace.core, tuning={"ridge_models": 500.0}).policy(0.9) != plain
    for tuning, message in (
        ({"ridge": 1.0}, "`tuning` is not valid: unknown field `ridge`"),
        ({"folds": 0}, "`tuning` folds must be in 2"),
        ({"belief_cells": 1.5}, "`tuning` is not valid"),
    ):
        with pytest.raises(tt.ValidationError) as raised:
            _core.Learner(trace.core, tuning=tuning)
        assert str(raised.value).startswith(message)
