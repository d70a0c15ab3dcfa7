"""Counts of decided requests, for whoever makes metrics of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._core import Counters, Policy

__all__ = ["Counting", "counting_of"]

SECONDS = tuple(base * 10.0**power for power in range(-5, 2) for base in (1.0, 2.5, 5.0))
"""Bounds of stage times: from 10 us to 50 s, three to a power of ten."""

COST_SHARES = tuple(2.0**-power for power in range(9, -1, -1))
"""Bounds of request costs, as shares of the cost of all stages: from a five-hundredth to all of it."""


class Counting(NamedTuple):
    """Counters, and what their histograms are cut at."""

    counters: Counters
    cost_bounds: tuple[float, ...]
    """In the unit of the trace, ascending; a request of the cost of a bound is below it."""
    seconds_bounds: tuple[float, ...]


def counting_of(policy: Policy) -> Counting:
    """Counters for requests of a cascade whose first policy is this one: what they are cut at stays."""
    prices = policy._prices()
    # After the stage before, where that is a price: exits cost what they run beyond it.
    step = np.diagonal(prices)
    each = np.where(np.isfinite(step), step, prices[0])
    full = float(each[np.isfinite(each)].sum()) or 1.0
    bounds = tuple(full * share for share in COST_SHARES)
    return Counting(Counters(len(policy.stages), list(bounds), list(SECONDS)), bounds, SECONDS)
