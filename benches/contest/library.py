"""The rules of the library under test: its simple rules, and the fit itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from rows import Choice, Method, Rows

import ttamer_fast as tt
from ttamer_fast.fitting.learners import learner_of


def choice_of(policy: tt.Policy, test: Rows) -> Choice:
    """What a policy does."""
    replay = policy.replay(test.signal, test.prediction)
    return Choice(replay.answer.astype(np.int64), replay.consulted)


def simple(rule: str) -> Method:
    """A rule of `tt.baselines` as a method of the contest."""
    return partial(_simple, tt.baselines.ALL[rule])


def _simple(
    tuned: Callable[[tt.Trace, float], tt.Policy], train: tt.Trace, test: Rows, tradeoffs: tuple[float, ...]
) -> list[Choice]:
    return [choice_of(tuned(train, tradeoff), test) for tradeoff in tradeoffs]


def fitted(train: tt.Trace, test: Rows, tradeoffs: tuple[float, ...], recall: bool | None = None) -> list[Choice]:
    """`tt.fit`, its calibration shared by all trade-offs."""
    learner = learner_of(train)
    return [choice_of(learner.draft(tradeoff, recall), test) for tradeoff in tradeoffs]
