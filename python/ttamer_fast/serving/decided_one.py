"""How the only request of a batch was decided: all but the output."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..traces.record import PolicyIdentity, Record
from .failures import answered

__all__ = ["DecidedOne"]

S = TypeVar("S", bound=np.generic)


class DecidedOne:
    """What :class:`Decided` is for n requests, for one, of which there is a record. Columns are made each time."""

    __slots__ = ("_record", "identity")

    def __init__(self, identity: PolicyIdentity, record: Record) -> None:
        self.identity = identity
        self._record = record

    @property
    def stage(self) -> NDArray[np.int32]:
        """(1,) the stage that gave the output, -1 where there is none."""
        answer = self._record.answer
        return _read_only(np.array([-1 if answer is None else answer], np.int32))

    @property
    def cost(self) -> NDArray[np.float64]:
        """(1,) summed cost of the stages run."""
        return _read_only(np.array([self._record.cost]))

    @property
    def expected_loss(self) -> NDArray[np.float64]:
        """(1,) expected loss of the answer."""
        return _read_only(np.array([self._record.expected_loss]))

    def consulted(self) -> NDArray[np.bool_]:
        """(1, k) whether a stage was run."""
        consulted = np.zeros((1, len(self.identity.stages)), np.bool_)
        consulted[0, list(self._record.consulted)] = True
        return consulted

    def seconds(self) -> NDArray[np.float64] | None:
        """(1, k) how long the stages took, NaN where nobody measured; None where nobody measured any."""
        seconds = self._record.seconds
        return None if seconds is None else seconds[np.newaxis]

    def outcome(self) -> NDArray[np.str_]:
        """(1,) how the request ended, as in :attr:`Record.outcome`."""
        return np.array([self._record.outcome], "<U9")

    def is_explored(self) -> NDArray[np.bool_]:
        """(1,) whether the request is run through."""
        return np.array([self._record.explored])

    def lost(self, is_begun: bool) -> dict[int, dict[int, str]]:
        """Why stages gave nothing, {0: {stage: reason}}: those that were begun, or those that were not tried."""
        lost = self._record.failures if is_begun else self._record.barred
        return {0: lost} if lost else {}

    def has_answer(self) -> NDArray[np.bool_]:
        """(1,) whether a stage answered, or the policy has a default."""
        return np.array([self._record.answer is not None or self._record.expected_loss < math.inf])

    def records(self) -> DecidedOne:
        """Those of all requests."""
        return self

    def of(self, row: int) -> Record:
        """The record of the request, which is in row 0."""
        return self.record(row)

    def record(self, row: int) -> Record:
        """The record of the request, which is in row 0.

        Raises
        ------
        NoAnswerError
            If no stage answered, and the policy has no default.
        """
        return answered(self._record)


def _read_only(column: NDArray[S]) -> NDArray[S]:
    column.setflags(write=False)
    return column
