"""Exact models with a deadline: against brute force over all that can happen, and what must hold for all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models import GRAPHS
from timed_models import Timed, timed

import ttamer_fast as tt

DEADLINES = st.integers(0, 9)
DEFAULTS = st.sampled_from([math.inf, math.inf, 0.0, 0.3, 2.0])
TOLERANCE = 1e-9


@pytest.mark.parametrize("graph", GRAPHS)
@given(data=st.data(), ticks=DEADLINES, default_loss=DEFAULTS)
@settings(max_examples=150)
def test_value_is_the_least_there_is(graph: str, data: st.DataObject, ticks: int, default_loss: float) -> None:
    case = data.draw(timed(graph))
    model = case.model()
    best = case.best(ticks, default_loss)
    try:
        policy = tt.solve(model, default_loss=default_loss, deadline=ticks * case.tick)
    except tt.ValidationError as error:
        assert graph == "skip" and "at least one first stage" in str(error)
        return
    assert math.isclose(policy.value, best, abs_tol=TOLERANCE)
    certificate = tt.verify(model, policy)
    assert certificate.exact and math.isclose(certificate.value, best, abs_tol=TOLERANCE)
