"""Many requests in step under a policy, without I/O, clock or threads: which stage to ask for which rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import Batch, Policy, RunFinishedError, TTamerError, ValidationError
from .._utils.arrays import Floats
from ..traces.record import NONE_LOST, PolicyIdentity
from .answers import Predictions
from .decided import Columns, Decided, Report
from .request_ids import new_request_id
from .served_batch import ServedBatch
from .slowdown import Slowdown, planned

__all__ = ["BatchDriver"]

Y = TypeVar("Y")
Rows = NDArray[np.int64]


class BatchDriver(Generic[Y]):
    """What every loop that serves n requests in step goes round.

    `ask` is the stage to run now and the rows that wait for it, ascending; None once all are decided. Run it, tell
    :meth:`failed` for which rows it gave nothing and :meth:`answered` what it gave for the others; tell :meth:`barred`
    where it cannot be tried now. Go on until there is nothing to ask; then :meth:`served` hands over outputs and
    records. Each stage is asked at most once for each row, and on a line once for all. A deadline ends requests early:
    :meth:`cut_off` those for which the stage is under way, :meth:`stopped` those for which it has not been begun.

    Parameters
    ----------
    policy : Policy
        It decides.
    identity : PolicyIdentity
        Its digest and stages.
    n : int
        Number of requests.
    barred, slowdown, seconds
        As of a :class:`Driver`; the same for all of them.
    cost : (n,) array of float64, optional
        As of a :class:`Driver`, of each.

    Notes
    -----
    Every row is decided as a :class:`Driver` of its own would decide it. Not synchronised.

    Rows are told of by their positions among the m rows asked, ascending.
    """

    __slots__ = (
        "_batch",
        "_called",
        "_identity",
        "_last",
        "_late",
        "_left",
        "_outputs",
        "_reports",
        "_rows",
        "_seconds",
        "_slowdown",
        "_unpaid",
        "ask",
    )

    ask: tuple[int, Rows] | None

    def __init__(
        self,
        policy: Policy,
        identity: PolicyIdentity,
        n: int,
        barred: Mapping[int, str] = NONE_LOST,
        slowdown: Slowdown | None = None,
        seconds: float = math.inf,
        cost: Floats | None = None,
    ) -> None:
        self._identity = identity
        self._slowdown = slowdown
        if slowdown is None and not barred and cost is None:
            self._batch = policy.start_batch(n)
        else:
            self._batch = policy.start_batch(n, planned(slowdown, seconds, n), barred, cost)
        self._reports = [
            Report(stage, np.arange(n), reasons=(reason,) * n, is_begun=False) for stage, reason in barred.items()
        ]
        self._last = None if slowdown is None else np.full(n, -1)
        self._called = None if slowdown is None else np.full(n, n)
        self._rows = n
        self._left: float | None = None
        self._outputs: list[tuple[int, Rows, Sequence[Y] | NDArray[Any]]] = []
        self._late: list[Rows] = []
        self._unpaid: list[tuple[Rows, NDArray[np.float64]]] = []
        self._seconds: float | None = None
        self.ask = self._batch.first()
        if n and self.ask is None and slowdown is not None and seconds < math.inf:
            slowdown.not_begun(n)

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
        stage, rows = self.ask or self._asked("answered")
        if len(outputs) != len(rows):
            raise ValidationError(f"`outputs` must have {len(rows)} entries, one a row, got {len(outputs)}")
        try:
            self._batch.observe(stage, signal, prediction, self._pace(stage, rows, has_answered=True))
        except ValidationError as error:
            where = self._identity.where(stage)
            raise ValidationError(str(error).replace("`prediction`", f"`prediction` of {where}", 1)) from error
        self._reports.append(Report(stage, rows, signal, prediction, None, True, self._seconds))
        self._outputs.append((stage, rows, outputs))
        self._seconds = None
        self.ask = self._batch.first()

    def failed(self, failures: Mapping[int, str]) -> None:
        """The stage asked gave nothing for some of the m rows asked: why, by their positions. It is paid for.

        The others are asked next, unless there are none.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        ValidationError
            If a position is not one of the m, or they do not ascend; nothing has changed then.
        """
        stage, lost = self._positions("failed", failures)
        self._batch.fail(stage, lost, self._pace(stage, lost, has_answered=False))
        self._lose(stage, lost, tuple(failures.values()))

    def barred(self, reason: str, positions: Sequence[int] | None = None) -> None:
        """The stage asked cannot be tried now for some of the m rows asked, None for all: it is neither consulted nor
        paid for.

        The others are asked next, unless there are none.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        ValidationError
            If a position is not one of the m, or they do not ascend; nothing has changed then.
        """
        stage, lost = self._positions("barred", positions)
        self._batch.bar(stage, lost)
        self._lose(stage, lost, (reason,) * len(lost), is_begun=False)

    def cut_off(self, failures: Mapping[int, str]) -> None:
        """The deadline passed while the stage asked was under way for some of the m rows asked: why, by their
        positions. It is paid for, its answer is lost, and these requests end.

        The others are asked next, unless there are none.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        ValidationError
            If a position is not one of the m, or they do not ascend; nothing has changed then.
        """
        stage, lost = self._positions("cut_off", failures)
        self._pace(stage, lost, has_answered=False)
        self._batch.stop(lost)
        self._late.append(lost)
        self._lose(stage, lost, tuple(failures.values()))

    def stopped(self, reason: str, positions: Sequence[int] | None = None) -> None:
        """The deadline passed before the stage asked was begun for some of the m rows asked: it is neither consulted
        nor paid for, and these requests end. With None all requests end that are not decided, each before its own
        stage.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        ValidationError
            If a position is not one of the m, or they do not ascend; nothing has changed then.
        """
        stage, lost = self._positions("stopped", positions)
        ended = [(stage, lost)]
        if positions is None:
            waiting = ((other, self._batch.rows(other)) for other in range(len(self._identity.stages)))
            ended = [(other, rows) for other, rows in waiting if len(rows)]
        for other, rows in ended:
            self._unpaid.append((rows, self._batch.cost[rows]))
            self._batch.stop(rows)
            self._late.append(rows)
            self._reports.append(Report(other, rows, reasons=(reason,) * len(rows), is_begun=False))
        self._go_on(stage)

    def took(self, seconds: float) -> None:
        """How long the stage asked took; told before what became of it, and forgotten where it was not begun.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        """
        self._rows = len(self._asked("took")[1])
        self._seconds = seconds

    def has_left(self, seconds: float) -> None:
        """How many seconds all requests have left, told before what became of the stage asked."""
        self._left = seconds

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
        ended: Batch | Columns = self._batch
        if self._unpaid:
            ended = Columns(ended.cost, ended.expected_loss)
            for rows, cost in self._unpaid:
                ended.cost[rows] = cost
        is_late = None
        if self._late:
            is_late = np.zeros(len(answer), np.bool_)
            is_late[np.concatenate(self._late)] = True
        decided = Decided(new_request_id(), self._identity, self._reports, answer, ended, is_late)
        return ServedBatch(decided, self._kept(answer))

    def _kept(self, answer: NDArray[np.int32]) -> list[Y | None]:
        """Of every row the output that answers."""
        answers = answer.tolist()
        kept: list[Y | None] = [None] * len(answers)
        answering = set(answers)
        for stage, rows, outputs in self._outputs:
            if stage not in answering:
                continue
            if isinstance(outputs, np.ndarray):
                # A copy of those that answer: views would hold on to the others.
                is_kept = answer[rows] == stage
                for row, output in zip(rows[is_kept].tolist(), outputs[is_kept], strict=True):
                    kept[row] = output
                continue
            for row, output in zip(rows.tolist(), outputs, strict=True):
                if answers[row] == stage:
                    kept[row] = output
        return kept

    def _asked(self, verb: str) -> tuple[int, Rows]:
        if self.ask is None:
            raise RunFinishedError(f"`{verb}` must follow a question: all requests are decided")
        return self.ask

    def _positions(self, verb: str, positions: Iterable[int] | None) -> tuple[int, Rows]:
        """The stage asked, and the rows at these positions."""
        stage, rows = self._asked(verb)
        if positions is None:
            return stage, rows
        wanted, before = list(positions), -1
        for at in wanted:
            if not before < at < len(rows):
                allowed = f"positions from 0 to {len(rows) - 1}, each larger than the one before"
                raise ValidationError(f"`{verb}` must be told {allowed}, got {at}")
            before = at
        return stage, rows[wanted]

    def _pace(self, stage: int, rows: Rows, *, has_answered: bool) -> float | None:
        """Tells how long a call took, if that is known, with what became of the last of its rows; returns the seconds
        to plan with. It ran as far as the row needed that had come least far."""
        slowdown, last, called = self._slowdown, self._last, self._called
        if slowdown is None or last is None or called is None or not len(rows):
            return None
        if self._seconds is not None and len(rows) == len(self._asked("took")[1]):
            tell = slowdown.call_took if has_answered else slowdown.call_took_at_least
            tell(int(last[rows].min()), stage, self._seconds, self._rows, int(called[rows].max()))
        last[rows] = stage
        called[rows] = self._rows
        return None if self._left is None else planned(slowdown, self._left, self._rows)

    def _lose(self, stage: int, rows: Rows, reasons: Sequence[str], *, is_begun: bool = True) -> None:
        """A stage gave nothing for these rows, which the batch has been told."""
        seconds = self._seconds if is_begun else None
        self._reports.append(Report(stage, rows, reasons=reasons, is_begun=is_begun, seconds=seconds))
        self._go_on(stage)

    def _go_on(self, stage: int) -> None:
        """Ask what is left of the rows that wait for a stage, then what waits for others."""
        left = self._batch.rows(stage)
        if len(left):
            self.ask = stage, left
        else:
            self._seconds = None
            self.ask = self._batch.first()
