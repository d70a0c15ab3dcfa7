"""From a trace to a policy for any trade-off: what fits, baselines and certificates share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from .. import _core
from .._core import Policy
from ..traces.trace import Trace, weighted_mean

ODDS = (1e-3, 1e5)
"""Loss weight over cost weight, relative to the mean loss, between which a trade-off is searched."""

Means: TypeAlias = tuple[float, float]
"""Mean loss and mean cost."""


class Learner(Protocol):
    """Gives a policy for any trade-off."""

    @property
    def trace(self) -> Trace:
        """What it learned from."""
        ...

    def policy(self, tradeoff: float, goal: str) -> Policy:
        """The policy for λ; its provenance names the goal."""
        ...

    def judged_policy(self, tradeoff: float, goal: str) -> tuple[Policy, Means | None]:
        """The same, with its means on rows that it was not learned from, where there are such rows."""
        ...


@dataclass(frozen=True)
class TunedLearner:
    """Fits one of the other methods anew for each trade-off."""

    trace: Trace
    method: str
    recall: bool = True

    def policy(self, tradeoff: float, goal: str) -> Policy:
        """The policy for λ."""
        trace = self.trace
        return _core.fit(
            trace.signal,
            trace.loss,
            trace.mean_cost,
            trace.prediction,
            method=self.method,
            kind=trace.kind,
            stages=list(trace.stages),
            tradeoff=tradeoff,
            recall=self.recall,
            provenance=provenance(trace, tradeoff, goal),
            weight=trace.weight,
        )

    def judged_policy(self, tradeoff: float, goal: str) -> tuple[Policy, None]:
        """The same; no rows are held back."""
        return self.policy(tradeoff, goal), None


class DefaultLearner:
    """The default fit; trade-offs share calibration and beliefs."""

    def __init__(
        self, trace: Trace, graph: str = "auto", order: Sequence[int] | None = None, recall: bool | None = None
    ) -> None:
        self.trace = trace
        self._recall = recall
        self._core = learner_of(trace, graph, order)

    def policy(self, tradeoff: float, goal: str) -> Policy:
        """The policy for λ."""
        return self._core.policy(tradeoff, self._recall, provenance(self.trace, tradeoff, goal))

    def judged_policy(self, tradeoff: float, goal: str) -> tuple[Policy, Means | None]:
        """The same, with its means on rows held back."""
        return self._core.judged_policy(tradeoff, self._recall, provenance(self.trace, tradeoff, goal))


def learner_of(trace: Trace, graph: str, order: Sequence[int] | None = None) -> _core.Learner:
    """Calibration and beliefs of a trace, from which the core makes a policy for any trade-off."""
    return _core.Learner(
        trace.signal,
        trace.loss,
        trace.mean_cost,
        trace.prediction,
        kind=trace.kind,
        stages=list(trace.stages),
        graph=graph,
        order=None if order is None else list(order),
        weight=trace.weight,
    )


def log_odds_range(trace: Trace) -> tuple[float, float]:
    """Logarithms of the odds λ / (1 − λ) between which a trade-off is searched."""
    mean = float(np.mean(weighted_mean(trace.loss, trace.weight))) or 1.0
    low, high = (math.log(odds / mean) for odds in ODDS)
    return low, high


def tradeoff_at(log_odds: float) -> float:
    """λ of the logarithm of its odds."""
    return 1.0 / (1.0 + math.exp(-log_odds))


def provenance(trace: Trace, tradeoff: float, goal: str) -> list[tuple[str, str]]:
    """What a policy is made from."""
    found = [
        ("goal", goal),
        ("tradeoff", repr(tradeoff)),
        ("kind", trace.kind),
        ("rows", str(trace.n)),
        ("trace", trace.digest),
        ("version", _core.build_info["version"]),
    ]
    if trace.weight is not None:
        found.append(("weight", hashlib.sha256(trace.weight.data).hexdigest()))
    return found
