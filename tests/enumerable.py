"""Problems of which everything that can happen can be listed: what the best policy is, and what any other pays."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """Models whose signals take two values each. Row r of `signals` happens with the chance `chance[r]`."""

    signals: Floats
    """(r, k) 0 or 1."""
    chance: Floats
    """(r,)."""
    loss: Floats
    """(r, k) how likely the answer of each model is wrong then; infinite: a probe."""
    cost: Floats
    """(k,)."""

    def drawn(self, rows: int, seed: int) -> tt.Trace:
        """Requests drawn from it."""
        rng = np.random.default_rng(seed)
        which = rng.choice(len(self.chance), rows, p=self.chance)
        loss = self.loss[which]
        wrong = np.where(np.isinf(loss), math.inf, rng.random(loss.shape) < loss)
        return tt.Trace(self.signals[which], wrong, self.cost, kind="models")

    def paid(self, policy: tt.Policy, tradeoff: float) -> float:
        """The objective of a policy, over everything that can happen."""
        replay = policy.replay(self.signals)
        loss = self.loss[np.arange(len(self.chance)), replay.answer]
        return float(self.chance @ (tradeoff * loss + (1 - tradeoff) * replay.cost / self.cost.sum()))

    def least(self, tradeoff: float) -> float:
        """The objective of the best policy, which knows the chances: by recursion over what has been seen."""
        price = (1 - tradeoff) * self.cost / self.cost.sum()

        @cache
        def least(seen: tuple[int, ...]) -> float:
            """What is paid from here on, where stage v said `seen[v]`, −1: nothing yet; times the chance of that."""
            said = np.array(seen)
            rows = ((self.signals == said) | (said < 0)).all(1)
            chance = self.chance[rows]
            ran = said >= 0
            stop = tradeoff * (chance @ self.loss[rows][:, ran]).min() if ran.any() else math.inf
            on = [
                price[v] * chance.sum() + sum(least((*seen[:v], s, *seen[v + 1 :])) for s in (0, 1))
                for v in np.flatnonzero(~ran)
            ]
            return float(min([stop, *on]))

        return least((-1,) * len(self.cost))


def _listed(k: int) -> Floats:
    return np.array(list(itertools.product((0.0, 1.0), repeat=k)))


def independent(high: Floats, loss: Floats, cost: Floats) -> Problem:
    """Signals are high with the chances `high` (k,), and say all there is to know: `loss` (k, 2), low and high."""
    signals = _listed(len(cost))
    chance = np.where(signals > 0, high, 1 - high).prod(1)
    return Problem(signals, chance, np.where(signals > 0, loss[:, 1], loss[:, 0]), cost)


def of_difficulty(easy: float, high: Floats, loss: Floats, cost: Floats) -> Problem:
    """Requests are easy or not. `high` (2, k): how likely each signal is high, of hard and of easy ones; `loss`
    (2, k, 2): of hard and easy ones, low and high. What one signal says of the difficulty it says of all answers."""
    signals = _listed(len(cost))
    share = np.array([1 - easy, easy])[:, None] * np.where(signals > 0, high[:, None], 1 - high[:, None]).prod(2)
    chance = share.sum(0)
    each = np.where(signals > 0, loss[:, None, :, 1], loss[:, None, :, 0])
    return Problem(signals, chance, (share[..., None] * each).sum(0) / chance[:, None], cost)


def near_misses() -> Problem:
    """Three models: the dearer, the better, and answers of the cheaper that are nearly as good."""
    loss = np.array([[0.45, 0.12], [0.30, 0.08], [0.12, 0.01]])
    return independent(np.array([0.5, 0.5, 0.6]), loss, np.array([1.0, 2.0, 5.0]))


def random_independent(seed: int, k: int = 3) -> Problem:
    """Later models are better and dearer."""
    rng = np.random.default_rng(seed)
    low = np.sort(rng.uniform(0.1, 0.5, k))[::-1]
    loss = np.stack([low, low * rng.uniform(0.05, 0.4, k)], 1)
    return independent(rng.uniform(0.3, 0.7, k), loss, np.sort(rng.uniform(1.0, 8.0, k)))


def random_difficulty(seed: int, k: int = 3, probe: bool = False) -> Problem:
    """The same where requests are easy or hard; `probe`: and the first stage tells that, and never answers."""
    rng = np.random.default_rng(seed)
    high = np.stack([rng.uniform(0.15, 0.4, k), rng.uniform(0.5, 0.85, k)])
    low = np.sort(rng.uniform(0.25, 0.6, k))[::-1]
    hard = np.stack([low, low * rng.uniform(0.3, 0.8, k)], 1)
    loss = np.stack([hard, hard * rng.uniform(0.05, 0.3, (k, 1))])
    cost = np.sort(rng.uniform(1.0, 8.0, k))
    if probe:
        high[:, 0] = 0.15, 0.85
        loss[:, 0] = math.inf
        cost[0] = 0.3
    return of_difficulty(float(rng.uniform(0.4, 0.7)), high, loss, cost)
