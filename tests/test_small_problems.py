"""The fit of many rows against the exact optimum of problems that can be enumerated."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import enumerable
import ttamer_fast as tt
from enumerable import Problem

# One stage may well be the best rule there is.
pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")

ROWS = 100_000
TRADEOFFS = (0.70, 0.87, 0.95, 0.985)
FAMILIES: dict[str, Callable[[int], Problem]] = {
    "near misses": lambda _: enumerable.near_misses(),
    "independent": enumerable.random_independent,
    "difficulty": enumerable.random_difficulty,
    "probe": lambda seed: enumerable.random_difficulty(seed, k=4, probe=True),
}


def ratios(problem: Problem, rows: int, seed: int) -> list[float]:
    """What the fit pays over what is possible, by trade-off."""
    calibration = tt.calibrate(problem.drawn(rows, seed))
    found = []
    for tradeoff in TRADEOFFS:
        paid, least = problem.paid(calibration.policy(tradeoff=tradeoff), tradeoff), problem.least(tradeoff)
        assert paid >= least - 1e-12
        found.append(paid / least)
    return found


@pytest.mark.rates
@pytest.mark.parametrize("family", FAMILIES)
def test_many_rows_come_within_a_hundredth_of_the_optimum(family: str) -> None:
    found = [ratio for seed in range(3) for ratio in ratios(FAMILIES[family](seed), ROWS, seed)]
    assert max(found) < 1.01, found
    assert math.exp(np.mean(np.log(found))) < 1.002


def test_the_optimum_is_that_of_the_solver() -> None:
    problem = enumerable.random_independent(5)
    tradeoff = 0.9
    price = (1 - tradeoff) * problem.cost / problem.cost.sum()
    high = [problem.chance[problem.signals[:, v] > 0].sum() for v in range(3)]
    loss = [tradeoff * np.array([problem.loss[problem.signals[:, v] == s][0, v] for s in (0, 1)]) for v in range(3)]
    model = tt.Model.tree([-1] * 3, loss, price, [np.array([[1 - p, p]]) for p in high])
    assert math.isclose(tt.solve(model).value, problem.least(tradeoff), rel_tol=1e-12)


def test_few_values_are_no_worse_with_more_rows() -> None:
    """Beyond 65,536 rows cells come from a sample: equal beliefs must not lie in one cell among empty ones."""
    problem = enumerable.near_misses()
    few, many = ratios(problem, 60_000, 1), ratios(problem, 70_000, 1)
    assert max(few) < 1.01 > max(many), (few, many)
