"""What a policy is for, as users say it and as the core takes it."""

from __future__ import annotations

from typing import NamedTuple

from .._core import ValidationError
from .._utils.checks import check_budget, check_tradeoff
from ..traces.trace import Trace

__all__ = ["Goal", "check_one_goal", "goal_of", "loss_of_last"]


class Goal(NamedTuple):
    """One of the three is given."""

    tradeoff: float | None
    max_cost: float | None
    max_loss: float | None


def check_one_goal(tradeoff: float | None, max_cost: float | None, max_loss: float | str | None) -> None:
    """Refuse none, and several."""
    goals = {"`tradeoff`": tradeoff, "`max_cost`": max_cost, "`max_loss`": max_loss}
    given = [name for name, goal in goals.items() if goal is not None]
    if len(given) != 1:
        raise ValidationError(f"exactly one of {', '.join(goals)} must be given, got {' and '.join(given) or 'none'}")


def goal_of(tradeoff: float | None, max_cost: float | None, max_loss: float | str | None, last: float) -> Goal:
    """The goal, checked; `last` is the mean loss of always answering with the last stage."""
    check_one_goal(tradeoff, max_cost, max_loss)
    return Goal(
        None if tradeoff is None else check_tradeoff(tradeoff),
        None if max_cost is None else check_budget("max_cost", max_cost),
        None if max_loss is None else _loss_budget(max_loss, last),
    )


def loss_of_last(trace: Trace) -> float:
    """Mean loss of always answering with the last stage that can answer. O(n k)."""
    return float(trace.mean_loss[trace.core.answering[-1]])


def _loss_budget(value: float | str, last: float) -> float:
    """A largest mean loss, absolute or relative to always answering with the last stage."""
    if not isinstance(value, str):
        return check_budget("max_loss", value)
    start, plus, excess = value.partition("+")
    if start.strip() != "last" or not plus:
        raise ValidationError(f"`max_loss` must be a number or 'last+<number>', got {value!r}")
    try:
        more = float(excess)
    except ValueError:
        raise ValidationError(f"`max_loss` must be a number after 'last+', got {excess!r}") from None
    return last + check_budget("max_loss", more)
