"""Whether an alarm is about the order of the rows: files that are sorted look like drift."""

from __future__ import annotations

import numpy as np

from .._core import Policy
from ..monitoring.drift import DriftMonitor
from ..traces.trace import Trace

__all__ = ["order_hint"]


def order_hint(monitor: DriftMonitor, policy: Policy, watched: Trace, seed: int) -> str | None:
    """A hint where the same rows in random order raise no alarm, else None. The monitor starts anew."""
    shuffled = watched.rows(np.random.default_rng(seed).permutation(watched.n))
    monitor.reset()
    replay = policy.replay(shuffled.signal, shuffled.prediction)
    if monitor.update_replay(replay, shuffled.signal, shuffled.prediction):
        return None
    return (
        "hint: in random order the same rows raise no alarm: either the change is recent, or the file is sorted (by "
        "class, stage, length or session), which is no drift"
    )
