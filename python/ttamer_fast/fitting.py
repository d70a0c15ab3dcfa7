"""From a calibration trace and a goal to a policy."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Protocol

from numpy.typing import ArrayLike

from . import _core, outcome
from ._core import Policy, ValidationError
from .outcome import check_tradeoff
from .trace import Trace, weighted_mean

__all__ = ["fit"]

GOALS = ("`tradeoff`", "`max_cost`", "`max_loss`", "`certify`")
GRAPHS = ("auto", "line", "skip")
ESTIMATORS = ("auto", "pathwise", "markov")
SEARCH_STEPS = 12
ODDS = (1e-3, 1e5)
"""Loss weight over cost weight, relative to the mean loss, between which a budget is searched."""


def fit(
    trace: Trace,
    *,
    tradeoff: float | None = None,
    max_cost: float | None = None,
    max_loss: float | str | None = None,
    certify: tuple[float, float] | None = None,
    graph: str = "auto",
    estimator: str = "auto",
    recall: bool | str = "auto",
    weight: ArrayLike | None = None,
    seed: int = 0,
) -> Policy:
    """Fit the best policy that the engine can find for one goal.

    Parameters
    ----------
    trace : Trace
        Calibration requests; out-of-sample confidences, or the policy will trust them too much.
    tradeoff : float, optional
        λ in [0, 1]: minimises λ · loss + (1 − λ) · cost / cost of running every stage.
    max_cost : float, optional
        Least mean loss within this mean cost per request, in the unit of the trace: both on the trace and, up to
        100,000 rows, on rows held back.
    max_loss : float or str, optional
        Least mean cost within this mean loss, likewise; ``"last+0.01"``: within 0.01 of always answering with the last
        stage.
    certify : (float, float), optional
        (ε, δ): the cheapest policy whose mean loss on further requests is at most ε with probability 1 − δ over the
        trace, half of which is held out; :func:`fit_certified` with its other options at their defaults.
    graph : {"auto", "line", "skip"}
        ``"line"``: the next stage is the following one; ``"skip"``: any later one, chosen request by request;
        ``"auto"``: the line for exits; for models any stage in any order, dropping those not worth having.
    estimator : {"auto", "pathwise", "markov"}
        ``"pathwise"``: posterior belief with decisions fitted along the trace; ``"markov"``: quantile states with the
        exact index, on the line only.
    recall : bool or "auto"
        Whether an earlier answer may be returned. ``"auto"``: yes; with a `tradeoff`, `graph` ``"auto"`` and at most
        20,000 rows, unless rows held back say otherwise by more than one standard error, or prefer a simple rule.
    weight : (n,) array_like of float, optional
        In place of the trace's own weights: ``fit(trace.weighted(weight), ...)``.
    seed : int
        The same trace, arguments and seed give the same bytes.

    Returns
    -------
    Policy
        Its provenance names the goal, the trade-off and the trace's digest; its report, where rows were held back to
        choose between rules, how each of them did.

    Raises
    ------
    ValidationError
        If not exactly one goal is given, an argument is out of range, or a budget cannot be met: the message says
        what can.

    Notes
    -----
    Calibration and beliefs do not depend on the goal; they take at most 50,000 rows. Decisions take all rows: O(n) for
    each set of stages that a request can have consulted (k on a line, at most 31 else). A budget searches λ by
    bisection along the loss-cost frontier of the calibration trace and shares the beliefs. Costs that vary by row enter
    as their means.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 3))
    >>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
    >>> policy = tt.fit(trace, tradeoff=0.9)
    >>> policy.stages
    ('stage 0', 'stage 1', 'stage 2')
    """
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    given = [name for name, goal in _goals(tradeoff, max_cost, max_loss, certify).items() if goal is not None]
    if len(given) != 1:
        got = " and ".join(f"`{name}`" for name in given) or "none"
        raise ValidationError(f"exactly one of {', '.join(GOALS)} must be given, got {got}")
    recalls = check_recall(recall)
    _one_of("graph", graph, GRAPHS)
    check_seed(seed)
    if weight is not None:
        trace = trace.weighted(weight)
    if certify is not None:
        return _certified(trace, certify, graph, estimator, recall, seed)
    learner: _Learner
    if _one_of("estimator", estimator, ESTIMATORS) == "markov":
        if graph == "skip":
            raise ValidationError("`graph` 'skip' needs the estimator 'pathwise', got 'markov'")
        learner = _Tuned(trace, "markov", recalls is not False)
    else:
        learner = _Default(trace, graph, recalls)
    if tradeoff is not None:
        share = check_tradeoff(tradeoff)
        return learner.policy(share, f"tradeoff={share!r}")
    if max_cost is not None:
        return _within_budget(learner, _budget("max_cost", max_cost), "cost")
    return _within_budget(learner, _loss_budget(max_loss, trace), "loss")


def _certified(
    trace: Trace,
    certify: tuple[float, float],
    graph: str,
    estimator: str,
    recall: bool | str,
    seed: int,
) -> Policy:
    from .certification import fit_certified

    if estimator == "markov" or trace.weight is not None:
        raise ValidationError(
            "`certify` must be given without `weight`, here or in the trace, and with the estimator 'pathwise'"
        )
    try:
        limit, delta = certify
    except (TypeError, ValueError):
        raise ValidationError(f"`certify` must be a pair (epsilon, delta), got {certify!r}") from None
    return fit_certified(trace, max_loss=limit, delta=delta, graph=graph, recall=recall, seed=seed)


def baseline(trace: Trace, method: str, tradeoff: float) -> Policy:
    """A rule to compare with, tuned on the trace."""
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    weight = check_tradeoff(tradeoff)
    return _Tuned(trace, method).policy(weight, f"tradeoff={weight!r}")


def _provenance(trace: Trace, tradeoff: float, goal: str) -> list[tuple[str, str]]:
    """What a policy is made from."""
    found = [
        ("goal", goal),
        ("tradeoff", repr(tradeoff)),
        ("kind", trace.kind),
        ("rows", str(trace.n)),
        ("trace", trace.digest),
        ("version", _core.build_info["version"]),
    ]
    if trace.weight is not None:
        found.append(("weight", hashlib.sha256(trace.weight.data).hexdigest()))
    return found


class _Learner(Protocol):
    """Gives a policy for any trade-off."""

    trace: Trace

    def policy(self, tradeoff: float, goal: str) -> Policy: ...

    def estimate(self, tradeoff: float) -> tuple[float, float] | None: ...


@dataclass
class _Tuned:
    """Fits one of the other methods anew for each trade-off."""

    trace: Trace
    method: str
    recall: bool = True

    def policy(self, tradeoff: float, goal: str) -> Policy:
        trace = self.trace
        return _core.fit(
            trace.signal,
            trace.loss,
            trace.mean_cost,
            trace.prediction,
            method=self.method,
            kind=trace.kind,
            stages=list(trace.stages),
            tradeoff=tradeoff,
            recall=self.recall,
            provenance=_provenance(trace, tradeoff, goal),
            weight=trace.weight,
        )

    def estimate(self, tradeoff: float) -> None:
        return None


def learner_of(trace: Trace, graph: str) -> _core.Learner:
    """Calibration and beliefs of a trace, from which the core makes a policy for any trade-off."""
    return _core.Learner(
        trace.signal,
        trace.loss,
        trace.mean_cost,
        trace.prediction,
        kind=trace.kind,
        stages=list(trace.stages),
        graph=graph,
        weight=trace.weight,
    )


class _Default:
    """The default fit; trade-offs share calibration and beliefs."""

    def __init__(self, trace: Trace, graph: str, recall: bool | None) -> None:
        self.trace = trace
        self.recall = recall
        self._learner = learner_of(trace, graph)

    def policy(self, tradeoff: float, goal: str) -> Policy:
        # What is estimated for a budget is the default itself, not what it might be replaced by.
        recall = self.recall if goal.startswith("tradeoff") else self.recall is not False
        return self._learner.policy(tradeoff, recall, _provenance(self.trace, tradeoff, goal))

    def estimate(self, tradeoff: float) -> tuple[float, float] | None:
        """Mean loss and cost on rows held back."""
        return self._learner.estimate(tradeoff, self.recall is not False)


@dataclass(frozen=True)
class _Point:
    """A policy on the frontier, with its mean loss and cost: the larger of those on the calibration trace and on rows
    held back."""

    policy: Policy
    loss: float
    cost: float


def _within_budget(learner: _Learner, budget: float, limited: str) -> Policy:
    """The best policy within `budget` on the mean `limited` ("cost" or "loss"), by bisection over the trade-off."""
    goal = f"max_{limited}={budget!r}"
    free = "loss" if limited == "cost" else "cost"
    trace = learner.trace

    def point(tradeoff: float) -> _Point:
        policy = learner.policy(tradeoff, goal)
        result = outcome.of_policy(policy, trace)
        loss, cost = (float(weighted_mean(values, trace.weight)) for values in (result.loss, result.cost))
        held = learner.estimate(tradeoff) or (loss, cost)
        return _Point(policy, max(loss, held[0]), max(cost, held[1]))

    points = [point(0.0), point(1.0)]
    scale = float(trace.loss.mean()) or 1.0
    low, high = (math.log(odds / scale) for odds in ODDS)
    for _ in range(SEARCH_STEPS):
        middle = 0.5 * (low + high)
        points.append(point(1.0 / (1.0 + math.exp(-middle))))
        within = getattr(points[-1], limited) <= budget
        # More weight on the loss costs more and loses less.
        if within == (limited == "cost"):
            low = middle
        else:
            high = middle
    feasible = [p for p in points if getattr(p, limited) <= budget]
    if not feasible:
        least = min(getattr(p, limited) for p in points)
        raise ValidationError(
            f"`max_{limited}` of {budget} cannot be met on this trace: the least reachable is {least:.6g}"
        )
    return min(feasible, key=lambda p: (getattr(p, free), getattr(p, limited))).policy


def _goals(tradeoff: object, max_cost: object, max_loss: object, certify: object) -> dict[str, object]:
    return {"tradeoff": tradeoff, "max_cost": max_cost, "max_loss": max_loss, "certify": certify}


def _loss_budget(value: float | str | None, trace: Trace) -> float:
    """A largest mean loss, absolute or relative to always answering with the last stage."""
    if not isinstance(value, str):
        return _budget("max_loss", value)
    start, plus, excess = value.partition("+")
    if start.strip() != "last" or not plus:
        raise ValidationError(f"`max_loss` must be a number or 'last+<number>', got {value!r}")
    return float(weighted_mean(trace.loss[:, -1], trace.weight)) + _budget("max_loss", excess)


def _budget(name: str, value: float | str | None) -> float:
    try:
        budget = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValidationError(f"`{name}` must be a number, got {value!r}") from None
    if not 0.0 <= budget < math.inf:
        raise ValidationError(f"`{name}` must be finite and at least 0, got {value}")
    return budget


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValidationError(f"`{name}` must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def check_recall(value: bool | str) -> bool | None:
    """`recall` as the core takes it, None for "auto", or a ValidationError."""
    if value is True or value is False:
        return value
    if value == "auto":
        return None
    raise ValidationError(f"`recall` must be True, False or 'auto', got {value!r}")


def check_seed(value: int) -> None:
    """A ValidationError unless `seed` fits in 64 bits without a sign."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValidationError(f"`seed` must be an integer in [0, 2**64), got {value!r}")
