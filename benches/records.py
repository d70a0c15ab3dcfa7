"""What records of a cascade cost: to write them beside serving, and to read a folder of many.

usage: python benches/records.py [--requests 20000] [--records 10000000] [--repeats 9]

Prints two markdown tables. The first has microseconds of CPU time a request of `cascade(x)`, that of the thread that
writes included, without a record, with one, and with one request in fifty run through; the least of several repeats,
taken in turns. The second has seconds and the largest memory of the process for a folder of records: written in
batches, counted, made a trace of 20,000 requests, read whole, and fitted to; a process for each, so that none sees the
memory of another.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import ttamer_fast as tt

NAMES = ["small", "medium", "large"]
ROWS = 4000
"""Requests that come again and again."""
BATCH = 50_000
SAMPLE = 20_000
SHARE = 0.02
WAYS = ("write", "count", "sample", "read", "fit")


def synthetic() -> tt.Trace:
    """Models that get better and dearer."""
    rng = np.random.default_rng(0)
    signal = rng.random((ROWS, len(NAMES))) ** [1.0, 0.5, 0.2]
    wrong = rng.random(signal.shape) > signal
    said = np.where(wrong, rng.integers(1, 5, signal.shape), 0)
    return tt.Trace(signal, wrong, [1.0, 4.0, 16.0], prediction=said, kind="models", stages=NAMES)


def looked_up(trace: tt.Trace, *, batched: bool) -> list[tt.Stage[Any, Any]]:
    """Stages that look up what they say of a request, by its number."""
    said = np.asarray(trace.prediction)

    def stage(v: int) -> tt.Stage[Any, Any]:
        outputs = list(zip(trace.signal[:, v].tolist(), said[:, v].tolist(), strict=True))
        signal, prediction = np.ascontiguousarray(trace.signal[:, v]), np.ascontiguousarray(said[:, v])
        if batched:
            return tt.Stage(
                outputs.__getitem__,
                batch=lambda rows: rows,
                signal=lambda rows: signal[rows],
                prediction=lambda rows: prediction[rows],
                name=NAMES[v],
            )
        return tt.Stage(
            outputs.__getitem__, signal=lambda output: output[0], prediction=lambda output: output[1], name=NAMES[v]
        )

    return [stage(v) for v in range(trace.k)]


def serving(requests: int, repeats: int) -> None:
    """The first table."""
    trace = synthetic()
    policy, stages = tt.fit(trace, tradeoff=0.9), looked_up(trace, batched=False)
    with tempfile.TemporaryDirectory() as folder, tt.RecordLog(folder) as log:
        ways = {
            "without a record": tt.Cascade(policy, stages),
            "with a record": tt.Cascade(policy, stages, record=log),
            f"and {SHARE:.0%} run through": tt.Cascade(policy, stages, record=log, explore=SHARE),
        }
        least = in_turns(ways, requests, repeats)
    print("| a request of `cascade(x)` | µs of CPU | beyond none |\n| --- | --- | --- |")
    print_beyond_the_first(least)


def in_turns(ways: Mapping[str, tt.Cascade[Any, Any]], requests: int, repeats: int) -> dict[str, float]:
    """Microseconds of CPU time that requests take, all threads of the process included: the least of several times."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, cascade in ways.items():
            started = time.process_time()
            for at in range(requests):
                cascade(at % ROWS)
            took[name].append(1e6 * (time.process_time() - started) / requests)
    return {name: min(times) for name, times in took.items()}


def print_beyond_the_first(least: Mapping[str, float]) -> None:
    """Rows of a table: each with how much more it takes than the first."""
    plain = next(iter(least.values()))
    for name, micros in least.items():
        print(f"| {name} | {micros:.2f} | {micros - plain:.2f} |")


def write(folder: Path, count: int) -> str:
    """Serves so many requests in batches."""
    trace = synthetic()
    policy, rng = tt.fit(trace, tradeoff=0.9), np.random.default_rng(1)
    with tt.RecordLog(folder, max_pending=4 * BATCH) as log:
        cascade = tt.Cascade(policy, looked_up(trace, batched=True), record=log, explore=SHARE)
        for first in range(0, count, BATCH):
            cascade.batch(rng.integers(0, ROWS, min(BATCH, count - first)))
            log.flush()
    size = sum(file.stat().st_size for file in folder.iterdir())
    return f"{log.written:,} written, {log.dropped} dropped, {size / 1e6:.0f} MB, serving included"


def sampled(folder: Path) -> tt.Trace:
    """A trace of some of the records."""
    return tt.read_records(folder).trace(teacher=NAMES[-1], sample=SAMPLE)


def fitted_twice(folder: Path) -> str:
    """Whether the same folder gives the same policy."""
    one, other = (tt.fit(sampled(folder), tradeoff=0.9).to_bytes() for _ in range(2))
    return "two fits, " + ("the same bytes" if one == other else "OTHER BYTES")


def measured(way: str, folder: Path, count: int) -> None:
    """One row of the second table, and what this process has needed."""
    ways: dict[str, Callable[[], str]] = {
        "write": partial(write, folder, count),
        "count": lambda: f"{len(tt.read_records(folder)):,} counted",
        "sample": lambda: f"a trace of {len(sampled(folder)):,}",
        "read": lambda: f"{sum(len(chunk) for chunk in tt.read_records(folder).chunks()):,} in chunks",
        "fit": partial(fitted_twice, folder),
    }
    started = time.perf_counter()
    what = ways[way]()
    seconds = time.perf_counter() - started
    print(f"| {what} | {seconds:.1f} | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} |", flush=True)


def volume(count: int) -> None:
    """The second table."""
    print("\n| records of three stages | s | MB at most |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            own = [sys.executable, __file__, "--records", str(count), "--way", way, "--folder", folder]
            subprocess.run(own, check=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("ignore", tt.CalibrationWarning)
    if given.way is not None:
        measured(given.way, given.folder, given.records)
        return
    serving(given.requests, given.repeats)
    volume(given.records)


if __name__ == "__main__":
    main()
