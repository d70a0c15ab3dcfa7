"""Every rule, tuned on some rows and judged on the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial

import numpy as np

from .. import baselines
from .._core import Learner, Outcome, Policy, ValidationError
from .._utils.arrays import Ints
from .._utils.checks import check_tradeoff
from .._utils.rule_names import CLAIRVOYANT, FIT, FIT_CUT_OFF, FIT_MEAN_FITS, FIT_NO_RECALL, LAST
from ..fitting.learners import learner_of
from ..traces import outcome
from ..traces.outcome import NO_TERMS, Terms
from ..traces.parts import parts_of_rows
from ..traces.trace import Trace

Progress = Callable[[float], None]
"""Called with the share of the work that is done, in [0, 1]."""

Rule = Callable[["Fold", float], Outcome]
"""(fold, trade-off) to what happens on the rows that the fold holds back."""

FITS = (FIT, FIT_NO_RECALL, FIT_CUT_OFF, FIT_MEAN_FITS)
WITHOUT_TIME = (FIT_CUT_OFF, FIT_MEAN_FITS)
WITHOUT_CASCADE = ("static", LAST)


class Fold:
    """Rows to learn from, and rows to judge on by some terms; every fit to them shares calibration and beliefs."""

    def __init__(self, train: Trace, test: Trace, terms: Terms = NO_TERMS, no_answer: float | None = None) -> None:
        """`no_answer`: what it loses where the terms have no default loss."""
        self.train = train
        self.test = test
        self.made_for = terms
        self.judged_by = terms if terms.default_loss is not None else terms._replace(default_loss=no_answer)

    @cached_property
    def learner(self) -> Learner:
        """The default fit to the training rows, for any trade-off, with recall and without; it knows of deadlines."""
        terms = self.made_for
        return (
            self.untimed
            if terms.deadline is None
            else learner_of(self.train, default_loss=terms.default_loss, deadline=True)
        )

    @cached_property
    def untimed(self) -> Learner:
        """The same that knows no time."""
        return learner_of(self.train, default_loss=self.made_for.default_loss)


def rules(trace: Trace, terms: Terms = NO_TERMS) -> dict[str, Rule]:
    """Every rule that applies to `trace` and `terms`, by name, simple ones first, the lower bound last."""
    found: dict[str, Rule] = {LAST: _last_stage}
    for name, baseline in baselines.ALL.items():
        if name != "patience" or trace.prediction is not None:
            found[name] = partial(_baseline, baseline)
    if terms.deadline is not None:
        found[FIT_CUT_OFF] = _cut_off
        found[FIT_MEAN_FITS] = _mean_fits
    found[FIT_NO_RECALL] = partial(_fit, recall=False)
    found[FIT] = partial(_fit, recall=None)
    found[CLAIRVOYANT] = _clairvoyant
    return found


def parts(trace: Trace, folds: int, seed: int) -> Ints:
    """(n,) number of the fold that holds each row back; rows that are one request are in one fold."""
    return parts_of_rows(trace.n, trace.core.units, folds, seed)


def judged(trace: Trace, part: Ints) -> tuple[Trace, Ints]:
    """The requests of a trace in folds `part` (n,) that rules are judged on, of which every loss is known, and the fold
    (m,) of each."""
    through = trace.run_through()
    if len(through) == len(trace):
        return through, part
    known = part[~np.isnan(trace.core.loss).any(axis=1)]
    empty = np.setdiff1d(part, known)
    if len(empty):
        raise ValidationError(
            f"`trace` must have requests that were run through every stage in each of {part.max() + 1} folds, got "
            f"{len(through)} and none in fold {empty[0]}"
        )
    return through, known


def cross_validate(
    trace: Trace,
    chosen: Mapping[str, Rule],
    tradeoffs: Sequence[float],
    folds: int,
    seed: int,
    progress: Progress | None = None,
    terms: Terms = NO_TERMS,
) -> list[dict[str, Outcome]]:
    """Out-of-sample outcomes of every rule on every row of :func:`judged` by some terms, one dict per trade-off."""
    # No answer loses the same in every fold.
    no_answer = None if terms.deadline is None else outcome.largest_loss(trace)
    part = parts(trace, folds, seed)
    through, part_through = judged(trace, part)
    lambdas = [check_tradeoff(tradeoff) for tradeoff in tradeoffs]
    pieces: list[dict[str, list[Outcome]]] = [{name: [] for name in chosen} for _ in lambdas]
    done, total = 0, len(lambdas) * len(chosen) * folds
    for f in range(folds):
        fold = Fold(trace.rows(part != f), through.rows(part_through == f), terms, no_answer)
        for tradeoff, of_rule in zip(lambdas, pieces, strict=True):
            for name, rule in chosen.items():
                of_rule[name].append(rule(fold, tradeoff))
                done += 1
                if progress is not None:
                    progress(done / total)
    order = np.argsort(part_through, kind="stable")
    return [{name: outcome.scattered(found, order) for name, found in of_rule.items()} for of_rule in pieces]


def _fit(fold: Fold, tradeoff: float, recall: bool | None) -> Outcome:
    return outcome.of_policy(fold.learner.draft(tradeoff, recall), fold.test, fold.judged_by)


def _cut_off(fold: Fold, tradeoff: float) -> Outcome:
    return outcome.of_policy(fold.untimed.draft(tradeoff, None), fold.test, fold.judged_by)


def _mean_fits(fold: Fold, tradeoff: float) -> Outcome:
    return outcome.careful(fold.untimed.draft(tradeoff, None), fold.test, fold.train, fold.judged_by)


def _baseline(tuned: Callable[[Trace, float, float], Policy], fold: Fold, tradeoff: float) -> Outcome:
    nothing = math.inf if fold.made_for.default_loss is None else fold.made_for.default_loss
    return outcome.of_policy(tuned(fold.train, tradeoff, nothing), fold.test, fold.judged_by)


def _last_stage(fold: Fold, _tradeoff: float) -> Outcome:
    return outcome.always(fold.test, fold.test.core.answering[-1], fold.judged_by)


def _clairvoyant(fold: Fold, tradeoff: float) -> Outcome:
    return outcome.clairvoyant(fold.test, tradeoff, fold.judged_by)
