"""Is a cascade worth it, and is recall worth it: every rule side by side, cross-validated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .._core import Outcome, ValidationError
from .._utils.arrays import Floats, Ints
from .._utils.extras import require
from .._utils.rule_names import CLAIRVOYANT, FIT, FIT_NO_RECALL
from ..fitting.doubts import warn_of_trace
from ..traces import outcome
from ..traces.outcome import NO_TERMS, Terms
from ..traces.trace import Trace
from . import cross_validation as cv
from .intervals import cross_validated_error
from .judged import Judge, against_teacher

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
    coverage : float
        Share of the requests, 0 to 1, that got an answer.
    objective : float
        Mean of λ · loss + (1 − λ) · cost / cost of running every stage.
    difference, difference_se : float
        Mean difference of the objective to the reference, and its standard error, which counts the chance in the rows
        that rules are judged on, that in the rows they are tuned on, and the choice of the reference.
    late_share : float
        Share of the requests, 0 to 1, that a deadline cut off.
    """

    name: str
    loss: float
    cost: float
    coverage: float
    objective: float
    difference: float
    difference_se: float
    late_share: float


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
    hindsight : float
        By how much the objective of the reference is estimated to be too low because it was chosen for it; 0 where the
        caller chose it. Part of every `difference_se`.
    heavy_tailed : bool
        Whether one more request with the largest loss, or cost, could move a mean as far as all others do: standard
        errors may then be too small.
    rows : tuple of Compared
        One for each rule; ``comparison[name]`` finds one.
    verdict : tuple of str
        Whether a cascade and recall are worth it, in words; under a deadline, whether it is to know the time.
    deadline : float or None
        Seconds that each request had; None: as many as it took.
    teacher : str or None
        Whose answers losses are held against, where it is not the truth.
    """

    n: int
    folds: int
    tradeoff: float
    reference: str
    hindsight: float
    heavy_tailed: bool
    rows: tuple[Compared, ...]
    verdict: tuple[str, ...]
    deadline: float | None
    teacher: str | None

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
        declines = any(row.coverage < 1.0 for row in self.rows)
        is_timed = self.deadline is not None
        within = f", deadline {self.deadline:g} s" if is_timed else ""
        answered = ("answered  " if declines else "") + ("cut off  " if is_timed else "")
        lines = [
            f"{self.n} requests, tradeoff {self.tradeoff:g}{within}, {self.folds}-fold cross-validation; "
            f"differences to {self.reference}, ± standard error, all in thousandths",
            f"{'rule':<{width}}  {'loss':>8}  {'cost':>10}  {answered}{'objective':>9}  difference",
        ]
        for row in self.rows:
            answered = f"{row.coverage:8.1%}  " if declines else ""
            answered += f"{row.late_share:7.1%}  " if is_timed else ""
            paired = f"{1e3 * row.difference:+9.1f} ± {1e3 * row.difference_se:.1f}"
            lines.append(
                f"{row.name:<{width}}  {1e3 * row.loss:8.1f}  {row.cost:10.5g}  {answered}{1e3 * row.objective:9.1f}  "
                + ("" if row.name == self.reference else paired)
            )
        against = [] if self.teacher is None else [against_teacher(self.teacher)]
        return "\n".join([line.rstrip() for line in lines] + list(self.verdict) + against)


def compare(
    trace: Trace,
    tradeoff: float = 0.95,
    folds: int = 5,
    seed: int = 0,
    reference: str | None = None,
    progress: cv.Progress | None = None,
    *,
    default_loss: float = math.inf,
    deadline: float = math.inf,
) -> Comparison:
    """Tune every rule on k − 1 folds, judge it on the other, and compare request by request.

    Parameters
    ----------
    trace : Trace
        Calibration requests. Of a censored trace, all are learned from, and those that were run through every stage are
        judged on, by `propensity`.
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
    default_loss : float
        Loss of answering with nothing, at least 0, as in :func:`fit`: every rule but the last stage may then do so.
    deadline : float
        Seconds >= 0 that each request has, as in :func:`evaluate`; infinite: as many as it takes.

    Returns
    -------
    Comparison
        Rules: always the last stage; every baseline (`static` is the best single exit or model); the fit without
        recall; the default fit; the clairvoyant bound, which no rule can reach. Means and standard errors are weighted
        as the trace is. Under a deadline the two fits know the time, and two more do not: ``fit, cut off``, and ``fit,
        mean fits``, in a loop that begins a stage only if its mean latency fits in what is left, or nothing is in hand.

    Raises
    ------
    ValidationError
        If `tradeoff`, `folds`, `default_loss` or `deadline` is out of range, all weights of a fold are 0, `reference`
        is not one of the rules, `deadline` is finite and the trace lacks a latency, or the trace is censored and has no
        propensity.

    Warns
    -----
    CalibrationWarning
        If the trace says little, as in `fit`: once.
    EvaluationWarning
        If losses or costs have a heavy tail.

    Notes
    -----
    A difference estimates that of rules tuned on the whole trace, on new requests. Its standard error is that of the
    paired differences, times √(1 + k / (k − 1)) for k folds, whose rules are tuned on mostly the same rows (Nadeau and
    Bengio 2003). A reference that was chosen on the same rows looks better than it is: `hindsight` estimates by how
    much, from the choice that all but one fold would make, judged on that fold; it is added in quadrature, and the
    difference is left as it is. So is what the fit would gain from the rows of the fold held back. Requests are units:
    rows of one group, or rows equal in everything. Intervals are not meant for requests that follow one another in time
    and depend on each other.

    The two fits of a fold share calibration and beliefs.

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
    terms = outcome.terms_of(trace, default_loss, deadline)
    rules = cv.rules(trace, terms)
    if reference is not None and reference not in rules:
        raise ValidationError(f"`reference` must be one of {', '.join(rules)}, got {reference}")
    warn_of_trace(trace)
    (outcomes,) = cv.cross_validate(trace, rules, [tradeoff], folds, seed, progress, terms)
    part = cv.parts(trace, int(folds), seed)
    return compared(*cv.judged(trace, part), float(tradeoff), outcomes, reference, terms)


def compared(
    trace: Trace,
    part: Ints,
    tradeoff: float,
    outcomes: Mapping[str, Outcome],
    reference: str | None = None,
    terms: Terms = NO_TERMS,
) -> Comparison:
    """The comparison of outcomes cross-validated over the folds `part` (n,) of :func:`cross_validation.judged`."""
    judge, folds = Judge(trace, terms.default_loss), int(part.max()) + 1
    objective = {name: outcome.objective(found, tradeoff, trace) for name, found in outcomes.items()}
    mean = {name: judge.mean(values).mean for name, values in objective.items()}
    hindsight = 0.0
    if reference is None:
        simple = {name: values for name, values in objective.items() if name not in (*cv.FITS, CLAIRVOYANT)}
        reference = min(simple, key=mean.__getitem__)
        hindsight = hindsight_of(simple, reference, part, trace.weight)
    rows = []
    for name, found in outcomes.items():
        paired = judge.mean(objective[name] - objective[reference])
        error = math.hypot(cross_validated_error(paired, folds), hindsight)
        rows.append(
            Compared(
                name=name,
                loss=judge.mean(found.loss).mean,
                cost=judge.mean(found.cost).mean,
                coverage=judge.mean((found.answer >= 0).astype(np.float64)).mean,
                objective=mean[name],
                difference=paired.mean,
                difference_se=0.0 if name == reference else error,
                late_share=judge.mean(found.late.astype(np.float64)).mean,
            )
        )

    def sentence(what: str, without: Sequence[str], against: str) -> str:
        """The fit against the best of some rules, which are chosen on the same rows."""
        best = min(without, key=mean.__getitem__)
        flattered = hindsight_of({name: objective[name] for name in without}, best, part, trace.weight)
        paired = judge.mean(objective[FIT] - objective[best])
        error = math.hypot(cross_validated_error(paired, folds), flattered)
        return _sentence(what, paired.mean, error, mean[best], against.format(best))

    verdict = [
        sentence("a cascade", cv.WITHOUT_CASCADE, "the best without one ({})"),
        sentence("recall", [FIT_NO_RECALL], "the fit without it"),
    ]
    if terms.deadline is not None:
        verdict.append(sentence("knowing the time", cv.WITHOUT_TIME, "the best without it ({})"))
    heavy_tailed = judge.warn_of_heavy_tails(outcomes[FIT], level=4)
    return Comparison(
        n=trace.n,
        folds=folds,
        tradeoff=tradeoff,
        reference=reference,
        hindsight=hindsight,
        heavy_tailed=heavy_tailed,
        rows=tuple(rows),
        verdict=tuple(verdict),
        deadline=terms.deadline,
        teacher=trace.teacher,
    )


def hindsight_of(values: Mapping[str, Floats], best: str, part: Ints, weight: Floats | None) -> float:
    """How much lower the mean of the rule that is best on all rows is than that of a rule chosen without a look.

    Parameters
    ----------
    values : mapping of rule name to (n,) float64
        One objective per request, out of sample.
    best : str
        The rule of the least mean.
    part : (n,) int
        Number of the fold of each row.
    weight : (n,) float64, optional
        How much each request counts.

    Returns
    -------
    float
        For each fold the rule is chosen that has the least mean on all others, and judged on that fold; at least 0.
    """
    weight = np.ones(len(part)) if weight is None else weight / weight.max()
    mass = np.bincount(part, weight)
    total = {name: np.bincount(part, weight * one) for name, one in values.items()}
    chosen = 0.0
    for fold in range(len(mass)):
        name = min(total, key=lambda name: float(total[name].sum() - total[name][fold]))
        chosen += float(total[name][fold])
    return max(0.0, (chosen - float(total[best].sum())) / float(mass.sum()))


def _sentence(what: str, mean: float, error: float, base: float, reference: str) -> str:
    relative = f"{mean / base:+.1%} ± {error / base:.1%}" if base > 0.0 else f"{mean:+.4g} ± {error:.2g}"
    if mean < -CLEAR * error:
        judgement = "is worth it here"
    elif mean > CLEAR * error:
        judgement = "is not worth it here"
    else:
        judgement = "makes no clear difference here"
    return f"{what} {judgement}: objective {relative} against {reference}"
