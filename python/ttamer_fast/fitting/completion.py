"""Logs of a running cascade, as fits complete them."""

from __future__ import annotations

import warnings

from .._utils.warnings import CensoredTraceWarning
from ..traces.trace import Trace

__all__ = ["completed"]

ADVISED = 200
"""Requests to run through every stage that a warning advises."""
SHARE = 0.02
"""As a share of the log, where that is more."""


def completed(trace: Trace, stacklevel: int = 2) -> Trace:
    """The trace with numbers for what is not known; itself, where everything is known.

    What a stage would have said of a request that it was not run for, is taken from one of the five requests that were
    run through every stage and are most like it: in the ranks of the signals, in the agreement of the predictions, and
    in the losses that are known of both. Requests of which it is known what was said and not what it would have lost
    are left out where twenty others ran the same stages and are labelled: these count for them.

    Raises
    ------
    ValidationError
        If no request was run through every stage; names the one that was run least.

    Warns
    -----
    CensoredTraceWarning
        For each stage that was not run for more than 5 % of the requests that have a signal to which fewer than five
        of those run through come near (within 0.1 of the rank). `stacklevel` as for `warnings.warn`, 1 being the
        caller of this function.

    Notes
    -----
    Valid because whether a stage was run depends on nothing but what was seen before: what it would have said is then
    distributed as for the requests of which the same was seen (missing at random: Rubin 1976; hot deck imputation:
    Little and Rubin, Statistical Analysis with Missing Data). O(n k² d) for d requests run through, at most 10,000;
    kept with the trace.
    """
    found = trace.core.completed()
    if found is None:
        return trace
    core, thin = found
    for stage, row, seen, rows, through in thin:
        more = max(ADVISED, round(SHARE * trace.n))
        warnings.warn(
            f"stage {trace.stages[stage]!r} was not run for {rows} of {trace.n} requests that are like hardly any of the "
            f"{through} run through every stage, the first of them row {row}, by its signal of stage "
            f"{trace.stages[seen]!r}: what it would have said is not known; run about {more} more requests, drawn at "
            "random, through every stage",
            CensoredTraceWarning,
            stacklevel=stacklevel + 1,
        )
    return trace.of_core(core, is_kind_said=True)
