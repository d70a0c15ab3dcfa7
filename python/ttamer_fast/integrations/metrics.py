"""What is told of a cascade to Prometheus, family by family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

from .._utils.extras import require
from ..monitoring.drift import DriftMonitor
from ..serving.batcher import Batcher
from ..serving.cascade import Cascade
from ..serving.counting import Counting
from .inside import exploration_of, governor_of, log_of, shadow_of

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["Metrics", "Monitored"]

Monitored: TypeAlias = DriftMonitor | Callable[[], DriftMonitor | None]
"""A monitor, or what returns the present one."""

STATES = ("closed", "open", "half-open")
"""Of a circuit."""

VERDICTS = ("agreed", "stopped_earlier", "wanted_more", "left_out")
"""Of a shadow."""


class Metrics:
    """Reads what has been counted.

    Parameters
    ----------
    cascade : Cascade
        With k stages.
    counting : Counting
        What is counted of its requests.
    namespace : str
        What names begin with.
    batcher : Batcher, optional
        Whose queues are told.
    monitor : DriftMonitor or callable, optional
        Whose alarm is told.
    """

    def __init__(
        self,
        cascade: Cascade[Any, Any],
        counting: Counting,
        namespace: str,
        *,
        batcher: Batcher[Any, Any] | None,
        monitor: Monitored | None,
    ) -> None:
        self._cascade = cascade
        self._stages = cascade.policy.stages
        self._counters = counting.counters
        self._costs = [*map(_text, counting.cost_bounds), "+Inf"]
        self._seconds = [*map(_text, counting.seconds_bounds), "+Inf"]
        self._namespace = namespace
        self._batcher = batcher
        self._monitor = monitor
        self._families = require("prometheus_client.core", "metrics")

    def read(self) -> Iterator[Metric]:
        """All families, those without a value too."""
        yield from self._requests()
        yield from self._present()
        yield from self._explored()
        yield from self._recorded()
        yield from self._shadowed()
        yield from self._watched()
        yield from self._batched()
        yield from self._governed()

    def _counter(self, name: str, says: str, labels: Sequence[str] = ()) -> Any:
        return self._families.CounterMetricFamily(f"{self._namespace}_{name}", says, labels=labels)

    def _gauge(self, name: str, says: str, labels: Sequence[str] = ()) -> Any:
        return self._families.GaugeMetricFamily(f"{self._namespace}_{name}", says, labels=labels)

    def _by_stage(self, family: Any, counts: Any) -> Any:
        for stage, count in zip(self._stages, counts, strict=True):
            family.add_metric([stage], float(count))
        return family

    def _histogram(self, name: str, says: str, labels: Sequence[str] = ()) -> Any:
        return self._families.HistogramMetricFamily(f"{self._namespace}_{name}", says, labels=labels)

    def _requests(self) -> Iterator[Metric]:
        """What the core has counted."""
        counted = self._counters.read()
        requests = self._counter("requests", "Requests by how they ended.", ["outcome"])
        for outcome, count in counted.outcomes.items():
            requests.add_metric([outcome], count)
        yield requests
        yield self._by_stage(self._counter("stage_runs", "Runs of stages.", ["stage"]), counted.runs)
        yield self._by_stage(
            self._counter("stage_failures", "Runs of stages that gave no answer.", ["stage"]), counted.failures
        )
        yield self._by_stage(
            self._counter("stage_barred", "Stages that were not tried, as their circuit was open.", ["stage"]),
            counted.barred,
        )
        answers = self._counter("answers", "Answers by the stage that gave them.", ["stage", "recalled"])
        for stage, (direct, recalled) in zip(self._stages, counted.answers.tolist(), strict=True):
            answers.add_metric([stage, "false"], direct)
            answers.add_metric([stage, "true"], recalled)
        yield answers
        cost = self._histogram("request_cost", "Cost of requests, in the unit of the trace.")
        cost.add_metric([], _buckets(self._costs, counted.cost_counts), counted.cost_sum)
        yield cost
        seconds = self._histogram("stage_seconds", "How long runs of stages took.", ["stage"])
        sums, counts = counted.seconds_sum.tolist(), counted.seconds_counts
        for stage, total, row in zip(self._stages, sums, counts, strict=True):
            seconds.add_metric([stage], _buckets(self._seconds, row), total)
        yield seconds

    def _present(self) -> Iterator[Metric]:
        """How the cascade is."""
        cascade = self._cascade
        policy = self._families.InfoMetricFamily(f"{self._namespace}_policy", "The policy in service.")
        policy.add_metric([], {"digest": cascade.policy.digest})
        yield policy
        circuits = self._gauge("circuit", "Whether the circuit of a stage is in this state.", ["stage", "state"])
        for stage, circuit in cascade.circuits.items():
            now = circuit.state
            for state in STATES:
                circuits.add_metric([stage, state], float(state == now))
        yield circuits
        late = cascade.late
        yield self._by_stage(
            self._gauge("late_calls", "Calls under way that nobody waits for.", ["stage"]),
            [late[stage] for stage in self._stages],
        )
        slowdown = self._gauge("slowdown_ratio", "How many times longer stages take than the policy expects.")
        if (factor := cascade.slowdown) is not None:
            slowdown.add_metric([], factor)
        yield slowdown

    def _explored(self) -> Iterator[Metric]:
        explored = self._counter("explored_requests", "Requests that were run through for the record.")
        capped = self._counter("explored_requests_capped", "Requests that were not, as there were too many.")
        under_way = self._gauge("explored_requests_under_way", "Requests of which stages run for the record.")
        cost = self._counter("exploration_cost", "Cost of stages that ran for the record, in the unit of the trace.")
        runs = self._counter("exploration_stage_runs", "Runs of stages for the record.", ["stage"])
        failures = self._counter("exploration_stage_failures", "Of these, those that gave nothing.", ["stage"])
        report = exploration_of(self._cascade)
        if report is not None:
            explored.add_metric([], report.explored)
            capped.add_metric([], report.capped)
            under_way.add_metric([], report.under_way)
            cost.add_metric([], report.cost)
            self._by_stage(runs, report.runs.values())
            self._by_stage(failures, report.failures.values())
        yield from (explored, capped, under_way, cost, runs, failures)

    def _recorded(self) -> Iterator[Metric]:
        written = self._counter("records_written", "Records that the log has written.")
        dropped = self._counter("records_dropped", "Records that are lost.")
        pending = self._gauge("records_pending", "Records that wait to be written.")
        log = log_of(self._cascade)
        if log is not None:
            written.add_metric([], log.written)
            dropped.add_metric([], log.dropped)
            pending.add_metric([], log.pending)
        yield from (written, dropped, pending)

    def _shadowed(self) -> Iterator[Metric]:
        requests = self._counter("shadow_requests", "Requests by what the shadow would have done.", ["verdict"])
        report = shadow_of(self._cascade)
        if report is not None:
            for verdict in VERDICTS:
                requests.add_metric([verdict], getattr(report, verdict))
        yield requests

    def _watched(self) -> Iterator[Metric]:
        alarm = self._gauge("drift_alarm", "Whether there has been an alarm of drift.")
        requests = self._counter("drift_requests", "Requests that the monitor of drift has taken in.")
        monitor = self._monitor
        if monitor is not None and not isinstance(monitor, DriftMonitor):
            monitor = monitor()
        if monitor is not None:
            alarm.add_metric([], float(monitor.alarm))
            requests.add_metric([], monitor.requests)
        yield from (alarm, requests)

    def _batched(self) -> Iterator[Metric]:
        batcher = self._batcher
        pending = self._gauge("batcher_pending", "Requests inside: begun, or waiting for a stage.")
        outside = self._gauge("batcher_outside", "Requests that wait to be let in.")
        calls = self._counter("batcher_calls", "Calls of stages by why they were begun.", ["stage", "reason"])
        wait = self._families.SummaryMetricFamily(
            f"{self._namespace}_batcher_wait_seconds", "Time of requests in the queues of stages.", labels=["stage"]
        )
        if batcher is not None:
            pending.add_metric([], batcher.pending)
            outside.add_metric([], batcher.outside)
            for stage, stats in batcher.stats().items():
                for reason, count in stats.released.items():
                    calls.add_metric([stage, reason], count)
                wait.add_metric([stage], stats.rows, stats.mean_wait * stats.rows if stats.rows else 0.0)
        yield from (pending, outside, calls, wait)

    def _governed(self) -> Iterator[Metric]:
        report = governor_of(self._cascade)
        told = (
            ("governor_level", "How far up the ladder of policies the governor stands.", "level"),
            ("governor_tradeoff", "Trade-off of the policy in service.", "tradeoff"),
            ("governor_mean_cost", "Mean cost over the window of the governor.", "mean_cost"),
            ("governor_debt", "What was spent beyond the budget, in the unit of the trace.", "debt"),
            (
                "governor_saturated",
                "Whether nothing cheaper, or nothing dearer, is there to hold the budget.",
                "saturated",
            ),
        )
        for name, says, attribute in told:
            gauge = self._gauge(name, says)
            if report is not None:
                value = getattr(report, attribute)
                gauge.add_metric([], float(value is not None) if attribute == "saturated" else value)
            yield gauge


def _text(bound: float) -> str:
    """Short, so that the names of series can be read."""
    return repr(float(f"{bound:.6g}"))


def _buckets(bounds: Sequence[str], counts: Any) -> list[tuple[str, float]]:
    return list(zip(bounds, accumulate(counts.tolist()), strict=True))
