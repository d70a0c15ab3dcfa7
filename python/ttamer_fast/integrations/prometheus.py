"""Metrics of a cascade for Prometheus: counted in the core as requests end, and read when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .._core import ValidationError
from .._utils.checks import check_number, shown
from .._utils.extras import require
from ..monitoring.drift import DriftMonitor
from ..serving.batcher import Batcher
from ..serving.cascade import Cascade
from .inside import begin_counting, end_counting
from .metrics import Metrics, Monitored

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

__all__ = ["Registration", "register"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of how long stages take: from a small model in this process to a large one far away."""

COSTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Bounds of what requests cost, as shares of running every stage."""

NAME = "ttamer"


def register(
    cascade: Cascade[Any, Any],
    registry: CollectorRegistry | None = None,
    *,
    batcher: Batcher[Any, Any] | None = None,
    monitor: Monitored | None = None,
    namespace: str = NAME,
    cost_buckets: Sequence[float] | None = None,
    seconds_buckets: Sequence[float] = SECONDS,
) -> Registration:
    """Put the metrics of a cascade into a registry.

    Parameters
    ----------
    cascade : Cascade
        What serves. Its requests are counted from now on.
    registry : prometheus_client.CollectorRegistry, optional
        Where the metrics are read; by default `prometheus_client.REGISTRY`.
    batcher : Batcher, optional
        Of this cascade, whose queues are told too.
    monitor : DriftMonitor or callable, optional
        Whose alarm is told too; or a function of nothing that returns it, or None, where it changes with the policy.
    namespace : str
        What every name begins with: two cascades in one registry need two.
    cost_buckets : sequence of float, optional
        Bounds of what requests cost, in the unit of the trace, ascending. By default shares, from 1 % to all, of what
        running every stage costs.
    seconds_buckets : sequence of float
        Bounds of how long stages take, in seconds, ascending.

    Returns
    -------
    Registration
        Whose `unregister()` takes the metrics out again.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value, the cascade is registered already, or the registry has metrics of
        this namespace.
    MissingExtraError
        If prometheus-client is not installed: ``pip install "ttamer_fast[metrics]"``.

    Notes
    -----
    Requests of every door are counted, well below a microsecond each; a batch is counted once. Nothing is worked out
    before somebody reads, and reading changes nothing and holds up no request. One who reads while requests end may see
    parts of some. Labels are the names of stages and fixed words: their number is bounded.

    ======================================  ==========================================================================
    ``ttamer_requests_total``               decided requests, by `outcome`: "stopped", "recalled", "deadline",
                                            "failed", "abstained", and "none" of those that nobody answered
    ``ttamer_stage_runs_total``             how often each `stage` was run for a request
    ``ttamer_stage_failures_total``         and gave no answer
    ``ttamer_stage_barred_total``           and was not tried
    ``ttamer_answers_total``                whose answer was returned, by `stage` and `recalled`, "true" or "false"
    ``ttamer_policy_info``                  `digest` of the policy in service
    ``ttamer_request_cost``                 histogram: what requests cost, in the unit of the trace
    ``ttamer_stage_seconds``                histogram: how long each `stage` took, where that is measured
                                            (``Cascade(timing=True)``, a deadline, a time-out)
    ``ttamer_circuit``                      1 for the `state` of the circuit of each `stage` that has one, else 0
    ``ttamer_late_calls``                   calls of each `stage` under way that nobody waits for
    ``ttamer_slowdown_ratio``               as :attr:`Cascade.slowdown`
    ``ttamer_explored_requests_total``      requests that are run through, and beyond the cap (`_capped_`), under way
                                            (`_under_way`); ``ttamer_exploration_cost_total``, and
                                            ``ttamer_exploration_stage_runs_total`` and `_failures_total`
    ``ttamer_records_written_total``        records of the log; ``ttamer_records_pending``,
                                            ``ttamer_records_dropped_total``
    ``ttamer_shadow_requests_total``        as :meth:`Cascade.shadow_report`, by `verdict`; from 0 with another shadow
    ``ttamer_drift_alarm``                  1 after an alarm; ``ttamer_drift_requests_total``
    ``ttamer_batcher_pending``              requests inside, and those that wait outside (`_outside`);
                                            ``ttamer_batcher_calls_total`` by `stage` and `reason`, and the summary
                                            ``ttamer_batcher_wait_seconds`` of time in the queue of each `stage`
    ======================================  ==========================================================================

    A process counts for itself: with several workers, a scrape reaches one of them.

    Examples
    --------
    >>> import numpy as np, prometheus_client, ttamer_fast as tt
    >>> signal = np.random.default_rng(0).random((1000, 2))
    >>> policy = tt.fit(tt.Trace(signal, 1.0 - signal, cost=[1.0, 2.0], stages=["small", "large"]), tradeoff=0.9)
    >>> cascade = tt.Cascade(policy, [lambda x: x, lambda x: x], signal=lambda y: y)
    >>> registry = prometheus_client.CollectorRegistry()
    >>> registration = tt.integrations.prometheus.register(cascade, registry)
    >>> served = cascade.batch([0.99, 0.98])
    >>> registry.get_sample_value("ttamer_stage_runs_total", {"stage": "small"})
    2.0
    >>> registration.unregister()
    """
    client = require("prometheus_client", "metrics")
    require("prometheus_client.core", "metrics")
    if not isinstance(cascade, Cascade):
        raise ValidationError(f"`cascade` must be a Cascade, got {type(cascade).__name__}")
    if batcher is not None and (not isinstance(batcher, Batcher) or batcher._cascade is not cascade):
        raise ValidationError(f"`batcher` must be a Batcher of `cascade`, or None, got {type(batcher).__name__}")
    if monitor is not None and not isinstance(monitor, DriftMonitor) and not callable(monitor):
        raise ValidationError(f"`monitor` must be a DriftMonitor, a function or None, got {type(monitor).__name__}")
    if not isinstance(namespace, str) or not namespace.isidentifier() or not namespace.isascii():
        raise ValidationError(f"`namespace` must be a name of letters, digits and `_`, got {shown(namespace)}")
    into = client.REGISTRY if registry is None else registry
    if not hasattr(into, "register"):
        raise ValidationError(f"`registry` must be a CollectorRegistry or None, got {type(registry).__name__}")
    costs = _costs_of(cascade) if cost_buckets is None else _bounds("cost_buckets", cost_buckets)
    seconds = _bounds("seconds_buckets", seconds_buckets)
    counters = begin_counting(cascade, costs, seconds)
    registration = Registration(
        cascade, into, Metrics(cascade, counters, costs, seconds, namespace, batcher=batcher, monitor=monitor)
    )
    try:
        into.register(registration)
    except ValueError:
        end_counting(cascade)
        raise ValidationError(
            f"`registry` must have no metrics of `namespace` {namespace!r}, and has those of another cascade: give "
            "each a registry or a namespace"
        ) from None
    return registration


class Registration:
    """The metrics of a cascade in a registry: a collector. :func:`register` makes it."""

    def __init__(self, cascade: Cascade[Any, Any], registry: Any, metrics: Metrics) -> None:
        self._cascade = cascade
        self._registry = registry
        self._metrics = metrics
        self._is_registered = True

    def collect(self) -> Iterable[Metric]:
        """What has been counted so far."""
        return self._metrics.read()

    def describe(self) -> Iterable[Metric]:
        """The same metrics: by their names the registry finds two that are called the same."""
        return self._metrics.read()

    def unregister(self) -> None:
        """Take the metrics out of the registry, and count no more. Again, it does nothing."""
        if self._is_registered:
            self._is_registered = False
            self._registry.unregister(self)
            end_counting(self._cascade)


def _costs_of(cascade: Cascade[Any, Any]) -> tuple[float, ...]:
    """Bounds up to what all stages cost, one after the other."""
    prices = cascade.policy._prices()
    total = sum(float(prices[stage, stage]) for stage in range(prices.shape[1]))
    if not 0.0 < total < math.inf:
        total = float(prices[0][prices[0] < math.inf].sum())
    # Three digits: bounds are part of the name of a series.
    return tuple(float(f"{share * total:.3g}") for share in COSTS) if total > 0.0 else COSTS


def _bounds(name: str, given: Any) -> tuple[float, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValidationError(f"`{name}` must be a sequence of numbers, got {type(given).__name__}")
    bounds = tuple(check_number(f"{name}[{at}]", one) for at, one in enumerate(given))
    for at, (before, after) in enumerate(pairwise((-math.inf, *bounds))):
        if not before < after < math.inf:
            raise ValidationError(f"`{name}[{at}]` must be finite and above the one before, got {after}")
    return bounds
