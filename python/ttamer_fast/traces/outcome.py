"""What decisions on the rows of a trace come to: losses, costs and the objective of each request."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .._core import Outcome, Policy
from .._utils.arrays import Floats
from .trace import Trace

__all__ = ["Outcome", "always", "clairvoyant", "objective", "of_policy", "scattered"]


def of_policy(policy: Policy, trace: Trace, default_loss: float | None = None) -> Outcome:
    """Replay `policy` on a trace that matches it; costs are those of the trace's own rows, in its unit. O(n k).

    Nothing loses `default_loss`; without it what the policy was made for, else the largest loss of the trace.
    """
    return Outcome.of_policy(policy, trace.core, default_loss)


def always(trace: Trace, stage: int) -> Outcome:
    """Answer every request with one stage, running no more than that takes. O(n k)."""
    return Outcome.of_stage(trace.core, stage)


def clairvoyant(trace: Trace, tradeoff: float, default_loss: float | None = None) -> Outcome:
    """Answer each request with the one stage that is best in hindsight, or with nothing: no policy can do better. O(n k)."""
    return Outcome.clairvoyant(trace.core, tradeoff, math.inf if default_loss is None else default_loss)


def objective(found: Outcome, tradeoff: float, trace: Trace) -> Floats:
    """(n,) λ · loss + (1 − λ) · cost / mean cost of running every stage of `trace`."""
    return found.objective(trace.core, tradeoff)


def scattered(pieces: Sequence[Outcome], rows: NDArray[np.int64]) -> Outcome:
    """One outcome from pieces: entry i of the joined pieces is request `rows[i]`."""
    return Outcome.joined(list(pieces)).rows(np.argsort(rows))
