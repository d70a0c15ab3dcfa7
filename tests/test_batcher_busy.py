"""An event loop that is too busy for its timers to go off in time: what comes late is lost all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import ttamer_fast as tt
import virtual_loop

Batch = Callable[[list[int]], list[int]]


def cascade_of(read: Callable[[list[int]], None], begun: list[list[int]], **limits: Any) -> tt.Cascade[int, int]:
    """One stage, which takes 0.1 s times the row; `read` is called when its outputs are."""

    async def batch(rows: list[int]) -> list[int]:
        begun.append(rows)
        await asyncio.sleep(rows[0] * 0.1)
        return rows

    async def single(row: int) -> int:
        return row

    def signal(rows: list[int]) -> list[int]:
        read(rows)
        return [0] * len(rows)

    policy = tt.solve(tt.Model.line([[0.1]], [1.0], [[[1.0]]]))
    return tt.Cascade(policy, [tt.Stage(single, batch=batch, signal=signal, **limits)])


def busy_with(row: int) -> Callable[[list[int]], None]:
    def read(rows: list[int]) -> None:
        if row in rows:
            virtual_loop.spend(1.0)

    return read


async def serve(cascade: tt.Cascade[int, int], deadlines: list[float | None]) -> list[Any]:
    """The outputs of requests 0, 1, ..., one a call; or why there is none."""
    async with tt.Batcher(cascade, max_batch=1) as batcher:
        calls = [batcher(row, deadline=deadline) for row, deadline in enumerate(deadlines)]
        results = await asyncio.gather(*calls, return_exceptions=True)
    return [one.failures[0] if isinstance(one, tt.NoAnswerError) else one.output for one in results]  # type: ignore[union-attr]


def test_an_answer_after_the_deadline_is_lost() -> None:
    begun: list[list[int]] = []
    results = virtual_loop.run(serve(cascade_of(busy_with(0), begun), [0.5, 9.0]))
    assert results == ["cut off by the deadline after 0.5 s", 1]
    assert begun == [[0], [1]]


def test_a_stage_is_not_begun_after_the_deadline() -> None:
    begun: list[list[int]] = []
    results = virtual_loop.run(serve(cascade_of(busy_with(0), begun), [None, 0.5, None]))
    assert results == [0, "was not begun before the deadline of 0.5 s", 2]
    assert begun == [[0], [2]]


def test_an_answer_after_the_time_out_is_lost() -> None:
    begun: list[list[int]] = []
    results = virtual_loop.run(serve(cascade_of(busy_with(0), begun, timeout=0.5), [None, None]))
    assert results == ["time-out after 0.5 s", 1]


def test_no_further_attempt_is_begun_after_the_time_out() -> None:
    begun: list[list[int]] = []

    def read(rows: list[int]) -> None:
        if rows == [0]:
            raise OSError("busy")

    cascade = cascade_of(read, begun, timeout=0.5, retries=3, backoff=0.0)

    async def main() -> None:
        async with tt.Batcher(cascade, max_batch=1) as batcher:

            async def answered_and_busy() -> None:
                await batcher(1)
                virtual_loop.spend(1.0)

            other = asyncio.ensure_future(answered_and_busy())
            with pytest.raises(tt.NoAnswerError, match="OSError: busy"):
                await batcher(0)
            await other

    virtual_loop.run(main())
    assert begun == [[0], [1]]


def test_a_loop_that_is_busy_before_the_first_call_begins_none_that_is_late() -> None:
    begun: list[list[int]] = []
    cascade = cascade_of(lambda rows: None, begun)

    async def main() -> None:
        async with tt.Batcher(cascade) as batcher:
            task = asyncio.ensure_future(batcher(0, deadline=0.5))
            await asyncio.sleep(0)
            virtual_loop.spend(1.0)
            with pytest.raises(tt.NoAnswerError, match="was not begun"):
                await task
            assert (await batcher(1)).output == 1

    virtual_loop.run(main())
    assert begun == [[1]]
