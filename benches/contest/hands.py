"""Which answers may be in hand together, what one more costs, and how requests walk from hand to hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from rows import Choice, Floats, Ints, share_of_cost

import ttamer_fast as tt

MOST_MODELS = 5
"""So many separate models are looked at in every combination; of more, those that go together best."""
STOP = -1

Hand = tuple[int, ...]
"""Stages that have been run, in their order."""


@dataclass(frozen=True)
class Hands:
    """Stages in the order in which they may be run: every exit in turn, or models from cheap to dear, some left out."""

    order: tuple[int, ...]
    is_line: bool
    cost: Floats
    """(k,) of each stage, as a share of that of all."""

    @classmethod
    def of(cls, train: tt.Trace) -> Hands:
        cost = share_of_cost(train)
        if train.kind == "exits":
            return cls(tuple(range(train.k)), True, cost)
        return cls(tuple(sorted(together(train.loss, cost), key=lambda stage: (cost[stage], stage))), False, cost)

    @property
    def all(self) -> list[Hand]:
        """Every hand, smaller ones first; the first is empty."""
        if self.is_line:
            return [self.order[:size] for size in range(len(self.order) + 1)]
        return [hand for size in range(len(self.order) + 1) for hand in combinations(self.order, size)]

    def following(self, hand: Hand) -> tuple[int, ...]:
        """Stages that may be run next."""
        later = self.order[self.order.index(hand[-1]) + 1 :] if hand else self.order
        return later[:1] if self.is_line else later

    def price(self, last: int | None, stage: int) -> float:
        """Cost of running a stage after another: of exits, all that lies between."""
        if not self.is_line:
            return float(self.cost[stage])
        return float(self.cost[0 if last is None else last + 1 : stage + 1].sum())


def together(loss: Floats, cost: Floats) -> list[int]:
    """All stages, or those that would serve best together if the best answer were known: added greedily."""
    k = len(cost)
    if k <= MOST_MODELS:
        return list(range(k))
    price = loss + cost
    kept: list[int] = []
    for _ in range(MOST_MODELS):
        left = [stage for stage in range(k) if stage not in kept]
        kept.append(min(left, key=lambda stage: float(price[:, [*kept, stage]].min(axis=1).mean())))
    return kept


def walk(hands: Hands, following: Mapping[Hand, Ints], answer: Mapping[Hand, Ints], k: int) -> Choice:
    """Walks n requests from the empty hand to where they stop.

    `following[hand]` (n,) is the stage to run next or `STOP`, `answer[hand]` (n,) what is returned there.
    """
    n = len(following[()])
    chosen, consulted = np.full(n, STOP, np.int64), np.zeros((n, k), np.bool_)
    at: dict[Hand, list[Ints]] = {(): [np.arange(n)]}
    for hand in hands.all:
        rows = np.concatenate(at.pop(hand, [np.zeros(0, np.int64)]))
        if not len(rows):
            continue
        stage = following[hand][rows] if hands.following(hand) else np.full(len(rows), STOP, np.int64)
        ends = rows[stage == STOP]
        if len(ends):
            chosen[ends] = answer[hand][ends]
            consulted[np.ix_(ends, np.array(hand))] = True
        for runs in hands.following(hand):
            at.setdefault((*hand, runs), []).append(rows[stage == runs])
    return Choice(chosen, consulted)
