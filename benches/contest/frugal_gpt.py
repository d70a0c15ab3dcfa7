"""FrugalGPT's recipe: a score of each answer, and the best chain of up to three stages with jointly tuned thresholds.

Chen, Zaharia and Zou, "FrugalGPT: How to use large language models while reducing cost and improving performance",
2023, section 3, "LLM cascade": a scoring function says how reliable an answer is; a list of models and a threshold for
each are chosen together; the first answer whose score reaches its threshold is returned, the last one otherwise. Own
code. Scores are logistic regressions on the signal and the class of the one answer, cross-fitted; chains are those of
stages in any order, exits in theirs; thresholds are searched on a grid of quantiles, all pairs of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
from estimates import Regression
from hands import Hand, Hands
from rows import Choice, Floats, Ints, Rows

import ttamer_fast as tt

LONGEST = 3
GRID = 80
"""A threshold is one of so many quantiles of a score, or above all."""


def frugal_gpt(train: tt.Trace, test: Rows, tradeoffs: tuple[float, ...]) -> list[Choice]:
    learner, hands = Regression(Rows.of(train), test), Hands.of(train)
    bins: dict[int, tuple[Ints, Ints]] = {}
    for stage in hands.order:
        inside, outside = learner.estimate((stage,), train.loss[:, stage])
        edges = np.unique(np.quantile(-inside, np.linspace(0.0, 1.0, GRID + 1))[1:-1])
        bins[stage] = np.searchsorted(edges, -inside, "right"), np.searchsorted(edges, -outside, "right")
    return [_for_one(train.loss, hands, bins, tradeoff, test.k) for tradeoff in tradeoffs]


def chains(hands: Hands) -> Iterator[Hand]:
    """Every list of up to three stages that can be run one after the other."""
    for size in range(1, LONGEST + 1):
        for chain in permutations(hands.order, size):
            if not hands.is_line or list(chain) == sorted(chain):
                yield chain


def _for_one(loss: Floats, hands: Hands, bins: dict[int, tuple[Ints, Ints]], tradeoff: float, k: int) -> Choice:
    best = np.inf
    rule: tuple[Hand, tuple[int, ...]] = (hands.order[:1], ())
    for chain in chains(hands):
        paid = np.cumsum([hands.price(last, stage) for last, stage in zip((None, *chain), chain, strict=False)])
        ends = tradeoff * loss[:, chain] + (1.0 - tradeoff) * paid
        value, thresholds = tuned([bins[stage][0] for stage in chain[:-1]], ends)
        if value < best:
            best, rule = value, (chain, thresholds)
    return _followed(*rule, {stage: new for stage, (_, new) in bins.items()}, k)


def tuned(scores: list[Ints], ends: Floats) -> tuple[float, tuple[int, ...]]:
    """The least mean objective and its thresholds: a request ends at the first stage whose score reaches its own.

    `scores` are bins 0 to `GRID` of all stages but the last, `ends` (n, stages) what ending at each comes to. O(n +
    GRID²): all thresholds of two stages are judged by sums over a table of pairs of bins.
    """
    n, size = len(ends), GRID + 1
    if not scores:
        return float(ends[:, 0].mean()), ()
    first = scores[0]
    stops = np.append(np.cumsum(np.bincount(first, ends[:, 0], size)[::-1])[::-1], 0.0)
    if len(scores) == 1:
        goes_on = np.append(0.0, np.cumsum(np.bincount(first, ends[:, 1], size)))
        total = stops + goes_on
        at = int(total.argmin())
        return float(total[at]) / n, (at,)
    pair = first * size + scores[1]
    second, last = (np.bincount(pair, ends[:, at], size * size).reshape(size, size).cumsum(axis=0) for at in (1, 2))
    stops_second = np.concatenate([second[:, ::-1].cumsum(axis=1)[:, ::-1], np.zeros((size, 1))], axis=1)
    reaches_last = np.concatenate([np.zeros((size, 1)), last.cumsum(axis=1)], axis=1)
    later = np.concatenate([np.zeros((1, size + 1)), stops_second + reaches_last])
    total = stops[:, None] + later
    one, other = np.unravel_index(int(total.argmin()), total.shape)
    return float(total[one, other]) / n, (int(one), int(other))


def _followed(chain: Hand, thresholds: tuple[int, ...], scores: dict[int, Ints], k: int) -> Choice:
    n = len(scores[chain[0]])
    answer, consulted, open_ = np.full(n, chain[-1], np.int64), np.zeros((n, k), np.bool_), np.ones(n, np.bool_)
    for stage, threshold in zip(chain, (*thresholds, 0), strict=True):
        consulted[open_, stage] = True
        ends = open_ & (scores[stage] >= threshold)
        answer[ends] = stage
        open_ &= ~ends
    return Choice(answer, consulted)
