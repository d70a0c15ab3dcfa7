"""Every method on the same folds of a trace, and what each cell comes to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from contestants import OURS, Contestant
from kept import Kept
from rows import Floats, Rows, objective
from threadpoolctl import ThreadpoolController

import ttamer_fast as tt
from ttamer_fast.evaluation import cross_validation as cv

THREADS = ThreadpoolController()
"""Of scikit-learn: small models are learned in one, as many wait for each other most of the time."""


@dataclass(frozen=True)
class Cell:
    """One trace at one trade-off."""

    trace: str
    tradeoff: float
    objectives: Mapping[str, Floats]
    """By method: (n,) of each request, by what was learned from the other folds."""
    rivals: tuple[str, ...]

    def mean(self, method: str) -> float:
        return float(self.objectives[method].mean())

    def difference(self, method: str) -> tuple[float, float]:
        """Mean of a method's objective less ours, and the standard error of that, request by request."""
        paired = self.objectives[method] - self.objectives[OURS]
        return float(paired.mean()), float(paired.std(ddof=1) / np.sqrt(len(paired)))

    @property
    def best(self) -> str:
        """The rival with the least objective, in hindsight."""
        return min(self.rivals, key=self.mean)

    @property
    def ratio(self) -> float:
        """Our objective over that of the best rival."""
        return self.mean(OURS) / self.mean(self.best)

    @property
    def better(self) -> list[str]:
        """Rivals that are better than ours by two standard errors."""
        found = [(method, *self.difference(method)) for method in self.rivals]
        return [method for method, mean, error in found if mean < -2.0 * error]


@dataclass
class Contest:
    """What all cells are made with, and the seconds that it took."""

    methods: Mapping[str, Contestant]
    tradeoffs: tuple[float, ...]
    folds: int
    kept: Kept
    seconds: dict[str, float]
    """By method: processor time of what was not kept from before."""

    def cells(self, name: str, trace: tt.Trace) -> list[Cell]:
        check_complete(name, trace)
        part = cv.parts(trace, self.folds, seed=0)
        taking_part = {
            method: one
            for method, one in self.methods.items()
            if trace.prediction is not None or not one.needs_predictions
        }
        found = {method: np.empty((len(self.tradeoffs), trace.n)) for method in taking_part}
        for fold in range(self.folds):
            train, test = trace.rows(part != fold), trace.rows(part == fold)
            for method, one in taking_part.items():
                files = [self.kept.file(trace.digest, part, fold, one.digest, value) for value in self.tradeoffs]
                known = [self.kept.read(file, test.n) for file in files]
                missing = tuple(value for value, old in zip(self.tradeoffs, known, strict=True) if old is None)
                if missing:
                    started = time.process_time()
                    with THREADS.limit(limits=1):
                        new = iter(one.run(train, Rows.of(test), missing))
                    self.seconds[method] = self.seconds.get(method, 0.0) + time.process_time() - started
                for at, (value, file, old) in enumerate(zip(self.tradeoffs, files, known, strict=True)):
                    if old is None:
                        old = objective(test, next(new), value)
                        self.kept.write(file, old)
                    found[method][at, part == fold] = old
        rivals = tuple(method for method, one in taking_part.items() if not one.is_ours)
        return [
            Cell(name, tradeoff, {method: all_[at] for method, all_ in found.items()}, rivals)
            for at, tradeoff in enumerate(self.tradeoffs)
        ]


def check_complete(name: str, trace: tt.Trace) -> None:
    """Rivals know no weights, no unknown losses and no probes."""
    if trace.weight is not None or not np.isfinite(trace.loss).all():
        raise SystemExit(f"{name}: the contest needs traces without weights in which every loss is known and finite")
