"""So little time that nothing is worth beginning: fitted policies that know time, and cascades under them."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from ttamer_fast.serving import synchronous
from ttamer_fast.serving.slowdown import Slowdown
from virtual_loop import run

N = 4000


def one_stage(loss: float, in_time: float) -> tt.Trace:
    """Of which a share answers within 10 ms, the others within 1 s; a dear one comes after it, which nobody awaits."""
    rng = np.random.default_rng(2)
    lost = (rng.random(N) < loss).astype(float)
    seconds = np.where(rng.random(N) < in_time, 0.01, 1.0)
    # One row that loses 1 for sure: what no answer loses.
    lost[0] = 1.0
    return tt.Trace(np.full((N, 1), 0.5), lost[:, None], [1.0], kind="models", latency=seconds[:, None])


@pytest.mark.parametrize("default_loss", [math.inf, 1.0])
@pytest.mark.parametrize(("loss", "in_time"), [(0.2, 0.3), (0.5, 0.5), (0.2, 0.9)])
def test_a_stage_is_begun_where_what_it_may_save_is_worth_its_price(
    loss: float, in_time: float, default_loss: float
) -> None:
    trace = one_stage(loss, in_time)
    # Losing 1 for nothing, against the price and what is lost where it is in time, and 1 where it is not.
    assert trace.latency is not None
    is_over = trace.latency[:, 0] < 0.05
    saved = float(np.mean(np.where(is_over, 1.0 - trace.loss[:, 0], 0.0)))
    even = 1.0 / (1.0 + saved)
    for tradeoff, first in ((0.97 * even, None), (1.03 * even, 0)):
        policy = tt.fit(trace, tradeoff=tradeoff, deadline=True, default_loss=default_loss, recall=True)
        assert policy.start(0.05).next == first
        assert policy.start(0.005).next is None, "nothing is ever over by then"
        found = tt.evaluate(policy, trace, deadline=0.05)
        begun = tradeoff * (1.0 - saved) + (1.0 - tradeoff)
        assert found.objective == pytest.approx(min(begun, tradeoff))
        assert found.coverage == (0.0 if first is None else pytest.approx(np.mean(is_over)))


def two_stages(kind: str = "models") -> tt.Trace:
    """10 ms and 100 ms, whatever the request."""
    rng = np.random.default_rng(0)
    signal = rng.random((N, 2))
    return tt.Trace(
        signal, rng.random((N, 2)) > signal ** [1.0, 0.3], [1.0, 5.0], kind=kind, latency=np.tile([0.01, 0.1], (N, 1))
    )


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_nothing_is_begun_that_cannot_be_over(kind: str) -> None:
    trace = two_stages(kind)
    policy, plain = (tt.fit(trace, tradeoff=0.9, recall=True, deadline=deadline) for deadline in (True, False))
    assert [policy.start(left).next for left in (0.0, 0.009, 0.0101, 0.05, math.inf)] == [None, None, 0, 0, 0]
    hand = policy.start(0.009)
    assert (hand.answer, hand.cost, hand.expected_loss) == (None, 0.0, math.inf)
    batch = policy.start_batch(3, remaining=[0.009, 0.05, math.inf])
    assert [rows.tolist() for rows in (batch.rows(0), batch.rows(1))] == [[1, 2], []]
    late = tt.evaluate(policy, trace, deadline=0.009)
    assert late.objective == pytest.approx(0.9)
    assert (late.cost, late.coverage, late.late_share) == (0.0, 0.0, 0.0)
    # Whose cost is no reason for anything begins as ever.
    assert tt.fit(trace, tradeoff=1.0, recall=True, deadline=True).start(0.009).next is not None
    assert np.array_equal(policy.replay(trace.signal).consulted, plain.replay(trace.signal).consulted)
    assert tt.Policy.from_bytes(policy.to_bytes()).start(0.009).next is None


def test_after_a_probe_a_request_ends_where_nobody_can_answer_any_more() -> None:
    rng = np.random.default_rng(1)
    difficulty = rng.random(N)
    signal = np.column_stack([difficulty, rng.random(N)])
    wrong = (rng.random(N) < difficulty).astype(float)
    trace = tt.Trace(
        signal, np.column_stack([np.full(N, math.inf), wrong]), [0.01, 1.0], latency=np.tile([0.001, 0.1], (N, 1))
    )
    policy = tt.fit(trace, tradeoff=0.9, graph="line", deadline=True)
    for left in (0.15, 0.101):
        assert policy.start(0.2).observe(0.3, None, left) == 1
    for left in (0.09, 0.0):
        hand = policy.start(0.2)
        assert hand.next == 0
        assert hand.observe(0.3, None, left) is None
        assert (hand.answer, hand.expected_loss, hand.cost) == (None, math.inf, 0.01)
    hand = policy.start()
    while (stage := hand.next) is not None:
        hand.observe(0.3)
    assert hand.answer == 1
    assert stage is None
    assert policy.start(0.05).next is None
    restored = tt.Policy.from_bytes(policy.to_bytes())
    assert restored.to_bytes() == policy.to_bytes()


def stage(at: int, name: str, spend: Any) -> tt.Stage[int, int]:
    def answer(row: int) -> int:
        spend(at)
        return row

    return tt.Stage(answer, signal=lambda _: 0.9, name=name, threads=0)


def test_cascades_say_that_nothing_was_begun() -> None:
    policy = tt.fit(two_stages(), tradeoff=0.9, recall=True, deadline=True)
    begun: list[int] = []
    cascade = tt.Cascade(policy, [stage(at, name, begun.append) for at, name in enumerate(policy.stages)])
    message = "no stage answered: too little time was left to ask any"
    with pytest.raises(tt.NoAnswerError, match=message) as caught:
        cascade(7, deadline=0.005)
    assert caught.value.failures == {}
    table = cascade.batch([7, 8], deadline=0.005)
    assert table.stage.tolist() == [-1, -1]
    assert table.cost.tolist() == [0.0, 0.0]
    assert table.outcome.tolist() == ["abstained", "abstained"]

    async def main() -> None:
        with pytest.raises(tt.NoAnswerError, match=message):
            await cascade.acall(7, deadline=0.005)
        async with tt.Batcher(cascade) as batcher:
            with pytest.raises(tt.NoAnswerError, match=message):
                await asyncio.create_task(batcher(7, deadline=0.005))

    run(main())
    assert begun == []
    assert cascade(7, deadline=9.0).output == 7


@pytest.mark.parametrize("rows", [1, 8])
def test_a_cascade_that_begins_nothing_tries_again(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tt.fit(two_stages(), tradeoff=0.9, recall=True, deadline=True)
    clock = [0.0, 1.0]

    def spend(at: int) -> None:
        clock[0] += clock[1] * (0.01, 0.1)[at]

    monkeypatch.setattr(synchronous, "monotonic", lambda: clock[0])
    cascade = tt.Cascade(policy, [stage(at, name, spend) for at, name in enumerate(policy.stages)])

    def answered(deadline: float) -> bool:
        return bool((cascade.batch(list(range(rows)), deadline=deadline).stage >= 0).all())

    deadline = 0.03 * rows
    assert all(answered(deadline) for _ in range(60))
    clock[1] = 20.0
    for _ in range(200):
        answered(100.0)
    assert (cascade.slowdown or 0.0) > 8.0
    assert not answered(deadline), "there is no time for anything"
    # The load is gone, and nobody would ever know.
    clock[1] = 1.0
    tries = 0
    while not answered(deadline):
        tries += 1
        assert tries < 100
    assert tries > 1
    found = [answered(deadline) for _ in range(200)]
    assert all(found[100:]), "what was measured anew holds"


def test_requests_that_are_begun_keep_what_is_known() -> None:
    policy = tt.fit(two_stages(), tradeoff=0.9, recall=True, deadline=True)
    slowdown = Slowdown(policy)
    for _ in range(100):
        slowdown.took(-1, 0, 0.04)
    before = slowdown.factor
    for _ in range(100):
        slowdown.not_begun(1)
        slowdown.took(-1, 0, 0.04)
    assert slowdown.factor == pytest.approx(before, rel=1e-3)
    for _ in range(200):
        slowdown.not_begun(1)
    assert slowdown.factor == pytest.approx(1.0, abs=0.01)
    for _ in range(100):
        slowdown.took(-1, 0, 0.005)
    faster = slowdown.factor
    for _ in range(10):
        slowdown.not_begun(1)
    assert slowdown.factor == faster < 1.0
