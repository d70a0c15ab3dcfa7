"""One calibration, many goals: what a fit does before it knows the goal, kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

from numpy.typing import ArrayLike

from .. import _core
from .._core import Policy, ValidationError
from .._utils.arrays import Floats
from .._utils.checks import check_default_loss, check_flag, check_one_of, check_order, check_recall, check_seed
from ..traces.completion import completed
from ..traces.trace import Trace
from .doubts import warn_of_policy, warn_of_tail, warn_of_trace
from .fit import GRAPHS
from .goals import goal_of, loss_of_last

__all__ = ["Calibration", "calibrate"]


class Calibration:
    """Calibration and beliefs of one trace, from which policies follow for any goal, at any prices.

    Made by :func:`calibrate`. It never changes; threads may share it, and policies are made without the GIL. It cannot
    be pickled; policies can. A forked child calibrates anew when it first asks.

    It keeps the trace, and what it has found out for earlier goals: beliefs of every set of stages that a goal has
    asked for, 17 bytes a row, with recall and without, and those of the parts that rules are checked on (of at most
    20,000 rows). Goals with the same stages ask for the same; where more than five stages make many sets, beliefs
    beyond 2²⁵ rows times sets (570 MB) are dropped, and found again when they are asked for.

    Attributes
    ----------
    stages : tuple of str
        Names of the stages (k,).
    n : int
        Number of requests.
    cost : (k,) ndarray of float64
        Mean incremental costs of the trace, in its unit.
    """

    __slots__ = ("__weakref__", "_core", "_last")

    def __init__(self, core: _core.Calibration, last: float) -> None:
        self._core = core
        self._last = last

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages (k,)."""
        return self._core.stages

    @property
    def n(self) -> int:
        """Number of requests."""
        return self._core.n

    @property
    def cost(self) -> Floats:
        """(k,) mean incremental costs of the trace, in its unit; a new array each time."""
        return self._core.cost

    def policy(
        self,
        *,
        tradeoff: float | None = None,
        max_cost: float | None = None,
        max_loss: float | str | None = None,
        recall: bool | str = "auto",
        cost: ArrayLike | None = None,
        seed: int = 0,
    ) -> Policy:
        """The best policy for one goal: the same bytes as :func:`fit` with the same arguments.

        Parameters
        ----------
        tradeoff, max_cost, max_loss, recall, seed
            As for :func:`fit`.
        cost : (k,) array_like of float, optional
            Incremental costs of the stages in place of those of the trace, finite and at least 0, in the unit of
            `max_cost`. A trade-off counts costs as a fraction of running every stage at these prices: as a fit to the
            trace with these costs. The provenance has them as `cost`.

        Returns
        -------
        Policy
            It can be repriced, in this process: see :meth:`Policy.repriced`.

        Warns
        -----
        CalibrationWarning
            If no rule is better on rows held back than one stage for all requests, or nothing is better than running
            any stage.

        Raises
        ------
        ValidationError
            If not exactly one goal is given, an argument is out of range, or a budget cannot be met.

        Notes
        -----
        O(n) for each set of stages that a request can have consulted; beliefs are found for the first goal that needs
        them.

        Examples
        --------
        >>> import numpy as np, ttamer_fast as tt
        >>> rng = np.random.default_rng(0)
        >>> signal = rng.random((1000, 2))
        >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 4.0], kind="models")
        >>> calibration = tt.calibrate(trace)
        >>> tenants = {name: calibration.policy(tradeoff=goal) for name, goal in (("a", 0.8), ("b", 0.95))}
        >>> tenants["b"] == tt.fit(trace, tradeoff=0.95)
        True
        >>> calibration.policy(tradeoff=0.8, cost=[1.0, 9.0]).provenance["cost"]
        '1.0,9.0'
        """
        goal = goal_of(tradeoff, max_cost, max_loss, self._last)
        policy = self._core.policy(
            tradeoff=goal.tradeoff,
            max_cost=goal.max_cost,
            max_loss=goal.max_loss,
            recall=check_recall(recall),
            cost=cost,
            seed=check_seed(seed),
        )
        warn_of_policy(policy)
        return policy

    def __repr__(self) -> str:
        return f"Calibration(n={self.n}, stages=[{', '.join(self.stages)}])"


def calibrate(
    trace: Trace,
    *,
    graph: str = "auto",
    order: str | Sequence[int | str] = "auto",
    default_loss: float = math.inf,
    deadline: bool = False,
    known_cost: bool = False,
) -> Calibration:
    """What :func:`fit` does before it knows the goal, once for any number of goals and prices.

    Parameters
    ----------
    trace, graph, order, default_loss, deadline, known_cost
        As for :func:`fit`.

    Warns
    -----
    CalibrationWarning, HeavyTailWarning, CensoredTraceWarning
        As :func:`fit` does, of what the trace says.

    Raises
    ------
    ValidationError
        If an argument is out of range, or no request of a log was run through every stage.

    Notes
    -----
    O(k n log n) for at most 50,000 rows, and one pass over all.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 3))
    >>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
    >>> calibration = tt.calibrate(trace)
    >>> calibration
    Calibration(n=1000, stages=[stage 0, stage 1, stage 2])
    >>> calibration.policy(max_cost=3.0).provenance["goal"]
    'max_cost=3.0'
    """
    if not isinstance(trace, Trace):
        raise ValidationError(f"`trace` must be a Trace, got {type(trace).__name__}")
    check_one_of("graph", graph, GRAPHS)
    stages = check_order(order, trace.stages)
    nothing, knows_time = check_default_loss(default_loss), check_flag("deadline", deadline)
    knows_cost = check_flag("known_cost", known_cost)
    complete = completed(trace)
    warn_of_tail(complete)
    core = _core.Calibration(
        trace.core, graph=graph, order=stages, default_loss=nothing, deadline=knows_time, known_cost=knows_cost
    )
    warn_of_trace(complete)
    return Calibration(core, loss_of_last(complete))
