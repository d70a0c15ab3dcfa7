"""Many served requests as columns."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .decided import Decided
from .decided_one import DecidedOne
from .served import Records, Served

__all__ = ["ServedBatch"]

Y = TypeVar("Y")


class ServedBatch(Generic[Y]):
    """What a cascade returns for n requests: columns, each of length n. ``table[i]`` is the :class:`Served` of row i.

    Notes
    -----
    Made by :meth:`Cascade.batch`. Columns are read-only; :attr:`consulted` and :attr:`outcome` are made when first
    asked for. ``table[i]`` takes O(calls log n); iterating takes O(1) a row, and O(k) a row more once one of the
    objects is asked for more than its output.

    A row that no stage answered has `stage` -1 and output None; ``table[i]`` and iterating raise a
    :class:`NoAnswerError` there, which has the reasons.
    """

    __slots__ = ("_consulted", "_decided", "_outcome", "_outputs")

    def __init__(self, decided: Decided | DecidedOne, outputs: list[Y | None]) -> None:
        self._decided = decided
        self._outputs = outputs
        self._consulted: NDArray[np.bool_] | None = None
        self._outcome: NDArray[np.str_] | None = None

    @property
    def stage(self) -> NDArray[np.int32]:
        """(n,) number of the stage that gave the output, -1 where there is none."""
        return self._decided.stage

    @property
    def outputs(self) -> list[Y | None]:
        """What these stages returned, None where there is no output."""
        return self._outputs

    @property
    def cost(self) -> NDArray[np.float64]:
        """(n,) summed cost of the stages run, in the unit of the trace."""
        return self._decided.cost

    @property
    def expected_loss(self) -> NDArray[np.float64]:
        """(n,) expected loss of the output, in the unit of the trace's losses; infinite where no stage answered."""
        return self._decided.expected_loss

    @property
    def consulted(self) -> NDArray[np.bool_]:
        """(n, k) whether a stage was run."""
        if self._consulted is None:
            consulted = self._decided.consulted()
            consulted.flags.writeable = False
            self._consulted = consulted
        return self._consulted

    @property
    def outcome(self) -> NDArray[np.str_]:
        """(n,) how the requests ended: "stopped", "recalled", "deadline", "failed" or "abstained", as in
        :attr:`Record.outcome`."""
        if self._outcome is None:
            outcome = self._decided.outcome()
            outcome.flags.writeable = False
            self._outcome = outcome
        return self._outcome

    @property
    def seconds(self) -> NDArray[np.float64] | None:
        """(n, k) how long the stages took, NaN where nobody measured; None where nothing asked for times. Of a stage
        that ran on many rows at once each of them has the time of the call. A new array each time."""
        return self._decided.seconds()

    @property
    def explored(self) -> NDArray[np.bool_]:
        """(n,) whether a request is run through for the log of the cascade; a new array each time."""
        return self._decided.is_explored().copy()

    @property
    def failures(self) -> dict[int, dict[int, str]]:
        """Why stages that were begun gave no answer: {row: {stage: reason}}, for rows in which one has; a new dict each
        time."""
        return self._decided.lost(is_begun=True)

    @property
    def barred(self) -> dict[int, dict[int, str]]:
        """Why stages that were asked for were not tried: {row: {stage: reason}}, for rows in which one was not; a new
        dict each time."""
        return self._decided.lost(is_begun=False)

    def __len__(self) -> int:
        return len(self._outputs)

    def __getitem__(self, row: int, /) -> Served[Y]:
        i = operator.index(row)
        if not -len(self) <= i < len(self):
            raise IndexError(f"row must be from {-len(self)} to {len(self) - 1}, got {i}")
        i %= len(self)
        return Served(self._outputs[i], self._decided.record(i))

    def __iter__(self) -> Iterator[Served[Y]]:
        decided = self._decided
        make: Callable[[Y | None, Records, int], Served[Y]] = Served
        served = map(make, self._outputs, repeat(decided.records()), range(len(self)))
        has_answer = decided.has_answer()
        return served if has_answer.all() else self._until(int(has_answer.argmin()), served)

    def __repr__(self) -> str:
        return f"ServedBatch(n={len(self)}, stages={self._decided.identity.stages})"

    def _until(self, row: int, served: Iterator[Served[Y]]) -> Iterator[Served[Y]]:
        """Those before a row that has no answer, and then its error."""
        yield from islice(served, row)
        self._decided.record(row)
