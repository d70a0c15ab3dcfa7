"""Requests that go without some stages: barred before they begin."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace

MODELS = make_trace(n=1500, k=4, seed=3, kind="models")
EXITS = make_trace(n=1500, k=4, seed=3, kind="exits")
POLICIES = {
    "any order": tt.fit(MODELS, tradeoff=0.9),
    "line of exits": tt.fit(EXITS, tradeoff=0.97),
    "budget": tt.fit(
        MODELS, max_cost=0.4 * float(MODELS.cost.sum() if MODELS.cost.ndim == 1 else MODELS.cost[0].sum())
    ),
    "threshold": tt.baselines.threshold(MODELS, tradeoff=0.9),
    "patience": tt.baselines.patience(EXITS, tradeoff=0.9),
    "markov": tt.baselines.markov(MODELS, tradeoff=0.9),
}
SETS = [set(barred) for m in range(5) for barred in itertools.combinations(range(4), m)]


def end(run: tt.Run | Any) -> tuple[Any, ...]:
    return run.next, run.answer, run.cost, run.expected_loss


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("barred", SETS, ids=str)
def test_a_barred_stage_is_never_asked_and_batches_do_the_same(name: str, barred: set[int]) -> None:
    policy, trace = POLICIES[name], MODELS
    runs = [policy.start(barred=barred) for _ in range(40)]
    for row, run in enumerate(runs):
        asked = []
        while (stage := run.next) is not None:
            asked.append(stage)
            run.observe(float(trace.signal[row, stage]), int(trace.prediction[row, stage]))  # type: ignore[index]
        assert not barred & set(asked)
        assert len(asked) == len(set(asked))
        assert (run.answer is None) == (len(barred) == 4), "somebody is left who could have answered"
    batch = policy.start_batch(40, barred=sorted(barred))
    while (pending := batch.pending()) is not None:
        stage, rows = pending
        assert stage not in barred
        batch.observe(stage, trace.signal[rows, stage], trace.prediction[rows, stage])  # type: ignore[index]
    assert batch.answer.tolist() == [-1 if run.answer is None else run.answer for run in runs]
    assert batch.cost.tolist() == [run.cost for run in runs]
    assert batch.expected_loss.tolist() == [run.expected_loss for run in runs]


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "budget"])
def test_barring_before_is_barring_when_the_first_stage_comes(name: str) -> None:
    policy = POLICIES[name]
    first = policy.start().next
    assert first is not None
    for row in range(200):
        early, late = policy.start(barred=[first]), policy.start()
        while early.next is not None:
            while late.next == first:
                late.bar()
            assert end(early) == end(late)
            report = float(MODELS.signal[row, early.next]), int(MODELS.prediction[row, early.next])  # type: ignore[index]
            early.observe(*report)
            late.observe(*report)
        while late.next == first:
            late.bar()
        assert end(early) == end(late)


@pytest.mark.parametrize("barred", [list(barred) for barred in SETS if 0 < len(barred) < 4], ids=str)
def test_barred_models_are_as_if_the_policy_were_fitted_without_them(barred: list[int]) -> None:
    policy, kept = tt.fit(MODELS, tradeoff=0.9, recall=True), [v for v in range(4) if v not in barred]
    assert policy.exact_without(barred)
    assert MODELS.prediction is not None
    cost = MODELS.cost.mean(0) if MODELS.cost.ndim == 2 else MODELS.cost
    share = cost[kept].sum() / cost.sum()
    without = tt.fit(
        tt.Trace(MODELS.signal[:, kept], MODELS.loss[:, kept], cost[kept], MODELS.prediction[:, kept], kind="models"),
        tradeoff=0.9 / (0.9 + 0.1 * share),
        recall=True,
    )
    replay = without.replay(MODELS.signal[:, kept], MODELS.prediction[:, kept])
    batch = policy.start_batch(len(MODELS), barred=barred)
    while (pending := batch.pending()) is not None:
        stage, rows = pending
        batch.observe(stage, MODELS.signal[rows, stage], MODELS.prediction[rows, stage])
    np.testing.assert_array_equal(batch.answer, np.array(kept)[replay.answer])
    np.testing.assert_allclose(batch.cost, replay.cost, rtol=1e-12)


def test_without_a_model_a_fit_is_nearly_the_optimum_of_what_the_trace_was_drawn_from() -> None:
    rng = np.random.default_rng(8)
    wrong = np.array([[0.05, 0.3, 0.6], [0.02, 0.2, 0.5], [0.02, 0.1, 0.35], [0.01, 0.05, 0.2]])
    cost, n = np.array([1.0, 2.0, 3.0, 6.0]), 40_000
    state = rng.integers(3, size=(n, 4))
    trace = tt.Trace(-state.astype(float), rng.random((n, 4)) < wrong[np.arange(4), state], cost, kind="models")
    tradeoff = 0.95
    weight_of_cost = (1 - tradeoff) / cost.sum()
    policy = tt.fit(trace, tradeoff=tradeoff, recall=True)
    evenly = [[1 / 3] * 3]
    worth = []
    for barred in [[], [0], [1], [2], [3], [1, 3], [0, 2]]:
        kept = [v for v in range(4) if v not in barred]
        boxes = tt.Model.tree(
            [-1] * len(kept), [tradeoff * wrong[v] for v in kept], weight_of_cost * cost[kept], [evenly] * len(kept)
        )
        least = tt.solve(boxes).value
        batch = policy.start_batch(n, barred=barred)
        while (pending := batch.pending()) is not None:
            stage, rows = pending
            batch.observe(stage, trace.signal[rows, stage])
        expected = tradeoff * wrong[batch.answer, state[np.arange(n), batch.answer]] + weight_of_cost * batch.cost
        worth.append(float(expected.mean()) / least)
    # So far from the optimum are fits of these models alone, too: three signals are coarse.
    assert max(worth) < 1.06, worth
    assert np.mean(worth) < 1.02, worth
    assert min(worth) > 0.985, "no policy is better than the optimum but by chance"


def test_stages_are_named_or_numbered_and_named_twice_they_are_barred_once() -> None:
    trace = tt.Trace(MODELS.signal, MODELS.loss, MODELS.cost, kind="models", stages=["a", "b", "c", "d"])
    policy = tt.fit(trace, tradeoff=0.9)
    first = policy.start().next
    assert first is not None
    name = policy.stages[first]
    ways: list[Any] = [[first], (name,), {name}, np.array([first]), [name, first, np.int32(first)], iter([name])]
    for barred in ways:
        assert policy.start(barred=barred).next not in (None, first)
    nobodies: list[Any] = [(), [], np.array([], np.int64), iter(())]
    for nobody in nobodies:
        assert policy.start(barred=nobody).next == first
    assert policy.start(None, [first]).next == policy.start_batch(1, barred=[name]).next[0]


@pytest.mark.parametrize(
    ("barred", "told"),
    [
        ("a", "`barred` must be a sequence of stages, by number or name, got 'a'"),
        (b"a", "`barred` must be a sequence of stages, by number or name, got b'a'"),
        (1, "`barred` must be a sequence of stages, by number or name, got 1"),
        ([0, 4], "`barred[1]` must be in 0..4, got 4"),
        ([0, 2**70], "`barred[1]` must be in 0..4, got 1180591620717411303424"),
        ([-1], "`barred[0]` must be at least 0, got -1"),
        (["xl"], "`barred[0]` must be one of stage 0, stage 1, stage 2, stage 3, got 'xl'"),
        ([True], "`barred[0]` must be a stage, by number or name, got True"),
        (np.array([False, True]), "`barred[0]` must be a stage, by number or name, got "),
        ([1.0], "`barred[0]` must be a stage, by number or name, got 1.0"),
        ([None], "`barred[0]` must be a stage, by number or name, got None"),
    ],
)
def test_what_is_no_stage_is_refused(barred: Any, told: str) -> None:
    policy = POLICIES["any order"]
    run = policy.start()
    before = end(run)
    for call in (
        lambda: policy.start(barred=barred),
        lambda: policy.start_batch(2, barred=barred),
        lambda: policy.exact_without(barred),
        lambda: run.restart(barred=barred),
    ):
        with pytest.raises(tt.ValidationError) as refused:
            call()
        assert str(refused.value).startswith(told)
    assert end(run) == before


def test_a_restart_begins_a_request_of_its_own() -> None:
    policy = POLICIES["any order"]
    first = policy.start().next
    assert first is not None
    run = policy.start(barred=[first])
    other = run.next
    assert other not in (None, first)
    assert run.restart() == run.next == first
    assert run.restart(barred=[first]) == other
    run.observe(0.2, 1)
    assert run.restart(None, (first,)) == other
    assert (run.cost, run.answer) == (0.0, None)


def test_arguments_of_start_are_those_it_says() -> None:
    policy = POLICIES["any order"]
    start: Any = policy.start
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: start(1.0, (), 2, 3), r"start\(\) takes at most 3 arguments, got 4"),
        (lambda: start(bared=[1]), r"start\(\) has no argument 'bared'"),
        (lambda: start(None, remaining=1.0), r"start\(\) got 'remaining' twice"),
        (lambda: start().restart(barred=(), bared=()), r"restart\(\) has no argument 'bared'"),
    ]
    for call, told in calls:
        with pytest.raises(TypeError, match=told):
            call()


def test_independent_boxes_are_barred_exactly() -> None:
    rng = np.random.default_rng(5)
    losses = [rng.random(3) for _ in range(4)]
    chances = [rng.dirichlet(np.ones(3))[None] for _ in range(4)]
    costs = rng.random(4) / 10
    policy = tt.solve(tt.Model.tree([-1] * 4, losses, costs, chances))
    for barred in SETS:
        assert policy.exact_without(barred)
        kept = [stage for stage in range(4) if stage not in barred]
        if not kept:
            continue
        smaller = tt.solve(
            tt.Model.tree([-1] * len(kept), [losses[v] for v in kept], costs[kept], [chances[v] for v in kept])
        )
        for states in itertools.product(range(3), repeat=4):
            run, alone = policy.start(barred=barred), smaller.start()
            while alone.next is not None:
                assert run.next == kept[alone.next]
                run.observe(states[kept[alone.next]])
                alone.observe(states[run_stage(kept, alone)])
            assert run.next is None
            assert run.answer == (None if alone.answer is None else kept[alone.answer])
            assert (run.cost, run.expected_loss) == (alone.cost, alone.expected_loss)


def run_stage(kept: list[int], run: tt.Run) -> int:
    assert run.next is not None
    return kept[run.next]


def test_what_is_exact_without_a_stage_is_said() -> None:
    exact = {name: [policy.exact_without([v]) for v in range(4)] for name, policy in POLICIES.items()}
    assert exact["any order"] == exact["budget"] == [True] * 4
    assert exact["line of exits"] == [False] * 4
    for policy in POLICIES.values():
        assert policy.exact_without([])
        assert not policy.exact_without(range(4))
    timed = tt.Trace(
        MODELS.signal, MODELS.loss, MODELS.cost, MODELS.prediction, kind="models", latency=np.ones(MODELS.signal.shape)
    )
    assert not tt.fit(timed, tradeoff=0.9, deadline=True).exact_without([0])


def test_what_a_fit_never_asks_is_barred_exactly() -> None:
    useless = tt.Trace(
        np.column_stack([MODELS.signal, np.zeros(len(MODELS))]),
        np.column_stack([MODELS.loss, np.ones(len(MODELS))]),
        np.append(np.ones(4), 100.0),
        kind="models",
    )
    fitted = tt.fit(useless, tradeoff=0.9)
    assert fitted.exact_without([4])
    for row in range(100):
        ends = []
        for barred in ((), (4,)):
            run = fitted.start(barred=barred)
            while run.next is not None:
                run.observe(float(useless.signal[row, run.next]))
            ends.append(end(run))
        assert ends[0] == ends[1]
