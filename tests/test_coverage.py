"""Intervals hold the truth as often as they say: seeded draws against exact binomial bounds."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast._core import estimate
from ttamer_fast.evaluation import cross_validation as cv
from ttamer_fast.traces import outcome

pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")

DRAWS = 400
PROMISE = 0.92
SURE = 1e-3
"""Chance that an interval that holds its promise fails a test."""


def falls_short(holds: int, draws: int, promise: float = PROMISE) -> bool:
    """Whether so few would be a surprise if the promise were kept."""
    return bool(stats.binomtest(holds, draws, promise, alternative="less").pvalue < SURE)


def student(values: np.ndarray) -> tuple[float, float]:
    found = estimate(values)
    half = stats.t.ppf(0.975, len(values) - 1) * found.standard_error
    return found.mean - half, found.mean + half


def requests(rng: np.random.Generator, n: int, errors: float = 0.02) -> tt.Trace:
    """A cheap and a dear model that are seldom wrong and know it."""
    easy = np.log(1.0 / errors - 1.0) - 1.5 * rng.normal(size=(n, 1)) + np.array([0.0, 1.0])
    signal = 1.0 / (1.0 + np.exp(-easy - 0.5 * rng.normal(size=(n, 2))))
    return tt.Trace(signal, rng.random((n, 2)) > signal, [1.0, 9.0], kind="models")


def severe(rng: np.random.Generator, n: int) -> tt.Trace:
    plain = requests(rng, n, 0.1)
    severity = np.where(rng.random((n, 1)) < 0.05, 9.0, 1.0)
    return tt.Trace(plain.signal, plain.loss * severity, plain.cost, kind="models")


def in_groups(rng: np.random.Generator, n: int) -> tt.Trace:
    """Five requests of a session are right or wrong together."""
    sessions = requests(rng, n // 5, 0.2)
    group = np.repeat(np.arange(n // 5), 5)
    noise = 1e-3 * rng.random((n, 2))
    return tt.Trace(sessions.signal[group] + noise, sessions.loss[group], [1.0, 9.0], kind="models", group=group)


def again(rng: np.random.Generator, n: int) -> tt.Trace:
    """Every request five times, which no group says."""
    return requests(rng, n // 5, 0.2).rows(np.repeat(np.arange(n // 5), 5))


@pytest.mark.rates
@pytest.mark.parametrize("draw", [requests, severe, in_groups, again])
def test_intervals_of_small_samples(draw: Callable[[np.random.Generator, int], tt.Trace]) -> None:
    policy = tt.fit(draw(np.random.default_rng(0), 3000), tradeoff=0.95)
    whole = tt.evaluate(policy, draw(np.random.default_rng(1), 200_000))
    rng, names = np.random.default_rng(2), ("loss", "cost", "objective")
    holds, by_student = dict.fromkeys(names, 0), 0
    for _ in range(DRAWS):
        trace = draw(rng, 50)
        result = tt.evaluate(policy, trace)
        for name in names:
            low, high = getattr(result, f"{name}_ci")
            holds[name] += low <= getattr(whole, name) <= high
            assert high - low < 50.0
        low, high = student(outcome.objective(outcome.of_policy(policy, trace), 0.95, trace))
        by_student += low <= whole.objective <= high
    assert not any(falls_short(count, DRAWS) for count in holds.values()), holds
    assert falls_short(by_student, DRAWS)


@pytest.mark.rates
@pytest.mark.parametrize("n", [50, 300])
def test_shares_of_stages(n: int) -> None:
    policy = tt.fit(requests(np.random.default_rng(0), 3000), tradeoff=0.95)
    whole = tt.evaluate(policy, requests(np.random.default_rng(1), 200_000))
    rng, holds = np.random.default_rng(2), np.zeros(2)
    for _ in range(DRAWS):
        low, high = tt.evaluate(policy, requests(rng, n)).answer_share_ci.T
        holds += (low <= whole.answer_share) & (whole.answer_share <= high)
    assert not any(falls_short(int(count), DRAWS) for count in holds)


@pytest.mark.rates
def test_errors_of_groups_are_not_those_of_rows() -> None:
    """Intervals that took the rows of a session for independent requests would hold the truth too seldom."""
    policy = tt.fit(in_groups(np.random.default_rng(0), 3000), tradeoff=0.95)
    truth = tt.evaluate(policy, in_groups(np.random.default_rng(1), 200_000)).loss
    rng, holds, by_row = np.random.default_rng(2), 0, 0
    for _ in range(DRAWS):
        trace = in_groups(rng, 300)
        low, high = tt.evaluate(policy, trace).loss_ci
        holds += low <= truth <= high
        rows = tt.Trace(trace.signal, trace.loss, trace.cost, kind="models")
        low, high = tt.evaluate(policy, rows).loss_ci
        by_row += low <= truth <= high
    assert not falls_short(holds, DRAWS)
    assert falls_short(by_row, DRAWS)


def heavy(rng: np.random.Generator, n: int, spread: float) -> tt.Trace:
    plain = requests(rng, n, 0.2)
    return tt.Trace(plain.signal, plain.loss * np.exp(spread * rng.normal(size=(n, 1))), plain.cost, kind="models")


@pytest.mark.rates
def test_heavy_tails_are_said() -> None:
    """Where losses differ by orders of magnitude an interval holds the truth, or says that it may not."""
    policy = tt.fit(heavy(np.random.default_rng(0), 3000, 0.0), tradeoff=0.95)
    truth = tt.evaluate(policy, requests(np.random.default_rng(1), 400_000, 0.2)).loss * np.exp(2.0)
    rng, holds, held_or_said = np.random.default_rng(2), 0, 0
    for _ in range(DRAWS):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = tt.evaluate(policy, heavy(rng, 50, 2.0))
        assert [one.category for one in caught] == [tt.EvaluationWarning] * result.heavy_tailed
        low, high = result.loss_ci
        holds += low <= truth <= high
        held_or_said += low <= truth <= high or result.heavy_tailed
    assert falls_short(holds, DRAWS)
    assert not falls_short(held_or_said, DRAWS, 0.97)


def test_one_huge_loss_or_cost_is_said() -> None:
    plain = requests(np.random.default_rng(0), 400, 0.2)
    policy = tt.fit(plain, tradeoff=0.95)
    assert not tt.evaluate(policy, plain).heavy_tailed
    loss = plain.loss.copy()
    loss[17] = 1000.0
    huge = tt.Trace(plain.signal, loss, plain.cost, kind="models")
    with pytest.warns(tt.EvaluationWarning, match=r"`loss` has a heavy tail: few requests, near 1000, decide"):
        result = tt.evaluate(policy, huge)
    assert result.heavy_tailed
    assert "heavy tail" in str(result)
    with pytest.warns(tt.EvaluationWarning, match="`loss`"):
        assert tt.compare(huge, 0.95, folds=2).heavy_tailed
    with pytest.warns(tt.EvaluationWarning, match="`loss`"):
        tt.frontier(huge, folds=2, tradeoffs=[0.9])
    cost = np.tile(plain.cost, (400, 1))
    cost[17] = 5000.0
    with pytest.warns(tt.EvaluationWarning, match="`cost` has a heavy tail: few requests, near 10000"):
        assert tt.evaluate(policy, tt.Trace(plain.signal, plain.loss, cost, kind="models")).heavy_tailed


@pytest.mark.rates
def test_differences_of_a_comparison() -> None:
    """Within two standard errors of what the rules are worth that are tuned on all rows, on new requests."""
    fresh, draws, lam = make_trace(n=20_000, seed=999), 60, 0.9
    off, off_as_given = [], []
    for seed in range(draws):
        trace = make_trace(n=200, seed=seed)
        result = tt.compare(trace, tradeoff=lam, folds=4, seed=seed)
        rule, best = cv.rules(trace)["fit"], cv.rules(trace)[result.reference]
        whole = cv.Fold(trace, fresh)
        truth = np.mean(
            outcome.objective(rule(whole, lam), lam, fresh) - outcome.objective(best(whole, lam), lam, fresh)
        )
        row = result["fit"]
        plain = np.sqrt(row.difference_se**2 - result.hindsight**2) / np.sqrt(1.0 + 4.0 / 3.0)
        off.append((row.difference - truth) / row.difference_se)
        off_as_given.append((row.difference - truth) / plain)
    within = int((np.abs(off) <= 2.0).sum())
    assert not falls_short(within, draws, 0.95)
    assert falls_short(int((np.abs(off_as_given) <= 2.0).sum()), draws, 0.95)
    assert np.std(off) > 0.5


def test_a_reference_of_the_callers_has_no_hindsight() -> None:
    trace = make_trace(n=300)
    chosen = tt.compare(trace, 0.9, folds=3)
    named = tt.compare(trace, 0.9, folds=3, reference=chosen.reference)
    assert named.hindsight == 0.0 <= chosen.hindsight
    assert named["fit"].difference == chosen["fit"].difference
    assert named["fit"].difference_se <= chosen["fit"].difference_se
