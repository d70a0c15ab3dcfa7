"""How much slower stages are than when they were calibrated, and what a cascade does about it."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.serving import synchronous
from ttamer_fast.serving.slowdown import GAIN, REACH, Slowdown
from virtual_loop import run, spend

TRADEOFF = 0.8


def timed(kind: str, n: int = 6000) -> tuple[tt.Trace, NDArray[np.float64]]:
    """Requests, and how long their stages took: long ones take long everywhere."""
    plain = make_trace(n=n, k=4, seed=11, kind=kind)
    rng = np.random.default_rng(4)
    slow = 0.5 * rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, 4))
    return plain, np.geomspace(0.01, 0.08, 4) / 1.5 * np.exp(slow)


def fitted(plain: tt.Trace, rows: slice, latency: NDArray[np.float64]) -> tt.Policy:
    assert plain.prediction is not None
    trace = tt.Trace(
        plain.signal[rows],
        plain.loss[rows],
        plain.cost,
        prediction=plain.prediction[rows],
        kind=plain.kind,
        latency=latency[rows],
    )
    return tt.fit(trace, tradeoff=TRADEOFF, deadline=True)


@pytest.fixture(scope="module")
def policy() -> tt.Policy:
    plain, latency = timed("models", 1500)
    return fitted(plain, slice(None), latency)


def seconds(policy: tt.Policy, stage: int, last: int = -1) -> float:
    expected = policy._delay(last, stage)
    assert expected is not None
    return expected


def test_it_is_one_where_stages_take_as_long_as_expected(policy: tt.Policy) -> None:
    slowdown = Slowdown(policy)
    assert slowdown.factor == 1.0
    for stage in range(4):
        slowdown.took(-1, stage, seconds(policy, stage))
        assert slowdown.factor == pytest.approx(1.0)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(4000):
        stage = int(rng.integers(4))
        # Half of them take less, whatever the rest do.
        slowdown.took(-1, stage, seconds(policy, stage) * float(np.exp(0.7 * rng.normal())))
        found.append(slowdown.factor)
    assert 0.9 < float(np.exp(np.mean(np.log(found[100:])))) < 1.1
    assert float(np.std(np.log(found[100:]))) < 0.2


@pytest.mark.parametrize("factor", [0.5, 3.0, 10.0])
def test_it_follows_a_load_of_any_stage(policy: tt.Policy, factor: float) -> None:
    slowdown = Slowdown(policy)
    told = 0
    while abs(math.log(slowdown.factor / factor)) > 0.1:
        slowdown.took(-1, told % 4, factor * seconds(policy, told % 4))
        told += 1
    assert told <= 60
    for stage in range(4):
        slowdown.took(-1, stage, factor * seconds(policy, stage))
    assert slowdown.factor == pytest.approx(factor, rel=0.1)


def test_no_single_stage_moves_it_far_and_nothing_beyond_its_bounds(policy: tt.Policy) -> None:
    for taken in (1e9, math.inf, 0.0, 1e-300):
        slowdown = Slowdown(policy)
        slowdown.took(-1, 0, taken)
        assert abs(math.log(slowdown.factor)) <= GAIN * REACH + 1e-12
        for _ in range(1000):
            slowdown.took(-1, 0, taken)
        assert slowdown.factor == pytest.approx(16.0 if taken > 1.0 else 0.25)


def test_what_was_cut_off_says_only_that_it_took_longer(policy: tt.Policy) -> None:
    slowdown = Slowdown(policy)
    for _ in range(50):
        slowdown.took_at_least(-1, 2, 0.1 * seconds(policy, 2))
    assert slowdown.factor == 1.0
    for _ in range(200):
        slowdown.took_at_least(-1, 2, 2.0 * seconds(policy, 2))
    assert slowdown.factor == pytest.approx(2.0, rel=0.05)


def test_exits_are_expected_to_take_what_lies_between() -> None:
    plain, latency = timed("exits", 1500)
    policy = fitted(plain, slice(None), latency)
    assert policy.latency is not None
    own = policy.latency
    assert seconds(policy, 3) == pytest.approx(own.sum())
    assert seconds(policy, 3, 1) == pytest.approx(own[2:].sum())
    slowdown = Slowdown(policy)
    assert slowdown.expected(0, 2) == pytest.approx(own[1:3].sum())


def test_threads_may_tell_it_at_once_and_a_child_begins_with_its_factor(policy: tt.Policy) -> None:
    slowdown = Slowdown(policy)
    told = 3.0 * seconds(policy, 1)

    def tell() -> None:
        for _ in range(2000):
            slowdown.took(-1, 1, told)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert slowdown.factor == pytest.approx(3.0)
    if hasattr(os, "fork"):
        child = os.fork()
        if child == 0:
            slowdown.took(-1, 1, told)
            os._exit(0 if abs(slowdown.factor - 3.0) < 1e-6 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Steady(Slowdown):
    """One that is not told anything."""

    __slots__ = ()

    def _follow(self, found: float, weight: float = 1.0) -> None:
        del found, weight


class Served:
    """Requests of a trace, served one by one on a clock that moves by what stages take."""

    def __init__(self, plain: tt.Trace, latency: NDArray[np.float64], load: Callable[[int], float]) -> None:
        self.plain, self.latency, self.load = plain, latency, load
        self.now = 0.0
        self.request, self.last = 0, -1

    def stage(self, stage: int, name: str) -> tt.Stage[int, int]:
        assert self.plain.prediction is not None

        def answer(row: int) -> int:
            first = self.last + 1 if self.plain.kind == "exits" else stage
            self.now += self.load(self.request) * float(self.latency[row, first : stage + 1].sum())
            self.last = stage
            return row

        signal, said = self.plain.signal[:, stage].tolist(), self.plain.prediction[:, stage].tolist()
        return tt.Stage(answer, signal=signal.__getitem__, prediction=said.__getitem__, name=name, threads=0)

    def objectives(self, cascade: tt.Cascade[int, int], rows: range, deadline: float) -> NDArray[np.float64]:
        found = []
        cost = self.plain.cost
        for self.request, row in enumerate(rows):
            self.last = -1
            try:
                served = cascade(row, deadline=deadline)
                lost, paid = float(self.plain.loss[row, served.stage]), served.cost
            except tt.NoAnswerError as error:
                run = list(error.failures)
                lost, paid = 1.0, float(cost[: run[-1] + 1].sum() if self.plain.kind == "exits" else cost[run].sum())
            found.append(TRADEOFF * lost + (1.0 - TRADEOFF) * paid / float(cost.sum()))
        return np.array(found)


@pytest.mark.parametrize("kind", ["models", "exits"])
def test_a_step_in_load_is_planned_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, latency = timed(kind, 10_000)
    half, deadline, rows = slice(0, 3000), 0.12, range(3000, 10_000)
    calm, slow = fitted(plain, half, latency), fitted(plain, half, 3.0 * latency)

    def serve(policy: tt.Policy, made: type[Slowdown]) -> tuple[NDArray[np.float64], float | None]:
        served = Served(plain, latency, lambda request: 3.0 if request >= 500 else 1.0)
        monkeypatch.setattr(synchronous, "monotonic", lambda: served.now)
        cascade = tt.Cascade(policy, [served.stage(at, name) for at, name in enumerate(policy.stages)])
        cascade._incumbents.now().opening.slowdown = made(policy)
        return served.objectives(cascade, rows, deadline)[600:], cascade.slowdown

    following, factor = serve(calm, Slowdown)
    blind, _ = serve(calm, Steady)
    knowing, _ = serve(slow, Steady)
    assert factor is not None
    assert 2.0 < factor < 4.5
    # As good as a policy that was calibrated at the slower load, and better than without, beyond chance.
    assert following.mean() <= 1.01 * knowing.mean()
    gain = blind - following
    assert gain.mean() > 3.0 * gain.std() / math.sqrt(len(gain))


def test_a_cascade_shows_it_where_its_policy_knows_time(policy: tt.Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, latency = timed("models", 1500)
    served = Served(plain, latency, lambda request: 2.0)
    monkeypatch.setattr(synchronous, "monotonic", lambda: served.now)
    cascade = tt.Cascade(policy, [served.stage(at, name) for at, name in enumerate(policy.stages)])
    assert cascade.slowdown == 1.0
    for row in range(300):
        cascade(row)
    assert cascade.slowdown == 1.0, "nobody has asked for times"
    for row in range(300):
        cascade(row, deadline=10.0)
    assert 1.4 < (cascade.slowdown or 0.0) < 2.8
    timeless = tt.fit(plain, tradeoff=TRADEOFF)
    without = tt.Cascade(timeless, [served.stage(at, name) for at, name in enumerate(timeless.stages)])
    without(0, deadline=10.0)
    assert without.slowdown is None


def test_all_doors_tell_what_is_left(policy: tt.Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, latency = timed("models", 1500)
    deadline = 0.06
    told = served_by_hand(policy, plain, latency, deadline)
    assert len({consulted for consulted, _ in told}) > 2
    served = Served(plain, latency, lambda request: 1.0)
    monkeypatch.setattr(synchronous, "monotonic", lambda: served.now)
    cascade = tt.Cascade(policy, [served.stage(at, name) for at, name in enumerate(policy.stages)])
    cascade._incumbents.now().opening.slowdown = Steady(policy)
    for row, expected in enumerate(told):
        assert consulted(lambda row=row: cascade(row, deadline=deadline)) == expected  # type: ignore[misc]
        assert consulted(lambda row=row: cascade.batch([row], deadline=deadline)[0]) == expected  # type: ignore[misc]

    async def on_a_loop() -> None:
        stages = [on_loop(plain, latency, at, name) for at, name in enumerate(policy.stages)]
        remote = tt.Cascade(policy, stages)
        remote._incumbents.now().opening.slowdown = Steady(policy)
        async with tt.Batcher(remote, max_batch=1) as batcher:
            for row, expected in enumerate(told):
                for door in (remote.acall(row, deadline), batcher(row, deadline)):
                    try:
                        one: Any = await door
                        found = one.consulted, one.stage
                    except tt.NoAnswerError as error:
                        found = tuple(error.failures), None
                    assert found == expected

    run(on_a_loop())


def served_by_hand(
    policy: tt.Policy, plain: tt.Trace, latency: NDArray[np.float64], deadline: float
) -> list[tuple[tuple[int, ...], int | None]]:
    assert plain.prediction is not None
    found = []
    for row in range(150):
        left, asked = deadline, []
        hand = policy.start(left)
        while (stage := hand.next) is not None:
            left -= float(latency[row, stage])
            asked.append(stage)
            if left <= 0.0:
                hand.stop()
            else:
                hand.observe(float(plain.signal[row, stage]), int(plain.prediction[row, stage]), left)
        found.append((tuple(asked), hand.answer))
    return found


def consulted(door: Callable[[], Any]) -> tuple[tuple[int, ...], int | None]:
    try:
        served = door()
    except tt.NoAnswerError as error:
        return tuple(error.failures), None
    return served.consulted, served.stage


def on_loop(plain: tt.Trace, latency: NDArray[np.float64], stage: int, name: str) -> tt.Stage[int, int]:
    assert plain.prediction is not None

    async def answer(row: int) -> int:
        spend(float(latency[row, stage]))
        return row

    signal, said = plain.signal[:, stage].tolist(), plain.prediction[:, stage].tolist()
    return tt.Stage(answer, signal=signal.__getitem__, prediction=said.__getitem__, name=name)
