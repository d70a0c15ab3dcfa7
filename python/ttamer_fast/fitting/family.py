"""One calibration, policies for many trade-offs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from .._core import PolicyFamily, ValidationError
from .._utils.checks import (
    check_default_loss,
    check_flag,
    check_number,
    check_one_of,
    check_order,
    check_recall,
    check_seed,
)
from ..traces.completion import completed
from ..traces.trace import Trace
from .doubts import warn_of_nothing, warn_of_tail, warn_of_trace
from .fit import ESTIMATORS, GRAPHS

__all__ = ["fit_family"]

ODDS = tuple(float(odds) for odds in np.geomspace(0.1, 100.0, 13))
"""Odds λ / (1 - λ) times the mean loss of a stage: four a factor of ten, from where a mean loss counts a tenth of
running every stage to where it counts a hundred times as much."""


def fit_family(
    trace: Trace,
    tradeoffs: Iterable[float] | None = None,
    *,
    graph: str = "auto",
    order: str | Sequence[int | str] = "auto",
    estimator: str = "auto",
    recall: bool | str = "auto",
    default_loss: float = math.inf,
    deadline: bool = False,
    known_cost: bool = False,
    weight: ArrayLike | None = None,
    seed: int = 0,
) -> PolicyFamily:
    """Fit the best policy for each of many trade-offs, with one calibration, for one file.

    Parameters
    ----------
    trace, graph, order, estimator, recall, default_loss, deadline, known_cost, weight, seed
        As for :func:`fit`.
    tradeoffs : iterable of float, optional
        Different λ in [0, 1], at most 64, in any order. The default is 13 of them, from cheap to dear: their odds
        λ / (1 - λ), times the mean loss of a stage, go from 0.1 to 100 by equal factors.

    Returns
    -------
    PolicyFamily
        ``family.at(λ)`` has the same bytes as ``fit(trace, tradeoff=λ, ...)``. ``family.costs`` and ``family.losses``
        say what each costs and loses on average on rows held back, in turn (``family.estimate`` is ``"held-out"``).
        They are means on the trace itself, ``"in-sample"``, with the estimator ``"markov"``, of too few rows to hold
        any back, and beyond 100,000 rows, where the two hardly differ.

    Warns
    -----
    CalibrationWarning, HeavyTailWarning, CensoredTraceWarning
        As :func:`fit` does of what the trace says; of policies, where one of them never answers. That no rule is better
        than one stage at some trade-off is no warning: at both ends of a family that is what is to be expected.

    Raises
    ------
    ValidationError
        If there is no trade-off or more than 64, one is out of range or there twice, or an argument is as :func:`fit`
        refuses it.

    Notes
    -----
    O(k n log n) for the calibration, then O(n) for each trade-off and set of stages that a request can have consulted.
    Means on rows held back take five fits more, to four fifths of the rows each, beyond 20,000 rows of calibrations of
    their own.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 3))
    >>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
    >>> family = tt.fit_family(trace, tradeoffs=[0.6, 0.8, 0.95])
    >>> len(family), family.tradeoffs.tolist(), family.estimate
    (3, [0.6, 0.8, 0.95], 'held-out')
    >>> bool(family.costs[0] < family.costs[2]) and bool(family.losses[0] > family.losses[2])
    True
    """
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    wanted = None if tradeoffs is None else _ascending(tradeoffs)
    check_one_of("graph", graph, GRAPHS)
    stages = check_order(order, trace.stages)
    is_markov = check_one_of("estimator", estimator, ESTIMATORS) == "markov"
    recalls, nothing = check_recall(recall), check_default_loss(default_loss)
    knows_time, number = check_flag("deadline", deadline), check_seed(seed)
    if weight is not None:
        trace = trace.weighted(weight)
    complete = completed(trace)
    warn_of_tail(complete)
    family = _core.fit_family(
        trace.core,
        _usual(complete) if wanted is None else wanted,
        method="markov" if is_markov else "pathwise",
        graph=graph,
        order=stages,
        recall=recalls,
        default_loss=nothing,
        seed=number,
        deadline=knows_time,
        known_cost=check_flag("known_cost", known_cost),
    )
    warn_of_trace(complete)
    for policy in family:
        if policy.start().next is None:
            warn_of_nothing(policy)
            break
    return family


def _ascending(tradeoffs: Iterable[float]) -> list[float]:
    """Different trade-offs, sorted, or a ValidationError."""
    if isinstance(tradeoffs, str | bytes) or not isinstance(tradeoffs, Iterable):
        raise ValidationError(f"`tradeoffs` must be a sequence of numbers, got {type(tradeoffs).__name__}")
    found: list[float] = []
    for at, tradeoff in enumerate(tradeoffs):
        # Adding 0 makes a plain zero of a negative one.
        value = check_number(f"tradeoffs[{at}]", tradeoff) + 0.0
        if not 0.0 <= value <= 1.0:
            raise ValidationError(f"`tradeoffs[{at}]` must be between 0 and 1, got {value}")
        if value in found:
            raise ValidationError(f"`tradeoffs[{at}]` must be another one than those before, got {value} again")
        found.append(value)
    if not found:
        raise ValidationError("`tradeoffs` must have at least one entry, got none")
    return sorted(found)


def _usual(trace: Trace) -> list[float]:
    """Trade-offs on the scale of the losses of a trace. O(n k)."""
    means = trace.mean_loss[trace.core.answering]
    mean = float(np.mean(means)) or 1.0
    return [odds / (odds + mean) for odds in ODDS]
