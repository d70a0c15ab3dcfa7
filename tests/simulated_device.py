"""A device with a fixed cost a call and a cost a row, by the event loop's clock, and stages that run on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import ttamer_fast as tt

CALL, ROW = 2e-3, 2e-5
"""Seconds a call, and a row of it."""


class Call(NamedTuple):
    """One call of a stage."""

    stage: int
    rows: tuple[int, ...]
    begun: float
    ended: float


class SimulatedDevice:
    """Runs one call at a time: two at once are an error, unless `queues` is set, which lets them wait for each other.

    Parameters
    ----------
    before : callable, optional
        ``before(stage, rows)`` is awaited before each call; what it raises the call raises.
    """

    def __init__(
        self, trace: tt.Trace, *, queues: bool = False, before: Callable[[int, Sequence[int]], Any] | None = None
    ) -> None:
        self.trace = trace
        self.calls: list[Call] = []
        self.cancelled: list[tuple[int, tuple[int, ...]]] = []
        self._before = before
        self._lock = asyncio.Lock()
        self._queues = queues

    async def run(self, stage: int, rows: Sequence[int]) -> list[int]:
        """Outputs: ``row * k + stage``."""
        if self._queues:
            async with self._lock:
                return await self._run(stage, rows)
        assert not self._lock.locked(), "two calls at once on one device"
        async with self._lock:
            return await self._run(stage, rows)

    async def _run(self, stage: int, rows: Sequence[int]) -> list[int]:
        loop, own = asyncio.get_running_loop(), tuple(map(int, rows))
        begun = loop.time()
        try:
            if self._before is not None:
                await self._before(stage, own)
            await asyncio.sleep(CALL + ROW * len(own))
        except asyncio.CancelledError:
            self.cancelled.append((stage, own))
            raise
        self.calls.append(Call(stage, own, begun, loop.time()))
        return [row * self.trace.k + stage for row in own]

    def sizes(self) -> list[int]:
        """Rows of every call."""
        return [len(call.rows) for call in self.calls]

    def asked(self) -> dict[int, list[int]]:
        """Stages run for each row, in this order."""
        asked: dict[int, list[int]] = {}
        for call in self.calls:
            for row in call.rows:
                asked.setdefault(row, []).append(call.stage)
        return asked

    def stages(self, *, batch: bool = True, **limits: Any) -> list[tt.Stage[int, Any]]:
        """Of row numbers; their signals and predictions are those of the trace."""
        trace = self.trace
        said = trace.prediction
        assert said is not None

        def stage(v: int) -> tt.Stage[int, Any]:
            async def single(row: int) -> int:
                return (await self.run(v, [row]))[0]

            async def many(rows: Any) -> Any:
                return await self.run(v, rows)

            return tt.Stage(
                single,
                batch=many if batch else None,
                signal=lambda y: trace.signal[np.asarray(y) // trace.k, v],
                prediction=lambda y: said[np.asarray(y) // trace.k, v],
                name=f"stage {v}",
                **limits,
            )

        return [stage(v) for v in range(trace.k)]
