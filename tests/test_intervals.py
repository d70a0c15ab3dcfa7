from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ttamer_fast._core import estimate
from ttamer_fast.evaluation import intervals


@pytest.mark.parametrize("freedom", [1.0, 1.3, 2.0, 2.5, 3.0, 4.0, 7.0, 11.7, 30.0, 299.0, 1e4, 1e6, 1e7])
def test_student_quantiles(freedom: float) -> None:
    assert intervals.student_95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-6)


def test_student_quantiles_of_every_small_sample() -> None:
    for freedom in range(2, 200):
        assert intervals.student_95(float(freedom)) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-10)


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
        low, high = intervals.two_valued_interval(estimate(values), 2.0)
        expected = stats.binomtest(wrong, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((2.0 * expected.low, 2.0 * expected.high), abs=1e-12)
        assert 0.0 <= low <= values.mean() <= high <= 2.0
