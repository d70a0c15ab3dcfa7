"""One served request: its output and its record."""

from __future__ import annotations

import reprlib
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..traces.explanation import Explanation, explained
from ..traces.record import Outcome, Record

__all__ = ["Records", "Served"]

Y_co = TypeVar("Y_co", covariant=True)


class Records(Protocol):
    """The records of a batch."""

    def of(self, row: int) -> Record:
        """That of one request, made when it is asked for."""


class Served(Generic[Y_co]):
    """What a cascade returns for one request: the output, and the record of how it came about. Frozen.

    Notes
    -----
    Arrays and tuples are made when they are asked for, in O(k).
    """

    __slots__ = ("_output", "_row", "_source")

    def __init__(self, output: Y_co | None, source: Record | Records, row: int = 0) -> None:
        self._output = output
        self._source = source
        self._row = row

    @property
    def output(self) -> Y_co | None:
        """What the stage `stage` returned; None if the request was abstained from."""
        return self._output

    @property
    def record(self) -> Record:
        """The request as data, without the output."""
        source = self._source
        if isinstance(source, Record):
            return source
        self._source = record = source.of(self._row)
        return record

    @property
    def stage(self) -> int | None:
        """Number of the stage that gave the output; None if the request was abstained from."""
        return self.record.answer

    @property
    def stage_name(self) -> str | None:
        """Name of that stage."""
        record = self.record
        return None if record.answer is None else record.stages[record.answer]

    @property
    def consulted(self) -> tuple[int, ...]:
        """Numbers of the stages that were run, in this order."""
        return self.record.consulted

    @property
    def recalled(self) -> bool:
        """Whether the output is that of an earlier stage than the last one that gave any."""
        return self.record.recalled

    @property
    def outcome(self) -> Outcome:
        """How the request ended: "stopped", "recalled", "deadline", "failed" or "abstained"; :attr:`Record.outcome`."""
        return self.record.outcome

    @property
    def cost(self) -> float:
        """Summed cost of the stages run, in the unit of the trace."""
        return self.record.cost

    @property
    def expected_loss(self) -> float:
        """Expected loss of the output, in the unit of the trace's losses."""
        return self.record.expected_loss

    @property
    def signal(self) -> NDArray[np.float64]:
        """(k,) signals, NaN where a stage was not run or said nothing; a new array each time."""
        return self.record.signal

    @property
    def prediction(self) -> tuple[Hashable, ...]:
        """(k,) predictions, None where a stage was not run or made none."""
        return self.record.prediction

    @property
    def failures(self) -> dict[int, str]:
        """Why stages that were begun gave no answer, by their numbers; a new dict each time."""
        return self.record.failures

    @property
    def barred(self) -> dict[int, str]:
        """Why stages that were asked for were not tried, by their numbers; a new dict each time."""
        return self.record.barred

    @property
    def seconds(self) -> NDArray[np.float64] | None:
        """(k,) how long the stages took, NaN where nobody measured; None where nothing asked for times."""
        return self.record.seconds

    @property
    def explored(self) -> bool:
        """Whether the request is run through for the log of its cascade: the stages that the policy did not ask for run
        too, none of which is one of `consulted`."""
        return self.record.explored

    @property
    def digest(self) -> str:
        """`Policy.digest` of the policy that decided."""
        return self.record.digest

    @property
    def request_id(self) -> str:
        """Different for every request, of all processes."""
        return self.record.request_id

    def explain(self) -> Explanation:
        """The request in words: what each stage said, what the policy made of it, and why the request ended.

        Returns
        -------
        Explanation
            ``str`` of it is the text.

        Notes
        -----
        O(k) decisions, taken once more. What the policy made of each report is left out where the policy is not at
        hand, as of a copy by pickle.

        Examples
        --------
        >>> import numpy as np, ttamer_fast as tt
        >>> rng = np.random.default_rng(0)
        >>> signal = rng.random((1000, 2))
        >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], stages=["small", "large"])
        >>> cascade = tt.Cascade(tt.fit(trace, tradeoff=0.95), [lambda x: x, lambda x: x / 2], signal=lambda y: y)
        >>> lines = cascade(0.9).explain().lines
        >>> lines[1]
        '1. small: signal 0.9; in hand the answer of small, expected loss 0.07128; ended'
        """
        record = self.record
        return explained(record, record._policy.policy)

    def __reduce__(self) -> tuple[type[Served[Y_co]], tuple[Y_co | None, Record]]:
        return Served, (self._output, self.record)

    def __repr__(self) -> str:
        return (
            f"Served(output={reprlib.repr(self._output)}, stage={self.stage_name!r}, outcome={self.outcome!r}, "
            f"consulted={self.consulted}, cost={self.cost:g}, expected_loss={self.expected_loss:g})"
        )
