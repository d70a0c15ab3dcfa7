"""Agreement-based cascading: tiers of stages that vote; a request moves on where a tier does not agree enough.

Kolawole, Dennis, Talwalkar and Smith, "Agreement-based cascading for efficient inference", 2024 (first as "Revisiting
cascaded ensembles for efficient inference", arXiv 2407.02348), section 3, the rule by votes. Own code: tiers are up to
three disjoint sets of stages in order of their cost, all are tried, each with every share of votes that may be asked
for; the last tier may be one stage. Which are best is decided on the training rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from hands import Hand, Hands
from rows import NOTHING, Choice, Floats, Ints, Rows

import ttamer_fast as tt

MOST_TIERS = 3
LARGEST_TIER = 4


@dataclass(frozen=True)
class Vote:
    """What a tier comes to for each of n requests."""

    answer: Ints
    """(n,) a stage that said what most said, the dearest one of those."""
    votes: Ints
    """(n,) how many stages said it."""


@dataclass(frozen=True)
class Tiers:
    """A cascade of tiers and the votes that each but the last needs."""

    tiers: tuple[Hand, ...]
    needed: tuple[int, ...]


def agreement_cascade(train: tt.Trace, test: Rows, tradeoffs: tuple[float, ...]) -> list[Choice]:
    hands, seen = Hands.of(train), Rows.of(train)
    votes = {tier: vote(seen, tier) for tier in all_tiers(hands)}
    return [_followed(_best(train, hands, votes, tradeoff), test) for tradeoff in tradeoffs]


def all_tiers(hands: Hands) -> list[Hand]:
    return [tier for size in range(1, LARGEST_TIER + 1) for tier in combinations(hands.order, size)]


def vote(rows: Rows, tier: Hand) -> Vote:
    """The prediction that most stages of a tier gave; of equally many, that of the dearest stage."""
    if rows.prediction is None:
        return Vote(np.full(rows.n, tier[-1], np.int64), np.full(rows.n, len(tier) == 1, np.int64))
    said = rows.prediction[:, tier]
    same = (said[:, :, None] == said[:, None, :]) & (said != NOTHING)[:, :, None]
    votes = np.maximum(same.sum(axis=2), 1)
    winner = len(tier) - 1 - votes[:, ::-1].argmax(axis=1)
    return Vote(np.array(tier)[winner], votes[np.arange(rows.n), winner])


def _best(train: tt.Trace, hands: Hands, votes: dict[Hand, Vote], tradeoff: float) -> Tiers:
    """The tiers of the least objective, found from their ends: O(n) for each of them."""
    loss = {tier: train.loss[np.arange(train.n), found.answer] for tier, found in votes.items()}
    best, chosen = np.inf, Tiers(((hands.order[0],),), ())
    for tiers in cascades(hands, list(votes)):
        for needed in thresholds(tiers):
            value = _value(hands, votes, loss, Tiers(tiers, needed), tradeoff)
            if value < best:
                best, chosen = value, Tiers(tiers, needed)
    return chosen


def cascades(hands: Hands, tiers: list[Hand], before: tuple[Hand, ...] = ()) -> Iterator[tuple[Hand, ...]]:
    """Every list of tiers in which later stages are in later tiers; all tiers but the last can disagree."""
    last = hands.order.index(before[-1][-1]) if before else -1
    for tier in tiers:
        if hands.order.index(tier[0]) > last:
            yield (*before, tier)
            if len(tier) > 1 and len(before) + 1 < MOST_TIERS:
                yield from cascades(hands, tiers, (*before, tier))


def thresholds(tiers: tuple[Hand, ...]) -> Iterator[tuple[int, ...]]:
    """Every number of votes that tiers may need: more than one, at most all."""
    if len(tiers) == 1:
        yield ()
        return
    for first in range(2, len(tiers[0]) + 1):
        for others in thresholds(tiers[1:]):
            yield (first, *others)


def _value(hands: Hands, votes: dict[Hand, Vote], loss: dict[Hand, Floats], rule: Tiers, tradeoff: float) -> float:
    n, total, last = len(loss[rule.tiers[0]]), 0.0, None
    rows = np.arange(n)
    for at, tier in enumerate(rule.tiers):
        for stage in tier:
            total += (1.0 - tradeoff) * hands.price(last, stage) * len(rows)
            last = stage
        ends = rows if at == len(rule.needed) else rows[votes[tier].votes[rows] >= rule.needed[at]]
        total += tradeoff * float(loss[tier][ends].sum())
        if at < len(rule.needed):
            rows = rows[votes[tier].votes[rows] < rule.needed[at]]
    return total / n


def _followed(rule: Tiers, test: Rows) -> Choice:
    answer, consulted, rows = np.zeros(test.n, np.int64), np.zeros((test.n, test.k), np.bool_), np.arange(test.n)
    for at, tier in enumerate(rule.tiers):
        found = vote(test, tier)
        consulted[np.ix_(rows, np.array(tier))] = True
        answer[rows] = found.answer[rows]
        if at < len(rule.needed):
            rows = rows[found.votes[rows] < rule.needed[at]]
    return Choice(answer, consulted)
