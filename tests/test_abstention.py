"""Nothing as an answer: at a known loss, at any time, wherever policies come from."""

from __future__ import annotations

import asyncio
import math
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import ttamer_fast as tt
from conftest import make_trace

DEFAULTS = (0.0, 0.02, 0.1, 0.3, 0.7, math.inf)


def quietly(trace: tt.Trace, **options: Any) -> tt.Policy:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tt.CalibrationWarning)
        return tt.fit(trace, **options)


def drawn(rng: np.random.Generator, loss: NDArray[np.float64], chance: list[NDArray[np.float64]], n: int) -> Any:
    """Signals that are minus the expected losses of the states of a chain, and losses of 0 or 1 as expected, (n, k)."""
    state = np.zeros(n, int)
    signal, lost = [], []
    for of_stage, chances in zip(loss, chance, strict=True):
        state = (rng.random(n)[:, np.newaxis] > np.cumsum(chances, axis=1)[state]).sum(axis=1)
        signal.append(-of_stage[state])
        lost.append(rng.random(n) < of_stage[state])
    return np.array(signal).T, np.array(lost).T


@pytest.mark.parametrize("graph", ["line", "skip"])
@pytest.mark.parametrize("default_loss", [0.04, 0.12, 0.3])
def test_as_good_as_the_exact_optimum(graph: str, default_loss: float) -> None:
    """Requests drawn from a small model, whose states are its losses: what is learned from them is near the best."""
    rng = np.random.default_rng(5)
    loss = np.array([[0.05, 0.3, 0.6], [0.02, 0.2, 0.5], [0.01, 0.05, 0.45]])
    chance = [np.array([[0.3, 0.4, 0.3]]), *([np.array([[0.8, 0.15, 0.05], [0.3, 0.4, 0.3], [0.05, 0.25, 0.7]])] * 2)]
    cost = np.array([1.0, 2.0, 4.0])
    tradeoff = 0.9
    weighted = (1.0 - tradeoff) * cost / cost.sum()
    if graph == "line":
        model = tt.Model.line(tradeoff * loss, weighted, chance)
    else:
        model = tt.Model.skip(tradeoff * loss, np.triu(np.tile(weighted, (3, 1))), chance)
    best = tt.solve(model, default_loss=tradeoff * default_loss).value
    fitted, fresh = (
        tt.Trace(signal, lost, cost, kind="models")
        for signal, lost in (drawn(rng, loss, chance, n) for n in (40_000, 200_000))
    )
    policy = quietly(fitted, tradeoff=tradeoff, graph=graph, default_loss=default_loss)
    found = tt.evaluate(policy, fresh)
    assert best < tt.solve(model).value
    assert found.objective == pytest.approx(best, rel=0.015)
    assert policy.value == pytest.approx(best, rel=0.02)


def test_cheaper_nothing_is_never_worse() -> None:
    trace = make_trace()
    values = [quietly(trace, tradeoff=0.95, recall=True, default_loss=loss).value for loss in DEFAULTS]
    assert values[0] == 0.0
    assert all(low <= high + 2e-3 for low, high in pairwise(values))
    assert values[3] < 0.97 * values[-1]


def test_a_large_default_loss_changes_nothing() -> None:
    for kind in ("models", "exits"):
        trace = make_trace(kind=kind)
        without, beyond = tt.fit(trace, tradeoff=0.9), tt.fit(trace, tradeoff=0.9, default_loss=50.0)
        pairs = [policy.replay(trace.signal, trace.prediction) for policy in (without, beyond)]
        for name in ("answer", "consulted", "cost"):
            np.testing.assert_array_equal(*[getattr(found, name) for found in pairs])
        assert without.default_loss == math.inf
        assert beyond.default_loss == 50.0


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["models", "exits"]),
    st.sampled_from([0.05, 0.12, 0.25]),
    st.sampled_from(["fit", "threshold", "stage_thresholds", "patience", "markov"]),
    st.integers(0, 3),
)
def test_what_is_in_hand_never_loses_more(kind: str, default_loss: float, how: str, seed: int) -> None:
    """Run, batch and replay agree; without an answer a request is expected to lose just the default loss."""
    trace = make_trace(300, 3, seed, kind)
    if how == "fit":
        policy = quietly(trace, tradeoff=0.95, default_loss=default_loss)
    else:
        policy = tt.baselines.ALL[how](trace, 0.95, default_loss)
    assert policy.default_loss == pytest.approx(default_loss)
    policy = tt.Policy.from_bytes(policy.to_bytes())
    replay = policy.replay(trace.signal, trace.prediction)
    said = trace.prediction
    assert said is not None
    lost = np.empty(trace.n)
    for row in range(trace.n):
        run = policy.start()
        assert (run.answer, run.expected_loss) == (None, policy.default_loss)
        while run.next is not None:
            run.observe(float(trace.signal[row, run.next]), said[row, run.next])
            if how in ("fit", "markov"):
                assert run.expected_loss <= policy.default_loss
            if run.answer is None:
                assert run.expected_loss == policy.default_loss
        lost[row] = run.expected_loss
        assert (-1 if run.answer is None else run.answer) == replay.answer[row]
    batch = policy.start_batch(trace.n)
    while (pending := batch.pending()) is not None:
        stage, rows = pending
        batch.observe(stage, trace.signal[rows, stage], said[rows, stage])
        assert (batch.expected_loss[batch.answer < 0] == policy.default_loss).all()
    np.testing.assert_array_equal(batch.answer, replay.answer)
    np.testing.assert_array_equal(batch.expected_loss, lost)


def test_nothing_at_once() -> None:
    trace = make_trace()
    with pytest.warns(tt.CalibrationWarning) as raised:
        policy = tt.fit(trace, tradeoff=0.95, default_loss=1e-4)
    assert [str(one.message) for one in raised] == [
        "`default_loss` of 0.0001 is below what any stage promises at this trade-off: the policy runs nothing and "
        "never answers"
    ]
    run = policy.start()
    assert (run.next, run.answer, run.cost, run.expected_loss) == (None, None, 0.0, 1e-4)
    found = tt.evaluate(policy, trace)
    assert found.loss == pytest.approx(1e-4)
    assert (found.cost, found.coverage, found.consulted_share.max()) == (0.0, 0.0, 0.0)
    assert math.isnan(found.risk)
    assert tt.baselines.static(trace, 0.95, 1e-4).start().next is None
    assert tt.baselines.static(trace, 0.95, 0.9).start().next is not None
    assert quietly(trace, max_cost=0.0, default_loss=0.5).start().next is None


def test_coverage_and_risk() -> None:
    train, test = make_trace().split()
    policy = quietly(train, tradeoff=0.95, default_loss=0.05)
    found = tt.evaluate(policy, test)
    answer = policy.replay(test.signal, test.prediction).answer
    answered = answer >= 0
    assert 0.1 < answered.mean() < 0.95
    loss = test.loss[answered, answer[answered]]
    assert found.coverage == pytest.approx(answered.mean())
    assert found.risk == pytest.approx(loss.mean())
    assert found.loss == pytest.approx(np.where(answered, 0.0, 0.05).mean() + loss.sum() / test.n)
    assert found.coverage_ci[0] < found.coverage < found.coverage_ci[1]
    assert found.risk_ci[0] <= found.risk < found.risk_ci[1]
    assert f"answered at all: {found.coverage:.1%}" in str(found)
    other = tt.evaluate(policy, test, default_loss=0.5)
    assert other.loss == pytest.approx(np.where(answered, 0.0, 0.5).mean() + loss.sum() / test.n)
    whole = tt.evaluate(tt.fit(train, tradeoff=0.95), test)
    assert (whole.coverage, whole.risk, whole.risk_ci) == (1.0, whole.loss, whole.loss_ci)
    assert "answered at all" not in str(whole)


def test_comparisons_know_it() -> None:
    trace = make_trace(600, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tt.TTamerWarning)
        plain, result = tt.compare(trace, 0.95, 3), tt.compare(trace, 0.95, 3, default_loss=0.12)
        frontier = tt.frontier(trace, 3, tradeoffs=[0.9], default_loss=0.12)
    assert result["fit"].objective < plain["fit"].objective
    assert result["clairvoyant"].objective <= min(row.objective for row in result.rows)
    assert result["last stage"] == result["last stage"]
    assert result["last stage"].loss == plain["last stage"].loss
    assert result["fit"].coverage < 1.0 == plain["fit"].coverage
    assert "answered" in str(result).splitlines()[1]
    assert "answered" not in str(plain)
    assert frontier.points["fit"][0].loss < plain["last stage"].loss + 0.12


def test_a_summary_knows_it() -> None:
    trace = make_trace(600, 3)
    policy = quietly(trace, tradeoff=0.95, default_loss=0.12)
    assert policy.provenance["default_loss"] == "0.12"
    found = tt.summarize(policy, trace, folds=3)
    assert 0.0 < found.coverage < 1.0
    assert found.coverage_ci[0] < found.coverage < found.coverage_ci[1]
    assert "and is answered in" in str(found)
    assert found.loss < tt.summarize(tt.fit(trace, tradeoff=0.95), trace, folds=3).loss + 0.12


def test_a_certificate_counts_it() -> None:
    trace = make_trace(4000, 3)
    policy = tt.fit_certified(trace, max_loss=0.12, default_loss=0.1, recall=True)
    fresh = make_trace(20_000, 3, seed=9)
    found = tt.evaluate(policy, fresh)
    assert policy.provenance["default_loss"] == "0.1"
    assert found.coverage < 1.0
    assert found.loss <= 0.12
    assert found.cost <= tt.evaluate(tt.fit_certified(trace, max_loss=0.12, recall=True), fresh).cost


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"default_loss": -0.5}, "`default_loss` must be at least 0, got -0.5"),
        ({"default_loss": math.nan}, "`default_loss` must be at least 0, got nan"),
        ({"default_loss": "high"}, "`default_loss` must be a number, got 'high'"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    trace = make_trace(200, 2)
    policy = tt.fit(trace, tradeoff=0.9)
    for refused in (
        lambda: tt.fit(trace, tradeoff=0.9, **options),
        lambda: tt.fit_certified(trace, max_loss=0.3, **options),
        lambda: tt.baselines.static(trace, 0.9, **options),
        lambda: tt.evaluate(policy, trace, **options),
        lambda: tt.compare(trace, **options),
        lambda: tt.frontier(trace, **options),
    ):
        with pytest.raises(tt.ValidationError) as raised:
            refused()
        assert str(raised.value) == message


@pytest.mark.parametrize(
    ("binary", "default_loss", "message"),
    [
        (False, 1.5, "`default_loss` must be at most `largest_loss` 1, got 1.5"),
        (True, 0.5, "`default_loss` must be 0 or 1 as `binary` is True, got 0.5"),
    ],
)
def test_a_certificate_holds_for_bounded_losses(binary: bool, default_loss: float, message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        tt.fit_certified(make_trace(400, 2), max_loss=0.3, binary=binary, default_loss=default_loss)
    assert str(raised.value) == message


def test_served_without_an_answer() -> None:
    """Alone, many at once, and from a queue."""
    trace = make_trace(400, 3)
    policy = quietly(trace, tradeoff=0.95, default_loss=0.05)
    said = trace.prediction
    assert said is not None

    def stage(number: int) -> tt.Stage[int, tuple[int, int]]:
        def run(row: int) -> tuple[int, int]:
            return row, number

        return tt.Stage(
            run,
            signal=lambda out: float(trace.signal[out]),
            prediction=lambda out: int(said[out]),
            name=f"stage {number}",
        )

    stages = [stage(number) for number in range(trace.k)]
    cascade = tt.Cascade(policy, stages)
    replay = policy.replay(trace.signal, said)
    rows = range(trace.n)

    async def queued() -> list[tt.Served[Any]]:
        async with tt.Batcher(cascade, max_batch=16) as batcher:
            return list(await asyncio.gather(*[batcher(row) for row in rows]))

    table = cascade.batch(list(rows))
    for row, served in [*enumerate(map(cascade, rows)), *enumerate(table), *enumerate(asyncio.run(queued()))]:
        if replay.answer[row] < 0:
            assert (served.output, served.stage, served.outcome) == (None, None, "abstained")
            assert served.expected_loss == 0.05
        else:
            assert served.output == (row, replay.answer[row])
        assert served.cost == replay.cost[row]
    assert 0.1 < (table.outcome == "abstained").mean() < 0.9


def test_stages_that_fail_leave_nothing() -> None:
    """With nothing in hand a request ends with nothing, and needs no last resort."""
    trace = make_trace(400, 3)
    policy = quietly(trace, tradeoff=0.95, default_loss=0.12)
    run = policy.start()
    while run.next is not None:
        run.fail()
        assert (run.answer, run.expected_loss) == (None, 0.12)
    run = tt.baselines.threshold(trace, 0.95, 0.12).start()
    while run.next is not None:
        run.fail()
    assert (run.answer, run.expected_loss) == (None, 0.12)


def test_risk_grows_with_coverage() -> None:
    train, test = make_trace(4000, 3).split()
    plain, declining = tt.fit(train, tradeoff=0.95), quietly(train, tradeoff=0.95, default_loss=0.05)
    curve, cut = tt.risk_coverage(plain, test), tt.risk_coverage(declining, test)
    whole, part = tt.evaluate(plain, test), tt.evaluate(declining, test)
    assert (curve.coverage[-1], curve.risk[-1]) == (1.0, pytest.approx(whole.risk))
    assert (cut.coverage[-1], cut.risk[-1]) == (pytest.approx(part.coverage), pytest.approx(part.risk))
    assert (np.diff(curve.coverage) > 0.0).all()
    assert (np.diff(curve.limit) > 0.0).all()
    assert cut.limit[-1] <= 0.05
    assert curve.risk[len(curve.risk) // 2] < 0.5 * curve.risk[-1]
    assert 0.0 < curve.area < 0.5 * curve.risk[-1]
    assert curve.to_dict()["area"] == curve.area
    assert str(curve).splitlines()[-1].split()[0] == "100.0%"


def test_risk_by_hand() -> None:
    """A threshold rule expects what its stages lose on average: the rows that stop at each come together."""
    signal = np.array([[0.9, 0.9], [0.9, 0.1], [0.1, 0.9], [0.1, 0.1], [0.2, 0.2]])
    loss = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    weight = np.array([1.0, 1.0, 2.0, 1.0, 3.0])
    trace = tt.Trace(signal, loss, [1.0, 1.0], kind="models", weight=weight)
    policy = tt.baselines.static(trace, 1.0)
    curve = tt.risk_coverage(policy, trace)
    assert policy.start().next == 1
    assert (curve.coverage.tolist(), curve.risk.tolist(), curve.area) == ([1.0], [0.125], 0.125)


def test_nobody_answered_has_no_curve(tmp_path: Any) -> None:
    trace = make_trace(300, 2)
    curve = tt.risk_coverage(tt.baselines.static(trace, 0.5, 0.0), trace)
    assert (len(curve.coverage), curve.area) == (0, 0.0)
    assert len(str(curve).splitlines()) == 1
    pytest.importorskip("matplotlib")
    for one in (curve, tt.risk_coverage(tt.fit(trace, tradeoff=0.9), trace)):
        one.plot(tmp_path / "curve.svg", loss_unit="share of wrong answers")
        assert "share of wrong answers" in (tmp_path / "curve.svg").read_text()
