"""Calibration traces: what every stage said about every request."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._core import ValidationError
from .._utils import arrays
from .._utils.arrays import Floats, Ints
from .formats import write_columns

__all__ = ["Trace"]

KINDS = ("exits", "models")


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

    Raises
    ------
    ValidationError
        If a shape, a number or a name is not as above; the message names the first offending index.

    Notes
    -----
    Arrays are copied once, O(n k), and are read-only afterwards. A cost (n, k) with equal rows is kept as (k,).

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

    __slots__ = ("_cost", "_digest", "_kind", "_loss", "_prediction", "_signal", "_stages", "_weight")

    def __init__(
        self,
        signal: ArrayLike,
        loss: ArrayLike,
        cost: ArrayLike,
        prediction: ArrayLike | None = None,
        kind: str = "exits",
        stages: Sequence[str] | None = None,
        weight: ArrayLike | None = None,
    ) -> None:
        self._digest: str | None = None
        self._signal = arrays.float_array("signal", signal)
        if self._signal.ndim != 2 or 0 in self._signal.shape:
            shape = self._signal.shape
            raise ValidationError(f"`signal` must have shape (n, k) with at least one row and one stage, got {shape}")
        n, k = self._signal.shape
        self._loss = arrays.float_array("loss", loss)
        _check_shape("loss", self._loss.shape, ((n, k),))
        arrays.check_not_negative("loss", self._loss)
        self._cost = arrays.float_array("cost", cost)
        _check_shape("cost", self._cost.shape, ((k,), (n, k)))
        arrays.check_not_negative("cost", self._cost)
        if self._cost.ndim == 2 and bool((self._cost == self._cost[0]).all()):
            self._cost = arrays.read_only(self._cost[0].copy())
        self._prediction = None if prediction is None else arrays.int_array("prediction", prediction)
        if self._prediction is not None:
            _check_shape("prediction", self._prediction.shape, ((n, k),))
        if kind not in KINDS:
            raise ValidationError(f"`kind` must be 'exits' or 'models', got {kind!r}")
        self._kind = kind
        self._stages = _stage_names(stages, k)
        self._weight = _row_weights(weight, n)

    @property
    def signal(self) -> Floats:
        """(n, k) float64, read-only: how confident each stage is of its prediction, on the scale it was given in."""
        return self._signal

    @property
    def loss(self) -> Floats:
        """(n, k) float64, read-only: losses, in the unit they were given in."""
        return self._loss

    @property
    def cost(self) -> Floats:
        """(k,) or (n, k) float64, read-only: incremental costs, in the unit they were given in."""
        return self._cost

    @property
    def prediction(self) -> Ints | None:
        """(n, k) int64, read-only, or None: what each stage said."""
        return self._prediction

    @property
    def weight(self) -> Floats | None:
        """(n,) float64, read-only, or None where rows count alike: how much each request counts; only ratios matter."""
        return self._weight

    @property
    def kind(self) -> str:
        """``"exits"`` or ``"models"``."""
        return self._kind

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the k stages."""
        return self._stages

    @property
    def n(self) -> int:
        """Number of requests."""
        return len(self._signal)

    @property
    def k(self) -> int:
        """Number of stages."""
        return len(self._stages)

    @property
    def mean_cost(self) -> Floats:
        """(k,) float64: weighted mean incremental cost of each stage, in the unit of the cost."""
        return self._cost if self._cost.ndim == 1 else weighted_mean(self._cost, self._weight)

    @property
    def full_cost(self) -> float:
        """Mean cost per request of running every stage, in the unit of the cost."""
        return math.fsum(self.mean_cost)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything in the trace; computed once, O(n k)."""
        if self._digest is None:
            content = hashlib.sha256(repr((self._kind, self._stages, self._cost.ndim)).encode())
            for array in (self._signal, self._loss, self._cost, self._prediction):
                content.update(b"-" if array is None else repr(array.shape).encode())
                if array is not None:
                    content.update(array.data)
            if self._weight is not None:
                content.update(repr(self._weight.shape).encode())
                content.update(self._weight.data)
            self._digest = content.hexdigest()
        return self._digest

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
        part = self._shared()
        try:
            part._signal = arrays.read_only(np.ascontiguousarray(self._signal[chosen]))
            part._loss = arrays.read_only(np.ascontiguousarray(self._loss[chosen]))
            if self._cost.ndim == 2:
                part._cost = arrays.read_only(self._cost[chosen].copy())
            if self._prediction is not None:
                part._prediction = arrays.read_only(np.ascontiguousarray(self._prediction[chosen]))
            if self._weight is not None:
                part._weight = arrays.read_only(self._weight[chosen].copy())
        except IndexError as error:
            raise ValidationError(f"`index` does not fit {self.n} rows: {error}") from error
        if part.n == 0:
            raise ValidationError("`index` must leave at least one row, got none")
        if part._weight is not None and not part._weight.any():
            raise ValidationError("`weight` must have a positive entry in every part of a trace, got zeros only")
        return part

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
        counted = self._shared()
        counted._weight = _row_weights(weight, self.n)
        return counted

    def split(self, test: float = 0.5, seed: int = 0) -> tuple[Trace, Trace]:
        """Two disjoint parts, drawn at random.

        Parameters
        ----------
        test : float
            Share of the rows, in (0, 1), that goes to the second part; both parts get at least one row.
        seed : int
            Of the random permutation: the same seed gives the same parts.

        Returns
        -------
        (Trace, Trace)
            Training part and test part, each in the order of the trace.

        Raises
        ------
        ValidationError
            If `test` is not in (0, 1), there is only one row, or all weights of a part are 0.

        Examples
        --------
        >>> import ttamer_fast as tt
        >>> train, test = tt.Trace([[0.1], [0.2], [0.3], [0.4]], [[0], [0], [1], [1]], [1.0]).split(test=0.25)
        >>> len(train), len(test)
        (3, 1)
        """
        if not 0.0 < test < 1.0:
            raise ValidationError(f"`test` must be between 0 and 1, exclusive, got {test}")
        if self.n < 2:
            raise ValidationError("a trace of one row cannot be split")
        size = min(max(round(self.n * test), 1), self.n - 1)
        in_test = np.zeros(self.n, bool)
        in_test[np.random.default_rng(seed).permutation(self.n)[:size]] = True
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
        }
        write_columns(columns, Path(path))

    def __getitem__(self, index: ArrayLike | slice) -> Trace:
        return self.rows(index)

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        return (
            f"Trace(n={self.n}, k={self.k}, kind={self.kind!r}, stages={self.stages}, "
            f"mean loss={_short(weighted_mean(self.loss, self.weight))}, mean cost={_short(self.mean_cost)}, "
            f"prediction={'no' if self.prediction is None else 'yes'}{'' if self.weight is None else ', weight=yes'})"
        )

    def __reduce__(self) -> tuple[type[Trace], tuple[Any, ...]]:
        return Trace, (self.signal, self.loss, self.cost, self.prediction, self.kind, self.stages, self.weight)

    def _shared(self) -> Trace:
        """Another trace with the same arrays."""
        other = object.__new__(Trace)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        other._digest = None
        return other


def weighted_mean(values: NDArray[Any], weight: Floats | None) -> Floats:
    """Mean over the rows of (n, ...) values, of which each counts `weight` (n,); None: all alike."""
    return np.asarray(np.average(values, axis=0, weights=None if weight is None else row_shares(weight)))


def row_shares(weight: Floats) -> Floats:
    """(n,) weights over the largest one: equal weights become exactly 1, and sums stay finite."""
    shares: Floats = weight / weight.max()
    return shares


def _short(values: Floats) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def _check_shape(name: str, shape: tuple[int, ...], allowed: tuple[tuple[int, ...], ...]) -> None:
    if shape not in allowed:
        expected = " or ".join(str(one) for one in allowed)
        raise ValidationError(f"`{name}` must have shape {expected}, got {shape}")


def _stage_names(stages: Sequence[str] | None, k: int) -> tuple[str, ...]:
    if stages is None:
        return tuple(f"stage {i}" for i in range(k))
    if isinstance(stages, str) or len(stages) != k:
        given = "a string" if isinstance(stages, str) else f"{len(stages)}"
        raise ValidationError(f"`stages` must have {k} names, got {given}")
    names = tuple(str(name) for name in stages)
    for i, name in enumerate(names):
        if not name:
            raise ValidationError(f"`stages` entry {i} must not be empty")
        if name in names[:i]:
            raise ValidationError(f"`stages` entry {i} must differ from the others, got {name!r} again")
    return names


def _row_weights(weight: ArrayLike | None, n: int) -> Floats | None:
    if weight is None:
        return None
    array = arrays.float_array("weight", weight)
    _check_shape("weight", array.shape, ((n,),))
    arrays.check_not_negative("weight", array)
    if not array.any():
        raise ValidationError("`weight` must have a positive entry, got zeros only")
    return array
