"""Whether rows stand in a random order, as a drift monitor has to take for granted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._core import ValidationError, prediction_codes
from .._utils.arrays import Bools, Floats, Ints, Predictions, float_array, int_array
from .._utils.columns import by_name
from .._utils.warnings import TTamerWarning

__all__ = ["OrderFinding", "OrderWarning", "order_findings", "warn_of_order"]

FEWEST = 64
"""Rows below which an order cannot be told from chance."""
MOST, WINDOWS = 4096, 16
"""Of longer files, so many rows are looked at: windows of neighbours, evenly spread."""
CLEAR = 6.0
"""Standard errors from which on a finding is not chance: about one in 10**9 for each column."""
BLOCKS = 20
"""Equal parts along the file whose means are compared."""
LEAST = {"neighbours": 0.05, "classes": 0.02, "repeats": 0.002, "trend": 0.01}
"""Effects that matter: correlation, share of pairs, share of rows, share of the variance."""
WORDS = {
    "neighbours": "neighbouring rows have alike signals of stage {stage}, correlation {effect:.2f}",
    "classes": "{effect:.0%} more neighbouring rows than by chance have the same prediction of stage {stage}",
    "trend": "the signal of stage {stage} changes along the rows, which explains {effect:.0%} of its variance",
}
ADVICE = {
    "neighbours": "the file is sorted, or sessions stand together: shuffle the reference, keep one request per session",
    "classes": "the file is sorted by class, or sessions stand together: shuffle the reference, do not sort the stream",
    "repeats": "retries or copies: keep one of each",
    "trend": "a trend or a cycle: take the reference from the same hours or days as the requests that are watched",
    "group": "requests of a group are alike: keep one per group",
}


class OrderWarning(TTamerWarning):
    """Rows that a drift monitor compares are not in a random order: its false-alarm rate does not hold for them."""


@dataclass(frozen=True)
class OrderFinding:
    """One way in which rows are not in a random order."""

    kind: str
    """"neighbours": signals of neighbouring rows are alike; "classes": so are predictions; "repeats": neighbouring rows
    are the same; "trend": a signal changes along the rows; "group": groups have several rows."""
    column: int | None
    """The stage whose signal or prediction shows it most, if it is one."""
    effect: float
    """Correlation of neighbours; share of pairs beyond chance; share of rows beyond chance; share of the variance; mean
    rows of a group."""
    text: str
    """The same in words, and what to do."""


def order_findings(
    signal: ArrayLike,
    prediction: Predictions | None = None,
    group: ArrayLike | None = None,
    *,
    stages: Sequence[str] | None = None,
    is_stream: bool = False,
) -> tuple[OrderFinding, ...]:
    """What speaks against rows standing in a random order.

    Parameters
    ----------
    signal : (n, k) array_like of float
        Rows in the order in question.
    prediction : (n, k) array_like, table, or sequence of n rows of k hashables, optional
        What the stages said.
    group : (n,) array_like of int, optional
        Equal where requests belong together.
    stages : sequence of k str, optional
        Names of the stages, for the texts; default: their numbers.
    is_stream : bool
        Requests as they came in: that a signal changes along the rows is then what a monitor is there to find, and no
        finding.

    Returns
    -------
    tuple of OrderFinding
        Empty where nothing speaks against it, or there are fewer than 64 rows.

    Raises
    ------
    ValidationError
        If `signal` has not two dimensions.

    Notes
    -----
    O(n k log n) up to 4,096 rows; of more, 16 windows of neighbours are looked at. Signals are compared by rank. Each
    finding is 6 standard errors from chance, and large enough to matter.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> signal = np.random.default_rng(0).random((1000, 2))
    >>> tt.order_findings(signal)
    ()
    >>> [finding.kind for finding in tt.order_findings(signal[signal[:, 0].argsort()])]
    ['neighbours', 'trend']
    """
    rows = float_array("signal", by_name("signal", signal, stages))
    if rows.ndim != 2:
        raise ValidationError(f"`signal` must have shape (n, k), got {rows.shape}")
    if len(rows) < FEWEST:
        return ()
    said = None if prediction is None else prediction_codes(by_name("prediction", prediction, stages))
    if len(rows) > MOST:
        looked_at = _windows(len(rows))
        rows, said = rows[looked_at], None if said is None else said[looked_at]
    names = [str(stage) for stage in range(rows.shape[1])] if stages is None else [repr(name) for name in stages]
    ranks = _ranks(rows)
    found = [_strongest("neighbours", ranks, names)]
    if said is not None:
        found.append(_strongest("classes", said, names))
    found.append(_repeats(rows, said))
    if not is_stream:
        found.append(_strongest("trend", ranks, names))
        found.append(None if group is None else _groups(int_array("group", group)))
    return tuple(one for one in found if one is not None)


def warn_of_order(
    name: str,
    signal: ArrayLike,
    prediction: Predictions | None,
    group: ArrayLike | None,
    stages: Sequence[str],
    *,
    is_stream: bool = False,
) -> None:
    """An OrderWarning to the caller of the caller, if there are findings."""
    found = order_findings(signal, prediction, group, stages=stages, is_stream=is_stream)
    if found:
        more = f" (and {len(found) - 1} more: order_findings)" if len(found) > 1 else ""
        warnings.warn(f"rows of `{name}` are not in a random order: {found[0].text}{more}", OrderWarning, stacklevel=3)


def _ranks(signal: Floats) -> Floats:
    """(n, k) ranks of each column about their mean, equal values with the mean of theirs; NaN is lowest."""
    values = np.where(np.isnan(signal), -np.inf, signal)
    ranks = np.empty_like(values)
    for column in range(values.shape[1]):
        _, number, count = np.unique(values[:, column], return_inverse=True, return_counts=True)
        ranks[:, column] = (np.cumsum(count) - (count + 1) / 2.0)[number]
    centred: Floats = ranks - ranks.mean(axis=0)
    return centred


def _strongest(kind: str, columns: Floats | Ints, names: list[str]) -> OrderFinding | None:
    """The finding of the column that shows it most."""
    scores = [MEASURES[kind](columns[:, column]) for column in range(columns.shape[1])]
    column = max(range(len(scores)), key=lambda at: scores[at][0])
    z, effect = scores[column]
    if z < CLEAR or effect < LEAST[kind]:
        return None
    text = WORDS[kind].format(stage=names[column], effect=effect)
    return OrderFinding(kind, column, effect, f"{text}: {ADVICE[kind]}")


def _windows(n: int) -> Ints:
    """(MOST,) numbers of rows: windows of neighbours, evenly spread over n rows."""
    length = MOST // WINDOWS
    starts = np.arange(WINDOWS) * (n - length) // (WINDOWS - 1)
    rows: Ints = (starts[:, None] + np.arange(length)).ravel()
    return rows


def _parts(n: int) -> Ints:
    """(n,) which of the equal parts each row is in."""
    return np.arange(n) * min(BLOCKS, n // 16) // n


def _correlation(rank: Floats) -> tuple[float, float]:
    """Standard errors from 0, and correlation, of neighbours within parts, so that a trend plays no part."""
    part = _parts(len(rank))
    size = np.bincount(part)
    rest = rank - (np.bincount(part, rank) / size)[part]
    variance = float(rest.var())
    if variance <= 0.0:
        return 0.0, 0.0
    inside = part[1:] == part[:-1]
    pairs = int(inside.sum())
    # Values about the mean of their part have the correlation -1 / size by chance.
    correlation = float((rest[1:] * rest[:-1])[inside].mean()) / variance + 1.0 / float(size.mean())
    return correlation * math.sqrt(pairs), correlation


def _agreement(said: Ints) -> tuple[float, float]:
    """Standard errors from chance, and share of neighbours beyond chance, that agree."""
    _, count = np.unique(said, return_counts=True)
    share = count / len(said)
    chance, triple = float((share**2).sum()), float((share**3).sum())
    variance = max(chance - chance**2 + 2.0 * (triple - chance**2), 1.0 / len(said)) / (len(said) - 1)
    beyond = float((said[1:] == said[:-1]).mean()) - chance
    return beyond / float(np.sqrt(variance)), beyond


def _trend(rank: Floats) -> tuple[float, float]:
    """Standard errors from chance, and share of the variance, of the means of the parts."""
    part = _parts(len(rank))
    variance = float(rank.var())
    if variance <= 0.0:
        return 0.0, 0.0
    size = np.bincount(part)
    total = float(((np.bincount(part, rank) / size) ** 2 * size).sum()) / variance
    free = len(size) - 1
    # The cube root of a chi-squared over its mean is nearly normal (Wilson and Hilferty 1931).
    spread = 2.0 / (9.0 * free)
    return (float(np.cbrt(total / free)) - (1.0 - spread)) / float(np.sqrt(spread)), total / len(rank)


MEASURES: dict[str, Callable[[Any], tuple[float, float]]] = {
    "neighbours": _correlation,
    "classes": _agreement,
    "trend": _trend,
}
"""Standard errors from chance, and effect, of a column."""


def _repeats(signal: Floats, said: Ints | None) -> OrderFinding | None:
    """Neighbouring rows that are the same, beyond what equal rows anywhere explain."""
    columns = np.where(np.isnan(signal), -np.inf, signal)
    same: Bools = (columns[1:] == columns[:-1]).all(axis=1)
    if said is not None:
        same &= (said[1:] == said[:-1]).all(axis=1)
    if not same.any():
        return None
    whole = columns if said is None else np.concatenate([columns, said], axis=1)
    _, count = np.unique(whole, axis=0, return_counts=True)
    n = len(signal)
    chance = float((count * (count - 1.0)).sum()) / n
    beyond = float(same.sum()) - chance
    if beyond < CLEAR * np.sqrt(chance + 1.0) or beyond / n < LEAST["repeats"]:
        return None
    return OrderFinding(
        "repeats", None, beyond / n, f"{same.sum()} rows are the same as the row before: {ADVICE['repeats']}"
    )


def _groups(group: Ints) -> OrderFinding | None:
    n, groups = len(group), len(np.unique(group))
    if groups == n:
        return None
    return OrderFinding("group", None, n / groups, f"{n} rows are of {groups} groups: {ADVICE['group']}")
