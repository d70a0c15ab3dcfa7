"""How long whoever asks a stage will wait for it: told by the loops that keep limits, read by what the stage calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import TypeAlias

__all__ = ["Told", "Waiting", "begin_wait", "end_wait", "time_left", "wait_until"]

Until: TypeAlias = tuple[float, Callable[[], float]]
"""A time, and the clock that it is a time of."""

Told: TypeAlias = Token[Until | None]
"""What ends a wait."""

_UNTIL: ContextVar[Until | None] = ContextVar("ttamer_fast.serving.until", default=None)


def time_left() -> float:
    """Seconds until nobody waits any more for the stage that is under way.

    For what a stage calls and cannot be cut off, or should not be begun in vain: limits of a request to another
    machine, a pause that would be too long.

    Returns
    -------
    float
        At least 0: the least of what the deadline, the time-out of the stage and those of cascades around it leave. inf
        where there is none of them, and outside stages.

    Notes
    -----
    O(1). It holds for the call of the stage, its coroutine, its worker thread, and tasks that it makes. Of a call for
    several requests of a :class:`Batcher`, it is the time until the last of them leaves.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> tt.time_left()
    inf
    >>> signal = np.random.default_rng(0).random((1000, 1))
    >>> policy = tt.fit(tt.Trace(signal, 1.0 - signal, cost=[1.0]), tradeoff=0.9)
    >>> stage = tt.Stage(lambda x: min(x, tt.time_left()), signal=lambda output: 1.0, timeout=8.0)
    >>> cascade = tt.Cascade(policy, [stage])
    >>> cascade(60.0).output <= 8.0, cascade(60.0, deadline=2.0).output <= 2.0
    (True, True)
    """
    until = _UNTIL.get()
    if until is None:
        return math.inf
    end, clock = until
    return max(end - clock(), 0.0)


def begin_wait(end: float, clock: Callable[[], float]) -> Told:
    """Who asks waits until `end` of a clock from now on, finite; what was told before holds too. To be ended."""
    if _UNTIL.get() is not None:
        end = min(end, clock() + time_left())
    return _UNTIL.set((end, clock))


def end_wait(told: Told) -> None:
    """Nobody waits any more, or as was told before."""
    try:
        _UNTIL.reset(told)
    except ValueError:  # of a coroutine that somebody else closes, in a context of theirs
        return


class Waiting:
    """Between :func:`begin_wait` and :func:`end_wait`; nothing is told where `end` is inf."""

    __slots__ = ("_clock", "_end", "_told")

    def __init__(self, end: float, clock: Callable[[], float]) -> None:
        self._end = end
        self._clock = clock

    def __enter__(self) -> None:
        self._told = None if self._end == math.inf else begin_wait(self._end, self._clock)

    def __exit__(self, *_: object) -> None:
        if self._told is not None:
            end_wait(self._told)


def wait_until(end: float, clock: Callable[[], float]) -> None:
    """As :func:`begin_wait`, in a context that is used for this call and for others after it: what was told before is
    over, and inf is however long."""
    _UNTIL.set(None if end == math.inf else (end, clock))
