"""From a calibration trace and a goal to a policy."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from numpy.typing import ArrayLike

from .._core import Policy, ValidationError
from ..traces.outcome import check_tradeoff
from ..traces.trace import Trace, weighted_mean
from .budget import within_budget
from .learners import DefaultLearner, Learner, TunedLearner

__all__ = ["fit"]

GOALS = ("`tradeoff`", "`max_cost`", "`max_loss`", "`certify`")
GRAPHS = ("auto", "line", "skip")
ORDERS = ("auto", "given")
ESTIMATORS = ("auto", "pathwise", "markov")


def fit(
    trace: Trace,
    *,
    tradeoff: float | None = None,
    max_cost: float | None = None,
    max_loss: float | str | None = None,
    certify: tuple[float, float] | None = None,
    graph: str = "auto",
    order: str | Sequence[int | str] = "auto",
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
        100,000 rows, on rows held back. Where no single policy uses the budget up, a coin mixes two.
    max_loss : float or str, optional
        Least mean cost within this mean loss, likewise; ``"last+0.01"``: within 0.01 of always answering with the last
        stage.
    certify : (float, float), optional
        (ε, δ): the cheapest policy whose mean loss on further requests is at most ε with probability 1 − δ over the
        trace, half of which is held out; :func:`fit_certified` with its other options at their defaults.
    graph : {"auto", "line", "skip"}
        ``"line"``: the next stage is the following one; ``"skip"``: any later one, chosen request by request;
        ``"auto"``: the line for exits; for models any stage, dropping those not worth having.
    order : {"auto", "given"} or sequence of int or str
        ``"auto"``: with `graph` ``"auto"`` models run in any order, chosen request by request, else as ``"given"``.
        ``"given"``: no stage runs before an earlier one of the trace. A sequence of stages, by number or name: only
        these run, in this order. Exits cannot go back.
    estimator : {"auto", "pathwise", "markov"}
        ``"pathwise"``: posterior belief with decisions fitted along the trace; ``"markov"``: quantile states with the
        exact index, on the line only.
    recall : bool or "auto"
        Whether an earlier answer may be returned. ``"auto"``: yes; with `graph` and `order` ``"auto"``, unless rows
        held back (of at most 20,000) say otherwise by more than two standard errors, or prefer a simple rule.
    weight : (n,) array_like of float, optional
        In place of the trace's own weights: ``fit(trace.weighted(weight), ...)``.
    seed : int
        Of the coin, and of the split that `certify` needs. The same trace, arguments and seed give the same bytes.

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
    bisection along the loss-cost frontier of the calibration trace and shares the beliefs. The coin is a hash of the
    first signal and prediction, so that a request is decided alike alone, in a batch and in a replay. Costs that vary
    by row enter as their means.

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
    stages = stage_order(order, trace)
    check_seed(seed)
    if weight is not None:
        trace = trace.weighted(weight)
    if certify is not None:
        return _certified(trace, certify, graph, order, estimator, recall, seed)
    learner: Learner
    if _one_of("estimator", estimator, ESTIMATORS) == "markov":
        if graph == "skip":
            raise ValidationError("`graph` 'skip' needs the estimator 'pathwise', got 'markov'")
        if stages is not None:
            raise ValidationError(f"`order` {order!r} needs the estimator 'pathwise', got 'markov'")
        learner = TunedLearner(trace, "markov", recalls is not False)
    else:
        learner = DefaultLearner(trace, graph, stages, recalls)
    if tradeoff is not None:
        share = check_tradeoff(tradeoff)
        return learner.policy(share, f"tradeoff={share!r}")
    if max_cost is not None:
        return within_budget(learner, _budget("max_cost", max_cost), "cost", seed)
    return within_budget(learner, _loss_budget(max_loss, trace), "loss", seed)


def _certified(
    trace: Trace,
    certify: tuple[float, float],
    graph: str,
    order: str | Sequence[int | str],
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
    return fit_certified(trace, max_loss=limit, delta=delta, graph=graph, order=order, recall=recall, seed=seed)


def baseline(trace: Trace, method: str, tradeoff: float) -> Policy:
    """A rule to compare with, tuned on the trace."""
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    share = check_tradeoff(tradeoff)
    return TunedLearner(trace, method).policy(share, f"tradeoff={share!r}")


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


def stage_order(order: str | Sequence[int | str], trace: Trace) -> list[int] | None:
    """Numbers of the stages that may run, in their order; None where every order is allowed."""
    if isinstance(order, str):
        return None if _one_of("order", order, ORDERS) == "auto" else list(range(trace.k))
    try:
        return [_stage_number(at, stage, trace) for at, stage in enumerate(order)]
    except TypeError:
        raise ValidationError(f"`order` must be 'auto', 'given' or a sequence of stages, got {order!r}") from None


def _stage_number(at: int, stage: int | str, trace: Trace) -> int:
    if not isinstance(stage, str):
        number = operator.index(stage)
        if number < 0:
            raise ValidationError(f"`order[{at}]` must be at least 0, got {number}")
        if number >= trace.k:
            raise ValidationError(f"`order[{at}]` must be in 0..{trace.k}, got {number}")
        return number
    if stage not in trace.stages:
        raise ValidationError(f"`order[{at}]` must be one of {', '.join(trace.stages)}, got {stage!r}")
    return trace.stages.index(stage)


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
