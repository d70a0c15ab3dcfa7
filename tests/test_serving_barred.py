"""Stages whose circuits are open when a request begins: it goes without them from the start."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
import virtual_loop
from conftest import make_trace
from ttamer_fast.serving import synchronous
from ttamer_fast.serving.driver import Driver
from ttamer_fast.traces.record import PolicyIdentity

TRACE = make_trace(n=800, k=4, seed=3, kind="models")
POLICY = tt.fit(TRACE, tradeoff=0.95)
FIRST = POLICY.start().next or 0
LATER = sorted(
    {int(stage) for stage in np.flatnonzero(POLICY.replay(TRACE.signal, TRACE.prediction).consulted.any(0))} - {FIRST}
)
ROWS = range(60)


class Down:
    """Stages, of which one is down, and the clock that their cascade reads."""

    def __init__(self, down: int, asynchronous: bool = False) -> None:
        self.now, self.reads, self.down, self.asked = 100.0, 0, down, list[int]()
        assert TRACE.prediction is not None

        def made(stage: int, name: str) -> tt.Stage[int, int]:
            def answer(row: int) -> int:
                self.asked.append(stage)
                if stage == self.down:
                    raise OSError("down")
                return row

            async def later(row: int) -> int:
                await asyncio.sleep(0.001)
                return answer(row)

            signal, said = TRACE.signal[:, stage].tolist(), TRACE.prediction[:, stage].tolist()  # type: ignore[index]
            return tt.Stage(
                later if asynchronous else answer,
                signal=signal.__getitem__,
                prediction=said.__getitem__,
                name=name,
                threads=0,
                breaker=tt.Breaker(failures=1, cooldown=10.0),
            )

        self.cascade = tt.Cascade(POLICY, [made(at, name) for at, name in enumerate(POLICY.stages)])

    def read(self) -> float:
        self.reads += 1
        return self.now

    def open(self) -> None:
        """The circuit of the stage that is down opens now, on this clock."""
        circuit = self.cascade.circuits[POLICY.stages[self.down]]
        permit = circuit.admit(self.now)
        assert isinstance(permit, int)
        circuit.failed(permit, self.now)
        assert circuit.state == "open"


def by_hand(row: int, barred: int) -> tuple[tuple[int, ...], int | None, float]:
    run, asked = POLICY.start(barred=[barred]), list[int]()
    while (stage := run.next) is not None:
        asked.append(stage)
        run.observe(float(TRACE.signal[row, stage]), int(TRACE.prediction[row, stage]))  # type: ignore[index]
    return tuple(asked), run.answer, run.cost


def told(served: tt.Served[int]) -> tuple[tuple[int, ...], int | None, float]:
    return served.consulted, served.stage, served.cost


@pytest.mark.parametrize("down", [FIRST, LATER[0]])
def test_a_request_begins_without_what_is_down(down: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Down(down)
    monkeypatch.setattr(synchronous, "monotonic", stages.read)
    stages.open()
    stages.now += 3.0
    reason = {down: "not tried: 1 failure in a row, tried again in 7 s"}
    for row in ROWS:
        served = stages.cascade(row)
        assert (told(served), served.barred, served.failures) == (by_hand(row, down), reason, {})
    table = stages.cascade.batch(list(ROWS))
    assert [told(one) for one in table] == [by_hand(row, down) for row in ROWS]
    assert table.barred == dict.fromkeys(ROWS, reason)
    assert stages.cascade.batch([5]).barred == {0: reason}
    assert down not in stages.asked
    # Once it may be tried, the policy asks for it again.
    stages.now, stages.down = 110.0, -1
    while stages.cascade.circuits[POLICY.stages[down]].state != "closed":
        for row in ROWS:
            stages.cascade(row)
    assert down in stages.asked
    assert stages.cascade(0).barred == {}


def test_a_stage_that_another_request_is_trying_is_barred_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Down(FIRST)
    monkeypatch.setattr(synchronous, "monotonic", stages.read)
    stages.open()
    stages.now += 10.0
    permit = stages.cascade.circuits[POLICY.stages[FIRST]].admit(stages.now)
    assert isinstance(permit, int)
    served = stages.cascade(0)
    assert told(served) == by_hand(0, FIRST)
    assert served.barred == {FIRST: "not tried: 1 failure in a row, another request is trying it"}


def test_where_all_are_down_nobody_answers_and_all_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Down(0)
    monkeypatch.setattr(synchronous, "monotonic", stages.read)
    for stages.down in range(4):
        stages.open()
    doors: list[Callable[[], Any]] = [
        lambda: stages.cascade(0),
        lambda: stages.cascade.batch([0, 1])[1],
        lambda: stages.cascade.batch([0])[0],
    ]
    for door in doors:
        with pytest.raises(tt.NoAnswerError) as caught:
            door()
        assert sorted(caught.value.failures) == [0, 1, 2, 3]
    assert not stages.asked


@pytest.mark.parametrize("down", [FIRST, LATER[0]])
def test_on_a_loop_and_in_a_batcher(down: int) -> None:
    stages = Down(down, asynchronous=True)

    async def main() -> None:
        stages.now = asyncio.get_running_loop().time()
        stages.open()
        await asyncio.sleep(3.0)
        batcher = tt.Batcher(stages.cascade, max_batch=1, max_pending=2)
        async with batcher:
            doors: list[Callable[[int], Awaitable[Any]]] = [stages.cascade.acall, batcher]
            for row in range(20):
                for door in doors:
                    served = await door(row)
                    assert told(served) == by_hand(row, down)
                    assert list(served.barred) == [down]
            table = await stages.cascade.abatch(list(range(20)))
            assert [told(one) for one in table] == [by_hand(row, down) for row in range(20)]
        assert down not in stages.asked

    virtual_loop.run(main())


def test_who_waits_outside_begins_when_there_is_room() -> None:
    stages = Down(FIRST, asynchronous=True)

    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        async with tt.Batcher(stages.cascade, max_batch=1, max_pending=1) as batcher:
            inside = asyncio.ensure_future(batcher(0))
            outside = asyncio.ensure_future(batcher(1))
            await asyncio.sleep(0.0005)
            # It goes down while the second request is still at the door.
            stages.now = loop.time()
            stages.open()
            stages.down = -1
            return [await inside, await outside]

    inside, outside = virtual_loop.run(main())
    assert inside.barred == {}
    assert (told(outside), list(outside.barred)) == (by_hand(1, FIRST), [FIRST])


def test_a_request_begins_again_only_before_its_first_stage() -> None:
    identity = PolicyIdentity.of(POLICY)
    driver: Driver[str] = Driver(POLICY, identity)
    driver.begin_again({FIRST: "down"}, math.inf)
    assert driver.ask not in (None, FIRST)
    driver.begin_again({}, math.inf)
    assert driver.ask == FIRST
    driver.answered(0.01, None, "output")
    with pytest.raises(tt.TTamerError, match="`begin_again` must come before the first stage: 1 have run"):
        driver.begin_again({}, math.inf)
