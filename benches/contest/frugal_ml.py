"""FrugalML, exactly: one base stage; then, for each class that it names, a threshold and a stage to add below it.

Chen, Zaharia and Zou, "FrugalML: How to use ML prediction APIs more accurately and cheaply", NeurIPS 2020, sections 2
and 3. There a budget is held by drawing between two such rules; at a given trade-off one rule is best, and it is found
here exactly: for each base, class and added stage by the sums over requests in order of their signal. Own code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hands import Hands
from rows import NOTHING, Choice, Floats, Rows

import ttamer_fast as tt

NO_STAGE = -1


@dataclass(frozen=True)
class Addition:
    """The stage to run after the base where its signal is below a threshold."""

    stage: int
    threshold: float


NEVER = Addition(NO_STAGE, -np.inf)


def frugal_ml(train: tt.Trace, test: Rows, tradeoffs: tuple[float, ...]) -> list[Choice]:
    hands = Hands.of(train)
    return [_for_one(train, hands, test, tradeoff) for tradeoff in tradeoffs]


def _for_one(train: tt.Trace, hands: Hands, test: Rows, tradeoff: float) -> Choice:
    best, base, rules = np.inf, hands.order[0], dict[int, Addition]()
    for stage in hands.order:
        value, found = _with_base(train, hands, stage, tradeoff)
        if value < best:
            best, base, rules = value, stage, found
    answer, consulted = np.full(test.n, base, np.int64), np.zeros((test.n, test.k), np.bool_)
    consulted[:, base] = True
    said = _classes(test, base)
    for name, rule in rules.items():
        if rule.stage != NO_STAGE:
            rows = (said == name) & ~(test.signal[:, base] >= rule.threshold)
            answer[rows] = rule.stage
            consulted[rows, rule.stage] = True
    return Choice(answer, consulted)


def _classes(rows: Rows, stage: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(n,) what a stage says; one class for all where stages say nothing."""
    return np.full(rows.n, NOTHING) if rows.prediction is None else rows.prediction[:, stage]


def _with_base(train: tt.Trace, hands: Hands, base: int, tradeoff: float) -> tuple[float, dict[int, Addition]]:
    """The least mean objective with a base stage, and the rule of each class."""
    said, signal = _classes(Rows.of(train), base), train.signal[:, base]
    total, rules = 0.0, {}
    for name in np.unique(said):
        rows = said == name
        stops = tradeoff * train.loss[rows, base]
        later = [stage for stage in hands.order if stage != base and (not hands.is_line or stage > base)]
        adds = {
            stage: tradeoff * train.loss[rows, stage] + (1.0 - tradeoff) * hands.price(base, stage) for stage in later
        }
        value, rules[int(name)] = best_addition(signal[rows], stops, adds)
        total += value
    return total / train.n + (1.0 - tradeoff) * hands.price(None, base), rules


def best_addition(signal: Floats, stops: Floats, adds: dict[int, Floats]) -> tuple[float, Addition]:
    """The least sum over requests of one class, and its rule.

    `signal` and `stops` (m,): of the base's answers and what returning them comes to; `adds` by stage (m,): what its
    answers come to. A threshold lies between two different signals; a signal of NaN is below all. O(m log m) a stage.
    """
    order = np.argsort(np.where(np.isnan(signal), -np.inf, signal), kind="stable")
    ranked = signal[order]
    is_cut = np.append(np.append(True, ~(ranked[1:] == ranked[:-1]) & ~np.isnan(ranked[1:])), True)
    best, rule = float(stops.sum()), NEVER
    for stage, added in adds.items():
        sums = np.append(0.0, np.cumsum((added - stops)[order])) + stops.sum()
        at = int(np.where(is_cut, sums, np.inf).argmin())
        if sums[at] < best:
            threshold = np.inf if at == len(signal) else float(ranked[at])
            best, rule = float(sums[at]), Addition(stage, threshold)
    return best, rule
