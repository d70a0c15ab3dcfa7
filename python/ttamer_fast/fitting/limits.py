"""What is promised of a mean loss: at most a number, or at most so much above that of a stage."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .._core import ValidationError
from .._utils.arrays import Floats, first_bad
from .._utils.checks import check_between, check_default_loss, listed, shown
from ..traces.trace import Trace

__all__ = ["Bounds", "Limit", "bounds_of", "check_certifiable", "limit_of"]

LAST = "last"


class Bounds(NamedTuple):
    """What is known of every loss beforehand."""

    largest: float
    binary: bool
    default_loss: float | None


class Limit(NamedTuple):
    """A largest mean: of losses, or of how much more a policy loses than one stage, request by request."""

    most: float
    stage: int | None
    largest: float

    @property
    def range(self) -> tuple[float, float]:
        """What no value can be outside of."""
        return (0.0 if self.stage is None else -self.largest, self.largest)

    def values(self, loss: Floats, trace: Trace) -> Floats:
        """(n,) what is limited on average, from the losses of a policy on the rows of a trace."""
        low, high = self.range
        return np.clip(loss if self.stage is None else loss - trace.loss[:, self.stage], low, high)

    def said(self, trace: Trace, most: float | None = None) -> str:
        """This limit, or another one of its kind, as users say it."""
        number = f"{self.most if most is None else most:.6g}"
        return number if self.stage is None else f"{trace.stages[self.stage]}+{number}"


def limit_of(max_loss: float | str, largest: float, trace: Trace) -> Limit:
    """The limit that is asked for, or a ValidationError."""
    if not isinstance(max_loss, str):
        return Limit(check_between("max_loss", max_loss, largest), None, largest)
    name, plus, excess = max_loss.rpartition("+")
    if not plus:
        raise ValidationError(f"`max_loss` must be a number or '<stage>+<number>', got {max_loss!r}")
    try:
        more = float(excess)
    except ValueError:
        raise ValidationError(f"`max_loss` must be a number after the last '+', got {excess!r}") from None
    if not 0.0 <= more < largest:
        raise ValidationError(f"`max_loss` must be from 0 to below {largest:g} after the last '+', got {more}")
    return Limit(more, _stage_of(name.strip(), trace), largest)


def bounds_of(largest_loss: float, binary: bool, default_loss: float) -> Bounds:
    """Bounds as users say them; a ValidationError where the loss of no answer is outside of them."""
    largest, nothing = check_between("largest_loss", largest_loss, math.inf), check_default_loss(default_loss)
    if nothing is not None and (nothing > largest or (binary and nothing not in (0.0, largest))):
        allowed = f"0 or {largest:g} as `binary` is True" if binary else f"at most `largest_loss` {largest:g}"
        raise ValidationError(f"`default_loss` must be {allowed}, got {nothing:g}")
    return Bounds(largest, binary, nothing)


def check_certifiable(trace: Trace, bounds: Bounds) -> None:
    """A ValidationError where the rows are no independent requests with known losses within these bounds."""
    if trace.is_censored or trace.propensity is not None:
        raise ValidationError(
            "`trace` must have known losses and no propensity, to be certified on: give requests that were drawn at "
            "random and run through every stage"
        )
    if trace.weight is not None:
        raise ValidationError("`trace` must have no weights: the promise is about its own distribution")
    if trace.group is not None:
        raise ValidationError("`trace` must have no groups: the promise is about independent requests")
    loss = trace.loss[:, trace.core.answering]
    too_large = loss > bounds.largest
    if too_large.any():
        where, given = first_bad(loss, too_large)
        raise ValidationError(f"`trace` loss{where} must be at most `largest_loss` {bounds.largest:g}, got {given}")
    between = (loss > 0.0) & (loss < bounds.largest)
    if bounds.binary and between.any():
        where, given = first_bad(loss, between)
        raise ValidationError(f"`trace` loss{where} must be 0 or {bounds.largest:g} as `binary` is True, got {given}")


def _stage_of(name: str, trace: Trace) -> int:
    answering = trace.core.answering
    if name in trace.stages:
        stage = trace.stages.index(name)
        if stage not in answering:
            raise ValidationError(f"`max_loss` must be relative to a stage that answers, got the probe {name!r}")
        return stage
    if name == LAST:
        return int(answering[-1])
    allowed = listed([*(trace.stages[stage] for stage in answering), LAST])
    raise ValidationError(f"`max_loss` must be relative to one of {allowed}, got {shown(name)}")
