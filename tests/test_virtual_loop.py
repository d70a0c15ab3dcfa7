"""The clock that other tests rely on."""

from __future__ import annotations

import asyncio
import time

import pytest

import virtual_loop


async def clock_of(*sleeps: float) -> list[float]:
    loop, seen = asyncio.get_running_loop(), []
    for seconds in sleeps:
        await asyncio.sleep(seconds)
        seen.append(loop.time())
    return seen


def test_time_passes_only_by_timers() -> None:
    started = time.monotonic()
    assert virtual_loop.run(clock_of(3600.0, 0.0, 0.25)) == [3600.0, 3600.0, 3600.25]
    assert virtual_loop.run(clock_of(1e300, 1e300)) == [1e300, 2e300]
    assert time.monotonic() - started < 60.0


def test_timers_go_off_in_order_and_at_their_times() -> None:
    async def main() -> list[tuple[str, float]]:
        loop, seen = asyncio.get_running_loop(), []

        def note(name: str) -> None:
            seen.append((name, loop.time()))

        for name, when in (("late", 0.3), ("early", 0.1), ("middle", 0.2)):
            loop.call_at(when, note, name)
        await asyncio.sleep(1.0)
        return seen

    assert virtual_loop.run(main()) == [("early", 0.1), ("middle", 0.2), ("late", 0.3)]


def test_while_the_thread_is_busy_no_timer_goes_off() -> None:
    async def main() -> list[float]:
        loop, seen = asyncio.get_running_loop(), list[float]()
        loop.call_at(0.5, lambda: seen.append(loop.time()))
        virtual_loop.spend(2.0)
        seen.append(loop.time())
        await asyncio.sleep(0.0)
        await asyncio.sleep(0.0)
        return seen

    assert virtual_loop.run(main()) == [2.0, 2.0]


def test_threads_are_waited_for() -> None:
    async def main() -> tuple[str, float]:
        return await asyncio.to_thread(lambda: "done"), asyncio.get_running_loop().time()

    assert virtual_loop.run(main()) == ("done", 0.0)


def test_what_is_left_is_told() -> None:
    async def main() -> str:
        task = asyncio.ensure_future(asyncio.sleep(10.0))
        task.set_name("forgotten")
        asyncio.get_running_loop().create_future().set_exception(OSError("lost"))
        return "result"

    result, complaints, tasks = virtual_loop.observed(main())
    assert result == "result"
    assert complaints == ["Future exception was never retrieved"]
    assert len(tasks) == 1
    assert "forgotten" in tasks[0]


def test_a_loop_that_nothing_can_wake_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_loop, "LONGEST_WAIT", 0.05)

    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError, match="nothing is left"):
        virtual_loop.run(main())
