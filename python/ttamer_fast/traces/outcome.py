"""What decisions on the rows of a trace come to: losses, costs and the objective of each request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._core import Policy, ValidationError
from .._utils.arrays import Bools, Floats
from .trace import Trace


@dataclass(frozen=True)
class Outcome:
    """What n requests came to."""

    answer: NDArray[np.int32]
    """(n,) number of the stage whose answer was returned."""
    last: NDArray[np.int32]
    """(n,) number of the last stage that ran."""
    consulted: Bools
    """(n, k) which stages ran."""
    loss: Floats
    """(n,) of the answer returned, in the trace's unit of loss."""
    cost: Floats
    """(n,) paid for the request, in the trace's unit of cost."""

    def objective(self, tradeoff: float, full_cost: float) -> Floats:
        """(n,) tradeoff · loss + (1 − tradeoff) · cost / full cost; `full_cost` in the unit of the cost."""
        share = self.cost / full_cost if full_cost > 0.0 else np.zeros_like(self.cost)
        return tradeoff * self.loss + (1.0 - tradeoff) * share


def of_policy(policy: Policy, trace: Trace) -> Outcome:
    """Replay `policy` on `trace`; costs are those of the trace's own rows."""
    if len(policy.stages) != trace.k:
        raise ValidationError(f"`trace` must have the {len(policy.stages)} stages of the policy, got {trace.k}")
    replay = policy.replay(trace.signal, trace.prediction)
    if bool((replay.answer < 0).any()):
        row = int((replay.answer < 0).argmax())
        raise ValidationError(f"`policy` answers row {row} with its default, whose loss is not in the trace")
    return _outcome(trace, replay.answer, replay.last, replay.consulted)


def of_stage(trace: Trace, stage: NDArray[np.int32]) -> Outcome:
    """Answer each request with stage (n,), running no more than that takes."""
    consulted = np.zeros((trace.n, trace.k), bool)
    consulted[np.arange(trace.n), stage] = True
    if trace.kind == "exits":
        consulted = np.arange(trace.k) <= stage[:, None]
    return _outcome(trace, stage, stage, consulted)


def clairvoyant(trace: Trace, tradeoff: float) -> Outcome:
    """Answer each request with the one stage that is best in hindsight: no policy can do better."""
    total = np.stack(
        [of_stage(trace, _constant(trace, i)).objective(tradeoff, trace.full_cost) for i in range(trace.k)], axis=1
    )
    return of_stage(trace, total.argmin(axis=1).astype(np.int32))


def always(trace: Trace, stage: int) -> Outcome:
    """Answer every request with one stage."""
    return of_stage(trace, _constant(trace, stage))


def scattered(pieces: Sequence[Outcome], rows: NDArray[np.int64]) -> Outcome:
    """One outcome from pieces: entry i of the joined pieces is request `rows[i]`."""
    place = np.argsort(rows)
    return Outcome(
        answer=np.concatenate([p.answer for p in pieces])[place],
        last=np.concatenate([p.last for p in pieces])[place],
        consulted=np.concatenate([p.consulted for p in pieces])[place],
        loss=np.concatenate([p.loss for p in pieces])[place],
        cost=np.concatenate([p.cost for p in pieces])[place],
    )


def _constant(trace: Trace, stage: int) -> NDArray[np.int32]:
    return np.full(trace.n, stage, np.int32)


def _outcome(trace: Trace, answer: NDArray[np.int32], last: NDArray[np.int32], consulted: Bools) -> Outcome:
    rows = np.arange(trace.n)
    # One network pays for everything up to the last exit that ran.
    through_last = np.logical_or.accumulate(consulted[:, ::-1], axis=1)[:, ::-1]
    paid = through_last if trace.kind == "exits" else consulted
    cost = np.where(paid, trace.cost, 0.0).sum(axis=1)
    return Outcome(answer, last, consulted, trace.loss[rows, answer], cost)
