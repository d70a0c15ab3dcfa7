"""What planning for a deadline is worth on recorded traces, out of sample: prints a markdown table.

usage: python benches/quality/deadlines.py [FOLDER] [--tradeoff 0.95] [--folds 2] [--rows 6000]

Latencies are simulated: lognormal, their medians in the ratio of the costs and 100 ms in all, logarithms with a
standard deviation of 0.7 and, between the stages of one request, a correlation of 0.5. A stage that is late is paid for
and lost. Objective: 1000 · (λ · loss + (1 − λ) · cost / cost of running every stage), the mean over cross-validation:
of the fit that knows time, of the same fit cut off by the deadline, and of the same fit in a loop that begins a stage
only if its mean latency fits in what is left. In brackets: change against the better of the two ± one paired standard
error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from recorded import parser_of, traces_of

import ttamer_fast as tt
from ttamer_fast._utils.rule_names import FIT, FIT_CUT_OFF, FIT_MEAN_FITS

DEADLINES = (0.02, 0.04, 0.06, 0.1, 0.25)
TOTAL = 0.1
SPREAD = 0.7
CORRELATION = 0.5
AVERAGED = 0.1
"""Deadlines up to this enter the geometric mean: there is something to plan."""


def timed(trace: tt.Trace) -> tt.Trace:
    """The trace with simulated latencies."""
    rng = np.random.default_rng(0)
    cost = np.asarray(trace.cost, float) if np.ndim(trace.cost) == 1 else np.mean(trace.cost, axis=0)
    shared, own = rng.normal(size=(trace.n, 1)), rng.normal(size=(trace.n, trace.k))
    noise = math.sqrt(CORRELATION) * shared + math.sqrt(1.0 - CORRELATION) * own
    latency = TOTAL * cost / cost.sum() * np.exp(SPREAD * noise)
    return tt.Trace(
        trace.signal,
        trace.loss,
        trace.cost,
        prediction=trace.prediction,
        kind=trace.kind,
        stages=trace.stages,
        latency=latency,
    )


def cells(trace: tt.Trace, tradeoff: float, folds: int) -> Iterator[tuple[float, str]]:
    """By deadline: the ratio to the better rule, and the cell."""
    for deadline in DEADLINES:
        first = tt.compare(trace, tradeoff=tradeoff, folds=folds, reference=FIT_CUT_OFF, deadline=deadline)
        better = min(FIT_CUT_OFF, FIT_MEAN_FITS, key=lambda name: first[name].objective)
        found = tt.compare(trace, tradeoff=tradeoff, folds=folds, reference=better, deadline=deadline)
        planned, base = found[FIT], found[better].objective
        change, error = 100.0 * planned.difference / base, 100.0 * planned.difference_se / base
        rest = f"{1e3 * found[FIT_CUT_OFF].objective:.1f} / {1e3 * found[FIT_MEAN_FITS].objective:.1f}"
        yield planned.objective / base, f"{1e3 * planned.objective:.1f}, {rest} ({change:+.1f} ± {error:.1f} %)"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--tradeoff", type=float, default=0.95)
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=6000)
    given = parser.parse_args()
    print(f"| trace | {' | '.join(f'{1e3 * deadline:g} ms' for deadline in DEADLINES)} |")
    print("| --- |" + " --- |" * len(DEADLINES))
    ratios = []
    for name, trace in traces_of(parser, given.folder).items():
        trace = trace.rows(slice(given.rows))
        found = list(cells(timed(trace), given.tradeoff, given.folds))
        ratios += [ratio for (ratio, _), deadline in zip(found, DEADLINES, strict=True) if deadline <= AVERAGED]
        print(f"| {name} (n {trace.n}, k {trace.k}) | {' | '.join(cell for _, cell in found)} |", flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"\nGeometric mean of the ratio to the better rule, deadlines up to {1e3 * AVERAGED:g} ms: {mean:.3f}")


if __name__ == "__main__":
    main()
