"""Signals as they come: coarse, tied, on any scale, missing, useless, over-confident."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast._core import estimate
from ttamer_fast._utils.arrays import Floats
from ttamer_fast.traces import outcome

SIMPLE = ("static", "threshold", "stage_thresholds", "patience")
RNG = np.random.default_rng(0)

SIGNALS: dict[str, Callable[[Floats], Floats]] = {
    "as they are": lambda s: s,
    "one decimal": lambda s: np.round(s, 1),
    "two values": lambda s: (s > 0.7).astype(float),
    "one value": lambda s: np.full_like(s, 0.5),
    "ties at 1.0": lambda s: np.minimum(1.5 * s, 1.0),
    "a scale for each stage": lambda s: 1000.0 * s ** np.arange(1, s.shape[1] + 1) - 50.0,
    "the other way round": lambda s: -s,
    "a fifth missing": lambda s: np.where(RNG.random(s.shape) < 0.2, np.nan, s),
    "a stage at chance": lambda s: np.where(np.arange(s.shape[1]) == 1, RNG.random(s.shape), s),
    "a stage that is too sure": lambda s: np.where(np.arange(s.shape[1]) == 0, 0.9 + 0.1 * s, s),
    "infinite": lambda s: np.where(s > 0.9, np.inf, np.where(s < 0.2, -np.inf, s)),
}


@pytest.mark.rates
@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
@pytest.mark.parametrize("kind", ["models", "exits"])
@pytest.mark.parametrize("name", SIGNALS)
def test_no_signal_makes_the_default_worse_than_a_simple_rule(name: str, kind: str) -> None:
    plain = make_trace(n=5000, seed=11, kind=kind)
    trace = tt.Trace(SIGNALS[name](plain.signal), plain.loss, plain.cost, plain.prediction, kind=kind)
    train, test = trace.rows(slice(2500)), trace.rows(slice(2500, None))
    for tradeoff in (0.6, 0.9, 0.97):

        def judged(policy: tt.Policy, tradeoff: float = tradeoff) -> Floats:
            return outcome.objective(outcome.of_policy(policy, test), tradeoff, test)

        default = judged(tt.fit(train, tradeoff=tradeoff))
        rules = [judged(tt.baselines.ALL[rule](train, tradeoff)) for rule in SIMPLE]
        best = min(rules, key=lambda objective: float(objective.mean()))
        excess = default - best
        assert excess.mean() <= 2.0 * estimate(excess).standard_error + 0.01 * best.mean()


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
@pytest.mark.parametrize("kind", ["models", "exits"])
def test_equal_signals_are_decided_by_all_that_share_them(kind: str) -> None:
    plain = make_trace(n=600, seed=12, kind=kind)
    trace = tt.Trace(np.full_like(plain.signal, 0.5), plain.loss, plain.cost, kind=kind)
    for tradeoff in (0.5, 0.8, 0.9, 0.97):
        fitted = tt.fit(trace, tradeoff=tradeoff, recall=True)
        assert fitted.value <= tt.baselines.static(trace, tradeoff).value * 1.01
