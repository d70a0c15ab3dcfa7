"""`policy.first` decides what `start` and `observe` decide, and makes no run where the first report is the last."""

from __future__ import annotations

import gc
import inspect
import math
import sys
import threading
import warnings
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from conftest import make_trace
from serving_policies import KINDS, policy_of

POLICY = tt.fit(make_trace(n=600, k=4, seed=5, kind="exits"), tradeoff=0.97, graph="line")
STATES = (0.0, 1.0, 2.0, -1.0)
SIGNALS = (0.01, 0.3, 0.5, 0.9, 0.99, 0.999, math.nan, math.inf, -math.inf, -0.0, *STATES)


class Said:
    """A prediction that can only be compared."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Said) and self.value == other.value


PREDICTIONS = (
    *((), (None,), (0,), (1,), (-7,), (2**80,), ("positive",), ("αβγ",), (b"x",), (0.25,), (math.nan,)),
    *(((1, "a"),), (frozenset({1}),), (np.int32(1),), (np.str_("a"),), (Said(1),), (True,), (Decimal("0.1"),)),
)


def state(run: tt.Run) -> tuple[Any, ...]:
    return run.next, run.answer, run.cost, run.expected_loss, repr(run)


def finished(run: tt.Run, said: tuple[Any, ...]) -> tuple[Any, ...]:
    """How it ends where all other stages report this, and where all say what has been said already."""
    while run.next is not None:
        run.observe(0.4 + 0.1 * run.next, *said)
    return state(run)


def check(policy: tt.Policy, signal: Any, said: tuple[Any, ...]) -> bool:
    """Whether the request goes on."""
    alone = policy.start()
    entry = alone.next
    alone.observe(signal, *said)
    run = policy.first(signal, *said)
    if run is None:
        assert (alone.next, alone.answer) == (None, entry)
        return False
    assert state(run) == state(alone)
    assert alone.next is not None or alone.answer != entry
    assert finished(run, said) == finished(alone, said)
    return True


@pytest.mark.filterwarnings("ignore::ttamer_fast.ServingWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_start_and_observe(kind: str) -> None:
    policy = policy_of(kind)
    if policy.start().next is None:
        with pytest.raises(tt.RunFinishedError):
            policy.first(0.5)
        with pytest.raises(tt.RunFinishedError):
            policy.first(0.5, Said(1))
        return
    for _ in range(3):  # the first requests of a policy are looked at, and go another way
        goes_on = [check(policy, signal, said) for signal in SIGNALS for said in PREDICTIONS]
    assert any(goes_on) or kind == "static"


@pytest.mark.filterwarnings("ignore::ttamer_fast.ServingWarning")
@given(signal=st.floats(), said=st.none() | st.integers() | st.text() | st.floats())
def test_whatever_is_reported(signal: float, said: Any) -> None:
    for kind in ("exits", "models", "coin", "declining", "skip"):
        check(policy_of(kind), signal, (said,))


@pytest.mark.filterwarnings("ignore::ttamer_fast.ServingWarning")
def test_a_request_may_end_with_another_answer() -> None:
    bad = tt.solve(tt.Model.line([[0.0, 1.0]], [0.05], [[[0.5, 0.5]]]), default_loss=0.3).first(1.0)
    assert bad is not None
    assert (bad.next, bad.answer, bad.expected_loss, bad.cost) == (None, None, 0.3, 0.05)
    with pytest.raises(tt.RunFinishedError):
        bad.observe(0.5)
    rng = np.random.default_rng(3)
    hard = rng.random(3000) < 0.4
    loss = np.column_stack([np.full(3000, np.inf), hard * 0.8, hard * 0.1])
    signal = np.column_stack([hard + 0.1 * rng.random(3000), 1.0 - hard * 0.5, rng.random(3000)])
    trace = tt.Trace(signal, loss, cost=[0.01, 0.3, 2.0], kind="models")
    policy = tt.fit(trace, tradeoff=0.8, default_loss=0.2)
    if policy.start().next == 0:  # a probe is never the answer
        for value in (0.0, 0.5, 1.0, 1.1, math.nan):
            run = policy.first(value)
            assert run is not None
            check(policy, value, ())


def test_time_is_infinite_where_the_policy_knows_it() -> None:
    trace = make_trace(n=600, k=3, seed=2)
    timed = tt.Trace(trace.signal, trace.loss, trace.cost, latency=np.tile([0.1, 0.5, 1.0], (600, 1)))
    policy = tt.fit(timed, tradeoff=0.95, deadline=True)
    for signal in SIGNALS:
        check(policy, signal, ())


def test_types_of_signals() -> None:
    for signal in (1, True, None, np.float32(0.5), np.float16(0.9), np.int8(1), Decimal("0.5"), np.array([[0.5]])):
        check(POLICY, signal, (1,))


def test_bad_reports_are_refused_as_those_of_a_run() -> None:
    refused: list[tuple[Any, ...]] = [("high",), (0.5, []), ([0.1, 0.2], 1), (1j,), (0.5, {1: 2})]
    for arguments in (*refused, (np.datetime64("2020"),)):
        run = POLICY.start()
        with pytest.raises(tt.ValidationError) as expected:
            run.observe(*arguments)
        with pytest.raises(tt.ValidationError) as found:
            POLICY.first(*arguments)
        assert str(found.value) == str(expected.value)


def test_how_it_is_called() -> None:
    first: Any = POLICY.first
    for arguments in ((), (0.5, 1, None)):
        with pytest.raises(TypeError, match=r"^first\(\) takes a signal and an optional prediction, by position, got"):
            first(*arguments)
    with pytest.raises(TypeError):
        first(signal=0.5)
    with pytest.raises(TypeError):
        tt.Policy.first("no policy", 0.5)  # type: ignore[arg-type]
    assert str(inspect.signature(tt.Policy.first)) == "(self, signal, prediction=None, /)"


def test_what_conversions_raise_passes() -> None:
    class Raising:
        def __float__(self) -> float:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        POLICY.first(Raising(), 1)
    check(POLICY, 0.01, (1,))


def test_a_conversion_may_begin_other_requests() -> None:
    class Calling:
        def __float__(self) -> float:
            check(POLICY, 0.01, (Said(1),))
            gc.collect()
            return 0.01

    check(POLICY, Calling(), (Said(2),))


def test_the_first_requests_are_looked_at() -> None:
    trace = make_trace(n=600, k=4, seed=5)
    policy = tt.fit(trace, tradeoff=0.95)
    with pytest.warns(tt.ServingWarning, match="reports no prediction"):
        policy.first(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.first(0.5)
    again = tt.fit(trace, tradeoff=0.95)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(tt.ServingWarning):
            again.first(0.5)
        run = again.first(0.01, 1)
        assert run is not None
        with pytest.raises(tt.ServingWarning):
            run.observe(1e9, "text")


def test_no_object_is_made_where_the_request_ends() -> None:
    ending = 0
    for kind in KINDS:
        policy = policy_of(kind)
        if policy.start().next is None:
            continue
        for signal in SIGNALS:
            for _ in range(70):
                ends = policy.first(signal, 1) is None
            if not ends:
                continue
            ending += 1
            before = sys.getallocatedblocks()
            for _ in range(1000):
                assert policy.first(signal, 1) is None
            assert abs(sys.getallocatedblocks() - before) < 50
    assert ending > 20


def test_runs_keep_the_policy_alive_and_more_of_them_than_are_kept() -> None:
    policy = tt.Policy.from_bytes(POLICY.to_bytes())
    runs = [policy.first(0.01, 1) for _ in range(500)]
    del policy
    gc.collect()
    alone = POLICY.first(0.01, 1)
    assert alone is not None
    for run in runs:
        assert run is not None
        assert state(run) == state(alone)
    del run, runs
    assert [state(run) for run in [POLICY.first(0.01, 1)] if run is not None] == [state(alone)]


def test_threads_share_a_policy() -> None:
    signals = np.random.default_rng(1).random((400, 4)).tolist()

    def decide() -> list[Any]:
        ends = []
        for row in signals:
            run = POLICY.first(row[0], "a")
            while run is not None and run.next is not None:
                run.observe(row[run.next], "b")
            ends.append(None if run is None else state(run))
        return ends

    expected, found = decide(), []
    threads = [threading.Thread(target=lambda: found.append(decide())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
