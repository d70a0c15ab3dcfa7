"""A run under free use: whatever its arguments do, a report is taken in once, or refused and nothing has changed."""

from __future__ import annotations

import copy
import gc
import inspect
import math
import pickle
import threading
import weakref
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace

pd: Any = pytest.importorskip("pandas")

TRACE = make_trace(n=600, k=4, seed=5, kind="exits")
POLICY = tt.fit(TRACE, tradeoff=0.97, graph="line")


class Calling:
    """An argument whose conversion calls something."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def __float__(self) -> float:
        self.call()
        return 0.5

    def __index__(self) -> int:
        self.call()
        return 1


class Said:
    """A prediction that can only be compared, and calls something then."""

    def __init__(self, value: int, call: Callable[[], Any] = lambda: None) -> None:
        self.value, self.call = value, call

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        call, self.call = self.call, lambda: None
        call()
        return isinstance(other, Said) and self.value == other.value


def started() -> tt.Run:
    run = POLICY.start()
    assert run.next == 0
    return run


def finish(run: tt.Run) -> None:
    while run.next is not None:
        run.observe(0.999, 0)


def state(run: tt.Run) -> tuple[Any, ...]:
    return run.next, run.answer, run.cost, run.expected_loss


def test_a_report_of_a_run_that_its_argument_finishes_is_not_dropped_in_silence() -> None:
    for report in (lambda run: (Calling(lambda: finish(run)), 1), lambda run: (0.5, Calling(lambda: finish(run)))):
        run = started()
        with pytest.warns(RuntimeWarning, match="has finished the run: this report was not taken in"):
            assert run.observe(*report(run)) is None
        alone = started()
        finish(alone)
        assert state(run) == state(alone)


@pytest.mark.parametrize("meddle", ["observe", "restart", "restart and observe"])
def test_a_report_never_reaches_another_stage_or_request(meddle: str) -> None:
    def change(run: tt.Run) -> None:
        if "restart" in meddle:
            run.restart()
        if "observe" in meddle:
            run.observe(0.01, 0)

    for make in (
        lambda run: (Calling(lambda: change(run)), 1),
        lambda run: (0.02, Calling(lambda: change(run))),
        lambda run: (0.02, Said(1, lambda: change(run))),
    ):
        run, alone = started(), started()
        if meddle == "restart and observe":
            run.observe(0.01, 0)
        change(alone)
        assert alone.next is not None
        with pytest.raises(tt.ValidationError, match="must not observe or restart the run while they are converted"):
            run.observe(*make(run))
        assert state(run) == state(alone)
        run.observe(0.5, 1)
        alone.observe(0.5, 1)
        assert state(run) == state(alone)


def test_an_argument_may_look_at_the_run_and_at_others() -> None:
    run, other = started(), started()
    alone = started()
    assert run.observe(Calling(lambda: [run.next, repr(run), run.cost, other.observe(0.5)]), 1) == alone.observe(0.5, 1)
    assert state(run) == state(alone)


def test_an_argument_may_collect_and_let_go() -> None:
    runs = [started()]

    def let_go() -> None:
        runs.clear()
        gc.collect()

    assert runs[0].observe(Calling(let_go), 1) in (1, None)


def test_objects_are_compared_within_the_request_and_let_go() -> None:
    same, other = started(), started()
    ints = started()
    for value in (1, 1, 2):
        if None in (same.next, ints.next):
            break
        same.observe(0.01, Said(value))
        ints.observe(0.01, 5000 + value)  # no class has such a number
        assert state(same) == state(ints)
    said = Said(1)
    seen = weakref.ref(said)
    other.observe(0.01, said)
    del said
    assert seen() is not None
    other.restart()
    assert seen() is None
    last = Said(2)
    seen = weakref.ref(last)
    other.observe(0.01, last)
    del last
    finish(other)
    assert other.next is None
    assert seen() is None
    started().observe(0.01, said := Said(3))
    seen = weakref.ref(said)
    del said
    assert seen() is None


def test_a_circle_through_a_run_is_collected() -> None:
    run = started()
    said = Said(1)
    said.run = run  # type: ignore[attr-defined]
    run.observe(0.01, said)
    assert run.next is not None
    seen = weakref.ref(said)
    del run, said
    gc.collect()
    assert seen() is None


def test_runs_without_objects_are_not_the_collector_s_business() -> None:
    run = started()
    run.observe(0.01, 1)
    assert not gc.is_tracked(run)
    run.restart()
    run.observe(0.01, Said(1))
    assert gc.is_tracked(run)
    finish(run)
    assert not gc.is_tracked(run)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError, KeyError, SystemExit])
def test_what_conversions_raise_passes(error: type[BaseException]) -> None:
    def fail() -> None:
        raise error("mine")

    for report in ((Calling(fail), 1), (0.5, Calling(fail)), (0.5, Said(1, fail))):
        run = started()
        before = state(run)
        with pytest.raises(error, match="mine"):
            run.observe(*report)
        assert state(run) == before


NUMBERS: list[Any] = [
    True,
    1,
    10**400,
    None,
    np.float16(0.5),
    np.float64(0.5),
    np.longdouble(0.5),
    np.int8(1),
    np.bool_(True),
    Decimal("0.5"),
    Fraction(1, 2),
    np.array(0.5),
    np.array([[0.5]], np.float32),
    np.ma.masked,
    np.ma.array([1.0], mask=True),
    pd.NA,
]


@pytest.mark.parametrize("signal", NUMBERS, ids=repr)
def test_signals_of_every_type(signal: Any) -> None:
    try:
        number = math.nan if signal is None or signal is pd.NA else float(np.ma.filled(signal, math.nan).reshape(()))
    except (AttributeError, TypeError, OverflowError):
        number = math.nan if signal == 10**400 else float(signal)
    run, alone = started(), started()
    assert run.observe(signal) == alone.observe(number)
    assert state(run) == state(alone)


WRONG: list[Any] = [
    "0.5",
    b"0.5",
    bytearray(b"1"),
    1j,
    np.complex64(1),
    np.str_("0.5"),
    np.datetime64(1, "s"),
    np.timedelta64(1, "s"),
    np.array("0.5"),
    np.array([0.5, 0.6]),
    np.array([1j]),
    [0.5],
    ...,
    {},
]


@pytest.mark.parametrize("signal", WRONG, ids=repr)
def test_what_is_no_number_is_no_signal(signal: Any) -> None:
    run = started()
    before = state(run)
    with pytest.raises(tt.ValidationError, match=r"^`signal` must be a real number or None, got "):
        run.observe(signal, 1)
    assert state(run) == before


def test_what_is_not_hashable_is_no_prediction() -> None:
    run = started()
    before = state(run)
    refused: list[Any] = [[1], {}, {1}, bytearray(), (1, [2]), np.zeros(2)]
    for said in refused:
        with pytest.raises(tt.ValidationError, match=r"^`prediction` must be "):
            run.observe(0.5, said)
    assert state(run) == before


def test_how_it_is_called() -> None:
    run = started()
    observe: Any = run.observe
    calls: list[Callable[[], Any]] = [
        lambda: observe(),
        lambda: observe(0.5, 1, None, 2),
        lambda: observe(signal=0.5),
        lambda: observe(0.5, prediction=1),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="an optional prediction and optional seconds left, by position, got"):
            call()
    assert run.next == 0
    for called in (run, run.observe):
        assert str(inspect.signature(called)) == "(signal, prediction=None, remaining=None, /)"
    double = mock.create_autospec(run, instance=True)
    double.observe(0.5, 1)
    with pytest.raises(TypeError):
        inspect.signature(run).bind(1, 2, 3, 4)


def test_it_is_neither_pickled_nor_copied() -> None:
    run = started()
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="a Run is neither pickled nor copied"):
            way(run)
    with pytest.raises(TypeError):
        weakref.ref(run)


def test_threads_that_meet_in_a_conversion() -> None:
    run = started()
    inside, done = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        assert done.wait(10)

    caught: list[BaseException] = []

    def report() -> None:
        try:
            run.observe(Calling(wait), 1)
        except tt.ValidationError as error:
            caught.append(error)

    thread = threading.Thread(target=report)
    thread.start()
    assert inside.wait(10)
    run.observe(0.01, 1)
    done.set()
    thread.join()
    alone = started()
    alone.observe(0.01, 1)
    assert len(caught) == 1
    assert state(run) == state(alone)
