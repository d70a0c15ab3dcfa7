"""What fitting costs: beside a sort of the same signals, twenty trade-offs beside one, and by numbers of stages.

usage: python benches/fit.py [--rows 1000000] [--stages 8] [--only sizes]

Prints two markdown tables. Both sides of a ratio are measured in one run, the best of three each, or one of the
longest. Seconds of a processor count those of all threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

import ttamer_fast as tt
from speed import HEAD, Ratio
from ttamer_fast.evaluation import cross_validation as cv
from ttamer_fast.fitting.learners import learner_of

TRADEOFFS = np.linspace(0.5, 0.99, 20).tolist()
FOLDED = 20_000


def synthetic(n: int, k: int) -> tt.Trace:
    """Exits that get better and dearer, each as often right as it is sure."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=(n, 1))
    signal = 1.0 / (1.0 + np.exp(difficulty - rng.normal(size=(n, k)) - np.linspace(0.0, 1.5, k)))
    right = rng.random((n, k)) < signal
    return tt.Trace(signal, ~right, np.linspace(1.0, 3.0, k), prediction=right.astype(int))


def models(n: int, k: int) -> tt.Trace:
    """Models that name one of ten classes, each as often right as it is sure."""
    rng = np.random.default_rng(0)
    signal = 1.0 / (1.0 + np.exp(rng.normal(size=(n, 1)) - rng.normal(size=(n, k)) - np.linspace(0.0, 1.5, k)))
    right = rng.random((n, k)) < signal
    label = rng.integers(0, 10, (n, 1))
    prediction = np.where(right, label, (label + rng.integers(1, 10, (n, k))) % 10)
    return tt.Trace(signal, ~right, np.linspace(1.0, 3.0, k), prediction=prediction, kind="models")


def size_lines(rows: int) -> Iterator[str]:
    """A row for each number of stages: processor seconds of the default fit, bytes, and what deciding takes."""
    few, many = min(rows, 10_000), min(rows, 50_000)
    sizes = [(models, few, k) for k in (4, 5, 8, 20)] + [(synthetic, few, k) for k in (7, 12, 64)] + [(models, many, 5)]
    for make, n, k in sizes:
        trace = make(n, k)
        started = time.process_time()
        policy = tt.fit(trace, tradeoff=0.95)
        taken = time.process_time() - started
        signal, prediction = np.asarray(trace.signal), np.asarray(trace.prediction)
        reports = int(policy.replay(signal, prediction).consulted.sum())
        each = seconds(partial(policy.replay, signal, prediction)) / reports * 1e9
        size = len(policy.to_bytes())
        yield f"| {trace.kind} | {n:,} × {k} | {taken:.2f} s | {size:,} | {each:.0f} ns | {reports / n:.1f} |"


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """The least of several runs."""
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        run()
        found.append(time.perf_counter() - started)
    return min(found)


def twenty_policies(trace: tt.Trace) -> None:
    learner = learner_of(trace, "line")
    for tradeoff in TRADEOFFS:
        learner.policy(tradeoff)


def ratio(what: str, ours: float, beside: str, theirs: float) -> Ratio:
    return Ratio(what, f"{ours:.2f} s", beside, f"{theirs:.2f} s", ours / theirs)


def ratios(rows: int, stages: int) -> Iterator[Ratio]:
    """What fitting costs, beside less of the same."""
    trace = synthetic(rows, stages)
    size = f"{trace.n:,} × {trace.k}"
    # Hashing the trace for the provenance is done once for all fits.
    assert len(trace.digest) == 64
    one = seconds(lambda: tt.fit(trace, tradeoff=0.95, graph="line"))
    yield ratio(f"fit, line, {size}", one, "sorting the signals", seconds(lambda: np.sort(trace.signal, 0)))
    yield ratio(f"20 policies, line, {size}", seconds(lambda: twenty_policies(trace), 1), "one such fit", one)
    checked = seconds(lambda: tt.fit(trace, tradeoff=0.95))
    yield ratio(f"fit with the check against simple rules, {size}", checked, "the fit without", one)
    few = trace.rows(slice(FOLDED))
    twenty = seconds(lambda: tt.frontier(few, tradeoffs=TRADEOFFS), 1)
    last = seconds(lambda: tt.frontier(few, tradeoffs=TRADEOFFS[-1:]), 1)
    rules = len(cv.rules(few))
    yield ratio(f"`frontier` of 20 points, {rules} rules, {few.n:,} × {few.k}", twenty, "of 1 point", last)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--stages", type=int, default=8)
    parser.add_argument("--only", choices=["ratios", "sizes"], help="one of the tables")
    given = parser.parse_args()
    if given.only != "sizes":
        print(HEAD)
        for one in ratios(given.rows, given.stages):
            print(one.line(), flush=True)
    if given.only != "ratios":
        print("\n| kind | rows × stages | processor time of `fit` | bytes | a report, `replay` | reports a request |")
        print("| --- | --- | --- | --- | --- | --- |")
        for line in size_lines(given.rows):
            print(line, flush=True)


if __name__ == "__main__":
    main()
