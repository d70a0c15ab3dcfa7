"""Ranges of what requests cost, in the description of a policy."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any


def cost_ranges(rule: dict[str, Any]) -> list[tuple[float, float]]:
    """From where to where each range of a rule goes, over the cost of the average request; the last one has no end."""
    edges = [0.0, *map(float, rule["from"]), math.inf]
    return list(pairwise(edges))
