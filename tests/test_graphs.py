"""Exact policies on every graph against brute force, other solvers and closed forms."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quantecon.markov import DiscreteDP

import ttamer_fast as tt
from models import GRAPHS, Small, smalls
from ttamer_fast._utils.arrays import Floats
from ttamer_fast.plotting.policy import plot_policy

any_graph = st.sampled_from(GRAPHS).flatmap(smalls)
defaults = st.sampled_from([math.inf, 0.5, 0.0])


@given(small=any_graph, default_loss=defaults)
def test_value_behaviour_and_certificate(small: Small, default_loss: float) -> None:
    model = small.model()
    policy = tt.solve(model, default_loss=default_loss)
    assert math.isclose(policy.value, small.best(default_loss=default_loss), abs_tol=1e-9)
    assert math.isclose(policy.value, small.paid(policy, default_loss), abs_tol=1e-9)
    certificate = tt.verify(model, policy)
    assert certificate.exact
    assert math.isclose(certificate.value, policy.value, abs_tol=1e-9)


@given(small=st.sampled_from(["line", "skip"]).flatmap(smalls), default_loss=defaults)
def test_value_and_behaviour_without_recall(small: Small, default_loss: float) -> None:
    model = small.model()
    policy = tt.solve(model, recall=False, default_loss=default_loss)
    assert math.isclose(policy.value, small.best(False, default_loss), abs_tol=1e-9)
    assert math.isclose(policy.value, small.paid(policy, default_loss), abs_tol=1e-9)
    assert tt.verify(model, policy).exact


@given(small=any_graph, default_loss=defaults, unread=st.integers(0, 2**16))
def test_run_batch_and_replay_agree(small: Small, default_loss: float, unread: int) -> None:
    policy = tt.solve(small.model(), default_loss=default_loss)
    k = len(small.loss)
    signal = np.array([state for state, _ in small.paths()], dtype=float)
    signal = np.vstack([signal, np.where(np.random.default_rng(unread).random(signal.shape) < 0.5, np.nan, signal)])
    replay = policy.replay(signal)
    batch = policy.start_batch(len(signal))
    for stage in itertools.cycle(range(k)):
        rows = batch.rows(stage)
        if len(rows):
            batch.observe(stage, signal[rows, stage])
        if (batch.next < 0).all():
            break
    again = pickle.loads(pickle.dumps(policy))
    for row, states in enumerate(signal):
        run, seen = again.start(), np.zeros(k, dtype=bool)
        while run.next is not None:
            seen[run.next] = True
            run.observe(states[run.next])
        answer = -1 if run.answer is None else run.answer
        assert answer == replay.answer[row] == batch.answer[row]
        assert run.cost == replay.cost[row] == batch.cost[row]
        assert (seen == replay.consulted[row]).all()


@given(small=any_graph, data=st.data())
def test_certificate_on_another_model(small: Small, data: st.DataObject) -> None:
    """Other losses, costs and chances: value and bound say what the policy pays there and what could be saved."""
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    loss = [rng.random(len(r)) for r in small.loss]
    cost = np.where(np.isfinite(small.cost), rng.random(small.cost.shape) * 0.2, np.inf)
    cost = np.triu(cost) if small.graph == "skip" else cost
    transition = [rng.dirichlet(np.ones(P.shape[1]), len(P)) for P in small.transition]
    other = Small(small.graph, small.parents, loss, cost, transition)
    policy = tt.solve(small.model())
    certificate = tt.verify(other.model(), policy)
    best = other.best()
    assert certificate.value + certificate.bound >= best - 1e-9
    assert certificate.value - certificate.bound <= best + 1e-9
    if small.graph not in ("tree", "forest"):
        assert certificate.value >= best - 1e-9
    assert certificate.exact <= (abs(certificate.value - policy.value) < 1e-9)


@pytest.mark.parametrize("graph", GRAPHS)
def test_doctored_decisions_are_not_exact(graph: str) -> None:
    """A policy of the same shape that is clearly wrong here: solved with a first stage that seems perfect and free."""
    parents: list[list[int]] = [[], [] if graph == "forest" else [0]]
    rows = np.full((2 if parents[1] else 1, 2), 0.5)
    cost = np.array([[0.01, 0.5], [0.0, 0.01]]) if graph == "skip" else np.array([0.01, 0.01])
    true = Small(graph, parents, [np.array([0.6, 0.9]), np.array([0.0, 0.1])], cost, [np.full((1, 2), 0.5), rows])
    wrong = Small(graph, parents, [np.array([0.0, 0.0]), np.array([0.5, 0.5])], cost, true.transition)
    certificate = tt.verify(true.model(), tt.solve(wrong.model()))
    assert not certificate.exact
    assert certificate.bound > 0.1
    assert certificate.value - certificate.bound <= true.best() + 1e-12


@given(
    boxes=st.lists(
        st.tuples(st.lists(st.integers(0, 10), min_size=1, max_size=4), st.integers(0, 5), st.integers(0, 2**16)),
        min_size=1,
        max_size=4,
    )
)
def test_independent_boxes_follow_weitzman(boxes: list[tuple[list[int], int, int]]) -> None:
    loss = [np.array(losses) / 10 for losses, _, _ in boxes]
    cost = [c / 20 for _, c, _ in boxes]
    chance = [
        np.random.default_rng(seed).dirichlet(np.ones(len(r))) for r, (_, _, seed) in zip(loss, boxes, strict=True)
    ]
    policy = tt.solve(tt.Model.tree([-1] * len(boxes), loss, cost, [p[None] for p in chance]))
    for index, r, p, c in zip(policy.index, loss, chance, cost, strict=True):
        order = np.argsort(r, kind="stable")
        mass = np.cumsum(p[order])
        # The lowest m losses are worth waiting for: σ = (c + Σ p r) / Σ p for the right m, the least such quotient.
        quotients = (c + np.cumsum(p[order] * r[order])) / mass
        sigma = quotients.min()
        assert math.isclose(index[0], sigma, abs_tol=1e-9)
        assert math.isclose(float(p @ np.maximum(index[0] - r, 0.0)), c, abs_tol=1e-9)
    value = 0.0
    for states in itertools.product(*[range(len(r)) for r in loss]):
        likelihood = math.prod(float(p[s]) for p, s in zip(chance, states, strict=True))
        value += likelihood * min(max(i[0], r[s]) for i, r, s in zip(policy.index, loss, states, strict=True))
    assert math.isclose(policy.value, value, abs_tol=1e-9)


def as_discrete_dp(small: Small) -> tuple[DiscreteDP, int]:
    """(last stage, its state, loss in hand) as states, the stage to run (or stopping, the last action) as actions."""
    k = len(small.loss)
    hands = sorted({float(r) for loss in small.loss for r in loss})
    places = [(v, s, x) for v in range(k) for s in range(len(small.loss[v])) for x in range(len(hands))]
    number = {place: at for at, place in enumerate(places)}
    start, end = len(places), len(places) + 1
    reward = np.full((end + 1, k + 1), -np.inf)
    chances = np.zeros((end + 1, k + 1, end + 1))
    chances[:, :, end] = 1.0
    reward[end, k] = 0.0
    seen_by: list[tuple[int, tuple[int | None, ...], int]] = [(start, (None,) * k, len(hands))]
    for at, (v, s, x) in enumerate(places):
        reward[at, k] = -hands[x]
        seen_by.append((at, tuple(s if u == v else None for u in range(k)), x))
    for at, state, x in seen_by:
        last = max((u for u in range(k) if state[u] is not None), default=-1)
        options = [(last + 1, float(small.cost[last + 1]))] if small.graph == "line" and last + 1 < k else []
        for v, cost in small.open(state) if small.graph == "skip" else options:
            reward[at, v] = -cost
            chances[at, v] = 0.0
            for s, p in enumerate(small.after(state, v)):
                chances[at, v, number[v, s, min(x, hands.index(float(small.loss[v][s])))]] += p
    return DiscreteDP(reward, chances, 1.0 - 1e-15), start


@given(small=st.sampled_from(["line", "skip"]).flatmap(smalls))
def test_quantecon_finds_the_same_value(small: Small) -> None:
    dp, start = as_discrete_dp(small)
    solved = dp.solve(method="policy_iteration", max_iter=1000)
    assert math.isclose(-float(solved.v[start]), tt.solve(small.model()).value, abs_tol=1e-9)


@pytest.mark.parametrize("graph", ["tree", "skip", "dag"])
def test_inspect_and_pictures(graph: str, tmp_path: Path) -> None:
    losses: list[Floats] = [np.array([0.5, 0.6]), np.array([0.4, 0.2]), np.array([0.0, 0.9])]
    parents = [[], [0], [0, 1] if graph == "dag" else [0]]
    rows = [np.full((1, 2), 0.5), np.full((2, 2), 0.5), np.full((4 if graph == "dag" else 2, 2), 0.5)]
    cost = np.triu(np.full((3, 3), 0.1)) if graph == "skip" else np.full(3, 0.1)
    policy = tt.solve(Small(graph, parents, losses, cost, rows).model())
    path = tmp_path / "my.policy"
    policy.save(path)
    for arguments in [], ["--json"]:
        command = [sys.executable, "-m", "ttamer_fast.cli", "inspect", str(path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert graph in done.stdout
    assert json.loads(done.stdout)["describe"]["graph"] == graph
    if graph == "dag":
        with pytest.raises(tt.ValidationError, match="no picture"):
            plot_policy(policy, tmp_path / "policy.png")
    else:
        plot_policy(policy, tmp_path / "policy.png")


def test_large_general_graphs_are_refused() -> None:
    model = tt.Model.dag([[]] * 12, [[0.5, 0.2]] * 12, [0.1] * 12, [[[0.5, 0.5]]] * 12)
    with pytest.raises(tt.ValidationError, match="NP-hard"):
        tt.solve(model)
    small = tt.Model.dag([[], [0]], [[0.5], [0.2]], [0.1, 0.1], [[[1.0]], [[1.0]]])
    with pytest.raises(tt.ValidationError, match="`recall` must be True"):
        tt.solve(small, recall=False)


@pytest.mark.parametrize(
    ("parents", "message"),
    [
        ([[], [1], []], r"`parents\[1\]` must be ascending earlier stages"),
        ([[], [], [1, 0]], r"`parents\[2\]` must be ascending earlier stages"),
        ([[], [0.5], []], r"`parents\[1\]` must be an array of integers"),
        ([[], [[0]], []], r"`parents\[1\]` must have 1 dimension"),
        ([[], [0]], r"`parents` must have one entry per stage, 3"),
        ([[], [0], [0, 1]], r"`transition\[2\]` must have shape \(4, 2\)"),
        (7, r"`parents` must be a sequence"),
    ],
)
def test_bad_parents(parents: object, message: str) -> None:
    rows = [np.full((1, 2), 0.5), np.full((2, 2), 0.5), np.full((2, 2), 0.5)]
    with pytest.raises(tt.ValidationError, match=message):
        tt.Model.dag(parents, [[0.1, 0.2]] * 3, [0.1] * 3, rows)
