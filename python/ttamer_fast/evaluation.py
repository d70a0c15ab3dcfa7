"""What one policy is worth on a trace."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import outcome
from ._core import Policy, ValidationError
from .arrays import Floats
from .trace import Trace

__all__ = ["Evaluation", "evaluate"]

NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Means over the requests of a trace, with 95 % confidence intervals.

    Every interval is the normal approximation on the values of single requests, mean ± 1.96 standard errors: losses
    and costs are any real numbers, and n is in the hundreds at least. The policy is taken as given.
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
        Any policy with as many stages as the trace.
    trace : Trace
        Requests that the policy was not fitted on, or the result flatters it. Costs are those of its rows.
    tradeoff : float, optional
        λ in [0, 1] of the objective λ · loss + (1 − λ) · cost / cost of running every stage; default: the one that
        the policy was fitted for.

    Returns
    -------
    Evaluation
        Means, confidence intervals, and shares of the requests (k,).

    Raises
    ------
    ValidationError
        If the stages do not match, or no trade-off is known.

    Notes
    -----
    O(n k).

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
    if tradeoff is None:
        known = policy.provenance.get("tradeoff")
        if known is None:
            raise ValidationError("`tradeoff` must be given: the policy does not say which one it is for")
        tradeoff = float(known)
    weight = outcome.check_tradeoff(tradeoff)
    result = outcome.of_policy(policy, trace)
    objective = result.objective(weight, trace.full_cost)
    return Evaluation(
        n=trace.n,
        tradeoff=weight,
        loss=float(result.loss.mean()),
        loss_ci=_interval(result.loss),
        cost=float(result.cost.mean()),
        cost_ci=_interval(result.cost),
        objective=float(objective.mean()),
        objective_ci=_interval(objective),
        stages=trace.stages,
        consulted_share=result.consulted.mean(axis=0),
        answer_share=np.bincount(result.answer, minlength=trace.k) / trace.n,
        recalled_share=float((result.answer != result.last).mean()),
    )


def standard_error(values: Floats) -> float:
    """Of the mean of independent values; 0 for a single one."""
    return float(values.std(ddof=1)) / math.sqrt(values.size) if values.size > 1 else 0.0


def _interval(values: Floats) -> tuple[float, float]:
    half = NORMAL_95 * standard_error(values)
    return float(values.mean()) - half, float(values.mean()) + half
