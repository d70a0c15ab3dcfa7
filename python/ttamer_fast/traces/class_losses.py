"""Losses of answers whose errors are not all alike: from labels, predictions, and what each mistake loses."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _core
from .._core import ValidationError
from .._utils.arrays import Bools, Floats, Ints, Predictions, check_not_negative, float_array
from .._utils.checks import check_number, shown
from .._utils.columns import by_name

__all__ = ["class_losses"]

NOTHING = np.iinfo(np.int64).min
"""The code of no prediction, and of no label."""


def class_losses(
    prediction: Predictions,
    label: ArrayLike | Sequence[Hashable],
    loss: ArrayLike,
    *,
    classes: Iterable[Hashable] | None = None,
    no_prediction: float | None = None,
    stages: Sequence[str] | None = None,
) -> Floats:
    """What every answer loses, where one mistake is worse than another: the `loss` of a :class:`Trace`.

    Parameters
    ----------
    prediction : (n, k) array_like, table, or sequence of n rows of k classes
        What the stages said, as a :class:`Trace` takes it. None, NaN and what is masked are no prediction.
    label : (n,) array_like, or sequence of n classes
        The truth of each request. None, NaN and what is masked: nobody knows it, and its losses are NaN.
    loss : (C, C) array_like of float
        ``loss[i, j]`` is lost where the truth is class i and a stage says class j: finite, at least 0, in any unit. The
        diagonal is mostly 0; it is not where acting on a right answer costs something too.
    classes : iterable of C hashables, optional
        The classes in the order of the rows and columns of `loss`, all different: numbers, text, bytes or tuples.
        Default: 0 to C - 1.
    no_prediction : float, optional
        What is lost where a stage says nothing: at least 0, or NaN where that means that it was not run. Default: no
        stage may say nothing.
    stages : sequence of k str, optional
        Columns of a table are put into this order by name, as a :class:`Trace` with these `stages` does.

    Returns
    -------
    (n, k) float64
        In the unit of `loss`.

    Raises
    ------
    ValidationError
        If a shape does not fit, an entry of `loss` is negative or not finite, `classes` repeat themselves, or a label
        or a prediction is no class; the message names the first offending index.

    Notes
    -----
    O(n k log C) time, O(n k + C²) memory; any thread. A fit sees the losses alone. It learns how much each class that a
    stage names may be trusted where classes are numbered from 0 on, below 1024, in the trace's `prediction`: so number
    them there, also where `classes` are text here. With costs of errors given, the best decision is the one of least
    expected loss (Elkan, "The foundations of cost-sensitive learning", IJCAI 2001, section 1).

    Examples
    --------
    A fraud that is missed loses 20, a false alarm 1.

    >>> import ttamer_fast as tt
    >>> said, truth = [["fine", "fraud"], ["fraud", "fine"]], ["fraud", "fine"]
    >>> tt.class_losses(said, truth, [[0, 1], [20, 0]], classes=["fine", "fraud"]).tolist()
    [[20.0, 0.0], [1.0, 0.0]]
    """
    matrix = float_array("loss", loss)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValidationError(f"`loss` must be (C, C), a row and a column a class, got shape {matrix.shape}")
    check_not_negative("loss", matrix)
    given: list[Any] = list(range(len(matrix)) if classes is None else classes)
    if len(given) != len(matrix):
        raise ValidationError(f"`classes` must be {len(matrix)}, as `loss` has rows, got {len(given)}")
    names = _codes("classes", given, 1)
    _check_classes(names, given)
    ordered = by_name("prediction", prediction, None if stages is None else list(stages))
    said, true = _codes("prediction", ordered, 2), _codes("label", label, 1)
    if len(true) != len(said):
        raise ValidationError(f"`label` must be {len(said)}, one for each row of `prediction`, got {len(true)}")
    nothing = np.nan if no_prediction is None else _loss_of_nothing(no_prediction)
    column, row = _numbers("prediction", ordered, said, names, given), _numbers("label", label, true, names, given)
    if no_prediction is None and (column < 0).any():
        where = _place(column < 0)
        raise ValidationError(f"`prediction` {where} must be a class where `no_prediction` is not given, got none")
    lost = np.where(column < 0, nothing, matrix[row[:, None], column])
    lost[row < 0] = np.nan
    return lost


def _loss_of_nothing(value: float) -> float:
    """A loss at least 0, or NaN."""
    number = float(value) if isinstance(value, float) and np.isnan(value) else check_number("no_prediction", value)
    if number < 0.0 or np.isinf(number):
        raise ValidationError(f"`no_prediction` must be finite and at least 0, or NaN, got {shown(value)}")
    return number


def _codes(name: str, value: Any, axes: int) -> Ints:
    """Codes of hashables, equal exactly where these are."""
    try:
        codes = _core.prediction_codes(value, axes)
    except ValidationError as error:
        said = str(error).replace("`prediction`", f"`{name}`", 1).replace("of predictions", "of classes", 1)
        raise ValidationError(said) from error
    if codes.ndim != axes:
        shape = "(n, k)" if axes == 2 else "one-dimensional"
        raise ValidationError(f"`{name}` must be {shape}, got shape {codes.shape}")
    return codes


def _check_classes(names: Ints, given: list[Any]) -> None:
    """Classes are something, and all different."""
    seen: dict[int, int] = {}
    for at, name in enumerate(names.tolist()):
        if name == NOTHING:
            raise ValidationError(f"`classes` entry {at} must be a class, got {shown(given[at])}")
        if seen.setdefault(name, at) != at:
            raise ValidationError(
                f"`classes` entry {at} must differ from entry {seen[name]}, got {shown(given[at])} twice"
            )


def _numbers(name: str, value: Any, codes: Ints, names: Ints, given: list[Any]) -> Ints:
    """The number of the class of each entry of `value`, -1 of none."""
    order = np.argsort(names)
    at = np.minimum(np.searchsorted(names[order], codes), len(names) - 1)
    numbers = order[at]
    is_none = codes == NOTHING
    strange = (names[numbers] != codes) & ~is_none
    if strange.any():
        known = ", ".join(shown(one) for one in given[:8]) + (", …" if len(given) > 8 else "")
        entry = shown(_entry(value, strange))
        raise ValidationError(f"`{name}` {_place(strange)} must be one of the classes {known}, got {entry}")
    return np.where(is_none, -1, numbers)


def _first(bad: Bools) -> tuple[int, ...]:
    """Index of the first true entry."""
    return tuple(int(at) for at in np.unravel_index(int(bad.argmax()), bad.shape))


def _place(bad: Bools) -> str:
    """Where the first true entry is, in words."""
    return " ".join(f"{axis} {at}" for axis, at in zip(("row", "column"), _first(bad), strict=False))


def _entry(value: Any, bad: Bools) -> Any:
    """What stands at the first true entry."""
    found = value if isinstance(value, list | tuple) else np.asarray(value)
    for at in _first(bad):
        found = found[at]
    return found.item() if isinstance(found, np.generic) else found
