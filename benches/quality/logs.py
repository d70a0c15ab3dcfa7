"""What learning from the log of a running cascade costs, against a trace in which every stage was run: markdown tables.

usage: python benches/quality/logs.py [FOLDER] [--explore 0.05 0.02] [--rows 4000] [--draws 2] [--rounds 100]

Stage thresholds, tuned on up to 1,000 other requests for λ = 0.9, serve; a share of the requests is run through every
stage. Fit: objective on held-out requests of the fit to the log over that of the fit to the same requests complete; and
the same of the fit to the requests run through alone. Judging: how often the 95 % intervals of `tt.evaluate` hold the
means of the population, for a policy that asks for more than the one that served, over drawn logs of 1,500 requests.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
from recorded import parser_of, traces_of

import ttamer_fast as tt

TRADEOFFS = (0.87, 0.95)
SERVED_FOR = 0.9
JUDGED_FOR = 0.97
JUDGED_ROWS = 1500


class Parts(NamedTuple):
    """Requests of one trace, each in one part."""

    served: tt.Policy
    log: tt.Trace
    test: tt.Trace


def parted(trace: tt.Trace, rows: int) -> Parts:
    """A policy that serves, requests that it serves, and others."""
    costs = np.asarray(trace.cost, float)
    trace = tt.Trace(
        trace.signal,
        trace.loss,
        costs / costs.sum(axis=-1, keepdims=True),
        prediction=trace.prediction,
        kind=trace.kind,
        stages=trace.stages,
    ).rows(np.random.default_rng(3).permutation(trace.n)[:13_000])
    first, size = min(1000, trace.n // 6), min(rows, trace.n // 2)
    rule = trace.rows(slice(first))
    served = tt.baselines.stage_thresholds(rule, SERVED_FOR)
    return Parts(served, trace.rows(slice(first, first + size)), trace.rows(slice(first + size, None)))


def logged(trace: tt.Trace, served: tt.Policy, share: float, seed: int) -> tuple[tt.Trace, np.ndarray]:
    """What is on record of requests that `served` decides, and which of them were run through."""
    own = np.array(served.replay(trace.signal, trace.prediction).consulted)
    if trace.kind == "exits":
        own = np.logical_or.accumulate(own[:, ::-1], axis=1)[:, ::-1]
    explored = np.random.default_rng(seed).random(trace.n) < share
    run = own | explored[:, np.newaxis]
    log = tt.Trace(
        np.where(run, trace.signal, math.nan),
        np.where(run, trace.loss, math.nan),
        trace.cost,
        prediction=trace.prediction,
        kind=trace.kind,
        stages=trace.stages,
        propensity=np.where(run, np.where(own, 1.0, share), math.nan),
    )
    return log, explored


def fitted(parts: Parts, share: float, draws: int) -> tuple[list[float], list[float]]:
    """Ratios to the fit to complete requests: of the fit to the log, and of that to the requests run through alone."""
    of_log: list[float] = []
    alone: list[float] = []
    for tradeoff in TRADEOFFS:
        whole = tt.evaluate(tt.fit(parts.log, tradeoff=tradeoff), parts.test).objective
        for seed in range(draws):
            log, explored = logged(parts.log, parts.served, share, seed)
            for trace, ratios in ((log, of_log), (parts.log.rows(explored), alone)):
                ratios.append(tt.evaluate(tt.fit(trace, tradeoff=tradeoff), parts.test).objective / whole)
    return of_log, alone


def held(parts: Parts, share: float, rounds: int) -> tuple[float, float]:
    """How often intervals of the loss and of the objective hold the means of all requests."""
    policy = tt.fit(parts.log, tradeoff=JUDGED_FOR)
    truth = tt.evaluate(policy, parts.test)
    rng = np.random.default_rng(0)
    found = np.zeros(2)
    for seed in range(rounds):
        drawn = parts.test.rows(rng.integers(0, parts.test.n, JUDGED_ROWS))
        # Rows that were drawn twice are two requests.
        drawn = tt.Trace(
            drawn.signal,
            drawn.loss,
            drawn.cost,
            prediction=drawn.prediction,
            kind=drawn.kind,
            stages=drawn.stages,
            group=np.arange(drawn.n),
        )
        log, _ = logged(drawn, parts.served, share, seed)
        judged = tt.evaluate(policy, log)
        for at, (interval, mean) in enumerate(((judged.loss_ci, truth.loss), (judged.objective_ci, truth.objective))):
            found[at] += interval[0] <= mean <= interval[1]
    return float(found[0] / rounds), float(found[1] / rounds)


def geometric(ratios: list[float]) -> float:
    """Mean of ratios."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--explore", type=float, nargs="+", default=[0.05, 0.02])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=100)
    given = parser.parse_args()
    warnings.simplefilter("ignore", tt.CalibrationWarning)
    warnings.simplefilter("ignore", tt.EvaluationWarning)
    head = [f"log, {share:.0%} run through | these alone | intervals hold loss, objective" for share in given.explore]
    print(f"| trace | {' | '.join(head)} |")
    print("| --- |" + " --- | --- | --- |" * len(given.explore))
    all_logs: dict[float, list[float]] = {share: [] for share in given.explore}
    all_alone: dict[float, list[float]] = {share: [] for share in given.explore}
    for name, trace in traces_of(parser, given.folder).items():
        parts, cells = parted(trace, given.rows), []
        for share in given.explore:
            of_log, alone = fitted(parts, share, given.draws)
            all_logs[share] += of_log
            all_alone[share] += alone
            loss, objective = held(parts, share, given.rounds)
            cells += [f"{geometric(of_log):.3f}", f"{geometric(alone):.3f}", f"{loss:.0%}, {objective:.0%}"]
        print(f"| {name} (n {parts.log.n}, k {trace.k}) | {' | '.join(cells)} |", flush=True)
    for share in given.explore:
        means = (f"{geometric(found[share]):.3f}, worst {max(found[share]):.3f}" for found in (all_logs, all_alone))
        print("\nGeometric means, {:.0%} run through: log {}; these alone {}".format(share, *means))


if __name__ == "__main__":
    main()
