"""Means of bounded values, tested by betting: at whatever time one looks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import ttamer_fast as tt
from ttamer_fast._core import BoundedMean

LOOKS = (1, 2, 4, 7, 12, 20, 35, 60, 100, 170, 300)


def reference(values: np.ndarray, low: float, high: float, m: float) -> float:
    """The capital of the mixture, bet by bet and value by value, as a logarithm."""
    shares = np.geomspace(0.999, 1.0 / 400.0, 32)
    logs = np.log1p(shares[:, np.newaxis] / (high - m) * (m - values)).sum(axis=1)
    return float(np.logaddexp.reduce(logs) - math.log(len(shares)))


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 1000, 20_000])
def test_the_capital_is_that_of_a_mixture_of_bets(n: int) -> None:
    values = np.random.default_rng(n).beta(0.5, 2.0, n) * 3.0 - 1.0
    found = BoundedMean(values, -1.0, 2.0)
    assert len(found) == n
    for m in (-1.0, -0.4, 0.0, 0.5, 1.9):
        assert found.log_capital(m) == pytest.approx(reference(values, -1.0, 2.0, m), rel=1e-9, abs=1e-9)
        below = reference(-values, -2.0, 1.0, -m) if m > -1.0 else None
        assert below is None or found.log_capital_below(m) == pytest.approx(below, rel=1e-9, abs=1e-9)


@pytest.mark.rates
@pytest.mark.parametrize(("rare", "chance"), [(1.0, 0.5), (1.0, 0.03), (-1.0, 0.03)])
def test_intervals_hold_the_mean_at_every_look(rare: float, chance: float) -> None:
    rng, streams, error = np.random.default_rng(7), 600, 0.2
    usual = -0.2 * rare
    mean = chance * rare + (1.0 - chance) * usual
    missed = 0
    for _ in range(streams):
        values = np.where(rng.random(LOOKS[-1]) < chance, rare, usual)
        ends = [BoundedMean(values[:n], -1.0, 1.0).interval(error) for n in LOOKS]
        missed += any(not low <= mean <= high for low, high in ends)
    assert missed / streams <= error + 3.0 * math.sqrt(error * (1.0 - error) / streams)


@pytest.mark.rates
def test_who_stops_when_it_looks_best_is_rarely_wrong() -> None:
    # Values of mean 0 in [-1, 1]; somebody looks after each of 200 and stops at the best capital.
    rng, streams = np.random.default_rng(3), 400
    reached = 0
    for _ in range(streams):
        values = rng.choice([-1.0, 1.0], 200)
        logs = [BoundedMean(values[:n], -1.0, 1.0).log_capital(0.0) for n in range(1, 201)]
        reached += max(logs) >= math.log(10.0)
    assert 0 < reached / streams <= 0.1 + 3.0 * math.sqrt(0.09 / streams)


def test_the_order_of_values_plays_no_part() -> None:
    values = np.random.default_rng(0).random(5000)
    one, two = (BoundedMean(rows, 0.0, 1.0) for rows in (values, np.sort(values)[::-1].copy()))
    assert one.interval(0.05) == two.interval(0.05)
    assert one.log_capital(0.52) == two.log_capital(0.52)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(tt.ValidationError, match=r"`values` row 2 must be between 0\.0 and 1\.0, got 1\.5"):
        BoundedMean(np.array([0.0, 1.0, 1.5]), 0.0, 1.0)
    with pytest.raises(tt.ValidationError, match=r"`low` must be below `high`, both finite, got 1.0 and 1.0"):
        BoundedMean(np.array([1.0]), 1.0, 1.0)
    found = BoundedMean(np.array([0.5]), 0.0, 1.0)
    with pytest.raises(tt.ValidationError, match=r"`error` must be above 0 and below 1, got 0.0"):
        found.interval(0.0)
    with pytest.raises(tt.ValidationError, match="`m` must be a number, got NaN"):
        found.rows_needed(math.nan, 0.05)
    assert repr(found) == "BoundedMean(n=1, mean=0.5)"


@pytest.mark.parametrize(("share", "difference", "rows"), [(0.01, 0.01, 823), (0.1, 0.01, 9758)])
def test_how_many_requests_a_promotion_takes(share: float, difference: float, rows: int) -> None:
    """What `docs/how-to/retrain.md` says of policies that differ in a share of their answers."""
    n = 20_000
    better, worse = round(n * (share + difference) / 2), round(n * (share - difference) / 2)
    values = np.repeat([-1.0, 1.0, 0.0], [better, worse, n - better - worse])
    found = BoundedMean(values, -1.0, 1.0)
    assert found.rows_needed(0.0, 0.05) == rows
    enough = np.repeat([-1.0, 1.0, 0.0], np.round(np.array([better, worse, n - better - worse]) * rows / n).astype(int))
    assert BoundedMean(enough, -1.0, 1.0).log_capital(0.0) == pytest.approx(math.log(20.0), abs=0.3)
