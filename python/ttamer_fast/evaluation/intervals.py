"""95 % intervals of the mean of a sample."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .._core import Estimate

NORMAL_95 = 1.959963984540054
NODES = 32
NEWTON_STEPS = 50
ROUNDING = 1e-14


def mean_interval(found: Estimate) -> tuple[float, float]:
    """Student's 95 % interval of a mean, in its unit; infinite below an effective size of 2."""
    if found.size < 2.0:
        return -math.inf, math.inf
    half = student_95(found.size - 1.0) * found.standard_error
    return found.mean - half, found.mean + half


def two_valued_interval(found: Estimate, largest: float) -> tuple[float, float]:
    """Wilson's 95 % interval of the mean of values that are 0 or `largest` > 0, in their unit (Wilson 1927).

    It neither shrinks to a point where all values are the same nor leaves [0, `largest`].
    """
    mean, size = found.mean, found.size
    share, square = min(mean / largest, 1.0), NORMAL_95**2
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
