"""What the answers in hand look like to a learner: signals, classes, and which of them agree."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from hands import Hand
from rows import NOTHING, Floats, Ints, Rows

MOST_CLASSES = 100
"""The classes that stages name most often have a feature of their own; others are one class."""
KNOTS = np.array([0.0, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 1.0])
"""Shares of the training rows with a smaller signal at which a line may bend."""


@dataclass(frozen=True)
class Table:
    """Features of m requests."""

    values: Floats
    """(m, p)"""
    categories: tuple[int, ...]
    """Columns that are numbers of classes."""


class Features:
    """Learned from the training rows: the classes that occur, and how signals spread."""

    def __init__(self, train: Rows) -> None:
        self.sorted = np.sort(train.signal, axis=0)
        said = np.zeros(0, np.int64) if train.prediction is None else train.prediction[train.prediction != NOTHING]
        names, counts = np.unique(said, return_counts=True)
        self.classes = np.sort(names[np.argsort(-counts, kind="stable")[:MOST_CLASSES]])

    def trees(self, rows: Rows, hand: Hand) -> Table:
        """For trees: signals as they are, numbers of classes, agreements."""
        columns = [rows.signal[:, stage] for stage in hand]
        categories: tuple[int, ...] = ()
        if rows.prediction is not None:
            categories = tuple(range(len(hand), 2 * len(hand)))
            columns += [self._number(rows.prediction[:, stage]).astype(np.float64) for stage in hand]
            columns += agreements(rows.prediction, hand)
        return Table(np.stack(columns, axis=1), categories)

    def lines(self, rows: Rows, hand: Hand) -> Table:
        """For linear learners: broken lines in the rank of each signal, a column a class, agreements."""
        columns = [self._bent(rows.signal[:, stage], stage) for stage in hand]
        if rows.prediction is not None:
            each = np.arange(len(self.classes))
            columns += [(self._number(rows.prediction[:, stage])[:, None] == each).astype(np.float64) for stage in hand]
            columns += [column[:, None] for column in agreements(rows.prediction, hand)]
        return Table(np.concatenate(columns, axis=1), ())

    def rank(self, signal: Floats, stage: int) -> Floats:
        """(n,) share of training rows with a smaller signal, ties by half; 0 where there is none."""
        known = self.sorted[~np.isnan(self.sorted[:, stage]), stage]
        if not len(known):
            return np.zeros(len(signal))
        middle = np.searchsorted(known, signal, "left") + np.searchsorted(known, signal, "right")
        return np.where(np.isnan(signal), 0.0, middle / (2.0 * len(known)))

    def _bent(self, signal: Floats, stage: int) -> Floats:
        """(n, knots + 1): weights of the knots around the rank, and whether there is no signal."""
        rank = self.rank(signal, stage)
        return np.concatenate([bent(rank, KNOTS), np.isnan(signal).astype(np.float64)[:, None]], axis=1)

    def _number(self, said: Ints) -> Ints:
        """(n,) number of each class among those that have a feature; the next number for all others."""
        if not len(self.classes):
            return np.zeros(len(said), np.int64)
        at = np.minimum(np.searchsorted(self.classes, said), len(self.classes) - 1)
        return np.where(self.classes[at] == said, at, len(self.classes)).astype(np.int64)


def bent(value: Floats, knots: Floats) -> Floats:
    """(n, knots) weights of the knots around each value: a line in these bends at every knot."""
    return np.stack([np.interp(value, knots, one) for one in np.eye(len(knots))], axis=1)


def agreements(prediction: Ints, hand: Hand) -> list[Floats]:
    """(n,) for each pair in hand: whether both said the same."""
    return [
        ((prediction[:, one] == prediction[:, other]) & (prediction[:, one] != NOTHING)).astype(np.float64)
        for one, other in combinations(hand, 2)
    ]
