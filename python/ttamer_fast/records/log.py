"""What a cascade writes its requests to."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .._core import Policy, ValidationError
from .._utils.checks import check_between, check_integer, check_number
from .._utils.files import folder_of
from ..traces.record import Record
from .filling import Filling, Options

__all__ = ["RecordLog", "prices_of"]

MOST_ROWS = 1 << 20
"""Records in a block, at most."""


class RecordLog:
    """Files in a folder to which served requests are appended, by any number of threads and processes.

    Give it to a cascade: ``Cascade(..., record=log)``. :func:`read_records` reads the folder, also meanwhile.

    Parameters
    ----------
    folder : path
        Made if it is not there. Any number of logs may write into one; each has files of its own.
    max_bytes : int
        Size of a file at which the next one is begun, at least 1.
    max_seconds : float
        Age of a file at which the next one is begun, above 0.
    flush_seconds : float
        Longest time that a record waits before it is written, finite and above 0.
    flush_records : int
        Number of waiting records at which they are written at once, at least 1.
    max_pending : int
        Most records that wait, from 1 to 2**20: where there is no room, as a disk is full or slow, records are dropped
        and counted.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value.
    OSError
        If the folder cannot be made.

    Notes
    -----
    *What is written* of a request: its name and time; the stages that ran and those that were not tried, in this order,
    with signal, prediction, seconds (where they were measured: ``Cascade(timing=True)``) and the reason where there was
    no answer; the answer, cost and expected loss; whether it was run through (`explore`), with which probability, and
    what that cost; and which policy decided. Predictions are kept as 64-bit codes, as in a :class:`Trace`: truth that
    becomes known later is compared as ``==`` does. Neither inputs nor outputs are written.

    *Requests do not wait and do not fail.* They put their record into memory; a thread writes. What cannot be written
    waits for the next time; a :class:`RecordsWarning` says so once. :attr:`dropped` counts what is lost.

    *Crashes.* What has been written stays, whatever becomes of the process: :func:`read_records` leaves out a last
    block that is not whole, and finds damage by checksums. With a process that is killed, up to `flush_seconds` of
    records are lost; with a machine, what its system had not brought to the disk. At the end of the interpreter, and of
    a child of `multiprocessing`, all is written.

    *Processes.* A forked child writes into files of its own; what waited at the fork is its parent's. A log can be
    pickled: its copy writes into the same folder.

    Any thread may use it. A cascade hands a record over in less than a microsecond; :meth:`append` takes some more.
    Memory: about 150 bytes a waiting record of two stages, 64 MiB at most beside one block.

    Examples
    --------
    >>> import numpy as np, tempfile, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.random((1000, 2))
    >>> trace = tt.Trace(signal, rng.random((1000, 2)) > signal, cost=[1.0, 2.0], stages=["small", "large"])
    >>> read = dict(signal=lambda y: y[1], prediction=lambda y: y[0])
    >>> stages = [tt.Stage(lambda x: (x % 3, 0.99), **read), tt.Stage(lambda x: (x % 3, 0.5), **read)]
    >>> folder = tempfile.TemporaryDirectory()
    >>> with tt.RecordLog(folder.name) as log:
    ...     cascade = tt.Cascade(tt.fit(trace, tradeoff=0.9), stages, record=log, explore=0.05)
    ...     for x in range(100):
    ...         served = cascade(x)
    >>> log.written, log.dropped
    (100, 0)
    >>> records = tt.read_records(folder.name)
    >>> len(records), len(records.trace(teacher="large"))
    (100, 100)
    >>> folder.cleanup()
    """

    __slots__ = ("__weakref__", "_filling", "_finalizer", "_folder", "_options")

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        max_bytes: int = 1 << 26,
        max_seconds: float = 3600.0,
        flush_seconds: float = 1.0,
        flush_records: int = 4096,
        max_pending: int = 1 << 16,
    ) -> None:
        # A process may go elsewhere; the log stays.
        path = folder_of(folder, "folder").absolute()
        oldest = check_number("max_seconds", max_seconds)
        if not oldest > 0.0:
            raise ValidationError(f"`max_seconds` must be above 0, got {max_seconds}")
        self._options = Options(
            max_bytes=check_integer("max_bytes", max_bytes, 1, 2**63 - 1),
            max_seconds=oldest,
            flush_seconds=check_between("flush_seconds", flush_seconds, math.inf),
            flush_records=check_integer("flush_records", flush_records, 1, MOST_ROWS),
            max_pending=check_integer("max_pending", max_pending, 1, MOST_ROWS),
        )
        path.mkdir(parents=True, exist_ok=True)
        self._folder = path
        self._filling = Filling(path, self._options)
        # Also at the end of the interpreter.
        self._finalizer = weakref.finalize(self, self._filling.close)

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    @property
    def written(self) -> int:
        """Records that this log has written in this process."""
        return self._filling.core.counts[1]

    @property
    def pending(self) -> int:
        """Records that wait to be written."""
        return self._filling.core.counts[0]

    @property
    def dropped(self) -> int:
        """Records that are lost: there was no room, the log was closed, or they could not be written before that."""
        return self._filling.core.counts[2]

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` has been called."""
        return self._filling.is_closed

    def append(self, record: Record, policy: Policy) -> None:
        """Add the record of a request that no cascade has served, such as of a :class:`Run` that you drive.

        Parameters
        ----------
        record : Record
            With the stages of `policy`.
        policy : Policy
            That decided.

        Raises
        ------
        ValidationError
            If an argument is of the wrong type or value, or the stages are not those of the policy.

        Notes
        -----
        O(k**2): what the log says of the policy is made anew for each record.
        """
        if not isinstance(record, Record):
            raise ValidationError(f"`record` must be a Record, got {type(record).__name__}")
        if not isinstance(policy, Policy):
            raise ValidationError(f"`policy` must be a Policy, got {type(policy).__name__}")
        if record.stages != policy.stages:
            raise ValidationError(f"`record` must have the stages {list(policy.stages)}, got {list(record.stages)}")
        filling = self._filling
        ended = record.answer, record.late, record._cost, record._expected_loss
        lost = record._failures, record._barred, record._seconds
        number = filling.declare(*prices_of(policy))
        if filling.core.append(number, record.request_id, list(record.steps), *ended, *lost, 0.0):
            filling.wake()

    def flush(self) -> None:
        """Write what waits, now."""
        self._filling.flush()

    def close(self) -> None:
        """Write what waits, and take in nothing more: later records are dropped. Again, it does nothing."""
        self._filling.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _opened, (str(self._folder), self._options._asdict())

    def __repr__(self) -> str:
        waiting, written, dropped = self._filling.core.counts
        state = ", closed" if self.closed else ""
        return f"RecordLog({str(self._folder)!r}, written={written}, pending={waiting}, dropped={dropped}{state})"


def _opened(folder: str, options: Mapping[str, Any]) -> RecordLog:
    return RecordLog(folder, **options)


def prices_of(policy: Policy) -> tuple[str, tuple[str, ...], str, tuple[float, ...]]:
    """What a log says of a policy: digest, stages, kind and the cost of each stage, of exits as an increment."""
    prices = policy._prices()
    given = policy.provenance.get("kind")
    kind = given or ("models" if (prices == prices[0]).all() else "exits")
    return policy.digest, policy.stages, kind, tuple(_increments(prices) if kind == "exits" else prices[0].tolist())


def _increments(prices: NDArray[np.float64]) -> list[float]:
    """What each exit costs after the one before it; where that is not allowed, what it costs more from the start."""
    steps = [float(prices[stage, stage]) for stage in range(len(prices) - 1)]
    start = prices[0]
    differences = [start[0], *np.diff(np.where(np.isfinite(start), start, np.nan))]
    found = [step if math.isfinite(step) else float(other) for step, other in zip(steps, differences, strict=True)]
    return [max(one, 0.0) if math.isfinite(one) else 0.0 for one in found]
