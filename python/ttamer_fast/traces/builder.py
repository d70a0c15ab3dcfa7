"""Traces gathered batch by batch, on one machine or several, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Sequence
from fractions import Fraction
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from .._core import ValidationError
from .._utils.arrays import Floats, Ints, Predictions
from .._utils.atomic import replacing
from .._utils.checks import check_seed
from .._utils.splitmix import STEP, Words, mix
from .trace import Trace

__all__ = ["TraceBuilder"]

FORMAT = "ttamer_fast trace builder 1"
EXPONENT = 1126
"""Every float64 is a whole number of 2**-EXPONENT."""
MANTISSA = 53


class TraceBuilder:
    """Collects batches of calibration requests and keeps a uniform sample of them.

    Parameters
    ----------
    stages : sequence of k str
        Names of the stages, all different.
    kind : {"exits", "models"}
        As in :class:`Trace`.
    capacity : int, optional
        Most requests that are kept, at least 1; None keeps all.
    source : str
        Where these requests come from: a process, a machine, a day. Builders are merged only if their sources differ.
    seed : int
        Of the sample. Builders are merged only if their seeds are equal.

    Raises
    ------
    ValidationError
        If an argument is out of range.

    Notes
    -----
    Request i of a source gets the priority hash(seed, source, i), and the `capacity` requests of lowest priority are
    kept: a simple random sample without replacement, whatever the data. As priorities do not depend on what else has
    been seen, merging in any order and grouping gives the same sample. Means of losses and costs are exact: sums are
    kept as whole numbers of 2**-1126.

    *The trade-off.* Memory is at most 2 · max(capacity, 1024) rows of 8 · (3 or 4) · k + 24 bytes (4 with
    predictions). A mean over the sample has the standard error sd · sqrt(1 / capacity - 1 / n), as in any trace of
    `capacity` rows; `docs/research/production.md` gives what that costs in held-out objective.

    Appending is O(k) a request, amortised O(log capacity) for the sample.

    *Sources.* Bottom-k sampling: Cohen and Kaplan 2007 (Summarizing data using bottom-k sketches).

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> builders = [tt.TraceBuilder(["small", "large"], capacity=500, source=f"worker {i}") for i in range(2)]
    >>> for builder in builders:
    ...     for _ in range(3):
    ...         signal = rng.random((1000, 2))
    ...         builder.append(signal, rng.random((1000, 2)) > signal, [1.0, 4.0])
    >>> merged = builders[0].merge(builders[1])
    >>> merged
    TraceBuilder(n=6000, kept=500, stages=('small', 'large'), kind='exits', sources=2)
    >>> len(merged.build())
    500
    """

    __slots__ = (
        "_capacity",
        "_columns",
        "_cost_dim",
        "_count",
        "_kind",
        "_known",
        "_names",
        "_pending",
        "_seed",
        "_source",
        "_stages",
        "_total",
    )

    def __init__(
        self,
        stages: Sequence[str],
        kind: str = "exits",
        *,
        capacity: int | None = None,
        source: str = "",
        seed: int = 0,
    ) -> None:
        if isinstance(stages, str) or not len(stages):
            raise ValidationError(f"`stages` must be a sequence of at least one name, got {stages!r}")
        k = len(stages)
        # A trace of one row says what is wrong with names and kind.
        checked = Trace(np.zeros((1, k)), np.zeros((1, k)), np.zeros(k), kind=kind, stages=stages)
        self._stages, self._kind = checked.stages, checked.kind
        if capacity is not None and (isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 1):
            raise ValidationError(f"`capacity` must be None or an integer of at least 1, got {capacity!r}")
        self._capacity = capacity
        if not isinstance(source, str):
            raise ValidationError(f"`source` must be a string, got {type(source).__name__}")
        self._source = source
        self._seed = check_seed(seed)
        self._names = [source]
        self._count: dict[str, int] = {}
        self._known: bool | None = None
        self._total = [[0] * k, [0] * k]
        self._columns = _Columns.empty(k)
        self._pending: list[_Columns] = []

    def append(
        self, signal: ArrayLike, loss: ArrayLike, cost: ArrayLike, prediction: Predictions | None = None
    ) -> None:
        """Add m requests.

        Parameters
        ----------
        signal, loss : (m, k) array_like of float
            As in :class:`Trace`, all batches in the same scale and unit.
        cost : (k,) or (m, k) array_like of float
            As in :class:`Trace`, all batches in the same unit.
        prediction : (m, k) array_like, table, or sequence of m rows of k hashables, optional
            As in :class:`Trace`; in all batches or in none.

        Raises
        ------
        ValidationError
            If an array is not as :class:`Trace` wants it; nothing has been added then.
        """
        batch = Trace(signal, loss, cost, prediction, kind=self._kind, stages=self._stages)
        known = batch.prediction is not None
        if self._known is not None and known != self._known:
            has = "have" if self._known else "have no"
            raise ValidationError(
                f"`prediction` must be in all batches or in none: the batches before {has} predictions"
            )
        self._known = known
        first = self._count.get(self._source, 0)
        number = np.arange(first, first + batch.n, dtype=np.int64)
        cost_rows = np.broadcast_to(batch.cost, (batch.n, batch.k))
        added = _Columns(
            priority=_priority(self._seed, self._source, number),
            source=np.full(batch.n, self._names.index(self._source), np.int64),
            number=number,
            signal=batch.signal,
            loss=batch.loss,
            cost=cost_rows,
            prediction=batch.prediction if batch.prediction is not None else np.zeros((batch.n, 0), np.int64),
        )
        self._count[self._source] = first + batch.n
        for v in range(batch.k):
            self._total[0][v] += _exact_sum(batch.loss[:, v])
            # A cost that is the same in every row needs one multiplication.
            same = batch.cost.ndim == 1
            self._total[1][v] += batch.n * _exact_sum(batch.cost[v : v + 1]) if same else _exact_sum(batch.cost[:, v])
        self._keep([added])

    def merge(self, *others: TraceBuilder) -> TraceBuilder:
        """A builder with the requests of this one and of others; they stay as they are.

        Parameters
        ----------
        others : TraceBuilder
            Of the same stages, kind, capacity and seed, with predictions if this one has any, and of other sources.

        Returns
        -------
        TraceBuilder
            Appends to the source of this one. Its sample does not depend on the order or grouping of merges.

        Raises
        ------
        ValidationError
            If the builders do not fit each other or share a source.

        Notes
        -----
        O(kept rows).
        """
        for i, other in enumerate(others):
            if not isinstance(other, TraceBuilder):
                raise ValidationError(f"`others` entry {i} must be a TraceBuilder, got {type(other).__name__}")
            for name in ("stages", "kind", "capacity", "seed"):
                ours, theirs = getattr(self, f"_{name}"), getattr(other, f"_{name}")
                if ours != theirs:
                    raise ValidationError(f"`others` entry {i} must have the {name} {ours!r}, got {theirs!r}")
        merged = TraceBuilder(self._stages, self._kind, capacity=self._capacity, source=self._source, seed=self._seed)
        parts: list[tuple[list[str], list[_Columns]]] = []
        for i, one in enumerate((self, *others)):
            shared = sorted(merged._count.keys() & one._count.keys())
            if shared:
                raise ValidationError(
                    f"`others` entry {i - 1} must have sources of its own, got {shared[0]!r} again: "
                    "give every builder another `source`"
                )
            if one._known is not None:
                if merged._known is not None and merged._known != one._known:
                    raise ValidationError(
                        f"`others` entry {i - 1} must have predictions exactly if the builders before it have, "
                        f"got one {'with' if one._known else 'without'}"
                    )
                merged._known = one._known
            merged._count |= one._count
            for mine, theirs in zip(merged._total, one._total, strict=True):
                mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]
            parts.append((one._names, [one._columns, *one._pending]))
        # Sources are numbered alphabetically, so that ties and orders do not depend on the order of merges.
        merged._names = sorted({name for names, _ in parts for name in names})
        for names, columns in parts:
            number = np.array([merged._names.index(name) for name in names], np.int64)
            merged._keep([one.numbered(number) for one in columns])
        return merged

    def build(self) -> Trace:
        """The trace of the kept requests, by source in alphabetical order, each in the order they were appended.

        Raises
        ------
        ValidationError
            If nothing has been appended.
        """
        if self.n == 0:
            raise ValidationError("a trace needs at least one row: nothing has been appended")
        self._trim()
        kept = self._columns
        kept = kept.rows(np.lexsort((kept.number, kept.source)))
        return Trace(
            kept.signal,
            kept.loss,
            kept.cost,
            kept.prediction if self._known else None,
            kind=self._kind,
            stages=self._stages,
        )

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the k stages."""
        return self._stages

    @property
    def kind(self) -> str:
        """``"exits"`` or ``"models"``."""
        return self._kind

    @property
    def n(self) -> int:
        """How many requests have been appended, here and in what was merged."""
        return sum(self._count.values())

    @property
    def sources(self) -> dict[str, int]:
        """How many requests each source has given."""
        return dict(sorted(self._count.items()))

    @property
    def mean_loss(self) -> Floats:
        """(k,) float64: mean loss of each stage over all n requests, in its unit, correctly rounded; NaN if none."""
        return self._mean(0)

    @property
    def mean_cost(self) -> Floats:
        """(k,) float64: mean cost of each stage over all n requests, in its unit, correctly rounded; NaN if none."""
        return self._mean(1)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to a .npz file, atomically.

        Raises
        ------
        ValidationError
            If the file cannot be written or does not end in .npz.
        """
        file = Path(path)
        if file.suffix != ".npz":
            raise ValidationError(f"`path` must end in .npz, got {str(file)!r}")
        self._trim()
        about = {
            "format": FORMAT,
            "stages": self._stages,
            "kind": self._kind,
            "capacity": self._capacity,
            "source": self._source,
            "seed": self._seed,
            "known": self._known,
            "names": self._names,
            "count": self.sources,
            "total": [[hex(total) for total in totals] for totals in self._total],
        }
        columns = {name: getattr(self._columns, name) for name in _Columns.__slots__}
        try:
            with replacing(file) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, about=np.array(json.dumps(about)), **columns)
        except OSError as error:
            raise ValidationError(f"cannot write {file}: {error.strerror}") from error

    @staticmethod
    def load(path: str | PathLike[str]) -> TraceBuilder:
        """The builder written by :meth:`save`; it goes on where that one was.

        Raises
        ------
        ValidationError
            If the file cannot be read or holds no builder.
        """
        file = Path(path)
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                about = json.loads(str(archive["about"]))
                columns = _Columns(**{name: archive[name] for name in _Columns.__slots__})
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']!r}, not {FORMAT!r}")
            self = TraceBuilder(
                about["stages"], about["kind"], capacity=about["capacity"], source=about["source"], seed=about["seed"]
            )
            columns.check(len(self._stages), bool(about["known"]), len(about["names"]))
            self._known, self._columns = about["known"], columns
            self._names = [str(name) for name in about["names"]]
            self._count = {str(source): int(count) for source, count in about["count"].items()}
            self._total = [[int(total, 16) for total in totals] for totals in about["total"]]
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            reason = " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())
            raise ValidationError(f"cannot read {file} as a trace builder: {reason}") from error
        return self

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        kept = self.n if self._capacity is None else min(self.n, self._capacity)
        return (
            f"TraceBuilder(n={self.n}, kept={kept}, stages={self._stages}, kind={self._kind!r}, "
            f"sources={len(self._count)})"
        )

    def _keep(self, added: list[_Columns]) -> None:
        self._pending += [one for one in added if len(one.number)]
        waiting = sum(len(one.number) for one in self._pending)
        if waiting >= max(1024, len(self._columns.number)) and self._capacity is not None:
            self._trim()

    def _trim(self) -> None:
        """Join what is pending to what is kept, and let go of what has too high a priority."""
        if not self._pending:
            return
        joined = _Columns.joined([*([self._columns] if len(self._columns.number) else []), *self._pending])
        if self._capacity is not None and len(joined.number) > self._capacity:
            joined = joined.rows(np.lexsort((joined.number, joined.source, joined.priority))[: self._capacity])
        self._columns, self._pending = joined, []

    def _mean(self, which: int) -> Floats:
        if self.n == 0:
            return np.full(len(self._stages), np.nan)
        return np.array([float(Fraction(total, self.n << EXPONENT)) for total in self._total[which]])


class _Columns:
    """Requests with their priorities."""

    __slots__ = ("cost", "loss", "number", "prediction", "priority", "signal", "source")

    def __init__(
        self,
        *,
        priority: Words,
        source: Ints,
        number: Ints,
        signal: Floats,
        loss: Floats,
        cost: Floats,
        prediction: Ints,
    ) -> None:
        self.priority, self.source, self.number = priority, source, number
        self.signal, self.loss, self.cost, self.prediction = signal, loss, cost, prediction

    @staticmethod
    def empty(k: int) -> _Columns:
        none, nothing = np.zeros((0, k)), np.zeros(0, np.int64)
        return _Columns(
            priority=nothing.astype(np.uint64),
            source=nothing,
            number=nothing,
            signal=none,
            loss=none,
            cost=none,
            prediction=np.zeros((0, 0), np.int64),
        )

    @staticmethod
    def joined(parts: list[_Columns]) -> _Columns:
        names = _Columns.__slots__
        return _Columns(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def numbered(self, number: Ints) -> _Columns:
        """The same, with source i called number[i]."""
        columns = {name: getattr(self, name) for name in self.__slots__}
        return _Columns(**columns | {"source": number[self.source]})

    def rows(self, index: Ints) -> _Columns:
        return _Columns(**{name: getattr(self, name)[index] for name in _Columns.__slots__})

    def check(self, k: int, known: bool, sources: int) -> None:
        """ValueError where the arrays do not fit each other."""
        n = len(self.number)
        shapes = {"signal": (n, k), "loss": (n, k), "cost": (n, k), "prediction": (n, k if known else 0)}
        kinds = {"signal": "f", "loss": "f", "cost": "f", "priority": "u"}
        for name in self.__slots__:
            array = getattr(self, name)
            if array.shape != shapes.get(name, (n,)) or array.dtype.kind != kinds.get(name, "i"):
                if n == 0:
                    continue
                raise ValueError(f"array {name} does not fit, got {array.dtype} of shape {array.shape}")
        if n and not 0 <= self.source.min() <= self.source.max() < sources:
            raise ValueError("array source names a source that is not there")


def _priority(seed: int, source: str, number: Ints) -> Words:
    """(m,) uniform words: SplitMix64 of a hash of seed and source, at each number."""
    digest = hashlib.sha256(f"{seed}:{source}".encode()).digest()
    start, step = np.frombuffer(digest[:16], np.dtype("<u8"))
    return mix((number.astype(np.uint64) + start) * np.uint64(STEP) ^ step)


def _exact_sum(values: Floats) -> int:
    """The sum as a whole number of 2**-EXPONENT."""
    fraction, exponent = np.frexp(values)
    whole = np.ldexp(fraction, MANTISSA).astype(np.int64)
    total = 0
    for power in np.unique(exponent).tolist():
        of_power = whole[exponent == power]
        # Halves, so that sums of 2**31 values stay within int64.
        high, low = int((of_power >> 32).sum()), int((of_power & 0xFFFFFFFF).sum())
        total += ((high << 32) + low) << (power - MANTISSA + EXPONENT)
    return total
