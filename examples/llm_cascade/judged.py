"""Policies, thresholds and single models side by side, each judged on sentences that it was not fitted to."""

from __future__ import annotations

import math

import numpy as np

import ttamer_fast as tt
from ttamer_fast._utils.arrays import Floats

__all__ = ["table"]

FOLDS = 5


def table(trace: tt.Trace, tradeoff: float) -> str:
    """Objective, its paired difference to the policy with a 95 % interval, accuracy and cost of every way to answer.

    Rules of different folds were fitted to mostly the same sentences: the standard errors of differences are those of
    single sentences times √(1 + 5/4) (Nadeau and Bengio 2003), as in `tt.compare`.
    """
    paid: dict[str, Floats] = {}
    fold = np.random.default_rng(0).permutation(trace.n) % FOLDS
    for i in range(FOLDS):
        judged = trace[fold == i]
        for name, policy in fitted(trace[fold != i], tradeoff).items():
            replay = policy.replay(judged.signal, judged.prediction)
            paid.setdefault(name, np.empty((trace.n, 2)))[fold == i] = np.stack(
                [judged.loss[np.arange(judged.n), replay.answer], replay.cost], axis=1
            )
    cost = np.asarray(trace.cost)
    for j, name in enumerate(trace.stages):
        paid[f"{name} alone"] = np.stack([trace.loss[:, j], np.full(trace.n, cost[j])], axis=1)

    price = np.array([tradeoff, (1.0 - tradeoff) / cost.sum()])
    objective: dict[str, Floats] = {name: both @ price for name, both in paid.items()}
    lines = [f"{'':<18}{'objective × 1000':>17}{'minus the policy':>25}{'accuracy':>10}{'ms a sentence':>15}"]
    for name, both in paid.items():
        gap = 1000.0 * (objective[name] - objective["policy"])
        width = 1.96 * gap.std(ddof=1) / math.sqrt(trace.n) * math.sqrt(1.0 + FOLDS / (FOLDS - 1))
        shown = "" if name == "policy" else f"{gap.mean():+.1f} [{gap.mean() - width:+.1f}, {gap.mean() + width:+.1f}]"
        lost, spent = both.mean(axis=0)
        lines.append(f"{name:<18}{1000.0 * objective[name].mean():>17.1f}{shown:>25}{1.0 - lost:>10.3f}{spent:>15.1f}")
    return "\n".join(lines)


def fitted(trace: tt.Trace, tradeoff: float) -> dict[str, tt.Policy]:
    """The default fit, the same without recall, and tuned thresholds."""
    return {
        "policy": tt.fit(trace, tradeoff=tradeoff),
        "no recall": tt.fit(trace, tradeoff=tradeoff, recall=False),
        "one threshold": tt.baselines.threshold(trace, tradeoff),
        "a threshold each": tt.baselines.stage_thresholds(trace, tradeoff),
    }
