"""One request under a policy, without I/O, clock or threads: which stage to ask, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

from .._core import Policy, RunFinishedError, TTamerError, ValidationError
from .._utils.checks import shown
from ..traces.record import NONE_LOST, PolicyIdentity, Record, Step
from .answers import as_signal
from .failures import answered
from .request_ids import new_request_id
from .served import Served
from .slowdown import Slowdown, planned

__all__ = ["Driver"]

Y = TypeVar("Y")


class Driver(Generic[Y]):
    """What every loop that serves one request goes round.

    `ask` is the stage to run now, None once the request is decided. Run it in whatever way and tell :meth:`answered` or
    :meth:`failed`; tell :meth:`barred` where it cannot be tried now. Go on until there is nothing to ask; then
    :meth:`served` hands over the output and the record. Each stage is asked at most once. A deadline ends the request
    early: :meth:`cut_off` where the stage is under way, :meth:`stopped` where it has not been begun. How long a stage
    :meth:`took`, and what the request :meth:`has_left` then, is told before what became of the stage.

    Parameters
    ----------
    policy : Policy
        It decides.
    identity : PolicyIdentity
        Its digest and stages.
    barred : mapping of int to str
        Stages that are not to be tried, and why: the policy goes without them from the start.
    slowdown : Slowdown, optional
        Where the policy knows time: it is told how long stages take, and seconds that are left count as fewer where
        they take longer than expected. Without it nobody is told.
    seconds : float
        Seconds that the request has, inf for no deadline.
    rows : int
        How many requests its first call is for: 1, or 0 where a batcher has yet to see.
    cost : float, optional
        Where the policy knows what requests cost: what the stages of this one cost over those of the average one.

    Notes
    -----
    O(1) a stage. A driver belongs to one request and is not synchronised.
    """

    __slots__ = (
        "_barred",
        "_cost",
        "_failures",
        "_identity",
        "_is_shared",
        "_late",
        "_left",
        "_outputs",
        "_rows",
        "_run",
        "_seconds",
        "_slowdown",
        "_steps",
        "ask",
    )

    ask: int | None

    def __init__(
        self,
        policy: Policy,
        identity: PolicyIdentity,
        barred: Mapping[int, str] = NONE_LOST,
        slowdown: Slowdown | None = None,
        seconds: float = math.inf,
        rows: int = 1,
        cost: float | None = None,
    ) -> None:
        self._identity = identity
        self._slowdown = slowdown
        self._rows = rows
        self._cost = cost
        self._is_shared = False
        if barred or cost is not None:
            self._run = run = policy.start(planned(slowdown, seconds, rows), barred, cost)
        elif slowdown is None or seconds == math.inf:
            self._run = run = policy.start()
        else:
            self._run = run = policy.start(planned(slowdown, seconds, rows))
        self._steps: list[Step] = []
        self._outputs: dict[int, Y] = {}
        self._failures: Mapping[int, str] = NONE_LOST
        self._barred = barred
        self._late = False
        self._left: float | None = None
        self._seconds: dict[int, float] | None = None
        self.ask = following = run.next
        if following is None and slowdown is not None and seconds < math.inf:
            slowdown.not_begun(rows)

    @property
    def last(self) -> int:
        """The stage that was begun last, -1 before the first."""
        return self._steps[-1][0] if self._steps else -1

    @property
    def rows(self) -> int:
        """How many requests the last call was for; before the first as it was made."""
        return self._rows

    def begin_again(self, barred: Mapping[int, str], seconds: float) -> None:
        """The request has waited before its first stage: it begins now, without these stages and with so many seconds.

        Raises
        ------
        TTamerError
            If it has been told what became of a stage.
        """
        if self._steps:
            raise TTamerError(f"`begin_again` must come before the first stage: {len(self._steps)} have run")
        self.ask = self._run.restart(planned(self._slowdown, seconds, self._rows), barred, self._cost)
        self._barred = barred
        if self.ask is None and self._slowdown is not None and seconds < math.inf:
            self._slowdown.not_begun(self._rows)

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
            stage = self._asked("answered")
        number = signal if type(signal) is float else self._number(stage, signal)
        try:
            slowdown = self._slowdown
            if slowdown is None:
                following = self._run.observe(number, prediction)
            else:
                following = self._run.observe(number, prediction, self._pace(stage, slowdown.took))
        except ValidationError as error:
            raise self._not_hashable(stage, prediction) from error
        self._steps.append((stage, number, prediction))
        self._outputs[stage] = output
        self.ask = following
        return following

    def answered_after(
        self, signal: float | None, prediction: Hashable, output: Y, seconds: float, left: float
    ) -> int | None:
        """As :meth:`took`, :meth:`has_left` and :meth:`answered`, in one; `left` is inf without a deadline."""
        stage = self.ask
        if stage is None:
            stage = self._asked("answered_after")
        if self._seconds is None:
            self._seconds = {}
        self._seconds[stage] = seconds
        if left < math.inf:
            self._left = left
        slowdown = self._slowdown
        if slowdown is None:
            return self.answered(signal, prediction, output)
        number = signal if type(signal) is float else self._number(stage, signal)
        steps = self._steps
        slowdown.took(steps[-1][0] if steps else -1, stage, seconds)
        try:
            following = self._run.observe(number, prediction, None if left == math.inf else slowdown.planned(left))
        except ValidationError as error:
            raise self._not_hashable(stage, prediction) from error
        steps.append((stage, number, prediction))
        self._outputs[stage] = output
        self.ask = following
        return following

    def failed(self, reason: str) -> int | None:
        """The stage `ask` gave no answer, for `reason`; it is paid for. Returns the new `ask`.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        """
        stage = self._asked("failed")
        slowdown = self._slowdown
        left = None if slowdown is None else self._pace(stage, slowdown.took_at_least)
        self.ask = following = self._run.fail(left)
        self._lose(stage, reason)
        return following

    def barred(self, reason: str) -> int | None:
        """The stage `ask` cannot be tried now, for `reason`: it is neither consulted nor paid for. Returns the new
        `ask`.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        """
        stage = self._asked("barred")
        self.ask = following = self._run.bar()
        self._pass_over(stage, reason)
        return following

    def cut_off(self, reason: str) -> None:
        """The deadline passed while the stage `ask` was under way: it is paid for, its answer is lost, and the request
        ends.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        """
        stage = self._asked("cut_off")
        if self._slowdown is not None:
            self._pace(stage, self._slowdown.took_at_least)
        self._run.stop()
        self._lose(stage, reason)
        self._late, self.ask = True, None

    def stopped(self, reason: str) -> None:
        """The deadline passed before the stage `ask` was begun: it is neither consulted nor paid for, and the request
        ends.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        """
        stage = self._asked("stopped")
        # The run goes on waiting for this stage, which it would pay for if it was told to stop.
        self._pass_over(stage, reason)
        self._late, self.ask = True, None

    def took(self, seconds: float) -> None:
        """How long the stage `ask` took; told before what became of it, and forgotten where it was not begun.

        Raises
        ------
        RunFinishedError
            If nothing was asked.
        """
        stage = self._asked("took")
        if self._seconds is None:
            self._seconds = {}
        self._seconds[stage] = seconds

    def took_in_call(self, seconds: float, rows: int) -> None:
        """As :meth:`took`, of a call for so many requests: whoever made it tells the slowdown, once for all of them."""
        self.took(seconds)
        self._rows = rows
        self._is_shared = True

    def has_left(self, seconds: float) -> None:
        """How many seconds the request has left, told before what became of the stage `ask`."""
        self._left = seconds

    def served(self) -> Served[Y]:
        """The output and the record of the decided request.

        Raises
        ------
        NoAnswerError
            If no stage answered, and the policy has no default; has the reasons of all stages asked for.
        TTamerError
            If a stage is still asked.
        """
        return self.handed(self.record(new_request_id()))

    def handed(self, record: Record) -> Served[Y]:
        """The output, with the record of the decided request, which this driver has made.

        Raises
        ------
        NoAnswerError
            As :meth:`served`.
        """
        answer = record._answer
        if answer is not None:
            return Served(self._outputs[answer], record)
        return Served(None, answered(record))

    def record(self, request_id: str, explored: bool = False) -> Record:
        """The record of the decided request, also of one that has no answer.

        Raises
        ------
        TTamerError
            If a stage is still asked.
        """
        if self.ask is not None:
            raise TTamerError(f"`served` must follow the last answer: stage {self.ask} is asked")
        run = self._run
        return Record.of_steps(
            request_id,
            self._identity,
            self._steps,
            run.answer,
            run.cost,
            run.expected_loss,
            self._failures,
            self._barred,
            self._late,
            self._seconds,
            explored,
        )

    def output(self) -> Y | None:
        """The output of the stage that answers, None where there is none."""
        answer = self._run.answer
        return None if answer is None else self._outputs[answer]

    def _asked(self, verb: str) -> int:
        if self.ask is None:
            raise RunFinishedError(f"`{verb}` must follow a question: the request is decided")
        return self.ask

    def _pace(self, stage: int, tell: Callable[[int, int, float], None]) -> float | None:
        """Tells how long a stage took, if that is known; returns the seconds to plan with."""
        if self._seconds is not None and stage in self._seconds and not self._is_shared:
            tell(self.last, stage, self._seconds[stage])
        return None if self._left is None else planned(self._slowdown, self._left, self._rows)

    def _lose(self, stage: int, reason: str) -> None:
        self._steps.append((stage, math.nan, None))
        self._failures = {**self._failures, stage: reason}

    def _pass_over(self, stage: int, reason: str) -> None:
        self._barred = {**self._barred, stage: reason}
        if self._seconds is not None:
            self._seconds.pop(stage, None)
            self._seconds = self._seconds or None

    def _not_hashable(self, stage: int, prediction: Hashable) -> ValidationError:
        where = self._identity.where(stage)
        return ValidationError(f"`prediction` of {where} must return a hashable, got {shown(prediction)}")

    def _number(self, stage: int, signal: float | None) -> float:
        try:
            return as_signal(signal)
        except Exception as error:
            where = self._identity.where(stage)
            raise ValidationError(f"`signal` of {where} must return a number, got {shown(signal)}") from error
