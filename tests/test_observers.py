"""Observers of a cascade: told of every request, whatever it comes to; what they raise stays with them."""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace

TRACE = make_trace(2000, 4)
POLICY = tt.fit(TRACE, tradeoff=0.95)
DOWN = 3


def stages(is_async: bool = False) -> list[tt.Stage[int, float]]:
    """No stage answers row 3."""

    def stage(v: int) -> tt.Stage[int, float]:
        def run(row: int) -> float:
            if row == DOWN:
                raise RuntimeError("down")
            return float(TRACE.signal[row, v])

        async def arun(row: int) -> float:
            return run(row)

        return tt.Stage(arun if is_async else run, signal=lambda said: said, name=TRACE.stages[v])

    return [stage(v) for v in range(4)]


def answered(call: Callable[[], Any]) -> tt.Record:
    try:
        return call().record  # type: ignore[no-any-return]
    except tt.NoAnswerError as error:
        return error.record


def test_every_record_is_shown_once() -> None:
    seen: list[tt.Record] = []
    cascade = tt.Cascade(POLICY, stages(), observers=[seen.append])
    want = [answered(lambda row=row: cascade(row)) for row in range(6)]  # type: ignore[misc]
    assert seen == want
    assert [record.outcome for record in seen][DOWN] == "failed"
    assert seen[DOWN].answer is None
    assert math.isinf(seen[DOWN].expected_loss)
    seen.clear()
    table = cascade.batch(list(range(6)))
    rows = [answered(lambda row=row: table[row]) for row in range(6)]  # type: ignore[misc]
    assert seen == rows
    seen.clear()
    assert cascade.batch([1])[0].record == seen[0]


def test_on_an_event_loop() -> None:
    seen: list[tt.Record] = []
    cascade = tt.Cascade(POLICY, stages(is_async=True), observers=[seen.append])

    async def record_of(served: Awaitable[tt.Served[float]]) -> tt.Record:
        try:
            return (await served).record
        except tt.NoAnswerError as error:
            return error.record

    async def serve() -> list[tt.Record]:
        plain = [await record_of(cascade.acall(row)) for row in range(6)]
        within = [await record_of(cascade.acall(row, deadline=60.0)) for row in range(6)]
        table = await cascade.abatch(list(range(6)))
        rows = [answered(lambda row=row: table[row]) for row in range(6)]  # type: ignore[misc]
        async with tt.Batcher(cascade) as batcher:
            return [*plain, *within, *rows, *[await record_of(batcher(row)) for row in range(6)]]

    assert asyncio.run(serve()) == seen
    assert len(seen) == 24


class Spans:
    """An observer that is told of beginnings."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended: list[tt.Record | None] = []
        self.shown: list[tt.Record] = []

    def begin(self) -> Callable[[tt.Record | None], None]:
        self.begun += 1
        return self.ended.append

    def __call__(self, record: tt.Record) -> None:
        self.shown.append(record)


def test_beginnings_and_ends() -> None:
    spans, seen = Spans(), list[tt.Record]()
    cascade = tt.Cascade(POLICY, stages(), observers=[spans, seen.append])
    records = [answered(lambda row=row: cascade(row)) for row in range(6)]  # type: ignore[misc]
    assert (spans.begun, spans.ended, spans.shown) == (6, records, [])
    records.append(cascade(5, deadline=60.0).record)
    assert (spans.begun, spans.ended) == (7, records)
    cascade.batch([0, 1])
    assert spans.begun == 7
    assert [record.request_id.rsplit(".")[-1] for record in spans.shown] == ["0", "1"]
    assert len(seen) == 9


def test_an_interrupt_ends_what_has_begun() -> None:
    def interrupted(row: int) -> float:
        raise KeyboardInterrupt

    spans = Spans()
    cascade = tt.Cascade(POLICY, [interrupted] * 4, signal=float, observers=[spans])
    with pytest.raises(KeyboardInterrupt):
        cascade(0)
    assert (spans.begun, spans.ended) == (1, [None])


class Raising(Spans):
    """An observer that does nothing but raise."""

    def begin(self) -> Callable[[tt.Record | None], None]:
        def end(record: tt.Record | None) -> None:
            raise RuntimeError("at the end")

        return end

    def __call__(self, record: tt.Record) -> None:
        raise RuntimeError("when shown")


def failing(record: tt.Record) -> None:
    raise ValueError("no disk")


@pytest.mark.parametrize("observer", [failing, Raising()])
def test_what_observers_raise_reaches_no_request(observer: Callable[[tt.Record], None]) -> None:
    seen: list[tt.Record] = []
    cascade = tt.Cascade(POLICY, stages(), observers=[observer, seen.append])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert [cascade(row).stage is not None for row in range(3)] == [True] * 3
        assert len(cascade.batch([0, 1])) == 2
    assert [one.category for one in said] == [tt.ServingWarning]
    assert str(said[0].message).startswith("an observer was not told of a request, which is said once: ")
    assert len(seen) == 5
    other = tt.Cascade(POLICY, stages(), observers=[observer])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert other(0).stage is not None


def test_arguments() -> None:
    with pytest.raises(tt.ValidationError, match=r"^`observers\[1\]` must be callable, got int$"):
        tt.Cascade(POLICY, stages(), observers=[print, 3])  # type: ignore[list-item]
    with pytest.raises(tt.ValidationError, match=r"^`observers` must be a sequence of callables, got int$"):
        tt.Cascade(POLICY, stages(), observers=3)  # type: ignore[arg-type]


def test_a_drift_monitor_is_an_observer() -> None:
    monitor = tt.DriftMonitor.fit(POLICY, make_trace(2000, 4, seed=9))
    cascade = tt.Cascade(POLICY, stages(), observers=[monitor.update_record])
    cascade.batch(np.arange(10, 40).tolist())
    cascade(5)
    assert monitor.requests == 31
