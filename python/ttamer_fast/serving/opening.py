"""How the requests of a cascade begin: without stages that are down, and told how long they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from .._core import Policy
from ..traces.record import NONE_LOST, PolicyIdentity
from .batch_driver import BatchDriver
from .calls import Call
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

    Notes
    -----
    The clock is read only where a circuit is not closed.
    """

    __slots__ = ("_circuits", "_identity", "_policy", "slowdown")

    def __init__(
        self, policy: Policy, identity: PolicyIdentity, calls: Sequence[Call], slowdown: Slowdown | None
    ) -> None:
        self._policy = policy
        self._identity = identity
        self._circuits = tuple((stage, call.circuit) for stage, call in enumerate(calls) if call.circuit is not None)
        self.slowdown = slowdown

    def one(self, clock: Clock, seconds: float, rows: int = 1) -> Driver[Any]:
        """The driver of a request that begins now and has so many seconds, inf for no deadline; `rows` as of a
        :class:`Driver`."""
        return Driver(self._policy, self._identity, self.barred(clock), self.slowdown, seconds, rows)

    def many(self, clock: Clock, seconds: float, n: int) -> BatchDriver[Any] | OneDriver[Any]:
        """The same of n requests in step."""
        if n == 1:
            return OneDriver(self.one(clock, seconds), self._identity)
        return BatchDriver(self._policy, self._identity, n, self.barred(clock), self.slowdown, seconds)

    def again(self, driver: Driver[Any], clock: Clock, seconds: float) -> None:
        """A request that has waited before its first stage begins now."""
        driver.begin_again(self.barred(clock), seconds)

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
