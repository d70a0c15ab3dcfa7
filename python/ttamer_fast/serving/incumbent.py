"""The policy in service, with what a cascade keeps for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from .._core import Policy
from ..traces.record import PolicyIdentity
from .audience import Audience
from .calls import Call
from .costing import Costing
from .listeners import Listeners
from .opening import Opening
from .recording import Recorder
from .slot import PolicySlot
from .slowdown import Slowdown

__all__ = ["Incumbent", "Incumbents"]

MOST_KEPT = 64
"""Policies for which a cascade keeps what it has made: as many as a governor may move between."""


class Incumbent:
    """A policy in service. A request keeps the one it began with.

    Attributes
    ----------
    policy : Policy
        It decides.
    identity : PolicyIdentity
        Its digest and stages.
    opening : Opening
        Makes its drivers.
    audience : Audience or None
        Who is told of its requests, None for nobody.
    """

    __slots__ = ("audience", "expected", "identity", "opening", "policy")

    def __init__(self, policy: Policy, opening: Opening, identity: PolicyIdentity, audience: Audience | None) -> None:
        self.policy = policy
        self.identity = identity
        self.opening = opening
        self.audience = audience
        self.expected: dict[tuple[int, int], float] = {}
        """As of :meth:`Slowdown.turn_to`."""


class Incumbents:
    """The policies that a cascade serves by, one after the other.

    Parameters
    ----------
    policy : Policy
        The first one.
    slot : PolicySlot, optional
        What says which one is in service; without it, the first one stays.
    calls : sequence of k Call
        The stages.
    recorder : Recorder, optional
        What brings requests to a log.
    listeners : Listeners
        Who else is told of them.
    costing : Costing, optional
        What asks for the cost of requests.

    Notes
    -----
    :attr:`present` is asked for in each request: O(1). Threads that turn to another policy at the same time may each
    make what is kept for it; it is the same.
    """

    __slots__ = ("_calls", "_costing", "_known", "_listeners", "_recorder", "_slowdown", "present", "slot")

    def __init__(
        self,
        policy: Policy,
        slot: PolicySlot | None,
        calls: Sequence[Call],
        recorder: Recorder | None,
        listeners: Listeners,
        costing: Costing | None,
    ) -> None:
        self._costing = costing
        self._calls = calls
        self._recorder = recorder
        self._listeners = listeners
        self._known: OrderedDict[int, Incumbent] = OrderedDict()
        self.slot = slot
        self._slowdown: Slowdown | None = None
        self.present = self._turned_to(policy)

    def now(self) -> Incumbent:
        """The policy in service."""
        slot = self.slot
        if slot is None or slot._policy is self.present.policy:
            return self.present
        return self.turn()

    def turn(self) -> Incumbent:
        """The slot has another policy than :attr:`present`."""
        assert self.slot is not None
        policy = self.slot._policy
        found = self._known.get(id(policy))
        if found is None:
            found = self._turned_to(policy)
        elif found.opening.slowdown is not None:
            found.opening.slowdown.turn_to(policy, found.expected)
        self.present = found
        return found

    def tell_others(self) -> None:
        """Others are told of requests from now on: of those that begin after this."""
        self._known.clear()
        self.present = self._turned_to(self.present.policy)

    def _turned_to(self, policy: Policy) -> Incumbent:
        slowdown = None
        if policy.knows_time:
            slowdown = self._slowdown = self._slowdown or Slowdown(policy)
        recorder = None if self._recorder is None else self._recorder.of(policy)
        is_alone = recorder is None and self._listeners.is_empty
        identity = PolicyIdentity.of(policy)
        opening = Opening(policy, identity, self._calls, slowdown, self._costing)
        made = Incumbent(policy, opening, identity, None if is_alone else Audience(recorder, self._listeners))
        if slowdown is not None:
            slowdown.turn_to(policy, made.expected)
        known = self._known
        known[id(policy)] = made
        while len(known) > MOST_KEPT:
            known.popitem(last=False)
        return made
