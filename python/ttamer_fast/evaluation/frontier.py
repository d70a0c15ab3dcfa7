"""The loss-cost frontier of every rule, cross-validated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import numpy as np

from .._core import Outcome, ValidationError
from .._utils.rule_names import FIT, LAST
from ..fitting.doubts import warn_of_trace
from ..plotting.frontier import plot_frontier
from ..traces import outcome
from ..traces.trace import Trace
from . import cross_validation as cv
from .judged import Judge, against_teacher

__all__ = ["Frontier", "FrontierPoint", "frontier"]

TRADEOFFS = (0.3, 0.5, 0.7, 0.8, 0.87, 0.92, 0.95, 0.97, 0.985, 0.995)


@dataclass(frozen=True)
class FrontierPoint:
    """Out-of-sample means of one rule tuned for one trade-off.

    Attributes
    ----------
    tradeoff : float or None
        λ in [0, 1]; None for a stage alone.
    loss, cost : float
        Means per request, in the trace's units of loss and cost.
    loss_ci, cost_ci : (float, float)
        Their 95 % intervals, made as those of :class:`Evaluation`. Two rules of one frontier are judged on the same
        requests: :func:`compare` says whether they differ.
    late_share, coverage : float
        Shares of the requests, 0 to 1, that a deadline cut off, and that ended with an answer.
    """

    tradeoff: float | None
    loss: float
    cost: float
    loss_ci: tuple[float, float]
    cost_ci: tuple[float, float]
    late_share: float
    coverage: float


@dataclass(frozen=True)
class Frontier:
    """Mean loss against mean cost per request, in the trace's units.

    Attributes
    ----------
    n, folds : int
        Requests, and parts of the cross-validation.
    points : dict of str to tuple of FrontierPoint
        Of every rule, by name, in ascending order of the trade-off.
    stages : tuple of m str
        Names of the stages that can answer.
    stage_points : tuple of m FrontierPoint
        Of always answering with one of them.
    deadline : float or None
        Seconds that each request had; None: as many as it took.
    teacher : str or None
        Whose answers losses are held against, where it is not the truth.
    """

    n: int
    folds: int
    points: dict[str, tuple[FrontierPoint, ...]]
    stages: tuple[str, ...]
    stage_points: tuple[FrontierPoint, ...]
    deadline: float | None
    teacher: str | None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        return asdict(self)

    def plot(
        self,
        path: str | PathLike[str],
        *,
        chosen: float | None = None,
        loss_unit: str = "unit of the trace",
        cost_unit: str = "unit of the trace",
    ) -> None:
        """Draw loss against cost of every rule into a .png, .svg or .pdf file.

        Parameters
        ----------
        path : path-like
            The file.
        chosen : float, optional
            One of the trade-offs: the fit with it is ringed.
        loss_unit, cost_unit : str
            What the axes say: "share of wrong answers", "ms".

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        OSError
            If the system refuses the file.
        ValidationError
            If `chosen` is none of the trade-offs, or the path has another ending.
        """
        tradeoffs = [point.tradeoff for point in self.points[FIT]]
        if chosen is not None and chosen not in tradeoffs:
            raise ValidationError(f"`chosen` must be one of the trade-offs, {tradeoffs}, got {chosen!r}")
        plot_frontier(
            self.points,
            dict(zip(self.stages, self.stage_points, strict=True)),
            f"Loss against cost{self._within}{self._against}, "
            f"{self.folds}-fold cross-validation on {self.n:,} requests",
            path,
            chosen=chosen,
            loss_unit=loss_unit,
            cost_unit=cost_unit,
        )

    def __str__(self) -> str:
        tradeoffs = [point.tradeoff for point in next(iter(self.points.values()))]
        width = max(map(len, self.points))
        lines = [
            f"{self.n} requests{self._within}, {self.folds}-fold cross-validation; mean loss @ mean cost",
            f"{'tradeoff':<{width}}" + "".join(f"  {t:>17g}" for t in tradeoffs),
        ]
        for name, points in self.points.items():
            lines.append(f"{name:<{width}}" + "".join(f"  {p.loss:7.4f} @ {p.cost:7.4g}" for p in points))
        if self.teacher is not None:
            lines.append(against_teacher(self.teacher))
        return "\n".join(lines)

    @property
    def _against(self) -> str:
        return "" if self.teacher is None else f", loss against {self.teacher}"

    @property
    def _within(self) -> str:
        return "" if self.deadline is None else f", deadline {self.deadline:g} s"


def frontier(
    trace: Trace,
    folds: int = 5,
    seed: int = 0,
    tradeoffs: Sequence[float] = TRADEOFFS,
    progress: cv.Progress | None = None,
    *,
    default_loss: float = math.inf,
    deadline: float = math.inf,
) -> Frontier:
    """Mean loss against mean cost of every rule over a range of trade-offs.

    Parameters
    ----------
    trace : Trace
        Calibration requests. Of a censored trace, all are learned from, and those that were run through every stage are
        judged on, by `propensity`.
    folds : int
        From 2 to n.
    seed : int
        Of the assignment of rows to folds.
    tradeoffs : sequence of float
        λ in [0, 1], each.
    progress : callable, optional
        Called with the share done, in [0, 1].
    default_loss : float
        Loss of answering with nothing, at least 0, as in :func:`fit`: every rule may then do so.
    deadline : float
        Seconds >= 0 that each request has, as in :func:`evaluate`; infinite: as many as it takes.

    Returns
    -------
    Frontier
        Every baseline and the fit with and without recall, and each stage alone; means are weighted as the trace is.
        Under a deadline, also the fits that know no time, as in :func:`compare`.

    Raises
    ------
    ValidationError
        If a trade-off, `folds`, `default_loss` or `deadline` is out of range, all weights of a fold are 0, `deadline`
        is finite and the trace lacks a latency, or the trace is censored and has no propensity.

    Warns
    -----
    CalibrationWarning
        If the trace says little, as in `fit`: once.
    EvaluationWarning
        If losses or costs have a heavy tail.

    Notes
    -----
    Each fold calibrates once: all trade-offs, with recall and without, share calibration and beliefs, so that a further
    trade-off costs its decisions alone. The baselines are tuned anew for every trade-off.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((500, 3))
    >>> trace = tt.Trace(signal, rng.random((500, 3)) > signal, cost=[1.0, 2.0, 4.0])
    >>> result = tt.frontier(trace, folds=2, tradeoffs=[0.5, 0.9])
    >>> [point.tradeoff for point in result.points["fit"]]
    [0.5, 0.9]
    """
    terms = outcome.terms_of(trace, default_loss, deadline)
    warn_of_trace(trace)
    redundant = (LAST, "static")
    through = trace.run_through()
    judge = Judge(through, terms.default_loss)
    chosen = {name: rule for name, rule in cv.rules(trace, terms).items() if name not in redundant}
    ordered = sorted(tradeoffs)
    results = cv.cross_validate(trace, chosen, ordered, folds, seed, progress, terms)
    points = {
        name: tuple(_point(tradeoff, result[name], judge) for tradeoff, result in zip(ordered, results, strict=True))
        for name in chosen
    }
    for result in results[-1:]:
        judge.warn_of_heavy_tails(result[FIT])
    answering = trace.core.answering
    return Frontier(
        n=through.n,
        folds=int(folds),
        points=points,
        stages=tuple(trace.stages[i] for i in answering),
        stage_points=tuple(_point(None, outcome.always(through, i, terms), judge) for i in answering),
        deadline=terms.deadline,
        teacher=trace.teacher,
    )


def _point(tradeoff: float | None, found: Outcome, judge: Judge) -> FrontierPoint:
    return FrontierPoint(
        tradeoff=tradeoff,
        loss=judge.mean(found.loss).mean,
        cost=judge.mean(found.cost).mean,
        loss_ci=judge.loss_interval(found),
        cost_ci=judge.cost_interval(found, tradeoff is None),
        late_share=judge.mean(found.late.astype(np.float64)).mean,
        coverage=judge.mean((found.answer >= 0).astype(np.float64)).mean,
    )
