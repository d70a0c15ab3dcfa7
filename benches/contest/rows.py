"""What a method of the contest is shown of the requests that judge it, and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NOTHING = np.iinfo(np.int64).min
"""The code of no prediction."""


@dataclass(frozen=True)
class Rows:
    """Signals and predictions of n requests at k stages, without their losses."""

    signal: Floats
    """(n, k)"""
    prediction: Ints | None
    """(n, k), or None where stages say none."""

    @classmethod
    def of(cls, trace: tt.Trace) -> Rows:
        return cls(trace.signal, trace.prediction)

    @property
    def n(self) -> int:
        return len(self.signal)

    @property
    def k(self) -> int:
        return int(self.signal.shape[1])


@dataclass(frozen=True)
class Choice:
    """Which stages were run for each request, and whose answer was returned."""

    answer: Ints
    """(n,)"""
    consulted: Bools
    """(n, k)"""


class Method(Protocol):
    """Learns from a trace, for some trade-offs, what to do with requests: a choice for each trade-off."""

    def __call__(self, train: tt.Trace, test: Rows, tradeoffs: tuple[float, ...]) -> list[Choice]: ...


def share_of_cost(trace: tt.Trace) -> Floats:
    """(k,) mean cost of each stage as a share of that of all stages."""
    mean: Floats = trace.mean_cost
    share: Floats = mean / mean.sum()
    return share


def spent(trace: tt.Trace, consulted: Bools) -> Floats:
    """(n,) cost of running stages, as a share of the mean cost of all: exits pay for everything up to the deepest."""
    run = consulted
    if trace.kind == "exits":
        run = np.logical_or.accumulate(consulted[:, ::-1], axis=1)[:, ::-1]
    paid: Floats = np.where(run, trace.cost, 0.0).sum(axis=1) / trace.full_cost
    return paid


def objective(trace: tt.Trace, choice: Choice, tradeoff: float) -> Floats:
    """(n,) λ · loss + (1 − λ) · cost / cost of all stages, of each request of a trace."""
    loss: Floats = trace.loss[np.arange(trace.n), choice.answer]
    return tradeoff * loss + (1.0 - tradeoff) * spent(trace, choice.consulted)
