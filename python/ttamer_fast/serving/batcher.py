"""Continuous batching: requests that come one by one, stages that run on many."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from .._core import TTamerError, ValidationError
from .._utils.checks import check_integer, check_number, check_one_of, shown
from .audience import Audience
from .cascade import Cascade
from .dispatcher import Dispatcher
from .driver import Driver
from .exploring import Exploring
from .inputs import Input
from .limits import check_deadline
from .offered import Offered
from .queues import StageStats
from .served import Served
from .stacking import stacked

__all__ = ["Batcher", "OverloadedError"]

X = TypeVar("X")
Y = TypeVar("Y")

GRACE = 1.0
"""Seconds that calls which were cancelled have to end, when a batcher is left."""


class OverloadedError(TTamerError):
    """A batcher has as many requests inside as it may have: the request was refused and has run no stage."""


class Batcher(Generic[X, Y]):
    """Continuous batching for a cascade: requests come one by one, and stages run on all that wait for them.

    There is a queue a stage. Whenever a device is free it runs the stage with the fullest queue, on at most `max_batch`
    requests; each of them then goes on to the stage that the policy asks for next, or leaves. Nobody waits for a batch
    to be decided as a whole, and batches stay full.

    Parameters
    ----------
    cascade : Cascade
        Its policy, stages, limits and circuits.
    max_batch : int
        Largest number of requests in a call, at least 1.
    max_wait : float
        Seconds, finite and at least 0. With 0, a free device never waits. Else a queue with fewer than `max_batch`
        requests waits until its oldest one has waited for so long.
    max_pending : int
        Largest number of requests inside, at least 1.
    when_full : {"wait", "raise"}
        What becomes of more: they wait outside, first come, first served, while their deadlines run; or they are
        refused by an :class:`OverloadedError`.
    devices : sequence or mapping of k hashables, optional
        What each stage runs on, in the order of `policy.stages` or by name; equal entries are one device. A device runs
        one call at a time. By default all stages share one.
    collate : callable, optional
        ``collate(xs)`` makes of a list of m inputs what `batch` takes. By default inputs that are numpy arrays or
        numbers, all of one shape and dtype, become an array, dicts with the same keys a dict of such, and all else
        stays a list: what :meth:`Cascade.batch` hands over for an array, a dict and a list.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value.

    Notes
    -----
    *Order.* The fullest queue goes first, counted up to `max_batch`; of equals the deepest, and queues that are not
    half full are equals. One that has been passed over by max(8, 2 q) calls of its device, which has q stages, goes
    next. Within a queue, first come, first served; who is tried again comes to the end.

    *Deadlines.* At its deadline a request leaves with the best answer in hand, from wherever it is. Time spent waiting
    counts, in `Served.seconds` too, and for a policy that knows time. A cancelled caller leaves as well. A call that
    all have left is cancelled, and the device is free once it has ended.

    *Failures.* As in the cascade: what `batch` raises fails all rows of the call, None its row. Who may be tried again
    (`retries`) comes back to the queue after the pause; meanwhile the device serves others. The `timeout` of a stage
    counts from the first time that it is begun for a request. What is no Exception, and a wrong number of outputs, is
    raised at every caller of that call.

    *Stages without* `batch` run for all rows of a call at once, as tasks in the contexts of their callers: of plain
    functions at most `threads`. The call lasts until the last of them has ended; others may join it meanwhile, while
    nobody waits for another stage of the device. Remote models, which do not get in each other's way, are best given
    devices of their own.

    *Exploration.* A request that is run through for the log of the cascade is answered first; then it queues for the
    stages that it has not run, like any other, beside the `max_pending`.

    *Closing.* Leaving the ``async with`` block waits until all requests are answered, and run through. Leaving it by an
    exception cancels what is under way, and every caller gets a :class:`TTamerError`.

    A batcher belongs to the event loop in which it is entered, and is entered once. O(k) a call and O(1) a request and
    stage, beside the stages.

    Examples
    --------
    >>> import asyncio, numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 2))
    >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], stages=["small", "large"])
    >>> async def small(xs):
    ...     await asyncio.sleep(0.001)
    ...     return np.stack([xs, 1 / (1 + xs)], axis=1)
    >>> read = dict(signal=lambda y: y[..., 1])
    >>> stages = {
    ...     "small": tt.Stage(lambda x: (x, 1 / (1 + x)), batch=small, **read),
    ...     "large": tt.Stage(lambda x: (-x, 0.9), batch=lambda xs: np.stack([-xs, 0.9 + 0 * xs], axis=1), **read),
    ... }
    >>> cascade = tt.Cascade(tt.fit(trace, tradeoff=0.9), stages)
    >>> async def serve():
    ...     async with tt.Batcher(cascade, max_batch=8) as batcher:
    ...         served = await asyncio.gather(*[batcher(x) for x in np.arange(10.0)])
    ...     return [one.stage_name for one in served], batcher.stats()["small"]
    >>> names, stats = asyncio.run(serve())
    >>> names[0], names[9]
    ('small', 'large')
    >>> stats.calls, stats.rows, stats.released["full"], stats.released["idle"]
    (2, 10, 1, 1)
    """

    def __init__(
        self,
        cascade: Cascade[X, Y],
        *,
        max_batch: int = 32,
        max_wait: float = 0.0,
        max_pending: int = 1024,
        when_full: Literal["wait", "raise"] = "wait",
        devices: Sequence[Hashable] | Mapping[str, Hashable] | None = None,
        collate: Callable[[list[X]], Any] | None = None,
    ) -> None:
        if not isinstance(cascade, Cascade):
            raise ValidationError(f"`cascade` must be a Cascade, got {type(cascade).__name__}")
        self._cascade = cascade
        self._max_batch = check_integer("max_batch", max_batch, 1)
        self._max_wait = _check_wait(max_wait)
        self._max_pending = check_integer("max_pending", max_pending, 1)
        self._waits_when_full = check_one_of("when_full", when_full, ("wait", "raise")) == "wait"
        self._devices = _check_devices(devices, cascade.policy.stages)
        if collate is not None and not callable(collate):
            raise ValidationError(f"`collate` must be callable or None, got {type(collate).__name__}")
        self._collate: Callable[[list[Any]], Any] = stacked if collate is None else collate
        self._is_timed = cascade._is_timed
        self._has_single = any(stage.batch is None for stage in cascade.stages)
        self._state: Literal["new", "open", "closing", "closed"] = "new"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dispatcher: Dispatcher | None = None
        self._inside: set[Offered] = set()
        self._through: set[Offered] = set()
        self._outside: OrderedDict[Offered, None] = OrderedDict()
        self._is_letting_in = False
        self._empty: asyncio.Future[None] | None = None

    @property
    def pending(self) -> int:
        """Requests inside: begun, or waiting for a stage; at most `max_pending`."""
        return len(self._inside)

    @property
    def outside(self) -> int:
        """Requests that wait to be let in."""
        return len(self._outside)

    def stats(self) -> dict[str, StageStats]:
        """What was made of every stage so far, by its name: calls, rows, why calls were begun, how long rows waited."""
        names = self._cascade.policy.stages
        if self._dispatcher is None:
            return {name: StageStats.none() for name in names}
        return dict(zip(names, self._dispatcher.stats(), strict=True))

    async def __call__(self, x: X, deadline: float | None = None) -> Served[Y]:
        """Serve one request.

        Parameters
        ----------
        x : object
            The input.
        deadline : float, optional
            Seconds from now, above 0.

        Raises
        ------
        NoAnswerError
            If no stage answered, and the policy has no default; has the reasons.
        OverloadedError
            If `max_pending` requests are inside, and `when_full` is "raise".
        ValidationError
            If the batcher is not open in this event loop, if `deadline` is not above 0, or if a stage returns what
            :meth:`Cascade.batch` refuses.
        TTamerError
            If the batcher was left by an exception.
        """
        loop = asyncio.get_running_loop()
        dispatcher = self._dispatcher
        if dispatcher is None or loop is not self._loop or self._state != "open":
            raise self._refusal(loop)
        seconds = check_deadline(deadline)
        return await self._cascade._listeners.around(self._serve(x, seconds, loop, dispatcher))

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise ValidationError(f"`batcher` must be entered once, and is {self._state}")
        self._loop = loop = asyncio.get_running_loop()
        self._dispatcher = Dispatcher(
            self._cascade._calls,
            loop,
            self._devices,
            self._max_batch,
            self._max_wait,
            self._collate,
            self._ended,
            lambda: self._cascade._incumbents.now().opening.slowdown,
        )
        self._state = "open"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._dispatcher is not None
        try:
            if error is None:
                await self._drain()
        except BaseException as stop:
            error = stop
            raise
        finally:
            self._state = "closed"
            if error is not None:
                self._abandon(error)
            self._dispatcher.hurry()
            if self._dispatcher.tasks:
                await asyncio.wait(self._dispatcher.tasks, timeout=GRACE)

    def __repr__(self) -> str:
        return f"Batcher({self._cascade!r}, max_batch={self._max_batch}, {self._state}, pending={self.pending})"

    async def _serve(self, x: X, seconds: float, loop: asyncio.AbstractEventLoop, dispatcher: Dispatcher) -> Served[Y]:
        incumbent = self._cascade._incumbents.now()
        driver: Driver[Y] = incumbent.opening.one(x, loop.time, seconds, rows=0)
        given = Input(x)
        if driver.ask is None:
            return self._taken(driver, given, incumbent.audience)
        is_full = len(self._inside) >= self._max_pending
        if is_full and not self._waits_when_full:
            raise OverloadedError(f"`max_pending` is {self._max_pending}, and so many requests are inside")
        context = copy_context() if self._has_single else None
        request = Offered(given, driver, loop.create_future(), context, self._is_timed or seconds < math.inf, seconds)
        if seconds < math.inf:
            request.ends = loop.time() + seconds
            request.timer = loop.call_at(request.ends, dispatcher.overdue, request)
        if is_full:
            self._outside[request] = None
        else:
            self._inside.add(request)
            dispatcher.begin(request)
        try:
            await request.future
        except asyncio.CancelledError:
            self._leave(request)
            raise
        return self._taken(driver, given, incumbent.audience)

    def _taken(self, driver: Driver[Y], given: Input, audience: Audience | None) -> Served[Y]:
        """A decided request; where it is run through, it comes in again for the stages that it has not run."""
        if audience is None:
            return driver.served()
        record, through = audience.take(driver)
        if through is not None:
            assert self._loop is not None
            assert self._dispatcher is not None
            context = copy_context() if self._has_single else None
            future = self._loop.create_future()
            future.add_done_callback(partial(_end, through))
            request = Offered(given, through, future, context, self._is_timed, math.inf)
            self._through.add(request)
            self._dispatcher.begin(request)
        return driver.handed(record)

    async def _drain(self) -> None:
        """Wait until everybody has been answered."""
        assert self._dispatcher is not None
        assert self._loop is not None
        await asyncio.sleep(0)  # tasks that were made in the block have made their calls after this
        self._state = "closing"
        self._dispatcher.hurry()
        if self._inside or self._through:
            self._empty = self._loop.create_future()
            await self._empty

    def _abandon(self, error: BaseException) -> None:
        """Nobody is answered any more."""
        for request in [*self._outside, *self._inside, *self._through]:
            self._leave(request, TTamerError(f"the batcher was left by {type(error).__name__} before the answer"))

    def _leave(self, request: Offered, error: BaseException | None = None) -> None:
        """A request leaves before it is decided."""
        if request in self._inside or request in self._outside or request in self._through:
            assert self._dispatcher is not None
            self._dispatcher.drop(request)
            self._ended(request, error)

    def _ended(self, request: Offered, error: BaseException | None) -> None:
        """A request that waits for nothing more: its caller goes on, and another one may come in."""
        if request.timer is not None:
            request.timer.cancel()
        self._outside.pop(request, None)
        self._inside.discard(request)
        self._through.discard(request)
        future = request.future
        if future.done():
            pass
        elif error is None:
            future.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            future.cancel()
        else:
            future.set_exception(error)
        if self._outside:
            self._let_in()
        elif not (self._inside or self._through) and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)

    def _let_in(self) -> None:
        """Those outside come in, as far as there is room; whoever is at the end at once makes room again."""
        assert self._dispatcher is not None
        if self._is_letting_in:
            return
        self._is_letting_in = True
        while self._outside and len(self._inside) < self._max_pending:
            request, _ = self._outside.popitem(last=False)
            # It may be late in the meantime, or a stage may be down.
            assert self._loop is not None
            assert isinstance(request.driver, Driver)
            self._cascade._incumbents.now().opening.again(
                request.driver, self._loop.time, request.ends - self._loop.time()
            )
            self._inside.add(request)
            self._dispatcher.begin(request)
        self._is_letting_in = False

    def _refusal(self, loop: asyncio.AbstractEventLoop) -> ValidationError:
        if self._state == "new":
            return ValidationError("`batcher` must be entered by `async with` before it is called")
        if loop is not self._loop:
            return ValidationError("`batcher` must be called in the event loop in which it was entered, got another")
        return ValidationError(f"`batcher` must be open, and is {self._state}")


def _end(through: Exploring, future: asyncio.Future[None]) -> None:
    """A request that was run through is at its end, or nobody goes on."""
    if not future.cancelled():
        future.exception()  # of a stage that returns what nobody expects: it has been heard of
    through.end()


def _check_wait(max_wait: float) -> float:
    seconds = check_number("max_wait", max_wait)
    if not 0.0 <= seconds < math.inf:
        raise ValidationError(f"`max_wait` must be finite and at least 0, got {shown(max_wait)}")
    return seconds


def _check_devices(devices: Any, stages: Sequence[str]) -> list[Hashable]:
    """One a stage, in the order of the stages."""
    if devices is None:
        return [None] * len(stages)
    if isinstance(devices, Mapping):
        if set(devices) != set(stages):
            raise ValidationError(f"`devices` must have the stages {list(stages)}, got {list(devices)}")
        own = [devices[name] for name in stages]
    elif isinstance(devices, Sequence) and not isinstance(devices, str | bytes | bytearray):
        own = list(devices)
    else:
        raise ValidationError(f"`devices` must be a sequence or mapping of hashables, got {type(devices).__name__}")
    if len(own) != len(stages):
        raise ValidationError(f"`devices` must have {len(stages)} entries, one a stage, got {len(own)}")
    for at, device in enumerate(own):
        try:
            hash(device)
        except TypeError:
            raise ValidationError(f"`devices[{at}]` must be hashable, got {shown(device)}") from None
    return own
