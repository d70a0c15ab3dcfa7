"""Brings requests from stage to stage: begins calls where a device is free, and tells drivers what came of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Sequence
from contextvars import copy_context
from functools import partial
from typing import Any

from .attempting import Attempt, attempt_batch, attempt_one, pause
from .offered import Offered, Part
from .queues import Device, StageQueue, StageStats
from .stage import Stage

__all__ = ["Dispatcher"]


class RunningDevice(Device[Offered]):
    """A device and what it is at."""

    __slots__ = ("is_woken", "timer", "under_way")

    def __init__(self, queues: Sequence[StageQueue[Offered]], most: int) -> None:
        super().__init__(queues, most)
        self.under_way = 0
        """Parts of the call under way."""
        self.is_woken = False
        """Whether it will look for a call in a moment."""
        self.timer: asyncio.TimerHandle | None = None
        """Goes off when a queue has waited long enough for companions."""


class Dispatcher:
    """The stages of a cascade, the requests that wait for them, and the calls under way.

    It is told who comes (:meth:`begin`) and who leaves (:meth:`drop`, :meth:`cut_off`), and calls `ended` for everyone
    whom it has brought to an end. It never waits: it acts when it is told to, when a call ends, and when a timer goes
    off.
    """

    def __init__(
        self,
        cascade: Any,
        loop: asyncio.AbstractEventLoop,
        devices: Sequence[Hashable],
        most: int,
        patience: float,
        collate: Callable[[list[Any]], Any],
        ended: Callable[[Offered, BaseException | None], None],
    ) -> None:
        self._stages = cascade.stages
        self._where = cascade._where
        self._circuits = [None for _ in self._stages]
        self._loop = loop
        self._most = most
        self._patience = patience
        self._collate = collate
        self._ended = ended
        self._context = copy_context()
        self._queues: list[StageQueue[Offered]] = [StageQueue(stage) for stage in range(len(self._stages))]
        groups: dict[Hashable, list[StageQueue[Offered]]] = {}
        for queue, device in zip(self._queues, devices, strict=True):
            groups.setdefault(device, []).append(queue)
        self._devices = {device: RunningDevice(queues, most) for device, queues in groups.items()}
        self._device_of = [self._devices[device] for device in devices]
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def tasks(self) -> set[asyncio.Task[Any]]:
        """Of the calls under way."""
        return self._tasks

    def stats(self) -> list[StageStats]:
        """Of every stage."""
        return [queue.stats() for queue in self._queues]

    def begin(self, request: Offered) -> None:
        """A request comes in."""
        self._go_on(request, self._loop.time())

    def drop(self, request: Offered) -> None:
        """A request leaves, for whatever reason."""
        if request.wake is not None:
            request.wake.cancel()
            request.wake = None
        if request.queue is not None:
            request.queue.remove(request)
            request.queue = None
        elif request.part is not None:
            request.part.release(request)
        if request.permit is not None:
            self._circuits[request.driver.ask].give_back(request.permit)
            request.permit = None

    def cut_off(self, request: Offered) -> None:
        """A request leaves, as its deadline has come; its driver is told."""
        self.drop(request)
        driver = request.driver
        if request.attempts:
            driver.took(self._loop.time() - request.asked)
            driver.cut_off(f"cut off by the deadline after {request.deadline:g} s")
        else:
            driver.stopped(f"was not begun before the deadline of {request.deadline:g} s")

    def hurry(self) -> None:
        """Nobody waits for companions any more."""
        self._patience = 0.0
        for device in self._devices.values():
            self._wake(device)

    # ---- waiting

    def _go_on(self, request: Offered, now: float) -> None:
        """To the queue of the stage that is asked, or to the end."""
        driver = request.driver
        while (asked := driver.ask) is not None:
            circuit = self._circuits[asked]
            if circuit is not None and circuit.state != "closed":
                request.permit = circuit.admit(now)
                if request.permit is None:
                    driver.barred(circuit.reason(now))
                    continue
            request.asked = now
            request.attempts = 0
            request.expires = math.inf
            self._enqueue(request, asked, now)
            return
        self._ended(request, None)

    def _enqueue(self, request: Offered, stage: int, now: float) -> None:
        queue = self._queues[stage]
        request.queued = now
        request.queue = queue
        queue.push(request)
        device = self._device_of[stage]
        if not (device.under_way or device.is_woken):
            self._wake(device)

    def _wake(self, device: RunningDevice) -> None:
        """The device looks for a call when all that is ready to run has run: who comes together goes together."""
        if not (device.under_way or device.is_woken):
            device.is_woken = True
            self._loop.call_soon(self._dispatch, device, context=self._context)

    def _dispatch(self, device: RunningDevice, at: float = -math.inf) -> None:
        """Begins a call, if the device is free and somebody need not wait any more."""
        device.is_woken = False
        if device.timer is not None:
            device.timer.cancel()
            device.timer = None
        if device.under_way:
            return
        now = max(self._loop.time(), at)
        while (chosen := device.choose(now, self._patience)) is not None:
            queue, reason = chosen
            circuit = self._circuits[queue.stage]
            if circuit is not None and circuit.state != "closed":
                self._bar(queue, now)
                if not len(queue):
                    continue
            self._begin_call(device, queue.stage, queue.take(self._most, reason, now), now)
            return
        due = device.due(self._patience)
        if due < math.inf:
            device.timer = self._loop.call_at(due, self._dispatch, device, due, context=self._context)

    def _bar(self, queue: StageQueue[Offered], now: float) -> None:
        """The circuit of a stage is not closed: whoever waits goes on without it, but for the one that is to try it."""
        circuit = self._circuits[queue.stage]
        for request in [request for request in queue if request.permit is None]:
            self.drop(request)
            if request.attempts:
                self._give_up(request, request.reason, now)
            else:
                request.driver.barred(circuit.reason(now))
                self._go_on(request, now)

    # ---- calls

    def _begin_call(self, device: RunningDevice, asked: int, requests: list[Offered], now: float) -> None:
        stage, where, circuit = self._stages[asked], self._where[asked], self._circuits[asked]
        rows_of_parts = [[request] for request in requests] if stage.batch is None else [requests]
        device.under_way = len(rows_of_parts)
        for rows in rows_of_parts:
            permit = None
            if circuit is not None:
                tries = [request.permit for request in rows if request.permit is not None]
                permit = tries[0] if tries else circuit.admit(now)
            part = Part(asked, rows, permit)
            for row, request in enumerate(rows):
                request.queue, request.part, request.row, request.permit = None, part, row, None
                request.attempts += 1
                if request.wake is not None:
                    request.wake.cancel()
                    request.wake = None
                if stage.timeout is not None and request.attempts == 1:
                    request.expires = now + stage.timeout
            if stage.timeout is not None:
                self._arm(part)
            context = self._context.copy() if rows[0].context is None else rows[0].context
            task = self._loop.create_task(self._attempt(stage, where, [request.x for request in rows]), context=context)
            part.task = task
            self._tasks.add(task)
            task.add_done_callback(partial(self._part_ended, device, part), context=self._context)

    async def _attempt(self, stage: Stage[Any, Any], where: str, xs: list[Any]) -> Attempt | BaseException:
        """What this raises is handed to the callers: if the task raised it, some exceptions would end the loop."""
        try:
            if stage.batch is None:
                return await attempt_one(stage, where, xs[0])
            return await attempt_batch(stage, where, self._collate, xs)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return error

    def _part_ended(self, device: RunningDevice, part: Part, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        device.under_way -= 1
        self._wake(device)
        if part.timer is not None:
            part.timer.cancel()
        now = self._loop.time()
        found: Attempt | BaseException = asyncio.CancelledError() if task.cancelled() else task.result()
        if isinstance(found, BaseException) or not part.left:
            self._tell_circuit(part, None, now)
            if isinstance(found, BaseException):
                self._raise(part, found)
            return
        self._tell_circuit(part, len(found.failures) < len(part.rows), now)
        given = zip(found.outputs, found.signal, found.prediction or [None] * len(found.outputs), strict=True)
        for row, request in enumerate(part.rows):
            reason = found.failures.get(row)
            if reason is None:
                output, signal, prediction = next(given)
            if request is None:
                continue
            request.part = None
            if reason is not None:
                self._failed(request, reason, found.raised, now)
                continue
            if request.is_timed:
                request.driver.took(now - request.asked)
            try:
                request.driver.answered(signal, prediction, output)
            except BaseException as error:
                self._ended(request, error)
            else:
                self._go_on(request, now)

    def _raise(self, part: Part, error: BaseException) -> None:
        """Everybody who is left in a call gets what it raised."""
        for request in part.rows:
            if request is not None:
                request.part = None
                self._ended(request, error)

    def _tell_circuit(self, part: Part, succeeded: bool | None, now: float) -> None:
        """Once a part: that it gave something, that it gave nothing, or that nobody will know."""
        circuit = self._circuits[part.stage]
        if circuit is None or part.permit is None or part.was_told:
            return
        part.was_told = True
        if succeeded is None:
            circuit.give_back(part.permit)
        elif succeeded:
            circuit.succeeded(part.permit)
        else:
            circuit.failed(part.permit, now)
            if circuit.state != "closed":
                self._bar(self._queues[part.stage], now)

    # ---- failures

    def _failed(self, request: Offered, reason: str, may_try_again: bool, now: float) -> None:
        """An attempt gave nothing: another one, if there is time for it."""
        stage = self._stages[request.driver.ask]
        if may_try_again and request.attempts <= stage.retries:
            at = now + pause(stage, request.attempts)
            if at < min(request.expires, request.ends):
                request.reason = reason
                request.wake = self._loop.call_at(at, self._try_again, request, context=self._context)
                return
        self._give_up(request, reason, now)

    def _try_again(self, request: Offered) -> None:
        request.wake = None
        now, stage = self._loop.time(), request.driver.ask
        circuit = self._circuits[stage]
        if circuit is not None and circuit.state != "closed":
            request.permit = circuit.admit(now)
            if request.permit is None:
                self._give_up(request, request.reason, now)
                return
        if request.expires < math.inf:
            request.wake = self._loop.call_at(request.expires, self._expire_waiting, request, context=self._context)
        self._enqueue(request, stage, now)

    def _expire_waiting(self, request: Offered) -> None:
        """The time of the stage is over before the next attempt has begun."""
        request.wake = None
        self.drop(request)
        self._give_up(request, request.reason, self._loop.time())

    def _give_up(self, request: Offered, reason: str, now: float) -> None:
        if request.is_timed:
            request.driver.took(now - request.asked)
        request.driver.failed(reason)
        self._go_on(request, now)

    def _arm(self, part: Part) -> None:
        """The timer goes off when the time of the stage is over for the first of the rows that are left."""
        least = min([request.expires for request in part.rows if request is not None])
        part.timer = self._loop.call_at(least, self._expire, part, least, context=self._context)

    def _expire(self, part: Part, at: float) -> None:
        """The time of the stage is over for rows of a call."""
        part.timer = None
        late = [request for request in part.rows if request is not None and request.expires <= at]
        if part.left == len(late):
            self._tell_circuit(part, False, at)
        for request in late:
            part.release(request)
        if part.left:
            self._arm(part)
        reason = f"time-out after {self._stages[part.stage].timeout:g} s"
        for request in late:
            self._give_up(request, reason, at)
