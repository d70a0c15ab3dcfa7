"""What deciding, solving and fitting cost, each beside something known, measured in one run: the ratios of README.

usage: python benches/speed.py [call] [batch] [replay] [solve] [fit] [--rounds 7]

Prints a markdown table. Every answer is asserted before it is timed. The two sides of a ratio are timed in turns, so
that a change of the machine's speed meets both, and the least time of each counts. Seconds are not portable; ratios
nearly are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt

SERVED = 3_000
"""Requests that are answered from a Python loop."""
THRESHOLD = 0.85


@dataclass(frozen=True)
class Ratio:
    """The engine beside something else."""

    what: str
    ours: str
    beside: str
    theirs: str
    ratio: float

    def line(self) -> str:
        """A row of the table."""
        return f"| {self.what} | {self.ours} | {self.theirs}, {self.beside} | {self.ratio:.2f} |"


HEAD = "| what | engine | beside it | ratio |\n| --- | --- | --- | --- |"


def in_turns(rounds: int, ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Least seconds of each."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, times in zip((ours, theirs), taken, strict=True):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return min(taken[0]), min(taken[1])


def exits(n: int, k: int, seed: int = 1) -> tt.Trace:
    """Exits that get better and dearer; a signal is the probability that the exit is right."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=(n, 1)) + np.linspace(0.0, 1.5, k)
    signal = 1.0 / (1.0 + np.exp(-ease - rng.normal(size=(n, k))))
    right = rng.random((n, k)) < signal
    return tt.Trace(signal, ~right, np.linspace(1.0, 3.0, k), prediction=right.astype(np.int64))


def six_exits() -> tuple[tt.Trace, tt.Policy]:
    trace = exits(20_000, 6)
    return trace, tt.fit(trace, tradeoff=0.97, graph="line")


def predictions(trace: tt.Trace) -> NDArray[np.int64]:
    assert trace.prediction is not None
    return trace.prediction


def answers_of(
    policy: tt.Policy, signals: Sequence[Sequence[float]], predictions: Sequence[Sequence[int]]
) -> list[int | None]:
    """The answers to requests that are served one by one from a Python loop: what a call costs."""
    answers = []
    for signal, prediction in zip(signals, predictions, strict=True):
        run = policy.start()
        stage, observe = run.next, run.observe
        while stage is not None:
            stage = observe(signal[stage], prediction[stage])
        answers.append(run.answer)
    return answers


def call(rounds: int) -> Ratio:
    """Whole requests from a Python loop, beside a Python function called as many times on the same signals."""
    trace, policy = six_exits()
    signals = [tuple(row) for row in trace.signal[:SERVED].tolist()]
    said = [tuple(row) for row in predictions(trace)[:SERVED].tolist()]
    replay = policy.replay(trace.signal[:SERVED], predictions(trace)[:SERVED])
    depths = replay.consulted.sum(axis=1).tolist()

    def serve() -> list[int | None]:
        return answers_of(policy, signals, said)

    def is_sure(signal: float) -> bool:
        return signal >= THRESHOLD

    def compare() -> None:
        for signal, depth in zip(signals, depths, strict=True):
            stage = 0
            while True:
                is_sure(signal[stage])
                stage += 1
                if stage == depth:
                    break

    calls = sum(depths)
    assert serve() == replay.answer.tolist()
    assert [is_sure(s) for s in signals[0]] == (trace.signal[0] >= THRESHOLD).tolist()
    ours, theirs = in_turns(3 * rounds, serve, compare)
    return Ratio(
        "call: a consulted stage from a Python loop, start of the request included",
        f"{1e9 * ours / calls:.0f} ns",
        "a Python function `c >= t` in a like loop",
        f"{1e9 * theirs / calls:.0f} ns",
        ours / theirs,
    )


def batch(rounds: int) -> Ratio:
    """The first observation of many requests, beside one comparison in numpy."""
    _, policy = six_exits()
    n = 100_000
    rng = np.random.default_rng(2)
    signal, prediction = rng.random(n), rng.integers(0, 2, n)
    first = policy.start().next
    assert first is not None

    def observe() -> tt.Batch:
        requests = policy.start_batch(n)
        requests.observe(first, signal, prediction)
        return requests

    found = observe().next
    for row in range(200):
        stage = policy.start().observe(float(signal[row]), int(prediction[row]))
        assert found[row] == (-1 if stage is None else stage)
    ours, theirs = in_turns(5 * rounds, observe, lambda: (signal >= THRESHOLD).nonzero())
    return Ratio(
        "batch: a request's first observation",
        f"{1e9 * ours / n:.2f} ns",
        "numpy `(s >= t).nonzero()`",
        f"{1e9 * theirs / n:.2f} ns",
        ours / theirs,
    )


def replay(rounds: int) -> Ratio:
    """A recorded trace on all cores, beside one threshold for all exits in numpy."""
    _, policy = six_exits()
    n, k = 500_000, 6
    signal = np.random.default_rng(3).random((n, k))
    prediction = (signal > 0.5).astype(np.int64)

    def threshold() -> NDArray[np.int64]:
        stops = signal >= THRESHOLD
        return np.where(stops.any(axis=1), stops.argmax(axis=1), k - 1)

    answers = policy.replay(signal, prediction).answer
    for row in range(200):
        run = policy.start()
        while (stage := run.next) is not None:
            run.observe(float(signal[row, stage]), int(prediction[row, stage]))
        assert run.answer == answers[row]
    assert threshold()[:200].tolist() == [
        next((j for j, s in enumerate(row) if s >= THRESHOLD), k - 1) for row in signal[:200].tolist()
    ]
    ours, theirs = in_turns(rounds, lambda: policy.replay(signal, prediction), threshold)
    return Ratio(
        f"replay of {n:,} × {k} signals",
        f"{1e-6 * n * k / ours:.0f} M/s",
        "numpy `(s >= t).argmax(1)`",
        f"{1e-6 * n * k / theirs:.0f} M/s",
        ours / theirs,
    )


def solve(rounds: int) -> Ratio:
    """A line of dense transitions, beside as many bare matrix products."""
    rng = np.random.default_rng(4)
    stages, states = 12, 1_000
    grid = rng.random(states)
    transition = [rng.dirichlet(np.full(states, 0.5), size=states if v else 1) for v in range(stages)]
    loss = [rng.permutation(grid) for _ in range(stages)]
    model = tt.Model.line(loss, 0.02 * rng.random(stages), transition)
    certificate = tt.verify(model, tt.solve(model))
    assert certificate.exact, certificate
    left, right = rng.random((states, states)), rng.random((states, states))
    ours, theirs = in_turns(min(rounds, 5), lambda: tt.solve(model), lambda: [left @ right for _ in range(stages - 1)])
    return Ratio(
        f"solve: line, {stages} stages, {states:,} states, dense",
        f"{ours:.2f} s",
        f"numpy's {stages - 1} bare matrix products",
        f"{theirs:.2f} s",
        ours / theirs,
    )


def fit(rounds: int) -> Ratio:
    """A large fit, beside a sort of the same signals."""
    trace = exits(1_000_000, 8)
    policy = tt.fit(trace, tradeoff=0.95, graph="line")
    simple = tt.baselines.threshold(trace, 0.95)
    assert tt.evaluate(policy, trace).objective < tt.evaluate(simple, trace).objective
    signal = np.asarray(trace.signal)
    ours, theirs = in_turns(
        min(rounds, 3), lambda: tt.fit(trace, tradeoff=0.95, graph="line"), lambda: np.sort(signal, axis=0)
    )
    return Ratio(
        f"fit: {trace.n:,} × {trace.k} exits, line",
        f"{ours:.2f} s",
        "sorting the signals",
        f"{theirs:.2f} s",
        ours / theirs,
    )


PARTS: Mapping[str, Callable[[int], Ratio]] = {part.__name__: part for part in (call, batch, replay, solve, fit)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--rounds", type=int, default=7, help="of each timing; more where the work is short")
    given = parser.parse_args()
    if unknown := set(given.parts) - PARTS.keys():
        parser.error(f"PART must be one of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    print(HEAD)
    for name in given.parts or PARTS:
        print(PARTS[name](given.rounds).line(), flush=True)


if __name__ == "__main__":
    main()
