"""Policies of every kind, requests for them, and what a plain loop around a run makes of a request."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

import ttamer_fast as tt
from conftest import make_trace

KINDS = ("models", "exits", "threshold", "patience", "static", "coin", "tree", "default", "nothing")
"""What :func:`policy_of` knows."""


@cache
def policy_of(kind: str) -> tt.Policy:
    """Belief policies in any order and on a line, simple rules, a coin between two, a tree, finite default losses."""
    models, exits = make_trace(600, 4), make_trace(600, 4, kind="exits")
    if kind in ("models", "exits"):
        return tt.fit(models if kind == "models" else exits, tradeoff=0.9)
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
        return tt.solve(tt.Model.tree([-1, 0, -1], loss, [0.02, 0.03, 0.05], [even, stay, even]))
    loss = [[0.0, 1.0], [0.0, 1.0]]
    default = {"default": 0.3, "nothing": 0.001}[kind]
    return tt.solve(tt.Model.line(loss, [0.05, 0.05], [even, stay]), default_loss=default)


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
