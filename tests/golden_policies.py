"""Every kind of policy that can be fitted to a trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

import ttamer_fast as tt


@dataclass(frozen=True)
class Fit:
    """A way to a policy, and the traces that it is for."""

    policy: Callable[[tt.Trace], tt.Policy]
    suits: Callable[[tt.Trace], bool] = lambda trace: True


def _full_cost(trace: tt.Trace, share: float) -> float:
    return share * trace.full_cost


def _loss_between(trace: tt.Trace, share: float) -> float:
    """A mean loss between those of the best and the worst stage."""
    means = np.average(trace.loss, axis=0, weights=trace.weight)
    return float(means.min() + share * (means.max() - means.min()))


def _some(trace: tt.Trace) -> list[int | str]:
    """Stages in an order of their own: models backwards, exits with one left out; by name and by number."""
    chosen = [j for j in range(trace.k) if j != 1 or trace.k < 3]
    ordered = chosen if trace.kind == "exits" else chosen[::-1]
    return [trace.stages[j] if at % 2 else j for at, j in enumerate(ordered)]


def _auto(tradeoff: float) -> Fit:
    return Fit(lambda trace: tt.fit(trace, tradeoff=tradeoff))


def _baseline(rule: Callable[[tt.Trace, float], tt.Policy], tradeoff: float) -> Fit:
    return Fit(lambda trace: rule(trace, tradeoff))


POLICIES: Mapping[str, Fit] = {
    **{f"auto {tradeoff}": _auto(tradeoff) for tradeoff in (0.3, 0.7, 0.95, 0.985)},
    "line 0.7": Fit(lambda trace: tt.fit(trace, tradeoff=0.7, graph="line")),
    "line 0.95": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, graph="line")),
    "line without recall": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, graph="line", recall=False)),
    "skip 0.7": Fit(lambda trace: tt.fit(trace, tradeoff=0.7, graph="skip")),
    "skip 0.95": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, graph="skip")),
    "skip without recall": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, graph="skip", recall=False)),
    "order given": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, order="given")),
    "order by names": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, order=_some(trace))),
    "recall": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, recall=True)),
    "no recall": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, recall=False)),
    "markov 0.7": Fit(lambda trace: tt.fit(trace, tradeoff=0.7, estimator="markov")),
    "markov 0.95": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, estimator="markov")),
    "markov without recall": Fit(lambda trace: tt.fit(trace, tradeoff=0.95, estimator="markov", recall=False)),
    "max_cost 30 %": Fit(lambda trace: tt.fit(trace, max_cost=_full_cost(trace, 0.3)), lambda trace: trace.k > 1),
    "max_cost 35 %, line": Fit(
        lambda trace: tt.fit(trace, max_cost=_full_cost(trace, 0.35), graph="line", recall=True, seed=5),
        lambda trace: trace.k > 1,
    ),
    "max_cost 40 %, markov": Fit(
        lambda trace: tt.fit(trace, max_cost=_full_cost(trace, 0.4), estimator="markov"), lambda trace: trace.k > 1
    ),
    "max_loss": Fit(lambda trace: tt.fit(trace, max_loss=_loss_between(trace, 0.5), recall=True)),
    "max_loss last+0.01": Fit(lambda trace: tt.fit(trace, max_loss="last+0.01"), lambda trace: trace.k > 1),
    **{f"baseline {name} 0.95": _baseline(rule, 0.95) for name, rule in tt.baselines.ALL.items() if name != "patience"},
    **{f"baseline {name} 0.7": _baseline(rule, 0.7) for name, rule in tt.baselines.ALL.items() if name != "patience"},
    "baseline patience 0.95": Fit(
        lambda trace: tt.baselines.patience(trace, 0.95), lambda trace: trace.prediction is not None
    ),
}

CERTIFIED: Mapping[str, Fit] = {
    "certified": Fit(
        lambda trace: tt.fit_certified(
            trace, max_loss=_loss_between(trace, 0.5) + 0.2, delta=0.1, largest_loss=float(max(1.0, trace.loss.max()))
        ),
        lambda trace: trace.weight is None and trace.k > 1,
    ),
    "certified, losses 0 or 1": Fit(
        lambda trace: tt.fit_certified(trace, max_loss=_loss_between(trace, 0.5) + 0.15, delta=0.1, binary=True),
        lambda trace: trace.weight is None and trace.k > 1 and bool(np.isin(trace.loss, (0.0, 1.0)).all()),
    ),
}
