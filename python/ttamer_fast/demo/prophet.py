"""Without recall nothing can be promised: the instance of T-Tamer's Theorem 3.4 (arXiv 2509.22992)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .._core import Model, solve

__all__ = ["ProphetRatio", "prophet_ratios"]


@dataclass(frozen=True)
class ProphetRatio:
    """Expected losses of the best policies, over what a prophet pays who sees both losses beforehand."""

    alpha: float
    prophet: float
    without_recall: float
    with_recall: float


def prophet_ratios(alphas: Iterable[float] = (2.0, 4.0, 16.0, 64.0, 256.0, 1024.0)) -> list[ProphetRatio]:
    """Solve the instance for each α: the ratio without recall is α, with recall it is 1.

    Stage 0 loses 1/α² for certain, stage 1 loses 0 with probability 1 − 1/α and 1/α otherwise; both are free.

    Examples
    --------
    >>> [ratio] = prophet_ratios([8.0])
    >>> round(ratio.without_recall, 9), round(ratio.with_recall, 9)
    (8.0, 1.0)
    """
    ratios = []
    for alpha in alphas:
        model = Model.line(
            loss=[[alpha**-2], [0.0, 1.0 / alpha]],
            cost=[0.0, 0.0],
            transition=[[[1.0]], [[1.0 - 1.0 / alpha, 1.0 / alpha]]],
        )
        prophet = alpha**-3
        ratios.append(
            ProphetRatio(
                alpha=alpha,
                prophet=prophet,
                without_recall=solve(model, recall=False).value / prophet,
                with_recall=solve(model, recall=True).value / prophet,
            )
        )
    return ratios
