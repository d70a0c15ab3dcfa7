"""From a calibration trace and a goal to a policy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from . import _core, outcome
from ._core import Policy, ValidationError
from .outcome import check_tradeoff
from .trace import Trace

__all__ = ["fit"]

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
    max_loss: float | None = None,
    graph: str = "auto",
    estimator: str = "auto",
    recall: bool | str = "auto",
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
        Least mean loss within this mean cost per request, in the unit of the trace.
    max_loss : float, optional
        Least mean cost within this mean loss.
    graph : {"auto", "line", "skip"}
        ``"line"``: the next stage is the following one; ``"skip"``: any later one, chosen request by request;
        ``"auto"``: the line for exits; for models any stage in any order, dropping those not worth having.
    estimator : {"auto", "pathwise", "markov"}
        ``"pathwise"``: posterior belief with decisions fitted along the trace; ``"markov"``: quantile states with the
        exact index, on the line only.
    recall : bool or "auto"
        Whether an earlier answer may be returned.
    seed : int
        The same trace, arguments and seed give the same bytes.

    Returns
    -------
    Policy
        Its provenance names the goal, the trade-off and the trace's digest.

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
    given = [name for name, goal in _goals(tradeoff, max_cost, max_loss).items() if goal is not None]
    if len(given) != 1:
        got = " and ".join(f"`{name}`" for name in given) or "none"
        raise ValidationError(f"exactly one of `tradeoff`, `max_cost` and `max_loss` must be given, got {got}")
    recalls = _recall(recall)
    _one_of("graph", graph, GRAPHS)
    if _one_of("estimator", estimator, ESTIMATORS) == "markov":
        if graph == "skip":
            raise ValidationError("`graph` 'skip' needs the estimator 'pathwise', got 'markov'")
        learned = _tuned(trace, "markov", recalls)
    else:
        learned = _learned(trace, graph, recalls)
    _check_seed(seed)
    if tradeoff is not None:
        weight = check_tradeoff(tradeoff)
        return learned(weight, f"tradeoff={weight!r}")
    if max_cost is not None:
        return _cheapest_weight(trace, learned, _budget("max_cost", max_cost), "cost")
    return _cheapest_weight(trace, learned, _budget("max_loss", max_loss), "loss")


Learned = Callable[[float, str], Policy]
"""(trade-off, goal as written into the policy) to the policy."""


def baseline(trace: Trace, method: str, tradeoff: float) -> Policy:
    """A rule to compare with, tuned on the trace."""
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    weight = check_tradeoff(tradeoff)
    return _tuned(trace, method, True)(weight, f"tradeoff={weight!r}")


def _tuned(trace: Trace, method: str, recall: bool) -> Learned:
    """Fits one of the other methods anew for each trade-off."""

    def policy(tradeoff: float, goal: str) -> Policy:
        return _core.fit(
            trace.signal,
            trace.loss,
            trace.mean_cost,
            trace.prediction,
            method=method,
            kind=trace.kind,
            stages=list(trace.stages),
            tradeoff=tradeoff,
            recall=recall,
            provenance=_provenance(trace, tradeoff, goal),
        )

    return policy


def _learned(trace: Trace, graph: str, recall: bool) -> Learned:
    """Shares calibration and beliefs between trade-offs."""

    @cache
    def learner() -> _core.Learner:
        return _core.Learner(
            trace.signal,
            trace.loss,
            trace.mean_cost,
            trace.prediction,
            kind=trace.kind,
            stages=list(trace.stages),
            graph=graph,
            recall=recall,
        )

    return lambda tradeoff, goal: learner().policy(tradeoff, _provenance(trace, tradeoff, goal))


def _provenance(trace: Trace, tradeoff: float, goal: str) -> list[tuple[str, str]]:
    """What a policy is made from."""
    return [
        ("goal", goal),
        ("tradeoff", repr(tradeoff)),
        ("kind", trace.kind),
        ("rows", str(trace.n)),
        ("trace", trace.digest),
        ("version", _core.build_info["version"]),
    ]


@dataclass(frozen=True)
class _Point:
    """A policy on the frontier, with its means on the calibration trace."""

    policy: Policy
    loss: float
    cost: float


def _cheapest_weight(trace: Trace, learned: Learned, budget: float, limited: str) -> Policy:
    """The best policy within `budget` on the mean `limited` ("cost" or "loss"), by bisection over the trade-off."""
    goal = f"max_{limited}={budget!r}"
    free = "loss" if limited == "cost" else "cost"

    def point(tradeoff: float) -> _Point:
        policy = learned(tradeoff, goal)
        result = outcome.of_policy(policy, trace)
        return _Point(policy, float(result.loss.mean()), float(result.cost.mean()))

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


def _goals(tradeoff: float | None, max_cost: float | None, max_loss: float | None) -> dict[str, float | None]:
    return {"tradeoff": tradeoff, "max_cost": max_cost, "max_loss": max_loss}


def _budget(name: str, value: float | None) -> float:
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


def _recall(value: bool | str) -> bool:
    if value is True or value is False:
        return value
    if value == "auto":
        return True
    raise ValidationError(f"`recall` must be True, False or 'auto', got {value!r}")


def _check_seed(value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise ValidationError(f"`seed` must be an integer in [0, 2**64), got {value!r}")
