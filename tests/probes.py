"""Traces with a stage that never answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt

__all__ = ["noise", "with_probe"]

NONE = -(2**63)
"""No prediction."""


def with_probe(
    trace: tt.Trace,
    signal: NDArray[np.float64],
    cost: float = 0.0,
    said: NDArray[np.int64] | None = None,
    place: int = 0,
) -> tt.Trace:
    """The same requests with a stage at `place` that never answers."""

    def inserted(table: Any, column: Any) -> Any:
        return np.insert(np.asarray(table), place, column, axis=-1)

    given = trace.prediction
    labels = np.full(trace.n, NONE) if said is None else said
    return tt.Trace(
        inserted(trace.signal, signal),
        inserted(trace.loss, math.inf),
        inserted(trace.cost, cost),
        None if given is None else inserted(given, labels),
        kind=trace.kind,
        stages=[*trace.stages[:place], "probe", *trace.stages[place:]],
        weight=trace.weight,
        group=trace.group,
    )


def noise(trace: tt.Trace) -> NDArray[np.float64]:
    """A signal (n,) that knows nothing."""
    return np.random.default_rng(1).random(trace.n)
