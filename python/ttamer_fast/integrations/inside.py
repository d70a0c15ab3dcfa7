"""What integrations read of a cascade that is nobody else's business."""

from __future__ import annotations

from typing import Any

from ..records.log import RecordLog
from ..serving.cascade import Cascade

__all__ = ["log_of"]


def log_of(cascade: Cascade[Any, Any]) -> RecordLog | None:
    """The log of a cascade, None where it has none."""
    recorder = cascade._recorder
    return None if recorder is None else recorder.log
