"""What the tests share: a synthetic trace, a fitted policy, and the shared folder where there is one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

import ttamer_fast as tt

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared"

settings.register_profile("default", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def make_trace(n: int = 2000, k: int = 4, seed: int = 0, kind: str = "models", predictions: bool = True) -> tt.Trace:
    """Requests of varying difficulty, stages that get better and dearer, calibrated signals."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=(n, 1))
    signal = 1.0 / (1.0 + np.exp(difficulty - rng.normal(size=(n, k)) - np.linspace(0.0, 2.0, k)))
    right = rng.random((n, k)) < signal
    wrong_answer = rng.integers(1, 4, size=(n, k))
    prediction = np.where(right, 0, wrong_answer) if predictions else None
    return tt.Trace(signal, ~right, np.geomspace(1.0, 8.0, k), prediction=prediction, kind=kind)


@pytest.fixture(scope="session")
def trace() -> tt.Trace:
    return make_trace()


@pytest.fixture(scope="session")
def policy(trace: tt.Trace) -> tt.Policy:
    return tt.fit(trace, tradeoff=0.95)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Vectors, traces and acceptance scripts beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent")
    return SHARED
