"""What drift monitors and trace builders are worth on recorded traces: figures of docs/research/.

usage: python benches/quality/production.py [FOLDER] [--part NAME]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from recorded import parser_of, traces_of

import ttamer_fast as tt

TRADEOFF = 0.95
ROWS = 20_000
HARDER = (1.5, 2)
"""How many times as often the first stage is wrong."""
REFERENCE, STREAM = 1500, 4000
"""Rows where requests become harder."""


Traces = Mapping[str, tt.Trace]
"""By name, rows in random order."""


def shuffled(trace: tt.Trace) -> tt.Trace:
    return trace.rows(np.random.default_rng(0).permutation(trace.n)[:ROWS])


def drift(traces: Traces, draws: int = 40) -> Iterator[str]:
    yield "| reference | stream | alarms, α = 0.05 | median requests to the alarm |"
    yield "| --- | --- | --- | --- |"
    for name, trace in traces.items():
        train, rest = trace.split(0.75, 7)
        policy = tt.fit(train, tradeoff=TRADEOFF)
        alarms = 0
        for seed in range(draws):
            both = rest.rows(np.random.default_rng(seed).permutation(rest.n))
            half = both.n // 2
            alarms += alarm(policy, both[:half], both[half:], 0.05, seed).alarm
        yield f"| {name} | its other half | {alarms} of {draws} | |"
        for more in HARDER if rest.n >= REFERENCE + STREAM else ():
            monitors = []
            for seed in range(draws):
                order = np.random.default_rng(seed).permutation(rest.n)
                stream = harder(rest, policy.start().next or 0, order[REFERENCE:], more, seed)
                monitors.append(alarm(policy, rest.rows(order[:REFERENCE]), stream, 0.05, seed))
            raised = [at for one in monitors if (at := one.alarmed_at) is not None]
            named = sum(one.report().watched == "difficulty" for one in monitors)
            median = f"{np.median(raised):.0f}" if raised else ""
            alarms_of = f"{len(raised)} of {draws}, {named} by difficulty"
            yield f"| {name} | first stage wrong {more} × as often | {alarms_of} | {median} |"
    if {"sst2_minilm", "tweets_minilm"} <= traces.keys():
        train, reference = traces["sst2_minilm"].split(0.5, 0)
        policy = tt.fit(train, tradeoff=TRADEOFF)
        other = traces["tweets_minilm"]
        monitors = []
        for seed in range(draws):
            stream = other.rows(np.random.default_rng(seed).permutation(other.n))
            monitors.append(alarm(policy, reference, stream, 0.05, seed))
        raised = [at for one in monitors if (at := one.alarmed_at) is not None]
        yield f"| sst2_minilm | tweets_minilm | {len(raised)} of {draws} | {np.median(raised):.0f} |"
        stages = [stage for one in monitors if (stage := one.report().stage) is not None]
        counts = ", ".join(f"{name} {stages.count(name)}" for name in sorted(set(stages)))
        yield f"\nstages named: {counts}; {cost(policy, reference)}"


def harder(trace: tt.Trace, stage: int, rows: NDArray[np.int64], more: float, seed: int) -> tt.Trace:
    """Some of the rows, those that a stage gets wrong so many times as frequent."""
    kept = (trace.loss[rows, stage] > 0.0) | (np.random.default_rng(seed).random(len(rows)) < 1.0 / more)
    return trace.rows(rows[kept][:STREAM])


def alarm(policy: tt.Policy, reference: tt.Trace, stream: tt.Trace, alpha: float, seed: int) -> tt.DriftMonitor:
    monitor = tt.DriftMonitor.fit(policy, reference, alpha=alpha, seed=seed)
    replay = policy.replay(stream.signal, stream.prediction)
    monitor.update_replay(replay, stream.signal, stream.prediction)
    return monitor


def cost(policy: tt.Policy, trace: tt.Trace) -> str:
    monitor = tt.DriftMonitor.fit(policy, trace)
    replay = policy.replay(trace.signal, trace.prediction)
    batch = min(timed(lambda: monitor.update_replay(replay, trace.signal, trace.prediction)) for _ in range(5))
    seen = []
    for row, run in zip(trace.signal[:2000], replay.consulted, strict=False):
        seen.append({int(stage): float(row[stage]) for stage in np.flatnonzero(run)})
    answers = replay.answer.tolist()

    def single() -> None:
        for signal, answer in zip(seen, answers, strict=False):
            monitor.update(signal, answer)

    alone = min(timed(single) for _ in range(5))
    return f"{1e6 * batch / trace.n:.1f} µs a request in batches, {1e6 * alone / len(seen):.0f} µs one by one"


def capacities(traces: Traces, draws: int = 8) -> Iterator[str]:
    sizes = (300, 1000, 3000, 10_000)
    yield "| trace | rows | objective of all rows |" + "".join(f" capacity {size} |" for size in sizes)
    yield "| --- | --- | --- |" + " --- |" * len(sizes)
    for name, trace in traces.items():
        cells = []
        whole = []
        for size in sizes:
            differences = []
            for seed in range(draws):
                train, test = trace.split(0.4, seed)
                if size >= train.n:
                    break
                builder = tt.TraceBuilder(train.stages, train.kind, capacity=size, seed=seed)
                builder.append(train.signal, train.loss, train.cost, train.prediction)
                ours, all_rows = (
                    1000.0 * tt.evaluate(tt.fit(part, tradeoff=TRADEOFF), test).objective
                    for part in (builder.build(), train)
                )
                differences.append(ours - all_rows)
                whole.append(all_rows)
            error = np.std(differences, ddof=1) / np.sqrt(draws) if differences else 0.0
            cells.append(f"{np.mean(differences):+.1f} ± {error:.1f}" if differences else "")
        yield f"| {name} | {train.n} | {np.mean(whole):.1f} | {' | '.join(cells)} |"


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


PARTS = (drift, capacities)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--part", choices=[part.__name__ for part in PARTS], help="default: all")
    given = parser.parse_args()
    traces = {name: shuffled(trace) for name, trace in traces_of(parser, given.folder).items()}
    for part in PARTS:
        if given.part not in (None, part.__name__):
            continue
        print(f"\n{part.__name__}\n")
        for line in part(traces):
            print(line, flush=True)


if __name__ == "__main__":
    main()
