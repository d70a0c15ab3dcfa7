"""Logs of a cascade that is running: what its policy did not ask for is not known, but of requests run through."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt


class Log(NamedTuple):
    """A log, and the same requests complete."""

    trace: tt.Trace
    whole: tt.Trace
    explored: NDArray[np.bool_]
    """(n,)."""


def log_of(whole: tt.Trace, served: tt.Policy, share: float = 0.05, seed: int = 0, *, propensity: bool = True) -> Log:
    """What is on record where `served` decided, and a share of the requests was run through every stage."""
    own = np.array(served.replay(whole.signal, whole.prediction).consulted)
    if whole.kind == "exits":
        own = np.logical_or.accumulate(own[:, ::-1], axis=1)[:, ::-1]
    explored = np.random.default_rng(seed).random(whole.n) < share
    run = own | explored[:, np.newaxis]
    chance = np.where(own, 1.0, share)
    trace = tt.Trace(
        np.where(run, whole.signal, math.nan),
        np.where(run, whole.loss, math.nan),
        whole.cost,
        whole.prediction,
        kind=whole.kind,
        stages=whole.stages,
        propensity=np.where(run, chance, math.nan) if propensity else None,
    )
    return Log(trace, whole, explored)
