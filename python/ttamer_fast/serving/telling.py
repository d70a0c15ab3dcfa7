"""What came of a stage, told to a driver."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from .asking import Asked, Reading, read_rows
from .batch_driver import BatchDriver
from .calls import Call
from .driver import Driver
from .exploring import Exploring, ExploringMany
from .limits import Lost
from .one_driver import OneDriver

__all__ = ["OneAsked", "StepAsked", "StepDriver", "tell", "tell_batch", "tell_rows"]

Y = TypeVar("Y")

StepDriver: TypeAlias = BatchDriver[Y] | OneDriver[Y]
"""Of the requests of a batch."""

OneAsked: TypeAlias = Driver[Any] | Exploring
"""What is told of one request: it is decided, or run through."""

StepAsked: TypeAlias = BatchDriver[Any] | OneDriver[Any] | ExploringMany
"""The same of the requests of a batch."""

NOT_BEGUN = ("barred", "stopped")
"""How stages are lost that took no time."""


def tell(driver: OneAsked, outcome: Reading | str | Lost, seconds: float | None, left: float) -> None:
    """What came of the stage asked, for one request, how long it took, None where that was not measured, and how many
    seconds are left, inf without a deadline."""
    if left < math.inf:
        driver.has_left(left)
    if seconds is not None and not (isinstance(outcome, Lost) and outcome.how in NOT_BEGUN):
        driver.took(seconds)
    if isinstance(outcome, tuple):
        output, signal, prediction = outcome
        driver.answered(signal, prediction, output)
    elif isinstance(outcome, str):
        driver.failed(outcome)
    elif outcome.how == "failed":
        driver.failed(outcome.reason)
    elif outcome.how == "barred":
        driver.barred(outcome.reason)
    elif outcome.how == "cut_off":
        driver.cut_off(outcome.reason)
    else:
        driver.stopped(outcome.reason)


def tell_batch(driver: StepAsked, outcome: Asked | Lost, count: int, seconds: float | None, left: float) -> None:
    """What came of one call of the stage asked, for all `count` rows asked; the others as in :func:`tell`."""
    if left < math.inf:
        driver.has_left(left)
    if seconds is not None:
        driver.took(seconds)
    if isinstance(outcome, Lost):
        _lose(driver, outcome.how, dict.fromkeys(range(count), outcome.reason))
        return
    if outcome.failures:
        driver.failed(outcome.failures)
    if len(outcome.failures) < count:
        driver.answered(outcome.signal, outcome.prediction, outcome.outputs)


def tell_rows(
    driver: StepAsked, call: Call, outcomes: Sequence[Reading | str | Lost], seconds: float | None, left: float
) -> None:
    """What came of the stage asked, row by row, how long all of them took together, and what is left.

    Raises
    ------
    ValidationError
        If a signal is no number; names the stage.
    """
    came = [one for one in outcomes if not isinstance(one, Lost)]
    if len(came) == len(outcomes):
        tell_batch(driver, read_rows(call.stage, call.where, came), len(came), seconds, left)
        return
    if left < math.inf:
        driver.has_left(left)
    if seconds is not None:
        driver.took(seconds)
    others = [Lost("failed", one) if isinstance(one, str) else one for one in outcomes]
    for how in ("failed", "barred", "cut_off", "stopped"):
        lost = {at: one.reason for at, one in enumerate(others) if isinstance(one, Lost) and one.how == how}
        if lost:
            others = [one for at, one in enumerate(others) if at not in lost]
            _lose(driver, how, lost)
    if others:
        said = read_rows(call.stage, call.where, [one for one in others if not isinstance(one, Lost)])
        driver.answered(said.signal, said.prediction, said.outputs)


def _lose(driver: StepAsked, how: str, lost: dict[int, str]) -> None:
    """Positions among the rows asked, and reasons; the rows that are left are asked on."""
    if how == "failed":
        driver.failed(lost)
    elif how == "cut_off":
        driver.cut_off(lost)
    else:
        # All rows are barred, or stopped, at one time: the reason of the first is that of all.
        reason = next(iter(lost.values()))
        if how == "barred":
            driver.barred(reason, list(lost))
        else:
            driver.stopped(reason, list(lost))
