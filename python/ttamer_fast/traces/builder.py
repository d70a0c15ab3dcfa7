"""Traces gathered row by row or batch by batch, on one machine or several, in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from .._core import Policy, ValidationError, prediction_codes
from .._utils.arrays import Floats, Predictions, float_array, int_array
from .._utils.checks import check_integer, check_seed, shown
from .._utils.columns import by_name
from .._utils.errors import TraceFormatError
from .._utils.files import decoding, path_of
from .archives import read_archive, write_archive
from .trace import Trace

__all__ = ["TraceBuilder"]

FORMAT = "ttamer_fast trace builder 3"
UNIT = 1074
"""Sums are whole numbers of 2**-UNIT, as every float64 is."""
TOTAL_BYTES = 272
"""Of one sum."""


class TraceBuilder:
    """Collects calibration requests and keeps a uniform sample of them; threads may share one.

    Parameters
    ----------
    stages : sequence of k str, or Policy
        Names of the stages, all different; or a policy that has them, and a kind.
    kind : {"exits", "models"}, optional
        As in :class:`Trace`.
    capacity : int, optional
        Most requests that are kept, at least 1; None keeps all.
    source : str
        Where these requests come from: a process, a machine, a day. Builders are merged only if their sources differ.
    seed : int
        Of the sample. Builders are merged only if their seeds are equal.
    teacher : str, optional
        Whose answers all losses are held against, as in :class:`Trace`. Builders are merged only if they have the same.

    Raises
    ------
    ValidationError
        If an argument is out of range.

    Notes
    -----
    Request i of a source gets the priority hash(seed, source, i), and the `capacity` requests of lowest priority are
    kept: a simple random sample without replacement, whatever the data. As priorities do not depend on what else has
    been seen, merging in any order and grouping gives the same sample. Means of losses and costs are exact: sums, and
    how much the requests count in which a number is not known, are kept as whole numbers of 2**-1074.

    *Logs.* Requests may be those of a running cascade, with losses, signals and costs of NaN as in :class:`Trace`. The
    sample is drawn without regard to what is known: a stage that few requests ran was run by few of the sample.

    *The trade-off.* Memory is at most capacity + max(capacity, 1024) rows of 24 + 8 · (3 to 6) · k bytes (one
    more for each of predictions, latencies and propensities; 8 bytes more each for weights and groups), and 1,088 · k
    bytes of sums. A mean over the sample has the standard
    error sd · sqrt(1 / capacity - 1 / n), as in any trace of `capacity` rows; `docs/research/production.md` gives what
    that costs in held-out objective.

    Appending is O(k) a request, amortised.

    *Threads and processes.* Every append is taken in whole or not at all, and counted once, whichever thread makes it.
    Requests are numbered as they come in: with several threads, or within one source, the sample depends on that order.
    A forked child goes on with a copy of its own: give it another `source` before merging.

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

    __slots__ = ("_capacity", "_core", "_kind", "_seed", "_source", "_stages", "_teacher")

    def __init__(
        self,
        stages: Sequence[str] | Policy,
        kind: str | None = None,
        *,
        capacity: int | None = None,
        source: str = "",
        seed: int = 0,
        teacher: str | None = None,
    ) -> None:
        if isinstance(stages, Policy):
            of_policy = stages.provenance.get("kind", kind)
            if kind not in (None, of_policy):
                raise ValidationError(f"`kind` must be {of_policy!r}, as the policy is, got {kind!r}")
            stages, kind = stages.stages, of_policy
        if isinstance(stages, str) or not len(stages):
            raise ValidationError(f"`stages` must be a sequence of at least one name, got {stages!r}")
        k = len(stages)
        # A trace of one row says what is wrong with names, kind and teacher.
        checked = Trace(np.zeros((1, k)), np.zeros((1, k)), np.zeros(k), kind=kind, stages=stages, teacher=teacher)
        self._stages, self._kind = checked.stages, None if kind is None else checked.kind
        self._capacity = None if capacity is None else check_integer("capacity", capacity, 1)
        if not isinstance(source, str):
            raise ValidationError(f"`source` must be a string, got {type(source).__name__}")
        self._source = source
        self._seed = check_seed(seed)
        self._teacher = checked.teacher
        self._core = _core.Builder(k, self._capacity, source, self._seed)

    def append(
        self,
        signal: ArrayLike,
        loss: ArrayLike,
        cost: ArrayLike,
        prediction: Predictions | None = None,
        weight: ArrayLike | None = None,
        latency: ArrayLike | None = None,
        group: ArrayLike | Iterable[int | str] | None = None,
        propensity: ArrayLike | None = None,
    ) -> None:
        """Add m requests.

        Parameters
        ----------
        signal, loss : (m, k) array_like of float
            As in :class:`Trace`, all batches in the same scale and unit. There may be none (m = 0). Stages in the order
            of the builder; tables with named columns, such as data frames, are put into that order by name, here and in
            `cost`, `prediction`, `latency` and `propensity`. A signal of NaN is unknown, a loss of NaN not known; both
            of them: the stage was not run. Losses of a stage are infinite in all batches in which they are known, or in
            none.
        cost : (k,) or (m, k) array_like of float
            As in :class:`Trace`, all batches in the same unit. In (m, k) it may be NaN where the stage was not run.
        prediction : (m, k) array_like, table, or sequence of m rows of k hashables, optional
            As in :class:`Trace`; in all batches or in none.
        weight : (m,) array_like of float, optional
            How much each request counts, in all batches or in none, on one scale for all batches.
        latency : (m, k) array_like of float, optional
            As in :class:`Trace`, such as :attr:`Record.seconds`; in all batches or in none.
        group : (m,) array_like of int, or sequence of m int or str, optional
            Equal where requests belong together, here and in other batches and builders; in all batches or in none. A
            text is kept as a number that is the same in every process.
        propensity : (m, k) array_like of float, optional
            As in :class:`Trace`: chance, above 0 and at most 1, that each known loss came to be known; NaN where it did
            not. In all batches or in none.

        Raises
        ------
        ValidationError
            If an array is not as :class:`Trace` wants it; nothing has been added then.

        Notes
        -----
        O(m k). One request in lists of numbers, ``append([signals], [losses], costs)``, needs no array and takes about
        a microsecond; in arrays of float64 and int64, of hundreds, each takes a small part of one.

        Examples
        --------
        >>> import ttamer_fast as tt
        >>> builder = tt.TraceBuilder(["small", "large"])
        >>> builder.append([[0.9, 0.8]], [[0, 0]], [1.0, 4.0], group=["session 7"])
        >>> builder
        TraceBuilder(n=1, kept=1, stages=('small', 'large'), kind='exits', sources=1)
        """
        if self._core.append(signal, loss, cost, prediction, weight, latency, group, propensity):
            return
        names = self._stages
        self._core.append(
            float_array("signal", by_name("signal", signal, names)),
            float_array("loss", by_name("loss", loss, names)),
            float_array("cost", by_name("cost", cost, names)),
            None if prediction is None else prediction_codes(by_name("prediction", prediction, names)),
            None if weight is None else float_array("weight", weight),
            None if latency is None else float_array("latency", by_name("latency", latency, names)),
            None if group is None else _groups(group),
            None if propensity is None else float_array("propensity", by_name("propensity", propensity, names)),
        )

    def merge(self, *others: TraceBuilder) -> TraceBuilder:
        """A builder with the requests of this one and of others; they stay as they are.

        Parameters
        ----------
        others : TraceBuilder
            Of the same stages, kind, capacity, seed and teacher, with predictions, weights, latencies, groups and
            propensities exactly if this one has them, and of other sources.

        Returns
        -------
        TraceBuilder
            Appends to the source of this one. Its sample does not depend on the order or grouping of merges.

        Raises
        ------
        ValidationError
            If the builders do not fit each other or share a source, or the losses of a stage are infinite in one and
            finite in another.

        Notes
        -----
        O(kept rows).
        """
        for i, other in enumerate(others):
            if not isinstance(other, TraceBuilder):
                raise ValidationError(f"`others` entry {i} must be a TraceBuilder, got {type(other).__name__}")
            for name in ("stages", "kind", "capacity", "seed", "teacher"):
                ours, theirs = getattr(self, f"_{name}"), getattr(other, f"_{name}")
                if ours != theirs:
                    raise ValidationError(f"`others` entry {i} must have the {name} {ours!r}, got {theirs!r}")
        return self._with(self._core.merged([other._core for other in others]))

    def build(self) -> Trace:
        """The trace of the kept requests, by source in alphabetical order, each in the order they were appended.

        Raises
        ------
        ValidationError
            If nothing has been appended, or what is kept tells no finite loss of any stage.
        """
        core = self._core.build(self.kind, list(self._stages), self._teacher)
        return Trace.of_core(core, is_kind_said=self._kind is not None)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the k stages."""
        return self._stages

    @property
    def kind(self) -> str:
        """``"exits"`` or ``"models"``."""
        return "exits" if self._kind is None else self._kind

    @property
    def teacher(self) -> str | None:
        """Whose answers the losses are held against, where it is not the truth."""
        return self._teacher

    @property
    def n(self) -> int:
        """How many requests have been appended, here and in what was merged."""
        return self._core.requests

    @property
    def kept(self) -> int:
        """How many of them are kept."""
        return self.n if self._capacity is None else min(self.n, self._capacity)

    @property
    def sources(self) -> dict[str, int]:
        """How many requests each source has given."""
        return {name: count for name, count in sorted(self._core.sources) if count}

    @property
    def mean_loss(self) -> Floats:
        """(k,) float64: weighted mean loss of each stage over all requests in which it is known, in its unit.

        Correctly rounded where requests count alike. NaN where none is known, infinite of stages that never answer.
        """
        means = self._means(0)
        return np.where([is_probe is True for is_probe in self._core.is_probe], np.inf, means)

    @property
    def mean_cost(self) -> Floats:
        """(k,) float64: weighted mean cost of each stage over all requests in which it is known, in its unit.

        Correctly rounded where requests count alike. NaN where none is known.
        """
        return self._means(1)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to a .npz file: the old one or the new one, whatever happens.

        Raises
        ------
        OSError
            If the system refuses; the old file is still there.
        ValidationError
            If the path does not end in .npz.
        """
        file = path_of(path)
        if file.suffix != ".npz":
            raise ValidationError(f"`path` must end in .npz, got {str(file)!r}")
        about, columns = self._state()
        write_archive(file, {"about": np.array(json.dumps(about)), **columns})

    @staticmethod
    def load(path: str | PathLike[str]) -> TraceBuilder:
        """The builder written by :meth:`save`; it goes on where that one was.

        Raises
        ------
        OSError
            If the system refuses to read the file.
        TraceFormatError
            If it is damaged or holds no builder.
        """
        file = path_of(path)
        columns = read_archive(file, ("about", *_layout(0, 1)))
        with decoding(file, "a trace builder", TraceFormatError):
            about = json.loads(str(columns.pop("about")))
            try:
                return TraceBuilder._restored(about, columns)
            except ValidationError as error:
                raise ValueError(str(error)) from error

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        teacher = "" if self._teacher is None else f", teacher={self._teacher!r}"
        return (
            f"TraceBuilder(n={self.n}, kept={self.kept}, stages={self._stages}, kind={self.kind!r}, "
            f"sources={len(self.sources)}{teacher})"
        )

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return TraceBuilder._restored, self._state()

    def _with(self, core: _core.Builder) -> TraceBuilder:
        """A builder like this one with other requests."""
        other = TraceBuilder(
            self._stages,
            self._kind,
            capacity=self._capacity,
            source=self._source,
            seed=self._seed,
            teacher=self._teacher,
        )
        other._core = core
        return other

    def _state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a file says of the builder, and the rows that it keeps; of one moment."""
        sources, totals, is_probe, columns = self._core.state()
        about = {
            "format": FORMAT,
            "stages": self._stages,
            "kind": self._kind,
            "capacity": self._capacity,
            "source": self._source,
            "seed": self._seed,
            "teacher": self._teacher,
            "sources": sources,
            "total": [hex(int.from_bytes(total, "little")) for total in totals],
            "is_probe": is_probe,
        }
        return about, columns

    @staticmethod
    def _restored(about: dict[str, Any], columns: dict[str, Any]) -> TraceBuilder:
        """The builder that :meth:`_state` told of; ValueError, TypeError or KeyError where parts do not fit."""
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']!r}, not {FORMAT!r}")
        said = {name: about[name] for name in ("capacity", "source", "seed", "teacher")}
        empty = TraceBuilder(about["stages"], about["kind"], **said)
        n, k = len(columns["number"]), len(empty._stages)
        for name, (shape, dtype) in _layout(n, k).items():
            if name in columns and (columns[name].shape != shape or columns[name].dtype != dtype):
                given = f"{columns[name].dtype} of shape {columns[name].shape}"
                raise ValueError(f"array {name} does not fit, got {given}")
        optional = [columns.get(name) for name in ("prediction", "weight", "latency", "group", "propensity")]
        required = [columns[name] for name in ("source", "number", "signal", "loss", "cost")]
        sources = [(str(name), int(count)) for name, count in about["sources"]]
        if len(about["total"]) != 4 * k + 1:
            raise ValueError(f"there are {len(about['total'])} totals, not {4 * k + 1}")
        try:
            totals = [int(total, 16).to_bytes(TOTAL_BYTES, "little") for total in about["total"]]
            rows: list[Any] = [*map(np.ascontiguousarray, required), *optional]
            return empty._with(empty._core.restored(sources, totals, about["is_probe"], *rows))
        except OverflowError as error:
            raise ValueError(f"a number does not fit: {error}") from error

    def _means(self, which: int) -> Floats:
        """Means of the known losses (0) or costs (1)."""
        k = len(self._stages)
        *sums, weight = [int.from_bytes(total, "little") for total in self._core.totals]
        known, unknown = (sums[start : start + k] for start in (which * k, (2 + which) * k))
        pairs = zip(known, (weight - missing for missing in unknown), strict=True)
        return np.array([float(Fraction(total, mass)) if mass > 0 else np.nan for total, mass in pairs])


def _layout(n: int, k: int) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Shape and dtype of every array of a file."""
    matrices = dict.fromkeys(("signal", "loss", "cost", "latency", "propensity"), ((n, k), np.float64))
    lists = dict.fromkeys(("source", "number", "group"), ((n,), np.int64))
    return {**matrices, **lists, "prediction": ((n, k), np.int64), "weight": ((n,), np.float64)}


def _groups(group: ArrayLike | Iterable[int | str]) -> Any:
    """Groups as the core takes them: an int64 array, or a list of int and str."""
    if isinstance(group, np.ndarray) and group.dtype.kind in "iu":
        return int_array("group", group)
    if isinstance(group, str | bytes) or not isinstance(group, Iterable):
        raise ValidationError(f"`group` must be an array or a sequence of m values, got {type(group).__name__}")
    values: list[Any] = [one.item() if isinstance(one, np.generic) else one for one in group]
    for row, value in enumerate(values):
        if not isinstance(value, int | str) or isinstance(value, bool):
            raise ValidationError(f"`group` row {row} must be an integer or a text, got {shown(value)}")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValidationError(f"`group` row {row} must fit in 64 bits, got {value}")
    return [str(value) if isinstance(value, str) else int(value) for value in values]
