"""Checks of single arguments: each gives the value back in its right type, or one line that says what was allowed."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from .._core import ValidationError

ORDERS = ("auto", "given")
_MOST_LISTED = 8


def shown(value: object) -> str:
    """A value in a message: one line, cut where it is long."""
    return " ".join(reprlib.repr(value).split())


def listed(names: Iterable[str]) -> str:
    """Names in a message: the first few of many, and how many there are."""
    every = list(names)
    shown_names = ", ".join(every[:_MOST_LISTED])
    return shown_names if len(every) <= _MOST_LISTED else f"{shown_names}, ... ({len(every)} in all)"


def check_number(name: str, value: Any) -> float:
    """`value` as a float, or a ValidationError.

    Numbers are what has ``__float__`` or ``__index__``: those of Python, numpy and its likes, arrays of no dimension
    too. Text is none, nor is True: where a number is asked for, it is more likely a mistake than a 1.
    """
    scalar = _scalar(value)
    # Old numpy takes an array of one entry for a number.
    if isinstance(scalar, str | bytes | bytearray | bool) or getattr(scalar, "ndim", 0) > 0:
        raise ValidationError(f"`{name}` must be a number, got {shown(value)}")
    try:
        return float(scalar)
    except (TypeError, ValueError):
        raise ValidationError(f"`{name}` must be a number, got {shown(value)}") from None
    except OverflowError:
        raise ValidationError(f"`{name}` must be a number that a float can hold, got {shown(value)}") from None


def check_text(name: str, value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValidationError(f"`{name}` must be text that is not empty, got {shown(value)}")
    return value


def check_integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """`value` as an int from `least` to `most`, or a ValidationError; True and floats are no integers."""
    number = None
    scalar = _scalar(value)
    if not isinstance(scalar, bool) and getattr(scalar, "ndim", 0) == 0:
        with suppress(TypeError):
            number = operator.index(scalar)
    if number is None or number < least or (most is not None and number > most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValidationError(f"`{name}` must be an integer {allowed}, got {shown(value)}")
    return number


def check_flag(name: str, value: Any) -> bool:
    """`value` as True or False, or a ValidationError: 0, 1 and text are neither."""
    scalar = _scalar(value)
    if not isinstance(scalar, bool):
        raise ValidationError(f"`{name}` must be True or False, got {shown(value)}")
    return scalar


def check_tradeoff(tradeoff: float) -> float:
    """`tradeoff` as a float in [0, 1], or a ValidationError."""
    value = check_number("tradeoff", tradeoff)
    if not 0.0 <= value <= 1.0:
        raise ValidationError(f"`tradeoff` must be between 0 and 1, got {value}")
    return value


def check_seed(value: int, bits: int = 64) -> int:
    """`seed` as an int that fits in so many bits without a sign, or a ValidationError."""
    try:
        return check_integer("seed", value, 0, 2**bits - 1)
    except ValidationError:
        raise ValidationError(f"`seed` must be an integer in [0, 2**{bits}), got {shown(value)}") from None


def check_recall(value: bool | str) -> bool | None:
    """`recall` as the core takes it, None for "auto", or a ValidationError."""
    scalar = _scalar(value)
    if isinstance(scalar, bool):
        return scalar
    if isinstance(scalar, str) and scalar == "auto":
        return None
    raise ValidationError(f"`recall` must be True, False or 'auto', got {shown(value)}")


def check_one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """`value` if it is one of the allowed words, or a ValidationError."""
    if not isinstance(value, str) or value not in allowed:
        raise ValidationError(f"`{name}` must be one of {', '.join(map(repr, allowed))}, got {shown(value)}")
    return value


def check_budget(name: str, value: float | str | None) -> float:
    """A largest mean as a finite float of at least 0, or a ValidationError."""
    budget = check_number(name, value)
    if not 0.0 <= budget < math.inf:
        raise ValidationError(f"`{name}` must be finite and at least 0, got {value}")
    return budget


def check_default_loss(value: float) -> float | None:
    """The loss of answering with nothing, None where it is infinite: some stage has to answer; or a ValidationError."""
    loss = check_number("default_loss", value)
    if not loss >= 0.0:
        raise ValidationError(f"`default_loss` must be at least 0, got {value}")
    return None if loss == math.inf else loss


def check_deadline(value: float) -> float | None:
    """Seconds that a request has, None where they are infinite: as many as it takes; or a ValidationError."""
    seconds = check_number("deadline", value)
    if not seconds >= 0.0:
        raise ValidationError(f"`deadline` must be 0 or more seconds, got {value}")
    return None if seconds == math.inf else seconds


def check_between(name: str, value: float, most: float) -> float:
    """`value` as a float in (0, most), or a ValidationError."""
    number = check_number(name, value)
    if not 0.0 < number < most:
        top = "finite" if most == math.inf else f"below {most:g}"
        raise ValidationError(f"`{name}` must be above 0 and {top}, got {value}")
    return number


def check_order(order: str | Sequence[int | str], stages: tuple[str, ...]) -> list[int] | None:
    """Numbers of the stages that may run, in their order; None where every order is allowed."""
    if isinstance(order, str):
        return None if check_one_of("order", order, ORDERS) == "auto" else list(range(len(stages)))
    try:
        return [_stage_number("order", at, stage, stages) for at, stage in enumerate(order)]
    except TypeError:
        raise ValidationError(f"`order` must be 'auto', 'given' or a sequence of stages, got {order!r}") from None


def check_stages(name: str, value: Iterable[int | str], stages: Sequence[str]) -> list[int]:
    """Numbers of the stages in `value`, which are numbers or names, or a ValidationError."""
    try:
        if isinstance(value, str | bytes | bytearray):
            raise TypeError
        entries = list(value)
    except TypeError:
        allowed = "a sequence of stages, by number or name"
        raise ValidationError(f"`{name}` must be {allowed}, got {shown(value)}") from None
    numbers = []
    for at, stage in enumerate(entries):
        if isinstance(_scalar(stage), bool) or not (isinstance(stage, str) or hasattr(stage, "__index__")):
            raise ValidationError(f"`{name}[{at}]` must be a stage, by number or name, got {shown(stage)}")
        numbers.append(_stage_number(name, at, stage, stages))
    return numbers


def _stage_number(name: str, at: int, stage: int | str, stages: Sequence[str]) -> int:
    if not isinstance(stage, str):
        number = operator.index(stage)
        if number < 0:
            raise ValidationError(f"`{name}[{at}]` must be at least 0, got {number}")
        if number >= len(stages):
            raise ValidationError(f"`{name}[{at}]` must be in 0..{len(stages)}, got {number}")
        return number
    if stage not in stages:
        raise ValidationError(f"`{name}[{at}]` must be one of {listed(stages)}, got {stage!r}")
    return list(stages).index(stage)


def _scalar(value: Any) -> Any:
    """The Python value in a scalar of numpy, or in an array of no dimension; anything else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value
