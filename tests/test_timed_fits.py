"""Policies fitted for deadlines on rows drawn from an exact model, against the best there is of that model."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest

import ttamer_fast as tt

TRADEOFF = 0.9
ROWS = 20_000
DEADLINES = (0.015, 0.025, 0.045, 0.065, 0.095, 0.145)


@dataclass(frozen=True)
class Known:
    """Stages that are sure or not, independently, and take one of two latencies each; losses are 0 or 1."""

    kind: str
    sure: list[float]
    """How likely each stage is sure."""
    wrong: list[tuple[float, float]]
    """How likely its answer is wrong: not sure, sure."""
    cost: list[float]
    seconds: list[tuple[float, float]]
    slow: list[float]
    """How likely it takes the second of them."""

    def model(self) -> tt.Model:
        """In one unit: losses weighed by the trade-off, costs by the rest of it."""
        k, price = len(self.cost), (1 - TRADEOFF) * np.array(self.cost) / sum(self.cost)
        loss = [TRADEOFF * np.array(wrong) for wrong in self.wrong]
        latency = [(np.array(t), np.array([1 - q, q])) for t, q in zip(self.seconds, self.slow, strict=True)]
        chances = [np.array([1 - p, p]) for p in self.sure]
        if self.kind == "models":
            return tt.Model.tree([-1] * k, loss, price, [row[None] for row in chances], latency)
        jumps = np.array([[price[i : j + 1].sum() if j >= i else 0.0 for j in range(k)] for i in range(k)])
        rows = [np.tile(row, (1 if v == 0 else 2, 1)) for v, row in enumerate(chances)]
        return tt.Model.skip(loss, jumps, rows, latency, kind="exits")

    def drawn(self, seed: int) -> tt.Trace:
        rng, k = np.random.default_rng(seed), len(self.cost)
        sure = rng.random((ROWS, k)) < self.sure
        wrong = rng.random((ROWS, k)) < np.where(sure, [w[1] for w in self.wrong], [w[0] for w in self.wrong])
        slow = rng.random((ROWS, k)) < self.slow
        latency = np.where(slow, [t[1] for t in self.seconds], [t[0] for t in self.seconds])
        return tt.Trace(0.2 + 0.6 * sure, wrong.astype(float), self.cost, kind=self.kind, latency=latency)

    def objective(self, policy: tt.Policy, deadline: float) -> float:
        """What the policy pays in expectation, over everything that can happen."""
        k = len(self.cost)
        all_rows = np.array(list(itertools.product((0, 1), repeat=2 * k)))
        sure, slow = all_rows[:, :k], all_rows[:, k:]
        chance = np.where(sure, self.sure, 1 - np.array(self.sure)).prod(1)
        chance = chance * np.where(slow, self.slow, 1 - np.array(self.slow)).prod(1)
        latency = np.where(slow, [t[1] for t in self.seconds], [t[0] for t in self.seconds])
        wrong = np.where(sure, [w[1] for w in self.wrong], [w[0] for w in self.wrong])
        replay = policy.replay(0.2 + 0.6 * sure, latency=latency, deadline=deadline)
        loss = np.where(replay.answer < 0, 1.0, wrong[np.arange(len(wrong)), replay.answer])
        return float(chance @ (TRADEOFF * loss + (1 - TRADEOFF) * replay.cost / sum(self.cost)))


def known(kind: str, k: int, seed: int) -> Known:
    """Later stages are better, dearer and slower."""
    rng = np.random.default_rng(seed)
    wrong = [(float(w), float(w) * rng.uniform(0.05, 0.3)) for w in np.linspace(0.5, 0.2, k) + rng.uniform(0, 0.05, k)]
    seconds = [(0.01 * a, 0.01 * (a + b)) for a, b in zip(rng.integers(1, 4, k), rng.integers(1, 4, k), strict=True)]
    return Known(
        kind=kind,
        sure=list(rng.uniform(0.3, 0.7, k)),
        wrong=wrong,
        cost=list(np.cumsum(rng.uniform(0.5, 2.0, k))) if kind == "models" else list(rng.uniform(0.5, 2.0, k)),
        seconds=seconds,
        slow=list(rng.uniform(0.2, 0.6, k)),
    )


@pytest.mark.rates
@pytest.mark.parametrize(("kind", "k"), [("models", 2), ("models", 3), ("exits", 2), ("exits", 3)])
def test_a_fitted_policy_is_close_to_the_best_within_any_deadline(kind: str, k: int) -> None:
    ratios = []
    for seed in range(1, 5):
        case = known(kind, k, seed)
        trace, model = case.drawn(seed), case.model()
        fitted = tt.fit(trace, tradeoff=TRADEOFF, deadline=True, default_loss=1.0)
        always_begins = tt.fit(trace, tradeoff=TRADEOFF, deadline=True)
        for deadline in DEADLINES:
            exact = tt.solve(model, default_loss=TRADEOFF, deadline=deadline)
            assert tt.verify(model, exact).exact
            # Without a price of no answer a fitted policy runs a stage in any case.
            begins = exact.start(remaining=deadline).next is not None
            for policy in (fitted, always_begins) if begins else (fitted,):
                paid = case.objective(policy, deadline)
                assert paid >= exact.value - 1e-12
                ratios.append(paid / exact.value)
    assert len(ratios) > 24
    assert math.exp(np.mean(np.log(ratios))) < 1.01
    assert max(ratios) < 1.03
