"""Records as rows of a trace: what ran, and what is known to have been lost."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np

from .._core import RecordTruth, ValidationError
from .._utils.arrays import Bools, Floats, Ints
from .._utils.checks import listed
from ..traces.builder import TraceBuilder
from ..traces.trace import Trace
from .chunk import NO_PREDICTION, RecordChunk, RecordedPolicy

__all__ = ["Censored", "Labels"]


class Labels(NamedTuple):
    """Where losses come from: one of the two."""

    truth: Mapping[str, Hashable] | None
    teacher: str | None

    @classmethod
    def of(cls, truth: Mapping[str, Hashable] | None, teacher: str | None) -> Labels:
        """Checked."""
        if (truth is None) == (teacher is None):
            given = "neither" if truth is None else "both"
            raise ValidationError(f"`truth` or `teacher` must be given, got {given}")
        if truth is not None and not isinstance(truth, Mapping):
            given = type(truth).__name__
            raise ValidationError(f"`truth` must be a mapping of names of requests to labels, got {given}")
        if teacher is not None and not isinstance(teacher, str):
            raise ValidationError(f"`teacher` must be the name of a stage, got {type(teacher).__name__}")
        return cls(truth, teacher)

    def core(self) -> RecordTruth | None:
        """As the reader takes them."""
        return None if self.truth is None else RecordTruth(dict(self.truth))


class Censored(NamedTuple):
    """Records with their losses, as a trace wants them."""

    chunk: RecordChunk
    policy: RecordedPolicy
    loss: Floats
    cost: Floats
    propensity: Floats | None
    teacher: str | None

    @classmethod
    def of(
        cls, chunk: RecordChunk, labels: Labels, has_chosen: bool, met: set[int], all_explored: bool = False
    ) -> Censored:
        """Of records that belong together, also with those of the policies met before; or a ValidationError.

        `all_explored`: whether only requests that were run through are wanted: what the policy asked for is then known
        by that chance too.
        """
        if not len(chunk):
            raise ValidationError("`folder` must have records that are wanted, got none")
        met.update(np.unique(chunk.policy).tolist())
        policies = [chunk.policies[number] for number in sorted(met)]
        first = policies[0]
        for other in policies[1:]:
            if other.stages != first.stages or other.kind != first.kind:
                one, two = (f"{list(policy.stages)} ({policy.kind})" for policy in (first, other))
                raise ValidationError(f"`policy` must choose records of the same stages, got {one} and {two}")
        if len(policies) > 1 and not has_chosen:
            found = listed(str(policy) for policy in policies)
            raise ValidationError(
                f"`policy` must choose one policy, or several by a list: there are records of {found}"
            )
        chunk = chunk.of_stages(len(first.stages))
        if (chunk.prediction == NO_PREDICTION).all():
            raise ValidationError("`folder` must have records with predictions, got none: a Stage needs `prediction`")
        cost = np.array(first.cost, np.float64)
        if len(policies) > 1:
            # Of the policies that are met here: all have the same stages.
            costs = {chunk.policies.index(policy): policy.cost for policy in policies}
            cost = np.array([costs[number] for number in chunk.policy.tolist()], np.float64)
        true = _truth(chunk, first, labels)
        said = chunk.prediction
        is_known = chunk.ran & (said != NO_PREDICTION) & (true != NO_PREDICTION)[:, np.newaxis]
        loss = np.where(is_known, said != true[:, np.newaxis], np.nan)
        teacher = None if labels.teacher is None else first.stages.index(labels.teacher)
        chance = _propensity(chunk, is_known, teacher, all_explored)
        return cls(chunk, first, loss, cost, chance, labels.teacher)

    def trace(self) -> Trace:
        """As a trace."""
        seconds = self.chunk.seconds
        return Trace(
            self.chunk.signal,
            self.loss,
            self.cost,
            prediction=self.chunk.prediction,
            kind=self.policy.kind,
            stages=self.policy.stages,
            latency=None if np.isnan(seconds).all() else seconds,
            propensity=self.propensity,
            teacher=self.teacher,
        )

    def append(self, builder: TraceBuilder, is_timed: bool) -> None:
        """Append to a builder."""
        if builder.stages != self.policy.stages or builder.kind != self.policy.kind:
            given, own = (f"{list(one.stages)} ({one.kind})" for one in (builder, self.policy))
            raise ValidationError(f"`builder` must have the stages {own}, as the records have, got {given}")
        if builder.teacher != self.teacher:
            raise ValidationError(f"`builder` must have the teacher {self.teacher!r}, got {builder.teacher!r}")
        builder.append(
            self.chunk.signal,
            self.loss,
            self.cost,
            prediction=self.chunk.prediction,
            latency=self.chunk.seconds if is_timed else None,
            propensity=self.propensity,
        )


def _truth(chunk: RecordChunk, policy: RecordedPolicy, labels: Labels) -> Ints:
    """(n,) codes of what the answers are held against."""
    if labels.teacher is None:
        return chunk.truth
    if labels.teacher not in policy.stages:
        raise ValidationError(f"`teacher` must be one of {listed(policy.stages)}, got {labels.teacher!r}")
    found: Ints = chunk.prediction[:, policy.stages.index(labels.teacher)]
    return found


def _propensity(chunk: RecordChunk, is_known: Bools, teacher: int | None, all_explored: bool) -> Floats | None:
    """(n, k) chance that each known loss came to be known: 1 where the policy asked for the stage (and the teacher),
    unless only requests that were run through are here.

    None where some requests had no chance of being run through. Where there were too many at times, the chance is that
    of all requests with this share.
    """
    share = chunk.propensity
    if not (share > 0.0).all():
        return None
    drawn = chunk.explored | chunk.capped
    for one in np.unique(share[drawn]).tolist():
        alike = share == one
        share = np.where(alike, one * (chunk.explored[alike].sum() / drawn[alike].sum()), share)
    is_asked = chunk.ran & ~chunk.ran_for_record & (not all_explored)
    if teacher is not None:
        is_asked &= is_asked[:, teacher][:, np.newaxis]
    return np.where(is_known, np.where(is_asked, 1.0, share[:, np.newaxis]), np.nan)
