"""Cross-fitted estimates by learners of scikit-learn: no training row is judged by what was learned from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from features import Features, Table, bent
from hands import Hand
from rows import Floats, Ints, Rows
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge

INNER_FOLDS = 3
TREES: dict[str, Any] = {
    "max_iter": 60,
    "learning_rate": 0.07,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 20,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
INVERSE_PENALTY = 1.0
PENALTY = 10.0
LOSS_KNOTS = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0])

Estimate = tuple[Floats, Floats]
"""Of the training rows (n,), each by what was learned from others, and of the rows that judge (m,)."""
Estimates = Sequence[Estimate]


class Learner:
    """Estimates of some kind, from the training rows for these and for others."""

    def __init__(self, train: Rows, test: Rows, seed: int = 0) -> None:
        self.train, self.test, self.features = train, test, Features(train)
        self.part: Ints = np.random.default_rng(seed).permutation(train.n) % INNER_FOLDS
        self._tables: dict[Hand, tuple[Table, Table]] = {}

    def estimate(self, hand: Hand, target: Floats, losses: Estimates = ()) -> Estimate:
        """Expected `target` (n,) given what a hand shows, and what is known of its losses."""
        if hand not in self._tables:
            self._tables[hand] = self.tabled(self.train, hand), self.tabled(self.test, hand)
        seen, new = (
            self.beside(table, [loss[side] for loss in losses]) for side, table in enumerate(self._tables[hand])
        )
        inside, outside = np.empty(len(target)), np.zeros(len(new.values))
        for fold in range(INNER_FOLDS):
            away = self.part == fold
            predict = self.fitted(seen, ~away, target[~away])
            inside[away] = predict(seen.values[away])
            outside += predict(new.values) / INNER_FOLDS
        return inside, outside

    def fitted(self, table: Table, rows: Any, target: Floats) -> Callable[[Floats], Floats]:
        """What is learned from some rows; a constant where the target is one."""
        if (target == target[0]).all():
            return lambda values: np.full(len(values), target[0])
        is_binary = bool(np.isin(target, (0.0, 1.0)).all())
        model = self.model(is_binary, table).fit(table.values[rows], target)
        if is_binary:
            return lambda values: np.asarray(model.predict_proba(values)[:, 1], np.float64)
        return lambda values: np.asarray(model.predict(values), np.float64)

    def tabled(self, rows: Rows, hand: Hand) -> Table:
        raise NotImplementedError

    def beside(self, table: Table, losses: list[Floats]) -> Table:
        """A table with what estimated losses add to it."""
        raise NotImplementedError

    def model(self, is_binary: bool, table: Table) -> Any:
        raise NotImplementedError


class BoostedTrees(Learner):
    """Histogram gradient boosting: log loss where the target is 0 or 1, else squares."""

    def tabled(self, rows: Rows, hand: Hand) -> Table:
        return self.features.trees(rows, hand)

    def beside(self, table: Table, losses: list[Floats]) -> Table:
        """Nothing: trees find it by themselves."""
        return table

    def model(self, is_binary: bool, table: Table) -> Any:
        kind = HistGradientBoostingClassifier if is_binary else HistGradientBoostingRegressor
        return kind(categorical_features=list(table.categories) or None, random_state=0, **TREES)


class Regression(Learner):
    """Logistic regression where the target is 0 or 1, else ridge regression."""

    def tabled(self, rows: Rows, hand: Hand) -> Table:
        return self.features.lines(rows, hand)

    def beside(self, table: Table, losses: list[Floats]) -> Table:
        """Broken lines in each loss, and in the least of them: what is gained by another answer is no line in these."""
        if not losses:
            return table
        bent_losses = [bent(loss, LOSS_KNOTS) for loss in (*losses, np.min(losses, axis=0))]
        return Table(np.concatenate([table.values, *bent_losses], axis=1), ())

    def model(self, is_binary: bool, table: Table) -> Any:
        return LogisticRegression(C=INVERSE_PENALTY, max_iter=200, tol=1e-3) if is_binary else Ridge(alpha=PENALTY)
