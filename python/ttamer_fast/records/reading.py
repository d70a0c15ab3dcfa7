"""Records of a folder: counted, looked at, and made a trace."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .._core import Policy, RecordReader, RecordTruth, ValidationError
from .._utils.checks import check_flag, check_integer, check_number, check_seed, shown
from .._utils.files import folder_of
from .._utils.warnings import RecordsWarning
from ..traces.builder import TraceBuilder
from ..traces.trace import Trace
from .censored import Censored, Labels
from .chunk import RecordChunk, RecordedPolicy, RecordedRequest

__all__ = ["RecordCounts", "Records", "RunThrough", "read_records"]

SUFFIX = "*.ttrec"

Time: TypeAlias = float | datetime


def read_records(
    folder: str | PathLike[str],
    *,
    policy: Policy | str | Sequence[Policy | str] | None = None,
    stages: Sequence[str] | None = None,
    since: Time | None = None,
    until: Time | None = None,
    explored: bool | None = None,
) -> Records:
    """The records in a folder that logs have written: see :class:`RecordLog`.

    Parameters
    ----------
    folder : path
        Of one :class:`RecordLog` or many.
    policy : Policy, str, or sequence of these, optional
        Only records of these policies; a text is a digest.
    stages : sequence of str, optional
        Only records of policies with exactly these stages.
    since, until : float or datetime, optional
        Only records from the first time on and before the second: seconds since 1970, or times with a zone.
    explored : bool, optional
        Only requests that were run through, or only the others.

    Returns
    -------
    Records
        What is in the files now. Records are read when they are asked for.

    Raises
    ------
    ValidationError
        If an argument is of the wrong type or value, or the folder is none or has no files of records.
    OSError
        If the folder cannot be read.

    Notes
    -----
    O(files). It does not matter who writes meanwhile: what comes later is not read.

    Examples
    --------
    >>> import tempfile, ttamer_fast as tt
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tt.read_records(folder)
    Traceback (most recent call last):
        ...
    ttamer_fast.ValidationError: `folder` must have files of records, *.ttrec, got none
    """
    path = folder_of(folder, "folder")
    found = sorted(entry for entry in path.iterdir() if entry.match(SUFFIX))
    if not found:
        raise ValidationError(f"`folder` must have files of records, {SUFFIX}, got none")
    files = [(entry, entry.stat().st_size) for entry in found]
    names = None if stages is None else _check_names(stages)
    chosen = None if explored is None else check_flag("explored", explored)
    times = _check_time("since", since, -math.inf), _check_time("until", until, math.inf)
    return Records(path, files, (_check_policies(policy), names, *times, chosen))


@dataclass(frozen=True, slots=True)
class RecordCounts:
    """Records counted.

    Attributes
    ----------
    requests : int
        All.
    explored, capped : int
        Those that were run through; those that would have been, but for the cap.
    complete : int
        Those of which every stage gave an answer.
    unanswered : int
        Those without an answer.
    cost, exploration_cost : float
        Summed cost of the stages that the policies ran, and of those that ran for the record alone.
    first, last : datetime or None
        Times of the first and the last record, in UTC.
    policies : dict of RecordedPolicy to int
        Requests of each policy.
    damaged : int
        Places in files that could not be read, each of which a :class:`RecordsWarning` names.
    torn : int
        Last blocks that were not written to their end: of processes that were killed, or are writing.
    """

    requests: int
    explored: int
    capped: int
    complete: int
    unanswered: int
    cost: float
    exploration_cost: float
    first: datetime | None
    last: datetime | None
    policies: dict[RecordedPolicy, int]
    damaged: int
    torn: int


class RunThrough(NamedTuple):
    """Requests that were run through every stage."""

    requests: int
    """How many there are."""
    trace: Trace | None
    """Of all of them; None where no loss is known."""


class Records:
    """Records in a folder, as they were when :func:`read_records` was called; read anew whenever they are asked for.

    Notes
    -----
    Blocks that are damaged are passed over, with a :class:`RecordsWarning` that names the file and the byte; a last
    block that is not whole is left out.

    Memory: of :meth:`counts`, :meth:`chunks` and iterating, a block and the records of a chunk; of :meth:`trace`, those
    of the sample; of :meth:`into`, a chunk and 16 bytes a record.

    Examples
    --------
    :class:`RecordLog` has one.
    """

    __slots__ = ("_counts", "_files", "_folder", "_told", "_wanted")

    def __init__(
        self,
        folder: Path,
        files: list[tuple[Path, int]],
        wanted: tuple[list[str] | None, list[str] | None, float, float, bool | None],
    ) -> None:
        self._folder = folder
        self._files = files
        self._wanted = wanted
        self._counts: RecordCounts | None = None
        self._told: set[tuple[Path, int]] = set()

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, in the order in which they are read."""
        return tuple(file for file, _ in self._files)

    def counts(self) -> RecordCounts:
        """How many records there are, of which policies, and what they cost. Read once, O(bytes)."""
        if self._counts is None:
            reader = self._reader()
            counted = reader.counts()
            policies = _policies(reader)
            requests, explored, capped, complete, unanswered = (sum(row[i] for row, *_ in counted) for i in range(5))
            times = [time for *_, span in counted if span is not None for time in span]
            self._tell(reader)
            is_damage = [reason is not None for *_, reason in reader.damage]
            self._counts = RecordCounts(
                requests=requests,
                explored=explored,
                capped=capped,
                complete=complete,
                unanswered=unanswered,
                cost=math.fsum(cost for _, cost, _, _ in counted),
                exploration_cost=math.fsum(cost for _, _, cost, _ in counted),
                first=_as_time(min(times)) if times else None,
                last=_as_time(max(times)) if times else None,
                policies={policy: row[0] for policy, (row, *_) in zip(policies, counted, strict=True) if row[0]},
                damaged=sum(is_damage),
                torn=len(is_damage) - sum(is_damage),
            )
        return self._counts

    def chunks(self, rows: int = 65_536) -> Iterator[RecordChunk]:
        """The records, `rows` or some more at a time, as they lie in the files."""
        least = check_integer("rows", rows, 1)
        reader = self._reader()
        while (columns := reader.piece(least)) is not None:
            yield _chunk(columns, reader)
        self._tell(reader)

    def trace(
        self,
        truth: Mapping[str, Hashable] | None = None,
        *,
        teacher: str | None = None,
        sample: int | None = None,
        seed: int = 0,
    ) -> Trace:
        """A trace of the records, with 0/1 losses where they are known and NaN elsewhere.

        Parameters
        ----------
        truth : mapping of str to hashable
            What was true of requests, by their names: the loss of a stage is whether it said something else. Compared
            as ``==`` does: numbers, text, bytes, and tuples and frozensets of these.
        teacher : str
            Instead of `truth`, the name of a stage: the loss of the others is whether they said something else, where
            both ran.
        sample : int, optional
            Most records that the trace has, at least 1: a uniform sample that depends on their names and `seed` alone.
        seed : int
            Of the sample.

        Returns
        -------
        Trace
            One row a record, in the order of time. Signal and loss are NaN where a stage did not run, or gave nothing;
            the loss is NaN where it is not known what was true, or the stage said nothing. With `latency` where any
            was measured. With `propensity` where every request might have been run through: the chance that each
            loss came to be known, supposing that truth is known of any request alike.

        Raises
        ------
        ValidationError
            If neither `truth` nor `teacher` is given, or both; for a teacher that is no stage, labels that cannot be
            compared, and truth of which nothing is of a record; for records of several policies, unless all of them are
            chosen by `policy=`, and of policies with different stages; for a request that is there twice, which it
            names; where there is no record, or no prediction to compare.

        Warns
        -----
        RecordsWarning
            For truth of requests that are not there: how many, and the first.
        """
        labels = Labels.of(truth, teacher)
        most = None if sample is None else check_integer("sample", sample, 1)
        reader, core = self._reader(), labels.core()
        columns = reader.sample(most, check_seed(seed), core)
        self._tell(reader)
        censored = Censored.of(_chunk(columns, reader), labels, self._has_chosen, set(), self._all_explored)
        _tell_unmet(core)
        return censored.trace()

    def run_through(self, labels: Labels, stages: Sequence[str], since: Time | None = None) -> RunThrough:
        """A trace of the requests that were run through, whichever policies with these stages decided.

        Parameters
        ----------
        labels : Labels
            Where losses come from; truth of other requests is passed over.
        stages : sequence of k str
            Names of the stages that their policies have.
        since : float or datetime, optional
            Only records from this time on: seconds since 1970, or a time with a zone.

        Returns
        -------
        RunThrough
            How many requests, and their trace, as :meth:`trace`.

        Raises
        ------
        ValidationError
            As :meth:`trace`, and for a `since` that is no time.
        """
        chosen, names, first, until, explored = self._wanted
        start = max(first, _check_time("since", since, -math.inf))
        if explored is False or (names is not None and names != list(stages)):
            return RunThrough(0, None)
        some = Records(self._folder, self._files, (chosen, list(stages), start, until, True))
        some._told = self._told
        reader = some._reader()
        columns = reader.sample(None, 0, labels.core())
        some._tell(reader)
        chunk = _chunk(columns, reader)
        if not len(chunk):
            return RunThrough(0, None)
        found = Censored.of(chunk, labels, True, set(), all_explored=True)
        return RunThrough(len(chunk), None if np.isnan(found.loss).all() else found.trace())

    def into(
        self,
        builder: TraceBuilder,
        truth: Mapping[str, Hashable] | None = None,
        *,
        teacher: str | None = None,
        latency: bool = False,
    ) -> int:
        """Append all records to a builder, which may keep a sample of them; the parameters as of :meth:`trace`.

        Parameters
        ----------
        builder : TraceBuilder
            Of these stages, this kind and this teacher.
        truth, teacher
            One of them.
        latency : bool
            Whether how long stages took is appended too.

        Returns
        -------
        int
            How many records were appended.

        Raises
        ------
        ValidationError
            As :meth:`trace`, and if the builder has other stages, another kind or another teacher, or if some records
            might have been run through and others not. What came before an error has been appended.
        """
        labels = Labels.of(truth, teacher)
        if not isinstance(builder, TraceBuilder):
            raise ValidationError(f"`builder` must be a TraceBuilder, got {type(builder).__name__}")
        is_timed = check_flag("latency", latency)
        reader, core = self._reader(unique=True), labels.core()
        appended, met = 0, set[int]()
        while (columns := reader.piece(65_536, core)) is not None:
            chunk = _chunk(columns, reader)
            Censored.of(chunk, labels, self._has_chosen, met, self._all_explored).append(builder, is_timed)
            appended += len(chunk)
        self._tell(reader)
        if not appended:
            raise ValidationError("`folder` must have records that are wanted, got none")
        _tell_unmet(core)
        return appended

    @property
    def _has_chosen(self) -> bool:
        return self._wanted[0] is not None

    @property
    def _all_explored(self) -> bool:
        return self._wanted[4] is True

    def __len__(self) -> int:
        return self.counts().requests

    def __iter__(self) -> Iterator[RecordedRequest]:
        for chunk in self.chunks():
            yield from chunk

    def __repr__(self) -> str:
        return f"Records({str(self._folder)!r}, files={len(self._files)})"

    def _reader(self, unique: bool = False) -> RecordReader:
        return RecordReader(self._files, self._wanted, unique)

    def _tell(self, reader: RecordReader) -> None:
        """Warn of damage, of each place once."""
        for file, start, end, reason in reader.damage:
            if reason is not None and (file, start) not in self._told:
                self._told.add((file, start))
                message = f"{file} is damaged at byte {start}: {reason}; {end - start} bytes are passed over"
                warnings.warn(message, RecordsWarning, stacklevel=3)


def _policies(reader: RecordReader) -> list[RecordedPolicy]:
    """The policies whose records have been met, by their numbers."""
    return [RecordedPolicy.of(about) for about in reader.policies]


def _chunk(columns: dict[str, Any], reader: RecordReader) -> RecordChunk:
    """Columns that the reader has given."""
    return RecordChunk(columns, _policies(reader))


def _tell_unmet(core: RecordTruth | None) -> None:
    """Warn of truth of requests that are not there; an error where nothing is there."""
    if core is None:
        return
    given, unmet, first = core.unmet
    if given and unmet == given:
        raise ValidationError(f"`truth` must be of requests that are recorded, got {given} others, the first {first!r}")
    if unmet:
        warnings.warn(
            f"{unmet} of {given} requests in `truth` are not among the records, the first is {first!r}",
            RecordsWarning,
            stacklevel=3,
        )


def _check_policies(policy: Any) -> list[str] | None:
    """Digests, None for those of all."""
    if policy is None:
        return None
    given = [policy] if isinstance(policy, Policy | str) else policy
    if not isinstance(given, Sequence):
        allowed = "a Policy, a digest or a sequence of these"
        raise ValidationError(f"`policy` must be {allowed}, got {type(policy).__name__}")
    digests = [one.digest if isinstance(one, Policy) else one for one in given]
    for at, digest in enumerate(digests):
        if not isinstance(digest, str):
            raise ValidationError(f"`policy` entry {at} must be a Policy or a digest, got {shown(digest)}")
    return digests


def _check_names(stages: Any) -> list[str]:
    if isinstance(stages, str | bytes) or not isinstance(stages, Sequence):
        raise ValidationError(f"`stages` must be a sequence of names, got {type(stages).__name__}")
    for at, name in enumerate(stages):
        if not isinstance(name, str):
            raise ValidationError(f"`stages` entry {at} must be a name, got {shown(name)}")
    return list(stages)


def _check_time(name: str, value: Any, other: float) -> float:
    """Seconds since 1970."""
    if value is None:
        return other
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValidationError(f"`{name}` must have a time zone, got {value.isoformat()}")
        return value.timestamp()
    seconds = check_number(name, value)
    if math.isnan(seconds):
        raise ValidationError(f"`{name}` must be seconds since 1970 or a datetime, got nan")
    return seconds


def _as_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
