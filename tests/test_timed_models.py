"""Exact models with a deadline: against brute force over all that can happen, and what must hold for all."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import ttamer_fast as tt
from models import GRAPHS, Small
from reference import opened, sealed
from timed_models import Timed, timed

DEADLINES = st.integers(0, 9)
DEFAULTS = st.sampled_from([math.inf, math.inf, 0.0, 0.3, 2.0])
TOLERANCE = 1e-9


def solved(case: Timed, ticks: float, default_loss: float = math.inf) -> tt.Policy:
    """Where no first stage is allowed there is no policy without a deadline, and so none with one."""
    first = case.small.cost[0] if case.small.graph == "skip" else np.zeros(1)
    assume(default_loss < math.inf or bool(np.isfinite(first).any()))
    return tt.solve(case.model(), default_loss=default_loss, deadline=ticks * case.tick)


@pytest.mark.parametrize("graph", GRAPHS)
@given(data=st.data(), ticks=DEADLINES, default_loss=DEFAULTS)
@settings(max_examples=100)
def test_value_is_the_least_there_is(graph: str, data: st.DataObject, ticks: int, default_loss: float) -> None:
    case = data.draw(timed(graph))
    policy = solved(case, ticks, default_loss)
    best = case.best(ticks, default_loss)
    assert math.isclose(policy.value, best, abs_tol=TOLERANCE)
    certificate = tt.verify(case.model(), policy)
    assert certificate.exact
    assert math.isclose(certificate.value, best, abs_tol=TOLERANCE)


@pytest.mark.parametrize("graph", GRAPHS)
@given(data=st.data(), ticks=DEADLINES, default_loss=DEFAULTS)
def test_one_policy_is_best_within_every_shorter_deadline(
    graph: str, data: st.DataObject, ticks: int, default_loss: float
) -> None:
    case = data.draw(timed(graph))
    policy = solved(case, ticks, default_loss)
    again = tt.Policy.from_bytes(policy.to_bytes())
    before = case.nothing(default_loss)
    for left in range(ticks + 1):
        best = case.best(left, default_loss)
        assert best <= before + TOLERANCE
        before = best
        for same in (policy, again):
            assert math.isclose(case.paid(same, left, default_loss), best, abs_tol=TOLERANCE)
    assert math.isclose(before, policy.value, abs_tol=TOLERANCE)


@pytest.mark.parametrize("graph", GRAPHS)
@given(data=st.data(), recall=st.booleans(), default_loss=DEFAULTS)
def test_without_a_deadline_latencies_do_not_matter(
    graph: str, data: st.DataObject, recall: bool, default_loss: float
) -> None:
    case = data.draw(timed(graph, 4))
    assume(recall or graph in ("line", "skip"))
    assume(default_loss < math.inf or graph != "skip" or bool(np.isfinite(case.small.cost[0]).any()))
    small = case.small
    same = (
        tt.Model.skip(small.loss, small.cost, small.transition, None, case.kind) if graph == "skip" else small.model()
    )
    plain = tt.solve(same, recall, default_loss)
    for given_deadline in ({}, {"deadline": math.inf}):
        assert tt.solve(case.model(), recall, default_loss, **given_deadline).to_bytes() == plain.to_bytes()
    assert not plain.knows_time
    assert plain.latency is None


@pytest.mark.parametrize("graph", GRAPHS)
@given(data=st.data(), ticks=DEADLINES, default_loss=DEFAULTS)
def test_a_policy_with_a_deadline_is_best_without_one_too(
    graph: str, data: st.DataObject, ticks: int, default_loss: float
) -> None:
    case = data.draw(timed(graph))
    policy = solved(case, ticks, default_loss)
    assert policy.knows_time
    assert math.isclose(case.small.paid(policy, default_loss), case.small.best(True, default_loss), abs_tol=TOLERANCE)


def certain(latency: list[int], tick: float, kind: str) -> Timed:
    """Three stages of one state, each better than the one before it, on a skip graph without costs."""
    loss = [np.array([loss]) for loss in (0.5, 0.3, 0.1)]
    cost = np.triu(np.full((3, 3), 0.01))
    small = Small("skip", [[], [0], [1]], loss, cost, [np.ones((1, 1))] * 3)
    return Timed(small, [[((ticks,), (1.0,))] for ticks in latency], tick, kind)


def test_what_a_jump_takes() -> None:
    exits, models = (certain([1, 2, 4], 0.1, kind).model() for kind in ("exits", "models"))
    first = {
        name: [tt.solve(model, deadline=t / 10).start(remaining=t / 10).next for t in (0, 1, 2, 3, 4, 6, 7)]
        for name, model in (("exits", exits), ("models", models))
    }
    assert first["exits"] == [None, None, None, 1, 1, 1, 2]  # stage 0 loses as much as no answer
    assert first["models"] == [None, None, 1, 1, 2, 2, 2]
    with pytest.raises(tt.ValidationError, match=r"^`kind` must be 'exits' or 'models', got 'other'$"):
        certain([1, 2, 4], 0.1, "other").model()


@pytest.mark.parametrize("graph", GRAPHS)
@given(data=st.data(), ticks=DEADLINES, default_loss=DEFAULTS)
def test_replay_averages_to_the_value(graph: str, data: st.DataObject, ticks: int, default_loss: float) -> None:
    case = data.draw(timed(graph))
    case = Timed(case.small, case.latency, 0.25, case.kind)  # sums without rounding
    policy = solved(case, ticks, default_loss)
    rows = []
    for state, chance in case.small.paths():
        for took in itertools.product(*[case.took(v, s) for v, s in enumerate(state)]):
            rows.append((state, [ticks for ticks, _ in took], chance * math.prod(p for _, p in took)))
    states, latency = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows]) * case.tick
    weight = np.array([row[2] for row in rows])
    replay = policy.replay(states, latency=latency, deadline=ticks * case.tick)
    answers = [(state, int(answer)) for (state, _, _), answer in zip(rows, replay.answer, strict=True)]
    nothing = case.nothing(default_loss)
    loss = [case.small.loss[answer][state[answer]] if answer >= 0 else nothing for state, answer in answers]
    assert math.isclose(float(weight @ (np.array(loss) + replay.cost)), policy.value, abs_tol=TOLERANCE)
    for i in range(0, len(rows), 7):
        run, left, late = policy.start(remaining=ticks * case.tick), ticks * case.tick, False
        while (v := run.next) is not None and not late:
            runs = replay_stages(case, replay.consulted[i], v)
            late = latency[i, runs].sum() > left
            left -= latency[i, runs].sum()
            if late:
                run.stop()
            else:
                run.observe(states[i, v], None, left)
        assert (-1 if run.answer is None else run.answer, late) == (replay.answer[i], replay.late[i])
        assert math.isclose(run.cost, replay.cost[i])


def replay_stages(case: Timed, consulted: Any, v: int) -> list[int]:
    """The stages that run when v does, given which were asked on the way."""
    if case.small.graph != "skip" or case.kind == "models":
        return [v]
    before = [u for u in range(v) if consulted[u]]
    return list(range(before[-1] + 1 if before else 0, v + 1))


@pytest.mark.parametrize("graph", ["line", "tree"])
@given(data=st.data(), ticks=st.integers(1, 9))
def test_a_changed_table_is_found(graph: str, data: st.DataObject, ticks: int) -> None:
    case = data.draw(timed(graph))
    policy = solved(case, ticks)
    fields = opened(policy.to_bytes())
    rule = fields["rule"]["component"]["chain"] if graph == "line" else fields["rule"]["dag"]
    if graph == "line":
        decisions = rule["time"]["decisions"]
        row = data.draw(st.integers(0, len(decisions["stop"]) - 1))
        decisions["stop"][row] = data.draw(st.sampled_from([-math.inf, 0.05, 0.5, math.inf]))
    else:
        row = data.draw(st.integers(0, len(rule["time"]["action"]) - 1))
        rule["time"]["action"][row] = -1
    changed = tt.Policy.from_bytes(sealed(fields))
    certificate = tt.verify(case.model(), changed)
    worst = 0.0
    for left in range(ticks + 1):
        paid, best = case.paid(changed, left), case.best(left)
        assert paid - best <= certificate.bound + TOLERANCE
        worst = max(worst, paid - best)
    assert not (certificate.exact and worst > TOLERANCE)
    assert math.isclose(certificate.value, case.paid(changed, ticks), abs_tol=TOLERANCE)


def test_a_doctored_policy_is_not_exact() -> None:
    """One stage that is worth its price, and a table that says it is not."""
    model = tt.Model.line([[0.1, 1.0]], [0.05], [[[0.9, 0.1]]], [([1.0, 2.0], [0.5, 0.5])])
    policy = tt.solve(model, deadline=2.0)
    assert tt.verify(model, policy).exact
    fields = opened(policy.to_bytes())
    start = fields["rule"]["component"]["chain"]["time"]["start"]
    assert start == [-1, 0, 0]
    for bucket, loses in ((1, False), (2, True)):
        start[:] = [-1, *(-1 if at == bucket else 0 for at in (1, 2))]
        found = tt.verify(model, tt.Policy.from_bytes(sealed(fields)))
        assert not found.exact
        assert found.bound > 0.3
        assert math.isclose(found.value, 1.0 if loses else policy.value)
    start[:] = [-1, 0, 0]
    fields["facts"]["value"] += 1e-6
    assert not tt.verify(model, tt.Policy.from_bytes(sealed(fields))).exact


def test_models_are_copied_with_their_latencies() -> None:
    each = [([0.01], [1.0]), ([0.02, 0.04], [0.25, 0.75])]
    parts = ([[0.1, 0.9], [0.0, 0.2]], [0.05, 0.1], [[[0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]]])
    jumps = (parts[0], [[0.05, 0.1], [0.0, 0.1]], parts[2])
    models = [
        tt.Model.line(*parts, latency=[each[0], each]),
        tt.Model.skip(*jumps, latency=[each[0], each], kind="models"),
        tt.Model.skip(*jumps, latency=[each[0], each]),
        tt.Model.tree([-1, 0], *parts, latency=[each[0], each]),
        tt.Model.dag([[], [0]], *parts, latency=[each[0], each]),
    ]
    policies = [tt.solve(model, deadline=0.05).to_bytes() for model in models]
    assert [tt.solve(pickle.loads(pickle.dumps(m)), deadline=0.05).to_bytes() for m in models] == policies
    assert len(set(policies)) == len(models)


def test_bad_input_is_one_line() -> None:
    parts = ([[0.1, 0.9]], [0.05], [[[0.5, 0.5]]])
    good = ([0.1], [1.0])

    def said(latency: Any) -> str:
        with pytest.raises(tt.ValidationError) as error:
            tt.Model.line(*parts, latency=latency)
        return str(error.value)

    assert said([[[0.1], [1.0]]]) == "`latency[0][0]` must be a tuple (seconds, probability)"
    assert said([good, good]) == "`latency` must have one entry per stage, 1 like `loss`, got 2"
    assert said([[good, ([0.1, -1.0], [0.5, 0.5])]]) == (
        "`latency[0][1]` seconds 1 must be finite and at least 0, got -1"
    )
    assert said([([0.1, 0.2], [0.5, 0.4])]) == "`latency[0]` probabilities must sum to 1, got 0.9"
    assert said([([[0.1]], [1.0])]) == "`latency[0][0]` must have 1 dimension, got 2"
    assert said(3) == "`latency` must be a sequence, one entry per stage"
    model = tt.Model.line(*parts, latency=[good])
    for bad in (-0.5, math.nan):
        with pytest.raises(
            tt.ValidationError, match=r"^`deadline` must be at least 0 seconds \(infinite: there is none\)"
        ):
            tt.solve(model, deadline=bad)
    with pytest.raises(tt.ValidationError, match=r"^`deadline` must be infinite for a model without latencies"):
        tt.solve(tt.Model.line(*parts), deadline=0.5)
    with pytest.raises(tt.ValidationError, match=r"^`recall` must be True where there is a deadline"):
        tt.solve(model, recall=False, deadline=0.5)


@pytest.mark.parametrize("graph", ["line", "tree"])
def test_what_is_too_large_is_refused_at_once(graph: str) -> None:
    k, rng = 30, np.random.default_rng(0)
    latency = [(rng.random(4), np.full(4, 0.25)) for _ in range(k)]
    parts = ([[0.5, 0.6]] * k, [0.1] * k)
    step = [np.full((1, 2), 0.5)] + [np.full((2 if graph == "line" else 1, 2), 0.5)] * (k - 1)
    model = tt.Model.line(*parts, step, latency) if graph == "line" else tt.Model.tree([-1] * k, *parts, step, latency)
    with pytest.raises(
        tt.ValidationError, match=r"^`deadline`: a model with latencies .* at most 4194304, got .* or more"
    ):
        tt.solve(model, deadline=20.0)
