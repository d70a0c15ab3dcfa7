"""How often the intervals of `evaluate` hold the truth, and how far `compare` is off in its own standard errors.

usage: python benches/quality/intervals.py [FOLDER] [--draws 1000] [--repeats 24]

The first table is about seeded requests of two models under one policy; the truth is the mean over 300,000 of them.
*Student* is the usual interval of a mean; *MOVER* that of the objective from the intervals of its two parts (Zou and
Donner 2008). A cell is the share of draws whose interval holds the truth @ the mean width of the intervals. The second
table is about recorded traces: the rules that are compared are also tuned on all rows of a draw, and judged on the rows
that are left over.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from recorded import parser_of, traces_of

import ttamer_fast as tt
from ttamer_fast._core import estimate
from ttamer_fast._utils.arrays import Floats, Ints
from ttamer_fast._utils.rule_names import CLAIRVOYANT, FIT, FIT_NO_RECALL
from ttamer_fast.evaluation import cross_validation as cv
from ttamer_fast.evaluation.comparison import hindsight_of
from ttamer_fast.evaluation.intervals import cross_validated_error, mean_interval, student_quantile
from ttamer_fast.traces import outcome

TRADEOFF = 0.9
SIZES = (50, 300)
FITTED, TRUTH = 2000, 300_000
ROWS, FOLDS, MOST_ROWS = (300, 1000), 5, 30_000

Requests = Callable[[np.random.Generator, int], tt.Trace]
Interval = tuple[float, float]


def requests(severity: Callable[[np.random.Generator, int], Floats], errors: float = 0.05, **how: float) -> Requests:
    """Requests of two models, whose wrong answers lose `severity`; as many are wrong as `errors` says.

    With `copies` each request is there so often; with `group` so many requests share their difficulty; `weighted`:
    weights that differ; `slow`: costs that differ by row, on a logarithmic scale of that spread.
    """

    def draw(rng: np.random.Generator, n: int) -> tt.Trace:
        members = int(how.get("group", 1))
        number = np.arange(n) // members
        hard = rng.normal(size=number[-1] + 1)[number, None]
        steps = np.log(1.0 / errors - 1.0) + np.array([0.0, 1.0])
        signal = 1.0 / (1.0 + np.exp(1.5 * hard - steps - 0.5 * rng.normal(size=(n, 2))))
        loss = (rng.random((n, 2)) > signal) * severity(rng, n)[:, None]
        cost = np.array([1.0, 9.0]) * np.exp(how.get("slow", 0.0) * rng.normal(size=(n, 1)))
        weight = rng.exponential(size=n) if "weighted" in how else None
        group = number if members > 1 else None
        trace = tt.Trace(signal, loss, cost, kind="models", weight=weight, group=group)
        copies = int(how.get("copies", 1))
        return trace.rows(np.arange(n) // copies) if copies > 1 else trace

    return draw


def one(_rng: np.random.Generator, n: int) -> Floats:
    return np.ones(n)


SITUATIONS: dict[str, Requests] = {
    "1 % errors": requests(one, 0.01),
    "5 % errors": requests(one),
    "20 % errors": requests(one, 0.2),
    "errors lose 1, one in 20 loses 5": requests(lambda rng, n: np.where(rng.random(n) < 0.05, 5.0, 1.0), 0.1),
    "errors lose 0 to 1": requests(lambda rng, n: rng.beta(0.5, 2.0, n), 0.2),
    "errors lose exponential amounts": requests(lambda rng, n: rng.exponential(size=n), 0.2),
    "errors lose log-normal amounts, σ = 2": requests(lambda rng, n: np.exp(2.0 * rng.normal(size=n)), 0.2),
    "one in 100 errors loses 1,000": requests(lambda rng, n: np.where(rng.random(n) < 0.01, 1000.0, 1.0), 0.2),
    "costs by row, σ = 0.5": requests(one, slow=0.5),
    "weights": requests(one, 0.2, weighted=1.0),
    "groups of 5 alike": requests(one, 0.2, group=5),
    "each request 5 times, no groups": requests(one, 0.2, copies=5),
}


def student(values: Floats, weight: Floats | None) -> Interval:
    found = estimate(values, weight)
    half = student_quantile(found.size - 1.0) * found.standard_error
    return found.mean - half, found.mean + half


def mover(policy: tt.Policy, trace: tt.Trace) -> Interval:
    """The objective's interval from Wilson's of the loss and Student's of the cost, and their correlation."""
    found = outcome.of_policy(policy, trace)
    values = (found.loss, found.cost / trace.full_cost)
    parts = (TRADEOFF * values[0], (1.0 - TRADEOFF) * values[1])
    means = [estimate(part, trace.weight).mean for part in parts]
    high = float(trace.loss.max()) or 1.0
    two_valued = bool(np.isin(values[0], (0.0, high)).all())
    loss = estimate(values[0], trace.weight)
    ends = (
        mean_interval(loss, 0.0, high, True) if two_valued else student(values[0], trace.weight),
        student(values[1], trace.weight),
    )
    low = [mean - factor * end[0] for mean, factor, end in zip(means, (TRADEOFF, 1.0 - TRADEOFF), ends, strict=True)]
    top = [factor * end[1] - mean for mean, factor, end in zip(means, (TRADEOFF, 1.0 - TRADEOFF), ends, strict=True)]
    together = float(np.corrcoef(*parts)[0, 1]) if min(part.std() for part in parts) > 0.0 else 0.0
    below = math.sqrt(max(0.0, low[0] ** 2 + low[1] ** 2 + 2.0 * together * low[0] * low[1]))
    above = math.sqrt(max(0.0, top[0] ** 2 + top[1] ** 2 + 2.0 * together * top[0] * top[1]))
    return sum(means) - below, sum(means) + above


class Cover:
    """How many intervals hold the truth, and how wide they are."""

    def __init__(self, truth: float) -> None:
        self.truth = truth
        self.holds: list[bool] = []
        self.width: list[float] = []

    def add(self, interval: Interval) -> bool:
        self.holds.append(interval[0] <= self.truth <= interval[1])
        self.width.append(interval[1] - interval[0])
        return self.holds[-1]

    def __str__(self) -> str:
        return f"{np.mean(self.holds):.3f} @ {np.mean(self.width):.3g}"


def coverage(draws: int) -> Iterator[str]:
    yield "| requests | n | loss, Student | loss | cost | objective, Student | objective, MOVER | objective | heavy |"
    yield "| --- |" + " --- |" * 8
    for name, draw in SITUATIONS.items():
        policy = tt.fit(draw(np.random.default_rng(1), FITTED), tradeoff=TRADEOFF)
        whole = tt.evaluate(policy, draw(np.random.default_rng(2), TRUTH).weighted(None))
        for n in SIZES:
            rng = np.random.default_rng(3)
            cells = [Cover(x) for x in (whole.loss, whole.loss, whole.cost, *[whole.objective] * 3)]
            heavy = []
            for _ in range(draws):
                trace = draw(rng, n)
                found, result = outcome.of_policy(policy, trace), tt.evaluate(policy, trace, TRADEOFF)
                objective = outcome.objective(found, TRADEOFF, trace)
                intervals = (
                    student(found.loss, trace.weight),
                    result.loss_ci,
                    result.cost_ci,
                    student(objective, trace.weight),
                    mover(policy, trace),
                    result.objective_ci,
                )
                for cell, interval in zip(cells, intervals, strict=True):
                    cell.add(interval)
                heavy.append(result.heavy_tailed)
            yield f"| {name} | {n} | {' | '.join(map(str, cells))} | {np.mean(heavy):.0%} |"


@dataclass(frozen=True)
class Drawn:
    """Objectives of every rule on some rows of a trace, and on the others when tuned on all of these."""

    part: Ints
    objective: Mapping[str, Floats]
    truth: Mapping[str, float]


def drawn(trace: tt.Trace, rows: int, seed: int) -> Drawn:
    order = np.random.default_rng(seed).permutation(trace.n)
    some, rest = trace.rows(order[:rows]), trace.rows(order[rows : rows + MOST_ROWS])
    (found,) = cv.cross_validate(some, cv.rules(some), [TRADEOFF], FOLDS, seed)
    whole = cv.Fold(some, rest)
    truth = {name: whole_mean(rule(whole, TRADEOFF), rest) for name, rule in cv.rules(some).items()}
    objective = {name: outcome.objective(one, TRADEOFF, some) for name, one in found.items()}
    return Drawn(cv.parts(some, FOLDS, seed), objective, truth)


def whole_mean(found: outcome.Outcome, trace: tt.Trace) -> float:
    return float(outcome.objective(found, TRADEOFF, trace).mean())


def off(found: Drawn) -> dict[str, float]:
    """How far the difference of the fit to the best simple rule is off, in standard errors of three kinds."""
    simple = {name: one for name, one in found.objective.items() if name not in (FIT, FIT_NO_RECALL, CLAIRVOYANT)}
    best = min(simple, key=lambda name: float(simple[name].mean()))
    paired = estimate(found.objective[FIT] - simple[best])
    error = paired.mean - (found.truth[FIT] - found.truth[best])
    corrected = cross_validated_error(paired, FOLDS)
    kinds = {
        "of independent rows": paired.standard_error,
        "times √(1 + k / (k − 1))": corrected,
        "and the choice of the best": math.hypot(corrected, hindsight_of(simple, best, found.part, None)),
    }
    return {name: error / se for name, se in kinds.items() if se > 0.0}


def differences(traces: Mapping[str, tt.Trace], repeats: int) -> Iterator[str]:
    yield "| rows | standard error | within 2 | mean | root mean square | largest of one trace | draws |"
    yield "| --- |" + " --- |" * 6
    for rows in ROWS:
        kinds: dict[str, dict[str, list[float]]] = {}
        for name, trace in traces.items():
            for seed in range(repeats if trace.n >= 1.5 * rows else 0):
                for kind, error in off(drawn(trace, rows, seed)).items():
                    kinds.setdefault(kind, {}).setdefault(name, []).append(error)
        for kind, of_traces in kinds.items():
            errors = np.concatenate(list(of_traces.values()))
            worst = max(of_traces, key=lambda name: rms(np.array(of_traces[name])))
            yield (
                f"| {rows} | {kind} | {np.mean(np.abs(errors) <= 2.0):.3f} | {errors.mean():+.2f} | {rms(errors):.2f} "
                f"| {rms(np.array(of_traces[worst])):.2f} ({worst}) | {len(errors)} |"
            )


def rms(errors: Floats) -> float:
    return float(np.sqrt((errors**2).mean()))


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=24)
    given = parser.parse_args()
    warnings.simplefilter("ignore", tt.EvaluationWarning)
    for line in coverage(given.draws):
        print(line, flush=True)
    print()
    for line in differences(traces_of(parser, given.folder), given.repeats):
        print(line, flush=True)


if __name__ == "__main__":
    main()
