"""What is watched of every stage: values of a request, and the random words that order equal ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._utils.arrays import Bools, Floats, Ints
from .._utils.splitmix import MASK, STEP, Words, mix

NO_PREDICTION = -(2**63)
"""The code of a prediction that there is not."""

WATCHED = ("signal", "agreement", "answer", "consulted")
"""What is watched of a stage."""


def keys(what: Ints, seed: int) -> Words:
    """(m,) one word for each quantity."""
    number = (len(WATCHED) * what[:, 0] + what[:, 1]).astype(np.uint64)
    return mix(number + np.uint64((seed + 1) * STEP & MASK))


def words(key: Words, start: int, n: int) -> Words:
    """(n, m) uniform words for requests start, start + 1, ...: a function of the key and the request."""
    number = np.arange(start, start + n, dtype=np.uint64) * np.uint64(STEP)
    return mix(number[:, None] ^ key)


def values(
    what: Ints,
    signal: Floats,
    run: Bools,
    answer: Ints | NDArray[np.int32],
    prediction: Ints | None,
) -> tuple[Floats, Bools]:
    """(n, m) values of the watched quantities, and where there are any."""
    n, k = run.shape
    stage = np.arange(k)
    value, there = np.zeros((n, len(WATCHED), k)), np.zeros((n, len(WATCHED), k), bool)
    value[:, 0], there[:, 0] = np.where(np.isnan(signal), -np.inf, signal), run
    if prediction is not None:
        said = run & (prediction != NO_PREDICTION)
        # The last stage that has an answer before each one, or -1.
        before = np.full((n, k), -1)
        np.maximum.accumulate(np.where(said, stage, -1)[:, :-1], axis=1, out=before[:, 1:])
        value[:, 1] = prediction == prediction[np.arange(n)[:, None], before]
        there[:, 1] = said & (before >= 0)
    value[:, 2], there[:, 2] = answer[:, None] == stage, run
    value[:, 3], there[:, 3] = run, True
    at = what[:, 1] * k + what[:, 0]
    return value.reshape(n, -1).take(at, axis=1), there.reshape(n, -1).take(at, axis=1)


def sums(value: Floats, there: Bools, before: Floats | float = 0.0) -> Floats:
    """(3, m) number of values, sum of the finite ones, and their number, added to those before."""
    finite = there & np.isfinite(value)
    with np.errstate(over="ignore"):
        total = np.where(finite, value, 0.0).sum(axis=0)
        sums: Floats = before + np.stack([there.sum(axis=0), total, finite.sum(axis=0)])
    return sums
