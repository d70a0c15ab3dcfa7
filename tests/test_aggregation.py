from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse

import ttamer_fast as tt
from ttamer_fast._utils.arrays import Floats


def parts(states: int = 60, rank: int = 3, stages: int = 4) -> tuple[Floats, Floats, list[Any]]:
    rng = np.random.default_rng(1)
    first = np.full((1, states), 1 / states)
    thin = [
        rng.dirichlet(np.full(rank, 0.3), size=states) @ rng.dirichlet(np.full(states, 0.3), size=rank)
        for _ in range(stages - 1)
    ]
    return rng.random((stages, states)), np.full(stages, 0.02), [first, *thin]


def test_a_thin_model_is_found_again() -> None:
    loss, cost, transition = parts()
    aggregated = tt.aggregate(loss, cost, transition, meta_states=3, iterations=500)
    assert max(aggregated.mean_error) < 0.05
    true = tt.Model.line(loss, cost, transition)
    certificate = tt.verify(true, tt.solve(aggregated.model))
    best = tt.solve(true).value
    assert best - 1e-9 <= certificate.value <= best + 0.01
    assert certificate.value - certificate.bound <= best + 1e-9


def test_reported_distance_bounds_the_value() -> None:
    loss, cost, transition = parts(rank=20)
    aggregated = tt.aggregate(loss, cost, transition, meta_states=4)
    pairs = zip(aggregated.mean_error, aggregated.largest_error, strict=True)
    assert all(0.0 <= mean <= most <= 1.0 for mean, most in pairs)
    most = (loss.max() + cost.sum()) * sum(aggregated.largest_error)
    true, policy = tt.Model.line(loss, cost, transition), tt.solve(aggregated.model)
    assert abs(tt.verify(true, policy).value - policy.value) <= most
    assert abs(tt.solve(true).value - policy.value) <= most


def test_more_meta_states_are_closer_and_enough_of_them_change_nothing() -> None:
    loss, cost, transition = parts(rank=20)
    errors = [sum(tt.aggregate(loss, cost, transition, q).mean_error) for q in (2, 8, 60)]
    assert errors[0] > errors[1] > errors[2] == 0.0


def test_same_arguments_same_model() -> None:
    loss, cost, transition = parts()
    once, again = (tt.solve(tt.aggregate(loss, cost, transition, 3).model) for _ in range(2))
    assert once.to_bytes() == again.to_bytes()


def test_sparse_transitions_and_skip_graphs() -> None:
    loss, _, transition = parts()
    jumps = np.triu(np.full((4, 4), 0.02))
    dense = tt.aggregate(loss, jumps, transition, 3, graph="skip")
    sparse = tt.aggregate(loss, jumps, [scipy.sparse.csr_array(P) for P in transition], 3, graph="skip")
    assert dense.model.graph == "skip"
    assert dense.mean_error == sparse.mean_error
    assert tt.solve(dense.model).value == tt.solve(sparse.model).value


def test_bad_input_and_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    loss, cost, transition = parts()
    for bad in (0, True, 2.5):
        with pytest.raises(tt.ValidationError, match="`meta_states` must be an integer of at least 1"):
            tt.aggregate(loss, cost, transition, bad)  # type: ignore[arg-type]
    with pytest.raises(tt.ValidationError, match="`iterations` must be an integer of at least 1"):
        tt.aggregate(loss, cost, transition, 3, iterations=0)
    with pytest.raises(tt.ValidationError, match="`graph` must be"):
        tt.aggregate(loss, cost, transition, 3, graph="tree")
    with pytest.raises(tt.ValidationError, match=r"`transition\[0\]` row 0 must sum to 1"):
        tt.aggregate(loss, cost, [0.5 * transition[0], *transition[1:]], 3)
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(tt.MissingExtraError, match=r'pip install "ttamer_fast\[fit\]"'):
        tt.aggregate(loss, cost, transition, 3)
