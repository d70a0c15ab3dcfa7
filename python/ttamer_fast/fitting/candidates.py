"""Policies of one calibration that no other beats in both loss and cost, and coins between them, from safe to cheap."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .. import _core
from .._core import Policy
from .._utils.arrays import Floats
from ..traces import outcome
from ..traces.trace import Trace

__all__ = ["Candidate", "Point", "mean", "path", "points_of"]

POINTS = 40
COARSE = 10
CLOSEST = 1e-3
"""Log odds between two policies of which there is none between."""
STEP = 0.25
"""Standard errors of a mean loss on the rows that test, by which it rises from one candidate to the next."""
MOST_COINS = 20
"""Steps between two policies."""


@dataclass(frozen=True)
class Point:
    """The policy for one trade-off, and what it does on the fitting part: means, and how losses spread."""

    odds: float
    tradeoff: float
    policy: Policy
    loss: float
    cost: float
    spread: float


@dataclass(frozen=True)
class Candidate:
    """A policy that follows `second` on a share of the requests, by a coin, else `first`."""

    first: Point
    second: Point
    share: float = 0.0

    def draft(self, seed: int) -> Policy:
        """It decides as the finished one, where every stage answers."""
        if self.share == 0.0:
            return self.first.policy
        return _core.mixture(self.first.policy, self.second.policy, 1.0 - self.share, seed, 0.0, [])

    def finished(
        self, learner: _core.Learner, trace: Trace, recall: bool | None, seed: int, known: list[tuple[str, str]]
    ) -> Policy:
        """Of the learner and the trace that its points are from."""
        if self.share == 0.0:
            return learner.policy(self.first.tradeoff, recall, known)
        value = mean(outcome.objective(outcome.of_policy(self.draft(seed), trace), self.first.tradeoff, trace))
        further = [("mixed_tradeoff", repr(self.second.tradeoff)), ("mixed_share", repr(self.share))]
        one, two = (learner.policy(point.tradeoff, recall) for point in (self.first, self.second))
        return _core.mixture(one, two, 1.0 - self.share, seed, value, [*known, *further])


def points_of(learner: _core.Learner, trace: Trace, recall: bool | None) -> list[Point]:
    """From the safest to the cheapest. At most 40 policies are tried, where loss or cost change most."""

    def point(odds: float) -> Point:
        tradeoff = learner.tradeoff_at(odds)
        policy = learner.draft(tradeoff, recall)
        found = outcome.of_policy(policy, trace)
        return Point(odds, tradeoff, policy, mean(found.loss), mean(found.cost), float(found.loss.std()))

    found = [point(odds) for odds in np.linspace(*learner.log_odds_range, COARSE).tolist()]
    while len(found) < POINTS:
        # The widest gap on the frontier; a limit plays no part, so what is reachable does not depend on it.
        gaps = [
            ((b.cost - a.cost) * (a.loss - b.loss), 0.5 * (a.odds + b.odds))
            for a, b in pairwise(found)
            if b.odds - a.odds > CLOSEST
        ]
        widest = max(gaps, default=(0.0, 0.0))
        if widest[0] <= 0.0:
            break
        insort(found, point(widest[1]), key=lambda one: one.odds)
    frontier: list[Point] = []
    for one in sorted(found, key=lambda one: (one.loss, one.cost)):
        if not frontier or one.cost < frontier[-1].cost:
            frontier.append(one)
    return frontier


def path(points: Sequence[Point], rows: int) -> list[Candidate]:
    """Along the lower convex hull of a frontier, by steps that `rows` rows can hardly tell apart.

    Two policies that begin with different stages have no coin; then the hull is left for the points in between.
    """
    found = [Candidate(points[0], points[0])] if points else []
    at = 0
    while at < len(points) - 1:
        here, following = points[at], _following(points, at)
        there = points[following]
        if _has_coin(here, there):
            error = max(here.spread, there.spread) / math.sqrt(rows)
            steps = min(MOST_COINS, math.ceil((there.loss - here.loss) / max(STEP * error, 1e-12)))
            found += [Candidate(here, there, step / steps) for step in range(1, steps)]
        found.append(Candidate(there, there))
        at = following
    return found


def _following(points: Sequence[Point], at: int) -> int:
    """The next corner of the hull; the next point where no coin leads to that one."""
    here = points[at]

    def saved(to: int) -> float:
        """Cost for each lost unit."""
        return (here.cost - points[to].cost) / max(points[to].loss - here.loss, 1e-300)

    corner = max(range(at + 1, len(points)), key=saved)
    return corner if _has_coin(here, points[corner]) else at + 1


def _has_coin(one: Point, other: Point) -> bool:
    first = one.policy.start().next
    return first is not None and first == other.policy.start().next


def mean(values: Floats) -> float:
    """With one rounding."""
    return math.fsum(values) / values.size
