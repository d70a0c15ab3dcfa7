"""What a log keeps for the process that it is in: records that wait, and the thread that writes them."""

from __future__ import annotations

import os
import sys
import threading
import warnings
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias

from .._core import RecordWriter
from .._utils.forks import renew_after_fork
from .._utils.warnings import RecordsWarning
from ..traces.record import Step

__all__ = ["Explored", "Filling", "Options"]

Explored: TypeAlias = tuple[list[Step], Mapping[int, str], Mapping[int, str], dict[int, float] | None, float]
"""Of the stages that ran for the record alone: steps, failures, barred, seconds, and what they cost."""

PATIENCE = 5.0
"""Seconds that closing waits for the thread to end."""


class Options(NamedTuple):
    """As of a :class:`RecordLog`."""

    max_bytes: int
    max_seconds: float
    flush_seconds: float
    flush_records: int
    max_pending: int


class Filling:
    """The part of a log that a forked child has anew.

    The thread is started by the first record, and refers to this alone: it does not keep a log alive.
    """

    __slots__ = (
        "__weakref__",
        "_declared",
        "_folder",
        "_has_warned",
        "_lock",
        "_news",
        "_options",
        "_thread",
        "core",
        "is_closed",
    )

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self._options = options
        self._declared: list[tuple[str, tuple[str, ...], str, tuple[float, ...]]] = []
        self.is_closed = False
        self._begin()
        renew_after_fork(self)

    def _begin(self) -> None:
        options = self._options
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None
        self._has_warned: set[str] = set()
        self.core = RecordWriter(
            self._folder,
            os.urandom(8).hex(),
            options.max_bytes,
            options.max_seconds,
            options.max_pending,
            options.flush_records,
        )
        for digest, stages, kind, cost in self._declared:
            self.core.declare(digest, list(stages), kind, list(cost))

    def renew(self) -> None:
        """In a forked child: what waits, the files and the thread are the parent's."""
        if not self.is_closed:
            self._begin()

    def declare(self, digest: str, stages: tuple[str, ...], kind: str, cost: tuple[float, ...]) -> int:
        """The number of a policy, the same in every child."""
        with self._lock:
            about = (digest, stages, kind, cost)
            if about not in self._declared:
                self.core.declare(digest, list(stages), kind, list(cost))
                self._declared.append(about)
            return self._declared.index(about)

    def wake(self) -> None:
        """There are records to be written before long, or at once."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._start()
        self._news.set()

    def flush(self) -> None:
        """Write what waits."""
        self._tell(self.core.flush())

    def close(self) -> None:
        """Write what waits, and take in nothing more."""
        with self._lock:
            was_closed, self.is_closed = self.is_closed, True
            thread = self._thread
        if was_closed:
            return
        error = self.core.close()
        self._news.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(PATIENCE)
        self._tell(error)

    def _start(self) -> None:
        with self._lock:
            if self.is_closed or (self._thread is not None and self._thread.is_alive()):
                return
            thread = threading.Thread(
                target=_work, args=(weakref.ref(self), self._news), name="ttamer log", daemon=True
            )
            # Where the system has no thread for it, the next record tries again.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            # Its children end without the interpreter's own functions for that.
            util.Finalize(self, _flush, args=(weakref.ref(self),), exitpriority=10)

    def _tell(self, error: str | None) -> None:
        """Warn once of what goes wrong."""
        _, _, dropped = self.core.counts
        most = self._options.max_pending
        if error is not None:
            kept = f"up to {most} records wait until they can be" if not self.is_closed else "they are lost"
            self._warn("error", f"records cannot be written to {self._folder}: {error}; {kept}")
        elif dropped:
            self._warn(
                "dropped", f"records for {self._folder} are dropped: `max_pending` is {most}, `dropped` counts them"
            )

    def _warn(self, what: str, message: str) -> None:
        if what in self._has_warned:
            return
        self._has_warned.add(what)
        # A filter may make an error of it: nobody is there to be told.
        with suppress(Exception):
            warnings.warn(message, RecordsWarning, stacklevel=2)


def _work(filling: weakref.ref[Filling], news: threading.Event) -> None:
    """What the thread does until the log is closed or gone."""
    while True:
        news.wait()
        news.clear()
        found = filling()
        if found is None or found.is_closed:
            return
        seconds = found._options.flush_seconds
        del found
        news.wait(seconds)
        news.clear()
        found = filling()
        if found is None or found.is_closed:
            return
        found.flush()
        if found.core.counts[0]:
            news.set()
        del found


def _flush(filling: weakref.ref[Filling]) -> None:
    found = filling()
    if found is not None:
        found.flush()
