"""What one policy is worth on a trace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core import Policy, ValidationError
from .._utils.arrays import Floats
from .._utils.checks import check_default_loss, check_tradeoff
from ..traces import outcome
from ..traces.trace import Trace
from .judged import Judge, against_teacher

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Means over the requests of a trace, each counting as its weight says, with 95 % confidence intervals.

    Intervals are about requests like those of the trace, drawn independently, under this one policy. Each is Wilson's
    where values are 0 or one other value: 0 errors in 300 requests give 0 to 0.0126, not 0 to 0. For other values it is
    Wilson's idea with their own variance and Student's quantile; the largest loss of the trace, at any stage, and the
    cost of running everything count as possible for every request. An interval is infinite where all rows say no more
    than one request.

    Rows of one group, and without groups rows that are equal in everything, count together as one request. Under
    weights w, (Σ w)² / Σ w² takes the place of their number; on a trace with `propensity`, where few requests stand for
    many, Σ w / max w: what is too rare to be seen may be in the heaviest.

    Attributes
    ----------
    n : int
        Requests.
    observed : int
        Requests of which all is known that the policy asked for: all of them, unless the trace is censored.
    teacher : str or None
        Whose answers losses are held against, where it is not the truth.
    tradeoff : float
        λ of the objective.
    loss, loss_ci : float, (float, float)
        Mean loss per request, in the trace's unit of loss; nothing counts as what it loses.
    coverage, coverage_ci : float, (float, float)
        Share of the requests, 0 to 1, that got an answer.
    risk, risk_ci : float, (float, float)
        Mean loss of those alone; NaN where there are none.
    cost, cost_ci : float, (float, float)
        Mean cost per request, in the trace's unit of cost.
    objective, objective_ci : float, (float, float)
        Mean of λ · loss + (1 − λ) · cost / cost of running every stage.
    stages : tuple of k str
        Names of the stages.
    consulted_share, answer_share : (k,) float64
        Shares of the requests, 0 to 1, that ran each stage, and that returned its answer.
    consulted_share_ci, answer_share_ci : (k, 2) float64
        Their intervals.
    recalled_share, recalled_share_ci : float, (float, float)
        Share of the requests that returned the answer of an earlier stage than the last one run, and were not cut off.
    deadline : float or None
        Seconds that each request had; None: as many as it took.
    late_share, late_share_ci : float, (float, float)
        Share of the requests that the deadline cut off, with or without an answer in hand.
    independent : float
        How many independent requests that count alike say as much as the rows: n, less groups and weights.
    heavy_tailed : bool
        Whether one more request with the largest loss, or cost, of the trace could move a mean as far as all others do:
        intervals may then be too narrow.
    """

    n: int
    observed: int
    teacher: str | None
    tradeoff: float
    loss: float
    loss_ci: tuple[float, float]
    coverage: float
    coverage_ci: tuple[float, float]
    risk: float
    risk_ci: tuple[float, float]
    cost: float
    cost_ci: tuple[float, float]
    objective: float
    objective_ci: tuple[float, float]
    stages: tuple[str, ...]
    consulted_share: Floats
    consulted_share_ci: Floats
    answer_share: Floats
    answer_share_ci: Floats
    recalled_share: float
    recalled_share_ci: tuple[float, float]
    deadline: float | None
    late_share: float
    late_share_ci: tuple[float, float]
    independent: float
    heavy_tailed: bool

    def to_dict(self) -> dict[str, Any]:
        """The same numbers as plain Python values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    def __str__(self) -> str:
        width = max(len("objective"), *map(len, self.stages))
        worth = "" if self.independent > 0.99 * self.n else f" that say as much as {self.independent:.0f}"
        known = "" if self.observed == self.n else f", {self.observed} with all known that the policy asks for"
        lines = [f"{self.n} requests{known}{worth}, tradeoff {self.tradeoff:g}"]
        if self.teacher is not None:
            lines.append(against_teacher(self.teacher))
        for name in ("loss", "cost", "objective"):
            low, high = getattr(self, f"{name}_ci")
            lines.append(f"{name:<{width}}  {getattr(self, name):.6g}  (95 % interval {low:.6g} to {high:.6g})")
        lines.append(f"{'stage':<{width}}  consulted  answers")
        for stage, consulted, answers in zip(self.stages, self.consulted_share, self.answer_share, strict=True):
            lines.append(f"{stage:<{width}}  {consulted:>9.1%}  {answers:>7.1%}")
        if self.coverage < 1.0:
            low, high = self.coverage_ci
            lines.append(f"answered at all: {self.coverage:.1%}  (95 % interval {low:.1%} to {high:.1%})")
            low, high = self.risk_ci
            lines.append(f"loss of an answer: {self.risk:.6g}  (95 % interval {low:.6g} to {high:.6g})")
        lines.append(f"answered by an earlier stage than the last one run: {self.recalled_share:.1%}")
        if self.deadline is not None:
            lines.append(f"cut off by the deadline of {self.deadline:g} s: {self.late_share:.1%}")
        if self.heavy_tailed:
            lines.append("heavy tail: few requests decide these means, and intervals may be too narrow")
        return "\n".join(lines)


def evaluate(
    policy: Policy,
    trace: Trace,
    tradeoff: float | None = None,
    *,
    default_loss: float = math.inf,
    deadline: float = math.inf,
) -> Evaluation:
    """Replay `policy` on `trace` and average.

    Parameters
    ----------
    policy : Policy
        Any policy of the trace's stages.
    trace : Trace
        Requests that the policy was not fitted on, or the result flatters it. Costs are those of its rows. Stages are
        matched by name, and the kind is the policy's: see :meth:`Trace.matching`. A censored trace needs `propensity`:
        requests of which all is known that the policy asks for stand for the others.
    tradeoff : float, optional
        λ in [0, 1] of the objective λ · loss + (1 − λ) · cost / cost of running every stage; default: the one that
        the policy was fitted for.
    default_loss : float
        Loss of answering with nothing, at least 0, in the trace's unit. Infinite: that which the policy was made with,
        else the largest loss of the trace.
    deadline : float
        Seconds >= 0 that each request has; infinite: as many as it takes. Stages take the seconds of the trace's
        `latency`; what is not known there, `expected_latency`. A stage that takes longer than what is left is cut off:
        it is paid for, its answer is lost, and the best in hand goes out, or nothing. A policy fitted with
        ``deadline=True`` is told what is left, any other is just cut off.

    Returns
    -------
    Evaluation
        Means, confidence intervals, and shares of the requests (k,), stages in the order of the policy, all weighted
        as the trace is.

    Raises
    ------
    ValidationError
        If the stages or kinds do not match, no trade-off is known, `default_loss` or `deadline` is negative or NaN,
        `deadline` is finite and the trace has no latencies, or the trace is censored and has no propensity.

    Warns
    -----
    EvaluationWarning
        If losses or costs have a heavy tail.

    Notes
    -----
    O(n k). How the intervals are made: see :class:`Evaluation`. On a censored trace a request that is known counts as
    its weight over the chance of that (Hájek's ratio of Horvitz and Thompson's sums).

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 3))
    >>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
    >>> train, test = trace.split()
    >>> result = tt.evaluate(tt.fit(train, tradeoff=0.9), test)
    >>> low, high = result.loss_ci
    >>> bool(low <= result.loss <= high)
    True
    """
    trace = trace.matching(policy)
    if tradeoff is None:
        known = policy.provenance.get("tradeoff")
        if known is None:
            raise ValidationError("`tradeoff` must be given: the policy does not say which one it is for")
        tradeoff = float(known)
    share = check_tradeoff(tradeoff)
    terms = outcome.terms_of(trace, default_loss, deadline)
    n, trace = trace.n, trace.observed(policy, *terms)
    found = outcome.of_policy(policy, trace, terms)
    given = terms.default_loss
    judge = Judge(trace, check_default_loss(policy.default_loss) if given is None else given)
    risk, risk_ci = judge.risk(found)
    is_answered = found.answer >= 0
    loss = judge.mean(found.loss)
    is_static = policy.method == "static"
    answers = found.answer[:, np.newaxis] == np.arange(trace.k)
    return Evaluation(
        n=n,
        observed=trace.n,
        teacher=trace.teacher,
        tradeoff=share,
        loss=loss.mean,
        loss_ci=judge.loss_interval(found),
        coverage=judge.mean(is_answered.astype(np.float64)).mean,
        coverage_ci=judge.share(is_answered),
        risk=risk,
        risk_ci=risk_ci,
        cost=judge.mean(found.cost).mean,
        cost_ci=judge.cost_interval(found, is_static),
        objective=judge.mean(outcome.objective(found, share, trace)).mean,
        objective_ci=judge.objective_interval(found, share, is_static),
        stages=trace.stages,
        consulted_share=found.consulted_share(trace.core),
        consulted_share_ci=judge.shares(found.consulted),
        answer_share=found.answer_share(trace.core),
        answer_share_ci=judge.shares(answers),
        recalled_share=found.recalled_share(trace.core),
        recalled_share_ci=judge.share(is_answered & (found.answer != found.last) & ~found.late),
        deadline=terms.deadline,
        late_share=judge.mean(found.late.astype(np.float64)).mean,
        late_share_ci=judge.share(found.late),
        independent=loss.size,
        heavy_tailed=judge.warn_of_heavy_tails(found),
    )
