"""What its stages cost is known of a request before it begins: each range of costs is decided as if fitted to it."""

from __future__ import annotations

import asyncio
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import ttamer_fast as tt
from ttamer_fast.cli import main
from ttamer_fast.plotting.policy import plot_policy

N, K = 3000, 3
PRICES = np.array([1.0, 3.0, 8.0])
SCALES = np.array([0.25, 1.0, 4.0])
TRADEOFF = 0.9

Floats = NDArray[np.float64]


def requests(kind: str, relative: Floats, seed: int = 0, of: Floats | None = None) -> tt.Trace:
    """Requests whose stages cost so many times the prices `of` (k,) or (n, k)."""
    rng = np.random.default_rng(seed)
    n = len(relative)
    ease = rng.normal(size=(n, 1))
    signal = 1 / (1 + np.exp(-(ease + rng.normal(size=(n, K)) + np.array([0.0, 1.0, 2.0]))))
    right = rng.random((n, K)) < signal
    prediction = np.where(right, 1, rng.integers(2, 5, (n, K)))
    cost = relative[:, None] * (PRICES if of is None else of)
    return tt.Trace(signal, (~right).astype(float), cost, prediction=prediction, kind=kind)


def some(kind: str, seed: int = 0) -> tt.Trace:
    """Three costs, each of a third of the requests; the mean is 1.75 times the prices."""
    return requests(kind, np.resize(SCALES, N), seed)


@pytest.fixture(params=["exits", "models"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fitted(kind: str, **options: object) -> tt.Policy:
    return tt.fit(some(kind), tradeoff=TRADEOFF, known_cost=True, **options)  # type: ignore[arg-type]


def test_each_range_is_decided_as_a_fit_at_its_prices(kind: str) -> None:
    trace = some(kind)
    policy, mean = fitted(kind), float(SCALES.mean())
    alike = tt.Trace(trace.signal, trace.loss, PRICES * mean, prediction=trace.prediction, kind=kind)
    for scale in SCALES / mean:
        dearer = (1 - TRADEOFF) * scale
        own = tt.fit(alike, tradeoff=TRADEOFF / (TRADEOFF + dearer), recall=True)
        found = policy.replay(trace.signal, trace.prediction, cost=scale)
        wanted = own.replay(trace.signal, trace.prediction)
        assert np.array_equal(found.answer, wanted.answer)
        assert np.array_equal(found.consulted, wanted.consulted)
        np.testing.assert_allclose(found.cost, wanted.cost * scale, rtol=1e-12)


def test_dear_requests_ask_for_less(kind: str) -> None:
    trace, policy = some(kind), fitted(kind)
    asked = [policy.replay(trace.signal, trace.prediction, cost=c).consulted.sum() for c in (0.1, 1.0, 5.0)]
    assert asked[0] > asked[1] > asked[2]


def test_evaluation_tells_each_row_its_cost(kind: str) -> None:
    trace, policy = some(kind, seed=1), fitted(kind)
    relative = np.asarray(trace.cost).sum(1) / (PRICES.sum() * SCALES.mean())
    replay = policy.replay(trace.signal, trace.prediction, cost=relative)
    outcome = tt.evaluate(policy, trace)
    assert outcome.cost == pytest.approx(replay.cost.mean(), rel=1e-12)
    lost = np.asarray(trace.loss)[np.arange(trace.n), replay.answer]
    assert outcome.loss == pytest.approx(lost.mean(), rel=1e-12)


def test_it_pays_where_costs_differ(kind: str) -> None:
    rng = np.random.default_rng(2)
    learned, held = (requests(kind, rng.lognormal(0.0, 0.8, 6000), seed) for seed in (3, 4))
    knows, plain = (tt.fit(learned, tradeoff=TRADEOFF, known_cost=known) for known in (True, False))
    difference = tt.evaluate(knows, held).objective - tt.evaluate(plain, held).objective
    assert difference < 0.0


def test_runs_batches_and_replays_agree(kind: str) -> None:
    trace, policy = some(kind, seed=5)[:200], fitted(kind)
    relative = np.random.default_rng(6).lognormal(0.0, 1.0, trace.n)
    signal, said = np.asarray(trace.signal), np.asarray(trace.prediction)
    replay = policy.replay(signal, said, cost=relative)
    batch = policy.start_batch(trace.n, cost=relative)
    again = policy.start()
    while (asked := batch.first()) is not None:
        stage, rows = asked
        batch.observe(stage, signal[rows, stage], said[rows, stage])
    assert np.array_equal(batch.answer, replay.answer)
    assert np.array_equal(batch.cost, replay.cost)
    for row in range(trace.n):
        run = policy.start(cost=relative[row])
        again.restart(cost=relative[row])
        while run.next is not None:
            assert run.next == again.next
            report = float(signal[row, run.next]), int(said[row, run.next])
            run.observe(*report)
            again.observe(*report)
        assert (run.answer, run.cost) == (again.answer, again.cost)
        assert (-1 if run.answer is None else run.answer, run.cost) == (replay.answer[row], replay.cost[row])


def test_failures_and_barred_stages_keep_the_cost_of_the_request(kind: str) -> None:
    policy = fitted(kind)
    run = policy.start(cost=2.0)
    first = run.next
    run.fail()
    plain = policy.start(cost=1.0)
    plain.fail()
    assert first is not None
    assert run.cost == 2.0 * plain.cost > 0.0
    run.stop()
    barred = policy.start(None, [first], 4.0)
    assert barred.next != first
    batch = policy.start_batch(2, barred=[first], cost=[4.0, 0.25])
    assert batch.next[0] == (-1 if barred.next is None else barred.next)
    assert batch.next[1] == policy.start(None, [first], 0.25).next


def test_a_policy_of_models_is_exact_without_a_model() -> None:
    policy, trace = fitted("models"), some("models")
    assert policy.exact_without([0])
    for cost in (0.2, 3.0):
        batch = policy.start_batch(trace.n, barred=[0], cost=cost)
        assert not (batch.next == 0).any()


def test_files_describe_and_provenance(kind: str, tmp_path: Path) -> None:
    policy = fitted(kind)
    policy.save(tmp_path / "policy.tt")
    for other in (tt.Policy.load(tmp_path / "policy.tt"), pickle.loads(pickle.dumps(policy))):
        assert other == policy
        assert other.knows_cost
        assert other.start(cost=4.0).next == policy.start(cost=4.0).next
    rule = policy.describe()["rule"]
    assert rule["type"] == "priced"
    assert len(rule["components"]) == len(rule["from"]) + 1 == len(SCALES)
    assert policy.provenance["known_cost"] == "true"
    assert not tt.fit(some(kind), tradeoff=TRADEOFF).knows_cost


def test_it_is_shown_range_by_range(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = fitted(kind)
    policy.save(tmp_path / "policy.tt")
    assert main(["inspect", str(tmp_path / "policy.tt")]) == 0
    said = capsys.readouterr().out
    edges = policy.describe()["rule"]["from"]
    assert f"for requests that cost from 0 to {edges[0]:.4g} times the average:" in said
    assert f"for requests that cost from {edges[-1]:.4g} times the average:" in said
    plot_policy(policy, tmp_path / "policy.png")
    assert (tmp_path / "policy.png").stat().st_size > 10_000
    same = tt.diff(policy, tt.fit(some(kind), tradeoff=TRADEOFF))
    assert "knows costs" in str(same)


def test_calibrations_families_and_prices(kind: str) -> None:
    trace, policy = some(kind), fitted(kind)
    calibration = tt.calibrate(trace, known_cost=True)
    assert calibration.policy(tradeoff=TRADEOFF) == policy
    family = tt.fit_family(trace, [0.8, TRADEOFF], known_cost=True)
    assert family.at(TRADEOFF).to_bytes() == policy.to_bytes()
    repriced = policy.repriced(np.array([1.0, 1.0, 20.0]))
    assert repriced.knows_cost
    consulted = [p.replay(trace.signal, trace.prediction, cost=1.0).consulted[:, 2].mean() for p in (policy, repriced)]
    assert consulted[1] < consulted[0]


def test_budgets_hold(kind: str) -> None:
    trace = some(kind)
    policy = tt.fit(trace, max_cost=4.0, known_cost=True)
    plain = tt.fit(trace, max_cost=4.0)
    assert policy.knows_cost
    found, usual = tt.evaluate(policy, trace), tt.evaluate(plain, trace)
    assert found.cost <= 4.0
    assert found.loss < usual.loss


def test_costs_that_are_not_proportional_are_fitted_row_by_row() -> None:
    rng = np.random.default_rng(7)
    tokens = rng.lognormal(0.0, 1.0, N)
    fixed = np.array([1.0, 1.0, 1.0]) + tokens[:, None] * np.array([0.0, 2.0, 7.0])
    trace = requests("models", np.ones(N), of=fixed)
    policy = tt.fit(trace, tradeoff=TRADEOFF, known_cost=True)
    plain = tt.fit(trace, tradeoff=TRADEOFF)
    assert tt.evaluate(policy, trace).objective < tt.evaluate(plain, trace).objective


def test_a_deadline_can_be_known_too() -> None:
    trace = some("models")
    latency = np.tile([0.01, 0.02, 0.08], (trace.n, 1))
    timed = tt.Trace(trace.signal, trace.loss, trace.cost, prediction=trace.prediction, kind="models", latency=latency)
    policy = tt.fit(timed, tradeoff=TRADEOFF, known_cost=True, deadline=True)
    assert policy.knows_cost
    assert policy.knows_time
    assert policy.start(remaining=0.05, cost=0.25).next is not None
    found = policy.replay(trace.signal, trace.prediction, latency, 0.05, cost=0.25)
    assert not found.consulted[:, 2].any()


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (-1.0, "`cost` must be finite and at least 0, got -1"),
        (float("nan"), "`cost` must be finite and at least 0, got NaN"),
        (float("inf"), "`cost` must be finite and at least 0, got inf"),
        ("2", "`cost` must be a number"),
    ],
)
def test_a_cost_is_finite_and_not_negative(cost: object, message: str) -> None:
    policy = fitted("models")
    run = policy.start()
    for call in (lambda: policy.start(cost=cost), lambda: run.restart(cost=cost)):  # type: ignore[arg-type]
        with pytest.raises(tt.ValidationError) as caught:
            call()
        assert str(caught.value).startswith(message)


def test_bad_costs_of_many_are_named() -> None:
    policy, trace = fitted("models"), some("models")
    calls: list[Callable[[object], object]] = [
        lambda cost: policy.start_batch(3, cost=cost),  # type: ignore[arg-type]
        lambda cost: policy.replay(trace.signal[:3], trace.prediction[:3], cost=cost),  # type: ignore[index, arg-type]
    ]
    for call in calls:
        with pytest.raises(tt.ValidationError, match=r"^`cost\[1\]` must be finite and at least 0, got -2"):
            call([1.0, -2.0, -3.0])
        with pytest.raises(tt.ValidationError, match=r"^`cost` must be one number or have shape \(3,\)"):
            call([1.0, 2.0])


def test_only_policies_that_know_costs_are_told() -> None:
    plain = tt.fit(some("models"), tradeoff=TRADEOFF)
    assert plain.start(cost=1.0).next == plain.start().next
    for call in (lambda: plain.start(cost=2.0), lambda: plain.start_batch(2, cost=2.0)):
        with pytest.raises(tt.ValidationError, match=r"^`cost` must be 1, as this policy .*known_cost=True"):
            call()


def test_costs_must_be_by_row_and_the_method_the_default() -> None:
    trace = some("exits")
    alike = tt.Trace(trace.signal, trace.loss, PRICES, kind="exits")
    with pytest.raises(tt.ValidationError, match=r"^`known_cost` needs a trace with a cost of each row, \(n, k\)"):
        tt.fit(alike, tradeoff=TRADEOFF, known_cost=True)
    with pytest.raises(tt.ValidationError, match=r"^`known_cost` needs the estimator 'pathwise', got 'markov'"):
        tt.fit(trace, tradeoff=TRADEOFF, known_cost=True, estimator="markov")
    with pytest.raises(tt.ValidationError, match=r"^`recalibrated` needs a policy that weighs beliefs"):
        fitted("exits").recalibrated(trace)


def stages() -> list[tt.Stage[float, tuple[float, int]]]:
    """Each is as sure as its input says, the last one is sure."""

    def stage(at: int) -> tt.Stage[float, tuple[float, int]]:
        def run(x: float) -> tuple[float, int]:
            return min(0.99, 0.6 + 0.2 * at), at

        return tt.Stage(
            run,
            signal=lambda y: y[0],
            prediction=lambda y: y[1],
            name=f"stage {at}",
        )

    return [stage(at) for at in range(K)]


def test_a_cascade_tells_what_requests_cost() -> None:
    policy = fitted("models")
    cascade = tt.Cascade(policy, stages(), cost=lambda x: x)
    inputs = [0.1, 1.0, 6.0]
    alone = [cascade(x) for x in inputs]
    for served, x in zip(alone, inputs, strict=True):
        run = policy.start(cost=x)
        while run.next is not None:
            run.observe(min(0.99, 0.6 + 0.2 * run.next), run.next)
        assert (served.stage, served.cost) == (run.answer, run.cost)
        assert "cost" in str(served.explain())
    assert len(alone[0].consulted) >= len(alone[2].consulted)
    table = cascade.batch(inputs)
    assert table.cost.tolist() == [served.cost for served in alone]
    assert cascade.batch(inputs[:1]).cost.tolist() == [alone[0].cost]

    async def both() -> tuple[list[float], list[float]]:
        async with tt.Batcher(cascade) as batcher:
            queued = await asyncio.gather(*(batcher(x) for x in inputs))
        return [(await cascade.acall(x)).cost for x in inputs], [served.cost for served in queued]

    assert asyncio.run(both()) == ([served.cost for served in alone],) * 2
    other = pickle.loads(pickle.dumps(policy))
    assert tt.Cascade(other, stages(), cost=float)(6.0).cost == alone[2].cost


def test_a_cost_that_cannot_be_told_is_that_of_the_average_request() -> None:
    policy = fitted("models")

    def broken(x: float) -> float:
        raise KeyError(x)

    for cost in (broken, lambda x: -x, lambda x: float("nan"), lambda x: "?"):
        cascade = tt.Cascade(policy, stages(), cost=cost)
        with pytest.warns(tt.ServingWarning, match="count as average ones"):
            served = cascade(3.0)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert cascade(3.0).cost == served.cost == tt.Cascade(policy, stages())(3.0).cost
    with pytest.raises(tt.ValidationError, match=r"^`cost` must be a callable or None, got float"):
        tt.Cascade(policy, stages(), cost=2.0)  # type: ignore[arg-type]


def test_a_policy_that_does_not_know_costs_serves_all_the_same() -> None:
    plain = tt.fit(some("models"), tradeoff=TRADEOFF)
    assert tt.Cascade(plain, stages(), cost=lambda x: x)(6.0).cost == tt.Cascade(plain, stages())(6.0).cost
