"""How often certificates break their promise, how small a limit they certify, and what they cost.

usage: python benches/quality/certificates.py [FOLDER] [--draws 400] [--splits 12] [--part NAME]

*tests* is about the tests alone, of values whose distribution is known. *Kept* is the share of the draws in which a
limit that is the true mean is certified: at most δ. *Least* is the median of the least limit that is certified, less
the true mean, in standard errors of a mean.

*coverage* is about the candidates of a fit to 1,000 rows: the share of draws of as many rows from the others after
which one is certified that loses more than it may, on average over those others: at most δ.

*policies* is about whole fits to 2,000 rows of recorded traces (half of those that have fewer than 4,000), judged on
the rows that are left. *Broken* is the share of them that lose more there than they may. Costs are held against those
of fits to all of the rows, mixed at will, that lose as much as the limit allows, and as much as the certified policy
does; and against what the bound of Hoeffding and Bentkus certifies among policies for single trade-offs, where it does.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from recorded import parser_of, traces_of

import ttamer_fast as tt
from ttamer_fast._core import BoundedMean, Learner, PlannedMean
from ttamer_fast._utils.arrays import Floats
from ttamer_fast.fitting import binomial
from ttamer_fast.fitting.candidates import path, points_of
from ttamer_fast.traces import outcome

DELTA = 0.1
ROWS, MOST_ROWS = 2000, 20_000
EXCESS = (0.01, 0.02, 0.05)
REFERENCE = "Hoeffding-Bentkus"
COSTS = ("cost to that at the limit", "to that at its loss", f"to {REFERENCE}")
LOOKS = (0.25, 0.5, 0.75, 1.0)
"""Of the rows that test, where one looks again and again."""

Draw = Callable[[np.random.Generator, int], Floats]


@dataclass(frozen=True)
class Values:
    """A distribution of bounded values."""

    draw: Draw
    mean: float
    low: float
    n: int


def coin(chance: float) -> Draw:
    return lambda rng, n: (rng.random(n) < chance).astype(np.float64)


def paired(worse: float, better: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> Floats:
        at = rng.random(n)
        return np.where(at < worse, 1.0, np.where(at < worse + better, -1.0, 0.0))

    return draw


def severe(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < 0.1, rng.beta(0.5, 2.0, n), 0.0)


VALUES: dict[str, Values] = {
    "losses 0 or 1, 10 %": Values(coin(0.1), 0.1, 0.0, 1000),
    "losses 0 or 1, 10 %, few rows": Values(coin(0.1), 0.1, 0.0, 200),
    "losses 0 or 1, 2 %": Values(coin(0.02), 0.02, 0.0, 1000),
    "losses 0 or 1, 0.3 %": Values(coin(0.003), 0.003, 0.0, 1000),
    "one in ten loses 0 to 1": Values(severe, 0.02, 0.0, 1000),
    "losses of little spread": Values(lambda rng, n: rng.beta(20.0, 80.0, n), 0.2, 0.0, 1000),
    "differences, 5 % worse and 5 % better": Values(paired(0.05, 0.05), 0.0, -1.0, 1000),
    "differences, 1 % worse and 1 % better": Values(paired(0.01, 0.01), 0.0, -1.0, 1000),
    "differences, 0.5 % worse": Values(paired(0.005, 0.0), 0.005, -1.0, 1000),
}


def hoeffding_bentkus(values: Floats, limit: float) -> float:
    """The p-value of Learn-then-Test (arXiv 2110.01052, eq. 5) for values in [0, 1]."""
    n, a = len(values), float(values.mean())
    if a >= limit:
        return 1.0
    inside = (a * math.log(a / limit) if a > 0.0 else 0.0) + (1.0 - a) * math.log((1.0 - a) / (1.0 - limit))
    count = math.ceil(n * a - 1e-9 * max(1.0, n * a))
    return min(1.0, math.exp(-n * inside), math.e * binomial.tail(count, n, limit))


Test = Callable[[Floats, Floats, float, float], float]
"""From values, others like them, their lower bound and a limit to a p-value; the upper bound is 1."""


def planned(values: Floats, known: Floats, low: float, limit: float) -> float:
    return PlannedMean(values, known, low, 1.0).p_value(limit, DELTA)


def general(values: Floats, _known: Floats, low: float, limit: float) -> float:
    width = 1.0 - low
    return hoeffding_bentkus((values - low) / width, (limit - low) / width)


def exact(values: Floats, _known: Floats, low: float, limit: float) -> float:
    if low < 0.0 or not np.isin(values, (0.0, 1.0)).all():
        return math.nan
    return binomial.tail(round(values.sum()), len(values), limit)


def anytime(values: Floats, _known: Floats, low: float, limit: float) -> float:
    return math.exp(-max(0.0, BoundedMean(values, low, 1.0).log_capital(limit)))


TESTS: dict[str, Test] = {
    "Hoeffding-Bentkus": general,
    "binomial tail": exact,
    "betting, one look": planned,
    "betting, any time": anytime,
}


def least(test: Test, values: Floats, known: Floats, low: float) -> float:
    """The least limit that is certified."""
    below, above = low, 1.0 - 1e-9
    for _ in range(30):
        middle = 0.5 * (below + above)
        below, above = (below, middle) if test(values, known, low, middle) <= DELTA else (middle, above)
    return above


def tests(_traces: Mapping[str, tt.Trace], draws: int, _splits: int) -> Iterator[str]:
    yield "| values | n | " + " | ".join(f"{name}: kept, least" for name in TESTS) + " |"
    yield "| --- | --- |" + " --- |" * len(TESTS)
    for name, of in VALUES.items():
        rng = np.random.default_rng(0)
        error = float(of.draw(rng, 400_000).std()) / math.sqrt(of.n)
        kept: dict[str, list[bool]] = {test: [] for test in TESTS}
        limits: dict[str, list[float]] = {test: [] for test in TESTS}
        for number in range(draws):
            values, known = of.draw(rng, of.n), of.draw(rng, of.n)
            for label, test in TESTS.items():
                p = test(values, known, of.low, of.mean)
                if not math.isnan(p):
                    kept[label].append(p <= DELTA)
                    if number < draws // 4 + 1:
                        limits[label].append((least(test, values, known, of.low) - of.mean) / error)
        cells = [
            f"{np.mean(kept[label]):.3f}, {np.median(limits[label]):.2f}" if kept[label] else "" for label in TESTS
        ]
        yield f"| {name} | {of.n} | {' | '.join(cells)} |"


@dataclass(frozen=True)
class Certified:
    """What became of one certificate, judged on the rest; costs as logarithms."""

    is_certified: bool
    is_alone: bool
    """Nothing is cheaper than the stage that the limit is relative to, or can be certified."""
    is_broken: bool
    cost: float
    at_limit: float
    at_loss: float


NONE = Certified(False, False, False, math.nan, math.nan, math.nan)


def hull_of(learner: Learner, rest: tt.Trace) -> Floats:
    """(2, m) loss and cost of the best mixtures of policies, judged on the rest."""
    points = []
    for odds in np.linspace(*learner.log_odds_range, 25).tolist():
        found = outcome.of_policy(learner.draft(learner.tradeoff_at(odds)), rest)
        points.append((float(found.loss.mean()), float(found.cost.mean())))
    hull: list[tuple[float, float]] = []
    for loss, cost in sorted(points):
        if hull and cost >= hull[-1][1]:
            continue
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (loss - hull[-1][0]) >= (cost - hull[-1][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((loss, cost))
    return np.array(hull).T


def judged(policy: tt.Policy | None, rest: tt.Trace, limit: float, hull: Floats) -> Certified:
    if policy is None:
        return NONE
    found = outcome.of_policy(policy, rest)
    loss, cost = float(found.loss.mean()), math.log(float(found.cost.mean()))
    against = [cost - math.log(float(np.interp(at, *hull))) for at in (limit, loss)]
    return Certified(True, policy.provenance.get("p_value") == "0.0", loss > limit, cost, *against)


def learned_then_tested(trace: tt.Trace, more: float, stage: int | None, seed: int) -> tt.Policy | None:
    """What `fit_certified` improves on: policies for single trade-offs, the bound of Hoeffding and Bentkus."""
    fitting, testing = trace.split(0.5, seed)
    low, last = 0.0 if stage is None else -1.0, None
    for point in points_of(Learner(fitting.core), fitting, None):
        values = outcome.of_policy(point.policy, testing).loss
        if general(values if stage is None else values - testing.loss[:, stage], values, low, more) > DELTA:
            break
        last = point.policy
    return last


def at_once(trace: tt.Trace, max_loss: float | str, seed: int, binary: bool = False) -> tt.Policy | None:
    try:
        return tt.fit_certified(trace, max_loss=max_loss, delta=DELTA, binary=binary, seed=seed)
    except tt.ValidationError:
        return None


def looked_at_often(family: tt.PolicyFamily, test: tt.Trace, max_loss: str) -> tt.Policy | None:
    """One looks until something is certified."""
    ends = [round(share * test.n) for share in LOOKS]
    found = tt.certify(family, test[: ends[0]], max_loss=max_loss, delta=DELTA)
    for start, end in pairwise(ends):
        if found.policy is not None:
            break
        found = found.continued(test[start:end])
    return found.policy


def graded(trace: tt.Trace) -> tt.Trace:
    """The same requests, of which each wrong answer loses 0 to 1 by the request."""
    severity = np.random.default_rng(2).beta(1.0, 1.0, (trace.n, 1))
    loss = trace.loss * severity
    return tt.Trace(trace.signal, loss, trace.cost, trace.prediction, kind=trace.kind, stages=trace.stages)


def ways_of(
    trace: tt.Trace, family: tt.PolicyFamily, best: int, most: float, more: float, seed: int
) -> Iterator[tuple[str, tt.Policy | None]]:
    """Names of limits and of tests, and what they certify; the family is of the first half."""
    relative = f"{trace.stages[best]}+{more}"
    yield f"a number, x = {more} | {REFERENCE}", learned_then_tested(trace, most, None, seed)
    yield f"a number, x = {more} | fit_certified", at_once(trace, most, seed)
    if np.isin(trace.loss, (0.0, 1.0)).all():
        yield f"a number, x = {more} | fit_certified, binary", at_once(trace, most, seed, binary=True)
    yield f"best stage + {more} | {REFERENCE}", learned_then_tested(trace, more, best, seed)
    yield f"best stage + {more} | fit_certified", at_once(trace, relative, seed)
    yield f"best stage + {more} | certify, 4 looks", looked_at_often(family, trace.split(0.5, seed)[1], relative)


def policies(traces: Mapping[str, tt.Trace], _draws: int, splits: int) -> Iterator[str]:
    yield f"| losses | limit | way | certified, stage alone | broken | {', '.join(COSTS)} | fits |"
    yield "| --- |" + " --- |" * 6
    for kind in ("0 or 1", "graded"):
        cells: dict[str, list[Certified]] = {}
        for trace in traces.values():
            population = trace if kind == "0 or 1" else graded(trace)
            rows = min(ROWS, trace.n // 2)
            for seed in range(splits):
                order = np.random.default_rng(seed).permutation(trace.n)
                some, rest = population.rows(order[:rows]), population.rows(order[rows : rows + MOST_ROWS])
                hull, alone = hull_of(Learner(some.core), rest), rest.loss.mean(axis=0)
                best = int(alone.argmin())
                family = tt.fit_family(some.split(0.5, seed)[0])
                for more in EXCESS:
                    most = float(alone[best]) + more
                    for way, policy in ways_of(some, family, best, most, more, seed):
                        cells.setdefault(way, []).append(judged(policy, rest, most, hull))
        for way, found in cells.items():
            reference = cells[f"{way.partition(' | ')[0]} | {REFERENCE}"]
            yield f"| {kind} | {way} | {summed(found, reference)} | {len(found)} |"


def summed(found: list[Certified], reference: list[Certified]) -> str:
    certified, alone, broken = (
        float(np.mean([getattr(one, name) for one in found])) for name in ("is_certified", "is_alone", "is_broken")
    )
    against = [one.cost - other.cost for one, other in zip(found, reference, strict=True)]
    costs = [ratio(logs) for logs in ([one.at_limit for one in found], [one.at_loss for one in found], against)]
    return f"{certified:.2f}, {alone:.2f} | {broken:.3f} | {', '.join(costs)}"


def ratio(logs: list[float]) -> str:
    """Geometric mean of ratios and its standard error, from their logarithms."""
    known = np.array([log for log in logs if not math.isnan(log)])
    if not len(known):
        return "-"
    mean = math.exp(known.mean())
    return f"{mean:.3f} ± {mean * known.std() / math.sqrt(len(known)):.3f}"


def passed(values: Floats, known: Floats, low: float, limit: float, binary: bool) -> int:
    """How many of the candidates (c, n) pass in one look, up to the first that does not."""
    for number, (row, before) in enumerate(zip(values, known, strict=True)):
        test = exact if binary else planned
        if test(row, before, low, limit) > DELTA:
            return number
    return len(values)


def ever_passed(values: Floats, low: float, limit: float) -> int:
    """The same of capitals that were large enough at one of the looks."""
    ends = [round(share * values.shape[1]) for share in LOOKS]
    for number, row in enumerate(values):
        if all(anytime(row[:end], row, low, limit) > DELTA for end in ends):
            return number
    return len(values)


def coverage(traces: Mapping[str, tt.Trace], draws: int, _splits: int) -> Iterator[str]:
    """Candidates of one half, tested on rows that are drawn again and again from the other: its means are the truth."""
    yield "| trace | losses | " + " | ".join(f"{name}, x = {EXCESS[1]}" for name in COVERED) + " |"
    yield "| --- |" + " --- |" * (len(COVERED) + 1)
    for name, trace in traces.items():
        for kind, whole in (("0 or 1", trace), ("graded", graded(trace))):
            order = np.random.default_rng(0).permutation(whole.n)
            rows = min(ROWS // 2, whole.n // 3)
            fitting, population = whole.rows(order[:rows]), whole.rows(order[rows : rows + MOST_ROWS])
            candidates = path(points_of(Learner(fitting.core), fitting, None), rows)
            fitted, found = (
                np.stack([outcome.of_policy(one.draft(0), part).loss for one in candidates])
                for part in (fitting, population)
            )
            alone = population.loss.mean(axis=0)
            best = int(alone.argmin())
            most, rng = float(alone[best]) + EXCESS[1], np.random.default_rng(1)
            over = np.append(found.mean(axis=1) > most, False)
            broken: dict[str, list[bool]] = {label: [] for label in COVERED}
            for _ in range(draws):
                drawn = rng.integers(population.n, size=rows)
                values, stage = np.ascontiguousarray(found[:, drawn]), population.loss[drawn, best]
                counts = {
                    COVERED[0]: passed(values, fitted, 0.0, most, binary=False),
                    COVERED[2]: passed(values - stage, fitted - fitting.loss[:, best], -1.0, EXCESS[1], False),
                    COVERED[3]: ever_passed(values - stage, -1.0, EXCESS[1]),
                }
                if kind == "0 or 1":
                    counts[COVERED[1]] = passed(values, fitted, 0.0, most, binary=True)
                for label, count in counts.items():
                    broken[label].append(bool(over[count - 1]) if count else False)
            cells = [f"{np.mean(broken[label]):.3f}" if broken[label] else "" for label in COVERED]
            yield f"| {name} | {kind} | {' | '.join(cells)} |"


COVERED = ("a number", "a number, binary", "best stage + x", "best stage + x, 4 looks")
PARTS = (tests, coverage, policies)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--splits", type=int, default=12)
    parser.add_argument("--part", choices=[part.__name__ for part in PARTS], help="default: all")
    given = parser.parse_args()
    warnings.simplefilter("ignore", tt.EvaluationWarning)
    warnings.simplefilter("ignore", tt.CalibrationWarning)
    traces = traces_of(parser, given.folder)
    for part in PARTS:
        if given.part in (None, part.__name__):
            print(f"\n{part.__name__}\n")
            for line in part(traces, given.draws, given.splits):
                print(line, flush=True)


if __name__ == "__main__":
    main()
