"""What speaks against trusting a fit: too few requests, signals that say nothing, no difference between rules."""

from __future__ import annotations

import math
import warnings

import numpy as np

from .._core import Policy, estimate
from .._utils.arrays import Floats
from .._utils.rule_names import DEFAULT, STATIC
from .._utils.warnings import CalibrationWarning, HeavyTailWarning
from ..traces.trace import Trace

__all__ = ["effective_rows", "warn_of_choice", "warn_of_nothing", "warn_of_policy", "warn_of_tail", "warn_of_trace"]

FEW_ROWS = 100
"""Independent requests below which a mean loss of 0/1 losses may be off by 0.1 and more (95 %)."""
HEAVY = 0.5
"""Share of the loss from which on the few rows that lose most are spoken of."""


def effective_rows(trace: Trace) -> float:
    """As many independent requests as the rows are: (Σ w)² / Σ w², w summed over rows of one group or equal content."""
    return estimate(np.zeros(trace.n), trace.weight, trace.core.units).size


def warn_of_trace(trace: Trace, stacklevel: int = 2) -> None:
    """CalibrationWarnings of a trace of several stages that says little, once for all that is fitted to it. O(n k).

    `stacklevel` as for `warnings.warn`, 1 being the caller of this function.
    """
    for text in _doubts(trace):
        warnings.warn(text, CalibrationWarning, stacklevel=stacklevel + 1)


def warn_of_tail(trace: Trace, stacklevel: int = 2) -> None:
    """A HeavyTailWarning where a few requests make up most of the loss. O(n k)."""
    most, rows, share = trace.core.tail
    if share > HEAVY:
        warnings.warn(
            f"`trace` has {rows} of {trace.n} rows with a loss above {most:.6g} that make up {share:.0%} of all loss: "
            f"beliefs are fitted to losses up to {most:.6g}, decisions and means to the losses as they are",
            HeavyTailWarning,
            stacklevel=stacklevel + 1,
        )


def warn_of_policy(policy: Policy, stacklevel: int = 2) -> None:
    """A CalibrationWarning of a fitted policy that never answers, or is no better than one stage for all requests."""
    warn = warn_of_nothing if policy.start().next is None else warn_of_choice
    warn(policy, stacklevel + 1)


def warn_of_choice(policy: Policy, stacklevel: int = 2) -> None:
    """A CalibrationWarning where rows held back show no rule that is better than one stage for all requests.

    Of a fit to a trade-off above 0 alone: at 0 no answer is worth its cost, and a tight budget forces one stage.
    """
    found = {candidate["name"]: candidate for candidate in policy.report}
    is_free = policy.provenance["goal"].startswith("tradeoff=") and float(policy.provenance["tradeoff"]) > 0.0
    if len(policy.stages) == 1 or not is_free or not {DEFAULT, STATIC} <= found.keys():
        return
    alone = found[STATIC]
    better = min(candidate["objective"] for candidate in policy.report)
    if alone["objective"] - better > alone["standard_error"]:
        return
    warnings.warn(
        "no rule is better than one stage for all requests by more than a standard error: on rows held back the best "
        f"has the objective {better:.4g}, one stage {alone['objective']:.4g} ± {alone['standard_error']:.2g}; either "
        "one stage is best for all, or signals do not say which requests it gets wrong",
        CalibrationWarning,
        stacklevel=stacklevel + 1,
    )


def warn_of_nothing(policy: Policy, stacklevel: int = 2) -> None:
    """A CalibrationWarning of a fitted policy that answers every request with nothing, before it runs anything."""
    warnings.warn(
        f"`default_loss` of {policy.default_loss:.6g} is below what any stage promises at this trade-off: the policy "
        "runs nothing and never answers",
        CalibrationWarning,
        stacklevel=stacklevel + 1,
    )


def _doubts(trace: Trace) -> list[str]:
    if trace.k == 1:
        return []
    found = []
    size = effective_rows(trace)
    if size < FEW_ROWS:
        rows = f"{trace.n} rows" if trace.group is None else f"{trace.n} rows of {len(np.unique(trace.group))} groups"
        found.append(
            f"`trace` has {rows}, which say as much as {size:.3g} independent requests: a share of errors may be off "
            f"by {0.98 / math.sqrt(size):.2g}, and a simple rule may be as good; a few hundred are needed, a few "
            "thousand are better"
        )
    if trace.n == 1:
        return found
    # Whether to go on after the last stage is no question.
    for stage, column in enumerate(trace.core.signal.T[:-1]):
        if _never_changes(column[:FEW_ROWS]) and _never_changes(column):
            found.append(
                f"`signal` of stage {trace.stages[stage]!r} is the same in every row: it does not say which requests "
                "the stage gets wrong"
            )
    said = trace.core.prediction
    if said is not None and (said == said[0, 0]).all():
        found.append("`prediction` is the same in every row and stage: it says nothing; leave it out")
    return found


def _never_changes(column: Floats) -> bool:
    return bool((column == column[0]).all() or np.isnan(column).all())
