"""Attempts, told what time it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from ttamer_fast.serving import limits
from ttamer_fast.serving.asking import Asked, none_of
from ttamer_fast.serving.calls import Call
from ttamer_fast.serving.failures import RETURNED_NONE, reason_of
from ttamer_fast.serving.limits import Attempts, Lost, check_deadline, may_repeat, pause

ANSWER = ("output", 0.5, None)
NO_END = math.inf


def call(**given: Any) -> Call:
    return Call(tt.Stage(abs, signal=float, **given), "small", "stage 0 ('small')")


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw gives the most that may be drawn."""

    class Most:
        def uniform(self, least: float, most: float) -> float:
            assert least == 0.0
            return most

    monkeypatch.setattr(limits, "_random", Most())


def test_pauses_double_up_to_a_second() -> None:
    assert [pause(0.05, retry) for retry in (1, 2, 3, 4)] == [0.05, 0.1, 0.2, 0.4]
    assert [pause(0.05, retry) for retry in (6, 7, 1000)] == [1.0, 1.0, 1.0]
    assert [pause(0.0, retry) for retry in (1, 1000)] == [0.0, 0.0]


def test_pauses_are_drawn_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    drawn = [pause(0.4, 2) for _ in range(2000)]
    assert min(drawn) >= 0.0
    assert max(drawn) <= 0.8
    assert sorted(drawn)[1000] == pytest.approx(0.4, abs=0.08)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (ANSWER, False),
        ("OSError: busy", True),
        (RETURNED_NONE, False),
        (none_of(3, "OSError: busy"), True),
        (none_of(3, RETURNED_NONE), False),
        (Asked({0: RETURNED_NONE}, ["y"], np.ones(1), None), False),
        (Asked({0: RETURNED_NONE, 1: "OSError: no signal"}, [], np.empty(0), None), True),
        (Asked({}, [], np.empty(0), None), False),
        (reason_of(tt.PermanentError("no such account")), False),
        (reason_of(tt.ValidationError("`x` must be text")), False),
        (none_of(3, reason_of(tt.PermanentError())), False),
        (reason_of(OSError("busy")), True),
    ],
)
def test_what_may_be_repeated(reply: Any, expected: bool) -> None:
    assert may_repeat(reply) is expected


def test_as_many_retries_as_allowed() -> None:
    attempts = Attempts(call(retries=2, backoff=0.5), 10.0, NO_END)
    assert attempts.is_first
    for wait in (0.5, 1.0):
        assert attempts.begin(10.0) is None
        assert attempts.ended("OSError: busy", 11.0) == wait
        assert not attempts.is_first
    assert attempts.begin(12.0) is None
    assert attempts.ended("OSError: busy", 12.0) is None
    again = Attempts(call(retries=2), 0.0, NO_END)
    assert again.begin(0.0) is None
    assert again.ended(ANSWER, 0.0) is None


@pytest.mark.parametrize(("timeout", "end"), [(2.0, NO_END), (None, 12.0), (9.0, 12.0)])
def test_no_attempt_that_could_not_begin_in_time(timeout: float | None, end: float) -> None:
    """2 seconds in all: the second attempt begins after half a second, the third could not."""
    attempts = Attempts(call(retries=5, backoff=0.5, timeout=timeout), 10.0, end)
    assert attempts.limit == 12.0
    assert attempts.begin(10.0) is None
    assert attempts.ended("OSError: first", 10.5) == 0.5
    assert attempts.begin(11.0) is None
    assert attempts.ended("OSError: second", 11.0) is None
    late = Attempts(call(retries=5, backoff=0.5, timeout=timeout), 10.0, end)
    late.begin(10.0)
    late.ended("OSError: first", 10.5)
    assert late.begin(12.0) == "OSError: first"


def test_every_attempt_is_a_call_of_the_circuit() -> None:
    one = call(retries=9, breaker=tt.Breaker(failures=3, cooldown=10.0), backoff=0.0)
    assert one.circuit is not None
    attempts = Attempts(one, 0.0, NO_END)
    for _ in range(3):
        assert attempts.begin(0.0) is None
        assert attempts.ended("OSError: busy", 0.0) == 0.0
    assert one.circuit.state == "open"
    assert attempts.begin(0.0) == "OSError: busy"
    refused = Attempts(one, 4.0, NO_END).begin(4.0)
    assert isinstance(refused, Lost)
    assert (refused.how, refused.reason) == ("barred", "not tried: 3 failures in a row, tried again in 6 s")


@pytest.mark.parametrize(
    ("reply", "failures"), [(ANSWER, 0), ("OSError: busy", 1), (RETURNED_NONE, 1), (none_of(2, RETURNED_NONE), 1)]
)
def test_what_counts_as_a_failure_of_the_stage(reply: Any, failures: int) -> None:
    one = call(breaker=tt.Breaker())
    assert one.circuit is not None
    attempts = Attempts(one, 0.0, 1.0)
    attempts.begin(0.0)
    attempts.ended(reply, 0.5)
    attempts.give_back()
    assert one.circuit.failures == failures
    late = Attempts(one, 0.0, 1.0)
    late.begin(0.0)
    late.ended("OSError: cut off", 1.0)
    assert one.circuit.failures == failures


def test_a_time_out_counts_and_lets_another_one_try() -> None:
    one = call(timeout=0.25, breaker=tt.Breaker(failures=1, cooldown=1.0))
    assert one.circuit is not None
    attempts = Attempts(one, 0.0, NO_END)
    attempts.begin(0.0)
    lost = attempts.timed_out(0.25)
    assert (lost.how, lost.reason, one.circuit.state) == ("failed", "time-out after 0.25 s", "open")
    trying = Attempts(one, 1.25, NO_END)
    assert trying.begin(1.25) is None
    trying.give_back()
    trying.give_back()
    assert Attempts(one, 1.25, NO_END).begin(1.25) is None


def test_deadlines() -> None:
    assert [check_deadline(one) for one in (None, math.inf, 2, np.float32(0.5))] == [math.inf, math.inf, 2.0, 0.5]  # type: ignore[arg-type]
    wrong: Any
    for wrong in (0, 0.0, -1.0, math.nan, -math.inf):
        with pytest.raises(tt.ValidationError, match=r"^`deadline` must be above 0 seconds, or None, got "):
            check_deadline(wrong)
    for wrong in ("1", True, [1.0, 2.0], np.ones(1)):
        with pytest.raises(tt.ValidationError, match=r"^`deadline` must be a number, got "):
            check_deadline(wrong)
