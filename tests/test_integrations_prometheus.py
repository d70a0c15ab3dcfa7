"""Metrics of a cascade: they add up with what was served, and reading them changes nothing."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import prometheus_client as client
import pytest
from prometheus_client.parser import text_string_to_metric_families

import ttamer_fast as tt
from conftest import make_trace
from small_cascades import GO_ON, STOP, line, stages

prometheus = tt.integrations.prometheus

N = 240


def lookups(trace: tt.Trace, failing: float = 0.2) -> list[tt.Stage[Any, Any]]:
    """Stages that look up a row, some of which fail."""
    said = trace.prediction
    assert said is not None
    broken = np.random.default_rng(3).random(trace.signal.shape) < failing
    broken[:, 0] = False

    def stage(v: int) -> tt.Stage[Any, Any]:
        def run(row: int) -> tuple[float, int]:
            if broken[row, v]:
                raise RuntimeError("no luck")
            return trace.signal[row, v], said[row, v]

        return tt.Stage(run, signal=lambda y: y[0], prediction=lambda y: y[1], name=trace.stages[v])

    return [stage(v) for v in range(trace.k)]


def scrape(registry: client.CollectorRegistry) -> dict[str, Counter[tuple[str, ...]]]:
    """Values by name and labels in the order of their names, through the text that a server of Prometheus reads."""
    found: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for family in text_string_to_metric_families(client.generate_latest(registry).decode()):
        for sample in family.samples:
            labels = tuple(text for _, text in sorted(sample.labels.items()))
            # A Counter takes floats too.
            value: Any = sample.value
            found[sample.name][labels] += value
    return found


def present(counts: Counter[tuple[str, ...]]) -> dict[tuple[str, ...], float]:
    return {labels: count for labels, count in counts.items() if count}


@pytest.fixture
def registry() -> client.CollectorRegistry:
    return client.CollectorRegistry()


async def concurrently(cascade: tt.Cascade[Any, Any], rows: list[int], batched: bool) -> list[tt.Served[Any]]:
    if not batched:
        return list(await asyncio.gather(*[cascade.acall(row) for row in rows]))
    async with tt.Batcher(cascade) as batcher:
        return list(await asyncio.gather(*[batcher(row) for row in rows]))


def served_by(door: str, cascade: tt.Cascade[Any, Any], rows: list[int]) -> list[tt.Served[Any]]:
    if door == "call":
        return [cascade(row) for row in rows]
    if door == "batch":
        return [*cascade.batch(rows[:-1]), *cascade.batch(rows[-1:])]
    if door == "abatch":
        return list(asyncio.run(cascade.abatch(rows)))
    return asyncio.run(concurrently(cascade, rows, door == "batcher"))


@pytest.mark.parametrize("door", ["call", "batch", "acall", "abatch", "batcher"])
def test_metrics_add_up_with_what_was_served(
    trace: tt.Trace, policy: tt.Policy, registry: client.CollectorRegistry, door: str
) -> None:
    cascade = tt.Cascade(policy, lookups(trace), timing=True)
    prometheus.register(cascade, registry)
    before = scrape(registry)
    assert sum(before["ttamer_requests_total"].values()) == 0
    served = served_by(door, cascade, list(range(N)))
    seen, names = scrape(registry), policy.stages
    assert {"failed", "stopped"} <= {one.outcome for one in served}
    wanted: dict[str, Counter[tuple[str, ...]]] = {
        "ttamer_requests_total": Counter((one.outcome,) for one in served),
        "ttamer_stage_runs_total": Counter((names[v],) for one in served for v in one.consulted),
        "ttamer_answers_total": Counter((str(one.recalled).lower(), str(one.stage_name)) for one in served),
        "ttamer_stage_failures_total": Counter((names[v],) for one in served for v in one.failures),
        "ttamer_policy_info": Counter([(policy.digest,)]),
        "ttamer_stage_seconds_count": Counter((names[v],) for one in served for v in one.consulted),
    }
    for name, counts in wanted.items():
        assert present(seen[name]) == dict(counts), name
    assert seen["ttamer_request_cost_count"][()] == N
    assert seen["ttamer_request_cost_sum"][()] == pytest.approx(sum(one.cost for one in served))
    # All stages cost 15, and a bound is a share of that, halved again and again.
    below = {(f"{15.0 / 2**power:.6g}",): sum(one.cost <= 15.0 / 2**power for one in served) for power in range(10)}
    counts = seen["ttamer_request_cost_bucket"]
    assert {(f"{float(text):g}",): count for (text,), count in counts.items() if text != "+Inf"} == below
    seconds = sum(float(np.nansum(one.seconds)) for one in served if one.seconds is not None)
    assert sum(seen["ttamer_stage_seconds_sum"].values()) == pytest.approx(seconds)
    assert scrape(registry) == seen


def test_requests_that_nobody_answers_and_stages_that_are_barred(registry: client.CollectorRegistry) -> None:
    def fails(x: Any) -> Any:
        raise RuntimeError("no luck")

    breakers = [tt.Breaker(2, 1000.0), None, None]
    cascade = tt.Cascade(line(), stages([fails, fails, fails], breaker=breakers))
    prometheus.register(cascade, registry)
    for _ in range(5):
        with pytest.raises(tt.NoAnswerError):
            cascade(1)
    seen = scrape(registry)
    assert present(seen["ttamer_requests_total"]) == {("none",): 5}
    assert present(seen["ttamer_answers_total"]) == {}
    assert present(seen["ttamer_stage_barred_total"]) == {("stage 0",): 3}
    assert seen["ttamer_stage_failures_total"][("stage 0",)] == 2
    states = {state: seen["ttamer_circuit"][("stage 0", state)] for state in ("closed", "open", "half-open")}
    assert states == {"closed": 0, "open": 1, "half-open": 0}


def test_what_else_is_told(
    tmp_path: Path, trace: tt.Trace, policy: tt.Policy, registry: client.CollectorRegistry
) -> None:
    second = tt.fit(trace, tradeoff=0.6)
    monitor = tt.DriftMonitor.fit(policy, make_trace(seed=1))
    with tt.RecordLog(tmp_path) as log:
        cascade = tt.Cascade(
            policy,
            lookups(trace, 0.0),
            record=log,
            explore=0.25,
            shadow=second,
            observers=[monitor.update_record],
        )
        prometheus.register(cascade, registry, monitor=monitor)
        for row in range(N):
            cascade(row)
        log.flush()
        seen = scrape(registry)
        report, shadow = cascade.exploration_report(), cascade.shadow_report()
    assert 0 < report.explored == seen["ttamer_explored_requests_total"][()]
    assert seen["ttamer_exploration_cost_total"][()] == report.cost
    assert {name: seen["ttamer_exploration_stage_runs_total"][(name,)] for name in policy.stages} == report.runs
    assert (seen["ttamer_records_written_total"][()], seen["ttamer_records_dropped_total"][()]) == (N, 0)
    verdicts = {
        name: seen["ttamer_shadow_requests_total"][(name,)] for name in ("agreed", "stopped_earlier", "wanted_more")
    }
    assert verdicts == {name: getattr(shadow, name) for name in verdicts}
    assert shadow.compared == N
    assert (seen["ttamer_drift_requests_total"][()], seen["ttamer_drift_alarm"][()]) == (N, float(monitor.alarm))


def test_the_monitor_may_change_with_the_policy(
    trace: tt.Trace, policy: tt.Policy, registry: client.CollectorRegistry
) -> None:
    monitors = [tt.DriftMonitor.fit(policy, make_trace(seed=1)), None]
    cascade = tt.Cascade(policy, lookups(trace, 0.0))
    prometheus.register(cascade, registry, monitor=lambda: monitors[0])
    assert scrape(registry)["ttamer_drift_alarm"] == {(): 0.0}
    monitors.reverse()
    assert "ttamer_drift_alarm" not in scrape(registry)


def test_queues_of_a_batcher(trace: tt.Trace, policy: tt.Policy, registry: client.CollectorRegistry) -> None:
    cascade = tt.Cascade(policy, lookups(trace, 0.0))

    async def serve() -> tuple[dict[str, Any], dict[str, tt.StageStats]]:
        async with tt.Batcher(cascade, max_batch=8) as batcher:
            prometheus.register(cascade, registry, batcher=batcher)
            assert scrape(registry)["ttamer_batcher_wait_seconds_count"][(policy.stages[0],)] == 0
            await asyncio.gather(*[batcher(row) for row in range(N)])
            return scrape(registry), batcher.stats()

    seen, stats = asyncio.run(serve())
    assert seen["ttamer_batcher_pending"][()] == 0
    for name, one in stats.items():
        assert seen["ttamer_batcher_wait_seconds_count"][(name,)] == one.rows
        total = one.mean_wait * one.rows if one.rows else 0.0
        assert seen["ttamer_batcher_wait_seconds_sum"][(name,)] == pytest.approx(total)
        for reason, count in one.released.items():
            assert seen["ttamer_batcher_calls_total"][(reason, name)] == count


def test_where_a_governor_stands(trace: tt.Trace, registry: client.CollectorRegistry) -> None:
    family = tt.fit_family(trace, tradeoffs=[0.6, 0.9, 0.98])
    governor = tt.BudgetGovernor(family, max_cost=float(family.costs.mean()), window=50.0)
    cascade = tt.Cascade(governor.slot, lookups(trace, 0.0))
    prometheus.register(cascade, registry)
    for row in range(N):
        cascade(row)
    seen, report = scrape(registry), governor.report()
    told = {
        name: seen[f"ttamer_governor_{name}"][()] for name in ("level", "tradeoff", "mean_cost", "debt", "saturated")
    }
    assert told == {
        "level": report.level,
        "tradeoff": report.tradeoff,
        "mean_cost": report.mean_cost,
        "debt": report.debt,
        "saturated": float(report.saturated is not None),
    }
    assert report.requests == N
    assert list(seen["ttamer_policy_info"]) == [(cascade.policy.digest,)]


def test_unregistered_is_gone_and_the_counts_go_on(
    trace: tt.Trace, policy: tt.Policy, registry: client.CollectorRegistry
) -> None:
    cascade = tt.Cascade(policy, lookups(trace))
    registration = prometheus.register(cascade, registry)
    other = client.CollectorRegistry()
    prometheus.register(cascade, other)
    cascade(0)
    registration.unregister()
    registration.unregister()
    assert scrape(registry) == {}
    cascade(0)
    prometheus.register(cascade, registry)
    cascade(0)
    assert sum(scrape(registry)["ttamer_requests_total"].values()) == 3
    assert scrape(registry) == scrape(other)


def test_two_cascades_want_two_namespaces(
    trace: tt.Trace, policy: tt.Policy, registry: client.CollectorRegistry
) -> None:
    one, other = tt.Cascade(policy, lookups(trace)), tt.Cascade(policy, lookups(trace))
    prometheus.register(one, registry)
    with pytest.raises(tt.ValidationError) as raised:
        prometheus.register(other, registry)
    assert str(raised.value) == (
        "`registry` must have no metrics of `namespace` 'ttamer', and has those of another cascade: give each a "
        "registry or a namespace"
    )
    prometheus.register(other, registry, namespace="other")
    other(0)
    seen = scrape(registry)
    assert (sum(seen["ttamer_requests_total"].values()), sum(seen["other_requests_total"].values())) == (0, 1)


def test_a_scrape_during_swaps(trace: tt.Trace, registry: client.CollectorRegistry) -> None:
    policies = [tt.fit(trace, tradeoff=weight) for weight in (0.7, 0.95)]
    slot = tt.PolicySlot(policies[0])
    cascade = tt.Cascade(slot, lookups(trace, 0.0), shadow=policies[1])
    prometheus.register(cascade, registry)
    ended, sums = threading.Event(), list[float]()
    digests = set[tuple[str, ...]]()

    def read() -> None:
        while not ended.is_set():
            seen = scrape(registry)
            digests.update(labels for labels in seen["ttamer_policy_info"])
            assert len(seen["ttamer_policy_info"]) == 1
            sums.append(sum(seen["ttamer_requests_total"].values()))

    reader = threading.Thread(target=read)
    reader.start()
    for row in range(400):
        slot.swap(policies[row % 2])
        cascade(row)
    ended.set()
    reader.join(30.0)
    assert not reader.is_alive()
    assert digests <= {(one.digest,) for one in policies}
    assert sums == sorted(sums)
    assert sum(scrape(registry)["ttamer_requests_total"].values()) == 400


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_both_formats_can_be_read(
    trace: tt.Trace, policy: tt.Policy, registry: client.CollectorRegistry, accept: str
) -> None:
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open

    cascade = tt.Cascade(policy, lookups(trace), timing=True)
    prometheus.register(cascade, registry)
    cascade.batch(list(range(50)))
    encode, kind = choose_encoder(accept)
    text = encode(registry).decode()
    parse: Any = parse_open if "openmetrics" in kind else text_string_to_metric_families
    assert sum(s.value for f in parse(text) for s in f.samples if s.name == "ttamer_requests_total") == 50


def test_costs_are_told_in_shares_of_all(registry: client.CollectorRegistry) -> None:
    for kind, total in (("models", 15.0), ("exits", 15.0)):
        exits = make_trace(300, 4, kind=kind)
        trace = tt.Trace(exits.signal, exits.loss, [1.0, 2.0, 4.0, 8.0], kind=kind)
        cascade = tt.Cascade(tt.fit(trace, tradeoff=0.9), [abs] * 4, signal=float)
        registration = prometheus.register(cascade, registry)
        bounds = [float(text) for (text,) in scrape(registry)["ttamer_request_cost_bucket"]]
        assert (bounds[-3], bounds[-2], bounds[-1]) == (total / 2.0, total, math.inf)
        registration.unregister()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batcher": 3}, "`batcher` must be a Batcher of `cascade`, or None, got int"),
        ({"monitor": 3}, "`monitor` must be a DriftMonitor, a function or None, got int"),
        ({"namespace": "a-b"}, "`namespace` must be a name of letters, digits and `_`, got 'a-b'"),
        ({"registry": 3}, "`registry` must be a CollectorRegistry or None, got int"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    cascade = tt.Cascade(line(), stages([lambda x: (0, x, STOP), lambda x: (1, x, GO_ON), lambda x: (2, x, STOP)]))
    with pytest.raises(tt.ValidationError) as raised:
        prometheus.register(cascade, **options)
    assert str(raised.value) == message
    with pytest.raises(tt.ValidationError, match="`cascade` must be a Cascade, got int"):
        prometheus.register(3)  # type: ignore[arg-type]


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    cascade = tt.Cascade(line(), stages([abs, abs, abs]))
    with pytest.raises(tt.MissingExtraError, match=r"pip install \"ttamer_fast\[metrics\]\""):
        prometheus.register(cascade)


@pytest.fixture(autouse=True)
def nothing_is_left_in_the_registry_of_the_process() -> Iterator[None]:
    yield
    assert "ttamer_requests_total" not in scrape(client.REGISTRY)
