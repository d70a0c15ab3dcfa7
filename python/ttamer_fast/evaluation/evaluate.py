"""What one policy is worth on a trace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._core import Estimate, Policy, ValidationError, estimate
from .._utils.arrays import Floats
from .._utils.checks import check_tradeoff
from ..traces import outcome
from ..traces.trace import Trace
from .intervals import mean_interval, two_valued_interval

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Means over the requests of a trace, each counting as its weight says, with 95 % confidence intervals.

    Where all losses of the trace are 0 or one other value, `loss_ci` is Wilson's interval: 0 errors in 300 requests
    give 0 to 0.0126, not 0 to 0. If all are 0, the other value is taken to be 1. All other intervals are Student's t on
    the values of single requests, infinite for fewer than 2 of them. Under weights w, (Σ w)² / Σ w² takes the place of
    n. Both are approximate; t wants values that are not very skewed, and values that are all equal have an interval of
    width 0. The requests are taken as independent, the policy as given.

    Attributes
    ----------
    n : int
        Requests.
    tradeoff : float
        λ of the objective.
    loss, loss_ci : float, (float, float)
        Mean loss per request, in the trace's unit of loss.
    cost, cost_ci : float, (float, float)
        Mean cost per request, in the trace's unit of cost.
    objective, objective_ci : float, (float, float)
        Mean of λ · loss + (1 − λ) · cost / cost of running every stage.
    stages : tuple of k str
        Names of the stages.
    consulted_share, answer_share : (k,) float64
        Shares of the requests, 0 to 1, that ran each stage, and that returned its answer.
    recalled_share : float
        Share of the requests that returned the answer of an earlier stage than the last one run.
    """

    n: int
    tradeoff: float
    loss: float
    loss_ci: tuple[float, float]
    cost: float
    cost_ci: tuple[float, float]
    objective: float
    objective_ci: tuple[float, float]
    stages: tuple[str, ...]
    consulted_share: Floats
    answer_share: Floats
    recalled_share: float

    def to_dict(self) -> dict[str, Any]:
        """The same numbers as plain Python values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    def __str__(self) -> str:
        width = max(len("objective"), *map(len, self.stages))
        lines = [f"{self.n} requests, tradeoff {self.tradeoff:g}"]
        for name in ("loss", "cost", "objective"):
            low, high = getattr(self, f"{name}_ci")
            lines.append(f"{name:<{width}}  {getattr(self, name):.6g}  (95 % interval {low:.6g} to {high:.6g})")
        lines.append(f"{'stage':<{width}}  consulted  answers")
        for stage, consulted, answers in zip(self.stages, self.consulted_share, self.answer_share, strict=True):
            lines.append(f"{stage:<{width}}  {consulted:>9.1%}  {answers:>7.1%}")
        lines.append(f"answered by an earlier stage than the last one run: {self.recalled_share:.1%}")
        return "\n".join(lines)


def evaluate(policy: Policy, trace: Trace, tradeoff: float | None = None) -> Evaluation:
    """Replay `policy` on `trace` and average.

    Parameters
    ----------
    policy : Policy
        Any policy of the trace's stages.
    trace : Trace
        Requests that the policy was not fitted on, or the result flatters it. Costs are those of its rows. Stages are
        matched by name, and the kind is the policy's: see :meth:`Trace.matching`.
    tradeoff : float, optional
        λ in [0, 1] of the objective λ · loss + (1 − λ) · cost / cost of running every stage; default: the one that
        the policy was fitted for.

    Returns
    -------
    Evaluation
        Means, confidence intervals, and shares of the requests (k,), stages in the order of the policy, all weighted
        as the trace is.

    Raises
    ------
    ValidationError
        If the stages or kinds do not match, or no trade-off is known.

    Notes
    -----
    O(n k). How the intervals are made: see :class:`Evaluation`.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 3))
    >>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
    >>> train, test = trace.split()
    >>> result = tt.evaluate(tt.fit(train, tradeoff=0.9), test)
    >>> low, high = result.loss_ci
    >>> bool(low <= result.loss <= high)
    True
    """
    trace = trace.matching(policy)
    if tradeoff is None:
        known = policy.provenance.get("tradeoff")
        if known is None:
            raise ValidationError("`tradeoff` must be given: the policy does not say which one it is for")
        tradeoff = float(known)
    share, weight = check_tradeoff(tradeoff), trace.weight
    result = outcome.of_policy(policy, trace)
    loss, cost = estimate(result.loss, weight), estimate(result.cost, weight)
    objective = estimate(outcome.objective(result, share, trace), weight)
    return Evaluation(
        n=trace.n,
        tradeoff=share,
        loss=loss.mean,
        loss_ci=loss_interval(loss, trace),
        cost=cost.mean,
        cost_ci=mean_interval(cost),
        objective=objective.mean,
        objective_ci=mean_interval(objective),
        stages=trace.stages,
        consulted_share=result.consulted_share(trace.core),
        answer_share=result.answer_share(trace.core),
        recalled_share=result.recalled_share(trace.core),
    )


def loss_interval(loss: Estimate, trace: Trace) -> tuple[float, float]:
    """95 % interval of a mean of losses of the trace, in their unit."""
    largest = float(trace.loss.max()) or 1.0
    if bool(((trace.loss == 0.0) | (trace.loss == largest)).all()):
        return two_valued_interval(loss, largest)
    return mean_interval(loss)
