"""Probes on recorded traces, over five folds: noise costs nothing, and the label is worth nearly what it can be."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import ttamer_fast as tt
from conftest import REPOSITORY
from probes import noise, with_probe

DIGITS = REPOSITORY / "benches" / "data" / "digits.npz"
FOLDS = 5
ROWS = 6000
"""Of a trace at most, drawn."""
TRADEOFF = 0.95
UNKNOWN = 2**40
"""A label that no stage says, where all are wrong."""


@pytest.fixture(scope="module")
def digits() -> tt.Trace:
    return tt.read_trace(DIGITS)


def traces_in(folder: Path) -> Iterator[tuple[str, tt.Trace]]:
    """At most `ROWS` rows of every trace; those that do not say their kind are models, but for exits of MiniLM."""
    for file in sorted(folder.glob("*.npz")):
        with np.load(file) as arrays:
            says_kind = "kind" in arrays.files
        trace = tt.read_trace(file, kind=None if says_kind else "exits" if "minilm" in file.stem else "models")
        yield file.stem, trace.rows(np.random.default_rng(0).permutation(trace.n)[:ROWS])


def folds_of(trace: tt.Trace) -> NDArray[np.int64]:
    """(n,) folds; rows that are the same are in one."""
    said = np.zeros((trace.n, 0)) if trace.prediction is None else trace.prediction
    _, number = np.unique(np.hstack([trace.signal, trace.loss, said]), axis=0, return_inverse=True)
    return np.asarray(np.random.default_rng(2).permutation(number.max() + 1) % FOLDS)[number.ravel()]


def prices(trace: tt.Trace) -> NDArray[np.float64]:
    """(k,) mean costs."""
    mean: NDArray[np.float64] = np.asarray(trace.cost, dtype=np.float64).reshape(-1, trace.k).mean(axis=0)
    return mean


def paid(trace: tt.Trace, full: float, fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) objectives, the cost as a share of `full`, of policies that were fitted to the other folds."""
    weighed = TRADEOFF / (TRADEOFF + (1.0 - TRADEOFF) * trace.full_cost / full)
    total = np.empty(trace.n)
    for i in range(FOLDS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tt.TTamerWarning)
            policy = tt.fit(trace[fold != i], tradeoff=weighed)
        judged = trace[fold == i]
        replay = policy.replay(judged.signal, judged.prediction)
        lost = judged.loss[np.arange(judged.n), replay.answer]
        total[fold == i] = TRADEOFF * lost + (1.0 - TRADEOFF) * replay.cost / full
    return total


def gap_of(name: str, ours: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """Mean of the paired differences and its standard error, as shares of the mean of `other`."""
    gap = (ours - other) / other.mean()
    mean, error = float(gap.mean()), float(gap.std(ddof=1) / math.sqrt(len(gap)))
    print(f"{name}: {ours.mean():.4f} beside {other.mean():.4f}, {mean:+.2%} ± {error:.2%}")
    return mean, error


def check_noise(name: str, trace: tt.Trace) -> None:
    """A probe that knows nothing, free and at a fiftieth of the cost of all stages.

    An exit cannot be passed over without its cost: at the end it need not be reached.
    """
    fold, full = folds_of(trace), trace.full_cost
    plain = paid(trace, full, fold)
    place = 0 if trace.kind == "models" else trace.k
    for share in (0.0, 0.02):
        probed = with_probe(trace, noise(trace), share * full, place=place)
        mean, error = gap_of(f"{name}, noise at {share:.0%}", paid(probed, full, fold), plain)
        assert mean < max(2.0 * error, 0.01)


def check_label(name: str, trace: tt.Trace) -> None:
    """The true label for nothing: most of the way from a fit without it to an oracle that makes the same choice.

    With the label an answer is seen to be right as soon as it is given. The oracle asks stages in an order until one is
    right, or gives up after the last; the best of all orders is found on the rows that the policy is fitted to. It
    does not use that the requests of some labels are harder.
    """
    fold, full = folds_of(trace), trace.full_cost
    said, right = trace.prediction, trace.loss == 0.0
    assert said is not None
    label = np.where(right.any(axis=1), said[np.arange(trace.n), right.argmax(axis=1)], UNKNOWN)
    assert ((said == label[:, np.newaxis]) == right).all()
    ours = paid(with_probe(trace, np.full(trace.n, 0.5), said=label), full, fold)
    oracle, plain = oracle_of(trace, full, fold), paid(trace, full, fold)
    gap_of(f"{name}, label beside an oracle", ours, oracle)
    covered = (plain.mean() - ours.mean()) / (plain.mean() - oracle.mean())
    print(f"{name}: {plain.mean():.4f} without the label, {covered:.1%} of the way to the oracle")
    assert covered > 0.8
    price = (1.0 - TRADEOFF) * prices(trace) / full
    reach = price if trace.kind == "models" else np.cumsum(price)
    assert ours.mean() >= (TRADEOFF * trace.loss + reach).min(axis=1).mean()


def oracle_of(trace: tt.Trace, full: float, fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) objectives of asking in an order until an answer is right, in the order that is best on the other folds."""
    k, price = trace.k, (1.0 - TRADEOFF) * prices(trace) / full
    if trace.kind == "models":
        orders = [order for size in range(1, k + 1) for order in permutations(range(k), size)]
    else:
        orders = [tuple(range(depth + 1)) for depth in range(k)]
    every = np.empty((len(orders), trace.n))
    for at, order in enumerate(orders):
        wrong = trace.loss[:, order] > 0.0
        reached = np.column_stack([np.ones(trace.n, dtype=bool), np.logical_and.accumulate(wrong, axis=1)])
        every[at] = reached[:, :-1] @ price[list(order)] + TRADEOFF * trace.loss[:, order].min(axis=1)
    total = np.empty(trace.n)
    for i in range(FOLDS):
        best = every[:, fold != i].mean(axis=1).argmin()
        total[fold == i] = every[best, fold == i]
    return total


@pytest.mark.rates
def test_noise_costs_nothing_on_digits(digits: tt.Trace) -> None:
    check_noise("digits", digits)


@pytest.mark.rates
def test_the_label_is_worth_nearly_what_it_can_be_on_digits(digits: tt.Trace) -> None:
    check_label("digits", digits)


@pytest.mark.outside("traces")
def test_noise_costs_nothing(outside_traces: Path) -> None:
    for name, trace in traces_in(outside_traces):
        check_noise(name, trace)


@pytest.mark.outside("traces")
def test_the_label_is_worth_nearly_what_it_can_be(outside_traces: Path) -> None:
    for name, trace in traces_in(outside_traces):
        check_label(name, trace)
