"""Ctrl-C, or any other signal, ends long work within a second; what a handler raises comes out unchanged."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no SIGALRM")

AFTER = 0.3
"""Seconds of work before the signal."""

WITHIN = 5.0
"""Seconds from the signal to its exception; well below one on an idle machine."""


class SignalError(Exception):
    """What the handler raises."""


def line(states: int, stages: int) -> tt.Model:
    rng = np.random.default_rng(0)
    step = rng.random((states, states))
    step /= step.sum(1, keepdims=True)
    first = np.full((1, states), 1 / states)
    return tt.Model.line([rng.random(states) for _ in range(stages)], [0.01] * stages, [first] + [step] * (stages - 1))


def skip(states: int, stages: int) -> tt.Model:
    rng = np.random.default_rng(0)
    step = rng.random((states, states))
    step /= step.sum(1, keepdims=True)
    loss = [rng.random(states) for _ in range(stages)]
    cost = np.triu(np.full((stages, stages), 0.001))
    return tt.Model.skip(loss, cost, [np.full((1, states), 1 / states)] + [step] * (stages - 1))


def tree(states: int, stages: int) -> tt.Model:
    rng = np.random.default_rng(0)
    step = rng.random((states, states))
    step /= step.sum(1, keepdims=True)
    loss = [rng.random(states) for _ in range(stages)]
    first = np.full((1, states), 1 / states)
    return tt.Model.tree([-1, *range(stages - 1)], loss, [0.001] * stages, [first] + [step] * (stages - 1))


def dag() -> tt.Model:
    states = [158, 158, 158]
    loss = [np.linspace(0.0, 1.0, k) for k in states]
    alone = [np.full((1, k), 1 / k) for k in states]
    return tt.Model.dag([[], [], []], loss, [0.01] * 3, alone)


@pytest.fixture
def alarm() -> Iterator[list[float]]:
    """Says when the signal came."""
    came: list[float] = []

    def handler(number: int, frame: object) -> None:
        came.append(time.monotonic())
        raise SignalError(number)

    before = signal.signal(signal.SIGALRM, handler)
    yield came
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


def for_ever(work: Callable[[], object]) -> NoReturn:
    while True:
        work()


def interrupted(work: Callable[[], object], came: list[float], after: float = AFTER) -> float:
    """Seconds from the signal to its exception; work that ends before is repeated."""
    signal.setitimer(signal.ITIMER_REAL, after)
    with pytest.raises(SignalError, match=str(int(signal.SIGALRM))):
        for_ever(work)
    return time.monotonic() - came[-1]


def trace_of(signal: np.ndarray[Any, np.dtype[np.float64]]) -> tt.Trace:
    return tt.Trace(signal, signal, [1.0] * signal.shape[1])


def verified(model: tt.Model) -> tt.Certificate:
    return tt.verify(model, tt.solve(model))


LONG: dict[str, Callable[[], Callable[[], object]]] = {
    "line": lambda: partial(tt.solve, line(1500, 12)),
    "skip": lambda: partial(tt.solve, skip(500, 12)),
    "tree": lambda: partial(tt.solve, tree(700, 10)),
    "dag": lambda: partial(tt.solve, dag()),
    "no recall": lambda: partial(tt.solve, line(2500, 12), recall=False),
    "verify": lambda: partial(verified, tree(300, 6)),
    "fit": lambda: partial(tt.fit, make_trace(n=100_000, k=6), tradeoff=0.9),
    "within a budget": lambda: partial(tt.fit, make_trace(n=20_000), max_loss=0.3),
    "trace": lambda: partial(trace_of, np.zeros((2_000_000, 4))),
    "digest": lambda: lambda: trace_of(np.zeros((500_000, 4))).digest,
    "compare": lambda: partial(tt.compare, make_trace(n=5000), tradeoff=0.9),
    "signals": lambda: partial(tt.signals.margin, np.broadcast_to(np.zeros(5000), (1_000_000, 5000))),
    "signals of columns": lambda: partial(tt.signals.margin, np.broadcast_to(np.zeros((5000, 1)), (5000, 1_000_000)).T),
    "log-probabilities": lambda: partial(tt.signals.mean_logprob, np.broadcast_to(np.zeros(5000), (1_000_000, 5000))),
    "certify": lambda: partial(tt.fit_certified, make_trace(n=20_000), max_loss=0.4),
}


@pytest.mark.parametrize("name", LONG)
def test_a_signal_ends_the_work(name: str, alarm: list[float]) -> None:
    work = LONG[name]()
    assert interrupted(work, alarm) < WITHIN
    assert len(alarm) == 1


def test_a_signal_ends_replays(alarm: list[float], policy: tt.Policy) -> None:
    signals = np.random.default_rng(0).random((2_000_000, 4))
    want = policy.replay(signals[:10_000]).answer
    assert interrupted(lambda: policy.replay(signals), alarm) < WITHIN
    assert np.array_equal(policy.replay(signals[:10_000]).answer, want)


def test_a_batch_is_whole_after_a_signal(alarm: list[float], policy: tt.Policy) -> None:
    n = 300_000
    signals = np.random.default_rng(0).random((n, 4))
    want = policy.replay(signals)
    batch = policy.start_batch(n)

    def work() -> None:
        for stage in range(4):
            rows = batch.rows(stage)
            batch.observe(stage, signals[rows, stage])

    assert interrupted(work, alarm, 0.01) < WITHIN
    for stage in range(4):
        rows = batch.rows(stage)
        batch.observe(stage, signals[rows, stage])
    assert np.array_equal(batch.answer, want.answer)


def test_loading_never_waits_for_the_end_of_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(tt.ValidationError, match="`path` must be a file, got a pipe or a device"):
        tt.load(pipe)  # nobody writes
    with os.fdopen(os.open(pipe, os.O_RDWR), "wb"), pytest.raises(tt.ValidationError, match="got a pipe or a device"):
        tt.load(pipe)  # somebody may yet


def test_loading_a_large_policy_is_interrupted(alarm: list[float], tmp_path: Path) -> None:
    path = tmp_path / "policy.ttamer"
    policy = tt.solve(dag())
    policy.save(path)
    assert interrupted(lambda: tt.load(path), alarm) < WITHIN
    assert tt.load(path) == policy


def test_the_signal_of_an_interrupt_is_a_keyboard_interrupt() -> None:
    model = line(1500, 12)
    timer = threading.Timer(AFTER, signal.raise_signal, [signal.SIGINT])
    # What a shell starts in the background ignores this signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            for_ever(partial(tt.solve, model))
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    small = line(20, 3)
    assert tt.verify(small, tt.solve(small)).exact


def test_a_handler_that_raises_nothing_stops_nothing() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: came.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        policy = tt.fit(make_trace(n=20_000), tradeoff=0.9)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert came
    assert policy == tt.fit(make_trace(n=20_000), tradeoff=0.9)


def test_a_handler_may_use_the_engine() -> None:
    inside: list[tt.Policy] = []
    trace = make_trace(n=500)
    want = tt.fit(trace, tradeoff=0.9)
    before = signal.signal(signal.SIGALRM, lambda number, frame: inside.append(tt.fit(trace, tradeoff=0.9)))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        while not inside:
            tt.fit(make_trace(n=20_000), tradeoff=0.9)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert inside == [want]


def test_other_threads_run_meanwhile() -> None:
    model = line(1000, 8)
    steps = 0
    is_over = threading.Event()

    def count() -> None:
        nonlocal steps
        while not is_over.wait(0.001):
            steps += 1

    thread = threading.Thread(target=count)
    thread.start()
    tt.solve(model)
    is_over.set()
    thread.join()
    assert steps > 10
