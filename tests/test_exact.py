"""Exact models on a line: small random ones against brute force, and what must hold for all."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt


@dataclass(frozen=True)
class Line:
    """A random line with few states."""

    loss: list[np.ndarray]
    cost: np.ndarray
    transition: list[np.ndarray]

    def solve(self, recall: bool = True) -> tt.Policy:
        return tt.solve(tt.Model.line(self.loss, self.cost, self.transition), recall=recall)

    def paths(self) -> list[tuple[tuple[int, ...], float]]:
        """Every sequence of states with its probability."""
        found = []
        for states in itertools.product(*[range(len(loss)) for loss in self.loss]):
            before = (0, *states)
            chance = math.prod(P[before[v], states[v]] for v, P in enumerate(self.transition))
            found.append((states, chance))
        return found


@st.composite
def lines(draw: st.DrawFn) -> Line:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    rounding = draw(st.sampled_from([1, 3, 16]))
    loss = [rng.random(size).round(rounding) for size in sizes]
    cost = (rng.random(len(sizes)) * draw(st.sampled_from([0.0, 0.05, 0.3]))).round(rounding)
    transition = [rng.dirichlet(np.ones(size), size=before) for before, size in zip([1, *sizes], sizes, strict=False)]
    return Line(loss, cost, transition)


def expected_total(policy: tt.Policy, line: Line) -> float:
    total = 0.0
    for states, chance in line.paths():
        run = policy.start()
        while run.next is not None:
            run.observe(states[run.next])
        assert run.answer is not None
        total += chance * (line.loss[run.answer][states[run.answer]] + run.cost)
    return total


@given(line=lines(), recall=st.booleans())
def test_value_is_what_the_policy_pays(line: Line, recall: bool) -> None:
    policy = line.solve(recall)
    assert math.isclose(expected_total(policy, line), policy.value, abs_tol=1e-9)


@given(line=lines())
def test_no_fixed_stopping_time_is_better(line: Line) -> None:
    value = line.solve().value
    for last in range(len(line.loss)):
        paid = line.cost[: last + 1].sum()
        best = sum(chance * min(line.loss[v][states[v]] for v in range(last + 1)) for states, chance in line.paths())
        assert value <= best + paid + 1e-9
    assert value <= line.solve(recall=False).value + 1e-9


@given(line=lines(), factor=st.floats(1e-3, 1e3))
def test_scaling_losses_and_costs_scales_the_value(line: Line, factor: float) -> None:
    scaled = Line([factor * loss for loss in line.loss], factor * line.cost, line.transition)
    assert math.isclose(scaled.solve().value, factor * line.solve().value, rel_tol=1e-9, abs_tol=1e-12)


@given(line=lines(), seed=st.integers(0, 2**32 - 1))
def test_the_numbering_of_states_does_not_matter(line: Line, seed: int) -> None:
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(loss)) for loss in line.loss]
    before = [np.arange(1), *orders]
    permuted = Line(
        [loss[order] for loss, order in zip(line.loss, orders, strict=True)],
        line.cost,
        [P[np.ix_(rows, order)] for P, rows, order in zip(line.transition, before, orders, strict=False)],
    )
    assert math.isclose(permuted.solve().value, line.solve().value, abs_tol=1e-9)


@given(line=lines(), loss=st.floats(0.0, 1.0), cost=st.floats(0.0, 1.0))
def test_another_stage_at_the_end_never_hurts(line: Line, loss: float, cost: float) -> None:
    last = np.ones((len(line.loss[-1]), 1))
    longer = Line([*line.loss, np.array([loss])], np.append(line.cost, cost), [*line.transition, last])
    assert longer.solve().value <= line.solve().value + 1e-9


@given(line=lines(), place=st.integers(0, 4))
def test_a_free_useless_stage_changes_nothing(line: Line, place: int) -> None:
    place = min(place, len(line.loss))
    states = 1 if place == 0 else len(line.loss[place - 1])
    # The new stage repeats the state of the one before it, and its answers are worth nothing.
    longer = Line(
        [*line.loss[:place], np.full(states, 10.0), *line.loss[place:]],
        np.insert(line.cost, place, 0.0),
        [*line.transition[:place], np.eye(states), *line.transition[place:]],
    )
    assert math.isclose(longer.solve().value, line.solve().value, abs_tol=1e-9)


def test_a_default_answer_may_be_best() -> None:
    model = tt.Model.line([[0.2, 0.5]], [0.3], [[[0.5, 0.5]]])
    assert tt.solve(model, default_loss=0.1).start().next is None
    assert tt.solve(model, default_loss=0.1).value == 0.1
    assert tt.solve(model).start().next == 0
