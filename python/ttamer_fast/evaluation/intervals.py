"""How far the mean of a sample may be off: standard errors and 95 % intervals of weighted rows."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .._utils.arrays import Floats
from ..traces.trace import row_shares, weighted_mean

NORMAL_95 = 1.959963984540054
NODES = 32
NEWTON_STEPS = 50
ROUNDING = 1e-14


def effective_size(n: int, weight: Floats | None) -> float:
    """(Σ w)² / Σ w²: how many rows that count alike say as much as n rows that count `weight` (n,)."""
    if weight is None:
        return float(n)
    share = row_shares(weight)
    return float(share.sum() ** 2 / np.square(share).sum())


def standard_error(values: Floats, weight: Floats | None) -> float:
    """Of the weighted mean of independent (n,) values; infinite for a single one.

    √(Σ w² (x − mean)²) / Σ w, times √(m / (m − 1)) for an effective size m: s / √n where rows count alike.
    """
    share = np.ones(values.size) if weight is None else row_shares(weight)
    size = effective_size(values.size, weight)
    if size <= 1.0:
        return math.inf
    deviation = share * (values - weighted_mean(values, weight))
    return math.sqrt(float(np.square(deviation).sum()) * size / (size - 1.0)) / float(share.sum())


def mean_interval(values: Floats, weight: Floats | None) -> tuple[float, float]:
    """Student's 95 % interval of the mean of (n,) values; infinite below an effective size of 2."""
    size = effective_size(values.size, weight)
    if size < 2.0:
        return -math.inf, math.inf
    mean = float(weighted_mean(values, weight))
    half = student_95(size - 1.0) * standard_error(values, weight)
    return mean - half, mean + half


def two_valued_interval(values: Floats, weight: Floats | None, largest: float) -> tuple[float, float]:
    """Wilson's 95 % interval of the mean of (n,) values that are 0 or `largest` > 0 (Wilson 1927).

    It neither shrinks to a point where all values are the same nor leaves [0, `largest`].
    """
    mean = float(weighted_mean(values, weight))
    share = min(mean / largest, 1.0)
    size, square = effective_size(values.size, weight), NORMAL_95**2
    centre = size * share + 0.5 * square
    half = NORMAL_95 * math.sqrt(size * share * (1.0 - share) + 0.25 * square)
    low, high = (largest * end / (size + square) for end in (centre - half, centre + half))
    # Rounding must not exclude the mean itself.
    return min(max(low, 0.0), mean), max(min(high, largest), mean)


@lru_cache(maxsize=1024)
def student_95(freedom: float) -> float:
    """t with P(|T| ≤ t) = 0.95 for Student's T with `freedom` ≥ 1 degrees, a whole number or not.

    With t = √ν · tan θ, P = 2 / B(½, ν/2) · ∫ cos^(ν−1) from 0 to θ, which is smooth and concave: Gauss-Legendre for
    the integral, and Newton's method, which climbs to the root from the normal quantile without passing it.
    """
    node, node_weight = np.polynomial.legendre.leggauss(NODES)
    scale = 2.0 / math.sqrt(math.pi) * math.exp(math.lgamma(0.5 * (freedom + 1.0)) - math.lgamma(0.5 * freedom))
    angle = math.atan(NORMAL_95 / math.sqrt(freedom))
    for _ in range(NEWTON_STEPS):
        height = np.cos(0.5 * angle * (node + 1.0)) ** (freedom - 1.0)
        missing = 0.95 - scale * 0.5 * angle * float(node_weight @ height)
        if missing <= ROUNDING:
            break
        angle += missing / (scale * math.cos(angle) ** (freedom - 1.0))
    return math.sqrt(freedom) * math.tan(angle)
