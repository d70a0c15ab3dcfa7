"""Metrics of a cascade for Prometheus: counted in the core as requests end, and read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .._core import ValidationError
from .._utils.checks import shown
from .._utils.extras import require
from ..monitoring.drift import DriftMonitor
from ..serving.batcher import Batcher
from ..serving.cascade import Cascade
from .inside import counting_of
from .metrics import Metrics, Monitored

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

__all__ = ["Registration", "register"]

NAME = "ttamer"


def register(
    cascade: Cascade[Any, Any],
    registry: CollectorRegistry | None = None,
    *,
    batcher: Batcher[Any, Any] | None = None,
    monitor: Monitored | None = None,
    namespace: str = NAME,
) -> Registration:
    """Put the metrics of a cascade into a registry.

    Parameters
    ----------
    cascade : Cascade
        What serves. Its requests are counted from the first registration on.
    registry : prometheus_client.CollectorRegistry, optional
        Where the metrics are read; by default `prometheus_client.REGISTRY`.
    batcher : Batcher, optional
        Of this cascade, whose queues are told too.
    monitor : DriftMonitor or callable, optional
        Whose alarm is told too; or a function of nothing that returns it, or None, where it changes with the policy.
    namespace : str
        What every name begins with: two cascades in one registry need two.

    Returns
    -------
    Registration
        Whose `unregister()` takes the metrics out again.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value, or the registry has metrics of this namespace.
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
    ``ttamer_request_cost``                 histogram: what requests cost, in the unit of the trace; bounds are shares,
                                            halved again and again, of what all stages cost
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
    ``ttamer_governor_level``               as :meth:`BudgetGovernor.report`, with `_tradeoff`, `_mean_cost`, `_debt`
                                            and `_saturated`
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
    counting = counting_of(cascade)
    registration = Registration(into, Metrics(cascade, counting, namespace, batcher=batcher, monitor=monitor))
    try:
        into.register(registration)
    except ValueError:
        raise ValidationError(
            f"`registry` must have no metrics of `namespace` {namespace!r}, and has those of another cascade: give "
            "each a registry or a namespace"
        ) from None
    return registration


class Registration:
    """The metrics of a cascade in a registry: a collector. :func:`register` makes it."""

    def __init__(self, registry: Any, metrics: Metrics) -> None:
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
        """Take the metrics out of the registry; the counts go on. Again, it does nothing."""
        if self._is_registered:
            self._is_registered = False
            self._registry.unregister(self)
