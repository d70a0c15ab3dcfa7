"""Bets on whether further values are exchangeable with reference values: capitals that are test martingales."""

from __future__ import annotations

import math

import numpy as np

from .._utils.arrays import Bools, Floats, Ints
from .._utils.splitmix import Words

CELLS = 8
BLOCK = 32
"""Rows after which bets are placed anew."""
PRIOR = 8.0
"""Observations that the reference counts for in a histogram bet."""
KEPT = np.array([1.0, 0.97, 0.75])
"""Share that the histogram bets remember from one block to the next."""


def _tilts() -> Floats:
    """(F, CELLS) fixed bets: how much likelier than before each cell is thought to be."""
    x = (np.arange(CELLS) + 0.5) / CELLS * 2.0 - 1.0
    shapes = [sign * slope * x for slope in (0.4, 0.9) for sign in (1.0, -1.0)]
    shapes += [sign * 0.8 * (2.0 * np.abs(x) - 1.0) for sign in (1.0, -1.0)]
    ends = [np.where(np.arange(CELLS) == end, by, 1.0) for end in (0, CELLS - 1) for by in (0.4, 2.5)]
    return np.concatenate([1.0 + np.array(shapes), ends])


TILTS = _tilts()
BETS = 1 + len(TILTS) + len(KEPT)
"""Strategies of a capital: cash first, then the fixed bets, then the histograms."""
CASH = 0.3
"""Share that is not bet at the start: it is there when a drift comes late."""
START = np.array([CASH] + [(1.0 - CASH) / (BETS - 1)] * (BETS - 1))
PATIENCE = 20.0
"""After block n a share 1 / (n + PATIENCE) of a capital is spread anew: early on a winning bet is left alone."""


class Cuts:
    """Where the reference values of m quantities are cut into cells, equal values being ordered by random words."""

    __slots__ = ("edge", "gap", "tie")

    def __init__(self, edge: Floats, tie: Words, gap: Ints) -> None:
        self.edge = edge
        """(m, CELLS - 1) last value of every cell but the last."""
        self.tie = tie
        """(m, CELLS - 1) the words of those values."""
        self.gap = gap
        """(m, CELLS) parameters of the Dirichlet law of the cells' masses: their sum is 1 + the reference values."""

    @classmethod
    def of(cls, value: Floats, there: Bools, word: Words) -> Cuts:
        """Cut the values (n, m) that are there at fixed ranks."""
        m = value.shape[1]
        rows = there.sum(axis=0)
        rank = np.floor(np.arange(CELLS + 1) * (rows[:, None] + 1) / CELLS).astype(np.int64)
        edge, tie = np.empty((m, CELLS - 1)), np.empty((m, CELLS - 1), np.uint64)
        for p in range(m):
            x, u = value[there[:, p], p], word[there[:, p], p]
            order = np.lexsort((u, x))[rank[p, 1:-1] - 1]
            edge[p], tie[p] = x[order], u[order]
        return cls(edge, tie, np.diff(rank, axis=1))

    def cell(self, value: Floats, word: Words) -> Ints:
        """(n, m) cells of values (n, m)."""
        x, u = value[:, :, None], word[:, :, None]
        cells: Ints = ((self.edge < x) | ((self.edge == x) & (self.tie < u))).sum(axis=2)
        return cells


class Capitals:
    """m capitals of 1, each betting on the cells drawn from its own Pólya urn; alarmed when one reaches its limit.

    A capital is spread over strategies that all bet against the urn: a mixture of test martingales, itself one.
    """

    __slots__ = (
        "alarm",
        "alarmed_at",
        "block",
        "hist",
        "jumps",
        "limit",
        "log_bet",
        "log_capital",
        "peak",
        "requests",
        "urn",
    )

    def __init__(self, gap: Ints, limit: float) -> None:
        m = len(gap)
        self.limit = limit
        """Logarithm of the capital that alarms."""
        self.requests = 0
        """Rows observed."""
        self.alarm = -1
        """The capital that first reached the limit, or -1."""
        self.alarmed_at = 0
        """Rows observed when it did."""
        self.urn = gap.astype(np.float64)
        """(m, CELLS) what is in the urns."""
        self.block = np.zeros((m, CELLS))
        """(m, CELLS) what has been drawn since bets were placed."""
        self.hist = np.zeros((len(KEPT), m, CELLS))
        """What the histograms remember of the blocks before."""
        self.jumps = np.zeros(m)
        """(m,) blocks with an observation."""
        self.peak = np.zeros(m)
        """(m,) logarithm of the largest capital so far, as of the ends of blocks and the alarm."""
        self.log_capital = np.tile(np.log(START), (m, 1))
        """(m, BETS) logarithm of the capital in each strategy."""
        self.log_bet = np.empty((m, CELLS, BETS))
        """(m, CELLS, BETS) logarithm of the chance that a strategy gives a cell; that of cash is not used."""
        self.place()

    def observe(self, cell: Ints, there: Bools) -> None:
        """Bet on rows (n, m) of cells, in order, where they are there."""
        at = 0
        while at < len(cell):
            part = slice(at, at + BLOCK - self.requests % BLOCK)
            self._bet(cell[part], there[part])
            at = part.stop

    def _bet(self, cell: Ints, there: Bools) -> None:
        """Rows (b, m) within one block."""
        b, m = cell.shape
        row, column = np.arange(b)[:, None], np.arange(m)
        hit = np.zeros((b, m, CELLS))
        hit[row, column, cell] = there
        drawn = hit.cumsum(axis=0)
        # What was in the urn before each draw: of the cell that is drawn, and of all.
        same = self.urn[column, cell] + drawn[row, column, cell] - there
        whole = self.urn.sum(axis=1) + there.cumsum(axis=0) - there
        gain = self.log_bet[column, cell] - np.log(same / whole)[:, :, None]
        gain[:, :, 0] = 0.0
        gain *= there[:, :, None]
        path = self.log_capital + gain.cumsum(axis=0)
        self.log_capital = path[-1]
        self.urn += drawn[-1]
        self.block += drawn[-1]
        # A capital is at most BETS times its largest share: most blocks need no closer look.
        if self.alarm < 0 and float(path.max()) >= self.limit - math.log(BETS):
            self._look(_total(path))
        self.requests += b
        if self.requests % BLOCK == 0:
            self._settle()

    def _look(self, wealth: Floats) -> None:
        """Raise the alarm if one of the next capitals (b, m) reaches the limit."""
        reached = np.flatnonzero(wealth.max(axis=1) >= self.limit)
        if len(reached):
            first = int(reached[0])
            self.alarm, self.alarmed_at = int(wealth[first].argmax()), self.requests + first + 1
            np.maximum(self.peak, wealth[first], out=self.peak)

    def _settle(self) -> None:
        """Between blocks: histograms learn, capital is moved between strategies, bets are placed."""
        np.maximum(self.peak, _total(self.log_capital), out=self.peak)
        seen = self.block.sum(axis=1) > 0.0
        self.hist = np.where(seen[:, None], KEPT[:, None, None] * self.hist + self.block, self.hist)
        self.block[:] = 0.0
        moved = np.where(seen, 1.0 / (self.jumps + PATIENCE), 0.0)[:, None]
        self.jumps += seen
        top = self.log_capital.max(axis=1, keepdims=True)
        capital = np.exp(self.log_capital - top)
        capital = (1.0 - moved) * capital + moved * capital.sum(axis=1, keepdims=True) * START
        # Strategies that have lost everything stay finite.
        self.log_capital = top + np.log(np.maximum(capital, 1e-300))
        self.place()

    def place(self) -> None:
        """Place the bets, from what was known when the block began."""
        urn = self.urn - self.block
        urn /= urn.sum(axis=1, keepdims=True)
        fixed = TILTS * urn[:, None, :]
        fixed /= fixed.sum(axis=2, keepdims=True)
        learned = self.hist + PRIOR * urn
        learned /= learned.sum(axis=2, keepdims=True)
        bets = np.concatenate([urn[:, None, :], fixed, learned.transpose(1, 0, 2)], axis=1)
        self.log_bet = np.log(np.ascontiguousarray(bets.transpose(0, 2, 1)))


def _total(log_capital: Floats) -> Floats:
    """Logarithm of the capital summed over the strategies, the last axis."""
    top = log_capital.max(axis=-1, keepdims=True)
    total: Floats = top[..., 0] + np.log(np.exp(log_capital - top).sum(axis=-1))
    return total
