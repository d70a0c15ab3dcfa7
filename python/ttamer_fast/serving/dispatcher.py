"""Brings requests from stage to stage: begins calls where a device is free, and tells drivers what came of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from .asking import Asked, Reading, none_of
from .asynchronous import try_batch, try_one
from .calls import Call
from .failures import Final, reason_of
from .limits import has_failed, pause
from .offered import Offered, Part
from .queues import Device, StageQueue, StageStats
from .slowdown import Slowdown
from .time_left import wait_until

__all__ = ["Dispatcher"]


class RunningDevice(Device[Offered]):
    """A device and what it is at."""

    __slots__ = ("is_woken", "running", "timer", "under_way")

    def __init__(self, queues: Sequence[StageQueue[Offered]]) -> None:
        super().__init__(queues)
        self.under_way = 0
        """Parts of the call under way."""
        self.running: StageQueue[Offered] | None = None
        """Whose call that is, where others may join it."""
        self.is_woken = False
        """Whether it will look for a call in a moment."""
        self.timer: asyncio.TimerHandle | None = None
        """Goes off when a queue has waited long enough for companions."""

    def room(self) -> int:
        """How many may join the call under way: none while somebody waits for another stage."""
        running = self.running
        if running is None or any(len(queue) for queue in self.queues if queue is not running):
            return 0
        return min(running.most - self.under_way, len(running))


class Dispatcher:
    """The stages of a cascade, the requests that wait for them, and the calls under way.

    It is told who comes (:meth:`begin`) and who leaves (:meth:`drop`, :meth:`cut_off`), and calls `ended` for everyone
    whom it has brought to an end. It never waits: it acts when it is told to, when a call ends, and when a timer goes
    off.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        loop: asyncio.AbstractEventLoop,
        devices: Sequence[Hashable],
        most: int,
        patience: float,
        collate: Callable[[list[Any]], Any],
        ended: Callable[[Offered, BaseException | None], None],
        slowdown: Callable[[], Slowdown | None],
    ) -> None:
        self._calls = calls
        self._loop = loop
        self._patience = patience
        self._collate = collate
        self._ended = ended
        self._slowdown = slowdown
        self._context = copy_context()
        self._is_limited = any(call.timeout < math.inf for call in calls)
        self._queues: list[StageQueue[Offered]] = [
            StageQueue(stage, _rows_at_once(call, most)) for stage, call in enumerate(calls)
        ]
        groups: dict[Hashable, list[StageQueue[Offered]]] = {}
        for queue, device in zip(self._queues, devices, strict=True):
            groups.setdefault(device, []).append(queue)
        self._devices = {device: RunningDevice(queues) for device, queues in groups.items()}
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
            self._give_back(request)

    def overdue(self, request: Offered) -> None:
        """The deadline of a request has come: it ends with the best answer in hand."""
        part = request.part
        self.drop(request)
        driver = request.driver
        if request.attempts:
            now = self._loop.time()
            if part is not None and not part.left:
                self._pace(part.stage, [request], now, has_answered=False)
            driver.took_in_call(now - request.asked, request.rows)
            driver.cut_off(f"cut off by the deadline after {request.deadline:g} s")
        else:
            driver.stopped(f"was not begun before the deadline of {request.deadline:g} s")
        self._ended(request, None)

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
            circuit = self._calls[asked].circuit
            if circuit is not None and circuit.state != "closed":
                permit = circuit.admit(now)
                if isinstance(permit, str):
                    driver.barred(permit)
                    continue
                request.permit = permit
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
        self._wake(self._device_of[stage])

    def _wake(self, device: RunningDevice) -> None:
        """The device looks for a call when all that is ready to run has run: who comes together goes together."""
        if not device.is_woken and (not device.under_way or device.running is not None):
            device.is_woken = True
            self._loop.call_soon(self._dispatch, device, context=self._context)

    def _dispatch(self, device: RunningDevice) -> None:
        """Begins a call, if the device is free and somebody need not wait any more."""
        device.is_woken = False
        if device.timer is not None:
            device.timer.cancel()
            device.timer = None
        now = self._loop.time()
        if device.under_way:
            queue = device.running
            if queue is not None and self._waits(queue, now) and (room := device.room()):
                self._begin(device, queue, queue.take(room, "joined", now), now)
            return
        while (chosen := device.choose(now, self._patience)) is not None:
            queue, reason = chosen
            if self._waits(queue, now) and self._begin(device, queue, queue.take(queue.most, reason, now), now):
                return
        due = device.due(self._patience)
        if due < math.inf:
            device.timer = self._loop.call_at(due, self._dispatch, device, context=self._context)

    def _waits(self, queue: StageQueue[Offered], now: float) -> bool:
        """Whether there is somebody in a queue, once those have gone on whom the circuit of the stage bars."""
        self._bar(queue, now)
        return len(queue) > 0

    def _bar(self, queue: StageQueue[Offered], now: float) -> None:
        """Where the circuit of a stage is not closed, all go on without it but the one that is to try it."""
        circuit = self._calls[queue.stage].circuit
        if circuit is None or circuit.state == "closed":
            return
        for request in [request for request in queue if request.permit is None]:
            reason = circuit.admit(now)
            if not isinstance(reason, str):
                request.permit = reason
                continue
            self.drop(request)
            if request.attempts:
                self._give_up(request, request.reason, now)
            else:
                request.driver.barred(reason)
                self._go_on(request, now)

    def _give_back(self, request: Offered) -> None:
        """Who was to try a stage does not."""
        asked, permit = request.driver.ask, request.permit
        request.permit = None
        assert asked is not None
        circuit = self._calls[asked].circuit
        assert circuit is not None
        assert permit is not None
        circuit.give_back(permit)

    # ---- calls

    def _begin(self, device: RunningDevice, queue: StageQueue[Offered], taken: list[Offered], now: float) -> bool:
        """Begins a call for those taken from a queue, or lets them join the one under way; False if all are late."""
        call = self._calls[queue.stage]
        requests = self._in_time(taken, now)
        is_single = call.stage.batch is None
        rows_of_parts = [[request] for request in requests] if is_single else [requests] if requests else []
        device.under_way += len(rows_of_parts)
        device.running = queue if is_single else None
        for rows in rows_of_parts:
            part = Part(queue.stage, rows, self._permit(call, rows, now))
            for row, request in enumerate(rows):
                request.rows = len(rows)
                request.queue, request.part, request.row, request.permit = None, part, row, None
                request.attempts += 1
                if request.attempts == 1:
                    request.expires = now + call.timeout
                elif request.wake is not None:
                    request.wake.cancel()
                    request.wake = None
            if call.timeout < math.inf:
                self._arm(part)
            context = self._context.copy() if rows[0].context is None else rows[0].context
            if self._is_limited or rows[0].ends < math.inf:
                end = max([min(request.ends, request.expires) for request in rows])
                context.run(wait_until, end, self._loop.time)
            xs = [request.input.take(call.stage.carries) for request in rows]
            task = self._loop.create_task(self._attempt(call, xs), context=context)
            part.task = task
            self._tasks.add(task)
            task.add_done_callback(partial(self._part_ended, device, part), context=self._context)
        return bool(requests)

    def _in_time(self, requests: list[Offered], now: float) -> list[Offered]:
        """Without those whose time is over, on a loop that is too busy for its timers to go off in time."""
        late = [request for request in requests if request.ends <= now or request.expires <= now]
        for request in late:
            request.queue = None
            if request.ends <= now:
                self.overdue(request)
            else:
                self._expire_waiting(request)
        return [request for request in requests if request not in late] if late else requests

    def _permit(self, call: Call, rows: list[Offered], now: float) -> int | None:
        """Of the circuit for one call; None where nothing is to be told to it."""
        if call.circuit is None:
            return None
        for request in rows:
            if request.permit is not None:
                return request.permit
        permit = call.circuit.admit(now)
        return None if isinstance(permit, str) else permit

    async def _attempt(self, call: Call, xs: list[Any]) -> Reading | str | Asked | BaseException:
        """What this raises is handed to the callers: if the task raised it, some exceptions would end the loop."""
        try:
            if call.stage.batch is None:
                return await try_one(call, xs[0])
            try:
                taken = xs if call.stage.carries else self._collate(xs)
            except Exception as error:
                return none_of(len(xs), reason_of(error))
            return await try_batch(call, taken, len(xs))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return error

    def _part_ended(self, device: RunningDevice, part: Part, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        try:
            self._hear(part, task, self._loop.time())
        finally:
            # Not before: whoever is answered goes on before the device looks for a call, and may have a next request.
            device.under_way -= 1
            self._wake(device)

    def _hear(self, part: Part, task: asyncio.Task[Any], now: float) -> None:
        """What came of a part, for the rows that are left."""
        if part.timer is not None:
            part.timer.cancel()
            self._expire(part, now)
        found: Reading | str | Asked | BaseException
        found = asyncio.CancelledError() if task.cancelled() else task.result()
        if isinstance(found, BaseException):
            self._tell_circuit(part, None, now)
            self._raise(part, found)
            return
        self._tell_circuit(part, has_failed(found) if part.left else None, now)
        if self._slowdown() is not None:
            failed = found.failures if isinstance(found, Asked) else {0: found} if isinstance(found, str) else {}
            left = [request for request in part.rows if request is not None]
            answered = [request for request in left if request.row not in failed and request.ends > now]
            self._pace(part.stage, answered or left, now, has_answered=bool(answered))
        if isinstance(found, Asked):
            self._deliver(part, found, now)
        elif part.left:
            (request,) = part.rows
            assert request is not None
            self._tell(request, found, True, now)

    def _deliver(self, part: Part, found: Asked, now: float) -> None:
        """What a call of `batch` gave, to the rows that are left."""
        failures, may_repeat = found.failures, has_failed(found)
        said: Iterable[Any] = repeat(None)
        if found.prediction is not None:
            said = found.prediction.tolist() if isinstance(found.prediction, np.ndarray) else found.prediction
        given = zip(found.outputs, found.signal.tolist(), said, strict=False)
        for row, request in enumerate(part.rows):
            reading = failures[row] if row in failures else next(given)
            if request is not None:
                self._tell(request, reading, may_repeat, now)

    def _tell(self, request: Offered, found: Reading | str, may_repeat: bool, now: float) -> None:
        """What an attempt gave for a request that is a row of it."""
        request.part = None
        if request.ends <= now:
            self.overdue(request)
        elif isinstance(found, str):
            self._failed(request, found, may_repeat and not isinstance(found, Final), now)
        else:
            output, signal, prediction = found
            driver = request.driver
            if request.is_timed:
                driver.took_in_call(now - request.asked, request.rows)
                driver.has_left(request.ends - now)
            try:
                driver.answered(signal, prediction, output)
            except BaseException as error:  # of the engine, or of a prediction that is compared
                self._ended(request, error)
            else:
                self._go_on(request, now)

    def _pace(self, stage: int, requests: Sequence[Offered], now: float, *, has_answered: bool) -> None:
        """Tells how long one call kept these requests, from when they came to the stage: the mean of them. It ran as
        far as the one needed that had come least far."""
        timed = [request for request in requests if request.is_timed]
        slowdown = self._slowdown()
        if slowdown is None or not timed:
            return
        tell = slowdown.call_took if has_answered else slowdown.call_took_at_least
        last = min([request.driver.last for request in timed])
        before = max([request.driver.rows for request in timed])
        kept = sum([now - request.asked for request in timed]) / len(timed)
        tell(last, stage, kept, timed[0].rows, before)

    def _raise(self, part: Part, error: BaseException) -> None:
        """Everybody who is left in a call gets what it raised."""
        for request in part.rows:
            if request is not None:
                request.part = None
                self._ended(request, error)

    def _tell_circuit(self, part: Part, failed: bool | None, now: float) -> None:
        """Once a part: whether it failed, or None: nobody will know."""
        circuit, permit = self._calls[part.stage].circuit, part.permit
        if circuit is None or permit is None:
            return
        part.permit = None
        if failed is None:
            circuit.give_back(permit)
        elif failed:
            circuit.failed(permit, now)
            self._bar(self._queues[part.stage], now)
        else:
            circuit.succeeded(permit)

    # ---- failures

    def _failed(self, request: Offered, reason: str, may_repeat: bool, now: float) -> None:
        """An attempt gave nothing: another one, if there is time for it."""
        asked = request.driver.ask
        assert asked is not None
        stage = self._calls[asked].stage
        if may_repeat and request.attempts <= stage.retries:
            at = now + pause(stage.backoff, request.attempts)
            if at < min(request.expires, request.ends):
                request.reason = reason
                request.wake = self._loop.call_at(at, self._try_again, request, asked, context=self._context)
                return
        self._give_up(request, reason, now)

    def _try_again(self, request: Offered, asked: int) -> None:
        request.wake = None
        now, circuit = self._loop.time(), self._calls[asked].circuit
        if circuit is not None and circuit.state != "closed":
            permit = circuit.admit(now)
            if isinstance(permit, str):
                self._give_up(request, request.reason, now)
                return
            request.permit = permit
        if request.expires < math.inf:
            request.wake = self._loop.call_at(request.expires, self._expire_waiting, request, context=self._context)
        self._enqueue(request, asked, now)

    def _expire_waiting(self, request: Offered) -> None:
        """The time of the stage is over before the next attempt has begun."""
        request.wake = None
        self.drop(request)
        self._give_up(request, request.reason, self._loop.time())

    def _give_up(self, request: Offered, reason: str, now: float) -> None:
        if request.is_timed:
            request.driver.took_in_call(now - request.asked, request.rows)
            request.driver.has_left(request.ends - now)
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
        if late and part.left == len(late):
            self._tell_circuit(part, True, at)
        self._pace(part.stage, late, at, has_answered=False)
        for request in late:
            part.release(request)
        if part.left and not part.task.done():
            self._arm(part)
        reason = f"time-out after {self._calls[part.stage].timeout:g} s"
        for request in late:
            self._give_up(request, reason, at)


def _rows_at_once(call: Call, most: int) -> int:
    """Rows in a call at most: of single calls of a plain function not more than it has threads."""
    if call.stage.batch is None and not call.runs_async and call.workers is not None:
        return min(most, call.stage.threads)
    return most
