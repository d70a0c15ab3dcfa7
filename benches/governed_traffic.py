"""Traffic on the rows of a trace, and what a governor and fixed policies make of it.

A request is a row of the half of a trace that the family was not fitted to. What it costs and loses under each policy
of the ladder is replayed beforehand, so that a million requests take seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt

Floats: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[np.intp]

NEAR = 0.05
"""A mean this far from the budget, as a share of it, holds it."""


class Replayed(NamedTuple):
    """Rows under the policies of a ladder: costs, losses (n, m), costs as calibrated (m,), and two halves."""

    family: tt.PolicyFamily
    cost: Floats
    loss: Floats
    expected: Floats
    easy: Rows
    hard: Rows


class Clock:
    """Seconds that the traffic says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Governed:
    """What became of requests, in order: the row of each, its place on the ladder, what it cost and lost, and when."""

    row: Rows
    rung: NDArray[np.intp]
    cost: Floats
    loss: Floats
    second: Floats
    expected: Floats


def replayed(trace: tt.Trace, seed: int = 0) -> Replayed:
    """A family of half of a trace, and the other half under each policy that a governor moves along."""
    train, rest = trace.split(test=0.5, seed=seed)
    family = tt.fit_family(train)
    ladder = tt.BudgetGovernor(family, max_cost=float(family.costs.max()), window=100).ladder
    costs, losses = [], []
    for tradeoff in ladder:
        found = family.at(tradeoff).replay(rest.signal, rest.prediction)
        costs.append(found.cost)
        losses.append(rest.loss[np.arange(rest.n), found.answer])
    cost, loss = np.stack(costs, axis=1), np.stack(losses, axis=1)
    expected = np.array([family.costs[family.tradeoffs.tolist().index(tradeoff)] for tradeoff in ladder])
    # Hard is what costs much under the policies in the middle.
    order = np.argsort(cost.mean(axis=1), kind="stable")
    return Replayed(family, cost, loss, expected, order[: rest.n // 2], order[rest.n // 2 :])


def mixed(replay: Replayed, hard: Floats, rng: np.random.Generator) -> Rows:
    """A row for each share of hard requests."""
    is_hard = rng.random(len(hard)) < hard
    return np.where(is_hard, rng.choice(replay.hard, len(hard)), rng.choice(replay.easy, len(hard)))


def constant(replay: Replayed, window: int, rng: np.random.Generator) -> Rows:
    """Half of the requests are hard, all the time."""
    return mixed(replay, np.full(20 * window, 0.5), rng)


def step(replay: Replayed, window: int, rng: np.random.Generator) -> Rows:
    """From the middle on, nearly all requests are hard."""
    return mixed(replay, np.repeat([0.25, 0.95], 10 * window), rng)


def drift(replay: Replayed, window: int, rng: np.random.Generator) -> Rows:
    """From all easy to all hard, slowly."""
    return mixed(replay, np.linspace(0.0, 1.0, 20 * window), rng)


def alternating(replay: Replayed, window: int, rng: np.random.Generator) -> Rows:
    """Easy and hard in turn: in step with a governor that serves two policies in turn."""
    return mixed(replay, np.tile([0.0, 1.0], 10 * window), rng)


def waves(replay: Replayed, window: int, rng: np.random.Generator) -> Rows:
    """All easy and all hard in turn, each for a window: the slowest change that a window does not average."""
    return mixed(replay, np.tile(np.repeat([0.0, 1.0], window), 10), rng)


TRAFFIC: dict[str, Callable[[Replayed, int, np.random.Generator], Rows]] = {
    "constant": constant,
    "step": step,
    "drift": drift,
    "alternating": alternating,
    "waves": waves,
}


def arrivals(window: float, rate: float, rng: np.random.Generator, burst: float = 5.0) -> Floats:
    """Seconds of requests that come at random: so many a second for ten windows, five times as many for three, and
    again as before for ten.
    """
    spans = [(10.0, 1.0), (3.0, burst), (10.0, 1.0)]
    gaps = [rng.exponential(1.0 / (rate * faster), int(windows * window * rate * faster)) for windows, faster in spans]
    return np.cumsum(np.concatenate(gaps))


def governed(replay: Replayed, governor: tt.BudgetGovernor, rows: Rows, at: Floats | None, clock: Clock) -> Governed:
    """Serves the requests in order, one after the other."""
    rung_of = {id(policy): rung for rung, policy in enumerate(policies_of(governor))}
    second = np.zeros(len(rows)) if at is None else at
    rung, spent, expected = np.empty(len(rows), np.intp), np.empty(len(rows)), np.empty(len(rows))
    costs = replay.cost.tolist()
    for number, (row, now) in enumerate(zip(rows.tolist(), second.tolist(), strict=True)):
        here = rung_of[id(governor.policy)]
        clock.now = now
        rung[number], spent[number] = here, costs[row][here]
        governor._spent(spent[number])
        expected[number] = replay.expected[here]
    return Governed(rows, rung, spent, replay.loss[rows, rung], second, expected)


def policies_of(governor: tt.BudgetGovernor) -> list[tt.Policy]:
    """Those that it moves along, as it holds them."""
    service = governor._service
    return [service.policies[member] for member in service.core.ladder]


def sliding(value: Floats, window: int) -> Floats:
    """Means of every so many values in a row."""
    total = np.concatenate([[0.0], np.cumsum(value)])
    return np.asarray((total[window:] - total[:-window]) / window)


def per_second(found: Governed, window: float) -> Floats:
    """Costs of a second over every window, at each tenth of it."""
    ends = np.arange(window, found.second[-1], window / 10.0)
    total = np.concatenate([[0.0], np.cumsum(found.cost)])
    upto = total[np.searchsorted(found.second, ends, side="right")]
    before = total[np.searchsorted(found.second, ends - window, side="right")]
    return np.asarray((upto - before) / window)


def best_fixed(replay: Replayed, rows: Rows, most: float) -> float:
    """Mean loss of the best single policy that would have cost no more, known afterwards; of the cheapest if none."""
    cost, loss = replay.cost[rows].mean(axis=0), replay.loss[rows].mean(axis=0)
    within = loss[cost <= most]
    return float(within.min() if len(within) else loss[0])


def on_frontier(replay: Replayed, rows: Rows, cost: float) -> float:
    """Mean loss at a mean cost of the best mixture of two policies, known afterwards: the convex frontier."""
    points = sorted(zip(replay.cost[rows].mean(axis=0).tolist(), replay.loss[rows].mean(axis=0).tolist(), strict=True))
    best = float("inf")
    for low_cost, low in points:
        for high_cost, high in points:
            if low_cost <= cost <= high_cost:
                share = 0.0 if high_cost == low_cost else (cost - low_cost) / (high_cost - low_cost)
                best = min(best, low + share * (high - low))
    return (
        best if best < float("inf") else min(loss for known, loss in points if known <= cost or known == points[0][0])
    )


def settled(means: Floats, budget: float, since: int) -> int:
    """Values after `since` from which on means stay near the budget, but for one in twenty that noise makes."""
    away = np.abs(means[since:] / budget - 1.0) > NEAR
    later = np.cumsum(away[::-1])[::-1] / np.arange(len(away), 0, -1)
    calm = np.nonzero(~away & (later <= 0.05))[0]
    return int(calm[0]) if len(calm) else len(away)


def seeds(count: int) -> Iterator[np.random.Generator]:
    """Generators, each of its own number."""
    return (np.random.default_rng(seed) for seed in range(count))
