"""Soft state aggregation: large transition matrices as a product of two thin ones (extra `fit`)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._core import Model, ValidationError
from .._utils.arrays import Floats, check_not_negative, float_array
from .._utils.checks import check_integer, check_seed
from .._utils.extras import require

__all__ = ["Aggregated", "aggregate"]


@dataclass(frozen=True)
class Aggregated:
    """A model whose transitions pass through a few meta-states, and how far they are from the true ones.

    Attributes
    ----------
    model : Model
        With transitions (U, V), both row-stochastic, where that is smaller than the true matrix.
    meta_states : int
        Of each factorised transition, q.
    mean_error, largest_error : tuple of k floats
        Total variation distance between the rows of P and of U V, 0 to 1: the mean over rows and the largest. 0 where a
        transition was kept as it is.
    """

    model: Model
    meta_states: int
    mean_error: tuple[float, ...]
    largest_error: tuple[float, ...]


def aggregate(
    loss: Any,
    cost: ArrayLike,
    transition: Any,
    meta_states: int,
    seed: int = 0,
    graph: str = "line",
    iterations: int = 100,
) -> Aggregated:
    """Approximate a line or skip graph with large transition matrices by one with `meta_states` meta-states.

    Each (K, K') transition P becomes U V with U (K, q) and V (q, K'), fitted by non-negative factorisation and scaled
    to row-stochastic factors. A product with it takes 2 q / K of the work of a full one; as a dense solve skips most of
    its product anyway, it pays for small q only. What the resulting policy is worth on the true model is
    `tt.verify(true_model, policy).value`, exactly.

    Parameters
    ----------
    loss, cost, transition
        As for `Model.line` or `Model.skip`, losses and costs in one unit; transitions dense or scipy.sparse.
    meta_states : int
        q, at least 1. A transition for which U and V would hold no fewer numbers than P is kept.
    seed : int
        Of the starting point. The same arguments and seed give the same model.
    graph : {"line", "skip"}
    iterations : int
        Rounds of the factorisation at most.

    Returns
    -------
    Aggregated
        `model`, `mean_error`, `largest_error`.

    Raises
    ------
    MissingExtraError
        If scikit-learn is not installed.
    ValidationError
        For `meta_states` or `iterations` below 1, another graph, and whatever `Model.line` and `Model.skip` refuse.

    Notes
    -----
    O(K K' q) time a round, dense (K, K') memory; an array that is given for several stages is factorised once. Singh,
    Jaakkola and Jordan (1995), Reinforcement learning with soft state aggregation; the error bound is in
    docs/theory.md, section 3.8.

    Examples
    --------
    >>> import numpy as np, ttamer_fast as tt
    >>> rng = np.random.default_rng(0)
    >>> thin = rng.dirichlet(np.full(3, 0.3), size=60) @ rng.dirichlet(np.full(60, 0.3), size=3)  # of rank 3
    >>> loss, cost, transition = rng.random((3, 60)), [0.01, 0.02, 0.02], [np.full((1, 60), 1 / 60), thin, thin]
    >>> aggregated = tt.aggregate(loss, cost, transition, meta_states=3)
    >>> [round(error, 2) for error in aggregated.mean_error]
    [0.0, 0.0, 0.0]
    >>> true = tt.Model.line(loss, cost, transition)
    >>> paid = tt.verify(true, tt.solve(aggregated.model)).value
    >>> paid - tt.solve(true).value < 1e-3
    True
    """
    meta_states, iterations = check_integer("meta_states", meta_states, 1), check_integer("iterations", iterations, 1)
    seed = check_seed(seed, bits=31)
    if graph not in ("line", "skip"):
        raise ValidationError(f"`graph` must be 'line' or 'skip', got {graph!r}")
    make = Model.line if graph == "line" else Model.skip
    transition = list(transition)
    make(loss, cost, transition)  # refuses bad input before the work begins
    require("sklearn", "fit")
    fitted: dict[int, tuple[Any, float, float]] = {}
    for v, entry in enumerate(transition):
        if id(entry) not in fitted:
            fitted[id(entry)] = _thin(f"transition[{v}]", entry, meta_states, seed + v, iterations)
    thin, mean_error, largest_error = zip(*[fitted[id(entry)] for entry in transition], strict=True)
    return Aggregated(make(loss, cost, thin), meta_states, mean_error, largest_error)


def _dense(name: str, entry: Any) -> Floats:
    """A transition as an array; the pair (U, V) of one that is aggregated already as their product."""
    if hasattr(entry, "toarray"):
        entry = entry.toarray()
    elif isinstance(entry, tuple) and len(entry) == 2:
        entry = float_array(f"{name}[0]", entry[0]) @ float_array(f"{name}[1]", entry[1])
    matrix = float_array(name, entry)
    check_not_negative(name, matrix)
    return matrix


def _thin(name: str, entry: Any, meta_states: int, seed: int, iterations: int) -> tuple[Any, float, float]:
    """(U, V), or the entry itself where that is no larger, and the mean and largest distance of a row."""
    matrix = _dense(name, entry)
    rows, columns = matrix.shape
    if meta_states * (rows + columns) >= rows * columns:
        return entry, 0.0, 0.0
    left, right = _factors(matrix, meta_states, seed, iterations)
    distance = 0.5 * np.abs(left @ right - matrix).sum(axis=1)
    return (left, right), float(distance.mean()), float(distance.max())


def _factors(matrix: Floats, meta_states: int, seed: int, iterations: int) -> tuple[Floats, Floats]:
    """Row-stochastic U and V with U V ≈ P."""
    nmf = require("sklearn.decomposition", "fit").NMF(
        meta_states, init="random", max_iter=iterations, tol=1e-5, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", require("sklearn.exceptions", "fit").ConvergenceWarning)
        left: Floats = nmf.fit_transform(matrix)
    right: Floats = nmf.components_
    # Rows of V sum to 1 once their scale moves into U; rows of U then sum to about 1, as those of P do.
    return _stochastic(left * right.sum(axis=1)), _stochastic(right)


def _stochastic(matrix: Floats) -> Floats:
    """Rows scaled to sum to 1; a row of zeros becomes uniform."""
    matrix = np.where(matrix.sum(axis=1, keepdims=True) > 0.0, matrix, 1.0)
    rows: Floats = matrix / matrix.sum(axis=1, keepdims=True)
    return rows
