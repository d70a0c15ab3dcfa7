"""What integrations read of a cascade that is nobody else's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._core import Counters, ValidationError
from ..records.log import RecordLog
from ..serving.cascade import Cascade
from ..serving.exploration import ExplorationReport
from ..serving.shadow import ShadowReport
from ..serving.slot import PolicySlot

__all__ = ["begin_counting", "end_counting", "exploration_of", "log_of", "shadow_of", "slot_of"]


def log_of(cascade: Cascade[Any, Any]) -> RecordLog | None:
    """The log of a cascade, None where it has none."""
    recorder = cascade._recorder
    return None if recorder is None else recorder.log


def exploration_of(cascade: Cascade[Any, Any]) -> ExplorationReport | None:
    """What has been run through, None where the cascade has no log."""
    recorder = cascade._recorder
    return None if recorder is None else recorder.report()


def shadow_of(cascade: Cascade[Any, Any]) -> ShadowReport | None:
    """What the shadow would have done, None where there is none."""
    shadow = cascade._listeners.shadow
    return None if shadow is None else shadow.report()


def slot_of(cascade: Cascade[Any, Any]) -> PolicySlot | None:
    """What the policy in service can be changed by, None where there is nothing."""
    return cascade._incumbents.slot


def begin_counting(cascade: Cascade[Any, Any], costs: Sequence[float], seconds: Sequence[float]) -> Counters:
    """Count the requests that begin from now on, from nothing.

    Raises
    ------
    ValidationError
        If somebody else counts them.
    """
    listeners = cascade._listeners
    if listeners.counters is not None:
        raise ValidationError("`cascade` must be registered once, and is: unregister it first")
    counters = Counters(len(cascade.stages), list(costs), list(seconds))
    listeners.counters = counters
    cascade._incumbents.tell_others()
    return counters


def end_counting(cascade: Cascade[Any, Any]) -> None:
    """Count them no more."""
    cascade._listeners.counters = None
    cascade._incumbents.tell_others()
