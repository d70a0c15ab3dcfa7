"""Post-hoc deferral with recall: at each hand, the loss of every answer in it and the gain of every stage after it.

Jitkrittum et al., "When does confidence-based cascade deferral suffice?", NeurIPS 2023, section 4: a model of its own
learns from what a cascade has seen whether to go on. Here for more than two stages, by backward induction over every
hand: the gain of a stage is the regressed difference between what it leads to under the rules of the later hands and
the best answer in hand. Own code; the learners are scikit-learn's.
"""

from __future__ import annotations

import numpy as np
from estimates import BoostedTrees, Estimates, Learner, Regression
from hands import STOP, Hand, Hands, walk
from rows import Choice, Floats, Ints, Rows

import ttamer_fast as tt


def boosted_deferral(train: tt.Trace, test: Rows, tradeoffs: tuple[float, ...]) -> list[Choice]:
    """With boosted trees on signals, classes and agreements."""
    return deferral(train, BoostedTrees(Rows.of(train), test), tradeoffs)


def logistic_deferral(train: tt.Trace, test: Rows, tradeoffs: tuple[float, ...]) -> list[Choice]:
    """With logistic regression of losses and ridge regression of gains."""
    return deferral(train, Regression(Rows.of(train), test), tradeoffs)


def deferral(train: tt.Trace, learner: Learner, tradeoffs: tuple[float, ...]) -> list[Choice]:
    hands = Hands.of(train)
    loss = train.loss
    best: dict[Hand, tuple[Ints, Ints]] = {}
    losses: dict[Hand, Estimates] = {}
    for hand in hands.all[1:]:
        losses[hand] = found = [learner.estimate(hand, loss[:, stage]) for stage in hand]
        stages = np.array(hand)
        best[hand] = (
            stages[np.argmin([inside for inside, _ in found], axis=0)],
            stages[np.argmin([outside for _, outside in found], axis=0)],
        )
    return [_for_one(hands, loss, learner, losses, best, tradeoff) for tradeoff in tradeoffs]


def _for_one(
    hands: Hands,
    loss: Floats,
    learner: Learner,
    losses: dict[Hand, Estimates],
    best: dict[Hand, tuple[Ints, Ints]],
    tradeoff: float,
) -> Choice:
    n, m = len(loss), learner.test.n
    comes_to: dict[Hand, Floats] = {}
    following: dict[Hand, Ints] = {}
    for hand in reversed(hands.all[1:]):
        stopped = tradeoff * loss[np.arange(n), best[hand][0]]
        least, least_new = np.zeros(n), np.zeros(m)
        comes_to[hand], following[hand] = stopped.copy(), np.full(m, STOP, np.int64)
        for stage in hands.following(hand):
            goes_on = (1.0 - tradeoff) * hands.price(hand[-1], stage) + comes_to[*hand, stage]
            gain, gain_new = learner.estimate(hand, goes_on - stopped, losses[hand])
            comes_to[hand] = np.where(gain < least, goes_on, comes_to[hand])
            following[hand][gain_new < least_new] = stage
            least, least_new = np.minimum(least, gain), np.minimum(least_new, gain_new)
    first = min(
        hands.following(()),
        key=lambda stage: (1.0 - tradeoff) * hands.price(None, stage) + float(comes_to[stage,].mean()),
    )
    following[()] = np.full(m, first, np.int64)
    return walk(hands, following, {hand: new for hand, (_, new) in best.items()}, loss.shape[1])
