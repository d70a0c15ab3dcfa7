from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace


def path(policy: tt.Policy) -> list[int]:
    """The stages that a request runs which is never sure."""
    run, found = policy.start(), []
    while run.next is not None:
        found.append(run.next)
        run.observe(0.0)
    return found


def test_a_sequence_of_stages_is_a_line_or_a_skip_graph() -> None:
    trace = make_trace(n=1500)
    line = tt.fit(trace, tradeoff=0.999, graph="line", order=[2, 0, 3])
    assert path(line) == [2, 0, 3]
    assert line.graph == "line"
    assert line.stages == trace.stages
    by_name = tt.fit(trace, tradeoff=0.999, graph="line", order=["stage 2", "stage 0", "stage 3"])
    assert by_name.to_bytes() == line.to_bytes()
    skip = tt.fit(trace, tradeoff=0.999, order=[2, 0, 3])
    assert skip.graph == "skip"
    assert path(skip) in ([2, 0, 3], [2, 3], [2, 0], [0, 3], [3])
    assert not skip.replay(trace.signal, trace.prediction).consulted[:, 1].any()


def test_the_given_order_is_that_of_the_trace() -> None:
    trace = make_trace(n=1500)
    given = tt.fit(trace, tradeoff=0.97, order="given", recall=True)
    assert given.describe()["rule"] == tt.fit(trace, tradeoff=0.97, graph="skip", recall=True).describe()["rule"]
    exits = make_trace(n=1500, kind="exits")
    free = tt.fit(exits, tradeoff=0.97, recall=True)
    ordered = tt.fit(exits, tradeoff=0.97, order="given", recall=True)
    assert (free.replay(exits.signal).answer == ordered.replay(exits.signal).answer).all()


def test_exits_may_be_left_out() -> None:
    trace = make_trace(n=1500, kind="exits")
    policy = tt.fit(trace, tradeoff=0.99, order=[1, 3])
    replay = policy.replay(trace.signal, trace.prediction)
    assert not replay.consulted[:, [0, 2]].any()
    # The backbone runs all the same.
    assert replay.cost.min() == pytest.approx(trace.mean_cost[:2].sum())
    assert replay.cost.max() == pytest.approx(trace.full_cost)


def test_orders_hold_for_budgets_and_certificates() -> None:
    trace = make_trace(n=3000)
    within = tt.fit(trace, max_cost=5.0, order=[1, 3])
    assert tt.evaluate(within, trace).cost <= 5.0
    certified = tt.fit_certified(trace, max_loss=0.3, order=[1, 3])
    for policy in (within, certified):
        assert not policy.replay(trace.signal, trace.prediction).consulted[:, [0, 2]].any()


@pytest.mark.parametrize(
    ("kind", "order", "message"),
    [
        ("models", [], "`order` must name at least one stage, got none"),
        ("models", [0, 4], "`order[1]` must be in 0..4, got 4"),
        ("models", [0, 2**70], "`order[1]` must be in 0..4, got 1180591620717411303424"),
        ("models", [0, -1], "`order[1]` must be at least 0, got -1"),
        ("models", [0, 0], "`order[1]` must differ from the others, got 0 again"),
        ("models", ["stage 9"], "`order[0]` must be one of stage 0, stage 1, stage 2, stage 3, got 'stage 9'"),
        ("models", "best", "`order` must be one of 'auto', 'given', got 'best'"),
        ("models", 3, "`order` must be 'auto', 'given' or a sequence of stages, got 3"),
        ("models", [0.5], "`order` must be 'auto', 'given' or a sequence of stages, got [0.5]"),
        ("exits", [2, 1], "`order[1]` must be a later exit than 2, got 1"),
    ],
)
def test_refusals(kind: str, order: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        tt.fit(make_trace(n=100, kind=kind), tradeoff=0.9, order=order)
    assert str(raised.value) == message


def test_the_markov_estimator_takes_the_whole_line() -> None:
    with pytest.raises(tt.ValidationError, match=r"`order` needs the estimator 'pathwise', got 'markov'"):
        tt.fit(make_trace(n=100), tradeoff=0.9, order="given", estimator="markov")


def test_numpy_integers_are_stages() -> None:
    trace = make_trace(n=200)
    assert path(tt.fit(trace, tradeoff=0.999, graph="line", order=np.array([3, 1]))) == [3, 1]  # type: ignore[arg-type]
