"""Cascade routing: after each answer, the set of stages to have run in the end is chosen anew.

Dekoninck, Baader and Vechev, "A unified approach to routing and cascading for LLMs", ICML 2025, section 4: with the
estimated quality of every stage, a set is worth the expected maximum over its stages, whose estimates are taken to be
Gaussian around what running all stages would say, less λ times its cost; the next stage of the best set is run, until
the best set is what has been run; each step has a λ of its own, tuned with the others. Own code. Qualities are minus
losses, by cross-fitted logistic regression on signals, classes and agreements of what has been run; the expected
maximum is a mean over Gaussian draws; the λ of each step is searched along one coordinate after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from estimates import Regression
from hands import STOP, Hand, Hands, walk
from rows import Choice, Floats, Ints, Rows, objective

import ttamer_fast as tt

DRAWS = 64
FACTORS = (0.0, 0.25, 0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.5, 4.0)
"""The λ of a step, as a multiple of what the trade-off says."""
PASSES = 2


@dataclass(frozen=True)
class Options:
    """The sets of stages that a hand may become, the hand itself first."""

    next_stage: Ints
    """(sets,) the stage that is run on the way to each; `STOP` for the hand itself."""
    cost: Floats
    """(sets,) of what is still to be run."""
    quality: Floats
    """(n, sets) expected quality of the best answer of each set."""
    best: Ints
    """(n,) the stage of the hand with the best answer; the first of all where the hand is empty."""


def cascade_routing(train: tt.Trace, test: Rows, tradeoffs: tuple[float, ...]) -> list[Choice]:
    hands = Hands.of(train)
    seen, new = estimated(train, hands, test)
    choices = []
    for tradeoff in tradeoffs:
        factors = tuned(train, hands, seen, tradeoff)
        choices.append(routed(hands, new, tradeoff, factors, test.k))
    return choices


def estimated(train: tt.Trace, hands: Hands, test: Rows) -> tuple[dict[Hand, Options], dict[Hand, Options]]:
    """What each hand says of the sets that it may become, of the training rows and of the others."""
    learner, order, loss = Regression(Rows.of(train), test), list(hands.order), train.loss
    constant = -loss[:, order].mean(axis=0)
    quality: dict[Hand, tuple[Floats, Floats]] = {(): (np.tile(constant, (train.n, 1)), np.tile(constant, (test.n, 1)))}
    for hand in hands.all[1:]:
        found = [learner.estimate(hand, loss[:, stage]) for stage in order]
        inside, outside = zip(*found, strict=True)
        quality[hand] = -np.stack(inside, axis=1), -np.stack(outside, axis=1)
    everything = quality[hands.all[-1]][0]
    normal = np.random.default_rng(0).standard_normal((DRAWS, len(order)))
    sides: tuple[dict[Hand, Options], dict[Hand, Options]] = ({}, {})
    for hand in hands.all:
        noise = normal @ root(np.atleast_2d(np.cov(quality[hand][0] - everything, rowvar=False))).T
        for side, options in zip(quality[hand], sides, strict=True):
            options[hand] = options_of(hands, hand, side, noise)
    return sides


def root(covariance: Floats) -> Floats:
    """A matrix whose product with its transpose is the covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def options_of(hands: Hands, hand: Hand, quality: Floats, noise: Floats) -> Options:
    """The sets that a hand may become, and what each is expected to be worth; O(rows · draws · sets)."""
    columns = {stage: at for at, stage in enumerate(hands.order)}
    drawn = quality[:, None, :] + noise
    next_stage, cost, worth = [], [], []

    def add(stages: Hand, first: int, paid: float, most: Floats | None) -> None:
        if stages and most is not None:
            next_stage.append(first)
            cost.append(paid)
            worth.append(most.mean(axis=1))
        for stage in hands.following(stages):
            each = drawn[:, :, columns[stage]]
            more = each if most is None else np.maximum(most, each)
            price = hands.price(stages[-1] if stages else None, stage)
            add((*stages, stage), stage if first == STOP else first, paid + price, more)

    in_hand = [columns[stage] for stage in hand]
    add(hand, STOP, 0.0, drawn[:, :, in_hand].max(axis=2) if hand else None)
    stages = np.array(hand or hands.order[:1])
    best = stages[quality[:, in_hand].argmax(axis=1)] if hand else np.full(len(quality), stages[0])
    return Options(np.array(next_stage, np.int64), np.array(cost), np.stack(worth, axis=1), best)


def routed(hands: Hands, options: dict[Hand, Options], tradeoff: float, factors: tuple[float, ...], k: int) -> Choice:
    """What is done with the λ of each step, step s being that at which s stages have been run."""
    following = {}
    for hand, found in options.items():
        price = (1.0 - tradeoff) * factors[min(len(hand), len(factors) - 1)]
        following[hand] = found.next_stage[(tradeoff * found.quality - price * found.cost).argmax(axis=1)]
    return walk(hands, following, {hand: found.best for hand, found in options.items()}, k)


def tuned(train: tt.Trace, hands: Hands, seen: dict[Hand, Options], tradeoff: float) -> tuple[float, ...]:
    """Multiples of λ, one a step, of the least objective on the training rows: first one for all, then step by step."""

    def value(factors: tuple[float, ...]) -> float:
        return float(objective(train, routed(hands, seen, tradeoff, factors, train.k), tradeoff).mean())

    steps = len(hands.order)
    best = min(((factor,) * steps for factor in FACTORS), key=value)
    for _ in range(PASSES):
        for step in range(steps):
            best = min(((*best[:step], factor, *best[step + 1 :]) for factor in FACTORS), key=value)
    return best
