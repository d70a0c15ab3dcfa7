"""Requests that a cascade has decided, one by one and as a batch, as the engine's counters and shadows take them."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

import logged
import ttamer_fast as tt
from ttamer_fast.serving.batch_driver import BatchDriver
from ttamer_fast.serving.decided import Decided
from ttamer_fast.serving.driver import Driver
from ttamer_fast.traces.record import PolicyIdentity, Record

K = logged.K
ROWS = 200


class Requests(NamedTuple):
    """The same requests twice."""

    records: list[Record]
    decided: Decided
    without: dict[int, str]
    """Stages that were barred before they began."""


def in_threads(works: Iterable[Callable[[], object]]) -> None:
    """All at the same time, in threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)


def turn(row: int, stage: int) -> str:
    """What becomes of a stage, of requests in which it may give nothing."""
    return {0: "failed", 1: "barred", 2: "late"}.get((row * 31 + stage * 17) % 23, "answered")


def answers(row: int, stage: int) -> str:
    """What becomes of a stage that always answers."""
    return "answered"


def decide(
    policy: tt.Policy,
    trace: tt.Trace,
    becomes: Callable[[int, int], str] = answers,
    without: dict[int, str] | None = None,
    seconds: float | None = None,
    said: Callable[[Any], Any] = int,
) -> Requests:
    """Rows of `trace` under `policy`: what becomes of a stage is one of "answered", "failed", "barred" and "late"."""
    identity, barred = PolicyIdentity.of(policy), without or {}
    predictions = np.asarray(trace.prediction)
    records = []
    for row in range(ROWS):
        one: Driver[int] = Driver(policy, identity, barred)
        while (stage := one.ask) is not None:
            if seconds is not None:
                one.took(seconds)
            match becomes(row, stage):
                case "answered":
                    one.answered(float(trace.signal[row, stage]), said(predictions[row, stage]), stage)
                case "failed":
                    one.failed("down")
                case "barred":
                    one.barred("shut")
                case _:
                    one.cut_off("late")
        records.append(one.record(str(row), row % 5 == 0))
    many: BatchDriver[int] = BatchDriver(policy, identity, ROWS, barred)
    while many.ask is not None:
        stage, rows = many.ask
        if seconds is not None:
            many.took(seconds)
        told = [becomes(int(row), stage) for row in rows]
        if "barred" in told:
            many.barred("shut", [at for at, one_told in enumerate(told) if one_told == "barred"])
        elif "failed" in told:
            many.failed({at: "down" for at, one_told in enumerate(told) if one_told == "failed"})
        elif "late" in told:
            many.cut_off({at: "late" for at, one_told in enumerate(told) if one_told == "late"})
        else:
            each = [said(one_said) for one_said in predictions[rows, stage]]
            is_plain = all(type(one_said) is int for one_said in each)
            many.answered(trace.signal[rows, stage], np.array(each) if is_plain else each, [stage] * len(rows))
    decided = many.served()._decided
    assert isinstance(decided, Decided)
    decided.explored = np.arange(ROWS) % 5 == 0
    return Requests(records, decided, barred)


def has_answer(record: Record) -> bool:
    """Whether a stage answered, or the policy has a default."""
    return record.answer is not None or record.expected_loss < math.inf


def ended(record: Record, *more: Any) -> tuple[Any, ...]:
    """The arguments that say how a request ended, and more of them."""
    own = record._steps, record._answer, record._late, record._cost, record._expected_loss
    return *own, record._failures, record._barred, *more


def ended_batch(decided: Decided, *more: Any) -> tuple[Any, ...]:
    """The same of a batch."""
    return decided.stage, decided.is_late, decided.cost, decided.expected_loss, decided.reports, *more
