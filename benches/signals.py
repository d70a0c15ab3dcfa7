"""What signals of logits cost beside numpy: the largest probability with its class, and all four signals.

usage: python benches/signals.py [--rounds 25]

Prints a markdown table of µs a call. Both sides give the same numbers, which is asserted before they are timed; they
are timed in turns, and the least time of each counts. numpy's side shares one softmax between the four signals, the
engine reads the logits once for each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttamer_fast import signals

SHAPES = ((1, 2), (1, 1000), (32, 10), (256, 10), (256, 1000), (32, 50257))
CELLS = 300_000
"""So many logits are read between two looks at the clock, if not more in one call."""
MOST_CALLS = 2_000
HEAD = "| logits | dtype | what | engine, µs | numpy, µs | numpy / engine |\n| --- | --- | --- | --- | --- | --- |"


def largest(logits: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """The largest probability and its class."""
    return signals.max_probability(logits, argmax=True)


def largest_in_numpy(logits: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """The same."""
    return 1.0 / np.exp(logits - logits.max(axis=-1, keepdims=True)).sum(axis=-1), logits.argmax(axis=-1)


def four(logits: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """All signals and the class."""
    sure, classes = signals.max_probability(logits, argmax=True)
    return sure, classes, signals.margin(logits), signals.negative_entropy(logits), signals.energy(logits)


def four_in_numpy(logits: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """The same, by one softmax."""
    most = logits.max(axis=-1, keepdims=True)
    less = logits - most
    power = np.exp(less)
    total = power.sum(axis=-1, keepdims=True)
    p = power / total
    two = np.partition(p, -2, axis=-1)[..., -2:]
    log_total = np.log(total)
    entropy = (p * (less - log_total)).sum(axis=-1)
    return two[..., 1], logits.argmax(axis=-1), two[..., 1] - two[..., 0], entropy, (most + log_total)[..., 0]


def least(calls: int, rounds: int, *works: Callable[[], object]) -> list[float]:
    """Seconds of a call of each, the least of several rounds in turns."""
    found = [float("inf")] * len(works)
    for _ in range(rounds):
        for i, work in enumerate(works):
            started = time.perf_counter()
            for _ in range(calls):
                work()
            found[i] = min(found[i], (time.perf_counter() - started) / calls)
    return found


def rows(rounds: int) -> Iterator[str]:
    """A line of the table for each shape, dtype and task."""
    rng = np.random.default_rng(0)
    for n, c in SHAPES:
        for dtype, tolerance in ((np.float32, 2e-4), (np.float64, 1e-12)):
            logits = (3.0 * rng.normal(size=(n, c))).astype(dtype)
            calls = max(1, min(MOST_CALLS, CELLS // logits.size))
            for what, ours, theirs in (
                ("largest probability, class", largest, largest_in_numpy),
                ("four signals, class", four, four_in_numpy),
            ):
                for found, expected in zip(ours(logits), theirs(logits), strict=True):
                    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
                engine, beside = least(calls, rounds, partial(ours, logits), partial(theirs, logits))
                yield (
                    f"| {n} × {c} | {logits.dtype} | {what} | {1e6 * engine:.2f} | {1e6 * beside:.2f} "
                    f"| {beside / engine:.1f} |"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25, help="of each timing")
    print(HEAD)
    for row in rows(parser.parse_args().rounds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
