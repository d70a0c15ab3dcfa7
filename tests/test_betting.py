from __future__ import annotations

import copy

import numpy as np
import pytest

from ttamer_fast._utils.arrays import Floats, Ints
from ttamer_fast.monitoring.betting import BLOCK, CELLS, Capitals, Cuts


def total(capitals: Capitals) -> Floats:
    wealth: Floats = np.exp(capitals.log_capital).sum(axis=1)
    return wealth


def draws(n: int, m: int, seed: int = 0) -> Ints:
    """Cells that are nothing like the reference's."""
    return np.random.default_rng(seed).binomial(CELLS - 1, 0.8, (n, m))


@pytest.mark.parametrize("seen", [0, 1, BLOCK - 1, BLOCK, 5 * BLOCK + 7])
def test_no_bet_gains_on_average(seen: int) -> None:
    """The capital after the next draw, weighed by what is in the urn, is the capital before: a test martingale."""
    gap = np.array([[3, 4, 4, 4, 4, 4, 4, 5], [1, 1, 1, 1, 1, 1, 1, 90]])
    capitals = Capitals(gap, np.inf)
    capitals.observe(draws(seen, 2), np.ones((seen, 2), bool))
    chance = capitals.urn / capitals.urn.sum(axis=1, keepdims=True)
    expected = np.zeros(2)
    for cell in range(CELLS):
        after = copy.deepcopy(capitals)
        after.observe(np.full((1, 2), cell), np.ones((1, 2), bool))
        expected += chance[:, cell] * total(after)
    assert expected == pytest.approx(total(capitals), rel=1e-9)
    assert total(Capitals(gap, np.inf)) == pytest.approx(1.0)


def test_values_that_are_not_there_change_nothing() -> None:
    capitals = Capitals(np.full((2, CELLS), 5), np.inf)
    there = np.tile([True, False], (3 * BLOCK, 1))
    capitals.observe(draws(3 * BLOCK, 2), there)
    assert total(capitals)[0] > 1.0
    assert total(capitals)[1] == pytest.approx(1.0)
    assert capitals.urn.sum(axis=1).tolist() == [8 * 5 + 3 * BLOCK, 8 * 5]


def test_the_alarm_is_the_first_row_at_the_limit() -> None:
    cells, there = draws(400, 3, seed=1), np.ones((400, 3), bool)
    limit = float(np.log(1000.0))
    capitals, slow = Capitals(np.full((3, CELLS), 20), limit), Capitals(np.full((3, CELLS), 20), limit)
    capitals.observe(cells, there)
    rows = 0
    while slow.alarm < 0:
        assert total(slow).max() < 1000.0 * (1.0 + 1e-9)
        slow.observe(cells[rows : rows + 1], there[:1])
        rows += 1
    assert (capitals.alarm, capitals.alarmed_at) == (slow.alarm, rows)
    assert total(slow).argmax() == slow.alarm


def test_cuts_put_reference_values_into_cells_by_rank() -> None:
    rng = np.random.default_rng(0)
    value = np.stack([rng.random(100), rng.integers(0, 2, 100), np.full(100, -np.inf)], axis=1)
    word = rng.integers(0, 2**63, value.shape, dtype=np.uint64)
    there = rng.random(value.shape) < 0.7
    cuts = Cuts.of(value, there, word)
    assert cuts.gap.sum(axis=1).tolist() == (there.sum(axis=0) + 1).tolist()
    cell = cuts.cell(value, word)
    for p in range(3):
        counts = np.bincount(cell[there[:, p], p], minlength=CELLS)
        # All but the last cell hold their own last value.
        assert counts.tolist() == [*cuts.gap[p, :-1].tolist(), cuts.gap[p, -1] - 1]
