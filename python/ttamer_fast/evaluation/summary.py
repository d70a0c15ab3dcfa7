"""What a fitted policy is worth on requests that it was not fitted on, in the units of its user."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from .._core import Learner, Outcome, Policy, ValidationError
from .._utils.arrays import Floats, Ints
from .._utils.checks import check_default_loss
from .._utils.rule_names import CLAIRVOYANT, LAST
from ..traces import outcome
from ..traces.outcome import Terms
from ..traces.trace import Trace
from . import cross_validation as cv
from .comparison import hindsight_of
from .intervals import cross_validated_error, student_quantile
from .judged import Interval, Judge, against_teacher

__all__ = ["Saving", "Summary", "summarize"]

MOST_ROWS = 20_000
"""Rows that are judged: more change the intervals little, and would take longer than the fit."""


@dataclass(frozen=True)
class Saving:
    """A policy against one simple rule, request by request; each `_ci` is the 95 % interval of what it follows.

    Attributes
    ----------
    rule : str
        Its name: ``last stage``, or that of one of `tt.baselines`.
    stage : str or None
        The one stage whose answer the rule gave to every request, if there is one.
    loss, cost : float
        Means of the rule per request, in the trace's units of loss and cost.
    cost_saved, cost_saved_ci : float, (float, float)
        Share of the rule's mean cost that the policy saves: 0.6 is 60 % less; negative: it costs more. NaN where the
        rule costs nothing.
    loss_saved, loss_saved_ci : float, (float, float)
        Mean loss of the rule minus that of the policy, in the trace's unit; negative: the policy loses more.
    objective_saved, objective_saved_ci : float, (float, float)
        Mean objective of the rule minus that of the policy.
    """

    rule: str
    stage: str | None
    loss: float
    cost: float
    cost_saved: float
    cost_saved_ci: tuple[float, float]
    loss_saved: float
    loss_saved_ci: tuple[float, float]
    objective_saved: float
    objective_saved_ci: tuple[float, float]

    def __str__(self) -> str:
        parts = [_compared(self.loss_saved, self.loss_saved_ci, "loss", lambda x: f"{x:.4g}")]
        if math.isfinite(self.cost_saved):
            parts.insert(0, _compared(self.cost_saved, self.cost_saved_ci, "cost", lambda x: f"{100.0 * x:.1f} %"))
        return " and ".join(parts)


@dataclass(frozen=True)
class Summary:
    """Means per request on rows held back, with 95 % intervals; prints as one sentence, of three lines.

    Attributes
    ----------
    n, folds : int
        Requests judged, and parts of the cross-validation; `folds` 1: the policy itself on the rows that its
        certificate held out.
    tradeoff : float
        λ of the objective λ · loss + (1 − λ) · cost / cost of running every stage.
    deadline : float or None
        Seconds that each request had; None: as many as it took.
    loss, loss_ci, cost, cost_ci : float, (float, float)
        In the trace's units of loss and cost.
    coverage, coverage_ci : float, (float, float)
        Share of the requests, 0 to 1, that got an answer.
    late_share, late_share_ci : float, (float, float)
        Share of the requests, 0 to 1, that the deadline cut off, with or without an answer in hand.
    objective, objective_ci : float, (float, float)
        As above.
    last, best : Saving
        Against always answering with the last stage, and against the best of `tt.baselines` on the same rows.
    teacher : str or None
        Whose answers losses are held against, where it is not the truth.
    """

    n: int
    folds: int
    tradeoff: float
    deadline: float | None
    loss: float
    loss_ci: tuple[float, float]
    cost: float
    cost_ci: tuple[float, float]
    coverage: float
    coverage_ci: tuple[float, float]
    late_share: float
    late_share_ci: tuple[float, float]
    objective: float
    objective_ci: tuple[float, float]
    last: Saving
    best: Saving
    teacher: str | None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        return asdict(self)

    def __str__(self) -> str:
        how = "its held-out rows" if self.folds == 1 else f"{self.folds}-fold cross-validation"
        loss, cost = (f"{mean:.4g} ({low:.4g} to {high:.4g})" for mean, (low, high) in self._loss_and_cost)
        if self.coverage < 1.0:
            low, high = self.coverage_ci
            cost += f" and is answered in {self.coverage:.1%} ({low:.1%} to {high:.1%}) of cases"
        if self.deadline is not None:
            low, high = self.late_share_ci
            cost += f"; {self.late_share:.1%} ({low:.1%} to {high:.1%}) are cut off after {self.deadline:g} s"
        where = f"held out ({how}, {self.n:,} requests; in brackets 95 % intervals)"
        lines = [
            f"{where}: a request loses {loss} and costs {cost},",
            f"  that is against the last stage, {self.last.stage!r}: {self.last},",
            f"  and against the best simple rule, {self.best.rule}: {self.best}",
        ]
        if self.teacher is not None:
            lines.append("  " + against_teacher(self.teacher))
        return "\n".join(lines)

    @property
    def _loss_and_cost(self) -> list[tuple[float, tuple[float, float]]]:
        return [(self.loss, self.loss_ci), (self.cost, self.cost_ci)]


def _compared(saved: float, ci: tuple[float, float], what: str, text: Callable[[float], str]) -> str:
    """`0.01 (0.005 to 0.015) less loss`."""
    word, sign = ("less", 1.0) if saved >= 0.0 else ("more", -1.0)
    low, high = sorted(sign * end for end in ci)
    return f"{text(abs(saved))} ({text(low)} to {text(high)}) {word} {what}"


def summarize(
    policy: Policy,
    trace: Trace,
    *,
    folds: int = 5,
    seed: int = 0,
    default_loss: float = math.inf,
    deadline: float = math.inf,
) -> Summary:
    """What a fitted policy is worth on rows held back from the trace that it was fitted to.

    Parameters
    ----------
    policy : Policy
        From `fit`, `fit_certified` or `baselines`.
    trace : Trace
        The one that it was fitted to; of `fit_certified`, all of it. A policy of other prices is judged at these.
    folds : int
        From 2 to the number of rows or groups: the fit is repeated without each part in turn, with the same trade-off
        and restrictions, and judged on that part. Of a certificate, whose policy has held-out rows already, not used.
    seed : int
        Of the assignment of rows to folds, groups undivided.
    default_loss : float
        Loss of answering with nothing, at least 0, in the trace's unit, for the simple rules too. Infinite: that which
        the policy was fitted with; without, under a deadline the largest loss of the trace.
    deadline : float
        As in :func:`evaluate`: a policy fitted with ``deadline=True`` is told what is left, all others are cut off.

    Returns
    -------
    Summary
        Loss, cost, and savings against the last stage and the best simple rule, each with an interval.

    Raises
    ------
    ValidationError
        If the policy is not fitted or was fitted to another trace, `folds` is out of range, `default_loss` or
        `deadline` is negative or NaN, or `deadline` is finite and the trace has no latencies.

    Notes
    -----
    As long as `folds` fits of at most 20,000 rows; of a longer trace, so many are drawn. Whether recall pays and which
    rule is the policy's was decided on all rows, and is not decided anew. To judge a policy on other requests, there is
    `evaluate`; to choose between rules, `compare`. Intervals of savings count, as those of `compare` do, that the rules
    of all folds learn from mostly the same rows; that of the objective against the best rule, its choice in hindsight.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((2000, 2)) ** [0.5, 0.2]
    >>> trace = tt.Trace(signal, rng.random((2000, 2)) > signal, [1.0, 20.0], kind="models", stages=["small", "large"])
    >>> summary = tt.summarize(tt.fit(trace, tradeoff=0.9), trace)
    >>> summary.last.stage, summary.last.cost_saved > 0.2
    ('large', True)
    """
    known = policy.provenance
    if "tradeoff" not in known or "trace" not in known:
        raise ValidationError("`policy` must be fitted to a trace, got one that does not say to which")
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    tradeoff = float(known["tradeoff"])
    terms = outcome.terms_of(trace, default_loss, deadline)
    if terms.default_loss is None:
        terms = terms._replace(default_loss=_own_default_loss(known))
    rules = {name: rule for name, rule in cv.rules(trace).items() if name not in (*cv.FITS, CLAIRVOYANT)}
    if "held_out_trace" in known:
        no_answer = None if terms.deadline is None else outcome.largest_loss(trace)
        fold = cv.Fold(*_certified_parts(known, trace), terms, no_answer)
        found = {name: rule(fold, tradeoff) for name, rule in rules.items()}
        own = [(1.0, outcome.of_policy(policy, fold.test, fold.judged_by))]
        return _summary(fold.test, tradeoff, np.zeros(fold.test.n, np.int64), own, found, terms)
    if trace.digest != known["trace"]:
        raise ValidationError("`trace` must be the one that the policy was fitted to, got another")
    if "cost" in known:
        prices = [float(price) for price in known["cost"].split(",")]
        trace = trace.of_core(trace.core.repriced(prices), is_kind_said=True)
    if trace.n > MOST_ROWS:
        _, trace = trace.split(MOST_ROWS / trace.n, seed)
    refits = _refits(policy, terms)
    chosen = {**rules, **{str(i): rule for i, (_, rule) in enumerate(refits)}}
    (outcomes,) = cv.cross_validate(trace, chosen, [tradeoff], folds, seed, terms=terms)
    own = [(share, outcomes[str(i)]) for i, (share, _) in enumerate(refits)]
    found = {name: outcomes[name] for name in rules}
    through, part = cv.judged(trace, cv.parts(trace, folds, seed))
    return _summary(through, tradeoff, part, own, found, terms)


def _own_default_loss(known: Mapping[str, str]) -> float | None:
    """What a policy was fitted with."""
    return check_default_loss(float(known.get("default_loss", math.inf)))


def _certified_parts(known: Mapping[str, str], trace: Trace) -> tuple[Trace, Trace]:
    """The parts of a trace that a certified policy was fitted to and tested on."""
    parts = trace.split(float(known["held_out"]), int(known["seed"]))
    if [part.digest for part in parts] != [known["trace"], known["held_out_trace"]]:
        raise ValidationError("`trace` must be the one that the policy was certified on, got another")
    return parts


def _refits(policy: Policy, terms: Terms) -> list[tuple[float, cv.Rule]]:
    """How to fit a policy like this one anew: rules, and on which share of the requests each decides.

    One that knows time decides without a deadline as one that does not, which takes less to fit.
    """
    known = policy.provenance
    order = known.get("order")
    restricted: dict[str, Any] = {
        "graph": known.get("graph", "auto"),
        "order": None if order is None else [int(stage) for stage in order.split(",")],
        "deadline": "deadline" in known and terms.deadline is not None,
        "known_cost": "known_cost" in known,
    }
    nothing = _own_default_loss(known)
    learned: dict[str, tuple[cv.Fold, Learner]] = {}

    def refit(method: str, own_tradeoff: float, fold: cv.Fold, _tradeoff: float) -> Outcome:
        if method not in learned or learned[method][0] is not fold:
            options = restricted if method == "pathwise" else {}
            learned[method] = fold, Learner(fold.train.core, method=method, default_loss=nothing, **options)
        return outcome.of_policy(learned[method][1].draft(own_tradeoff, policy.recall), fold.test, fold.judged_by)

    methods = policy.method.split(" + ")
    first = partial(refit, methods[0], float(known["tradeoff"]))
    if "mixed_share" not in known:
        return [(1.0, first)]
    share = float(known["mixed_share"])
    return [(1.0 - share, first), (share, partial(refit, methods[-1], float(known["mixed_tradeoff"])))]


def _summary(
    trace: Trace,
    tradeoff: float,
    part: Ints,
    own: Sequence[tuple[float, Outcome]],
    rules: Mapping[str, Outcome],
    terms: Terms,
) -> Summary:
    """`own`: outcomes of the policy's parts, and on which share of the requests each decides; `part` (n,): folds."""
    judge, folds = Judge(trace, terms.default_loss), int(part.max()) + 1

    def expected(values: Mapping[int, Floats]) -> Floats:
        return sum((share * values[i] for i, (share, _) in enumerate(own)), start=np.zeros(trace.n))

    def objective_of(found: Outcome) -> Floats:
        return outcome.objective(found, tradeoff, trace)

    def saved(values: Floats, hindsight: float = 0.0) -> tuple[float, Interval]:
        """Mean of paired differences, and its interval."""
        paired = judge.mean(values)
        error = paired.standard_error if folds == 1 else cross_validated_error(paired, folds)
        half = student_quantile(paired.size - 1.0) * math.hypot(error, hindsight) if paired.size >= 2.0 else math.inf
        return paired.mean, (paired.mean - half, paired.mean + half)

    def saving(rule: str, hindsight: float = 0.0) -> Saving:
        found = rules[rule]
        base = judge.mean(found.cost).mean
        cost_saved, cost_saved_ci = math.nan, (math.nan, math.nan)
        if base > 0.0:
            cost_saved = judge.mean((found.cost - cost) / base).mean
            # A ratio of two means has the interval of its linear part.
            _, (low, high) = saved((found.cost - cost - cost_saved * found.cost) / base)
            cost_saved_ci = cost_saved + low, cost_saved + high
        loss_saved, loss_saved_ci = saved(found.loss - loss)
        objective_saved, objective_saved_ci = saved(objective_of(found) - objective, hindsight)
        answers = {trace.core.answering[-1]} if rule == LAST else set(found.answer.tolist())
        return Saving(
            rule=rule,
            stage=trace.stages[answers.pop()] if len(answers) == 1 and -1 not in answers else None,
            loss=judge.mean(found.loss).mean,
            cost=base,
            cost_saved=cost_saved,
            cost_saved_ci=cost_saved_ci,
            loss_saved=loss_saved,
            loss_saved_ci=loss_saved_ci,
            objective_saved=objective_saved,
            objective_saved_ci=objective_saved_ci,
        )

    loss = expected({i: found.loss for i, (_, found) in enumerate(own)})
    cost = expected({i: found.cost for i, (_, found) in enumerate(own)})
    answered = expected({i: (found.answer >= 0).astype(np.float64) for i, (_, found) in enumerate(own)})
    late = expected({i: found.late.astype(np.float64) for i, (_, found) in enumerate(own)})
    objective = expected({i: objective_of(found) for i, (_, found) in enumerate(own)})
    simple = {name: objective_of(found) for name, found in rules.items() if name != LAST}
    best = min(simple, key=lambda name: judge.mean(simple[name]).mean)
    hindsight = hindsight_of(simple, best, part, trace.weight) if folds > 1 else 0.0
    return Summary(
        n=trace.n,
        folds=folds,
        tradeoff=tradeoff,
        deadline=terms.deadline,
        loss=judge.mean(loss).mean,
        loss_ci=judge.interval(loss, *judge.loss_range),
        cost=judge.mean(cost).mean,
        cost_ci=judge.interval(cost, *judge.cost_range),
        coverage=judge.mean(answered).mean,
        coverage_ci=judge.interval(answered, 0.0, 1.0),
        late_share=judge.mean(late).mean,
        late_share_ci=judge.interval(late, 0.0, 1.0),
        objective=judge.mean(objective).mean,
        objective_ci=judge.interval(objective, *judge.objective_range(tradeoff)),
        last=saving(LAST),
        best=saving(best, hindsight),
        teacher=trace.teacher,
    )
