"""A year of a cascade that keeps itself up to date, with a drift in the middle: a markdown table.

usage: python benches/quality/year.py [FOLDER] [--trace NAME] [--seeds 50] [--logged 5] [--margin 0] [--error 0.05]

Each week 4,000 requests are drawn from the rows of a recorded trace, 2 % of them are run through every stage, and what
was true becomes known two weeks later. A `DriftMonitor` watches what is served. Every six weeks, and once there are two
known weeks after an alarm, a candidate is fitted to the censored trace of the last three known weeks; `tt.promote` then
tests it each week on explored requests that came later, for at most twelve weeks. In the middle of the year something
happens to the stage that answers most: half of its signals are stuck at a high value (signals), requests that it gets
wrong come three times as often (requests), three of ten of its answers become wrong (answers), or nothing.

Against it stand the first policy all year, and an oracle that knows every stage and label of the last 4,000 requests at
once and takes a new policy every thirteen weeks, and a week after the drift. Objectives are exact means over all rows
of the trace as the traffic of the week weighs and changes them. A promotion is wrong if the candidate was worse on
these, by more than the margin. `--logged` of the seeds go through `Cascade`, `RecordLog` and `read_records`; all others
make such traces directly.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from recorded import parser_of, traces_of

import ttamer_fast as tt
from ttamer_fast._core import estimate
from ttamer_fast.evaluation.intervals import share_interval

WEEKS, DRIFT, REQUESTS = 52, 26, 4000
EXPLORED, DELAY = 0.02, 2
EVERY, WINDOW, LEAST, TESTED = 6, 3, 2, 12
"""Weeks between candidates, weeks that one is fitted to at most and at least, and weeks for which it is tested."""
FIRST_ROWS, REFERENCE, ORACLE_EVERY = 1000, 1500, 13
TRADEOFF, ALPHA = 0.95, 0.01
MOST_ROWS = 10_000


class Regime(NamedTuple):
    """What traffic is like: all rows of a trace, how likely each is, and what is true of it."""

    trace: tt.Trace
    chance: np.ndarray
    truth: np.ndarray
    known: dict[str, float]

    def objective(self, policy: tt.Policy) -> float:
        """The exact mean of a policy."""
        if policy.digest not in self.known:
            found = tt.evaluate(policy, self.trace.weighted(self.chance), TRADEOFF)
            self.known[policy.digest] = found.objective
        return self.known[policy.digest]


def said_by(trace: tt.Trace) -> np.ndarray:
    """(n, k) predictions, which every trace here has."""
    if trace.prediction is None:
        raise SystemExit("the trace has no predictions")
    return trace.prediction


def changed(trace: tt.Trace, signal: np.ndarray, said: np.ndarray, truth: np.ndarray) -> tt.Trace:
    """The same stages at the same prices, saying something else."""
    loss = said != truth[:, np.newaxis]
    return tt.Trace(signal, loss, trace.mean_cost, prediction=said, kind=trace.kind, stages=trace.stages)


def regimes(trace: tt.Trace) -> dict[str, tuple[Regime, Regime]]:
    """Traffic before and after each drift."""
    rng = np.random.default_rng(5)
    trace = trace.rows(rng.permutation(trace.n)[:MOST_ROWS])
    said, right = said_by(trace), trace.loss == 0.0
    truth = np.where(right.any(axis=1), said[np.arange(trace.n), right.argmax(axis=1)], said.min() - 1)
    usual = changed(trace, trace.signal, said, truth)
    most = int(tt.evaluate(tt.fit(usual, tradeoff=TRADEOFF), usual).answer_share.argmax())
    signal, other = trace.signal.copy(), said.copy()
    signal[rng.random(trace.n) < 0.5, most] = np.quantile(signal[:, most], 0.9)
    other[rng.random(trace.n) < 0.3, most] = said.max() + 1
    alike, harder = np.full(trace.n, 1.0 / trace.n), np.where(usual.loss[:, most] > 0.0, 3.0, 1.0)
    before = Regime(usual, alike, truth, {})
    return {
        "signals": (before, Regime(changed(trace, signal, said, truth), alike, truth, {})),
        "requests": (before, Regime(usual, harder / harder.sum(), truth, {})),
        "answers": (before, Regime(changed(trace, trace.signal, other, truth), alike, truth, {})),
        "none": (before, before),
    }


class Asked(NamedTuple):
    """Of a promotion."""

    margin: float
    error: float


class Week(NamedTuple):
    """Requests of a week: rows of the regime, which stages ran for the policy, and which were run through."""

    regime: Regime
    rows: np.ndarray
    own: np.ndarray
    explored: np.ndarray


class Direct:
    """Traffic whose traces are made of what the policy would have run."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.weeks: list[Week] = []
        self.known: dict[tuple[str, int], np.ndarray] = {}

    def serve(self, regime: Regime, slot: tt.PolicySlot) -> None:
        """A week of requests."""
        rows = self.rng.choice(regime.trace.n, REQUESTS, p=regime.chance)
        self.weeks.append(Week(regime, rows, self._own(regime, slot.policy)[rows], self._drawn()))

    def watched(self, policy: tt.Policy) -> tuple[tt.Replay, np.ndarray, np.ndarray]:
        """What the monitor is told of the last week."""
        regime, rows, *_ = self.weeks[-1]
        signal, said = regime.trace.signal[rows], said_by(regime.trace)[rows]
        return policy.replay(signal, said), signal, said

    def log(self, first: int, last: int) -> tt.Trace:
        """The censored trace of some weeks."""
        own, explored = (
            np.concatenate([getattr(week, name) for week in self.weeks[first : last + 1]])
            for name in ("own", "explored")
        )
        run = own | explored[:, np.newaxis]
        whole = self.complete(first, last)
        return tt.Trace(
            np.where(run, whole.signal, math.nan),
            np.where(run, whole.loss, math.nan),
            whole.cost,
            prediction=whole.prediction,
            kind=whole.kind,
            stages=whole.stages,
            propensity=np.where(run, np.where(own, 1.0, EXPLORED), math.nan),
        )

    def promote(self, slot: tt.PolicySlot, candidate: tt.Policy, first: int, last: int, asked: Asked) -> tt.Promotion:
        """Judged by the explored requests of some weeks."""
        margin, error = asked
        return tt.promote(slot, candidate, self.explored(first, last), margin=margin, error=error, tradeoff=TRADEOFF)

    def complete(self, first: int, last: int) -> tt.Trace:
        """Some weeks with every stage of every request."""
        weeks = self.weeks[first : last + 1]
        signal, said, truth = (
            np.concatenate([column(week.regime)[week.rows] for week in weeks])
            for column in (lambda one: one.trace.signal, lambda one: said_by(one.trace), lambda one: one.truth)
        )
        return changed(weeks[0].regime.trace, signal, said, truth)

    def explored(self, first: int, last: int) -> tt.Trace:
        """The requests of some weeks that were run through."""
        explored = np.concatenate([week.explored for week in self.weeks[first : last + 1]])
        return self.complete(first, last).rows(explored)

    def _drawn(self) -> np.ndarray:
        return self.rng.random(REQUESTS) < EXPLORED

    def _own(self, regime: Regime, policy: tt.Policy) -> np.ndarray:
        """(n, k) which stages the policy runs for each row of a regime; an exit runs all before it."""
        found = self.known.get((policy.digest, id(regime)))
        if found is None:
            found = np.array(policy.replay(regime.trace.signal, said_by(regime.trace)).consulted)
            if regime.trace.kind == "exits":
                found = np.logical_or.accumulate(found[:, ::-1], axis=1)[:, ::-1]
            self.known[policy.digest, id(regime)] = found
        return found


class Logged(Direct):
    """The same traffic through a cascade, its log, and what is read of it again."""

    def __init__(self, folder: str, seed: int) -> None:
        super().__init__(seed)
        self.folder, self.log_file = folder, tt.RecordLog(folder)
        self.begun: list[float] = []
        self.truth: list[dict[str, int]] = []
        self.policies: list[tt.Policy] = []
        self.seed = seed

    def serve(self, regime: Regime, slot: tt.PolicySlot) -> None:
        rows = self.rng.choice(regime.trace.n, REQUESTS, p=regime.chance)
        self.begun.append(time.time())
        self.policies = [slot.policy, *(one for one in self.policies if one != slot.policy)]
        signal, said = regime.trace.signal, said_by(regime.trace)

        def stage(v: int, name: str) -> tt.Stage[Any, Any]:
            def run(row: int) -> tuple[float, int]:
                return float(signal[row, v]), int(said[row, v])

            return tt.Stage(run, signal=lambda output: output[0], prediction=lambda output: output[1], name=name)

        stages = [stage(v, name) for v, name in enumerate(regime.trace.stages)]
        cascade = tt.Cascade(slot, stages, record=self.log_file, explore=EXPLORED, seed=self.seed)
        served = [cascade(row) for row in rows.tolist()]
        self.log_file.flush()
        self.truth.append({one.request_id: int(regime.truth[row]) for one, row in zip(served, rows, strict=True)})
        explored = np.array([one.explored for one in served])
        self.weeks.append(Week(regime, rows, self._own(regime, slot.policy)[rows], explored))

    def log(self, first: int, last: int) -> tt.Trace:
        return self._records(first, last).trace(self._truth(first, last))

    def promote(self, slot: tt.PolicySlot, candidate: tt.Policy, first: int, last: int, asked: Asked) -> tt.Promotion:
        margin, error = asked
        return tt.promote(
            slot,
            candidate,
            self._records(0, last),
            truth=self._truth(first, last),
            since=self.begun[first],
            margin=margin,
            error=error,
            tradeoff=TRADEOFF,
        )

    def _records(self, first: int, last: int) -> tt.Records:
        until = self.begun[last + 1] if last + 1 < len(self.begun) else None
        return tt.read_records(self.folder, policy=self.policies, since=self.begun[first], until=until)

    def _truth(self, first: int, last: int) -> dict[str, int]:
        return {name: label for week in self.truth[first : last + 1] for name, label in week.items()}


@dataclass
class Year:
    """What came of a year."""

    kept: float = 0.0
    """Summed objective of the first policy, and so on."""
    loop: float = 0.0
    oracle: float = 0.0
    exploring: float = 0.0
    candidates: int = 0
    promoted: list[int] = field(default_factory=list)
    wrong: int = 0
    alarms: list[int] = field(default_factory=list)


def year(pair: tuple[Regime, Regime], traffic: Direct, seed: int, asked: Asked) -> Year:
    """Serve, watch, refit, test and promote for a year."""
    rng = np.random.default_rng(10_000 + seed)
    first = tt.fit(pair[0].trace.rows(rng.choice(pair[0].trace.n, FIRST_ROWS)), tradeoff=TRADEOFF)
    reference = pair[0].trace.rows(rng.choice(pair[0].trace.n, REFERENCE))
    slot, found, oracle = tt.PolicySlot(first), Year(), first
    monitor: tt.DriftMonitor | None = tt.DriftMonitor.fit(first, reference, alpha=ALPHA)
    began, start, fitted, candidate, tests_from = 0, 0, 0, None, 0
    for week in range(WEEKS):
        regime = pair[week >= DRIFT]
        traffic.serve(regime, slot)
        for name, policy in (("kept", first), ("loop", slot.policy), ("oracle", oracle)):
            setattr(found, name, getattr(found, name) + regime.objective(policy) / WEEKS)
        found.exploring += exploring(traffic.weeks[-1]) / WEEKS
        if monitor is not None and monitor.update_replay(*traffic.watched(slot.policy)):
            since = began + (monitor.report().since or 0) // REQUESTS
            found.alarms.append(week)
            monitor, candidate, start, fitted = None, None, max(since, start), week - EVERY
        known = week - DELAY
        if candidate is None and week - fitted >= EVERY and known - start + 1 >= LEAST:
            candidate = tt.fit(traffic.log(max(start, known - WINDOW + 1), known), tradeoff=TRADEOFF)
            fitted, tests_from = week, known + 1
            found.candidates += 1
        if candidate is not None and known >= tests_from:
            before = regime.objective(slot.policy)
            if traffic.promote(slot, candidate, tests_from, known, asked).promoted:
                found.promoted.append(week)
                found.wrong += regime.objective(candidate) > before + asked.margin
                reference = traffic.explored(tests_from, known)
                monitor, began = tt.DriftMonitor.fit(candidate, reference, alpha=ALPHA), week + 1
                candidate = None
            elif week - fitted >= TESTED:
                candidate = None
        if week % ORACLE_EVERY == ORACLE_EVERY - 1 or week == DRIFT:
            oracle = tt.fit(traffic.complete(week, week), tradeoff=TRADEOFF)
    return found


def exploring(week: Week) -> float:
    """What running requests through costs, by the objective of a request of the week."""
    cost = week.regime.trace.mean_cost
    extra = (~week.own[week.explored] * cost).sum() / len(week.rows)
    return float((1.0 - TRADEOFF) * extra / cost.sum())


def per_thousand(values: list[float]) -> str:
    """Mean and standard error."""
    found = estimate(1e3 * np.array(values))
    return f"{found.mean:.2f} ± {found.standard_error:.2f}"


def lines(name: str, how: str, years: list[Year], error: float) -> Iterator[str]:
    """Rows of the table."""
    candidates, promoted, wrong = (
        sum(of(one) for one in years)
        for of in (lambda one: one.candidates, lambda one: len(one.promoted), lambda one: one.wrong)
    )
    is_wrong = np.zeros(max(candidates, 1))
    is_wrong[:wrong] = 1.0
    low, high = share_interval(estimate(is_wrong), independent=True)
    lost = sum(one.kept for one in years) - sum(one.oracle for one in years)
    won = sum(one.kept for one in years) - sum(one.loop for one in years)
    columns = [
        f"{name}, {how}",
        str(len(years)),
        *(per_thousand([getattr(one, arm) for one in years]) for arm in ("kept", "loop", "oracle")),
        f"{won / lost:.0%}" if lost > 0.0 else "",
        per_thousand([one.exploring for one in years]),
        str(candidates),
        str(promoted),
        str(wrong),
        f"{wrong / max(candidates, 1):.1%} ({low:.1%} to {high:.1%})",
        "yes" if wrong <= error * candidates else "NO",
    ]
    yield "| " + " | ".join(columns) + " |"


def years_of(pair: tuple[Regime, Regime], seeds: range, asked: Asked, make: Callable[[int], Direct]) -> list[Year]:
    """One year a seed."""
    return [year(pair, make(seed), seed, asked) for seed in seeds]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--trace", default="digits", help="name of one trace")
    parser.add_argument("--drifts", nargs="+", help="only these")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--logged", type=int, default=5, help="seeds that go through a cascade and its log")
    parser.add_argument("--margin", type=float, default=0.0)
    parser.add_argument("--error", type=float, default=0.05)
    given = parser.parse_args()
    asked = Asked(given.margin, given.error)
    # Of single weeks there may be something to say, and classes of a reference repeat each other.
    warnings.simplefilter("ignore", tt.TTamerWarning)
    names = (
        "drift of, traces", "years", "first policy", "loop", "oracle", "won back", "exploring", "candidates",
        "promoted", "wrong", "wrong a candidate (95 %)", f"at most {given.error:.0%}",
    )  # fmt: skip
    print(f"{given.trace}, objective x 1000, mean of the year ± standard error over years; margin {given.margin:g}\n")
    print("| " + " | ".join(names) + " |\n|" + " --- |" * len(names))
    for name, pair in regimes(traces_of(parser, given.folder)[given.trace]).items():
        if given.drifts and name not in given.drifts:
            continue
        for line in lines(name, "direct", years_of(pair, range(given.seeds), asked, Direct), given.error):
            print(line, flush=True)
        if given.logged:
            found = []
            for seed in range(given.logged):
                with TemporaryDirectory() as folder:
                    found += years_of(pair, range(seed, seed + 1), asked, partial(Logged, folder))
            for line in lines(name, "logged", found, given.error):
                print(line, flush=True)


if __name__ == "__main__":
    main()
