"""From a trace to a policy for any trade-off: what fits, baselines and certificates share."""

from __future__ import annotations

from collections.abc import Sequence

from .. import _core
from ..traces.trace import Trace


def learner_of(
    trace: Trace,
    graph: str = "auto",
    order: Sequence[int] | None = None,
    default_loss: float | None = None,
    deadline: bool = False,
) -> _core.Learner:
    """Calibration and beliefs of a trace, from which the core makes a policy for any trade-off. O(k n log n)."""
    stages = None if order is None else list(order)
    return _core.Learner(trace.core, graph=graph, order=stages, default_loss=default_loss, deadline=deadline)


def provenance(trace: Trace, tradeoff: float, goal: str) -> list[tuple[str, str]]:
    """What a policy says that it is made from."""
    return trace.core.provenance(tradeoff, goal)
