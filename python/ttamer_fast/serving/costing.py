"""What the stages of a request cost over what they cost the average one, told before it begins."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .._core import ValidationError
from .._utils.arrays import Floats
from .._utils.warnings import ServingWarning
from .failures import reason_of
from .inputs import each_row, take_rows

__all__ = ["AVERAGE", "Costing"]

AVERAGE = 1.0
"""The cost of a request of which nothing is known."""


class Costing:
    """Asks for the cost of requests.

    Parameters
    ----------
    cost : callable
        From an input to a number, finite and at least 0.

    Raises
    ------
    ValidationError
        If it cannot be called.

    Notes
    -----
    What it raises, and what is no such number, reaches no request: the request counts as an average one, and that is
    warned of once.
    """

    __slots__ = ("_has_warned", "cost")

    def __init__(self, cost: Callable[[Any], Any]) -> None:
        if not callable(cost):
            raise ValidationError(f"`cost` must be a callable or None, got {type(cost).__name__}")
        self.cost = cost
        self._has_warned = False

    def of(self, x: Any) -> float:
        """Of one input."""
        try:
            found = float(self.cost(x))
        except Exception as error:
            return self._average(f"raised {reason_of(error)}")
        if not 0.0 <= found < math.inf:
            return self._average(f"gave {found}, which is not finite and at least 0")
        return found

    def of_each(self, xs: Any, n: int) -> Floats:
        """Of n inputs (n,)."""
        return np.array([self.of(x) for x in each_row(take_rows(xs, np.arange(n), n))], np.float64)

    def _average(self, problem: str) -> float:
        if not self._has_warned:
            self._has_warned = True
            text = f"`cost` {problem}: such requests count as average ones; this is said once"
            warnings.warn(text, ServingWarning, stacklevel=2)
        return AVERAGE
