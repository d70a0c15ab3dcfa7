"""What thousands of policies in one process cost: from one calibration, for other goals at other prices.

usage: python benches/tenants.py [--policies 3000] [--rows 4000] [--stages 4] [TRACE.npz ...]

Prints a markdown table for a synthetic trace, or for those given: seconds a policy beside a fit of its own, bytes that
a policy keeps (growth of the process beyond what the calibration keeps), and what a request takes where each is decided
by another policy, beside one policy for all, from a Python loop.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import ttamer_fast as tt
from fit import seconds
from speed import HEAD, Ratio, in_turns

WARM = 32
"""Policies made before memory is counted: what these find out, the calibration keeps."""
FITS = 5
"""Fits beside the policies of a calibration."""


def synthetic(n: int, k: int) -> tt.Trace:
    """Models that get better and dearer, each as often right as it is sure."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=(n, 1))
    signal = 1.0 / (1.0 + np.exp(difficulty - rng.normal(size=(n, k)) - np.linspace(0.0, 2.0, k)))
    right = rng.random((n, k)) < signal
    said = np.where(right, 0, rng.integers(1, 4, size=(n, k)))
    return tt.Trace(signal, ~right, np.geomspace(1.0, 8.0, k), prediction=said, kind="models")


def resident() -> int:
    """Bytes of the process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tenants(trace: tt.Trace, count: int) -> Iterator[tuple[float, list[float]]]:
    """Trade-offs and prices, no two alike."""
    rng = np.random.default_rng(1)
    for tradeoff in rng.uniform(0.5, 0.99, count):
        yield float(tradeoff), (trace.mean_cost * rng.uniform(0.5, 2.0, trace.k)).tolist()


def served(policies: Sequence[tt.Policy], trace: tt.Trace) -> None:
    """A request of each policy, in turn."""
    signal = trace.signal.tolist()
    said = None if trace.prediction is None else trace.prediction.tolist()
    for at, policy in enumerate(policies):
        row = at % trace.n
        run = policy.start()
        while (stage := run.next) is not None:
            run.observe(signal[row][stage], None if said is None else said[row][stage])


def ratios(name: str, trace: tt.Trace, count: int) -> Iterator[Ratio]:
    """What policies of one calibration take, beside those of fits of their own."""
    what = f"{name}, {trace.n:,} × {trace.k}"
    goals = list(tenants(trace, count))
    fitted = seconds(lambda: [tt.fit(trace, tradeoff=goal) for goal, _ in goals[:FITS]], 1) / FITS
    started = time.perf_counter()
    calibration = tt.calibrate(trace)
    policies = [calibration.policy(tradeoff=goals[0][0], cost=goals[0][1])]
    first = time.perf_counter() - started
    yield Ratio(f"calibration and first policy, {what}", f"{first:.3f} s", "a fit", f"{fitted:.3f} s", first / fitted)
    policies += [calibration.policy(tradeoff=goal, cost=cost) for goal, cost in goals[1 : WARM + 1]]
    before, started = resident(), time.perf_counter()
    policies += [calibration.policy(tradeoff=goal, cost=cost) for goal, cost in goals[WARM + 1 :]]
    made = len(policies) - WARM - 1
    each, grown = (time.perf_counter() - started) / made, (resident() - before) / made
    yield Ratio(
        f"each further policy, {what}", f"{1e3 * each:.2f} ms", "a fit", f"{1e3 * fitted:.2f} ms", each / fitted
    )
    stored = float(np.mean([len(policy.to_bytes()) for policy in policies[:WARM]]))
    yield Ratio(f"memory of a policy, {what}", f"{grown:,.0f} B", "its file", f"{stored:,.0f} B", grown / stored)
    repriced = seconds(lambda: policies[0].repriced(goals[1][1]), 3)
    yield Ratio(f"`repriced`, {what}", f"{1e3 * repriced:.2f} ms", "a fit", f"{1e3 * fitted:.2f} ms", repriced / fitted)
    one = list(itertools.repeat(policies[0], count))
    turns, alone = in_turns(5, lambda: served(policies, trace), lambda: served(one, trace))
    per = 1e6 / count
    yield Ratio(
        f"a request, {count:,} policies in turn, {what}",
        f"{per * turns:.2f} µs",
        "one policy for all",
        f"{per * alone:.2f} µs",
        turns / alone,
    )


def main() -> None:
    """Measures, prints a row for each figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("traces", nargs="*", type=Path)
    parser.add_argument("--policies", type=int, default=3000)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--stages", type=int, default=4)
    given = parser.parse_args()
    if given.policies <= WARM + 1:
        parser.error(f"--policies must be above {WARM + 1}, got {given.policies}")
    warnings.simplefilter("ignore", tt.TTamerWarning)
    traces = [(path.stem, tt.read_trace(path, kind="models")) for path in given.traces]
    print(HEAD)
    for name, trace in traces or [("synthetic", synthetic(given.rows, given.stages))]:
        for one in ratios(name, trace, given.policies):
            print(one.line(), flush=True)


if __name__ == "__main__":
    main()
