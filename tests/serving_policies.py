"""Policies of every kind, requests for them, and what a plain loop around a run makes of a request."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

import ttamer_fast as tt
from conftest import make_trace

KINDS = (
    "models",
    "exits",
    "threshold",
    "patience",
    "static",
    "coin",
    "line",
    "skip",
    "tree",
    "default",
    "nothing",
    "declining",
    "refusing",
)
"""What :func:`policy_of` knows."""

DEFAULTS = {"default": 0.3, "nothing": 0.001, "declining": 0.15, "refusing": 0.15}
"""Losses of answering with nothing, where that is finite."""

TREE_COST = [0.02, 0.03, 0.05]
LINE_COST = [0.05, 0.05]
SKIP_COST = [[0.04, 0.05, 0.3], [0.0, 0.03, 0.06], [0.0, 0.0, 0.05]]


@cache
def policy_of(kind: str) -> tt.Policy:
    """Belief policies in any order and on a line, simple rules, a coin between two, exact models of every graph, and
    with finite default losses."""
    models, exits = make_trace(600, 4), make_trace(600, 4, kind="exits")
    if kind in ("models", "exits"):
        return tt.fit(models if kind == "models" else exits, tradeoff=0.9)
    if kind == "declining":
        return tt.fit(models, tradeoff=0.95, default_loss=DEFAULTS[kind])
    if kind == "refusing":
        return tt.baselines.threshold(exits, tradeoff=0.95, default_loss=DEFAULTS[kind])
    if kind == "static":
        return tt.baselines.static(models, tradeoff=0.9)
    if kind == "threshold":
        return tt.baselines.threshold(models, tradeoff=0.9)
    if kind == "patience":
        return tt.baselines.patience(exits, tradeoff=0.9)
    if kind == "coin":
        return tt.fit(models, max_cost=3.0)
    even = [[0.5, 0.5]]
    stay = [[0.7, 0.3], [0.2, 0.8]]
    if kind == "tree":
        loss = [[0.2, 0.9], [0.1, 0.8], [0.0, 0.7]]
        return tt.solve(tt.Model.tree([-1, 0, -1], loss, TREE_COST, [even, stay, even]))
    if kind == "skip":
        loss = [[0.1, 0.9], [0.1, 0.5], [0.0, 0.2]]
        return tt.solve(tt.Model.skip(loss, SKIP_COST, [even, stay, stay]))
    loss = [[0.0, 1.0], [0.0, 1.0]]
    return tt.solve(tt.Model.line(loss, LINE_COST, [even, stay]), default_loss=DEFAULTS.get(kind, math.inf))


def price_of(kind: str, last: int | None, stage: int) -> float:
    """What running `stage` costs under :func:`policy_of`, where `last` was the stage run before."""
    if kind in ("line", "default", "nothing"):
        return LINE_COST[stage]
    if kind == "tree":
        return TREE_COST[stage]
    before = -1 if last is None else last
    if kind == "skip":
        return SKIP_COST[before + 1][stage]
    costs = np.geomspace(1.0, 8.0, 4)
    return float(costs[before + 1 : stage + 1].sum() if kind in ("exits", "patience", "refusing") else costs[stage])


class Walked(NamedTuple):
    """How a request ends."""

    answer: int | None
    consulted: tuple[int, ...]
    cost: float
    expected_loss: float


def walk(policy: tt.Policy, signal: Sequence[float | None], prediction: Sequence[Hashable]) -> Walked:
    """By a plain loop around a run."""
    run = policy.start()
    consulted: list[int] = []
    while run.next is not None:
        consulted.append(run.next)
        run.observe(signal[run.next], prediction[run.next])
    return Walked(run.answer, tuple(consulted), run.cost, run.expected_loss)


def walked(record: tt.Record) -> Walked:
    """As a record tells it."""
    return Walked(record.answer, record.consulted, record.cost, record.expected_loss)


def signals_of(signal: Sequence[float | None], consulted: Sequence[int]) -> np.ndarray:
    """(k,) signals, NaN where a stage was not run."""
    given = np.array([np.nan if one is None else one for one in signal], np.float64)
    given[[v for v in range(len(given)) if v not in consulted]] = np.nan
    return given


def make_exits() -> tt.Trace:
    """The trace that the policy "exits" was fitted to."""
    return make_trace(600, 4, kind="exits")


def vectorised(trace: tt.Trace, sizes: list[int]) -> list[tt.Stage[int, Any]]:
    """Stages that take a row number, or an array of them, to what the trace recorded."""
    said = trace.prediction
    assert said is not None

    def stage(v: int) -> tt.Stage[int, Any]:
        def batch(rows: Any) -> Any:
            sizes.append(len(rows))
            return np.asarray(rows) * trace.k + v

        return tt.Stage(
            lambda row: row * trace.k + v,
            batch=batch,
            signal=lambda y: trace.signal[np.asarray(y) // trace.k, v],
            prediction=lambda y: said[np.asarray(y) // trace.k, v],
            name=f"stage {v}",
        )

    return [stage(v) for v in range(trace.k)]
