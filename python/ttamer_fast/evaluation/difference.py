"""Two policies side by side: what they are, and what they do on the same requests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from .._core import Policy, ValidationError
from .._utils.arrays import Floats
from .._utils.checks import check_between, check_tradeoff
from ..traces import outcome
from ..traces.outcome import Outcome, Terms
from ..traces.trace import Trace
from .intervals import mean_interval
from .judged import Judge, against_teacher

__all__ = ["DiffFact", "DiffOnTrace", "MeanDifference", "PolicyDiff", "diff"]

NAME, CELL = 18, 29
"""Signs of a line of facts: its name, and what each of the two policies says; 80 with the gaps."""
MOST_MOVED = 12
"""Most limits that are printed."""
DIGEST = 12
"""Letters of a digest that are shown."""


class DiffFact(NamedTuple):
    """Something that can be said of both policies."""

    name: str
    """What it is."""
    a: str
    b: str
    """What is true of each, in words; "" where it does not apply."""


class MeanDifference(NamedTuple):
    """A mean of each policy over the same requests, and the second less the first, request by request."""

    a: float
    b: float
    difference: float
    interval: tuple[float, float]
    """Of the difference."""


@dataclass(frozen=True, slots=True)
class DiffOnTrace:
    """What two policies do on the requests of a trace, all means and shares as the trace is weighted.

    Attributes
    ----------
    n : int
        Requests.
    level : float
        Of the intervals.
    tradeoff : float
        λ of the objective.
    loss, cost, objective : MeanDifference
        Per request, in the units of the trace; the objective is λ · loss + (1 − λ) · cost / cost of running every
        stage.
    same_stages, same_answer : float
        Shares of the requests, 0 to 1, that run the same stages, and that get the answer of the same stage or an equal
        prediction.
    earlier, later : int
        Requests for which the second stops at an earlier exit than the first, or at a later one; of separate models,
        for which it runs fewer of them, or more.
    teacher : str or None
        Whose answers losses are held against, where it is not the truth.
    """

    n: int
    level: float
    tradeoff: float
    loss: MeanDifference
    cost: MeanDifference
    objective: MeanDifference
    same_stages: float
    same_answer: float
    earlier: int
    later: int
    teacher: str | None


@dataclass(frozen=True, slots=True)
class PolicyDiff:
    """Two policies of the same stages, side by side; prints as a table of 80 signs.

    Attributes
    ----------
    same : bool
        Whether both are the same policy, byte by byte.
    stages : tuple of k str
        Names of the stages.
    facts : tuple of DiffFact
        What can be said of both, in words: how they were fitted, prices, first stage, size and worth.
    moved : tuple of DiffFact
        Limits that are not the same: of a simple rule, by stage; of a fitted policy, by the stages that have run. Empty
        where the rules are of different types.
    judged : DiffOnTrace or None
        What they do on a trace, where one was given.
    """

    same: bool
    stages: tuple[str, ...]
    facts: tuple[DiffFact, ...]
    moved: tuple[DiffFact, ...]
    judged: DiffOnTrace | None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        judged = None
        if self.judged is not None:
            values = {name: getattr(self.judged, name) for name in self.judged.__dataclass_fields__}
            judged = {
                name: value._asdict() if isinstance(value, MeanDifference) else value for name, value in values.items()
            }
        facts, moved = ([one._asdict() for one in some] for some in (self.facts, self.moved))
        return {"same": self.same, "stages": list(self.stages), "facts": facts, "moved": moved, "judged": judged}

    def __str__(self) -> str:
        lines = ["the same policy" if self.same else "two policies (* where they differ)"]
        lines += [line for fact in self.facts for line in _fact_lines(fact)]
        if self.moved:
            lines += ["", "limits that moved, in the unit of the rule"]
            lines += [line for fact in self.moved[:MOST_MOVED] for line in _fact_lines(fact)]
            if len(self.moved) > MOST_MOVED:
                lines.append(f"... and {len(self.moved) - MOST_MOVED} more")
        if self.judged is not None:
            lines += ["", *_judged_lines(self.judged)]
        return "\n".join(line.rstrip() for line in lines)


def diff(
    a: Policy, b: Policy, trace: Trace | None = None, *, tradeoff: float | None = None, level: float = 0.95
) -> PolicyDiff:
    """What two policies are, and with a trace what they do on the same requests.

    Parameters
    ----------
    a, b : Policy
        Of the same stages, in the same order.
    trace : Trace, optional
        Requests that neither was fitted on, of these stages. Of a censored trace those that were run through count, by
        its `propensity`.
    tradeoff : float, optional
        λ in [0, 1] of the objective; default: the one that `a` was made for.
    level : float
        Of the intervals of differences, above 0 and below 1.

    Returns
    -------
    PolicyDiff
        Facts side by side, limits that moved, and paired differences of `b` to `a`.

    Raises
    ------
    ValidationError
        If the stages or kinds of the two differ: both lists are named; if the trace does not fit them, no trade-off is
        known, or an argument is of the wrong type or value.

    Notes
    -----
    O(n k). Intervals are those of :func:`evaluate` for paired differences, at one look: :func:`promote` tests at any
    number of looks. Where both may answer with nothing, each does at its own default loss.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((2000, 3))
    >>> train, test = tt.Trace(signal, rng.random((2000, 3)) > signal, cost=[1.0, 2.0, 4.0]).split()
    >>> found = tt.diff(tt.baselines.static(train, 0.9), tt.fit(train, tradeoff=0.9), test)
    >>> found.same, found.judged.objective.difference < 0.0
    (False, True)
    >>> [fact.name for fact in found.facts][:4]
    ['digest', 'method', 'rule', 'goal']
    """
    for name, policy in (("a", a), ("b", b)):
        if not isinstance(policy, Policy):
            raise ValidationError(f"`{name}` must be a Policy, got {type(policy).__name__}")
    if a.stages != b.stages:
        raise ValidationError(f"`b` must have the stages {list(a.stages)}, as `a` has, got {list(b.stages)}")
    kinds = a.provenance.get("kind"), b.provenance.get("kind")
    if None not in kinds and kinds[0] != kinds[1]:
        raise ValidationError(f"`b` must be of kind {kinds[0]!r}, as `a` is, got {kinds[1]!r}")
    share = check_between("level", level, 1.0)
    judged = None
    if trace is not None:
        if not isinstance(trace, Trace):
            raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
        judged = _judged(a, b, trace.matching(a).run_through(), _tradeoff(a, tradeoff), share)
    elif tradeoff is not None:
        raise ValidationError("`tradeoff` must come with a trace")
    one, two = a.describe(), b.describe()
    facts = _facts(a, one), _facts(b, two)
    names = dict.fromkeys([*facts[0], *facts[1]])
    return PolicyDiff(
        same=a.digest == b.digest,
        stages=a.stages,
        facts=tuple(DiffFact(name, facts[0].get(name, ""), facts[1].get(name, "")) for name in names),
        moved=_moved(a.stages, one["rule"], two["rule"]),
        judged=judged,
    )


def _tradeoff(a: Policy, given: float | None) -> float:
    if given is not None:
        return check_tradeoff(given)
    known = a.provenance.get("tradeoff")
    if known is None:
        raise ValidationError("`tradeoff` must be given: `a` does not say which one it is for")
    return check_tradeoff(float(known))


def _facts(policy: Policy, described: dict[str, Any]) -> dict[str, str]:
    """What a policy is, in words."""
    rule, known = described["rule"], policy.provenance
    first = policy.start().next
    chosen = next((one for one in policy.report if one["chosen"]), None)
    facts = {
        "digest": policy.digest[:DIGEST],
        "method": policy.method,
        "rule": f"{rule['type']}, graph {policy.graph}, {'with' if policy.recall else 'without'} recall",
        "goal": known.get("goal", ""),
        "tradeoff": _short(known["tradeoff"]) if "tradeoff" in known else "",
        "kind": known.get("kind", ""),
        "rows": known.get("rows", ""),
        "trace": known.get("trace", "")[:DIGEST],
        "cost from start": ", ".join(map(_short, policy._prices()[0])),
        "default loss": _short(policy.default_loss),
        "knows the time": "yes" if policy.knows_time else "no",
        "knows costs": "yes" if policy.knows_cost else "no",
        "first stage": "none" if first is None else policy.stages[first],
        "situations": str(_situations(rule)),
        "bytes": str(len(policy.to_bytes())),
        "objective, fit": _short(policy.value),
    }
    if chosen is not None:
        facts |= {f"{name}, held out": _short(chosen[name]) for name in ("loss", "cost", "objective")}
    return {name: text for name, text in facts.items() if text}


def _situations(rule: dict[str, Any]) -> int:
    """In how many situations a rule decides."""
    if "components" in rule:
        return sum(map(_situations, rule["components"]))
    for name in ("decisions", "action", "successor", "index"):
        if name in rule:
            return len(rule[name])
    return 0


def _moved(stages: tuple[str, ...], one: dict[str, Any], two: dict[str, Any]) -> tuple[DiffFact, ...]:
    """Limits of rules of one type that are not the same."""
    if one["type"] != two["type"]:
        return ()
    limits = _limits(stages, one), _limits(stages, two)
    both = (DiffFact(name, limits[0].get(name, ""), limits[1].get(name, "")) for name in limits[0] | limits[1])
    return tuple(fact for fact in both if fact.a != fact.b)


def _limits(stages: tuple[str, ...], rule: dict[str, Any]) -> dict[str, str]:
    """Every limit that a rule decides by, by what it is asked after."""
    if "components" in rule:
        parts = enumerate(rule["components"])
        return {f"part {at}, {name}": text for at, part in parts for name, text in _limits(stages, part).items()}
    found: dict[str, str] = {}
    if "threshold" in rule:
        found = {name: _short(limit) for name, limit in zip(stages, rule["threshold"], strict=True)}
    if "patience" in rule:
        found["patience"] = str(rule["patience"])
    for row in rule.get("decisions", []):
        name = "after " + ", ".join(stages[stage] for stage in row.get("after", [row["stage"]]))
        name += f" in state {row['state']}" if "state" in row else ""
        steps = [f"stop up to {_short(row['stop'])}"]
        # The last step has no limit.
        onward = [("stop" if stage < 0 else stages[stage], limit) for limit, stage in row["next"]]
        steps += [then if limit == "inf" else f"{then} {_short(limit)}" for then, limit in onward]
        found[name] = "; ".join(steps)
    return found


def _judged(a: Policy, b: Policy, trace: Trace, tradeoff: float, level: float) -> DiffOnTrace:
    """Both on the same requests."""
    one, two = (outcome.of_policy(policy, trace, Terms()) for policy in (a, b))
    finite = [policy.default_loss for policy in (a, b) if math.isfinite(policy.default_loss)]
    judge = Judge(trace, max(finite) if finite else None)
    losses, costs = judge.loss_range, judge.cost_range

    def means(of: Any, edges: tuple[float, float]) -> MeanDifference:
        values: tuple[Floats, Floats] = (of(one), of(two))
        width = edges[1] - edges[0]
        paired = judge.mean(values[1] - values[0])
        interval = mean_interval(paired, -width, width, heaviest=judge.is_reweighted, level=level)
        return MeanDifference(judge.mean(values[0]).mean, judge.mean(values[1]).mean, paired.mean, interval)

    is_exits = trace.kind == "exits"
    ran = [found.last if is_exits else found.consulted.sum(axis=1) for found in (one, two)]
    return DiffOnTrace(
        n=trace.n,
        level=level,
        tradeoff=tradeoff,
        loss=means(lambda found: found.loss, losses),
        cost=means(lambda found: found.cost, costs),
        objective=means(lambda found: outcome.objective(found, tradeoff, trace), judge.objective_range(tradeoff)),
        same_stages=judge.mean((one.consulted == two.consulted).all(axis=1).astype(np.float64)).mean,
        same_answer=judge.mean(_same_answer(one, two, trace).astype(np.float64)).mean,
        earlier=int((ran[1] < ran[0]).sum()),
        later=int((ran[1] > ran[0]).sum()),
        teacher=trace.teacher,
    )


def _same_answer(one: Outcome, two: Outcome, trace: Trace) -> Any:
    """(n,) whether the answers are of the same stage, or equal predictions."""
    same = one.answer == two.answer
    said = trace.prediction
    if said is None:
        return same
    rows, least = np.arange(trace.n), np.iinfo(np.int64).min
    codes = [np.where(found.answer >= 0, said[rows, found.answer], least) for found in (one, two)]
    return same | ((codes[0] == codes[1]) & (codes[0] != least))


def _fact_lines(fact: DiffFact) -> list[str]:
    """A fact in lines of 80 signs: long names above, long texts in several lines."""
    mark = " " if fact.a == fact.b else "*"
    head = f"{mark} {fact.name}"
    lines = [head] if len(head) > NAME else []
    cells = zip_longest(_wrapped(fact.a), _wrapped(fact.b), fillvalue="")
    name = "" if lines else head
    for one, two in cells:
        lines.append(f"{name:<{NAME}}  {one:<{CELL}}  {two}")
        name = ""
    return [line[: NAME + 2 * CELL + 4] for line in lines]


def _wrapped(text: str) -> list[str]:
    """Lines of a cell: a semicolon or comma ends one where the next part does not fit."""
    lines = [""]
    for word in text.split(" "):
        for piece in [word[at : at + CELL] for at in range(0, max(len(word), 1), CELL)]:
            joined = f"{lines[-1]} {piece}".strip()
            if len(joined) <= CELL:
                lines[-1] = joined
            else:
                lines.append(piece)
    return lines


def _judged_lines(found: DiffOnTrace) -> list[str]:
    lines = [
        f"{found.n} requests, tradeoff {found.tradeoff:g}, differences with {100.0 * found.level:.4g} % intervals",
        f"{'':<10}  {'first':>10}  {'second':>10}  {'difference':>11}  interval",
    ]
    for name in ("loss", "cost", "objective"):
        one: MeanDifference = getattr(found, name)
        low, high = one.interval
        lines.append(f"{name:<10}  {one.a:>10.5g}  {one.b:>10.5g}  {one.difference:>+11.4g}  {low:+.4g} to {high:+.4g}")
    lines.append(f"the same stages run in {found.same_stages:.1%}, the same answer in {found.same_answer:.1%} of them")
    lines.append(f"the second stops earlier in {found.earlier} of them, later in {found.later}")
    if found.teacher is not None:
        lines.append(against_teacher(found.teacher))
    return lines


def _short(number: float | str) -> str:
    return f"{float(number):.4g}"
