"""Every rule, tuned on some rows and judged on the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

import numpy as np

from .. import baselines
from .._core import Learner, Outcome, Policy
from .._utils.arrays import Ints
from .._utils.checks import check_tradeoff
from .._utils.rule_names import CLAIRVOYANT, FIT, FIT_NO_RECALL, LAST
from ..fitting.learners import learner_of
from ..traces import outcome
from ..traces.parts import parts_of_rows
from ..traces.trace import Trace

Progress = Callable[[float], None]
"""Called with the share of the work that is done, in [0, 1]."""

Rule = Callable[["Fold", float], Outcome]
"""(fold, trade-off) to what happens on the rows that the fold holds back."""

FITS = (FIT, FIT_NO_RECALL)
WITHOUT_CASCADE = ("static", LAST)


class Fold:
    """Rows to learn from, and rows to judge on, and what nothing loses; every fit to them shares calibration and beliefs."""

    def __init__(self, train: Trace, test: Trace, default_loss: float | None = None) -> None:
        self.train = train
        self.test = test
        self.default_loss = default_loss

    @cached_property
    def learner(self) -> Learner:
        """The default fit to the training rows, for any trade-off, with recall and without."""
        return learner_of(self.train, default_loss=self.default_loss)


def rules(trace: Trace) -> dict[str, Rule]:
    """Every rule that applies to `trace`, by name, simple ones first, the lower bound last."""
    found: dict[str, Rule] = {LAST: _last_stage}
    for name, baseline in baselines.ALL.items():
        if name != "patience" or trace.prediction is not None:
            found[name] = partial(_baseline, baseline)
    found[FIT_NO_RECALL] = partial(_fit, recall=False)
    found[FIT] = partial(_fit, recall=None)
    found[CLAIRVOYANT] = _clairvoyant
    return found


def parts(trace: Trace, folds: int, seed: int) -> Ints:
    """(n,) number of the fold that holds each row back; rows that are one request are in one fold."""
    return parts_of_rows(trace.n, trace.core.units, folds, seed)


def cross_validate(
    trace: Trace,
    chosen: Mapping[str, Rule],
    tradeoffs: Sequence[float],
    folds: int,
    seed: int,
    progress: Progress | None = None,
    default_loss: float | None = None,
) -> list[dict[str, Outcome]]:
    """Out-of-sample outcomes of every rule on every row, one dict per trade-off; nothing loses `default_loss`."""
    part = parts(trace, folds, seed)
    lambdas = [check_tradeoff(tradeoff) for tradeoff in tradeoffs]
    pieces: list[dict[str, list[Outcome]]] = [{name: [] for name in chosen} for _ in lambdas]
    done, total = 0, len(lambdas) * len(chosen) * folds
    for f in range(folds):
        fold = Fold(trace.rows(part != f), trace.rows(part == f), default_loss)
        for tradeoff, of_rule in zip(lambdas, pieces, strict=True):
            for name, rule in chosen.items():
                of_rule[name].append(rule(fold, tradeoff))
                done += 1
                if progress is not None:
                    progress(done / total)
    order = np.argsort(part, kind="stable")
    return [{name: outcome.scattered(found, order) for name, found in of_rule.items()} for of_rule in pieces]


def _fit(fold: Fold, tradeoff: float, recall: bool | None) -> Outcome:
    return outcome.of_policy(fold.learner.policy(tradeoff, recall), fold.test)


def _baseline(tuned: Callable[[Trace, float, float], Policy], fold: Fold, tradeoff: float) -> Outcome:
    nothing = math.inf if fold.default_loss is None else fold.default_loss
    return outcome.of_policy(tuned(fold.train, tradeoff, nothing), fold.test)


def _last_stage(fold: Fold, _tradeoff: float) -> Outcome:
    return outcome.always(fold.test, fold.test.k - 1)


def _clairvoyant(fold: Fold, tradeoff: float) -> Outcome:
    return outcome.clairvoyant(fold.test, tradeoff, fold.default_loss)
