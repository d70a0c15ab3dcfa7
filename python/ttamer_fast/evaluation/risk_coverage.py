"""How much is lost if only those requests are answered whose answers are expected to lose least."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import Policy
from .._utils.arrays import Floats
from ..plotting.risk_coverage import plot_risk_coverage
from ..traces.trace import Trace

__all__ = ["RiskCoverage", "risk_coverage"]


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Mean loss of the answers that are kept, against the share of the requests that get one.

    Attributes
    ----------
    n : int
        Requests.
    coverage : (m,) float64
        Shares of the requests, in (0, 1], ascending: those whose answers are expected to lose no more than some limit,
        for each of m limits. The last is what the policy itself answers; m is 0 where that is nothing.
    risk : (m,) float64
        Mean loss of these requests, in the trace's unit.
    limit : (m,) float64
        The limits: largest expected loss of an answer that is kept, in the trace's unit.
    area : float
        Under the curve, up to the last share: what beliefs are worth for choosing whom to answer. 0 is best.
    """

    n: int
    coverage: Floats
    risk: Floats
    limit: Floats
    area: float

    def to_dict(self) -> dict[str, Any]:
        """The same numbers as plain Python values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in fields.items()}

    def plot(self, path: str | PathLike[str], *, loss_unit: str = "unit of the trace") -> None:
        """Draw the curve into a .png, .svg or .pdf file.

        Parameters
        ----------
        path : path-like
            The file.
        loss_unit : str
            What the axis says: "share of wrong answers".

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        OSError
            If the system refuses the file.
        ValidationError
            If the path has another ending.
        """
        title = f"Risk against coverage of {self.n:,} requests, area {self.area:.4g}"
        plot_risk_coverage(self.coverage, self.risk, title, path, loss_unit=loss_unit)

    def __str__(self) -> str:
        lines = [f"{self.n} requests, area {self.area:.6g}; mean loss of an answer, by the share that is answered"]
        for share in (0.2, 0.4, 0.6, 0.8, 1.0):
            at = int(np.searchsorted(self.coverage, share - 1e-12))
            if at < len(self.coverage):
                lines.append(
                    f"{self.coverage[at]:8.1%}  {self.risk[at]:.6g}  (expected loss up to {self.limit[at]:.6g})"
                )
        return "\n".join(lines)


def risk_coverage(policy: Policy, trace: Trace) -> RiskCoverage:
    """The risk-coverage curve of a policy: its requests in the order of what their answers are expected to lose.

    Parameters
    ----------
    policy : Policy
        Any policy of the trace's stages. One with a finite `default_loss` has decided itself whom not to answer: its
        curve ends at what it answers.
    trace : Trace
        Requests that the policy was not fitted on, or the result flatters it.

    Returns
    -------
    RiskCoverage
        One point for each distinct expected loss; shares and means are weighted as the trace is.

    Raises
    ------
    ValidationError
        If the stages or kinds do not match, or the trace is censored and has no propensity.

    Notes
    -----
    O(n k + n log n). A simple rule expects the mean loss of the stage that answers, so that its curve has at most k
    points. El-Yaniv and Wiener (2010) for the curve; Geifman, Uziel and El-Yaniv (2019) for the area.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((2000, 2))
    >>> trace = tt.Trace(signal, rng.random((2000, 2)) > signal, cost=[1.0, 2.0])
    >>> train, test = trace.split()
    >>> curve = tt.risk_coverage(tt.fit(train, tradeoff=0.9), test)
    >>> bool(curve.risk[len(curve.risk) // 2] < curve.risk[-1]), float(curve.coverage[-1])
    (True, 1.0)
    """
    trace = trace.matching(policy).observed(policy, None, None)
    answer, expected = _ends(policy, trace)
    weight = np.ones(trace.n) if trace.weight is None else trace.weight
    kept = np.flatnonzero((answer >= 0) & (weight > 0.0))
    order = kept[np.argsort(expected[kept], kind="stable")]
    ends = np.flatnonzero(np.append(np.diff(expected[order]) > 0.0, True)) if len(order) else np.empty(0, np.int64)
    mass = np.cumsum(weight[order])[ends]
    coverage = mass / weight.sum()
    risk = np.cumsum(weight[order] * trace.core.loss[order, answer[order]])[ends] / mass
    # Of requests that are expected to lose the same none comes first.
    area = float(np.sum(np.diff(coverage, prepend=0.0) * risk))
    return RiskCoverage(trace.n, coverage, risk, expected[order][ends], area)


def _ends(policy: Policy, trace: Trace) -> tuple[NDArray[np.int32], Floats]:
    """(n,) the stage that answers each request, -1 for none, and what that is expected to lose."""
    signal, said = trace.core.signal, trace.core.prediction
    batch = policy.start_batch(trace.n)
    while (pending := batch.pending()) is not None:
        stage, rows = pending
        batch.observe(stage, signal[rows, stage], None if said is None else said[rows, stage])
    return batch.answer, batch.expected_loss
