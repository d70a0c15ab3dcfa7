"""Intervals of the mean of a sample, and standard errors of cross-validation."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from .._core import Estimate

USUAL, NORMAL_USUAL = 0.95, 1.959963984540054
"""Level of an interval, and its normal quantile, the nearest float."""
NODES = 32
NEWTON_STEPS = 50
ROUNDING = 1e-14


def mean_interval(
    found: Estimate,
    low: float,
    high: float,
    two_valued: bool = False,
    *,
    heaviest: bool = False,
    level: float = USUAL,
) -> tuple[float, float]:
    """Interval of the mean of values in [`low`, `high`], in their unit: Wilson's, made for any values.

    An end is where the mean found is as many standard errors away as the quantile says, and the standard error is that
    of values of which some have moved to `low` or `high`, so many that they have the mean of that end. Thus a value
    that is possible, but too rare to be in the sample, widens the interval.

    Parameters
    ----------
    found : Estimate
        Mean, standard error and effective size m of the sample.
    low, high : float
        Least and largest value that a request can have, in the unit of the values.
    two_valued : bool
        Whether all values are `low` or `high` and all requests are independent. Then the quantile is that of the normal
        distribution, and the interval is that of Wilson (1927). Otherwise it is Student's with m − 1 degrees of
        freedom.
    heaviest : bool
        Whether the values that have moved are taken to be the heaviest: m is then the weight of all over that of the
        heaviest, the degrees of freedom are at least 1, and `two_valued` plays no part.
    level : float
        Probability, above 0 and below 1, with which the interval is to hold the mean.

    Returns
    -------
    (float, float)
        Infinite for m < 2, unless `two_valued`.
    """
    size = found.size
    if size < 2.0 and not two_valued:
        return -math.inf, math.inf
    variance = found.standard_error**2 if size > 1.0 else 0.0
    if heaviest:
        size = found.heavy
        quantile = student_quantile(max(size - 1.0, 1.0), level)
    elif two_valued:
        quantile = _normal(level)
        variance *= 1.0 - 1.0 / size
    else:
        quantile = student_quantile(size - 1.0, level)
    below = _reach(found.mean - low, variance, size, quantile)
    above = _reach(high - found.mean, variance, size, quantile)
    return found.mean - below, found.mean + above


def _reach(room: float, variance: float, size: float, quantile: float) -> float:
    """How far from the mean the end on one side is, with so much `room` between the mean and the edge.

    With a share ε = d / room of the weight moved to the edge the mean has moved by d, and its variance is
    V(d) = v · (1 − ε) + (d · room − d²) / m. The end solves d² = quantile² · V(d).
    """
    if room <= 0.0:
        return 0.0
    square = quantile * quantile
    lead, half = 1.0 + square / size, 0.5 * square * (room / size - variance / room)
    root = math.sqrt(half * half + lead * square * variance)
    reach = (half + root) / lead if half >= 0.0 else square * variance / (root - half)
    return min(reach, room)


def share_interval(found: Estimate, independent: bool, *, heaviest: bool = False) -> tuple[float, float]:
    """95 % interval of a share of the requests, in [0, 1]: Wilson's where all requests are `independent`."""
    low, high = mean_interval(found, 0.0, 1.0, two_valued=independent, heaviest=heaviest)
    return max(low, 0.0), min(high, 1.0)


def cross_validated_error(found: Estimate, folds: int) -> float:
    """Standard error of a mean over all rows of a cross-validation, in the unit of the values.

    The rules of two folds are learned from mostly the same rows, so that the means of folds are not independent. The
    variance is taken 1 + k / (k − 1) times that of independent rows for k folds (Nadeau and Bengio 2003: 1 / k + rows
    held back / rows learned from, in place of 1 / k).
    """
    return found.standard_error * math.sqrt(1.0 + folds / (folds - 1.0))


@lru_cache(maxsize=1024)
def student_quantile(freedom: float, level: float = USUAL) -> float:
    """t with P(|T| ≤ t) = `level` for Student's T with `freedom` ≥ 1 degrees, a whole number or not.

    With t = √ν · tan θ, P = 2 / B(½, ν/2) · ∫ cos^(ν−1) from 0 to θ, which is smooth and concave: Gauss-Legendre for
    the integral, and Newton's method, which climbs to the root from the normal quantile without passing it.
    """
    node, node_weight = np.polynomial.legendre.leggauss(NODES)
    scale = 2.0 / math.sqrt(math.pi) * math.exp(math.lgamma(0.5 * (freedom + 1.0)) - math.lgamma(0.5 * freedom))
    angle = math.atan(_normal(level) / math.sqrt(freedom))
    for _ in range(NEWTON_STEPS):
        height = np.cos(0.5 * angle * (node + 1.0)) ** (freedom - 1.0)
        missing = level - scale * 0.5 * angle * float(node_weight @ height)
        if missing <= ROUNDING:
            break
        angle += missing / (scale * math.cos(angle) ** (freedom - 1.0))
    return math.sqrt(freedom) * math.tan(angle)


def _normal(level: float) -> float:
    """z with P(|Z| ≤ z) = `level` for a normal Z."""
    return NORMAL_USUAL if level == USUAL else NormalDist().inv_cdf(0.5 + 0.5 * level)
