"""Timing in turns: what is least, what is noisy, and what `ttamer bench` says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

import ttamer_fast as tt
from ttamer_fast.evaluation.overhead import Overhead, comparing, measure_overhead, synthetic_trace
from ttamer_fast.evaluation.timing import Timing, Timings, taken_in_turns


class Clock:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: Iterator[float]) -> None:
        self.now += next(seconds)


def test_rounds_end_where_both_halves_agree() -> None:
    clock, order = Clock(), []

    def work(name: str, seconds: float) -> None:
        order.append(name)
        clock.now += seconds

    found = taken_in_turns({"a": lambda: work("a", 2.0), "b": lambda: work("b", 1.0)}, 1e9, clock, least_rounds=4)
    assert order == ["a", "b"] * 5  # a round warms up
    assert (found.rounds, found.noise) == (4, 0.0)
    assert found.ratios("a", "b") == (2.0, 2.0, 2.0)
    assert (found["a"].least, found["a"].median) == (2.0, 2.0)


def test_rounds_go_on_while_the_machine_is_busy() -> None:
    clock = Clock()
    drifting = (1.0 + 0.5 * round for round in range(10**6))
    found = taken_in_turns({"a": lambda: clock.takes(drifting)}, 100.0, clock, least_rounds=4)
    assert 4 < found.rounds < 30  # until the seconds have passed
    assert found.noise > 0.5
    endless = (1.0 + 0.5 * round for round in range(10**6))
    assert taken_in_turns({"a": lambda: clock.takes(endless)}, 1e18, clock).rounds == 400


def test_noise_is_the_distance_of_the_least_times_of_both_halves() -> None:
    assert Timing((1.0, 9.0, 9.0, 1.1)).noise == pytest.approx(0.1)
    assert Timing((2.0,)).noise == float("inf")
    both = Timings({"a": Timing((1.0, 1.0, 1.0, 1.0)), "b": Timing((4.0, 2.0, 3.0, 2.0))})
    assert both.noise == 0.0
    assert both.ratios("b", "a") == (2.0, 2.0, 3.25)


@pytest.fixture(scope="module")
def measured() -> Overhead:
    return measure_overhead(trace=synthetic_trace(n=300, k=4), seconds=0.0)


def test_figures_are_of_the_same_requests(measured: Overhead) -> None:
    assert (measured.requests, measured.stages, measured.rounds) == (300, 4, 30)
    assert 1.0 <= measured.stages_run <= 4.0
    assert all(value > 0.0 for key, value in measured.to_dict().items() if key.endswith("_ns") and key != "median_ns")
    assert all(measured.median_ns[name] >= getattr(measured, name) for name in measured.median_ns)
    assert measured.call_ratio == pytest.approx(measured.call_ns / measured.python_ns)


def test_a_noisy_machine_is_said_to_be_one(measured: Overhead) -> None:
    quiet = dataclasses.replace(measured, noise=0.01, floor_ns=20.0, call_ns=30.0)
    assert not quiet.is_noisy
    assert str(quiet).endswith("steady: the least times of the two halves of 30 rounds are up to 1.0 % apart")
    busy = dataclasses.replace(quiet, noise=0.2)
    assert busy.is_noisy
    assert busy.to_dict()["is_noisy"]
    assert "TOO NOISY to tell: the least times of the two halves of 30 rounds are up to 20.0 % apart" in str(busy)
    absurd = dataclasses.replace(quiet, floor_ns=40.0)
    assert absurd.is_noisy
    assert "the floor came out above the call" in str(absurd)


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_the_floor_stops_where_it_is_told_to(k: int) -> None:
    policy = comparing(k)
    for depth in range(1, k + 1):
        run = policy.start()
        asked = 0
        while (stage := run.next) is not None:
            run.observe(float(stage == depth - 1))
            asked += 1
        assert asked == depth


def test_a_policy_that_asks_nothing_is_refused() -> None:
    policy = tt.solve(tt.Model.line([[0.5]], [1.0], [[[1.0]]]), default_loss=0.1)
    with pytest.raises(tt.ValidationError, match="`policy` must consult a stage, got one that ends every request"):
        measure_overhead(policy, tt.Trace([[0.0], [0.0]], [[0.5], [0.5]], [1.0]))
