"""Circuits, told what time it is."""

from __future__ import annotations

import math
import os
import sys
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from ttamer_fast.serving.breaker import Circuit


def permit(circuit: Circuit, now: float) -> int:
    found = circuit.admit(now)
    assert isinstance(found, int), found
    return found


def opened(failures: int = 2, cooldown: float = 10.0, now: float = 100.0) -> Circuit:
    circuit = Circuit(tt.Breaker(failures, cooldown))
    for _ in range(failures):
        circuit.failed(permit(circuit, now), now)
    assert circuit.state == "open"
    return circuit


def test_failures_in_a_row_open_it() -> None:
    circuit = Circuit(tt.Breaker(failures=3))
    for failed in (True, True, False, True, True):
        one = permit(circuit, 0.0)
        if failed:
            circuit.failed(one, 0.0)
        else:
            circuit.succeeded(one)
    assert (circuit.state, circuit.failures) == ("closed", 2)
    circuit.failed(permit(circuit, 1.0), 1.0)
    assert circuit.state == "open"
    assert circuit.admit(2.0) == "not tried: 3 failures in a row, tried again in 9 s"
    assert circuit.admit(10.75) == "not tried: 3 failures in a row, tried again in 0.25 s"


def test_one_call_decides_after_the_cooldown() -> None:
    for answered in (True, False):
        circuit = opened()
        assert isinstance(circuit.admit(109.9), str)
        one = permit(circuit, 110.0)
        assert circuit.state == "half-open"
        assert circuit.admit(110.0) == "not tried: 2 failures in a row, another request is trying it"
        if answered:
            circuit.succeeded(one)
            assert (circuit.state, circuit.failures) == ("closed", 0)
            assert isinstance(circuit.admit(110.0), int)
        else:
            circuit.failed(one, 111.0)
            assert circuit.state == "open"
            assert isinstance(circuit.admit(120.9), str)
            assert isinstance(circuit.admit(121.0), int)


def test_a_call_of_which_nothing_is_known_lets_another_one_decide() -> None:
    circuit = opened()
    circuit.give_back(permit(circuit, 110.0))
    assert circuit.state == "open"
    again = permit(circuit, 110.0)
    assert circuit.state == "half-open"
    circuit.succeeded(again)
    assert circuit.state == "closed"


def test_calls_that_began_before_a_turn_count_nothing() -> None:
    circuit = Circuit(tt.Breaker(failures=1, cooldown=5.0))
    early = [permit(circuit, 0.0) for _ in range(4)]
    circuit.failed(early[0], 0.0)
    circuit.succeeded(early[1])
    circuit.failed(early[1], 4.0)
    assert isinstance(circuit.admit(4.9), str)
    probe = permit(circuit, 5.0)
    circuit.succeeded(early[2])
    circuit.failed(early[2], 5.0)
    circuit.give_back(early[3])
    assert circuit.state == "half-open"
    circuit.succeeded(probe)
    assert circuit.state == "closed"
    circuit.failed(probe, 6.0)
    assert circuit.state == "closed"


def test_a_clock_that_begins_anew_does_not_bar_for_longer_than_the_cooldown() -> None:
    circuit = opened(cooldown=10.0, now=1e6)
    assert circuit.admit(3.0) == "not tried: 2 failures in a row, tried again in 10 s"
    assert isinstance(circuit.admit(13.0), int)


@given(st.lists(st.tuples(st.sampled_from("sfb"), st.floats(0.0, 3.0)), max_size=60), st.integers(1, 4))
def test_never_two_that_decide_and_never_shut_for_ever(told: list[tuple[str, float]], failures: int) -> None:
    circuit, now = Circuit(tt.Breaker(failures, 5.0)), 0.0
    under_way: list[int] = []
    for what, passed in told:
        now += passed
        found = circuit.admit(now)
        if isinstance(found, int):
            under_way.append(found)
        if circuit.state == "half-open":
            assert isinstance(circuit.admit(now), str)
        if under_way:
            one = under_way.pop(0)
            if what == "f":
                circuit.failed(one, now)
            else:
                {"s": circuit.succeeded, "b": circuit.give_back}[what](one)
    for one in under_way:
        circuit.give_back(one)
    assert isinstance(circuit.admit(now + 5.0), int)


def test_many_threads_and_one_call_that_decides() -> None:
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(50):
            circuit = opened(cooldown=1.0)
            gate, found = threading.Barrier(4), list[int | str]()

            def ask(gate: threading.Barrier = gate, found: list[Any] = found, circuit: Circuit = circuit) -> None:
                gate.wait()
                found.append(circuit.admit(101.0))

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sum(isinstance(one, int) for one in found) == 1
    finally:
        sys.setswitchinterval(switching)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_no_call_under_way() -> None:
    circuit = opened()
    permit(circuit, 110.0)
    with circuit._lock:  # as another thread may hold it
        child = os.fork()
        if child == 0:
            os._exit(0 if circuit.state == "open" and isinstance(circuit.admit(110.0), int) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert circuit.state == "half-open"


@pytest.mark.parametrize(
    ("failures", "cooldown", "message"),
    [
        (0, 1.0, "`failures` must be an integer of at least 1, got 0"),
        (2.0, 1.0, "`failures` must be an integer of at least 1, got 2.0"),
        (True, 1.0, "`failures` must be an integer of at least 1, got True"),
        (1, 0.0, "`cooldown` must be above 0 and finite, got 0.0"),
        (1, math.inf, "`cooldown` must be above 0 and finite, got inf"),
        (1, "1", "`cooldown` must be a number, got '1'"),
    ],
)
def test_breakers_that_cannot_be(failures: Any, cooldown: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError) as caught:
        tt.Breaker(failures, cooldown)
    assert str(caught.value) == message
