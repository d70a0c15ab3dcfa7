"""Checks of the parts of a record: each gives its part in its right type, or one line that says what was allowed."""

from __future__ import annotations

import math
import operator
from collections.abc import Hashable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from .._core import ValidationError
from .._utils.arrays import float_array
from .._utils.checks import shown


def check_text(name: str, value: Any) -> str:
    """A string, or a ValidationError."""
    if not isinstance(value, str):
        raise ValidationError(f"`{name}` must be a string, got {type(value).__name__}")
    return value


def check_names(stages: Any) -> tuple[str, ...]:
    """Names of at least one stage, or a ValidationError."""
    if isinstance(stages, str | bytes) or not isinstance(stages, Sequence):
        raise ValidationError(f"`stages` must be a sequence of names, got {type(stages).__name__}")
    if not stages:
        raise ValidationError("`stages` must have at least one name, got none")
    for i, name in enumerate(stages):
        if not isinstance(name, str) or not name or name in stages[:i]:
            raise ValidationError(f"`stages` entry {i} must be another name that is not empty, got {shown(name)}")
    return tuple(stages)


def check_consulted(consulted: Any, k: int) -> list[int]:
    """Numbers of different stages, or a ValidationError."""
    if not _is_listed(consulted):
        raise ValidationError(f"`consulted` must be a sequence of stage numbers, got {type(consulted).__name__}")
    run: list[int] = []
    for i, given in enumerate(consulted):
        stage = _integer(given)
        if stage is None or not 0 <= stage < k or stage in run:
            raise ValidationError(f"`consulted` entry {i} must be another stage from 0 to {k - 1}, got {shown(given)}")
        run.append(stage)
    return run


def check_signals(signal: Any, k: int) -> list[float]:
    """k numbers, NaN for None, or a ValidationError."""
    if _is_listed(signal):
        signal = [math.nan if one is None or one is np.ma.masked else one for one in signal]
    signals = float_array("signal", signal)
    if signals.shape != (k,):
        raise ValidationError(f"`signal` must have shape ({k},), got {signals.shape}")
    return list(map(float, signals))


def check_predictions(prediction: Any, k: int) -> list[Hashable]:
    """k hashable values, None for each if there are none, or a ValidationError."""
    if prediction is None:
        return [None] * k
    if not _is_listed(prediction):
        raise ValidationError(f"`prediction` must be a sequence of {k} hashables, got {type(prediction).__name__}")
    if len(prediction) != k:
        raise ValidationError(f"`prediction` must have {k} entries, got {len(prediction)}")
    said: list[Hashable] = prediction.tolist() if isinstance(prediction, np.ndarray) else list(prediction)
    for i, one in enumerate(said):
        try:
            hash(one)
        except Exception as error:
            message = f"`prediction` entry {i} must be hashable, got {type(one).__name__}"
            raise ValidationError(message) from error
    return said


def check_failures(failures: Any, run: list[int]) -> dict[int, str]:
    """Texts by stages that were run, or a ValidationError."""
    if failures is None:
        return {}
    if not isinstance(failures, Mapping):
        raise ValidationError(f"`failures` must be a dict of stages and texts, got {type(failures).__name__}")
    found: dict[int, str] = {}
    for given, reason in failures.items():
        stage = _integer(given)
        if stage is None or stage not in run:
            raise ValidationError(f"`failures` must have stages run, {run}, as keys, got {shown(given)}")
        found[stage] = check_text("failures", reason)
    return found


def check_barred(barred: Any, run: list[int], k: int) -> dict[int, str]:
    """Texts by stages that were not run, or a ValidationError."""
    if barred is None:
        return {}
    if not isinstance(barred, Mapping):
        raise ValidationError(f"`barred` must be a dict of stages and texts, got {type(barred).__name__}")
    found: dict[int, str] = {}
    for given, reason in barred.items():
        stage = _integer(given)
        if stage is None or not 0 <= stage < k or stage in run:
            allowed = [stage for stage in range(k) if stage not in run]
            raise ValidationError(f"`barred` must have stages not run, {allowed}, as keys, got {shown(given)}")
        found[stage] = check_text("barred", reason)
    return found


def check_seconds(seconds: Any, run: list[int], k: int) -> dict[int, float] | None:
    """Times of the stages that were run and timed, None for none, or a ValidationError."""
    if seconds is None:
        return None
    times = float_array("seconds", seconds)
    if times.shape != (k,):
        raise ValidationError(f"`seconds` must have shape ({k},), got {times.shape}")
    found: dict[int, float] = {}
    for stage in run:
        taken = float(times[stage])
        if taken < 0.0 or taken == math.inf:
            raise ValidationError(f"`seconds[{stage}]` must be finite and at least 0, or NaN, got {taken}")
        if not math.isnan(taken):
            found[stage] = taken
    return found


def check_flag(name: str, value: Any) -> bool:
    """True or False, or a ValidationError."""
    if not isinstance(value, bool | np.bool_):
        raise ValidationError(f"`{name}` must be True or False, got {shown(value)}")
    return bool(value)


def check_answer(answer: Any, answered: list[int]) -> int | None:
    """None or a stage that gave an answer, or a ValidationError."""
    stage = None if answer is None else _integer(answer)
    if answer is not None and stage not in answered:
        raise ValidationError(
            f"`answer` must be None or one of the stages that answered, {answered}, got {shown(answer)}"
        )
    return stage


def check_real(name: str, value: Any) -> float:
    """A number of at least 0, infinite if need be, or a ValidationError."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValidationError(f"`{name}` must be a number, got {shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        raise ValidationError(f"`{name}` must be a number that a float can hold, got {shown(value)}") from None
    if not number >= 0.0:
        finite = "finite and " if name == "cost" else ""
        raise ValidationError(f"`{name}` must be {finite}at least 0, got {number}")
    return number


def _is_listed(values: Any) -> bool:
    if isinstance(values, np.ndarray):
        return values.ndim > 0
    return isinstance(values, Sequence) and not isinstance(values, str | bytes)


def _integer(value: Any) -> int | None:
    if isinstance(value, bool | np.bool_):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
