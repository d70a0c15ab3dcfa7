"""What exits say of sentences, recorded and served, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt

__all__ = ["Recorded", "Served", "Timed", "as_columns", "serve", "timed"]


class Recorded(NamedTuple):
    """What all exits said of n sentences."""

    signal: NDArray[np.float64]
    """(n, k)"""
    prediction: NDArray[np.int64]
    """(n, k)"""

    @classmethod
    def by(cls, exits: tt.stages.OnnxExits, rows: Sequence[Any]) -> Recorded:
        """In batches of 32, by the blocks that serve."""
        logits = exits.logits(list(rows), batch=32)
        signals = [stage.signal(one) for stage, one in zip(exits, logits, strict=True)]
        classes = [tt.signals.max_probability(one, argmax=True)[1] for one in logits]
        return cls(np.stack(signals, axis=1), np.stack(classes, axis=1))


class Served(NamedTuple):
    """What a cascade gave for n sentences."""

    signal: NDArray[np.float64]
    """(n, k) NaN where an exit was not asked."""
    prediction: NDArray[np.int64]
    """(n, k) 0 there."""
    answer: NDArray[np.int64]
    """(n,) the exit that answered."""
    cost: NDArray[np.float64]
    """(n,) in the unit of the trace."""
    said: NDArray[np.int64]
    """(n,) the class that was answered."""


class Timed(NamedTuple):
    """Seconds a call, of the process and on the clock."""

    cpu: list[float]
    wall: list[float]

    def per_row(self, rows: int) -> float:
        """Milliseconds of CPU a row."""
        return 1e3 * sum(self.cpu) / rows

    def median(self) -> float:
        """Milliseconds on the clock, of a call in the middle."""
        return 1e3 * float(np.median(self.wall))


def serve(cascade: tt.Cascade[Any, Any], rows: Sequence[Any]) -> list[tt.Served[Any]]:
    """One row by a call, several by a batch."""
    return [cascade(rows[0])] if len(rows) == 1 else list(cascade.batch(list(rows)))


def timed(
    ways: Sequence[Callable[[Sequence[Any]], list[Any]]], rows: Sequence[Any], size: int
) -> list[tuple[list[Any], Timed]]:
    """What each way gives for all rows, `size` at a time, and how long it takes; the ways take turns, call by call."""
    found: list[tuple[list[Any], Timed]] = [([], Timed([], [])) for _ in ways]
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        for way, (outputs, times) in zip(ways, found, strict=True):
            wall, cpu = time.perf_counter(), time.process_time()
            outputs.extend(way(part))
            times.cpu.append(time.process_time() - cpu)
            times.wall.append(time.perf_counter() - wall)
    return found


def as_columns(served: Sequence[tt.Served[Any]]) -> Served:
    """Columns of what was served one by one."""
    signal = np.array([one.signal for one in served])
    prediction = np.array([[0 if said is None else said for said in one.prediction] for one in served], np.int64)
    answer = np.array([one.stage for one in served])
    said = prediction[np.arange(len(served)), answer]
    return Served(signal, prediction, answer, np.array([one.cost for one in served]), said)
