"""Is a cascade worth it, and is recall worth it: every rule side by side, cross-validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .._core import Outcome, ValidationError, estimate
from .._utils.arrays import Floats
from .._utils.extras import require
from .._utils.rule_names import CLAIRVOYANT, FIT, FIT_NO_RECALL
from ..fitting.doubts import warn_of_trace
from ..traces import outcome
from ..traces.trace import Trace
from . import cross_validation as cv

__all__ = ["Compared", "Comparison", "compare"]

CLEAR = 2.0
"""Standard errors from which a difference is called clear."""


@dataclass(frozen=True)
class Compared:
    """One rule: out-of-sample means, and its objective minus that of the reference, request by request.

    Attributes
    ----------
    name : str
        Of the rule.
    loss, cost : float
        Means per request, in the trace's units of loss and cost.
    objective : float
        Mean of λ · loss + (1 − λ) · cost / cost of running every stage.
    difference, difference_se : float
        Mean difference of the objective to the reference, and its standard error.
    """

    name: str
    loss: float
    cost: float
    objective: float
    difference: float
    difference_se: float


@dataclass(frozen=True)
class Comparison:
    """Every rule on one trace at one trade-off; prints as a table with a verdict.

    Attributes
    ----------
    n, folds : int
        Requests, and parts of the cross-validation.
    tradeoff : float
        λ of the objective.
    reference : str
        The rule that differences are to.
    rows : tuple of Compared
        One for each rule; ``comparison[name]`` finds one.
    verdict : tuple of str
        Whether a cascade and recall are worth it, in words.
    """

    n: int
    folds: int
    tradeoff: float
    reference: str
    rows: tuple[Compared, ...]
    verdict: tuple[str, ...]

    def __getitem__(self, name: str) -> Compared:
        """The row of one rule."""
        return next(row for row in self.rows if row.name == name)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        return asdict(self)

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame, one rule a row.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return require("pandas", "pandas").DataFrame([asdict(row) for row in self.rows]).set_index("name")

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [
            f"{self.n} requests, tradeoff {self.tradeoff:g}, {self.folds}-fold cross-validation; "
            f"differences to {self.reference}, ± standard error, all in thousandths",
            f"{'rule':<{width}}  {'loss':>8}  {'cost':>10}  {'objective':>9}  difference",
        ]
        for row in self.rows:
            paired = f"{1e3 * row.difference:+9.1f} ± {1e3 * row.difference_se:.1f}"
            lines.append(
                f"{row.name:<{width}}  {1e3 * row.loss:8.1f}  {row.cost:10.5g}  {1e3 * row.objective:9.1f}  "
                + ("" if row.name == self.reference else paired)
            )
        return "\n".join([line.rstrip() for line in lines] + list(self.verdict))


def compare(
    trace: Trace,
    tradeoff: float = 0.95,
    folds: int = 5,
    seed: int = 0,
    reference: str | None = None,
    progress: cv.Progress | None = None,
) -> Comparison:
    """Tune every rule on k − 1 folds, judge it on the other, and compare request by request.

    Parameters
    ----------
    trace : Trace
        Calibration requests.
    tradeoff : float
        λ in [0, 1] of the objective λ · loss + (1 − λ) · cost / cost of running every stage.
    folds : int
        From 2 to n.
    seed : int
        Of the assignment of rows to folds.
    reference : str, optional
        The rule that differences are to; default: the best of the rules that are neither fits nor the bound.
    progress : callable, optional
        Called with the share done, in [0, 1], after each fit.

    Returns
    -------
    Comparison
        Rules: always the last stage; every baseline (`static` is the best single exit or model); the fit without
        recall; the default fit; the clairvoyant bound, which no rule can reach. Means and standard errors are weighted
        as the trace is.

    Raises
    ------
    ValidationError
        If `tradeoff` or `folds` is out of range, all weights of a fold are 0, or `reference` is not one of the rules.

    Warns
    -----
    CalibrationWarning
        If the trace says little, as in `fit`: once.

    Notes
    -----
    Standard errors take the requests as independent and the tuned rules as given. The two fits of a fold share
    calibration and beliefs.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((500, 3))
    >>> trace = tt.Trace(signal, rng.random((500, 3)) > signal, cost=[1.0, 2.0, 4.0])
    >>> result = tt.compare(trace, tradeoff=0.9, folds=2)
    >>> result["clairvoyant"].objective <= result["fit"].objective
    True
    """
    rules = cv.rules(trace)
    if reference is not None and reference not in rules:
        raise ValidationError(f"`reference` must be one of {', '.join(rules)}, got {reference}")
    warn_of_trace(trace)
    (outcomes,) = cv.cross_validate(trace, rules, [tradeoff], folds, seed, progress)
    return compared(trace, float(tradeoff), folds, outcomes, reference)


def compared(
    trace: Trace, tradeoff: float, folds: int, outcomes: Mapping[str, Outcome], reference: str | None = None
) -> Comparison:
    """The comparison of cross-validated outcomes; `reference` as in :func:`compare`."""
    weight = trace.weight
    objective = {name: outcome.objective(found, tradeoff, trace) for name, found in outcomes.items()}
    mean = {name: estimate(values, weight).mean for name, values in objective.items()}
    if reference is None:
        simple = [name for name in objective if name not in (*cv.FITS, CLAIRVOYANT)]
        reference = min(simple, key=mean.__getitem__)
    rows = []
    for name, found in outcomes.items():
        paired = estimate(objective[name] - objective[reference], weight)
        rows.append(
            Compared(
                name=name,
                loss=estimate(found.loss, weight).mean,
                cost=estimate(found.cost, weight).mean,
                objective=mean[name],
                difference=paired.mean,
                difference_se=paired.standard_error,
            )
        )
    alone = min(cv.WITHOUT_CASCADE, key=mean.__getitem__)
    verdict = (
        _sentence("a cascade", objective[FIT], objective[alone], weight, f"the best without one ({alone})"),
        _sentence("recall", objective[FIT], objective[FIT_NO_RECALL], weight, "the fit without it"),
    )
    return Comparison(trace.n, folds, tradeoff, reference, tuple(rows), verdict)


def _sentence(what: str, with_it: Floats, without: Floats, weight: Floats | None, reference: str) -> str:
    paired = estimate(with_it - without, weight)
    mean, error, base = paired.mean, paired.standard_error, estimate(without, weight).mean
    relative = f"{mean / base:+.1%} ± {error / base:.1%}" if base > 0.0 else f"{mean:+.4g} ± {error:.2g}"
    if mean < -CLEAR * error:
        judgement = "is worth it here"
    elif mean > CLEAR * error:
        judgement = "is not worth it here"
    else:
        judgement = "makes no clear difference here"
    return f"{what} {judgement}: objective {relative} against {reference}"
