"""Calibration traces: what every stage said about every request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._core import Policy, ValidationError
from .._utils.arrays import Floats, Ints, Predictions, float_array
from .._utils.checks import check_number, check_seed, check_text
from .._utils.columns import by_name, first_names
from .._utils.files import path_of
from .formats import write_columns
from .groups import group_numbers
from .parts import rows_of_test

__all__ = ["Trace"]

Scalar = TypeVar("Scalar", bound=np.generic)


class Trace:
    """Signals, losses and costs of n requests at all k stages; immutable.

    Parameters
    ----------
    signal : (n, k) array_like of float
        On any scale, larger means more confident; NaN means unknown, together with a loss of NaN that the stage was not
        run. Tables with named columns, such as data frames,
        are put into the order of `stages` by name, here and in `loss`, `cost`, `prediction` and `latency`.
    loss : (n, k) array_like of float or bool
        Loss >= 0 if the answer of that stage were returned: 1 - correct, or any other, in any unit. NaN: not known, so
        that the trace is *censored*, as the log of a running cascade is. Infinite wherever it is known: the stage is a
        probe, which informs about the others and never answers.
    cost : (k,) or (n, k) array_like of float
        Incremental cost >= 0 of running a stage, in any unit: milliseconds, FLOPs, money. In (n, k) it may be NaN where
        the stage was not run.
    prediction : (n, k) array_like, table, or sequence of n rows of k hashables, optional
        What the stages said: class numbers, text, any hashable. None, NaN and what is masked or missing are none.
        Ignored where a stage was not run.
    kind : {"exits", "models"}, optional
        ``"exits"``: exits of one network, so reaching a stage costs everything before it. ``"models"``: separate
        models, so a stage that is jumped over costs nothing. Default: ``"exits"``, unless a policy that is judged on
        the trace is of the other kind (:meth:`matching`).
    stages : sequence of k str, optional
        Names of the stages, all different. Default: the names of the columns of `signal`, `loss` or `prediction`, if
        there are any, else ``stage 0``, ``stage 1``, …
    weight : (n,) array_like of float, optional
        How much each request counts, in fits and in judging: at least 0, not all 0. Only ratios matter. Default: all
        alike.
    latency : (n, k) array_like of float, optional
        Seconds >= 0 that each stage took, as increments: reaching an exit takes those of all before it. NaN where a
        stage was not run or not timed.
    group : (n,) array_like of int, or sequence of n hashable values, optional
        Equal where requests belong together, such as a session with its retries: they never stand on both sides of a
        split or a fold. Known for every request: None and NaN are refused. Default: rows that repeat each other belong
        together, all others are by themselves.
    propensity : (n, k) array_like of float, optional
        Chance, above 0 and at most 1, that each known loss came to be known, given what the request's own run saw: 1
        where the policy itself asked for the stage, the share that is explored where it was run for the record. NaN
        where the loss is not known. With it a censored trace can be judged on; fits do not need it.
    teacher : str, optional
        Whose answers the losses are held against, where it is not the truth: every report says so.

    Raises
    ------
    ValidationError
        If a shape, a number or a name is not as above; the message names the first offending index.

    Notes
    -----
    The numbers are copied once, O(n k), stage by stage, which is how fits read them. The arrays of the properties are
    read-only and C-contiguous; they are made when first asked for and kept. A cost (n, k) with equal rows is kept as
    (k,). Values of `group` that are not integers are numbered in the order in which they appear.

    *Predictions* are kept as 64-bit codes, equal in a row exactly where ``==`` says so, and the same in every process.
    An integer from -2**63 + 1 to 2**63 - 1 is its own code, and so are numbers equal to one; an unsigned one up to
    2**64 - 2**32 keeps its bits, so that it equals the signed integer of these bits. -2**63 means "no prediction". The
    code of text, bytes, other numbers, tuples and frozensets is a hash of their value: two different ones are taken
    for equal with probability 2**-64. Other objects are compared within a row. Classes have a calibration of their own
    only where they are numbered from 0 on, below 1024.

    *Repeated rows.* A row repeats another if both are equal in all their content, weights aside, and some signal tells
    that content from all others: it is known, and no row of other content has the same at that stage. A fit takes rows
    that repeat each other as one row that counts as much as all of them. Rows that are equal because signals are coarse
    are different requests: where they are not, say so with `group`.

    *Units.* What is computed from a trace has its units: losses and costs those of `loss` and `cost`, per request. An
    objective λ · loss + (1 − λ) · cost / cost of running every stage takes the loss in its unit and the cost as a
    fraction: the unit of the cost plays no part in it, that of the loss does.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> trace = tt.Trace([[0.9, 0.8], [0.3, 0.7]], [[0, 0], [1, 0]], [1.0, 4.0], stages=["small", "large"])
    >>> trace
    Trace(n=2, k=2, kind='exits', stages=('small', 'large'), mean loss=[0.5, 0.0], mean cost=[1.0, 4.0], prediction=no)
    >>> trace.full_cost
    5.0
    """

    __slots__ = ("__weakref__", "_arrays", "_core", "_is_kind_said")

    _is_kind_said: bool
    """Whether somebody said what kind it is."""
    _arrays: dict[str, NDArray[Any]]
    """What has been asked for, row by row; the core has the same column by column."""

    def __init__(
        self,
        signal: ArrayLike,
        loss: ArrayLike,
        cost: ArrayLike,
        prediction: Predictions | None = None,
        kind: str | None = None,
        stages: Sequence[str] | None = None,
        weight: ArrayLike | None = None,
        latency: ArrayLike | None = None,
        group: ArrayLike | Iterable[Any] | None = None,
        propensity: ArrayLike | None = None,
        teacher: str | None = None,
    ) -> None:
        if isinstance(stages, str):
            raise ValidationError("`stages` must be a sequence of names, got a string")
        names = first_names(signal, loss, prediction) if stages is None else [str(name) for name in stages]
        self._arrays, self._is_kind_said = {}, kind is not None
        self._core = _core.Trace(
            float_array("signal", by_name("signal", signal, names)),
            float_array("loss", by_name("loss", loss, names)),
            float_array("cost", by_name("cost", cost, names)),
            None if prediction is None else _core.prediction_codes(by_name("prediction", prediction, names)),
            kind="exits" if kind is None else kind if isinstance(kind, str) else repr(kind),
            stages=names,
            weight=None if weight is None else float_array("weight", weight),
            latency=None if latency is None else float_array("latency", by_name("latency", latency, names)),
            group=None if group is None else group_numbers(group),
            propensity=None
            if propensity is None
            else float_array("propensity", by_name("propensity", propensity, names)),
            teacher=None if teacher is None else check_text("teacher", teacher),
        )

    @classmethod
    def of_core(cls, core: _core.Trace, *, is_kind_said: bool) -> Trace:
        """The trace that the Rust core made, and whether somebody said of what kind it is."""
        trace = object.__new__(cls)
        trace._core, trace._arrays, trace._is_kind_said = core, {}, is_kind_said
        return trace

    @property
    def core(self) -> _core.Trace:
        """The same as the Rust core holds it."""
        return self._core

    @property
    def signal(self) -> Floats:
        """(n, k) float64, read-only: how confident each stage is of its prediction, on the scale it was given in."""
        return self._row_by_row("signal", self._core.signal)

    @property
    def loss(self) -> Floats:
        """(n, k) float64, read-only: losses, in the unit they were given in."""
        return self._row_by_row("loss", self._core.loss)

    @property
    def cost(self) -> Floats:
        """(k,) or (n, k) float64, read-only: incremental costs, in the unit they were given in."""
        return self._row_by_row("cost", self._core.cost)

    @property
    def prediction(self) -> Ints | None:
        """(n, k) int64, read-only, or None: what each stage said, as codes; -2**63 where it said nothing."""
        said = self._core.prediction
        return None if said is None else self._row_by_row("prediction", said)

    @property
    def weight(self) -> Floats | None:
        """(n,) float64, read-only, or None where rows count alike: how much each request counts; only ratios matter."""
        return self._core.weight

    @property
    def latency(self) -> Floats | None:
        """(n, k) float64, read-only, or None: seconds that each stage took, as increments; NaN where not known."""
        seconds = self._core.latency
        return None if seconds is None else self._row_by_row("latency", seconds)

    @property
    def expected_latency(self) -> Floats | None:
        """(k,) float64, or None: weighted median of the known seconds of each stage; infinite where none are known.

        O(n k log n) the first time. What is not known in a row is taken to be this.
        """
        return self._core.expected_latency

    @property
    def propensity(self) -> Floats | None:
        """(n, k) float64, read-only, or None: chance that each known loss came to be known; NaN where it is not."""
        chances = self._core.propensity
        return None if chances is None else self._row_by_row("propensity", chances)

    @property
    def teacher(self) -> str | None:
        """Whose answers the losses are held against, where it is not the truth."""
        return self._core.teacher

    @property
    def is_censored(self) -> bool:
        """Whether some loss is not known."""
        return self._core.is_censored

    @property
    def group(self) -> Ints | None:
        """(n,) int64, read-only, or None: equal where requests belong together."""
        return self._core.group

    @property
    def kind(self) -> str:
        """``"exits"`` or ``"models"``."""
        return self._core.kind

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the k stages."""
        return self._core.stages

    @property
    def n(self) -> int:
        """Number of requests."""
        return len(self._core)

    @property
    def k(self) -> int:
        """Number of stages."""
        return len(self._core.stages)

    @property
    def mean_loss(self) -> Floats:
        """(k,) float64: weighted mean of the known losses of each stage, in their unit, infinite of a probe; O(n k)."""
        return self._core.mean_loss

    @property
    def mean_cost(self) -> Floats:
        """(k,) float64: weighted mean incremental cost of each stage, in the unit of the cost."""
        return self._core.mean_cost

    @property
    def full_cost(self) -> float:
        """Mean cost per request of running every stage, in the unit of the cost."""
        return self._core.full_cost

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything in the trace; computed once, O(n k)."""
        return self._core.digest

    def rows(self, index: ArrayLike | slice) -> Trace:
        """The trace of some requests.

        Parameters
        ----------
        index : (m,) array_like of int, (n,) array_like of bool, or slice
            Which requests, in which order.

        Raises
        ------
        ValidationError
            If no request is left, all weights that are left are 0, or an index is out of range.

        Examples
        --------
        >>> import ttamer_fast as tt
        >>> tt.Trace([[0.9], [0.3], [0.5]], [[0], [1], [0]], [1.0]).rows([2, 0]).signal.ravel().tolist()
        [0.5, 0.9]
        """
        chosen = index if isinstance(index, slice) else np.asarray(index)
        if isinstance(chosen, np.ndarray) and (chosen.ndim != 1 or chosen.dtype.kind not in "biu"):
            raise ValidationError("`index` must be a slice or a one-dimensional array of int or bool")
        try:
            rows = np.arange(self.n)[chosen]
        except IndexError as error:
            raise ValidationError(f"`index` does not fit {self.n} rows: {error}") from error
        return self._with(self._core.rows(rows), {})

    def weighted(self, weight: ArrayLike | None) -> Trace:
        """The same requests, counted differently; the arrays are shared.

        Parameters
        ----------
        weight : (n,) array_like of float, or None
            How much each request counts, in place of what it counted before; None: all alike.

        Raises
        ------
        ValidationError
            If there is not one weight per row, one is negative or not finite, or all are 0.

        Examples
        --------
        >>> import ttamer_fast as tt
        >>> trace = tt.Trace([[0.9], [0.3]], [[0], [1]], [1.0])
        >>> tt.evaluate(tt.baselines.static(trace, 0.9), trace.weighted([3.0, 1.0])).loss
        0.25
        """
        return self._with(self._core.weighted(None if weight is None else float_array("weight", weight)), self._arrays)

    def run_through(self) -> Trace:
        """The requests of which every loss is known, each counting as its weight says over the chance of that.

        What they say of every policy is what all requests would (inverse propensity weighting: Horvitz and Thompson
        1952): `compare`, `frontier` and `summarize` judge on them. The trace itself, where nothing is left out and no
        propensity was given. O(n k).

        Raises
        ------
        ValidationError
            If losses are not known and no `propensity` says with which chance the others came to be known, or there is
            no request of which all are.

        Examples
        --------
        >>> import math, ttamer_fast as tt
        >>> nan = math.nan
        >>> log = tt.Trace([[0.9, nan], [0.3, 0.7], [0.8, 0.9]], [[0, nan], [1, 0], [0, 0]], [1.0, 4.0],
        ...                propensity=[[1, nan], [1, 1], [1, 0.5]])
        >>> through = log.run_through()
        >>> len(through), through.weight.tolist()
        (2, [1.0, 2.0])
        """
        found = self._core.run_through()
        return self if found is None else self._with(found, {})

    def observed(self, policy: Policy, default_loss: float | None, deadline: float | None) -> Trace:
        """The same for one policy: the requests of which all is known that it asks for."""
        found = _core.observed(self._core, policy, default_loss, deadline)
        return self if found is None else self._with(found, {})

    def matching(self, policy: Policy, name: str = "trace") -> Trace:
        """The same requests as the policy sees them: its stages in its order, under its names, of its kind.

        `evaluate`, `DriftMonitor` and all else that shows a trace to a policy do this first.

        Parameters
        ----------
        policy : Policy
            Stages are matched by name. Where either side has no names but ``stage 0``, ``stage 1``, …, and there are
            as many, they are matched by place.
        name : str
            What errors call the trace.

        Raises
        ------
        ValidationError
            If the trace lacks a stage or has others, both lists are named; or if it was said to be of another kind.

        Notes
        -----
        Numbers are copied only where the order differs, O(n k).

        Examples
        --------
        >>> import ttamer_fast as tt
        >>> signal, loss = [[0.9, 0.8], [0.3, 0.7]], [[0, 0], [1, 0]]
        >>> policy = tt.baselines.static(tt.Trace(signal, loss, [1.0, 4.0], stages=["small", "large"]), 0.9)
        >>> sorted_by_name = tt.Trace(signal, loss, [4.0, 1.0], stages=["large", "small"])
        >>> sorted_by_name.matching(policy).cost.tolist()
        [1.0, 4.0]
        """
        kind = policy.provenance.get("kind", self.kind)
        if kind != self.kind and self._is_kind_said and self.k > 1:
            raise ValidationError(f"`{name}` must be of kind {kind!r}, as the policy is, got {self.kind!r}")
        if kind == self.kind and policy.stages == self.stages:
            return self
        return self._with(self._core.matching(name, list(policy.stages), kind), {})

    def split(self, test: float = 0.5, seed: int = 0) -> tuple[Trace, Trace]:
        """Two disjoint parts, drawn at random.

        Parameters
        ----------
        test : float
            Share of the rows, in (0, 1), that goes to the second part; both parts get at least one row. Groups are not
            divided, nor rows that repeat each other: as many go there as come closest to that share.
        seed : int
            Of the random permutation: the same seed gives the same parts.

        Returns
        -------
        (Trace, Trace)
            Training part and test part, each in the order of the trace.

        Raises
        ------
        ValidationError
            If `test` is no number in (0, 1), `seed` no integer in [0, 2**64), there is only one row or group, or all
            weights of a part are 0.

        Examples
        --------
        >>> import ttamer_fast as tt
        >>> train, test = tt.Trace([[0.1], [0.2], [0.3], [0.4]], [[0], [0], [1], [1]], [1.0]).split(test=0.25)
        >>> len(train), len(test)
        (3, 1)
        """
        share = check_number("test", test)
        if not 0.0 < share < 1.0:
            raise ValidationError(f"`test` must be between 0 and 1, exclusive, got {test}")
        in_test = rows_of_test(self.n, self._core.units, share, check_seed(seed))
        return self.rows(~in_test), self.rows(in_test)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the trace to a .npz, .parquet or .csv file; see :func:`read_trace` for the layouts.

        The file is the old one or the new one, whatever happens. It keeps its mode, a new one gets what the umask
        allows; a link stays, and what it points to is replaced; a device or a pipe is written to.

        Raises
        ------
        OSError
            If the system refuses, of the class that goes with its number; the old file is still there.
        ValidationError
            If the ending is none of the three.
        MissingExtraError
            If .parquet or .csv is asked for and pyarrow is not installed.
        """
        columns = {
            "signal": self.signal,
            "loss": self.loss,
            "cost": self.cost,
            "stages": self.stages,
            "kind": self.kind,
            "prediction": self.prediction,
            "weight": self.weight,
            "latency": self.latency,
            "group": self.group,
            "propensity": self.propensity,
            "teacher": self.teacher,
        }
        write_columns(columns, path_of(path))

    def _with(self, core: _core.Trace, arrays: dict[str, NDArray[Any]]) -> Trace:
        """What the core made of this trace, with the arrays of its numbers that are known."""
        trace = object.__new__(Trace)
        trace._core, trace._arrays, trace._is_kind_said = core, arrays, self._is_kind_said
        return trace

    def _row_by_row(self, name: str, columns: NDArray[Scalar]) -> NDArray[Scalar]:
        """A C-contiguous array of the same numbers, made once; a view, so that nobody can make it writeable."""
        known = self._arrays.get(name)
        if known is None:
            rows = np.ascontiguousarray(columns)
            rows.flags.writeable = False
            known = self._arrays.setdefault(name, rows.view())
        return cast(NDArray[Scalar], known)

    def __getitem__(self, index: ArrayLike | slice) -> Trace:
        return self.rows(index)

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        core = self._core
        optional = {
            "weight": core.weight,
            "latency": core.latency,
            "group": core.group,
            "propensity": core.propensity,
            "censored": True if core.is_censored else None,
        }
        teacher = "" if self.teacher is None else f", teacher={self.teacher!r}"
        return (
            f"Trace(n={self.n}, k={self.k}, kind={self.kind!r}, stages={self.stages}, "
            f"mean loss={_short(self.mean_loss)}, mean cost={_short(self.mean_cost)}, "
            f"prediction={'no' if self.prediction is None else 'yes'}"
            + "".join(f", {name}=yes" for name, given in optional.items() if given is not None)
            + f"{teacher})"
        )

    def __reduce__(self) -> tuple[type[Trace], tuple[Any, ...]]:
        arrays = (self.signal, self.loss, self.cost, self.prediction)
        kind = self.kind if self._is_kind_said else None
        others = (self.weight, self.latency, self.group, self.propensity, self.teacher)
        return Trace, (*arrays, kind, self.stages, *others)


def _short(values: Floats) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
