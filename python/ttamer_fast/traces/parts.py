"""Parts of a trace at random; rows that belong together never stand on both sides."""

from __future__ import annotations

import numpy as np

from .._core import ValidationError
from .._utils.arrays import Bools, Ints
from .._utils.checks import check_integer, check_seed, shown

__all__ = ["parts_of_rows", "rows_of_test"]


def rows_of_test(n: int, units: Ints | None, share: float, seed: int) -> Bools:
    """(n,) whether each row is in the test part, which has about this share of the rows; neither part is empty."""
    count, unit = _numbered(n, units)
    if count < 2:
        raise ValidationError(f"a trace of one {'row' if units is None else 'group'} cannot be split")
    rows = round(n * share)
    order = np.random.default_rng(seed).permutation(count)
    taken = rows if unit is None else 1 + int(np.abs(np.bincount(unit)[order].cumsum() - rows).argmin())
    in_test = np.zeros(count, bool)
    in_test[order[: min(max(taken, 1), count - 1)]] = True
    return in_test if unit is None else in_test[unit]


def parts_of_rows(n: int, units: Ints | None, folds: int, seed: int) -> Ints:
    """(n,) number of the part that each row is in, below `folds`."""
    count, unit = _numbered(n, units)
    try:
        parts = check_integer("folds", folds, 2, count)
    except ValidationError:
        what = "rows" if units is None else "groups"
        raise ValidationError(f"`folds` must be an integer from 2 to the {count} {what}, got {shown(folds)}") from None
    part: Ints = np.random.default_rng(check_seed(seed)).permutation(count) % parts
    return part if unit is None else part[unit]


def _numbered(n: int, units: Ints | None) -> tuple[int, Ints | None]:
    """How many rows or units there are, and with units the number (n,) of that of each row."""
    if units is None:
        return n, None
    distinct, unit = np.unique(units, return_inverse=True)
    return len(distinct), unit
