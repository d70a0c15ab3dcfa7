"""A policy in service that moves along a family, so that requests cost what a budget allows."""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .._core import Policy, PolicyFamily, ValidationError
from .._utils.checks import check_number
from .._utils.forks import renew_after_fork
from .._utils.warnings import ServingWarning
from .slot import PolicySlot, check_fits

__all__ = ["BudgetGovernor", "GovernorReport"]

MOST_FAMILIES = 8
"""Earlier families that are kept for a rollback."""


@dataclass(frozen=True)
class GovernorReport:
    """Where a governor stands.

    Attributes
    ----------
    level : float
        How far up the ladder of policies, 0 at its foot, 1 a rung; between two rungs both serve, in that share.
    tradeoff : float
        λ of the policy in service at present.
    mean_cost : float
        Over the window: a request for `max_cost`, a second for `max_rate`; 0 before the first request. In the unit of
        the trace, as all costs here. What lies a window back counts 1/e.
    expected_cost : float
        What a request is expected to cost at this level: by the calibration, times `ratio`.
    ratio : float
        What requests cost over what the calibration expects of them, as learned so far; 1 at the beginning.
    rate : float or None
        Requests a second, as learned; None for `max_cost`.
    debt : float
        What was spent beyond the budget and is being paid back; below 0, what is left over of it.
    requests : int
        Requests that it was told of.
    saturated : {"cheapest", "dearest"} or None
        The end of the ladder that the level stands at: nothing cheaper is there to hold the budget, or nothing dearer
        to use it up.
    """

    level: float
    tradeoff: float
    mean_cost: float
    expected_cost: float
    ratio: float
    rate: float | None
    debt: float
    requests: int
    saturated: Literal["cheapest", "dearest"] | None


class _Service(NamedTuple):
    """A family in service, with what moves along it and its policies, each made once."""

    family: PolicyFamily
    core: _core.Governor
    policies: tuple[Policy, ...]


class BudgetGovernor:
    """Moves along a family of policies, so that a mean cost is held whatever the traffic.

    ``Cascade(governor, stages)`` serves each request by the policy that is then in service, and tells the governor what
    it has cost. When requests get harder, or more of them come, cheaper policies serve; when they get easier, dearer
    ones.

    Parameters
    ----------
    family : PolicyFamily
        What it moves along; at least two of its policies must differ, the dearer one losing less.
    max_cost : float, optional
        Mean cost of a request that is held, above 0, in the unit of the trace.
    max_rate : float, optional
        Mean cost of a second that is held, above 0, in the unit of the trace: where costs are seconds of a machine, its
        utilisation. Exactly one of the two must be given.
    window : float
        Over how much the mean is held: requests for `max_cost`, at least 10; seconds for `max_rate`, above 0; up to
        1e9. Choose at least ten times as much as is in flight at a time.
    slot : PolicySlot, optional
        What it moves, with a policy of the same stages and kind; no other governor may. By default one of its own.
    clock : callable
        Seconds, for `max_rate`; a clock that goes back stands still.

    Warns
    -----
    ServingWarning
        If `max_cost` is below what the cheapest policy costs: that one then serves, and the budget is not held.

    Raises
    ------
    ValidationError
        If not exactly one budget is given, a number is out of range, the slot has another governor or a policy of other
        stages or kind, or no two policies of the family differ.

    Notes
    -----
    It moves along the policies on the lower convex hull of ``family.costs`` and ``family.losses``, its `ladder`: two of
    these in turn cost and lose less than any other. The level is a mean cost, between two of them. It is what the
    budget allows a request, over the ratio of observed to expected costs, which is learned over a window (1,000
    requests for `max_rate`), less a part of the debt: a leaky sum of what was spent beyond the budget. At an end of the
    ladder no debt is gathered in the direction of that end (conditional integration: Åström and Rundqwist, *Integrator
    windup and how to avoid it*, 1989), so that the level leaves it as soon as the budget allows. Each request gets one
    of the two neighbours by error feedback with a dithered threshold (first-order sigma-delta).

    What exploration runs further (``Cascade(explore=...)``) does not count. The level cannot save it, and a governor
    that paid for it would serve worse answers for it. It costs its share of the requests times what their other stages
    cost: take that off the budget where it has to fit in.

    O(m) a request, below 0.2 µs, from any thread; a lock is held for some nanoseconds. Each process governs its own
    share of the traffic: of n processes, each needs its share of `max_rate`, and the same `max_cost`. A forked child,
    and a pickle, goes on by itself from where the governor stood, with a slot of its own.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((2000, 2))
    >>> trace = tt.Trace(signal, rng.random((2000, 2)) > signal, cost=[1.0, 4.0])
    >>> governor = tt.BudgetGovernor(tt.fit_family(trace), max_cost=2.5, window=200)
    >>> cascade = tt.Cascade(governor, [lambda x: x[0], lambda x: x[1]], signal=lambda y: y)
    >>> costs = [cascade(row).cost for row in signal]
    >>> bool(2.4 < np.mean(costs) < 2.6), governor.report().saturated
    (True, None)
    """

    __slots__ = ("__weakref__", "_budget", "_clock", "_earlier", "_lock", "_service", "_slot")

    def __init__(
        self,
        family: PolicyFamily,
        *,
        max_cost: float | None = None,
        max_rate: float | None = None,
        window: float,
        slot: PolicySlot | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_family(family)
        if (max_cost is None) == (max_rate is None):
            given = "none" if max_cost is None else "both"
            raise ValidationError(f"exactly one of `max_cost`, `max_rate` must be given, got {given}")
        most = None if max_cost is None else check_number("max_cost", max_cost)
        rate = None if max_rate is None else check_number("max_rate", max_rate)
        if not callable(clock):
            raise ValidationError(f"`clock` must be callable, got {type(clock).__name__}")
        self._budget = (most, rate, check_number("window", window))
        self._clock = None if rate is None else clock
        core = _core.Governor(family, *self._budget, self._now())
        if slot is None:
            slot = PolicySlot(family.policies[core.serving])
        elif not isinstance(slot, PolicySlot):
            raise ValidationError(f"`slot` must be a PolicySlot, got {type(slot).__name__}")
        check_fits("slot", slot.policy, family.policies[0], "the family")
        slot._govern(self)
        self._slot = slot
        self._earlier: deque[PolicyFamily] = deque(maxlen=MOST_FAMILIES)
        self.renew()
        renew_after_fork(self)
        self._put(family, core)
        self._warn_if_short(family)

    def renew(self) -> None:
        """In a forked child: a lock of its own."""
        self._lock = threading.Lock()

    @property
    def slot(self) -> PolicySlot:
        """What it moves."""
        return self._slot

    @property
    def policy(self) -> Policy:
        """The policy in service."""
        return self._slot._policy

    @property
    def family(self) -> PolicyFamily:
        """What it moves along."""
        return self._service.family

    @property
    def ladder(self) -> tuple[float, ...]:
        """λ of the policies that it moves along, from the cheapest to the dearest."""
        family, core, _ = self._service
        tradeoffs = family.tradeoffs.tolist()
        return tuple(tradeoffs[at] for at in core.ladder)

    def swap(self, family: PolicyFamily) -> None:
        """Move along another family from now on, a refitted one say; the present one is kept for :meth:`rollback`.

        The budget and the debt stay, the ratio of observed to expected costs is learned anew. Requests that have begun
        keep their policy. O(m).

        Raises
        ------
        ValidationError
            If it is no family, its policies are of other stages or another kind, or no two of them differ; all stays
            as it was.

        Warns
        -----
        ServingWarning
            If `max_cost` is below what its cheapest policy costs.
        """
        _check_family(family)
        check_fits("family", family.policies[0], self.policy)
        with self._lock:
            before = self._service
            if family != before.family:
                self._put(family, before.core.along(family))
                self._earlier.append(before.family)
        self._warn_if_short(family)

    def rollback(self) -> PolicyFamily:
        """Move along the family again that was in service before, and return it; the debt stays.

        Raises
        ------
        ValidationError
            If there was none before.
        """
        with self._lock:
            if not self._earlier:
                raise ValidationError("`rollback` must follow a swap: there is no earlier family")
            family = self._earlier.pop()
            self._put(family, self._service.core.along(family))
            return family

    def report(self) -> GovernorReport:
        """Where it stands now."""
        return GovernorReport(**self._service.core.report(self._now()))

    def _spent(self, cost: float, /) -> None:
        """A request has cost so much."""
        service = self._service
        clock = self._clock
        at = service.core.spend(cost, 0.0 if clock is None else clock())
        self._slot._policy = service.policies[at]
        if self._service is not service:  # swapped meanwhile
            self._serve()

    def _spent_many(self, costs: NDArray[np.float64], /) -> None:
        """Requests that ended together have cost so much, (n,) float64, C-contiguous."""
        service = self._service
        self._slot._policy = service.policies[service.core.spend_many(costs, self._now())]
        if self._service is not service:
            self._serve()

    def _serve(self) -> None:
        """Put the policy in service that the family in service asks for."""
        service = self._service
        self._slot._policy = service.policies[service.core.serving]

    def _put(self, family: PolicyFamily, core: _core.Governor) -> None:
        self._service = _Service(family, core, family.policies)
        self._serve()

    def _now(self) -> float:
        return 0.0 if self._clock is None else float(self._clock())

    def _warn_if_short(self, family: PolicyFamily) -> None:
        most, cheapest = self._budget[0], float(family.costs.min())
        if most is not None and most < cheapest:
            warnings.warn(
                f"`max_cost` of {most:.6g} is below the {cheapest:.6g} that the cheapest policy of the family costs on "
                "average: that one serves, and the budget is not held",
                ServingWarning,
                stacklevel=3,
            )

    def __reduce__(self) -> tuple[Callable[..., BudgetGovernor], tuple[Any, ...]]:
        service, clock = self._service, self._clock
        return _restored, (service.family, self._budget, clock, service.core.learned(), tuple(self._earlier))

    def __repr__(self) -> str:
        most, rate, window = self._budget
        budget = f"max_cost={most:g}" if rate is None else f"max_rate={rate:g}"
        report = self.report()
        return f"BudgetGovernor({budget}, window={window:g}, level={report.level:.2f}, debt={report.debt:.4g})"


def _check_family(family: Any) -> None:
    if not isinstance(family, PolicyFamily):
        raise ValidationError(f"`family` must be a PolicyFamily, got {type(family).__name__}")


def _restored(
    family: PolicyFamily,
    budget: tuple[float | None, float | None, float],
    clock: Callable[[], float] | None,
    learned: tuple[list[float], int],
    earlier: tuple[PolicyFamily, ...],
) -> BudgetGovernor:
    most, rate, window = budget
    with warnings.catch_warnings():
        # What is said of the budget has been said where the governor was made.
        warnings.simplefilter("ignore", ServingWarning)
        clock = clock or time.monotonic
        governor = BudgetGovernor(family, max_cost=most, max_rate=rate, window=window, clock=clock)
    governor._earlier.extend(earlier)
    governor._service.core.resume(*learned)
    governor._serve()
    return governor
