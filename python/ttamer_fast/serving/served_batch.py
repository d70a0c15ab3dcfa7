"""Many served requests as columns."""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._core import Policy
from ..traces.record import NO_FAILURES, PolicyIdentity, Record, Step
from .answers import Predictions
from .failures import NoAnswerError
from .served import Served

__all__ = ["Report", "ServedBatch"]

Y = TypeVar("Y")


class Report(NamedTuple):
    """What a stage said of some rows of a batch, or why it said nothing."""

    stage: int
    rows: NDArray[np.int64]
    signal: NDArray[np.float64]
    prediction: Predictions | None
    failures: tuple[str, ...] | None
    """Why it gave nothing for any of these rows; None where it answered for all of them."""


class ServedBatch(Generic[Y]):
    """What a cascade returns for n requests: columns, each of length n. ``table[i]`` is the :class:`Served` of row i.

    Notes
    -----
    Made by :meth:`Cascade.batch`. Columns are read-only; :attr:`consulted` and :attr:`outcome` are made when first
    asked for, and so is each ``table[i]``, in O(calls log n); iterating takes O(k) a row.

    A row that no stage answered has `stage` -1 and output None; ``table[i]`` and iterating raise a
    :class:`NoAnswerError` there, which has the reasons.
    """

    __slots__ = (
        "_batch_id",
        "_consulted",
        "_cost",
        "_identity",
        "_outcome",
        "_outputs",
        "_policy",
        "_reports",
        "_stage",
    )

    def __init__(
        self,
        batch_id: str,
        policy: Policy,
        identity: PolicyIdentity,
        reports: Sequence[Report],
        stage: NDArray[np.int32],
        cost: NDArray[np.float64],
        outputs: list[Y | None],
    ) -> None:
        stage.flags.writeable = cost.flags.writeable = False
        self._batch_id = batch_id
        self._policy = policy
        self._identity = identity
        self._reports = reports
        self._stage = stage
        self._cost = cost
        self._outputs = outputs
        self._consulted: NDArray[np.bool_] | None = None
        self._outcome: NDArray[np.str_] | None = None

    @property
    def stage(self) -> NDArray[np.int32]:
        """(n,) number of the stage that gave the output, -1 where there is none."""
        return self._stage

    @property
    def outputs(self) -> list[Y | None]:
        """What these stages returned, None where there is no output."""
        return self._outputs

    @property
    def cost(self) -> NDArray[np.float64]:
        """(n,) summed cost of the stages run, in the unit of the trace."""
        return self._cost

    @property
    def consulted(self) -> NDArray[np.bool_]:
        """(n, k) whether a stage was run."""
        if self._consulted is None:
            consulted = np.zeros((len(self), len(self._identity.stages)), np.bool_)
            for report in self._reports:
                consulted[report.rows, report.stage] = True
            consulted.flags.writeable = False
            self._consulted = consulted
        return self._consulted

    @property
    def outcome(self) -> NDArray[np.str_]:
        """(n,) how the requests ended: "stopped", "recalled", "failed" or "abstained", as in :attr:`Record.outcome`."""
        if self._outcome is None:
            last = np.full(len(self), -1, np.int32)
            has_failed = np.zeros(len(self), np.bool_)
            for report in self._reports:
                last[report.rows] = report.stage
                has_failed[report.rows] = report.failures is not None
            answered = np.where(self._stage == last, "stopped", "recalled")
            outcome = np.where(has_failed, "failed", np.where(self._stage < 0, "abstained", answered))
            outcome.flags.writeable = False
            self._outcome = outcome
        return self._outcome

    @property
    def failures(self) -> dict[int, dict[int, str]]:
        """Why stages gave no answer: {row: {stage: reason}}, for rows in which one has; a new dict each time."""
        failures: dict[int, dict[int, str]] = {}
        for report in self._reports:
            for row, reason in zip(report.rows.tolist(), report.failures or (), strict=False):
                failures.setdefault(row, {})[report.stage] = reason
        return failures

    def __len__(self) -> int:
        return len(self._outputs)

    def __getitem__(self, row: int, /) -> Served[Y]:
        i = operator.index(row)
        if not -len(self) <= i < len(self):
            raise IndexError(f"row must be from {-len(self)} to {len(self) - 1}, got {i}")
        i %= len(self)
        steps: list[Step] = []
        failures: dict[int, str] = {}
        for report in self._reports:
            at = int(report.rows.searchsorted(i))
            if at < len(report.rows) and report.rows[at] == i:
                if report.failures is not None:
                    failures[report.stage] = report.failures[at]
                said = None if report.prediction is None else report.prediction[at : at + 1]
                steps.append((report.stage, float(report.signal[at]), None if said is None else _values(said)[0]))
        return self._served(i, steps, failures)

    def __iter__(self) -> Iterator[Served[Y]]:
        steps: list[list[Step]] = [[] for _ in range(len(self))]
        for report in self._reports:
            rows, stage, signals = report.rows.tolist(), report.stage, report.signal.tolist()
            said = [None] * len(rows) if report.prediction is None else _values(report.prediction)
            for row, signal, prediction in zip(rows, signals, said, strict=True):
                steps[row].append((stage, signal, prediction))
        failures = self.failures
        for i, of_row in enumerate(steps):
            yield self._served(i, of_row, failures.get(i, NO_FAILURES))

    def __repr__(self) -> str:
        return f"ServedBatch(n={len(self)}, stages={self._identity.stages})"

    def _served(self, i: int, steps: list[Step], failures: Mapping[int, str]) -> Served[Y]:
        # A batch of the engine does not tell expected losses: a run that sees the same decides the same and does.
        run = self._policy.start()
        for stage, signal, prediction in steps:
            if stage in failures:
                run.fail()
            else:
                run.observe(signal, prediction)
        answer, lost = run.answer, run.expected_loss
        if answer is None and failures and lost == math.inf:
            raise NoAnswerError.of(self._identity, failures)
        name = f"{self._batch_id}.{i}"
        record = Record.of_steps(name, self._identity, steps, answer, run.cost, lost, failures)
        return Served(self._outputs[i], record)


def _values(predictions: Predictions) -> list[Hashable]:
    return predictions.tolist() if isinstance(predictions, np.ndarray) else predictions
