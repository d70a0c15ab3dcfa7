"""How the requests of a cascade begin: without stages that are down, and told how long they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from .._core import Policy
from ..traces.record import NONE_LOST, PolicyIdentity
from .batch_driver import BatchDriver
from .calls import Call
from .costing import Costing
from .driver import Driver
from .one_driver import OneDriver
from .slowdown import Slowdown

__all__ = ["Clock", "Opening"]

Clock: TypeAlias = Callable[[], float]
"""Seconds, from any beginning."""


class Opening:
    """Makes the drivers of a cascade's requests.

    Parameters
    ----------
    policy : Policy
        It decides.
    identity : PolicyIdentity
        Its digest and stages.
    calls : sequence of k Call
        Its stages: those with a circuit that lets nobody through are barred from the start.
    slowdown : Slowdown or None
        How much slower stages are than the policy expects; None where it knows no time.
    costing : Costing or None
        Asks for the cost of requests; None where nobody says it.

    Notes
    -----
    The clock is read only where a circuit is not closed.
    """

    __slots__ = ("_circuits", "_costing", "_identity", "_policy", "slowdown")

    def __init__(
        self,
        policy: Policy,
        identity: PolicyIdentity,
        calls: Sequence[Call],
        slowdown: Slowdown | None,
        costing: Costing | None,
    ) -> None:
        self._policy = policy
        self._identity = identity
        self._circuits = tuple((stage, call.circuit) for stage, call in enumerate(calls) if call.circuit is not None)
        self.slowdown = slowdown
        self._costing = costing if policy.knows_cost else None

    def one(self, x: Any, clock: Clock, seconds: float, rows: int = 1) -> Driver[Any]:
        """The driver of the request for `x` that begins now and has so many seconds, inf for no deadline; `rows` as of
        a :class:`Driver`."""
        cost = None if self._costing is None else self._costing.of(x)
        return self._one(cost, clock, seconds, rows)

    def many(self, xs: Any, clock: Clock, seconds: float, n: int) -> BatchDriver[Any] | OneDriver[Any]:
        """The same of the n requests of a batch, in step."""
        cost = None if self._costing is None else self._costing.of_each(xs, n)
        if n == 1:
            return OneDriver(self._one(None if cost is None else cost.item(), clock, seconds, 1), self._identity)
        return BatchDriver(self._policy, self._identity, n, self.barred(clock), self.slowdown, seconds, cost)

    def again(self, driver: Driver[Any], clock: Clock, seconds: float) -> None:
        """A request that has waited before its first stage begins now."""
        driver.begin_again(self.barred(clock), seconds)

    def _one(self, cost: float | None, clock: Clock, seconds: float, rows: int) -> Driver[Any]:
        return Driver(self._policy, self._identity, self.barred(clock), self.slowdown, seconds, rows, cost)

    def barred(self, clock: Clock) -> Mapping[int, str]:
        """Which stages are not to be tried now, and why."""
        if not self._circuits:
            return NONE_LOST
        shut = [(stage, circuit) for stage, circuit in self._circuits if circuit.state != "closed"]
        if not shut:
            return NONE_LOST
        now = clock()
        found = ((stage, circuit.refusal(now)) for stage, circuit in shut)
        return {stage: reason for stage, reason in found if reason is not None}
