from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ttamer_fast._core import ValidationError, estimate
from ttamer_fast.evaluation import intervals


@pytest.mark.parametrize("freedom", [1.0, 1.3, 2.0, 2.5, 3.0, 4.0, 7.0, 11.7, 30.0, 299.0, 1e4, 1e6, 1e7])
def test_student_quantiles(freedom: float) -> None:
    assert intervals.student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-6)


def test_student_quantiles_of_every_small_sample() -> None:
    for freedom in range(2, 200):
        assert intervals.student_quantile(float(freedom)) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-10)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.99, 0.999])
def test_student_quantiles_of_other_levels(level: float) -> None:
    for freedom in (1.0, 2.5, 9.0, 200.0, 1e5):
        expected = stats.t.ppf(0.5 + 0.5 * level, freedom)
        assert intervals.student_quantile(freedom, level) == pytest.approx(expected, rel=1e-6)


def test_standard_errors() -> None:
    values = np.random.default_rng(0).random(40)
    plain = estimate(values).standard_error
    assert plain == pytest.approx(values.std(ddof=1) / np.sqrt(40), rel=1e-12)
    assert estimate(values, np.full(40, 1e308)).standard_error == plain
    assert estimate(values[:1]).standard_error == np.inf
    counted = np.repeat([1.0, 0.0], [30, 10])
    assert estimate(values, counted).standard_error == pytest.approx(estimate(values[:30]).standard_error)
    assert estimate(values, counted).size == pytest.approx(30.0)


@pytest.mark.parametrize("n", [1, 2, 10, 300])
def test_wilson_intervals(n: int) -> None:
    for wrong in {0, 1, n // 2, n - 1, n}:
        values = np.repeat([2.0, 0.0], [wrong, n - wrong])
        low, high = intervals.mean_interval(estimate(values), 0.0, 2.0, two_valued=True)
        expected = stats.binomtest(wrong, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((2.0 * expected.low, 2.0 * expected.high), abs=1e-12)
        assert -1e-15 <= low <= values.mean() <= high <= 2.0 + 1e-15


@pytest.mark.parametrize(
    ("wrong", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_published_wilson_intervals(wrong: int, n: int, low: float, high: float) -> None:
    """Newcombe (1998), table I, method 3."""
    found = intervals.share_interval(estimate(np.repeat([1.0, 0.0], [wrong, n - wrong])), independent=True)
    assert found == pytest.approx((low, high), abs=5e-5)


def test_ends_are_as_many_standard_errors_away_as_they_say() -> None:
    """The standard error at an end is that of values of which some are moved to the edge."""
    values = np.random.default_rng(0).gamma(0.3, size=60)
    edges = (0.0, 10.0)
    ends = intervals.mean_interval(estimate(values), *edges)
    for end, edge in zip(ends, edges, strict=True):
        share = (end - values.mean()) / (edge - values.mean())
        assert 0.0 < share < 1.0
        second = (1.0 - share) * (values.var(ddof=1) + values.mean() ** 2) + share * edge**2
        error = np.sqrt((second - end**2) / 60)
        assert abs(end - values.mean()) == pytest.approx(stats.t.ppf(0.975, 59) * error, rel=1e-9)


def test_many_values_that_are_not_skewed_have_students_interval() -> None:
    values = np.random.default_rng(0).random(100_000)
    found = intervals.mean_interval(estimate(values), 0.0, 1.0)
    half = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03 * half)


def test_intervals_of_next_to_nothing() -> None:
    assert intervals.mean_interval(estimate(np.array([3.0])), 0.0, 9.0) == (-np.inf, np.inf)
    assert intervals.share_interval(estimate(np.array([1.0])), independent=False) == (0.0, 1.0)
    assert intervals.mean_interval(estimate(np.full(7, 3.0)), 3.0, 3.0) == (3.0, 3.0)
    low, high = intervals.mean_interval(estimate(np.full(300, 3.0)), 0.0, 9.0)
    assert 2.9 < low < 3.0 < high < 3.2


def test_rows_of_one_unit_count_once() -> None:
    values = np.random.default_rng(0).random(50)
    unit = np.repeat(np.arange(50), 6)
    once, often = estimate(values), estimate(np.repeat(values, 6), None, unit)
    assert (often.mean, often.standard_error, often.size) == pytest.approx((once.mean, once.standard_error, once.size))
    weight = np.random.default_rng(1).random(50)
    weighted, split = estimate(values, weight), estimate(np.repeat(values, 6), np.repeat(weight, 6), unit)
    assert (split.mean, split.standard_error) == pytest.approx((weighted.mean, weighted.standard_error))
    with pytest.raises(ValidationError, match=r"`unit` must have shape \(50,\), got \(300,\)"):
        estimate(values, None, unit)


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_errors_of_cross_validation(folds: int) -> None:
    """Nadeau and Bengio's 1 / k + rows held back / rows learned from, where independent folds have 1 / k."""
    found = estimate(np.random.default_rng(0).random(folds * 12))
    ratio = (1.0 / folds + 12.0 / (12.0 * (folds - 1))) / (1.0 / folds)
    assert intervals.cross_validated_error(found, folds) == pytest.approx(found.standard_error * np.sqrt(ratio))
