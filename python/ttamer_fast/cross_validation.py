"""Every rule, tuned on some rows and judged on the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from . import baselines, fitting, outcome
from ._core import Policy, ValidationError
from .outcome import Outcome
from .trace import Trace

Progress = Callable[[float], None]
"""Called with the share of the work that is done, in [0, 1]."""

Rule = Callable[[Trace, Trace, float], Outcome]
"""(training rows, test rows, trade-off) to what happens on the test rows."""

FIT = "fit"
FIT_NO_RECALL = "fit, no recall"
LAST = "last stage"
CLAIRVOYANT = "clairvoyant"

FITS = (FIT, FIT_NO_RECALL)
WITHOUT_CASCADE = ("static", LAST)


def rules(trace: Trace) -> dict[str, Rule]:
    """Every rule that applies to `trace`, by name, simple ones first, the lower bound last."""
    found: dict[str, Rule] = {LAST: _last_stage}
    for name, baseline in baselines.ALL.items():
        if name != "patience" or trace.prediction is not None:
            found[name] = partial(_baseline, baseline)
    found[FIT_NO_RECALL] = partial(_fit, recall=False)
    found[FIT] = partial(_fit, recall="auto")
    found[CLAIRVOYANT] = _clairvoyant
    return found


def cross_validate(
    trace: Trace,
    chosen: Mapping[str, Rule],
    tradeoffs: Sequence[float],
    folds: int,
    seed: int,
    progress: Progress | None = None,
) -> list[dict[str, Outcome]]:
    """Out-of-sample outcomes of every rule on every row, one dict per trade-off."""
    if isinstance(folds, bool) or not isinstance(folds, int) or not 2 <= folds <= trace.n:
        raise ValidationError(f"`folds` must be an integer from 2 to the {trace.n} rows, got {folds!r}")
    fold = np.random.default_rng(seed).permutation(trace.n) % folds
    parts = [(trace.rows(fold != f), trace.rows(fold == f)) for f in range(folds)]
    order = np.argsort(fold, kind="stable")
    results, done, total = [], 0, len(tradeoffs) * len(chosen) * folds
    for tradeoff in tradeoffs:
        weight = outcome.check_tradeoff(tradeoff)
        of_rule = {}
        for name, rule in chosen.items():
            pieces = []
            for train, test in parts:
                pieces.append(rule(train, test, weight))
                done += 1
                if progress is not None:
                    progress(done / total)
            of_rule[name] = outcome.scattered(pieces, order)
        results.append(of_rule)
    return results


def _fit(train: Trace, test: Trace, tradeoff: float, recall: bool | str) -> Outcome:
    return outcome.of_policy(fitting.fit(train, tradeoff=tradeoff, recall=recall), test)


def _baseline(tuned: Callable[[Trace, float], Policy], train: Trace, test: Trace, tradeoff: float) -> Outcome:
    return outcome.of_policy(tuned(train, tradeoff), test)


def _last_stage(_train: Trace, test: Trace, _tradeoff: float) -> Outcome:
    return outcome.always(test, test.k - 1)


def _clairvoyant(_train: Trace, test: Trace, tradeoff: float) -> Outcome:
    return outcome.clairvoyant(test, tradeoff)
