"""What integrations read of a cascade that is nobody else's business."""

from __future__ import annotations

from typing import Any

from ..records.log import RecordLog
from ..serving.cascade import Cascade
from ..serving.counting import Counting
from ..serving.exploration import ExplorationReport
from ..serving.shadow import ShadowReport
from ..serving.slot import PolicySlot

__all__ = ["counting_of", "exploration_of", "governor_of", "log_of", "shadow_of", "slot_of"]


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


def governor_of(cascade: Cascade[Any, Any]) -> Any:
    """What a BudgetGovernor reports that moves the policy in service, None where there is none."""
    slot = slot_of(cascade)
    governor: Any = None if slot is None else slot.governor
    return None if governor is None else governor.report()


def counting_of(cascade: Cascade[Any, Any]) -> Counting:
    """Counts of the requests that begin after the first call; the same ones each time."""
    return cascade._counted()
