"""What decisions on the rows of a trace come to: losses, costs and the objective of each request."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._core import Outcome, Policy, ValidationError
from .._utils.arrays import Floats
from .._utils.checks import check_deadline, check_default_loss
from .trace import Trace

__all__ = [
    "NO_TERMS",
    "Outcome",
    "Terms",
    "always",
    "careful",
    "clairvoyant",
    "largest_loss",
    "objective",
    "of_policy",
    "scattered",
    "terms_of",
]


class Terms(NamedTuple):
    """What decisions are judged by besides the rows of a trace."""

    default_loss: float | None = None
    """Loss of a request that ends without an answer; None: the policy's own, else the largest loss of the trace."""
    deadline: float | None = None
    """Seconds that each request has; None: as many as it takes."""


NO_TERMS = Terms()


def terms_of(trace: Trace, default_loss: float = math.inf, deadline: float = math.inf) -> Terms:
    """Terms, each infinite for none, that `trace` can be judged by; else a ValidationError."""
    terms = Terms(check_default_loss(default_loss), check_deadline(deadline))
    if terms.deadline is not None and trace.core.latency is None:
        raise ValidationError("`trace` must say how long stages took, `latency`, to be judged under a deadline")
    return terms


def largest_loss(trace: Trace) -> float:
    """The largest finite one at any stage of any request, in the unit of the losses; 0 without one. O(n k)."""
    return float(trace.loss.max(initial=0.0, where=np.isfinite(trace.loss)))


def of_policy(policy: Policy, trace: Trace, terms: Terms = NO_TERMS) -> Outcome:
    """Replay `policy` on a trace that matches it; costs are those of the trace's own rows, in its unit. O(n k)."""
    return Outcome.of_policy(policy, trace.core, *terms)


def careful(policy: Policy, trace: Trace, train: Trace, terms: Terms) -> Outcome:
    """The same in a loop that, with an answer in hand, begins no stage whose mean seconds in `train` do not fit."""
    return Outcome.careful(policy, trace.core, train.core, *terms)


def always(trace: Trace, stage: int, terms: Terms = NO_TERMS) -> Outcome:
    """Answer every request with one stage, running no more than that takes. O(n k)."""
    return Outcome.of_stage(trace.core, stage, *terms)


def clairvoyant(trace: Trace, tradeoff: float, terms: Terms = NO_TERMS) -> Outcome:
    """Answer each request with the one stage that is best in hindsight, or with none: no policy can do better."""
    return Outcome.clairvoyant(trace.core, tradeoff, *terms)


def objective(found: Outcome, tradeoff: float, trace: Trace) -> Floats:
    """(n,) λ · loss + (1 − λ) · cost / mean cost of running every stage of `trace`."""
    return found.objective(trace.core, tradeoff)


def scattered(pieces: Sequence[Outcome], rows: NDArray[np.int64]) -> Outcome:
    """One outcome from pieces: entry i of the joined pieces is request `rows[i]`."""
    return Outcome.joined(list(pieces)).rows(np.argsort(rows))
