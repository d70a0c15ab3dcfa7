"""How much longer a stage takes for a request that is one of many in a call."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

__all__ = ["CallSizes", "Usual"]

FEW = 5
"""Calls of which the middle one says what is usual: the first call of a model may take any time."""

RECENT = 15
"""Calls of any stages, of which the middle one says what is likely to come next."""

SLOWLY = 0.01
"""How far what is usual follows one call after these: a hundredth of the way, in logarithms."""

REACH = 0.5
"""Logarithms beyond which it does not matter how far off a call is."""


class Usual:
    """The middle of what was heard at first, and slowly after what is heard then; logarithms."""

    __slots__ = ("_first", "value")

    def __init__(self) -> None:
        self._first: list[float] = []
        self.value = 0.0
        """0 before anything was heard."""

    @property
    def is_known(self) -> bool:
        """Whether enough was heard to compare with."""
        return len(self._first) >= FEW

    def hear(self, found: float) -> None:
        """One more call."""
        if self.is_known:
            self.value += SLOWLY * min(max(found - self.value, -REACH), REACH)
            return
        self._first = [*self._first, found]
        self.value = _middle(self._first)


class CallSizes:
    """What is usual in calls of several requests, by the power of two at or below their number.

    Notes
    -----
    O(1) a call. Not synchronised: of two told at one moment one may be forgotten.
    """

    __slots__ = ("_after", "_next", "_of_stage")

    def __init__(self) -> None:
        self._of_stage: dict[tuple[int, int], Usual] = {}
        self._next: dict[int, deque[float]] = {}
        self._after: dict[int, float] = {}

    def of_stage(self, stage: int, rows: int) -> Usual:
        """Of calls of a stage for about so many rows, at least 2: how long they take beside one row."""
        return self._of_stage.setdefault((stage, _size(rows)), Usual())

    def told_after(self, rows: int, usual: float) -> None:
        """What was usual of a call whose rows had been in a call of so many before, not 1; 0: which began with it."""
        size = _size(rows)
        heard = self._next.setdefault(size, deque(maxlen=RECENT))
        heard.append(usual)
        self._after[size] = _middle(heard)

    def after(self, rows: int) -> float:
        """What the next call takes beside one row, for a request that was in a call of about so many; 0 for 1.

        Where nothing was heard of so many, it is on the line between the nearest sizes of which something was, as for
        the largest beyond that.
        """
        size, heard = _size(rows), self._after
        if size in heard:
            return heard[size]
        if size <= 0:
            return 0.0
        low = max((other for other in heard if 0 < other < size), default=0)
        high = min((other for other in heard if other > size), default=0)
        least = heard[low] if low else 0.0
        if not high:
            return least
        return least + (heard[high] - least) * (size - low) / (high - low)


def _middle(heard: Iterable[float]) -> float:
    ordered = sorted(heard)
    half, is_odd = divmod(len(ordered), 2)
    return ordered[half] if is_odd else 0.5 * (ordered[half - 1] + ordered[half])


def _size(rows: int) -> int:
    """-1 for none, 0 for one, 1 for two or three, and so on."""
    return rows.bit_length() - 1
