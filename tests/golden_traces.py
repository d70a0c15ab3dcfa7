"""Seeded traces of every shape that a fit may meet, the same numbers on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

FRESH = 150
"""Requests that are decided and not learned from."""


@dataclass(frozen=True)
class Recorded:
    """A trace to fit to, and requests to decide on."""

    name: str
    train: tt.Trace
    signal: Floats
    """(n, k)."""
    prediction: Ints | None
    """(n, k) or None."""

    @property
    def digest(self) -> str:
        """SHA-256 of all numbers, computed here so that it does not depend on the library."""
        train = self.train
        return digest_of(
            [train.signal, train.loss, train.cost, train.prediction, train.weight, self.signal, self.prediction]
        )


def digest_of(arrays: list[NDArray[Any] | None]) -> str:
    content = hashlib.sha256()
    for array in arrays:
        content.update(b"none" if array is None else repr(array.shape).encode() + array.astype("<f8").tobytes())
    return content.hexdigest()


@dataclass(frozen=True)
class Shape:
    """What sets one trace apart from the others."""

    name: str
    kind: str
    k: int
    n: int = 500
    predicts: bool = True
    weighted: bool = False
    missing: float = 0.0
    """Share of signals that are NaN."""
    tied: bool = False
    """Signals in tenths, those of stage 1 all alike."""
    graded: bool = False
    """Losses other than 0 and 1."""
    row_costs: bool = False


SYNTHETIC = (
    Shape("exits of 5", "exits", 5),
    Shape("exits of 4, no predictions", "exits", 4, predicts=False),
    Shape("exits of 6, weighted", "exits", 6, weighted=True),
    Shape("exits of 5, missing signals", "exits", 5, missing=0.15),
    Shape("exits of 4, tied signals", "exits", 4, tied=True),
    Shape("exits of 10", "exits", 10),
    Shape("exits of 4, few rows", "exits", 4, n=250),
    Shape("models of 4", "models", 4),
    Shape("models of 3, no predictions", "models", 3, predicts=False),
    Shape("models of 5, weighted", "models", 5, weighted=True),
    Shape("models of 4, missing signals", "models", 4, missing=0.15),
    Shape("models of 4, tied signals", "models", 4, tied=True),
    Shape("models of 4, graded losses", "models", 4, graded=True),
    Shape("models of 7", "models", 7),
    Shape("models of 10", "models", 10),
    Shape("models of 3, few rows", "models", 3, n=250),
    Shape("a single model", "models", 1),
)
ROW_COSTS = (
    Shape("exits of 4, costs by row", "exits", 4, row_costs=True),
    Shape("models of 4, costs by row", "models", 4, row_costs=True),
    Shape("models of 3, weighted, costs by row", "models", 3, weighted=True, row_costs=True),
)


def synthetic_traces() -> Iterator[Recorded]:
    """Traces whose costs are the same for every request."""
    return (made(shape, seed) for seed, shape in enumerate(SYNTHETIC))


def row_cost_traces() -> Iterator[Recorded]:
    """Traces whose costs vary by row."""
    return (made(shape, seed) for seed, shape in enumerate(ROW_COSTS, start=100))


def made(shape: Shape, seed: int) -> Recorded:
    """Requests of varying difficulty, stages that get better and dearer, signals that say something."""
    rng = np.random.default_rng(seed)
    n, k = shape.n + FRESH, shape.k
    skill = np.linspace(0.55, 0.95, k) if k > 1 else np.array([0.8])
    difficulty = rng.random((n, 1))
    sure = np.clip(skill + 0.5 - 0.8 * difficulty + 0.4 * (rng.random((n, k)) - 0.5), 0.02, 0.98)
    right = rng.random((n, k)) < sure
    # Wrong answers agree now and then, so that agreement is evidence and not proof.
    wrong = 1 + (4.0 * rng.random((n, k))).astype(np.int64)
    prediction = np.where(right, 0, wrong)
    signal = np.round(0.8 * sure + 0.2 * rng.random((n, k)), 4)
    if shape.tied:
        signal = np.round(signal, 1)
        signal[:, 1] = 0.5
    if shape.missing:
        signal[rng.random((n, k)) < shape.missing] = np.nan
    loss = np.where(right, 0.0, np.round(0.2 + 2.8 * rng.random((n, k)), 2)) if shape.graded else (~right).astype(float)
    cost = np.round(1.6 ** np.arange(k), 3)
    rows = slice(shape.n)
    train = tt.Trace(
        signal[rows],
        loss[rows],
        np.round(cost * (0.5 + difficulty[rows] + rng.random((shape.n, k))), 3) if shape.row_costs else cost,
        prediction=prediction[rows] if shape.predicts else None,
        kind=shape.kind,
        stages=[f"s{j}" for j in range(k)],
        weight=np.round(3.0 * rng.random(shape.n), 2) if shape.weighted else None,
    )
    odd_signal, odd_prediction = odd_requests(k)
    return Recorded(
        shape.name,
        train,
        np.concatenate([odd_signal, signal]),
        np.concatenate([odd_prediction, prediction]) if shape.predicts else None,
    )


def odd_requests(k: int) -> tuple[Floats, Ints]:
    """Signals and predictions that no calibration request had."""
    values = [0.0, 1.0, -1.0, 2.0, 0.5, 1e300, -1e300, np.inf, -np.inf, np.nan, 5e-324, -0.0]
    constant = np.repeat(np.array(values)[:, None], k, axis=1)
    mixed = np.array([[values[(3 * row + 5 * stage) % len(values)] for stage in range(k)] for row in range(12)])
    prediction = np.array([[(row * stage) % 3 for stage in range(k)] for row in range(24)])
    prediction[20], prediction[21], prediction[22] = 77, -1, np.arange(k) + 2**40
    return np.concatenate([constant, mixed]), prediction
