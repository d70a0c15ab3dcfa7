"""One served request as data."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import Policy, ValidationError

__all__ = ["Outcome", "PolicyIdentity", "Record", "Step"]

Step: TypeAlias = tuple[int, float, Hashable]
"""What one stage said: its number, its signal (NaN: no information), its prediction (None: none)."""

Outcome: TypeAlias = Literal["stopped", "recalled", "abstained"]


@dataclass(frozen=True, slots=True)
class PolicyIdentity:
    """Which policy decided; one object that all records of a cascade share."""

    digest: str
    stages: tuple[str, ...]

    @classmethod
    def of(cls, policy: Policy) -> PolicyIdentity:
        """Of a policy; worked out once for all its requests, as the digest hashes the whole policy."""
        return cls(policy.digest, policy.stages)

    def where(self, stage: int) -> str:
        """A stage by number and name, for messages."""
        return f"stage {stage} ({self.stages[stage]!r})"


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
        Names of its stages.
    consulted : sequence of int
        Numbers of the stages that were run, in this order, each once.
    signal : (k,) array_like of float
        Signals; NaN for "no information". Entries of stages that were not run are dropped.
    prediction : sequence of k hashables, optional
        What the stages said, None for nothing. Entries of stages that were not run are dropped.
    answer : int or None
        The stage whose answer was returned, one of `consulted`; None if the request ended without one.
    cost : float
        Summed cost of the stages run, in the unit of the trace.
    expected_loss : float
        Expected loss of the answer, in the unit of the trace's losses.

    Raises
    ------
    ValidationError
        If the parts do not fit each other.

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

    __slots__ = ("_answer", "_cost", "_expected_loss", "_policy", "_request_id", "_steps")

    _answer: int | None
    _cost: float
    _expected_loss: float
    _policy: PolicyIdentity
    _request_id: str
    _steps: Sequence[Step]

    def __init__(
        self,
        *,
        request_id: str,
        digest: str,
        stages: Sequence[str],
        consulted: Sequence[int],
        signal: ArrayLike,
        prediction: Sequence[Hashable] | None = None,
        answer: int | None,
        cost: float,
        expected_loss: float,
    ) -> None:
        k = len(stages)
        run = [int(stage) for stage in consulted]
        for i, stage in enumerate(run):
            if not 0 <= stage < k or stage in run[:i]:
                raise ValidationError(f"`consulted` entry {i} must be another stage from 0 to {k - 1}, got {stage}")
        signals = np.asarray(signal, np.float64)
        if signals.shape != (k,):
            raise ValidationError(f"`signal` must have shape ({k},), got {signals.shape}")
        if prediction is not None and len(prediction) != k:
            raise ValidationError(f"`prediction` must have {k} entries, got {len(prediction)}")
        if answer is not None and answer not in run:
            raise ValidationError(f"`answer` must be None or one of the stages run, {run}, got {answer}")
        if not 0.0 <= cost < math.inf:
            raise ValidationError(f"`cost` must be finite and at least 0, got {cost}")
        said: Sequence[Hashable] = [None] * k if prediction is None else prediction
        self._request_id = str(request_id)
        self._policy = PolicyIdentity(str(digest), tuple(stages))
        self._steps = [(stage, float(signals[stage]), said[stage]) for stage in run]
        self._answer = None if answer is None else int(answer)
        self._cost, self._expected_loss = float(cost), float(expected_loss)

    @classmethod
    def of_steps(
        cls,
        request_id: str,
        policy: PolicyIdentity,
        steps: Sequence[Step],
        answer: int | None,
        cost: float,
        expected_loss: float,
    ) -> Record:
        """The record of a request, unchecked: for the loops that served it, which do not change `steps` afterwards."""
        self = object.__new__(cls)
        self._request_id = request_id
        self._policy = policy
        self._steps = steps
        self._answer = answer
        self._cost = cost
        self._expected_loss = expected_loss
        return self

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
    def outcome(self) -> Outcome:
        """How the request ended.

        "stopped": with the answer of the stage run last; "recalled": with that of an earlier one; "abstained": with
        none, as the policy prefers its default.
        """
        if self._answer is None:
            return "abstained"
        return "stopped" if self._answer == self._steps[-1][0] else "recalled"

    def __eq__(self, other: object, /) -> bool:
        """Equal in all fields; NaN equals NaN."""
        if not isinstance(other, Record):
            return NotImplemented
        return self._fields() == other._fields() and np.array_equal(self.signal, other.signal, equal_nan=True)

    def __hash__(self) -> int:
        return hash(self._request_id)

    def __repr__(self) -> str:
        names = [self.stages[stage] for stage in self.consulted]
        answer = None if self._answer is None else self.stages[self._answer]
        return (
            f"Record(request_id={self._request_id!r}, outcome={self.outcome!r}, consulted={names}, answer={answer!r}, "
            f"cost={self._cost:g}, expected_loss={self._expected_loss:g})"
        )

    def _fields(self) -> tuple[object, ...]:
        loss = None if math.isnan(self._expected_loss) else self._expected_loss
        return self._request_id, self._policy, self.consulted, self.prediction, self._answer, self._cost, loss
