"""Which requests are run through for the record, how often, and what that has cost."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from .._core import ValidationError
from .._utils.checks import check_between, check_flag, check_number
from .._utils.forks import renew_after_fork

__all__ = ["Exploration", "ExplorationReport", "Explorations", "check_exploration"]

MOST_UNDER_WAY = 1024
"""Requests that are run through at one time; a further one counts as beyond the cap."""


@dataclass(frozen=True, slots=True)
class Exploration:
    """How many requests of a cascade are run through, so that its log has some with every stage.

    Parameters
    ----------
    share : float
        Of all requests, in [0, 1]. Which ones follows from their names and the cascade's `seed`.
    per_second : float, optional
        Most requests a second, above 0; as many as come in one second may go at once. Others are served as usual and
        marked as capped. None for no limit.
    background : bool
        Of ``cascade(x)`` and :meth:`Cascade.batch` without a deadline: whether the answer is returned first, and the
        other stages run in a thread of the cascade. Else they run before the call returns. With a deadline, and on an
        event loop, the answer always goes out first.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value.

    Notes
    -----
    Immutable. ``explore=0.02`` is short for ``explore=Exploration(0.02)``.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> tt.Exploration(0.02, per_second=5.0)
    Exploration(share=0.02, per_second=5.0, background=False)
    """

    share: float
    per_second: float | None = None
    background: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", _check_share(self.share))
        if self.per_second is not None:
            object.__setattr__(self, "per_second", check_between("per_second", self.per_second, math.inf))
        object.__setattr__(self, "background", check_flag("background", self.background))


@dataclass(frozen=True, slots=True)
class ExplorationReport:
    """What a cascade has run for the record alone, in this process.

    Attributes
    ----------
    explored : int
        Requests that were drawn and run through, also those of which the policy had asked for every stage.
    capped : int
        Requests that were drawn and not run through, as there were too many.
    under_way : int
        Requests of which stages are running.
    runs, failures : dict of str to int
        How often each stage ran, and how often it gave nothing, by name.
    cost : float
        Of these stages, in the unit of the trace.
    """

    explored: int
    capped: int
    under_way: int
    runs: dict[str, int]
    failures: dict[str, int]
    cost: float


class Explorations:
    """Counts what is run through, and says how much may be.

    Notes
    -----
    Safe to use from many threads. A forked child counts from nothing.
    """

    __slots__ = (
        "__weakref__",
        "_allowed",
        "_at",
        "_capped",
        "_cost",
        "_explored",
        "_failures",
        "_lock",
        "_rate",
        "_runs",
        "_stages",
        "_under_way",
    )

    def __init__(self, stages: Sequence[str], per_second: float | None) -> None:
        self._stages = stages
        self._rate = math.inf if per_second is None else per_second
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """In a forked child: what is under way goes on in the parent."""
        self._lock = threading.Lock()
        self._allowed = max(self._rate, 1.0)
        self._at = monotonic()
        self._explored = self._capped = self._under_way = 0
        self._runs, self._failures = [0] * len(self._stages), [0] * len(self._stages)
        self._cost = 0.0

    def admit(self, count: int) -> int:
        """So many requests were drawn: how many of them, the first ones, are run through."""
        with self._lock:
            admitted = min(count, MOST_UNDER_WAY - self._under_way)
            if self._rate < math.inf:
                now = monotonic()
                most = max(self._rate, 1.0)
                self._allowed = min(most, self._allowed + max(now - self._at, 0.0) * self._rate)
                self._at = now
                admitted = min(admitted, int(self._allowed))
                self._allowed -= admitted
            self._explored += admitted
            self._under_way += admitted
            self._capped += count - admitted
            return admitted

    def ended(self, requests: int, runs: Iterable[int], failures: Iterable[int], cost: float) -> None:
        """So many requests have been run through: which stages ran, and which gave nothing, each as often as it did."""
        with self._lock:
            self._under_way -= requests
            self._cost += cost
            for stage in runs:
                self._runs[stage] += 1
            for stage in failures:
                self._failures[stage] += 1

    def report(self) -> ExplorationReport:
        """What has been run so far."""
        with self._lock:
            return ExplorationReport(
                self._explored,
                self._capped,
                self._under_way,
                dict(zip(self._stages, self._runs, strict=True)),
                dict(zip(self._stages, self._failures, strict=True)),
                self._cost,
            )


def check_exploration(explore: Any) -> Exploration:
    """A share or an :class:`Exploration` as the latter, or a ValidationError."""
    if isinstance(explore, Exploration):
        return explore
    return Exploration(_check_share(explore, "explore"))


def _check_share(share: Any, name: str = "share") -> float:
    number = check_number(name, share)
    if not 0.0 <= number <= 1.0:
        raise ValidationError(f"`{name}` must be a share between 0 and 1, got {share}")
    return number
