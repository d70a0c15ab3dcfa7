"""Some records as columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._utils.arrays import Bools, Floats, Ints

__all__ = [
    "CAPPED",
    "EXPLORED",
    "NO_PREDICTION",
    "RecordChunk",
    "RecordedOutcome",
    "RecordedPolicy",
    "RecordedRequest",
]

NO_PREDICTION = -(2**63)
"""The code of a stage that said nothing."""

EXPLORED, CAPPED, LATE = 1, 2, 4
"""What is said of a request, as bits of `flags`."""

FAILED, BARRED, FOR_RECORD = 1, 2, 4
"""What became of a stage, and the bit of those that ran for the record alone; 0: it answered."""

RecordedOutcome: TypeAlias = Literal["stopped", "recalled", "deadline", "failed", "abstained", "none"]


@dataclass(frozen=True, slots=True)
class RecordedPolicy:
    """Which policy decided, as far as its records say.

    Attributes
    ----------
    digest : str
        `Policy.digest`.
    stages : tuple of k str
        Names of its stages.
    kind : {"exits", "models"}
        As of a :class:`Trace`.
    cost : tuple of k float
        Cost of each stage, of exits as an increment.
    """

    digest: str
    stages: tuple[str, ...]
    kind: str
    cost: tuple[float, ...]

    @classmethod
    def of(cls, about: tuple[str, Sequence[str], str, Sequence[float]]) -> RecordedPolicy:
        """As the core has it."""
        digest, stages, kind, cost = about
        return cls(digest, tuple(stages), kind, tuple(cost))

    def __str__(self) -> str:
        return f"{self.digest[:12]} with stages {list(self.stages)}"


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request as its record has it.

    Attributes
    ----------
    request_id : str
        :attr:`Served.request_id`.
    time : datetime
        When it was recorded, in UTC.
    policy : RecordedPolicy
        That decided.
    consulted, explored_stages : tuple of int
        Numbers of the stages that ran, in this order: as the policy asked, and then for the record alone.
    signal : (k,) float64
        NaN where a stage gave none.
    prediction : (k,) int64
        Codes, as in a :class:`Trace`; -2**63 where a stage made none.
    seconds : (k,) float64
        How long the stages took; NaN where nobody measured.
    failures, barred : dict of int to str
        Why stages gave nothing, and why they were not tried.
    answer : int or None
        The stage that answered.
    outcome : str
        As :attr:`Record.outcome`; "none" where no stage answered, and the policy has no default.
    cost, expected_loss : float
        As of the :class:`Record`.
    explored, capped : bool
        Whether it was run through; whether it would have been, but for the cap.
    propensity : float
        Probability with which it was to be run through; 0: it never was.
    exploration_cost : float
        Of the stages that ran for the record alone.
    """

    request_id: str
    time: datetime
    policy: RecordedPolicy
    consulted: tuple[int, ...]
    explored_stages: tuple[int, ...]
    signal: Floats
    prediction: Ints
    seconds: Floats
    failures: dict[int, str]
    barred: dict[int, str]
    answer: int | None
    outcome: RecordedOutcome
    cost: float
    expected_loss: float
    explored: bool
    capped: bool
    propensity: float
    exploration_cost: float


class RecordChunk:
    """n records side by side, of one policy or several with as many stages each as they have.

    Notes
    -----
    Made by :meth:`Records.chunks`. Columns are made when they are first asked for. Iterating gives
    :class:`RecordedRequest`, one a record.
    """

    def __init__(self, columns: dict[str, Any], policies: Sequence[RecordedPolicy], k: int | None = None) -> None:
        self._columns = columns
        self._policies = policies
        self._k = max((len(policy.stages) for policy in policies), default=0) if k is None else k

    def __len__(self) -> int:
        return len(self.time)

    @property
    def k(self) -> int:
        """Most stages that one of the policies has."""
        return self._k

    def of_stages(self, k: int) -> RecordChunk:
        """The same records, whose policies have so many stages."""
        return self if k == self._k else RecordChunk(self._columns, self._policies, k)

    @property
    def policies(self) -> tuple[RecordedPolicy, ...]:
        """The policies, in the order of :attr:`policy`."""
        return tuple(self._policies)

    @property
    def policy(self) -> NDArray[np.uint32]:
        """(n,) which of :attr:`policies` decided."""
        return self._of("policy")

    @property
    def time(self) -> Floats:
        """(n,) seconds since 1970."""
        return self._of("time")

    @property
    def answer(self) -> NDArray[np.int16]:
        """(n,) the stage that answered, -1 for none."""
        return self._of("answer")

    @property
    def cost(self) -> Floats:
        """(n,) summed cost of the stages that the policy ran."""
        return self._of("cost")

    @property
    def expected_loss(self) -> Floats:
        """(n,) expected loss of the answers."""
        return self._of("expected_loss")

    @property
    def propensity(self) -> Floats:
        """(n,) probability with which the request was to be run through; 0: it never was."""
        return self._of("propensity")

    @property
    def exploration_cost(self) -> Floats:
        """(n,) summed cost of the stages that ran for the record alone."""
        return self._of("exploration_cost")

    @property
    def explored(self) -> Bools:
        """(n,) whether the request was run through."""
        return self._flag(EXPLORED)

    @property
    def capped(self) -> Bools:
        """(n,) whether it would have been, but for the cap."""
        return self._flag(CAPPED)

    @property
    def late(self) -> Bools:
        """(n,) whether the deadline ended it."""
        return self._flag(LATE)

    @cached_property
    def request_id(self) -> list[str]:
        """n names of requests."""
        ends = np.cumsum(self._of("id_length"), dtype=np.int64).tolist()
        names: bytes = self._columns["id"]
        starts = [0, *ends[:-1]] if ends else []
        return [names[start:end].decode() for start, end in zip(starts, ends, strict=True)]

    @cached_property
    def ran(self) -> Bools:
        """(n, k) whether a stage ran and gave an answer, for the policy or for the record."""
        return self._spread(np.True_, np.False_)

    @cached_property
    def ran_for_record(self) -> Bools:
        """(n, k) whether a stage ran and gave an answer, for the record alone."""
        return self._spread((self._of("what") & FOR_RECORD) != 0, np.False_)

    @cached_property
    def signal(self) -> Floats:
        """(n, k) signals; NaN where a stage gave none."""
        return self._spread(self._of("signal"), math.nan)

    @cached_property
    def prediction(self) -> Ints:
        """(n, k) codes of predictions, as in a :class:`Trace`; -2**63 where a stage made none."""
        return self._spread(self._of("prediction"), NO_PREDICTION)

    @cached_property
    def seconds(self) -> Floats:
        """(n, k) how long the stages took that gave an answer; NaN where nobody measured."""
        return self._spread(self._of("seconds"), math.nan)

    @property
    def truth(self) -> Ints:
        """(n,) codes of what was true; none where that was not asked for."""
        return self._of("truth")

    def _of(self, name: str) -> NDArray[Any]:
        column: NDArray[Any] = self._columns[name]
        return column

    def _flag(self, bit: int) -> Bools:
        found: Bools = (self._of("flags") & bit) != 0
        return found

    @cached_property
    def _answered(self) -> tuple[Bools, Ints]:
        """Which steps gave an answer, and the rows of these."""
        answered = (self._of("what") & ~np.uint8(FOR_RECORD)) == 0
        rows = np.repeat(np.arange(len(self)), self._of("steps"))
        return answered, rows[answered]

    def _spread(self, values: Any, other: Any) -> NDArray[Any]:
        """What the steps that gave an answer say, by rows and stages."""
        answered, rows = self._answered
        table: NDArray[Any] = np.full((len(self), self.k), other)
        table[rows, self._of("stage")[answered]] = values[answered] if np.ndim(values) else values
        return table

    def __iter__(self) -> Iterator[RecordedRequest]:
        stage, what = self._of("stage").tolist(), self._of("what").tolist()
        seconds = self._of("seconds").tolist()
        reasons = iter(self._of("reason").tolist())
        texts: list[str] = self._columns["texts"]
        ends = np.cumsum(self._of("steps"), dtype=np.int64).tolist()
        start = 0
        for row, end in enumerate(ends):
            policy = self._policies[self.policy[row]]
            k = len(policy.stages)
            lost: dict[int, dict[int, str]] = {FAILED: {}, BARRED: {}}
            ran: dict[int, list[int]] = {0: [], FOR_RECORD: []}
            took = np.full(k, math.nan)
            for at in range(start, end):
                how, mark = what[at] & ~FOR_RECORD, what[at] & FOR_RECORD
                if how:
                    lost[how][stage[at]] = texts[next(reasons)]
                if how != BARRED:
                    ran[mark].append(stage[at])
                    took[stage[at]] = seconds[at]
            start = end
            answer = int(self.answer[row])
            consulted = tuple(ran[0])
            yield RecordedRequest(
                request_id=self.request_id[row],
                time=datetime.fromtimestamp(float(self.time[row]), UTC),
                policy=policy,
                consulted=consulted,
                explored_stages=tuple(ran[FOR_RECORD]),
                signal=self.signal[row, :k],
                prediction=self.prediction[row, :k],
                seconds=took,
                failures=lost[FAILED],
                barred=lost[BARRED],
                answer=None if answer < 0 else answer,
                outcome=self._outcome(row, answer, consulted, lost[FAILED]),
                cost=float(self.cost[row]),
                expected_loss=float(self.expected_loss[row]),
                explored=bool(self.explored[row]),
                capped=bool(self.capped[row]),
                propensity=float(self.propensity[row]),
                exploration_cost=float(self.exploration_cost[row]),
            )

    def _outcome(self, row: int, answer: int, consulted: tuple[int, ...], failures: dict[int, str]) -> RecordedOutcome:
        if answer < 0 and self.expected_loss[row] == math.inf:
            return "none"
        if self.late[row]:
            return "deadline"
        if consulted and consulted[-1] in failures:
            return "failed"
        if answer < 0:
            return "abstained"
        return "stopped" if answer == consulted[-1] else "recalled"

    def __repr__(self) -> str:
        return f"RecordChunk(n={len(self)}, policies={len(self._policies)})"
