"""The best policy within a budget on the mean cost or the mean loss."""

from __future__ import annotations

from dataclasses import dataclass

from .. import _core
from .._core import Policy, ValidationError
from .._utils.arrays import Floats
from ..traces import outcome
from ..traces.outcome import Outcome
from ..traces.trace import Trace, weighted_mean
from .learners import Learner, log_odds_range, provenance, tradeoff_at

__all__ = ["within_budget"]

SEARCH_STEPS = 12
UNUSED = 0.01
"""A budget of which at most this share is left is used up."""
SHARE_STEPS = 12


@dataclass(frozen=True)
class _Point:
    """A policy, the mean that is limited, and the mean that is to be small.

    Each is the larger of that on the calibration trace and that on rows held back.
    """

    tradeoff: float
    policy: Policy
    limited: float
    free: float


@dataclass(frozen=True)
class _Mixture:
    """A coin between a point within the budget and one beyond it."""

    within: _Point
    beyond: _Point
    share: float
    free: float


def within_budget(learner: Learner, budget: float, limited: str, seed: int) -> Policy:
    """The best policy within `budget` on the mean `limited` ("cost" or "loss").

    Searches the trade-off by bisection; where the best policy leaves a part of the budget, a coin mixes in one that is
    beyond it.
    """
    search = _Search(learner, budget, limited, seed)
    points = search.points()
    within = [p for p in points if p.limited <= budget]
    if not within:
        least = min(p.limited for p in points)
        raise ValidationError(
            f"`max_{limited}` of {budget} cannot be met on this trace: the least reachable is {least:.6g}"
        )
    best = min(within, key=lambda p: (p.free, p.limited))
    mixtures = [m for a in within for b in points if (m := _mixture(a, b, budget)) is not None]
    mixture = min(mixtures, key=lambda m: m.free, default=None)
    if mixture is None or mixture.free >= best.free or best.limited >= budget * (1.0 - UNUSED):
        return best.policy
    return search.tossed(mixture) or best.policy


def _mixture(within: _Point, beyond: _Point, budget: float) -> _Mixture | None:
    """The mixture of two points that uses the budget up; None where there is none or it gains nothing.

    The larger of two means is convex in the share, so that what is within the budget here is so in each of them.
    """
    if beyond.limited <= budget or beyond.free >= within.free or not _begin_alike(within.policy, beyond.policy):
        return None
    share = (budget - within.limited) / (beyond.limited - within.limited)
    return _Mixture(within, beyond, share, within.free + share * (beyond.free - within.free))


def _begin_alike(one: Policy, other: Policy) -> bool:
    """The coin is tossed on the first report, so the first stage must be the same."""
    return one.start().next == other.start().next


@dataclass(frozen=True)
class _Search:
    learner: Learner
    budget: float
    limited: str
    seed: int

    @property
    def goal(self) -> str:
        return f"max_{self.limited}={self.budget!r}"

    def points(self) -> list[_Point]:
        """Policies along the frontier, most of them near the budget."""
        points = [self.point(0.0), self.point(1.0)]
        low, high = log_odds_range(self.learner.trace)
        for _ in range(SEARCH_STEPS):
            middle = 0.5 * (low + high)
            points.append(self.point(tradeoff_at(middle)))
            # More weight on the loss costs more and loses less.
            if (points[-1].limited <= self.budget) == (self.limited == "cost"):
                low = middle
            else:
                high = middle
        return points

    def point(self, tradeoff: float) -> _Point:
        policy, held = self.learner.judged_policy(tradeoff, self.goal)
        result = outcome.of_policy(policy, self.learner.trace)
        loss, cost = _mean(result.loss, self.learner.trace), _mean(result.cost, self.learner.trace)
        if held is not None:
            loss, cost = max(loss, held[0]), max(cost, held[1])
        limited, free = (cost, loss) if self.limited == "cost" else (loss, cost)
        return _Point(tradeoff, policy, limited, free)

    def tossed(self, mixture: _Mixture) -> Policy | None:
        """The mixture with the largest share that the trace's own tosses keep within the budget, if any does."""
        trace = self.learner.trace
        kept: tuple[float, Outcome] | None = None
        low, share, high = 0.0, mixture.share, mixture.share
        for _ in range(SHARE_STEPS):
            result = outcome.of_policy(self.coin(mixture, share, 0.0), trace)
            if _mean(result.cost if self.limited == "cost" else result.loss, trace) <= self.budget:
                kept, low = (share, result), share
            else:
                high = share
            if low == high:
                break
            share = 0.5 * (low + high)
        if kept is None:
            return None
        share, result = kept
        return self.coin(mixture, share, _mean(result.objective(mixture.within.tradeoff, trace.full_cost), trace))

    def coin(self, mixture: _Mixture, share: float, value: float) -> Policy:
        within, beyond = mixture.within, mixture.beyond
        known = provenance(self.learner.trace, within.tradeoff, self.goal)
        known += [("mixed_tradeoff", repr(beyond.tradeoff)), ("mixed_share", repr(share)), ("seed", str(self.seed))]
        return _core.mixture(within.policy, beyond.policy, 1.0 - share, self.seed, value, known)


def _mean(values: Floats, trace: Trace) -> float:
    return float(weighted_mean(values, trace.weight))
