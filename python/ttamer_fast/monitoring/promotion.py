"""A candidate takes the place of the policy in service where explored requests show that it is better."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from .._core import BoundedMean, Policy, ValidationError
from .._utils.checks import check_between, check_number, check_tradeoff
from ..records.censored import Labels
from ..records.log import prices_of
from ..records.reading import Records, RunThrough
from ..serving.slot import PolicySlot, check_fits
from ..traces import outcome
from ..traces.outcome import Terms
from ..traces.trace import Trace

__all__ = ["Promotion", "promote"]

SHORT = 12
"""Letters of a digest that are shown."""
LARGEST_LOG = 700.0
"""Of a capital that is a finite number."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What became of a candidate, and why.

    Attributes
    ----------
    promoted : bool
        Whether it was put in service.
    reason : str
        Why, or why not, in a sentence.
    requests : int
        Explored requests that judged: every loss of them is known.
    left_out : int
        Other explored requests: nobody knows what was true, or a stage gave nothing.
    difference : float
        Mean objective of the candidate minus that of the policy in service, below 0 where it is better; NaN without
        requests.
    interval : (float, float)
        Of the difference, at every time of looking: each end holds with probability 1 - `error`. The upper one is below
        `margin` exactly where the capital is large enough.
    capital : float
        What 1 has become in bets against "the candidate is worse by `margin` or more"; 1 / `error` promotes.
    error, margin, tradeoff : float
        As asked for, and λ of the objective.
    digest, incumbent : str
        `Policy.digest` of the candidate, and of the policy that was in service when the test began.
    teacher : str or None
        Whose answers losses are held against, where it is not the truth.
    """

    promoted: bool
    reason: str
    requests: int
    left_out: int
    difference: float
    interval: tuple[float, float]
    capital: float
    error: float
    margin: float
    tradeoff: float
    digest: str
    incumbent: str
    teacher: str | None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __str__(self) -> str:
        one, two = self.digest[:SHORT], self.incumbent[:SHORT]
        head = f"{one} is in service instead of {two}" if self.promoted else f"{two} stays in service, not {one}"
        lines = [f"{head}: {self.reason}"]
        lines.append(f"explored requests  {self.requests} judged, {self.left_out} left out")
        if self.requests:
            low, high = self.interval
            level = 100.0 - 200.0 * self.error
            interval = f"{level:.4g} % interval {low:+.5g} to {high:+.5g}, at any time"
            lines.append(f"difference         {self.difference:+.5g}  ({interval})")
            lines.append(f"capital            {self.capital:.4g} of {1.0 / self.error:.4g}")
        lines.append(f"objective          of tradeoff {self.tradeoff:g}, margin {self.margin:g}")
        if self.teacher is not None:
            lines.append(f"losses             against the answers of {self.teacher}, not the truth")
        return "\n".join(lines)


def promote(
    slot: PolicySlot,
    candidate: Policy,
    records: Records | Trace,
    *,
    truth: Mapping[str, Hashable] | None = None,
    teacher: str | None = None,
    margin: float = 0.0,
    error: float = 0.05,
    tradeoff: float | None = None,
    since: float | datetime | None = None,
    largest_loss: float = 1.0,
) -> Promotion:
    """Put `candidate` in service if explored requests show that it is better than the policy in service.

    Parameters
    ----------
    slot : PolicySlot
        Where it is to serve.
    candidate : Policy
        Of the same stages and kind, fitted without the requests that judge it.
    records : Records or Trace
        A log, of which the requests judge that were run through (`explore=`), under whichever policy of these stages;
        or a trace of requests that were drawn at random and run through every stage.
    truth, teacher
        Of a log, what losses are held against: one of them, as in :meth:`Records.trace`.
    margin : float
        At least 0, in the unit of the objective: 0 asks for a better candidate, more for one that is not worse by
        `margin`.
    error : float
        Largest probability of a wrong promotion, above 0 and below 0.5: however often one looks, at this candidate.
    tradeoff : float, optional
        λ in [0, 1] of the objective; default: the one that both policies were made for.
    since : float or datetime, optional
        Of a log, only requests from this time on: when the rows ended that the candidate was fitted on.
    largest_loss : float
        What no loss can exceed, finite and above 0, in its unit. Losses of a log are 0 or 1.

    Returns
    -------
    Promotion
        Whether it is in service now, and why.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value; if the policies were made for two trade-offs and none is given; if
        the candidate was fitted to the trace that is to judge it; if a loss exceeds `largest_loss`; if a governor moves
        the slot; and as :meth:`Records.trace`.

    Notes
    -----
    *The test.* Both policies decide every explored request again, from its recorded signals and predictions. Objectives
    are λ · loss + (1 − λ) · cost / cost of running every stage, as :func:`evaluate` has them, at the prices of the
    policy in service, without deadlines. A capital bets on every paired difference against "the mean is at least
    `margin`"; if that is true, the capital is ever at 1 / `error` with probability at most `error` (Ville 1939; bets on
    the mean of bounded values: Waudby-Smith and Ramdas 2024, arXiv 2010.09686, section 4, with fixed bets). The order
    of the requests plays no part, so that a second look, with more requests of the log, goes on with the same bets.

    *What it promises*, for each candidate: that it replaces a policy that is no worse (by `margin`) with probability at
    most `error`. Who tests a hundred candidates has a hundred such chances.

    *What it takes for granted.* Explored requests are like all others, which holds by how they are drawn, but for busy
    times under a cap (`Exploration(per_second=)`); while traffic changes, the test is about that since `since`. Truth
    becomes known of any request alike. Requests of which a stage gave nothing, as it failed or its circuit was open,
    are left out and counted: the candidate is judged on requests that all stages answered. Where failures go with hard
    requests, that is not all of the traffic.

    O(n k) for n explored requests. Any thread may call it: where the policy in service has changed meanwhile, nothing
    is swapped.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((4000, 2))
    >>> trace = tt.Trace(signal, rng.random((4000, 2)) > signal ** [1.0, 0.2], cost=[1.0, 2.0])
    >>> train, explored = trace.split()
    >>> slot = tt.PolicySlot(tt.baselines.static(train, tradeoff=0.9))
    >>> found = tt.promote(slot, tt.fit(train, tradeoff=0.9), explored)
    >>> found.promoted, found.difference < 0.0, found.requests
    (True, True, 2000)
    >>> tt.promote(slot, tt.fit(train, tradeoff=0.9), explored).reason
    'the candidate is the policy in service'
    """
    if not isinstance(slot, PolicySlot):
        raise ValidationError(f"`slot` must be a PolicySlot, got {type(slot).__name__}")
    if not isinstance(candidate, Policy):
        raise ValidationError(f"`candidate` must be a Policy, got {type(candidate).__name__}")
    # What the slot would refuse after a long test is refused before it.
    slot._refuse_if_governed("promote(slot, ...)")
    incumbent, largest = slot.policy, check_between("largest_loss", largest_loss, math.inf)
    asked = Promotion(
        promoted=False,
        reason="the candidate is the policy in service",
        requests=0,
        left_out=0,
        difference=math.nan,
        interval=(-math.inf, math.inf),
        capital=1.0,
        error=check_between("error", error, 0.5),
        margin=_check_margin(margin),
        tradeoff=_tradeoff_of(candidate, incumbent, tradeoff),
        digest=candidate.digest,
        incumbent=incumbent.digest,
        teacher=teacher,
    )
    explored = _explored(records, truth, teacher, since, candidate, incumbent)
    if candidate.digest == incumbent.digest:
        return asked
    try:
        check_fits("candidate", candidate, incumbent)
    except ValidationError as unfit:
        return replace(asked, reason=str(unfit))
    if not explored.requests:
        reason = "there is no explored request of these stages: serve with `explore=`, or look further back"
        return replace(asked, reason=reason)
    judging = _judging(explored.trace, incumbent)
    asked = replace(asked, left_out=explored.requests - (0 if judging is None else judging.n))
    if judging is None:
        reason = f"of none of {asked.left_out} explored requests every loss is known: give `truth`, or wait for it"
        return replace(asked, reason=reason)
    asked = replace(asked, teacher=judging.teacher)
    found = _differences(candidate, incumbent, judging, asked.tradeoff, largest)
    log_capital = found.log_capital(asked.margin)
    is_shown = log_capital >= -math.log(asked.error)
    interval = found.interval(2.0 * asked.error)
    result = replace(
        asked,
        promoted=is_shown,
        reason=_reason(found, asked, interval[0], is_shown),
        requests=len(found),
        difference=found.mean,
        interval=interval,
        capital=math.exp(log_capital) if log_capital < LARGEST_LOG else math.inf,
    )
    if is_shown:
        try:
            slot.swap(candidate, instead_of=incumbent)
        except ValidationError:
            if slot.policy.digest == incumbent.digest:
                raise
            reason = f"{result.reason}; but the policy in service has changed meanwhile: test it against that one"
            return replace(result, promoted=False, reason=reason)
    return result


def _explored(
    records: Records | Trace,
    truth: Mapping[str, Hashable] | None,
    teacher: str | None,
    since: float | datetime | None,
    candidate: Policy,
    incumbent: Policy,
) -> RunThrough:
    """The explored requests; a ValidationError where the candidate was fitted to them."""
    fitted_to = candidate.provenance.get("trace")
    if isinstance(records, Trace):
        if (truth, teacher, since) != (None, None, None):
            raise ValidationError("`truth`, `teacher` and `since` must come with records, not with a trace")
        _check_drawn_alike(records)
        _refuse_own(fitted_to, records)
        return RunThrough(len(records), records.matching(incumbent, "records"))
    if not isinstance(records, Records):
        raise ValidationError(f"`records` must be Records or a Trace, got {type(records).__name__}")
    labels = Labels.of(truth, teacher)
    found = records.run_through(labels, incumbent.stages, since)
    if found.trace is not None:
        _refuse_own(fitted_to, found.trace)
    if fitted_to is not None and since is None:
        whole = None
        with suppress(ValidationError):  # nobody fitted a log that makes no trace
            whole = records.trace(truth, teacher=teacher)
        if whole is not None:
            _refuse_own(fitted_to, whole)
    return found


def _check_drawn_alike(trace: Trace) -> None:
    """Whether the requests of which all is known are a sample in which all had the same chance."""
    if trace.weight is not None and np.ptp(trace.weight) > 0.0:
        raise ValidationError("`records` must be requests that count alike, got a trace with weights")
    if not trace.is_censored:
        return
    if trace.propensity is None:
        raise ValidationError(
            "`records` must know every loss, or say with which chance: got a trace without `propensity`"
        )
    chance = trace.propensity.min(axis=1)
    if len(np.unique(chance[~np.isnan(chance)])) > 1:
        raise ValidationError("`records` must be requests that were run through with one chance: give the log itself")


def _refuse_own(fitted_to: str | None, trace: Trace) -> None:
    if fitted_to == trace.digest:
        told = "say `since` when these ended"
        raise ValidationError(f"`candidate` must be judged on other requests than those that it was fitted on: {told}")


def _judging(explored: Trace | None, incumbent: Policy) -> Trace | None:
    """Those with every loss known, each counting alike, at the prices of the policy in service; None without one."""
    if explored is None:
        return None
    is_known = ~np.isnan(explored.loss).any(axis=1)
    if not is_known.any():
        return None
    known, prices = explored.rows(is_known), prices_of(incumbent)[3]
    return Trace(
        known.signal,
        known.loss,
        prices,
        prediction=known.prediction,
        kind=known.kind,
        stages=known.stages,
        teacher=known.teacher,
    )


def _differences(
    candidate: Policy, incumbent: Policy, trace: Trace, tradeoff: float, largest_loss: float
) -> BoundedMean:
    """The objective of the candidate minus that of the policy in service, request by request, every loss known."""
    losses = np.where(np.isfinite(trace.loss), trace.loss, 0.0)
    if losses.max() > largest_loss:
        row, given = int(losses.max(axis=1).argmax()), losses.max()
        raise ValidationError(
            f"`largest_loss` must be at least every loss, got {largest_loss:g}, row {row} has {given:g}"
        )
    finite = [policy.default_loss for policy in (incumbent, candidate) if math.isfinite(policy.default_loss)]
    terms = Terms(default_loss=finite[0] if finite else None)
    one, two = (
        outcome.objective(outcome.of_policy(policy, trace, terms), tradeoff, trace) for policy in (candidate, incumbent)
    )
    # By how much two requests can differ, whatever they are.
    cost, full = trace.mean_cost, trace.full_cost
    first = cost[:1] if trace.kind == "exits" else cost[trace.core.answering]
    spread = full - (0.0 if finite else float(first.min()))
    width = tradeoff * max(largest_loss, *finite, 0.0) + ((1.0 - tradeoff) * spread / full if full > 0.0 else 0.0)
    width = width or 1.0
    return BoundedMean(np.clip(one - two, -width, width), -width, width)


def _reason(found: BoundedMean, asked: Promotion, low: float, is_shown: bool) -> str:
    """Why, or why not."""
    n = len(found)
    measured = f"difference {found.mean:+.4g} on {n} explored requests"
    is_strict = asked.margin == 0.0
    if is_shown:
        return f"it is {'better' if is_strict else f'not worse by more than {asked.margin:g}'}, {measured}"
    if low > asked.margin:
        return f"it is worse{'' if is_strict else f' by more than {asked.margin:g}'}, {measured}"
    needed = found.rows_needed(asked.margin, asked.error)
    if needed is None:
        return f"it is not better{'' if is_strict else f' than the margin of {asked.margin:g} allows'}, {measured}"
    more = max(needed - n, 1.0)
    return f"too few explored requests: {measured}, about {more:.2g} more are needed if it stays"


def _tradeoff_of(candidate: Policy, incumbent: Policy, given: float | None) -> float:
    """λ of the objective: as given, else the one that both policies were made for."""
    if given is not None:
        return check_tradeoff(given)
    known = [policy.provenance.get("tradeoff") for policy in (incumbent, candidate)]
    if known[0] is None or (known[1] is not None and float(known[1]) != float(known[0])):
        raise ValidationError(
            f"`tradeoff` must be given: the policy in service is for {known[0]}, the candidate for {known[1]}"
        )
    return check_tradeoff(float(known[0]))


def _check_margin(margin: float) -> float:
    value = check_number("margin", margin)
    if not 0.0 <= value < math.inf:
        raise ValidationError(f"`margin` must be finite and at least 0, got {margin}")
    return value
