"""What the engine says of rows of a trace, and when a request ended: for tests of batching."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import ttamer_fast as tt
from serving_policies import walk


def consulted(policy: tt.Policy, trace: tt.Trace, row: int) -> tuple[int, ...]:
    said = trace.prediction
    assert said is not None
    return walk(policy, trace.signal[row].tolist(), said[row].tolist()).consulted


def of_length(policy: tt.Policy, trace: tt.Trace, least: int) -> list[int]:
    """Rows that begin with the most usual stage and ask so many stages at least."""
    every = {row: consulted(policy, trace, row) for row in range(600)}
    first = Counter(stages[0] for stages in every.values()).most_common(1)[0][0]
    return [row for row, stages in every.items() if len(stages) >= least and stages[0] == first]


def by_engine(policy: tt.Policy, trace: tt.Trace, row: int, failing: Sequence[int]) -> tuple[int | None, list[int]]:
    """The answer, and the stages asked, where some of them fail."""
    said = trace.prediction
    assert said is not None
    run, asked = policy.start(), []
    while (stage := run.next) is not None:
        asked.append(stage)
        if stage in failing:
            run.fail()
        else:
            run.observe(trace.signal[row, stage], int(said[row, stage]))
    return run.answer, asked


async def timed(call: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
    """What a call gave or raised, and when."""
    loop = asyncio.get_running_loop()
    try:
        return await call(), loop.time()
    except tt.NoAnswerError as error:
        return error, loop.time()
