"""The only request of a batch under a policy: what takes the place of a driver of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import ValidationError
from ..traces.record import PolicyIdentity
from .answers import Predictions, listed
from .decided_one import DecidedOne
from .driver import Driver
from .request_ids import new_request_id
from .served_batch import ServedBatch

__all__ = ["OneDriver"]

Y = TypeVar("Y")

ROW = np.zeros(1, np.int64)
ROW.setflags(write=False)


class OneDriver(Generic[Y]):
    """A :class:`BatchDriver` of one request: the same verbs and results, around a :class:`Driver`, as arrays of one
    entry take several times as long as the entry."""

    __slots__ = ("_driver", "_identity", "ask")

    ask: tuple[int, NDArray[np.int64]] | None

    def __init__(self, driver: Driver[Y], identity: PolicyIdentity) -> None:
        self._identity = identity
        self._driver = driver
        first = self._driver.ask
        self.ask = None if first is None else (first, ROW)

    def answered(
        self, signal: NDArray[np.float64], prediction: Predictions | None, outputs: Sequence[Y] | NDArray[Any]
    ) -> None:
        """As :meth:`BatchDriver.answered`."""
        if len(outputs) != 1 or len(signal) != 1:
            given = f"{len(outputs)} and {len(signal)}"
            raise ValidationError(f"`outputs` and `signal` must have 1 entry, got {given}")
        said = None if prediction is None else listed(prediction)[0]
        # A row of a stage's own array is a view.
        (output,) = outputs.copy() if isinstance(outputs, np.ndarray) else outputs
        following = self._driver.answered(signal.item(0), said, output)
        self.ask = None if following is None else (following, ROW)

    def failed(self, failures: Mapping[int, str]) -> None:
        """As :meth:`BatchDriver.failed`."""
        if self._is_told("failed", failures):
            self._go_on(self._driver.failed(failures[0]))

    def barred(self, reason: str, positions: Sequence[int] | None = None) -> None:
        """As :meth:`BatchDriver.barred`."""
        if self._is_told("barred", positions):
            self._go_on(self._driver.barred(reason))

    def cut_off(self, failures: Mapping[int, str]) -> None:
        """As :meth:`BatchDriver.cut_off`."""
        if self._is_told("cut_off", failures):
            self._driver.cut_off(failures[0])
            self.ask = None

    def stopped(self, reason: str, positions: Sequence[int] | None = None) -> None:
        """As :meth:`BatchDriver.stopped`."""
        if self._is_told("stopped", positions):
            self._driver.stopped(reason)
            self.ask = None

    def took(self, seconds: float) -> None:
        """As :meth:`BatchDriver.took`."""
        self._driver.took(seconds)

    def has_left(self, seconds: float) -> None:
        """As :meth:`BatchDriver.has_left`."""
        self._driver.has_left(seconds)

    def served(self) -> ServedBatch[Y]:
        """As :meth:`BatchDriver.served`."""
        record = self._driver.record(f"{new_request_id()}.0")
        return ServedBatch(DecidedOne(self._identity, record), [self._driver.output()])

    def _is_told(self, verb: str, positions: Iterable[int] | None) -> bool:
        """Whether these positions are that of the row asked; else there are none."""
        if positions is None:
            return True
        given = list(positions)
        if given not in ([], [0]):
            raise ValidationError(f"`{verb}` must be told position 0, of the only row, or none, got {given}")
        return bool(given)

    def _go_on(self, stage: int | None) -> None:
        self.ask = None if stage is None else (stage, ROW)
