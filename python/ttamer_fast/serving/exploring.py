"""Requests that are run through: which stages are left, and what became of them. Driven by the loops of all others."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import prediction_codes
from ..traces.record import Step
from .answers import Predictions, as_signal
from .decided import Report
from .failures import reason_of

__all__ = ["Exploring", "ExploringMany", "price_of"]

Rows = NDArray[np.int64]


def price_of(prices: NDArray[np.float64], last: int, stage: int) -> float:
    """What a stage costs after stage `last`, -1 for the start; from the start where it lies behind."""
    price = float(prices[last + 1, stage]) if last < stage else math.inf
    return price if math.isfinite(price) else float(prices[0, stage])


class Exploring:
    """Takes the place of a :class:`Driver` for the stages that a request has not run: asks for one after the other,
    whatever they say. No deadline holds.

    Parameters
    ----------
    stages : sequence of int
        Those that are left, ascending.
    last : int
        The last one that ran, -1 for none.
    prices : (k + 1, k) array
        Of stages after each other, row 0 for the start.
    end : callable
        ``end(exploring)`` is called once, when all have run or nobody goes on.
    """

    __slots__ = (
        "_end",
        "_last",
        "_left",
        "_prices",
        "ask",
        "barred_reasons",
        "cost",
        "failures",
        "rows",
        "seconds",
        "steps",
    )

    ask: int | None

    def __init__(
        self,
        stages: Sequence[int],
        last: int,
        prices: NDArray[np.float64],
        end: Callable[[Exploring], None],
    ) -> None:
        self._left = iter(stages)
        self._last = last
        self.rows = 1
        """How many requests the last call was for."""
        self._prices = prices
        self._end: Callable[[Exploring], None] | None = end
        self.steps: list[Step] = []
        self.failures: dict[int, str] = {}
        self.barred_reasons: dict[int, str] = {}
        self.seconds: dict[int, float] | None = None
        self.cost = 0.0
        self.ask = next(self._left, None)

    @property
    def last(self) -> int:
        """After which stage the one asked runs, -1 for the start: where it lies behind, it begins anew."""
        return -1 if self.ask is not None and self.ask < self._last else self._last

    def answered(self, signal: Any, prediction: Hashable, output: object) -> int | None:
        """As :meth:`Driver.answered`; what is no signal or no prediction fails the stage."""
        try:
            number = as_signal(signal)
            prediction_codes([prediction], 1)
        except Exception as error:
            return self.failed(reason_of(error))
        return self._went(number, prediction)

    def answered_after(
        self, signal: Any, prediction: Hashable, output: object, seconds: float, left: float
    ) -> int | None:
        """As :meth:`Driver.answered_after`."""
        self.took(seconds)
        return self.answered(signal, prediction, output)

    def failed(self, reason: str) -> int | None:
        """As :meth:`Driver.failed`."""
        if self.ask is not None:
            self.failures[self.ask] = reason
        return self._went(math.nan, None)

    def barred(self, reason: str) -> int | None:
        """As :meth:`Driver.barred`."""
        if self.ask is not None:
            self.barred_reasons[self.ask] = reason
            if self.seconds is not None:
                self.seconds.pop(self.ask, None)
        self.ask = next(self._left, None)
        return self.ask

    def cut_off(self, reason: str) -> None:
        """As :meth:`Driver.cut_off`."""
        self.failed(reason)
        self.ask = None

    def stopped(self, reason: str) -> None:
        """As :meth:`Driver.stopped`."""
        self.barred(reason)
        self.ask = None

    def took(self, seconds: float) -> None:
        """As :meth:`Driver.took`."""
        if self.ask is not None:
            if self.seconds is None:
                self.seconds = {}
            self.seconds[self.ask] = seconds

    def took_in_call(self, seconds: float, rows: int) -> None:
        """As :meth:`Driver.took_in_call`."""
        self.took(seconds)
        self.rows = rows

    def has_left(self, seconds: float) -> None:
        """As :meth:`Driver.has_left`: nothing depends on it."""

    def lost(self, reason: str) -> None:
        """The stage `ask` gave what nobody can read."""
        self.failed(reason)

    def end(self) -> None:
        """Nobody goes on; again, it does nothing."""
        end, self._end = self._end, None
        if end is not None:
            end(self)

    def _went(self, signal: float, prediction: Hashable) -> int | None:
        stage = self.ask
        if stage is not None:
            self.steps.append((stage, signal, prediction))
            self.cost += price_of(self._prices, self._last, stage)
            self._last = stage
        self.ask = next(self._left, None)
        return self.ask


class ExploringMany:
    """The same of some requests of a batch, in the place of a :class:`BatchDriver`: each stage is asked once, for all
    that have not run it.

    Parameters
    ----------
    left : (n, k) array of bool
        Which stages are left of which rows.
    last : (n,) array of int
        The last stages that ran, -1 for none.
    prices : (k + 1, k) array
        As above.
    end : callable
        ``end(exploring)`` is called once.
    """

    __slots__ = ("_end", "_last", "_left", "_prices", "_seconds", "_stage", "ask", "cost", "reports")

    ask: tuple[int, Rows] | None

    def __init__(
        self,
        left: NDArray[np.bool_],
        last: NDArray[np.int64],
        prices: NDArray[np.float64],
        end: Callable[[ExploringMany], None],
    ) -> None:
        self._left = left
        self._last = last
        self._prices = prices
        self._end: Callable[[ExploringMany], None] | None = end
        self._seconds: float | None = None
        self._stage = -1
        self.reports: list[Report] = []
        self.cost = np.zeros(len(left))
        self._advance()

    def answered(
        self, signal: NDArray[np.float64], prediction: Predictions | None, outputs: Sequence[Any] | NDArray[Any]
    ) -> None:
        """As :meth:`BatchDriver.answered`; what are no predictions fails all rows."""
        try:
            if prediction is not None:
                prediction_codes(prediction, 1)
        except Exception as error:
            self.failed(dict.fromkeys(range(len(outputs)), reason_of(error)))
            return
        stage, rows = self._asked()
        self.reports.append(Report(stage, rows, signal, prediction, None, True, self._seconds))
        self._pay(rows)
        self._advance()

    def failed(self, failures: Mapping[int, str]) -> None:
        """As :meth:`BatchDriver.failed`."""
        self._lose(list(failures), tuple(failures.values()))

    def barred(self, reason: str, positions: Sequence[int] | None = None) -> None:
        """As :meth:`BatchDriver.barred`."""
        _, rows = self._asked()
        at = list(range(len(rows))) if positions is None else list(positions)
        self._lose(at, (reason,) * len(at), is_begun=False)

    def cut_off(self, failures: Mapping[int, str]) -> None:
        """As :meth:`BatchDriver.cut_off`."""
        self.failed(failures)

    def stopped(self, reason: str, positions: Sequence[int] | None = None) -> None:
        """As :meth:`BatchDriver.stopped`."""
        self.barred(reason, positions)

    def took(self, seconds: float) -> None:
        """As :meth:`BatchDriver.took`."""
        self._seconds = seconds

    def has_left(self, seconds: float) -> None:
        """As :meth:`BatchDriver.has_left`: nothing depends on it."""

    def lost(self, reason: str) -> None:
        """The stage asked gave what nobody can read."""
        self.failed(dict.fromkeys(range(len(self._asked()[1])), reason))

    def end(self) -> None:
        """Nobody goes on; again, it does nothing."""
        end, self._end = self._end, None
        if end is not None:
            end(self)

    def _asked(self) -> tuple[int, Rows]:
        return self.ask or (self._stage, np.empty(0, np.int64))

    def _pay(self, rows: Rows) -> None:
        """The stage asked was begun for these rows."""
        stage = self._stage
        costs = [price_of(self._prices, last, stage) for last in self._last[rows].tolist()]
        self.cost[rows] += costs
        self._last[rows] = stage

    def _lose(self, positions: Sequence[int], reasons: Iterable[str], is_begun: bool = True) -> None:
        """The stage asked gave nothing for some of the rows."""
        stage, rows = self._asked()
        lost = rows[list(positions)]
        seconds = self._seconds if is_begun else None
        self.reports.append(Report(stage, lost, None, None, tuple(reasons), is_begun, seconds))
        if is_begun:
            self._pay(lost)
        left = np.delete(rows, list(positions))
        if len(left):
            self.ask = stage, left
        else:
            self._advance()

    def _advance(self) -> None:
        """Ask the next stage that somebody has not run."""
        self._seconds = None
        for stage in range(self._stage + 1, self._left.shape[1]):
            rows = np.flatnonzero(self._left[:, stage])
            if len(rows):
                self._stage = stage
                self.ask = stage, rows
                return
        self._stage = self._left.shape[1]
        self.ask = None
