"""Means of an outcome on a trace, each with its interval."""

from __future__ import annotations

import math
import warnings
from functools import cached_property
from typing import TypeAlias

import numpy as np

from .._core import Estimate, Outcome, estimate
from .._utils.arrays import Bools, Floats
from .._utils.warnings import EvaluationWarning
from ..traces import outcome
from ..traces.trace import Trace
from .intervals import mean_interval, share_interval

Interval: TypeAlias = tuple[float, float]

FAR = 10.0
"""A largest value above so many times the median of the positive ones is far out."""
PART = 1.0 / 3.0
"""One more such value would make up more than this part of the summed squares."""


def against_teacher(teacher: str) -> str:
    """What a report says of losses that are not against the truth."""
    return f"losses are against the answers of {teacher}, not the truth"


class Judge:
    """Means over the requests of a trace, as these are weighted and belong together.

    Parameters
    ----------
    trace : Trace
        The requests; the edges of intervals are the largest loss and the least and largest cost that it has.
    nothing : float, optional
        Loss of answering with nothing, where that may happen: no request loses more than that and the largest loss.
    """

    def __init__(self, trace: Trace, nothing: float | None = None) -> None:
        self.trace = trace
        self.nothing = nothing
        self.weight = trace.weight
        self.is_reweighted = (
            trace.propensity is not None and self.weight is not None and bool(np.ptp(self.weight) > 0.0)
        )
        """Whether few requests may stand for many."""
        units = trace.core.units
        self.units = None if units is None or len(np.unique(units)) == trace.n else units

    def mean(self, values: Floats) -> Estimate:
        """Of one value per request (n,)."""
        return estimate(values, self.weight, self.units)

    def interval(self, values: Floats, low: float, high: float) -> Interval:
        """95 %, of the mean of one value per request (n,), in [`low`, `high`]."""
        two_valued = self.units is None and bool(((values == low) | (values == high)).all())
        return mean_interval(self.mean(values), low, high, two_valued, heaviest=self.is_reweighted)

    def share(self, holds: Bools) -> Interval:
        """95 %, of the share of the requests for which something holds (n,), in [0, 1]."""
        return share_interval(self.mean(holds.astype(np.float64)), self.units is None, heaviest=self.is_reweighted)

    def shares(self, holds: Bools) -> Floats:
        """(k, 2): the same of each of k things (n, k)."""
        return np.array([self.share(column) for column in holds.T])

    @cached_property
    def losses(self) -> Floats:
        """(n, m) of the m stages that can answer."""
        return self.trace.loss[:, self.trace.core.answering]

    @cached_property
    def largest_loss(self) -> float:
        """Of all stages and of nothing; 1 if all losses are 0."""
        return max(float(np.nanmax(self.losses)), self.nothing or 0.0) or 1.0

    @property
    def loss_range(self) -> Interval:
        """Of the loss of one request."""
        return 0.0, self.largest_loss

    def risk(self, found: Outcome) -> tuple[float, Interval]:
        """Mean loss of the requests that are answered, and its interval; NaN where none is."""
        answered = found.answer >= 0
        if answered.all():
            return self.mean(found.loss).mean, self.loss_interval(found)
        if not answered.any():
            return math.nan, (math.nan, math.nan)
        part = Judge(self.trace.rows(answered))
        loss = found.loss[answered]
        return part.mean(loss).mean, part.interval(loss, 0.0, self.largest_loss)

    @cached_property
    def cost_range(self) -> Interval:
        """Costs of the cheapest way to an answer, and of running everything, over all requests."""
        cost = np.atleast_2d(self.trace.cost)
        first = cost[:, :1] if self.trace.kind == "exits" else cost[:, self.trace.core.answering]
        least = float(np.nanmin(first)) if self.nothing is None else 0.0
        return least, float(np.nansum(cost, axis=1).max())

    def loss_interval(self, found: Outcome) -> Interval:
        """Of the mean loss, in the unit of the trace."""
        return self.interval(found.loss, *self.loss_range)

    def cost_interval(self, found: Outcome, same_stages: bool) -> Interval:
        """Of the mean cost, in the unit of the trace; `same_stages`: by its making every request runs the same ones."""
        return self.interval(found.cost, *self._costs(found, same_stages))

    def objective_interval(self, found: Outcome, tradeoff: float, same_stages: bool) -> Interval:
        """Of the mean objective, likewise."""
        least, most = self.objective_range(tradeoff, self._costs(found, same_stages))
        return self.interval(outcome.objective(found, tradeoff, self.trace), least, most)

    def objective_range(self, tradeoff: float, costs: Interval | None = None) -> Interval:
        """Of the objective of one request whose cost is in `costs`, by default `cost_range`."""
        least, most = self.cost_range if costs is None else costs
        full = self.trace.full_cost
        fraction = (1.0 - tradeoff) / full if full > 0.0 else 0.0
        return fraction * least, tradeoff * self.largest_loss + fraction * most

    def warn_of_heavy_tails(self, found: Outcome, level: int = 3) -> bool:
        """Whether losses or costs have heavier tails than intervals bear; says so in a warning."""
        positive, whole = self.losses[self.losses > 0.0], np.nansum(np.atleast_2d(self.trace.cost), axis=1)
        heavy = [
            (name, usual.max())
            for name, values, usual in (("loss", found.loss, positive), ("cost", found.cost, whole))
            if usual.size and self._is_heavy(values, float(np.median(usual)), float(usual.max()))
        ]
        for name, largest in heavy:
            message = f"`{name}` has a heavy tail: few requests, near {largest:.6g}, decide its mean and its interval"
            warnings.warn(message, EvaluationWarning, stacklevel=level)
        return bool(heavy)

    def _costs(self, found: Outcome, same_stages: bool) -> Interval:
        return (float(found.cost.min()), float(found.cost.max())) if same_stages else self.cost_range

    def _is_heavy(self, values: Floats, usual: float, largest: float) -> bool:
        if largest <= FAR * usual:
            return False
        found = self.mean(values)
        squares = found.size * (found.size - 1.0) * found.standard_error**2 if found.size > 1.0 else 0.0
        return (largest - found.mean) ** 2 > PART * squares
