"""From a calibration trace and a goal to a policy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.typing import ArrayLike

from .. import _core
from .._core import Policy, ValidationError
from .._utils.checks import (
    check_default_loss,
    check_flag,
    check_one_of,
    check_order,
    check_recall,
    check_seed,
    check_tradeoff,
)
from ..traces.completion import completed
from ..traces.trace import Trace
from .doubts import warn_of_policy, warn_of_tail, warn_of_trace
from .goals import check_one_goal, goal_of, loss_of_last

__all__ = ["fit"]

GRAPHS = ("auto", "line", "skip")
ESTIMATORS = ("auto", "pathwise", "markov")


def fit(
    trace: Trace,
    *,
    tradeoff: float | None = None,
    max_cost: float | None = None,
    max_loss: float | str | None = None,
    graph: str = "auto",
    order: str | Sequence[int | str] = "auto",
    estimator: str = "auto",
    recall: bool | str = "auto",
    default_loss: float = math.inf,
    deadline: bool = False,
    known_cost: bool = False,
    weight: ArrayLike | None = None,
    seed: int = 0,
) -> Policy:
    """Fit the best policy that the engine can find for one goal.

    Parameters
    ----------
    trace : Trace
        Calibration requests; out-of-sample signals, or the policy will trust them too much. Of a censored trace, all
        rows are learned from, as :func:`completed` says.
    tradeoff : float, optional
        λ in [0, 1]: minimises λ · loss + (1 − λ) · cost / cost of running every stage, the loss in the trace's unit and
        the cost as a fraction.
    max_cost : float, optional
        Least mean loss within this mean cost per request, in the unit of the trace: both on the trace and, up to
        100,000 rows, on rows held back. Where no single policy uses the budget up, a coin mixes two.
    max_loss : float or str, optional
        Least mean cost within this mean loss per request, in the unit of the trace, likewise; ``"last+0.01"``: within
        0.01 of always answering with the last stage.
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
    default_loss : float
        Loss of answering with nothing ("ask a human"), at least 0, in the unit of the losses. Finite: a request ends
        with answer None where that is expected to lose less than any answer in hand, also before anything has run.
        Infinite: some stage answers.
    deadline : bool
        Whether the time that a request has left is part of the decision: one policy for every deadline, told at
        ``policy.start(remaining=...)`` and with every report. It needs `latency` of the trace, in every row. Without a
        deadline it decides as the policy that knows no time. `max_cost` and `max_loss` hold without a deadline. The
        choice among simple rules is not made, since none of them knows time.
    known_cost : bool
        Whether it is known of each request before it begins what its stages cost, as where the price is by token: told
        at ``policy.start(cost=...)``, over what they cost the average request. It needs costs by row, (n, k). Stages
        are then worth less to a dear request: one rule for each range of costs, at most 12, as if fitted at these
        prices, on all rows. What the cost of a row tells about how hard it is, is not learned. The choice among simple
        rules is not made.
    weight : (n,) array_like of float, optional
        In place of the trace's own weights: ``fit(trace.weighted(weight), ...)``.
    seed : int
        Of the coin. The same trace, arguments and seed give the same bytes.

    Returns
    -------
    Policy
        What it is worth on new requests, `tt.summarize` says, and its report, where rows were held back to choose
        between rules; its `value` is the objective on the trace itself, which flatters. Its provenance names the goal,
        the trade-off, the trace's digest, and `graph`, `order`, `default_loss`, `deadline`, `known_cost` and `recall`
        where they were given.

    Warns
    -----
    CalibrationWarning
        If the trace says little: fewer than 100 independent rows or groups, a signal (but the last stage's) or
        predictions that never change; or if at this trade-off no rule is better on rows held back than one stage for
        all requests, or nothing is better than running any stage: such a policy never answers.
    HeavyTailWarning
        If one row in a hundred of those with a loss, or a single one, makes up more than half of all loss.
    CensoredTraceWarning
        If a stage was not run for many requests of a log, nor for hardly any like them.

    Raises
    ------
    ValidationError
        If not exactly one goal is given, an argument is out of range, or a budget cannot be met: the message says
        what can. If no request of a log was run through every stage.

    Notes
    -----
    Calibration and beliefs do not depend on the goal; they take at most 50,000 rows. Decisions take all rows: O(n) for
    each set of stages that a request can have consulted (k on a line, at most 31 else). A budget searches λ by
    bisection along the loss-cost frontier of the calibration trace and shares the beliefs. The coin is a hash of the
    first signal and prediction, so that a request is decided alike alone, in a batch and in a replay. Costs that vary
    by row are those of each row wherever rows are summed; the policy itself knows their means, and with `known_cost`
    what each request says.

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
    check_one_goal(tradeoff, max_cost, max_loss)
    recalls = check_recall(recall)
    check_one_of("graph", graph, GRAPHS)
    stages = check_order(order, trace.stages)
    is_markov = check_one_of("estimator", estimator, ESTIMATORS) == "markov"
    if weight is not None:
        trace = trace.weighted(weight)
    complete = completed(trace)
    warn_of_tail(complete)
    goal = goal_of(tradeoff, max_cost, max_loss, loss_of_last(complete))
    policy = _core.fit(
        trace.core,
        tradeoff=goal.tradeoff,
        max_cost=goal.max_cost,
        max_loss=goal.max_loss,
        method="markov" if is_markov else "pathwise",
        graph=graph,
        order=stages,
        recall=recalls,
        default_loss=check_default_loss(default_loss),
        seed=check_seed(seed),
        deadline=check_flag("deadline", deadline),
        known_cost=check_flag("known_cost", known_cost),
    )
    warn_of_trace(complete)
    warn_of_policy(policy)
    return policy


def baseline(trace: Trace, method: str, tradeoff: float, default_loss: float) -> Policy:
    """A rule to compare with, tuned on the trace."""
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    nothing = check_default_loss(default_loss)
    return _core.fit(trace.core, tradeoff=check_tradeoff(tradeoff), method=method, default_loss=nothing)
