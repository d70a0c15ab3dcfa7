"""Threads for plain functions whose caller must be able to go on without them."""

from __future__ import annotations

import contextvars
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from .._utils.forks import renew_after_fork

__all__ = ["Job", "Workers", "when_abandoned"]

T = TypeVar("T")

IDLE = 5.0
"""Seconds without work after which a worker ends."""


class _Doing(threading.local):
    """What the thread is doing, where it is a worker."""

    job: Job[Any] | None = None


_DOING = _Doing()


@contextmanager
def when_abandoned(end: Callable[[], None]) -> Iterator[None]:
    """Have `end` called once if, while this lasts, nobody waits any more for the work that this thread does.

    For work that can be ended from outside: a run of a model, a wait for another machine. `end` is called by the thread
    that gives up, at once if it has given up before, and may still be running when the work has ended: it must do
    no harm then, be quick, and not raise. Outside workers nothing is ever abandoned. Not to be nested.

    Examples
    --------
    >>> import threading
    >>> ended, begun, heard = threading.Event(), threading.Event(), []
    >>> def work():
    ...     with when_abandoned(ended.set):
    ...         begun.set()
    ...         heard.append(ended.wait(10.0))
    >>> job = Workers("model", 1).submit(work)
    >>> begun.wait(10.0), job.abandon(), job.wait(10.0), heard
    (True, True, True, [True])
    """
    job = _DOING.job
    if job is None:
        yield
        return
    job.end_by(end)
    try:
        yield
    finally:
        job.end_by(None)


class _Pool:
    """The threads of one process, and their work. Whoever reads or changes it holds its lock."""

    __slots__ = ("changed", "idle", "late", "lock", "threads", "waiting")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.waiting: OrderedDict[Job[Any], None] = OrderedDict()
        self.threads = 0
        self.idle = 0
        self.late = 0


class Job(Generic[T]):
    """Some work that a worker does, and what came of it."""

    __slots__ = (
        "_context",
        "_end",
        "_error",
        "_finished",
        "_given",
        "_notify",
        "_pool",
        "_work",
        "begun",
        "ended",
        "is_late",
    )

    def __init__(self, pool: _Pool, work: Callable[[], T], notify: Callable[[], None] | None) -> None:
        self._pool = pool
        self._work: Callable[[], T] | None = work
        self._notify = notify
        self._context = contextvars.copy_context()
        self._finished = threading.Lock()
        self._finished.acquire()
        self._given: T | None = None
        self._error: BaseException | None = None
        self._end: Callable[[], None] | None = None
        self.begun = self.ended = self.is_late = False

    def wait(self, seconds: float | None) -> bool:
        """Whether the work ends within so many seconds, None for however long; Ctrl-C interrupts the main thread."""
        longest = -1.0 if seconds is None else min(max(seconds, 0.0), threading.TIMEOUT_MAX)
        if not self._finished.acquire(timeout=longest):
            return False
        self._finished.release()
        return True

    def result(self) -> T:
        """What the work returned, asked once it has ended; what it raised is raised again, whatever it is."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # it refers to this frame
        return self._given  # type: ignore[return-value]  # there is something where nothing was raised

    def abandon(self) -> bool:
        """Nobody waits any more: work not begun is dropped, work under way is told, and goes on unheard. Whether it was
        begun."""
        pool, end = self._pool, None
        with pool.lock:
            pool.waiting.pop(self, None)
            self._notify = None
            if self.begun and not self.ended and not self.is_late:
                self.is_late = True
                pool.late += 1
                end = self._end
            is_begun = self.begun
        if end is not None:
            end()
        return is_begun

    def end_by(self, end: Callable[[], None] | None) -> None:
        """By the worker: what is called when nobody waits any more, at once if that is so already; None for nothing."""
        with self._pool.lock:
            self._end = end
            is_late = self.is_late
        if is_late and end is not None:
            end()

    def do(self) -> None:
        """By the worker that has begun it: do the work, and tell."""
        work, self._work = self._work, None
        assert work is not None
        _DOING.job = self
        try:
            self._given = self._context.run(work)
        except BaseException as error:  # the caller's to raise
            self._error = error
        _DOING.job = None
        del work  # before the caller is told: whatever it holds belongs to the caller again
        pool = self._pool
        with pool.lock:
            self.ended = True
            pool.late -= self.is_late
            notify = self._notify
        self._finished.release()
        if notify is not None:
            notify()


class Workers:
    """Threads that do the calls of one stage, at most `threads` at once.

    Parameters
    ----------
    name : str
        Of the stage; the threads are named after it.
    threads : int
        At least 1.

    Notes
    -----
    Threads are started when there is work for them, and end when they have had none for some seconds. They are daemons:
    a stage that is stuck does not keep the interpreter from ending. The threads of `concurrent.futures` would, as these
    are joined at its exit.

    Work that nobody waits for any more keeps its thread until it ends: :attr:`late` counts it, and no more than
    `threads` calls can be stuck. A forked child begins without threads and without work.
    """

    __slots__ = ("__weakref__", "_name", "_pool", "_threads")

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._threads = threads
        self._pool = _Pool()
        renew_after_fork(self)

    @property
    def late(self) -> int:
        """Calls that are under way and that nobody waits for."""
        return self._pool.late

    def submit(self, work: Callable[[], T], notify: Callable[[], None] | None = None) -> Job[T]:
        """Have `work` done by the next free thread, with the context variables of the caller.

        `notify` is called by that thread once the work has ended, unless the job has been abandoned.

        Raises
        ------
        RuntimeError
            If the system has no thread for it.
        """
        pool = self._pool
        job = Job(pool, work, notify)
        with pool.lock:
            pool.waiting[job] = None
            if len(pool.waiting) <= pool.idle:
                pool.changed.notify()
                return job
            if pool.threads == self._threads:
                return job
            pool.threads += 1
        try:
            threading.Thread(target=_work, args=(pool,), name=f"ttamer {self._name}", daemon=True).start()
        except RuntimeError:
            with pool.lock:
                pool.threads -= 1
                if pool.threads or job.begun:
                    return job  # the others will come to it
                del pool.waiting[job]
            raise
        return job

    def renew(self) -> None:
        """In a forked child: the threads are the parent's."""
        self._pool = _Pool()


def _work(pool: _Pool) -> None:
    """What a worker does until there is nothing to do."""
    while (job := _next(pool)) is not None:
        job.do()
        del job


def _next(pool: _Pool) -> Job[Any] | None:
    """The job that waits longest, begun; None where none comes for some seconds."""
    with pool.lock:
        while not pool.waiting:
            pool.idle += 1
            is_notified = pool.changed.wait(IDLE)
            pool.idle -= 1
            if not is_notified and not pool.waiting:
                pool.threads -= 1
                return None
        job, _ = pool.waiting.popitem(last=False)
        job.begun = True
        return job
