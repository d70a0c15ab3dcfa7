"""Calibration traces: what every stage said about every request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _core
from .._core import ValidationError
from .._utils.arrays import Floats, Ints, float_array, int_array
from .._utils.checks import check_seed, shown
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
        On any scale, larger means more confident; NaN means unknown.
    loss : (n, k) array_like of float or bool
        Loss >= 0 if the answer of that stage were returned: 1 - correct, or any other, in any unit.
    cost : (k,) or (n, k) array_like of float
        Incremental cost >= 0 of running a stage, in any unit: milliseconds, FLOPs, money.
    prediction : (n, k) array_like of int, optional
        Equal exactly where two stages give the same answer: class numbers, or hashes of normalised answers.
    kind : {"exits", "models"}
        ``"exits"``: exits of one network, so reaching a stage costs everything before it. ``"models"``: separate
        models, so a stage that is jumped over costs nothing.
    stages : sequence of k str, optional
        Names of the stages, all different.
    weight : (n,) array_like of float, optional
        How much each request counts, in fits and in judging: at least 0, not all 0. Only ratios matter. Default: all
        alike.
    group : (n,) array_like of int, or sequence of n hashable values, optional
        Equal where requests belong together, such as a session with its retries: they never stand on both sides of a
        split or a fold. Known for every request: None and NaN are refused. Default: every request by itself.

    Raises
    ------
    ValidationError
        If a shape, a number or a name is not as above; the message names the first offending index.

    Notes
    -----
    The numbers are copied once, O(n k), stage by stage, which is how fits read them. The arrays of the properties are
    read-only and C-contiguous; they are made when first asked for and kept. A cost (n, k) with equal rows is kept as
    (k,). Values of `group` that are not integers are numbered in the order in which they appear.

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

    __slots__ = ("_arrays", "_core")

    _arrays: dict[str, NDArray[Any]]
    """What has been asked for, row by row; the core has the same column by column."""

    def __init__(
        self,
        signal: ArrayLike,
        loss: ArrayLike,
        cost: ArrayLike,
        prediction: ArrayLike | None = None,
        kind: str = "exits",
        stages: Sequence[str] | None = None,
        weight: ArrayLike | None = None,
        group: ArrayLike | Iterable[Any] | None = None,
    ) -> None:
        if isinstance(stages, str):
            raise ValidationError("`stages` must be a sequence of names, got a string")
        self._arrays = {}
        self._core = _core.Trace(
            float_array("signal", signal),
            float_array("loss", loss),
            float_array("cost", cost),
            None if prediction is None else int_array("prediction", prediction),
            kind=kind if isinstance(kind, str) else repr(kind),
            stages=None if stages is None else [str(name) for name in stages],
            weight=None if weight is None else float_array("weight", weight),
            group=None if group is None else group_numbers(group),
        )

    @classmethod
    def of_core(cls, core: _core.Trace) -> Trace:
        """The trace that the Rust core made."""
        return _of(core, {})

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
        """(n, k) int64, read-only, or None: what each stage said."""
        said = self._core.prediction
        return None if said is None else self._row_by_row("prediction", said)

    @property
    def weight(self) -> Floats | None:
        """(n,) float64, read-only, or None where rows count alike: how much each request counts; only ratios matter."""
        return self._core.weight

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
        """(k,) float64: weighted mean loss of each stage, in the unit of the loss; O(n k)."""
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
        return _of(self._core.rows(rows), {})

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
        return _of(self._core.weighted(None if weight is None else float_array("weight", weight)), self._arrays)

    def split(self, test: float = 0.5, seed: int = 0) -> tuple[Trace, Trace]:
        """Two disjoint parts, drawn at random.

        Parameters
        ----------
        test : float
            Share of the rows, in (0, 1), that goes to the second part; both parts get at least one row. Groups are not
            divided: as many go there as come closest to that share.
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
        check_seed(seed)
        if isinstance(test, bool) or not isinstance(test, Real):
            raise ValidationError(f"`test` must be a number, got {shown(test)}")
        if not 0.0 < test < 1.0:
            raise ValidationError(f"`test` must be between 0 and 1, exclusive, got {test}")
        in_test = rows_of_test(self.n, self.group, test, seed)
        return self.rows(~in_test), self.rows(in_test)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the trace to a .npz, .parquet or .csv file, atomically; see :func:`read_trace` for the layouts.

        Raises
        ------
        ValidationError
            If the ending is none of the three or the file cannot be written.
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
            "group": self.group,
        }
        write_columns(columns, Path(path))

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
        optional = {"weight": self.weight, "group": self.group}
        return (
            f"Trace(n={self.n}, k={self.k}, kind={self.kind!r}, stages={self.stages}, "
            f"mean loss={_short(self.mean_loss)}, mean cost={_short(self.mean_cost)}, "
            f"prediction={'no' if self.prediction is None else 'yes'}"
            + "".join(f", {name}=yes" for name, given in optional.items() if given is not None)
            + ")"
        )

    def __reduce__(self) -> tuple[type[Trace], tuple[Any, ...]]:
        arrays = (self.signal, self.loss, self.cost, self.prediction)
        return Trace, (*arrays, self.kind, self.stages, self.weight, self.group)


def _of(core: _core.Trace, arrays: dict[str, NDArray[Any]]) -> Trace:
    """The trace of what the core made, with the arrays of its numbers that are known."""
    trace = object.__new__(Trace)
    trace._core, trace._arrays = core, arrays
    return trace


def _short(values: Floats) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
