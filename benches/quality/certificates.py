"""How often certificates break their promise, how small a limit they certify, and what they cost.

usage: python benches/quality/certificates.py [FOLDER] [--draws 400] [--splits 12] [--part NAME]

*tests* is about the tests alone, of values whose distribution is known. *Kept* is the share of the draws in which a
limit that is the true mean is certified: at most δ. *Least* is the median of the least limit that is certified, less
the true mean, in standard errors of a mean.

*policies* is about whole fits to 2,000 rows of recorded traces (half of those that have fewer than 4,000), judged on
the rows that are left. A policy is *broken* if it loses more there than it may. Costs are held against those of fits to
all of the rows, mixed at will, that lose as much as the limit allows, and as much as the certified policy does.
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
from ttamer_fast.traces import outcome

DELTA = 0.1
ROWS, MOST_ROWS = 2000, 20_000
EXCESS = (0.01, 0.02, 0.05)
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
    """What became of one certificate, judged on the rest; costs as logarithms of ratios."""

    is_certified: bool
    is_broken: bool
    at_limit: float
    at_loss: float


NONE = Certified(False, False, math.nan, math.nan)


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
    loss, cost = float(found.loss.mean()), float(found.cost.mean())
    against = [math.log(cost / float(np.interp(at, *hull))) for at in (limit, loss)]
    return Certified(True, loss > limit, *against)


def at_once(trace: tt.Trace, max_loss: float | str, seed: int, binary: bool = False) -> tt.Policy | None:
    try:
        return tt.fit_certified(trace, max_loss=max_loss, delta=DELTA, binary=binary, seed=seed)
    except tt.ValidationError:
        return None


def looked_at_often(trace: tt.Trace, max_loss: float | str, seed: int) -> tt.Policy | None:
    """A family of the first half; one looks until something is certified."""
    train, test = trace.split(0.5, seed)
    family, ends = tt.fit_family(train), [round(share * test.n) for share in LOOKS]
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


def policies(traces: Mapping[str, tt.Trace], _draws: int, splits: int) -> Iterator[str]:
    yield "| losses | limit | way | certified | broken | cost to that at the limit | cost to that at its loss | fits |"
    yield "| --- |" + " --- |" * 7
    for kind in ("0 or 1", "graded"):
        cells: dict[tuple[str, str], list[Certified]] = {}
        for trace in traces.values():
            population = trace if kind == "0 or 1" else graded(trace)
            rows = min(ROWS, trace.n // 2)
            for seed in range(splits):
                order = np.random.default_rng(seed).permutation(trace.n)
                some, rest = population.rows(order[:rows]), population.rows(order[rows : rows + MOST_ROWS])
                hull, alone = hull_of(Learner(some.core), rest), rest.loss.mean(axis=0)
                best = int(alone.argmin())
                for more in EXCESS:
                    most = float(alone[best]) + more
                    relative = f"{trace.stages[best]}+{more}"
                    ways = {
                        ("a number", "fit_certified"): at_once(some, most, seed),
                        ("best stage + x", "fit_certified"): at_once(some, relative, seed),
                        ("best stage + x", "certify, 4 looks"): looked_at_often(some, relative, seed),
                    }
                    if kind == "0 or 1":
                        ways["a number", "fit_certified, binary"] = at_once(some, most, seed, binary=True)
                    for (limit, way), policy in ways.items():
                        cells.setdefault((f"{limit}, x = {more}", way), []).append(judged(policy, rest, most, hull))
        for (limit, way), found in cells.items():
            yield f"| {kind} | {limit} | {way} | {summed(found)} | {len(found)} |"


def summed(found: list[Certified]) -> str:
    certified, broken = (np.mean([getattr(one, name) for one in found]) for name in ("is_certified", "is_broken"))
    return f"{certified:.2f} | {broken:.3f} | {ratio([one.at_limit for one in found])} | " + ratio(
        [one.at_loss for one in found]
    )


def ratio(logs: list[float]) -> str:
    """Geometric mean of ratios and its standard error, from their logarithms."""
    known = np.array([log for log in logs if not math.isnan(log)])
    if not len(known):
        return "-"
    mean = math.exp(known.mean())
    return f"{mean:.3f} ± {mean * known.std() / math.sqrt(len(known)):.3f}"


PARTS = (tests, policies)


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
