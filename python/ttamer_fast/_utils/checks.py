"""Checks of single arguments: each gives the value back in its right type, or one line that says what was allowed."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Sequence

from .._core import ValidationError

ORDERS = ("auto", "given")


def shown(value: object) -> str:
    """A value in a message: one line, cut where it is long."""
    return " ".join(reprlib.repr(value).split())


def check_tradeoff(tradeoff: float) -> float:
    """`tradeoff` as a float in [0, 1], or a ValidationError."""
    try:
        value = float(tradeoff)
    except (TypeError, ValueError):
        raise ValidationError(f"`tradeoff` must be a number between 0 and 1, got {tradeoff!r}") from None
    if not 0.0 <= value <= 1.0:
        raise ValidationError(f"`tradeoff` must be between 0 and 1, got {tradeoff}")
    return value


def check_seed(value: int, bits: int = 64) -> int:
    """A ValidationError unless `seed` fits in so many bits without a sign."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**bits:
        raise ValidationError(f"`seed` must be an integer in [0, 2**{bits}), got {value!r}")
    return value


def check_recall(value: bool | str) -> bool | None:
    """`recall` as the core takes it, None for "auto", or a ValidationError."""
    if value is True or value is False:
        return value
    if value == "auto":
        return None
    raise ValidationError(f"`recall` must be True, False or 'auto', got {value!r}")


def check_one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """`value` if it is one of the allowed words, or a ValidationError."""
    if value not in allowed:
        raise ValidationError(f"`{name}` must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def check_budget(name: str, value: float | str | None) -> float:
    """A largest mean as a finite float of at least 0, or a ValidationError."""
    budget = _number(name, value)
    if not 0.0 <= budget < math.inf:
        raise ValidationError(f"`{name}` must be finite and at least 0, got {value}")
    return budget


def check_between(name: str, value: float, most: float) -> float:
    """`value` as a float in (0, most), or a ValidationError."""
    number = _number(name, value)
    if not 0.0 < number < most:
        top = "finite" if most == math.inf else f"below {most:g}"
        raise ValidationError(f"`{name}` must be above 0 and {top}, got {value}")
    return number


def check_order(order: str | Sequence[int | str], stages: tuple[str, ...]) -> list[int] | None:
    """Numbers of the stages that may run, in their order; None where every order is allowed."""
    if isinstance(order, str):
        return None if check_one_of("order", order, ORDERS) == "auto" else list(range(len(stages)))
    try:
        return [_stage_number(at, stage, stages) for at, stage in enumerate(order)]
    except TypeError:
        raise ValidationError(f"`order` must be 'auto', 'given' or a sequence of stages, got {order!r}") from None


def _stage_number(at: int, stage: int | str, stages: tuple[str, ...]) -> int:
    if not isinstance(stage, str):
        number = operator.index(stage)
        if number < 0:
            raise ValidationError(f"`order[{at}]` must be at least 0, got {number}")
        if number >= len(stages):
            raise ValidationError(f"`order[{at}]` must be in 0..{len(stages)}, got {number}")
        return number
    if stage not in stages:
        raise ValidationError(f"`order[{at}]` must be one of {', '.join(stages)}, got {stage!r}")
    return stages.index(stage)


def _number(name: str, value: float | str | None) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValidationError(f"`{name}` must be a number, got {value!r}") from None
