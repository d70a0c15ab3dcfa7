"""The situations of a policy of beliefs: what it does in each, and how many requests get there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from .._core import Policy
from ..traces.trace import Trace
from .colours import action_text, short

__all__ = ["Reached", "Situation", "first_sentence", "reached", "situations"]

Reached: TypeAlias = Mapping[frozenset[int], float]
"""Share of requests that get into each set of stages that have run."""

MOST_ROWS = 2000
"""Rows of a trace that are counted."""


@dataclass(frozen=True, slots=True)
class Situation:
    """One or several sets of stages that have run, after which the policy does the same."""

    sets: tuple[frozenset[int], ...]
    actions: tuple[tuple[float, int], ...]
    """Up to which expected loss in hand to do what, ascending; -1 stops. The last limit is infinite."""

    def share(self, found: Reached) -> float:
        """Share of requests that get here."""
        return sum(found.get(one, 0.0) for one in self.sets)

    def text(self, stages: Sequence[str]) -> str:
        """The stages that have run."""
        if len(self.sets) > 1:
            return f"after {len(self.sets)} other sets of stages"
        (run,) = self.sets
        names = [short(stages[stage]) for stage in sorted(run)]
        if len(names) == len(stages) > 1:
            return "all stages"
        return " + ".join(names) if len(names) < 4 else f"{len(names)} stages, to {names[-1]}"


def situations(rule: Mapping[str, Any]) -> list[Situation]:
    """Those of a rule of beliefs, each once; all in which it stops whatever is in hand, but the first, are one."""
    by_set: dict[tuple[frozenset[int], tuple[tuple[float, int], ...]], None] = {}
    for row in rule["decisions"]:
        by_set.setdefault((frozenset(row["after"]), _actions(row)))
    found = [Situation((run,), actions) for run, actions in by_set]
    ends = [one for one in found[1:] if len(one.actions) == 1]
    if len(ends) < 2:
        return found
    going = [one for one in found if one not in ends]
    return [*going, Situation(tuple(run for one in ends for run in one.sets), ends[0].actions)]


def _actions(row: Mapping[str, Any]) -> tuple[tuple[float, int], ...]:
    steps = [(float(row["stop"]), -1), *((float(limit), int(stage)) for limit, stage in row["next"])]
    # What is above the last limit is done there too.
    steps[-1] = (math.inf, steps[-1][1])
    return tuple(step for step in steps if step[0] > -math.inf)


def reached(policy: Policy, trace: Trace) -> Reached:
    """How often each set of stages has run when the policy decides, on the first rows of a trace. O(rows k)."""
    counted: Counter[frozenset[int]] = Counter()
    signal, prediction = trace.signal[:MOST_ROWS].tolist(), None
    if trace.prediction is not None:
        prediction = trace.prediction[:MOST_ROWS].tolist()
    for row, signals in enumerate(signal):
        run, asked = policy.start(), set[int]()
        while (stage := run.next) is not None:
            asked.add(stage)
            run.observe(signals[stage], None if prediction is None else prediction[row][stage])
            counted[frozenset(asked)] += 1
    return {run: count / len(signal) for run, count in counted.items()}


def first_sentence(rule: Mapping[str, Any], stages: Sequence[str]) -> str:
    """What is done with the signal of the stage that runs first."""
    row = rule["decisions"][0]
    calibration = rule["calibrations"][row["stage"]]
    curve = calibration["curve"]
    said: list[str] = []
    above = math.inf
    for limit, action in _actions(row):
        signal = _least_signal(curve, limit)
        if signal < above:
            where = f"signal ≥ {signal:.3g}" if signal > -math.inf else ("else" if said else "always")
            said.append(f"{where}: {action_text(action, stages)}")
            above = signal
    first = f"First stage: {short(stages[row['stage']])}"
    if any(y < next_y for (_, y), (_, next_y) in pairwise(curve)):
        return f"{first}. Its expected loss does not always fall with its signal: see its curve"
    varies = ", for an average class" if calibration["classes"] else ""
    return f"{first}; {'; '.join(said)}{varies}"


def _least_signal(curve: Sequence[tuple[float, float]], loss: float) -> float:
    """From which signal on a falling curve of expected losses is at most `loss`; infinite for none."""
    if loss >= curve[0][1]:
        return -math.inf
    for (x, y), (next_x, next_y) in pairwise(curve):
        if next_y <= loss:
            return next_x if y == next_y else x + (next_x - x) * (y - loss) / (y - next_y)
    return math.inf
