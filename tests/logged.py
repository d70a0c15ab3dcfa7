"""Cascades with logs for tests: stages that look up what they say."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ttamer_fast as tt
from conftest import make_trace

K = 4
"""Stages of :func:`policy`."""


class Spoken(NamedTuple):
    """What a stage gives."""

    row: int
    stage: int


@cache
def table() -> tt.Trace:
    """What the stages would say of 600 requests: input x is row x of it."""
    return make_trace(600, K)


@cache
def policy() -> tt.Policy:
    """Fitted to the table."""
    return tt.fit(table(), tradeoff=0.9)


def signal_of(output: Spoken) -> float:
    """Of one output."""
    return float(table().signal[output.row, output.stage])


def said_by(output: Spoken) -> int:
    """The prediction of one output."""
    said = table().prediction
    assert said is not None
    return int(said[output.row, output.stage])


def stage(number: int, run: Callable[[int], Any] | None = None, **given: Any) -> tt.Stage[int, Any]:
    """A stage that looks up its answer, or runs something else."""
    given = {"signal": signal_of, "prediction": said_by, **given}
    look = run if run is not None else lambda x: Spoken(x, number)
    return tt.Stage(look, name=policy().stages[number], **given)


def cascade(log: tt.RecordLog | None, runs: dict[int, Any] | None = None, **given: Any) -> tt.Cascade[int, Any]:
    """All stages, some of which run something else."""
    made = [stage(number, (runs or {}).get(number)) for number in range(K)]
    return tt.Cascade(policy(), made, record=log, **given)


def coroutines() -> dict[int, Any]:
    """The look-ups as coroutine functions."""

    def one(number: int) -> Any:
        async def run(x: int) -> Spoken:
            return Spoken(x, number)

        return run

    return {number: one(number) for number in range(K)}


def batched(log: tt.RecordLog, calls: list[tuple[int, int]], **given: Any) -> tt.Cascade[int, Any]:
    """The look-ups as stages that take many rows at once; `calls` are told stage and rows."""
    said = table().prediction
    assert said is not None

    def one(number: int) -> tt.Stage[int, Any]:
        def many(xs: Any) -> Any:
            calls.append((number, len(xs)))
            return np.asarray(xs)

        return stage(
            number,
            lambda x: np.asarray([x])[0],
            batch=many,
            signal=lambda rows: table().signal[rows, number],
            prediction=lambda rows: said[rows, number],
        )

    return tt.Cascade(policy(), [one(number) for number in range(K)], record=log, **given)


def consulted() -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(600, k) which stages the policy asks for."""
    return policy().replay(table().signal, table().prediction).consulted


def by_id(folder: Path, ids: Iterable[str]) -> list[tt.RecordedRequest]:
    """The records of these requests, in this order."""
    found = {one.request_id: one for one in tt.read_records(folder)}
    return [found[one] for one in ids]


async def over(cascade: tt.Cascade[Any, Any]) -> None:
    """Until nothing is run through any more."""
    while cascade.exploration_report().under_way:
        await asyncio.sleep(0.001)


def wait_for(holds: Callable[[], bool]) -> None:
    """Until something holds."""
    end = time.monotonic() + 20.0
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)
