"""How calls of many requests tell how much slower stages are, and how much time such requests are told to have."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast.serving import synchronous
from ttamer_fast.serving.call_sizes import FEW, CallSizes, Usual
from ttamer_fast.serving.slowdown import GAIN, HEAVIEST, REACH, Slowdown
from virtual_loop import run

TRADEOFF = 0.8
ROWS = 32
"""Requests of a batch."""

MEANS = np.array([0.01, 0.02, 0.04, 0.08]) / 1.5


def taken(rows: int) -> float:
    """How many times longer a call of so many takes than one of a single request."""
    return 0.8 + 0.2 * rows


def fitted(plain: tt.Trace, rows: slice, latency: NDArray[np.float64]) -> tt.Policy:
    assert plain.prediction is not None
    trace = tt.Trace(
        plain.signal[rows], plain.loss[rows], plain.cost, prediction=plain.prediction[rows], latency=latency
    )
    return tt.fit(trace, tradeoff=TRADEOFF, deadline=True)


@pytest.fixture(scope="module")
def plain() -> tt.Trace:
    return make_trace(n=9000, k=4, seed=11, kind="models")


@pytest.fixture(scope="module")
def latency() -> NDArray[np.float64]:
    """(3000, 4) of single requests, at the load of the calibration."""
    return MEANS * np.exp(0.3 * np.random.default_rng(4).normal(size=(3000, 4)))


@pytest.fixture(scope="module")
def policy(plain: tt.Trace, latency: NDArray[np.float64]) -> tt.Policy:
    return fitted(plain, slice(0, 3000), latency)


def usual(policy: tt.Policy, rows: int, factor: float, calls: int = 4 * FEW) -> Slowdown:
    """One that has been told of calls of all stages that took so many times longer than a single request."""
    slowdown = Slowdown(policy)
    for call in range(calls):
        slowdown.call_took(-1, call % 4, factor * slowdown.expected(-1, call % 4), rows, rows)
    return slowdown


def test_what_is_usual_is_the_middle_of_the_first_calls_and_follows_slowly() -> None:
    one = Usual()
    assert (one.value, one.is_known) == (0.0, False)
    for heard, found, middle in [(1, 9.0, 9.0), (2, 1.0, 5.0), (3, 1.2, 1.2), (4, 1.1, 1.15), (5, 1.0, 1.1)]:
        one.hear(found)
        assert one.value == pytest.approx(middle)
        assert one.is_known == (heard >= FEW)
    one.hear(1e6)
    assert one.value == pytest.approx(1.105)
    for _ in range(1000):
        one.hear(2.0)
    assert one.value == pytest.approx(2.0, abs=0.01)


def test_sizes_that_were_not_seen_lie_between_those_that_were() -> None:
    sizes = CallSizes()
    assert [sizes.after(rows) for rows in (1, 2, 500)] == [0.0, 0.0, 0.0]
    for usual in (2.0, 9.0, 2.0, 1.0, 2.0):
        sizes.told_after(19, usual)
        sizes.told_after(256, usual + 4.0)
    assert [sizes.after(rows) for rows in (1, 2, 4, 15, 16, 31)] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    assert [sizes.after(rows) for rows in (32, 64, 128, 256, 511, 10**6)] == [3.0, 4.0, 5.0, 6.0, 6.0, 6.0]


def test_calls_of_many_are_compared_with_one_another(policy: tt.Policy) -> None:
    slowdown = usual(policy, 64, 20.0)
    assert slowdown.factor == 1.0, "a call of many takes longer without anything being slow"
    assert slowdown.planned_after(64, 60.0) == pytest.approx(3.0)
    assert slowdown.planned(60.0) == 60.0
    for _ in range(40):
        slowdown.call_took(-1, 0, 20.0 * slowdown.expected(-1, 0), 64, 64)
    assert slowdown.factor == pytest.approx(1.0)
    # A load that calls of one size show holds for all requests.
    told = 0
    while slowdown.factor < 2.7:
        slowdown.call_took(-1, told % 4, 60.0 * slowdown.expected(-1, told % 4), 64, 64)
        told += 1
    assert told <= 12
    assert slowdown.planned(60.0) == pytest.approx(60.0 / slowdown.factor)
    assert slowdown.planned_after(64, 60.0) == pytest.approx(1.0, rel=0.15)
    for _ in range(200):
        slowdown.took(-1, 0, slowdown.expected(-1, 0))
    assert slowdown.factor == pytest.approx(1.0, rel=0.01)


def test_the_first_call_of_a_model_may_take_any_time(policy: tt.Policy) -> None:
    slowdown = Slowdown(policy)
    for call in range(10 * FEW):
        factor = 500.0 if call < 4 else 20.0
        slowdown.call_took(-1, call % 4, factor * slowdown.expected(-1, call % 4), 64, 64)
    assert slowdown.factor == pytest.approx(1.0, abs=0.05)
    assert slowdown.planned_after(64, 60.0) == pytest.approx(3.0, rel=0.05)


def test_a_call_of_many_counts_as_three_and_moves_nothing_beyond_that(policy: tt.Policy) -> None:
    for rows, weight in [(2, math.sqrt(2.0)), (4, 2.0), (9, 3.0), (1000, HEAVIEST)]:
        for seconds in (1e12, math.inf, 0.0, 1e-300):
            slowdown = usual(policy, rows, 5.0)
            slowdown.call_took(-1, 0, seconds, rows, rows)
            assert abs(math.log(slowdown.factor)) == pytest.approx(weight * GAIN * REACH)
            for _ in range(1000):
                slowdown.call_took(-1, 0, seconds, rows, rows)
                assert 0.25 <= slowdown.factor <= 16.0
                assert 0.0 <= slowdown.planned_after(rows, 1.0) < math.inf


def test_calls_that_gave_nothing_say_only_that_they_took_longer(policy: tt.Policy) -> None:
    slowdown = usual(policy, 64, 20.0)
    for _ in range(50):
        slowdown.call_took_at_least(-1, 2, 10.0 * slowdown.expected(-1, 2), 64, 64)
    assert slowdown.factor == 1.0
    for _ in range(50):
        slowdown.call_took_at_least(-1, 2, 40.0 * slowdown.expected(-1, 2), 64, 64)
    assert 1.5 < slowdown.factor <= 2.01
    # Where nothing is known of such calls, what is always cut off is soon not begun any more.
    other = Slowdown(policy)
    for _ in range(FEW):
        other.call_took_at_least(-1, 2, 8.0 * other.expected(-1, 2), 64, 64)
    assert other.planned_after(64, 8.0) == pytest.approx(1.0)


def test_a_request_that_goes_on_alone_is_told_of_single_calls(policy: tt.Policy) -> None:
    slowdown = Slowdown(policy)
    for call in range(8 * FEW):
        # From calls of many to calls of one, and these take as long as ever.
        slowdown.call_took(-1, 0, 20.0 * slowdown.expected(-1, 0), 64, 1)
        slowdown.call_took(-1, 1 + call % 3, slowdown.expected(-1, 1 + call % 3), 1, 64)
    assert slowdown.factor == pytest.approx(1.0)
    assert slowdown.planned_after(64, 60.0) == pytest.approx(60.0)


class Steady(Slowdown):
    """One that is not told anything."""

    __slots__ = ()

    def took(self, last: int, stage: int, seconds: float) -> None:
        del last, stage, seconds

    def call_took(self, last: int, stage: int, seconds: float, rows: int, before: int) -> None:
        del last, stage, seconds, rows, before


class Told(Slowdown):
    """One that keeps what it is told: the verb, the stage, the rows and those of the calls before."""

    __slots__ = ("told",)

    def __init__(self, policy: tt.Policy) -> None:
        super().__init__(policy)
        self.told: list[tuple[str, int, int, int, float]] = []

    def call_took(self, last: int, stage: int, seconds: float, rows: int, before: int) -> None:
        del last
        self.told.append(("took", stage, rows, before, seconds))

    def call_took_at_least(self, last: int, stage: int, seconds: float, rows: int, before: int) -> None:
        del last
        self.told.append(("at least", stage, rows, before, seconds))


def stages(policy: tt.Policy, fates: dict[int, str]) -> list[tt.Stage[int, Any]]:
    """Coroutines that take a second a call and are not sure; one of `fates` gives nothing for even rows, or for none,
    or hangs."""

    def stage(at: int, name: str) -> tt.Stage[int, Any]:
        async def many(rows: Sequence[int]) -> list[int | None]:
            fate = fates.get(at, "answers")
            await asyncio.sleep(1e6 if fate == "hangs" else 1.0)
            if fate == "raises":
                raise ValueError("no")
            return [None if fate == "half" and row % 2 == 0 else row for row in rows]

        return tt.Stage(
            lambda row: row, batch=many, signal=lambda rows: np.full(len(rows), 0.01), name=name, timeout=50.0
        )

    return [stage(at, name) for at, name in enumerate(policy.stages)]


@pytest.mark.parametrize("fate", ["answers", "half", "raises", "hangs"])
@pytest.mark.parametrize("deadline", [1e4, 20.0])
def test_a_call_is_told_of_once_for_all_its_rows(policy: tt.Policy, fate: str, deadline: float) -> None:
    first = policy.start(deadline).next
    assert first is not None

    async def batch(cascade: tt.Cascade[int, Any]) -> None:
        await cascade.abatch(list(range(6)), deadline=deadline)

    async def batcher(cascade: tt.Cascade[int, Any]) -> None:
        async with tt.Batcher(cascade, max_batch=8) as batcher:
            await asyncio.gather(*[batcher(row, deadline) for row in range(6)], return_exceptions=True)

    for door, before in ((batch, 6), (batcher, 0)):
        cascade = tt.Cascade(policy, stages(policy, {first: fate}))
        cascade._incumbents.now().opening.slowdown = told = Told(policy)
        run(door(cascade))
        seconds = min(50.0, deadline) if fate == "hangs" else 1.0
        verb = "took" if fate in ("answers", "half") else "at least"
        assert told.told[0] == (verb, first, 6, before, seconds)
        if fate == "hangs" and deadline < 50.0:
            assert len(told.told) == 1
            continue
        # Whoever is left, and goes on, is in the next calls; each of these was told of once.
        following = told.told[1:]
        assert following
        assert {entry[3] for entry in following} <= {6, 3}
        calls = [(stage, rows) for _, stage, rows, *_ in following]
        assert all(sum(rows for stage, rows in calls if stage == at) <= 6 for at in range(4))
        assert all(verb == "took" and seconds >= 1.0 for verb, *_, seconds in following)


@pytest.mark.parametrize("door", ["batch", "batcher"])
def test_a_step_in_load_is_planned_for(
    plain: tt.Trace, policy: tt.Policy, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(made: type[Slowdown], before: float) -> tuple[NDArray[np.float64], float]:
        served = Served(plain, policy, made)
        monkeypatch.setattr(synchronous, "monotonic", lambda: served.now)
        found = []
        for begin in range(3000, 9000 - ROWS, ROWS):
            served.load = 3.0 if begin >= 5000 else before
            rows, deadline = range(begin, begin + ROWS), 0.3 + 0.1 * (begin // ROWS % 4)
            ways = served.in_step(rows, deadline) if door == "batch" else run(served.batched(rows, deadline))
            found += ways if begin >= 5300 else []
        assert served.cascade.slowdown is not None
        return np.array(found), served.cascade.slowdown

    following, reported = serve(Slowdown, 1.0)
    blind, _ = serve(Steady, 1.0)
    knowing, settled = serve(Slowdown, 3.0)
    assert 2.0 < reported < 4.5
    assert 0.7 < settled < 1.5, "calls of many are compared with such calls before"
    # As good as where the load was the same all along, and better than without, beyond chance.
    assert following.mean() <= 1.03 * knowing.mean()
    gain = blind - following
    assert gain.mean() > 3.0 * gain.std() / math.sqrt(len(gain))


class Served:
    """A cascade of stages that run in batches, on a clock that moves by what they take."""

    def __init__(self, plain: tt.Trace, policy: tt.Policy, made: type[Slowdown]) -> None:
        self.plain = plain
        self.now, self.load = 0.0, 1.0
        self.random = np.random.default_rng(8)
        self.cascade = tt.Cascade(policy, [self.stage(at, name) for at, name in enumerate(policy.stages)])
        self.cascade._incumbents.now().opening.slowdown = made(policy)
        loop = [self.stage(at, name, on_loop=True) for at, name in enumerate(policy.stages)]
        self.remote = tt.Cascade(policy, loop)
        self.remote._incumbents.now().opening.slowdown = self.cascade._incumbents.now().opening.slowdown

    def stage(self, at: int, name: str, *, on_loop: bool = False) -> tt.Stage[int, Any]:
        assert self.plain.prediction is not None
        signal, said = self.plain.signal[:, at], self.plain.prediction[:, at]

        def seconds(rows: Sequence[int]) -> float:
            return self.load * float(MEANS[at]) * taken(len(rows)) * math.exp(0.2 * self.random.normal())

        def many(rows: Sequence[int]) -> Sequence[int]:
            self.now += seconds(rows)
            return rows

        async def many_on_loop(rows: Sequence[int]) -> Sequence[int]:
            await asyncio.sleep(seconds(rows))
            return rows

        return tt.Stage(
            lambda row: row,
            batch=many_on_loop if on_loop else many,
            signal=signal.__getitem__,
            prediction=said.__getitem__,
            name=name,
            threads=0,
        )

    def in_step(self, rows: range, deadline: float) -> list[float]:
        table = self.cascade.batch(list(rows), deadline=deadline)
        return self.objectives(rows, table.stage, table.cost)

    async def batched(self, rows: range, deadline: float) -> list[float]:
        async def one(batcher: tt.Batcher[int, Any], row: int) -> tuple[int, float]:
            try:
                served = await batcher(row, deadline=deadline)
            except tt.NoAnswerError as error:
                return -1, float(self.plain.cost[[at for at, why in error.failures.items() if "cut off" in why]].sum())
            assert served.stage is not None
            return served.stage, served.cost

        async with tt.Batcher(self.remote, max_batch=ROWS, devices=list(self.remote.policy.stages)) as batcher:
            ended = await asyncio.gather(*[one(batcher, row) for row in rows])
        return self.objectives(rows, np.array([stage for stage, _ in ended]), np.array([cost for _, cost in ended]))

    def objectives(self, rows: range, stage: NDArray[Any], cost: NDArray[np.float64]) -> list[float]:
        """Of requests with or without an answer."""
        lost = np.where(stage >= 0, self.plain.loss[rows, stage], 1.0)
        found: list[float] = (TRADEOFF * lost + (1.0 - TRADEOFF) * cost / float(self.plain.cost.sum())).tolist()
        return found
