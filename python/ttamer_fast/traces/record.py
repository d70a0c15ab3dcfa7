"""One served request as data."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import Policy, ValidationError
from .record_checks import (
    check_answer,
    check_barred,
    check_consulted,
    check_failures,
    check_flag,
    check_names,
    check_predictions,
    check_real,
    check_seconds,
    check_signals,
    check_text,
)

__all__ = ["NONE_LOST", "Outcome", "PolicyIdentity", "Record", "Step"]

Step: TypeAlias = tuple[int, float, Hashable]
"""What one stage said: its number, its signal (NaN: no information), its prediction (None: none)."""

Outcome: TypeAlias = Literal["stopped", "recalled", "deadline", "failed", "abstained"]

NONE_LOST: Mapping[int, str] = MappingProxyType({})
"""Failures, and barred stages, of a request in which every stage asked gave an answer."""


@dataclass(frozen=True, slots=True)
class PolicyIdentity:
    """Which policy decided; one object that all records of a cascade share."""

    digest: str
    stages: tuple[str, ...]
    policy: Policy | None = field(default=None, compare=False, repr=False)
    """The policy itself, which explains what it decided; it stays behind in a pickle."""

    @classmethod
    def of(cls, policy: Policy) -> PolicyIdentity:
        """Of a policy; worked out once for all its requests, as the digest hashes the whole policy."""
        return cls(policy.digest, policy.stages, policy)

    def where(self, stage: int) -> str:
        """A stage by number and name, for messages."""
        return f"stage {stage} ({self.stages[stage]!r})"

    def __reduce__(self) -> tuple[type[PolicyIdentity], tuple[str, tuple[str, ...]]]:
        return PolicyIdentity, (self.digest, self.stages)


class Record:
    """One served request as data: what the stages said, and how the request ended. Frozen.

    A cascade makes one for every request (:attr:`Served.record`). Make one yourself where you drive a
    :class:`Run` without a cascade.

    Parameters
    ----------
    request_id : str
        Different for every request.
    digest : str
        `Policy.digest` of the policy that decided.
    stages : sequence of k str
        Names of its stages, all different.
    consulted : sequence of int
        Numbers of the stages that were run, in this order, each once.
    signal : (k,) array_like of float
        Signals; NaN or None for "no information". Entries of stages that were not run are dropped.
    prediction : sequence of k hashables, optional
        What the stages said, None for nothing. Entries of stages that were not run are dropped.
    answer : int or None
        The stage whose answer was returned, one of `consulted`; None if the request ended without one.
    cost : float
        Summed cost of the stages run, in the unit of the trace.
    expected_loss : float
        Expected loss of the answer, in the unit of the trace's losses, at least 0; may be infinite.
    failures : dict of int to str, optional
        Why stages that were begun gave no answer, by their numbers; each is one of `consulted` and not `answer`, and
        said nothing.
    barred : dict of int to str, optional
        Why stages were not to be tried, by their numbers: from the start, or when they were asked for; none of them is
        one of `consulted`.
    late : bool, optional
        Whether the deadline ended the request.
    seconds : (k,) array_like of float, optional
        How long the stages took; NaN where nobody measured. Entries of stages that were not run are dropped. None where
        nothing asked for times.
    explored : bool, optional
        Whether the request was run through: the stages that the policy did not ask for were run too, for the record of
        a log alone. They are none of `consulted`.

    Raises
    ------
    ValidationError
        If a part is of the wrong type or value, or the parts do not fit each other.

    Notes
    -----
    O(stages run). Arrays are made when they are asked for.

    Examples
    --------
    >>> import math, ttamer_fast as tt
    >>> record = tt.Record(
    ...     request_id="7", digest="", stages=["small", "large"], consulted=[0, 1], signal=[0.4, 0.2],
    ...     prediction=["cat", "dog"], answer=0, cost=5.0, expected_loss=0.3,
    ... )
    >>> record.outcome, record.steps
    ('recalled', ((0, 0.4, 'cat'), (1, 0.2, 'dog')))
    """

    __slots__ = (
        "_answer",
        "_barred",
        "_cost",
        "_expected_loss",
        "_explored",
        "_failures",
        "_late",
        "_policy",
        "_request_id",
        "_seconds",
        "_steps",
    )

    _answer: int | None
    _barred: Mapping[int, str]
    _cost: float
    _expected_loss: float
    _explored: bool
    _failures: Mapping[int, str]
    _late: bool
    _policy: PolicyIdentity
    _request_id: str
    _seconds: Mapping[int, float] | None
    _steps: Sequence[Step]

    def __init__(
        self,
        *,
        request_id: str,
        digest: str,
        stages: Sequence[str],
        consulted: Sequence[int],
        signal: ArrayLike | Sequence[float | None],
        prediction: Sequence[Hashable] | None = None,
        answer: int | None,
        cost: float,
        expected_loss: float,
        failures: Mapping[int, str] | None = None,
        barred: Mapping[int, str] | None = None,
        late: bool = False,
        seconds: ArrayLike | Sequence[float] | None = None,
        explored: bool = False,
    ) -> None:
        names = check_names(stages)
        k = len(names)
        run = check_consulted(consulted, k)
        signals = check_signals(signal, k)
        said = check_predictions(prediction, k)
        self._request_id = check_text("request_id", request_id)
        self._policy = PolicyIdentity(check_text("digest", digest), names)
        self._failures = failed = check_failures(failures, run)
        silent = (math.nan, None)
        self._steps = [(v, *(silent if v in failed else (signals[v], said[v]))) for v in run]
        self._answer = check_answer(answer, [stage for stage in run if stage not in failed])
        self._cost = check_real("cost", cost)
        if self._cost == math.inf:
            raise ValidationError(f"`cost` must be finite and at least 0, got {self._cost}")
        self._expected_loss = check_real("expected_loss", expected_loss)
        self._barred = check_barred(barred, run, k)
        self._late = check_flag("late", late)
        self._seconds = check_seconds(seconds, run, k)
        self._explored = check_flag("explored", explored)

    @classmethod
    def of_steps(
        cls,
        request_id: str,
        policy: PolicyIdentity,
        steps: Sequence[Step],
        answer: int | None,
        cost: float,
        expected_loss: float,
        failures: Mapping[int, str],
        barred: Mapping[int, str],
        late: bool,
        seconds: Mapping[int, float] | None,
        explored: bool = False,
    ) -> Record:
        """The record of a request, unchecked: for the loops that served it, which change none of this afterwards."""
        self = object.__new__(cls)
        self._request_id = request_id
        self._policy = policy
        self._steps = steps
        self._answer = answer
        self._cost = cost
        self._expected_loss = expected_loss
        self._failures = failures
        self._barred = barred
        self._late = late
        self._seconds = seconds
        self._explored = explored
        return self

    def as_explored(self) -> Record:
        """The record of the same request, which is run through."""
        ended = self._answer, self._cost, self._expected_loss
        lost = self._failures, self._barred, self._late
        return Record.of_steps(self._request_id, self._policy, self._steps, *ended, *lost, self._seconds, True)

    @property
    def request_id(self) -> str:
        """Different for every request, of all processes."""
        return self._request_id

    @property
    def digest(self) -> str:
        """`Policy.digest` of the policy that decided."""
        return self._policy.digest

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the k stages."""
        return self._policy.stages

    @property
    def steps(self) -> tuple[Step, ...]:
        """(stage, signal, prediction) of every stage that was run, in this order."""
        return tuple(self._steps)

    @property
    def consulted(self) -> tuple[int, ...]:
        """Numbers of the stages that were run, in this order."""
        return tuple([stage for stage, _, _ in self._steps])

    @property
    def signal(self) -> NDArray[np.float64]:
        """(k,) signals, NaN where a stage was not run or said nothing; a new array each time."""
        signal = np.full(len(self._policy.stages), math.nan)
        for stage, said, _ in self._steps:
            signal[stage] = said
        return signal

    @property
    def prediction(self) -> tuple[Hashable, ...]:
        """(k,) predictions, None where a stage was not run or made none."""
        prediction: list[Hashable] = [None] * len(self._policy.stages)
        for stage, _, said in self._steps:
            prediction[stage] = said
        return tuple(prediction)

    @property
    def answer(self) -> int | None:
        """The stage whose answer was returned; None if the request ended without one."""
        return self._answer

    @property
    def cost(self) -> float:
        """Summed cost of the stages run, in the unit of the trace."""
        return self._cost

    @property
    def expected_loss(self) -> float:
        """Expected loss of the answer, in the unit of the trace's losses."""
        return self._expected_loss

    @property
    def failures(self) -> dict[int, str]:
        """Why stages that were begun gave no answer, by their numbers; a new dict each time."""
        return dict(self._failures)

    @property
    def barred(self) -> dict[int, str]:
        """Why stages were not to be tried, from the start or when they were asked for, by their numbers; a new dict
        each time."""
        return dict(self._barred)

    @property
    def late(self) -> bool:
        """Whether the deadline ended the request."""
        return self._late

    @property
    def seconds(self) -> NDArray[np.float64] | None:
        """(k,) how long the stages took, NaN where nobody measured; None where nothing asked for times."""
        if self._seconds is None:
            return None
        seconds = np.full(len(self._policy.stages), math.nan)
        for stage, taken in self._seconds.items():
            seconds[stage] = taken
        return seconds

    @property
    def explored(self) -> bool:
        """Whether the request was run through for the record of a log."""
        return self._explored

    @property
    def recalled(self) -> bool:
        """Whether the answer is that of an earlier stage than the last one that gave any."""
        answered = [stage for stage, _, _ in self._steps if stage not in self._failures]
        return self._answer is not None and self._answer != answered[-1]

    @property
    def outcome(self) -> Outcome:
        """How the request ended.

        "stopped": with the answer of the stage run last; "recalled": with that of an earlier one; "deadline": the
        deadline ended it, and the best in hand was returned, if there was one; "failed": the stage run last gave no
        answer, and the best in hand was returned, if there was one; "abstained": with none, as the policy prefers its
        default, or there was no time for any stage.
        """
        if self._late:
            return "deadline"
        if self._failures and self._steps[-1][0] in self._failures:
            return "failed"
        if self._answer is None:
            return "abstained"
        return "stopped" if self._answer == self._steps[-1][0] else "recalled"

    def __eq__(self, other: object, /) -> bool:
        """Equal in all fields; NaN equals NaN. Predictions that cannot be compared are different."""
        if not isinstance(other, Record):
            return NotImplemented
        return _alike(self._fields(), other._fields())

    def __hash__(self) -> int:
        return hash(self._request_id)

    def __repr__(self) -> str:
        names = [self.stages[stage] for stage in self.consulted]
        answer = None if self._answer is None else self.stages[self._answer]
        failed, barred = ([self.stages[stage] for stage in lost] for lost in (self._failures, self._barred))
        without = f", failed={failed}" if failed else ""
        without += f", barred={barred}" if barred else ""
        return (
            f"Record(request_id={self._request_id!r}, outcome={self.outcome!r}, consulted={names}, answer={answer!r}, "
            f"cost={self._cost:g}, expected_loss={self._expected_loss:g}{without})"
        )

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        request_id, policy, steps, *others = self._fields()
        return Record.of_steps, (request_id, policy, list(steps), *others)

    def _fields(self) -> tuple[Any, ...]:
        ended = self._answer, self._cost, self._expected_loss
        lost = dict(self._failures), dict(self._barred), self._late
        seconds = None if self._seconds is None else dict(self._seconds)
        return self._request_id, self._policy, self.steps, *ended, *lost, seconds, self._explored


def _alike(one: object, other: object) -> bool:
    """Equal, or neither is equal to itself."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    try:
        return bool(one == other) or bool(one != one and other != other)
    except Exception:  # whatever the comparison of somebody else's objects raises
        return False
