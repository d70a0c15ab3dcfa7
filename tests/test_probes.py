"""Stages that inform and never answer: their losses are infinite."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace
from probes import noise, with_probe


def objective(trace: tt.Trace, full: float, default_loss: float = math.inf, tradeoff: float = 0.95) -> float:
    """Out of sample, the cost as a share of `full`, of the fit for a trade-off that says the same."""
    weighed = tradeoff / (tradeoff + (1.0 - tradeoff) * trace.full_cost / full)
    train, test = trace.split()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tt.TTamerWarning)
        policy = tt.fit(train, tradeoff=weighed, default_loss=default_loss)
    found = tt.evaluate(policy, test)
    return tradeoff * found.loss + (1.0 - tradeoff) * found.cost / full


@pytest.mark.parametrize("kind", ["models", "exits"])
@pytest.mark.parametrize("default_loss", [math.inf, 0.05])
def test_noise_at_a_price_costs_nothing(kind: str, default_loss: float) -> None:
    plain = make_trace(6000, 3, kind=kind)
    if kind == "exits":
        # An exit cannot be passed over without its cost: at the end it need not be reached.
        probed = with_probe(plain, noise(plain), 0.5, place=plain.k)
    else:
        probed = with_probe(plain, noise(plain), 0.5)
    full = plain.full_cost
    assert objective(probed, full, default_loss) == pytest.approx(objective(plain, full, default_loss), rel=0.02)


def test_a_stage_that_knows_makes_the_rest_nearly_free() -> None:
    """The true label as what a probe says, and whether the cheapest stage is right as its signal."""
    drawn = make_trace(6000, 3)
    assert drawn.prediction is not None
    label = np.random.default_rng(3).integers(0, 4, drawn.n)
    wrong = drawn.prediction
    assert wrong is not None
    said = (label[:, np.newaxis] + (drawn.loss > 0.0) * wrong) % 4
    plain = tt.Trace(drawn.signal, drawn.loss, drawn.cost, said, kind="models")
    full = plain.full_cost
    base = objective(plain, full)
    knows_all = objective(with_probe(plain, np.full(plain.n, 0.5), said=label), full)
    knows_first = objective(with_probe(plain, 1.0 - plain.loss[:, 0]), full)
    cost = np.where(plain.loss == 0.0, plain.cost, math.inf).min(axis=1)
    cheapest = np.where(np.isinf(cost), plain.cost[0], cost)
    oracle = 0.95 * np.isinf(cost).mean() + 0.05 * cheapest.mean() / full
    assert base > 2.0 * oracle
    assert knows_all < 1.2 * oracle + 0.01
    assert knows_first < 0.9 * base


@pytest.mark.parametrize("rising", [False, True])
def test_a_difficulty_is_read_either_way(rising: bool) -> None:
    """A probe before the first model routes hard requests past it."""
    rng = np.random.default_rng(2)
    n = 8000
    is_hard = rng.random(n) < 0.5
    loss = np.column_stack([rng.random(n) < np.where(is_hard, 0.5, 0.02), rng.random(n) < 0.02])
    plain = tt.Trace(rng.random((n, 2)), loss, [1.0, 4.0], kind="models")
    hint = np.where(is_hard == rising, 1.0, 0.0) + 0.1 * rng.random(n)
    probed = with_probe(plain, hint, 0.1)
    policy = tt.fit(probed, tradeoff=0.95)
    assert policy.start().next == 0
    run = policy.start()
    for hard, stages in ((True, [2]), (False, [1])):
        run = policy.start()
        run.observe(1.05 if hard == rising else 0.05)
        asked = []
        while run.next is not None:
            asked.append(run.next)
            run.observe(0.5)
        assert (asked, run.answer) == (stages, stages[-1])
    full = plain.full_cost
    assert objective(probed, full) < 0.85 * objective(plain, full)


def test_nothing_is_in_hand_after_a_probe() -> None:
    trace = make_trace(3000, 3)
    probed = with_probe(trace, 1.0 - trace.loss.mean(axis=1) + 0.01 * noise(trace))
    policy = tt.fit(probed, tradeoff=0.95)
    run = policy.start()
    assert run.next == 0
    run.observe(0.9, None)
    assert (run.answer, run.expected_loss) == (None, math.inf)
    while run.next is not None:
        run.fail()
    assert run.answer is None
    batch = policy.start_batch(2)
    batch.observe(0, np.array([0.9, 0.1]))
    assert batch.answer.tolist() == [-1, -1]
    said = probed.prediction
    assert said is not None
    replay = policy.replay(probed.signal, said)
    assert (replay.answer > 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tt.CalibrationWarning)
        careful = tt.fit(probed, tradeoff=0.95, default_loss=0.05)
    answer = careful.replay(probed.signal, said)
    only = answer.consulted.sum(axis=1) == answer.consulted[:, 0]
    assert (answer.answer[only] == -1).all()
    assert (answer.answer != 0).all()
    assert tt.Policy.from_bytes(policy.to_bytes()) == policy


def test_every_failure_leads_to_a_stage_that_answers() -> None:
    """The last resort is never a probe."""
    trace = make_trace(1500, 3)
    for place in (0, 2, 3):
        probed = with_probe(trace, noise(trace), 0.0, place=place)
        for policy in (
            tt.fit(probed, tradeoff=0.9),
            *(rule(probed, 0.9, math.inf) for rule in tt.baselines.ALL.values()),
        ):
            for answers in range(probed.k):
                run = policy.start()
                asked = []
                while run.next is not None:
                    asked.append(run.next)
                    if run.next == answers:
                        run.observe(0.5, 1)
                    else:
                        run.fail()
                assert run.answer != place
                assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_baselines_pass_it_over(kind: str) -> None:
    trace = make_trace(1000, 3, kind=kind)
    probed = with_probe(trace, noise(trace), 0.0, place=1)
    said = probed.prediction
    assert said is not None
    for name, rule in tt.baselines.ALL.items():
        plain, passing = rule(trace, 0.9, math.inf), rule(probed, 0.9, math.inf)
        without = plain.replay(trace.signal, trace.prediction)
        replay = passing.replay(probed.signal, said)
        assert not replay.consulted[:, 1].any(), name
        np.testing.assert_array_equal(np.delete(replay.consulted, 1, axis=1), without.consulted)
        np.testing.assert_array_equal(np.array([0, 2, 3])[without.answer], replay.answer)
        assert passing.value == pytest.approx(plain.value)


def test_judging_knows_that_it_never_answers() -> None:
    trace = make_trace(900, 3)
    probed = with_probe(trace, noise(trace), 0.1, place=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tt.TTamerWarning)
        result = tt.compare(probed, 0.9, 3)
        frontier = tt.frontier(probed, 3, tradeoffs=[0.9])
        policy = tt.fit(probed, max_loss="last+0.02")
        found = tt.evaluate(policy, probed)
        summary = tt.summarize(policy, probed, folds=3)
        certified = tt.fit_certified(probed, max_loss=0.25, recall=True)
        monitor = tt.DriftMonitor.fit(policy, probed)
    assert result["last stage"].loss == pytest.approx(trace.mean_loss[-1])
    assert all(math.isfinite(row.objective) for row in result.rows)
    assert frontier.stages == trace.stages
    assert all(math.isfinite(value) for value in (found.loss, *found.loss_ci, *found.objective_ci))
    assert found.answer_share[3] == 0.0
    assert summary.last.stage == trace.stages[-1]
    assert certified.replay(probed.signal, probed.prediction).answer.max() < 3
    assert monitor.stages == probed.stages


@pytest.mark.parametrize("ending", ["npz", "csv", "parquet"])
def test_files_keep_it(ending: str, tmp_path: Path) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    trace = make_trace(50, 2)
    probed = with_probe(trace, noise(trace))
    probed.save(tmp_path / f"trace.{ending}")
    again = tt.read_trace(tmp_path / f"trace.{ending}")
    assert again.digest == probed.digest
    assert np.isinf(again.loss[:, 0]).all()
    builder = tt.TraceBuilder(probed.stages, kind="models", capacity=20)
    said = probed.prediction
    builder.append(probed.signal, probed.loss, probed.cost, said)
    builder.save(tmp_path / "builder.npz")
    loaded = tt.TraceBuilder.load(tmp_path / "builder.npz")
    np.testing.assert_allclose(loaded.mean_loss, probed.mean_loss)
    assert np.isinf(loaded.build().loss[:, 0]).all()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            [[math.inf, 0.0], [0.5, 1.0], [math.inf, 0.0]],
            "`loss` row 1 column 0 must be finite as in row 0, or infinite in every row, of a stage that never "
            "answers: got 0.5 after inf",
        ),
        (
            [[0.0, 0.0], [0.0, 1.0], [0.0, math.inf]],
            "`loss` row 2 column 1 must be finite as in row 0, or infinite in every row, of a stage that never "
            "answers: got inf after 0.0",
        ),
        (
            [[math.inf, math.inf]] * 3,
            "`loss` must be known and finite for at least one stage: one of infinite loss informs and never answers",
        ),
        ([[0.0, -math.inf]] * 3, "`loss` row 0 column 1 must be finite and at least 0, got -inf"),
    ],
)
def test_refusals(loss: list[list[float]], message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        tt.Trace(np.full((3, 2), 0.5), loss, [1.0, 2.0])
    assert str(raised.value) == message


def test_an_order_needs_a_stage_that_answers() -> None:
    trace = make_trace(300, 2)
    probed = with_probe(trace, noise(trace))
    with pytest.raises(tt.ValidationError) as raised:
        tt.fit(probed, tradeoff=0.9, order=["probe"])
    assert str(raised.value) == ("`order` must name at least one stage that answers, got stages of infinite loss only")
    policy = tt.fit(probed, tradeoff=0.9, order=["probe", trace.stages[1]])
    assert set(policy.replay(probed.signal, probed.prediction).answer.tolist()) == {2}
