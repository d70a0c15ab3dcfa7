"""Simple rules to compare with, each tuned on a trace and compiled to the same kind of policy.

Each is tuned in its own way: a grid for `threshold`, backward induction for `stage_thresholds`, enumeration for
`static` and `patience`, quantile states and the exact index for `markov`. All minimise λ · loss + (1 − λ) · cost / cost
of running every stage, the loss in the trace's unit and the cost as a fraction; a policy's `value` is that objective.

With a finite `default_loss` nothing is an answer too: `static` takes it for all requests or for none, thresholds refuse
the last stage below a signal of its own (Chow 1970), `patience` refuses it where too few agree, or never.

Examples
--------
>>> import numpy as np, ttamer_fast as tt
>>> rng = np.random.default_rng(0)
>>> signal = rng.random((1000, 3))
>>> trace = tt.Trace(signal, rng.random((1000, 3)) > signal, cost=[1.0, 2.0, 4.0])
>>> tt.baselines.threshold(trace, tradeoff=0.9).method
'threshold'
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from ._core import Policy
from .fitting.fit import baseline
from .traces.trace import Trace

__all__ = ["ALL", "markov", "patience", "stage_thresholds", "static", "threshold"]


def static(trace: Trace, tradeoff: float, default_loss: float = math.inf) -> Policy:
    """Always the same answer: the best single exit, or the best single model; or nothing, where that is better.

    Parameters
    ----------
    trace : Trace
        Calibration requests.
    tradeoff : float
        λ in [0, 1], the weight of the loss.
    default_loss : float
        Loss of answering with nothing, at least 0, in the unit of the losses; infinite: some stage answers.

    Raises
    ------
    ValidationError
        If `tradeoff` or `default_loss` is out of range.
    """
    return baseline(trace, "static", tradeoff, default_loss)


def threshold(trace: Trace, tradeoff: float, default_loss: float = math.inf) -> Policy:
    """Stop at the first stage whose signal reaches one threshold, the same for all; the last stage may be refused.

    Parameters and errors as :func:`static`.
    """
    return baseline(trace, "threshold", tradeoff, default_loss)


def stage_thresholds(trace: Trace, tradeoff: float, default_loss: float = math.inf) -> Policy:
    """Stop at the first stage whose signal reaches that stage's own threshold; the last stage may be refused.

    Parameters and errors as :func:`static`.
    """
    return baseline(trace, "stage_thresholds", tradeoff, default_loss)


def patience(trace: Trace, tradeoff: float, default_loss: float = math.inf) -> Policy:
    """Stop when enough stages in a row gave the same prediction; where they never do, the last one or nothing answers.

    Parameters and errors as :func:`static`; the trace needs predictions: one without predictions is a ValidationError.
    """
    return baseline(trace, "patience", tradeoff, default_loss)


def markov(trace: Trace, tradeoff: float, default_loss: float = math.inf) -> Policy:
    """T-Tamer's recipe taken literally (arXiv 2509.22992): bins of signals as states, the exact index on their chain.

    Parameters and errors as :func:`static`.
    """
    return baseline(trace, "markov", tradeoff, default_loss)


class Baseline(Protocol):
    """A rule, tuned on a trace."""

    def __call__(self, trace: Trace, tradeoff: float, default_loss: float = math.inf) -> Policy: ...


ALL: Mapping[str, Baseline] = MappingProxyType(
    {
        "static": static,
        "threshold": threshold,
        "stage_thresholds": stage_thresholds,
        "patience": patience,
        "markov": markov,
    }
)
"""Every baseline by its name."""
