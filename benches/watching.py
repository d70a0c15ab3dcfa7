"""What watching and recording cost a request, beside `start` and `observe` of the same requests, in one run.

usage: python benches/watching.py [--rounds 7]

Prints a markdown table, as benches/speed.py does; times are of one request, from a Python loop.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

import speed
import ttamer_fast as tt

SAMPLE = 300
"""Capacity of the builder that samples."""
BATCH = 500


def rows(rounds: int) -> Iterator[speed.Ratio]:
    """A row a way of taking requests in."""
    trace, policy = speed.six_exits()
    reference, served = trace[:2000], trace[2000 : 2000 + speed.SERVED]
    said = speed.predictions(served)
    signals, predictions = served.signal.tolist(), said.tolist()
    losses, cost = served.loss.tolist(), served.cost.tolist()
    replay = policy.replay(served.signal, said)
    consulted, answers = replay.consulted, replay.answer.tolist()
    stages: list[list[int]] = [np.flatnonzero(run).tolist() for run in consulted]
    seen = [{v: signals[i][v] for v in run} for i, run in enumerate(stages)]
    told = [{v: predictions[i][v] for v in run} for i, run in enumerate(stages)]

    def decide() -> list[int | None]:
        return speed.answers_of(policy, signals, predictions)

    def watch() -> None:
        for signal, answer, prediction in zip(seen, answers, told, strict=True):
            monitor.update(signal, answer, prediction)

    def watch_batch() -> None:
        monitor.update_batch(served.signal, consulted, replay.answer, said)

    def append(capacity: int | None) -> Callable[[], tt.TraceBuilder]:
        def each() -> tt.TraceBuilder:
            builder = tt.TraceBuilder(served.stages, capacity=capacity)
            for signal, loss, prediction in zip(signals, losses, predictions, strict=True):
                builder.append([signal], [loss], cost, [prediction])
            return builder

        return each

    def append_batches() -> tt.TraceBuilder:
        builder = tt.TraceBuilder(served.stages)
        for at in range(0, served.n, BATCH):
            part = slice(at, at + BATCH)
            builder.append(served.signal[part], served.loss[part], cost, said[part])
        return builder

    assert decide() == answers
    single, batch = (tt.DriftMonitor.fit(policy, reference) for _ in range(2))
    monitor = single
    watch()
    monitor = batch
    watch_batch()
    assert single.to_bytes() == batch.to_bytes()
    assert append(None)().build().digest == append_batches().build().digest
    depth = consulted.sum() / served.n
    for what, work in [
        (f"`DriftMonitor.update`, {depth:.2f} stages a request", watch),
        ("`DriftMonitor.update_batch`", watch_batch),
        ("`TraceBuilder.append`, a row in lists", append(None)),
        (f"the same, a sample of {SAMPLE}", append(SAMPLE)),
        (f"`TraceBuilder.append`, {BATCH} rows in arrays", append_batches),
    ]:
        ours, theirs = speed.in_turns(rounds, work, decide)
        own, beside = (f"{1e6 * seconds / served.n:.3f} µs" for seconds in (ours, theirs))
        yield speed.Ratio(what, own, "`start` and `observe`", beside, ours / theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="of each timing")
    print(speed.HEAD)
    for row in rows(parser.parse_args().rounds):
        print(row.line(), flush=True)


if __name__ == "__main__":
    main()
