"""One request under a policy, without I/O, clock or threads: which stage to ask, and what it answered."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from .._core import Policy, RunFinishedError, TTamerError, ValidationError
from .._utils.checks import shown
from ..traces.record import NO_FAILURES, PolicyIdentity, Record, Step
from .answers import as_signal
from .failures import NoAnswerError
from .request_ids import new_request_id
from .served import Served

__all__ = ["Driver"]

Y = TypeVar("Y")


class Driver(Generic[Y]):
    """What every loop that serves one request goes round.

    `ask` is the stage to run now, None once the request is decided. Run it in whatever way, tell :meth:`answered` or
    :meth:`failed`, and go on until there is nothing to ask; then :meth:`served` hands over the output and the record.
    Each stage is asked at most once.

    Parameters
    ----------
    policy : Policy
        It decides.
    identity : PolicyIdentity
        Its digest and stages.

    Notes
    -----
    O(1) a stage. A driver belongs to one request and is not synchronised.
    """

    __slots__ = ("_failures", "_identity", "_outputs", "_run", "_steps", "ask")

    ask: int | None

    def __init__(self, policy: Policy, identity: PolicyIdentity) -> None:
        self._identity = identity
        self._run = run = policy.start()
        self._steps: list[Step] = []
        self._outputs: dict[int, Y] = {}
        self._failures: Mapping[int, str] = NO_FAILURES
        self.ask = run.next

    def answered(self, signal: float | None, prediction: Hashable, output: Y) -> int | None:
        """The stage `ask` gave `output`; returns the new `ask`.

        `signal` None or NaN is "no information", `prediction` None is none.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        ValidationError
            If the signal is no number or the prediction is not hashable; nothing has changed then.
        """
        stage = self.ask
        if stage is None:
            raise RunFinishedError("`answered` must follow a question: the request is decided")
        number = signal if type(signal) is float else self._number(stage, signal)
        try:
            following = self._run.observe(number, prediction)
        except ValidationError as error:
            where = self._identity.where(stage)
            raise ValidationError(f"`prediction` of {where} must return a hashable, got {shown(prediction)}") from error
        self._steps.append((stage, number, prediction))
        self._outputs[stage] = output
        self.ask = following
        return following

    def failed(self, reason: str) -> int | None:
        """The stage `ask` gave no answer, for `reason`; returns the new `ask`.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        """
        stage = self.ask
        if stage is None:
            raise RunFinishedError("`failed` must follow a question: the request is decided")
        following = self._run.fail()
        self._steps.append((stage, math.nan, None))
        self._failures = {**self._failures, stage: reason}
        self.ask = following
        return following

    def served(self) -> Served[Y]:
        """The output and the record of the decided request.

        Raises
        ------
        NoAnswerError
            If every stage that was asked has failed, and the policy has no default.
        TTamerError
            If a stage is still asked.
        """
        if self.ask is not None:
            raise TTamerError(f"`served` must follow the last answer: stage {self.ask} is asked")
        run = self._run
        answer = run.answer
        lost, failures = run.expected_loss, self._failures
        if answer is None and failures and lost == math.inf:
            raise NoAnswerError.of(self._identity, failures)
        record = Record.of_steps(new_request_id(), self._identity, self._steps, answer, run.cost, lost, failures)
        return Served(None if answer is None else self._outputs[answer], record)

    def _number(self, stage: int, signal: float | None) -> float:
        try:
            return as_signal(signal)
        except Exception as error:
            where = self._identity.where(stage)
            raise ValidationError(f"`signal` of {where} must return a number, got {shown(signal)}") from error
