"""Many requests in step under a policy, without I/O, clock or threads: which stage to ask for which rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import Policy, RunFinishedError, TTamerError, ValidationError
from ..traces.record import PolicyIdentity
from .answers import Predictions
from .request_ids import new_request_id
from .rows import rows_at
from .served_batch import Report, ServedBatch

__all__ = ["BatchDriver"]

Y = TypeVar("Y")


class BatchDriver(Generic[Y]):
    """What every loop that serves n requests in step goes round.

    `ask` is the stage to run now and the rows that wait for it, ascending; None once all are decided. Run it, tell
    :meth:`failed` for which rows it gave nothing and :meth:`answered` what it gave for the others, and go on until
    there is nothing to ask; then :meth:`served` hands over outputs and records. Each stage is asked at most once for
    each row, and on a line once for all.

    Parameters
    ----------
    policy : Policy
        It decides.
    identity : PolicyIdentity
        Its digest and stages.
    n : int
        Number of requests.

    Notes
    -----
    Every row is decided as a :class:`Driver` of its own would decide it. Not synchronised.
    """

    __slots__ = ("_batch", "_identity", "_outputs", "_policy", "_reports", "ask")

    ask: tuple[int, NDArray[np.int64]] | None

    def __init__(self, policy: Policy, identity: PolicyIdentity, n: int) -> None:
        self._policy = policy
        self._identity = identity
        self._batch = policy.start_batch(n)
        self._reports: list[Report] = []
        self._outputs: list[Sequence[Y] | NDArray[Any]] = []
        self.ask = self._waiting(0)

    def answered(
        self, signal: NDArray[np.float64], prediction: Predictions | None, outputs: Sequence[Y] | NDArray[Any]
    ) -> None:
        """The stage asked gave `outputs` for the m rows asked, in their order.

        Parameters
        ----------
        signal : (m,) array of float64
            NaN is "no information". Kept, as the others are: nobody writes to them again.
        prediction : (m,) array or list of m hashables, or None
            None, as a whole or as an entry, is none.
        outputs : sequence or array of m outputs
            What the stage returned.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        ValidationError
            If one of them is not of length m, or a prediction is not hashable; nothing has changed then.
        """
        if self.ask is None:
            raise RunFinishedError("`answered` must follow a question: all requests are decided")
        stage, rows = self.ask
        if len(outputs) != len(rows):
            raise ValidationError(f"`outputs` must have {len(rows)} entries, one a row, got {len(outputs)}")
        try:
            self._batch.observe(stage, signal, prediction)
        except ValidationError as error:
            where = self._identity.where(stage)
            raise ValidationError(str(error).replace("`prediction`", f"`prediction` of {where}", 1)) from error
        self._reports.append(Report(stage, rows, signal, prediction, None))
        self._outputs.append(outputs)
        self.ask = self._waiting(stage + 1)

    def failed(self, failures: Mapping[int, str]) -> None:
        """The stage asked gave nothing for some of the m rows asked: why, by their positions among these, ascending.

        The others are asked next, unless there are none.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        ValidationError
            If a position is not one of the m, or they do not ascend; nothing has changed then.
        """
        if self.ask is None:
            raise RunFinishedError("`failed` must follow a question: all requests are decided")
        stage, rows = self.ask
        positions = list(failures)
        for at in positions:
            if not 0 <= at < len(rows):
                raise ValidationError(f"`failures` must have positions from 0 to {len(rows) - 1} as keys, got {at}")
        lost = rows[positions]
        self._batch.fail(stage, lost)
        self._reports.append(Report(stage, lost, np.full(len(lost), np.nan), None, tuple(failures.values())))
        self._outputs.append(())
        left = self._batch.rows(stage)
        self.ask = (stage, left) if len(left) else self._waiting(stage + 1)

    def served(self) -> ServedBatch[Y]:
        """Outputs and records of the decided requests.

        Raises
        ------
        TTamerError
            If a stage is still asked.
        """
        if self.ask is not None:
            raise TTamerError(f"`served` must follow the last answers: stage {self.ask[0]} is asked")
        answer = self._batch.answer
        kept: list[Y | None] = [None] * len(answer)
        answering = set(answer.tolist())
        for report, outputs in zip(self._reports, self._outputs, strict=True):
            if report.stage not in answering or report.failures is not None:
                continue
            positions = (answer[report.rows] == report.stage).nonzero()[0]
            for row, output in zip(report.rows[positions].tolist(), rows_at(outputs, positions), strict=True):
                kept[row] = output
        return ServedBatch(
            new_request_id(), self._policy, self._identity, self._reports, answer, self._batch.cost, kept
        )

    def _waiting(self, first: int) -> tuple[int, NDArray[np.int64]] | None:
        """The next stage that rows wait for, from `first` on and then from 0 on: a line is gone along once."""
        k = len(self._identity.stages)
        for stage in range(first, first + k):
            rows = self._batch.rows(stage % k)
            if len(rows):
                return stage % k, rows
        return None
