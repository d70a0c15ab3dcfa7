"""The tail of a count of lost requests."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["least_chance", "tail"]

BISECTIONS = 50


def tail(count: int, n: int, chance: float) -> float:
    """P(Binomial(n, chance) <= count), chance in (0, 1); O(count)."""
    if count >= n:
        return 1.0
    top = math.lgamma(n + 1) - math.lgamma(count + 1) - math.lgamma(n - count + 1)
    top += count * math.log(chance) + (n - count) * math.log1p(-chance)
    j = np.arange(count, 0, -1, dtype=np.float64)
    # Each term from the one above it.
    below = np.cumsum(np.log(j / (n - j + 1.0)) + math.log1p(-chance) - math.log(chance))
    largest = max(0.0, float(below.max(initial=0.0)))
    total = math.exp(-largest) + float(np.exp(below - largest).sum())
    return min(1.0, math.exp(min(0.0, top + largest + math.log(total))))


def least_chance(count: int, n: int, error: float) -> float:
    """The smallest chance with a tail of at most `error`."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if tail(count, n, middle) <= error else (middle, high)
    return high
