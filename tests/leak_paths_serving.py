"""Paths of a cascade within limits that a server may take for ever: in threads and on an event loop."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import ttamer_fast as tt
from small_cascades import GO_ON, STOP, K, every, line, stages
from virtual_loop import VirtualLoop


def plain(x: Any) -> Any:
    return 0, x, STOP


def fails(x: Any) -> Any:
    raise OSError(x)


async def coroutine(x: Any) -> Any:
    return 0, x, STOP


async def many(xs: Any) -> Any:
    return [(0, x, GO_ON) for x in xs]


async def slow(x: Any) -> Any:
    await asyncio.sleep(0.0625)
    return 0, x, GO_ON


async def hangs(x: Any) -> Any:
    await asyncio.sleep(1e6)


async def stubborn(x: Any) -> Any:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(1e6)
    raise OSError(x)


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop whose clock jumps, so that what is late takes no time; its tasks end before it does."""
    runner = asyncio.Runner(loop_factory=VirtualLoop)
    atexit.register(runner.close)
    return runner.get_loop()


def on_the_loop(
    serve: Callable[[], Coroutine[Any, Any, Any]], loop: asyncio.AbstractEventLoop | None = None
) -> Callable[[], None]:
    """A request served to its end, whatever that is."""
    if loop is None:
        loop = new_loop()

    def call() -> None:
        with suppress(tt.NoAnswerError, asyncio.CancelledError):
            loop.run_until_complete(serve())

    return call


def batched(cascade: tt.Cascade[Any, Any], deadline: float | None = None) -> Callable[[], None]:
    """Four requests at a time, in a batcher that stays open."""
    loop, batcher = new_loop(), tt.Batcher(cascade, max_batch=2, max_pending=3)
    loop.run_until_complete(batcher.__aenter__())

    async def serve() -> None:
        calls = [batcher(x, deadline=deadline) for x in "wxyz"]
        await asyncio.gather(*calls, return_exceptions=True)

    return on_the_loop(serve, loop)


def in_this_thread(serve: Callable[[], Any]) -> Callable[[], None]:
    def call() -> None:
        with suppress(tt.NoAnswerError):
            serve()

    return call


async def cancelled(cascade: tt.Cascade[Any, Any]) -> None:
    task = asyncio.ensure_future(cascade.acall("x", deadline=9.0))
    await asyncio.sleep(0.0625)
    task.cancel()
    await task


def cascade(*runs: Any, **given: Any) -> tt.Cascade[Any, Any]:
    return tt.Cascade(line(), stages(runs * K if len(runs) == 1 else runs, **given))


def recorded(*runs: Any, **given: Any) -> tt.Cascade[Any, Any]:
    """Every request is run through, into a log that is written every few milliseconds."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    log = tt.RecordLog(folder, flush_seconds=0.005, flush_records=64)
    atexit.register(log.close)
    return tt.Cascade(line(), stages(runs * K, **given), record=log, explore=1.0)


GUARDED: dict[str, Any] = {
    "timeout": every(60.0),
    "retries": every(1),
    "backoff": every(0.0),
    "breaker": every(tt.Breaker(10**9)),
}

CALLS: dict[str, Callable[[], None]] = {
    "cascade, in a worker": in_this_thread(partial(cascade(plain), "x", 60.0)),
    "cascade, retries in a worker": in_this_thread(partial(cascade(fails, **GUARDED), "x", 60.0)),
    "batch, in a worker": in_this_thread(partial(cascade(plain).batch, ["x", "y"], 60.0)),
    "cascade, run through": in_this_thread(partial(recorded(plain), "x")),
    "batch, run through": in_this_thread(partial(recorded(plain).batch, ["x", "y"])),
    "acall, run through": on_the_loop(partial(recorded(coroutine).acall, "x")),
    "abatch, run through": on_the_loop(partial(recorded(coroutine).abatch, ["x", "y"])),
    "Batcher, run through": batched(recorded(coroutine, batch=every(many))),
    "acall": on_the_loop(partial(cascade(coroutine).acall, "x")),
    "acall, deadline": on_the_loop(partial(cascade(coroutine, **GUARDED).acall, "x", 60.0)),
    "acall, in a worker": on_the_loop(partial(cascade(plain, retries=every(1)).acall, "x")),
    "acall, retries": on_the_loop(partial(cascade(fails, threads=every(0), **GUARDED).acall, "x", 60.0)),
    "acall, cut off": on_the_loop(partial(cascade(slow, hangs, slow).acall, "x", 0.25)),
    "acall, late": on_the_loop(partial(cascade(slow, stubborn, slow).acall, "x", 0.25)),
    "acall, time-outs": on_the_loop(partial(cascade(hangs, timeout=every(0.0625)).acall, "x")),
    "acall, cancelled": on_the_loop(partial(cancelled, cascade(hangs))),
    "Batcher": batched(cascade(coroutine, batch=every(many)), 60.0),
    "Batcher, single calls": batched(cascade(coroutine, **GUARDED), 60.0),
    "Batcher, retries": batched(cascade(fails, threads=every(0), **GUARDED)),
    "Batcher, cut off": batched(cascade(slow, hangs, slow), 0.25),
    "Batcher, time-outs": batched(cascade(coroutine, batch=every(hangs), timeout=every(0.0625))),
    "abatch, cut off": on_the_loop(partial(cascade(slow, hangs, slow).abatch, ["x", "y"], 0.25)),
}
