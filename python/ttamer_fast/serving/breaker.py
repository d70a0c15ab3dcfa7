"""A stage that fails again and again is left alone for a while."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from .._utils.checks import check_between, check_integer
from .._utils.forks import renew_after_fork

__all__ = ["Breaker", "Circuit"]


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a failing stage is left alone, and for how long.

    Parameters
    ----------
    failures : int
        So many calls in a row that failed open the circuit, at least 1. The stage is then barred: requests go on
        without it at once, and do not pay for it.
    cooldown : float
        Seconds until one call is let through, finite and above 0. If it succeeds, the stage is back; if it fails, the
        same time passes again.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value.

    Notes
    -----
    A call fails where it raises an Exception, gives None, or takes longer than the stage's `timeout`. Every retry is a
    call, and so is a call for a whole batch, which fails where no row of it is answered. What the deadline of a request
    cuts off, and what a cancelled caller leaves, says nothing about the stage.

    Immutable. Each cascade counts for itself: :attr:`Cascade.circuits`.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> tt.Stage(abs, signal=float, breaker=tt.Breaker(failures=3, cooldown=30.0)).breaker
    Breaker(failures=3, cooldown=30.0)
    """

    failures: int = 5
    cooldown: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "failures", check_integer("failures", self.failures, 1))
        object.__setattr__(self, "cooldown", check_between("cooldown", self.cooldown, math.inf))


class Circuit:
    """What a cascade remembers of the failures of one stage.

    Whoever wants to call the stage asks :meth:`admit`, and tells :meth:`succeeded`, :meth:`failed` or :meth:`give_back`
    once for each permit. Seconds are those of the caller's clock, whichever it is.

    Notes
    -----
    Safe to use from many threads. O(1). In a forked child no call is under way.
    """

    __slots__ = ("__weakref__", "_breaker", "_failures", "_lock", "_opened", "_permit", "_state")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._state = "closed"
        self._failures = 0
        self._opened = 0.0
        self._permit = 0
        self._lock = threading.Lock()
        renew_after_fork(self)

    @property
    def state(self) -> str:
        """ "closed": calls are let through; "open": none is; "half-open": one is under way that decides."""
        return self._state

    @property
    def failures(self) -> int:
        """Calls in a row that failed, up to now."""
        return self._failures

    def admit(self, now: float) -> int | str:
        """A permit for one call that begins now, or why the stage is not to be called."""
        # Read in this order, without the lock: a permit may then have expired, which counts nothing.
        permit = self._permit
        if self._state == "closed":
            return permit
        with self._lock:
            refusal = self._refusal(now)
            if refusal is not None:
                return refusal
            if self._state == "open":
                self._turn("half-open")
            return self._permit

    def refusal(self, now: float) -> str | None:
        """Why the stage is not to be called by requests that begin now, None if it may be: :meth:`admit` without
        asking for a permit."""
        if self._state == "closed":
            return None
        with self._lock:
            return self._refusal(now)

    def succeeded(self, permit: int) -> None:
        """The call of this permit gave something."""
        if not self._failures and self._state == "closed":
            return
        with self._lock:
            if permit == self._permit:
                self._failures = 0
                if self._state == "half-open":
                    self._turn("closed")

    def failed(self, permit: int, now: float) -> None:
        """The call of this permit gave nothing, as was known by now."""
        with self._lock:
            if permit != self._permit:
                return
            self._failures += 1
            if self._state == "half-open" or self._failures >= self._breaker.failures:
                self._opened = now
                self._turn("open")

    def give_back(self, permit: int) -> None:
        """Nobody will know what came of the call of this permit: if it was to decide, another one may."""
        with self._lock:
            if permit == self._permit and self._state == "half-open":
                self._turn("open")

    def renew(self) -> None:
        """In a forked child: the call that decides goes on in the parent."""
        self._lock = threading.Lock()
        if self._state == "half-open":
            self._turn("open")

    def _refusal(self, now: float) -> str | None:
        wait = self._remaining(now)
        if self._state == "closed" or (self._state == "open" and wait <= 0.0):
            return None
        again = f"tried again in {wait:.3g} s" if self._state == "open" else "another request is trying it"
        return f"not tried: {self._failures} failure{'s' if self._failures > 1 else ''} in a row, {again}"

    def _turn(self, state: str) -> None:
        """Calls that began in another state say nothing about this one."""
        self._state = state
        self._permit += 1

    def _remaining(self, now: float) -> float:
        # A clock that is behind is another one: an event loop's own.
        self._opened = min(self._opened, now)
        return self._opened + self._breaker.cooldown - now

    def __repr__(self) -> str:
        return f"Circuit(state={self._state!r}, failures={self._failures})"
