"""What deciding costs beside engines: the same requests, with engines that hand out what has been recorded."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

import numpy as np

import ttamer_fast as tt

__all__ = ["table"]

ROUNDS = 9
BATCH = 256


def table(policy: tt.Policy, trace: tt.Trace) -> str:
    """Nanoseconds of CPU a request and stage that the loop, reading outputs and deciding take, by the way of serving.

    Every way is measured in every round, and counts with its fastest; calling the engines and nothing else is what
    is taken off. An engine here is a list of what it said.
    """
    assert trace.prediction is not None
    said = [
        list(zip(prediction, signal, strict=True))
        for prediction, signal in zip(trace.prediction.T.tolist(), trace.signal.T.tolist(), strict=True)
    ]
    engines = [guesses.__getitem__ for guesses in said]
    stages = [tt.Stage(engine, signal=lambda guess: guess[1], prediction=lambda guess: guess[0]) for engine in engines]
    cascade = tt.Cascade(policy, stages)
    consulted = policy.replay(trace.signal, trace.prediction).consulted
    asked = [[engines[j] for j in np.flatnonzero(row)] for row in consulted]
    steps = int(consulted.sum())

    def only_engines() -> None:
        for row, calls in enumerate(asked):
            for call in calls:
                call(row)

    def run() -> None:
        for row in range(trace.n):
            request = policy.start()
            stage = request.next
            while stage is not None:
                prediction, signal = engines[stage](row)
                stage = request.observe(signal, prediction)

    def one_by_one() -> None:
        for row in range(trace.n):
            cascade(row)

    def in_batches() -> None:
        for first in range(0, trace.n, BATCH):
            cascade.batch(list(range(first, min(first + BATCH, trace.n))))

    ways: dict[str, Callable[[], None]] = {
        "engines": only_engines,
        "policy.start()": run,
        "cascade(x)": one_by_one,
        f"cascade.batch, {BATCH}": in_batches,
    }
    fastest = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begun = process_time()
            way()
            fastest[name] = min(fastest[name], process_time() - begun)
    cost = np.asarray(trace.cost)
    spent = float((consulted * cost).sum()) * 1e-6
    cheapest = 1000 * cost.min()
    lines = [
        f"{'decision and loop':<20}{'ns a stage':>12}{'of the cheapest call':>22}{'of all time':>13}",
    ]
    for name in list(ways)[1:]:
        over = max(0.0, fastest[name] - fastest["engines"])
        each = 1e9 * over / steps
        lines.append(f"{name:<20}{each:>12.0f}{each / cheapest:>22.1%}{over / (over + spent):>13.2%}")
    return "\n".join(lines)
