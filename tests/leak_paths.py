"""Every path that a server may take for ever, and how much memory it keeps; `benches/leaks.py` prints a table."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ttamer_fast as tt
from conftest import make_trace
from leak_paths_serving import CALLS
from ttamer_fast._core import Counters, Shadow, prediction_codes

POLICY = tt.fit(make_trace(n=800, k=3, seed=1), tradeoff=0.95)
ENTRY = POLICY.start().next or 0
RUN = POLICY.start()
LOGITS = np.zeros((4, 3), np.float32)
PLAIN = make_trace(n=800, k=3, seed=1)
LATENCY = np.tile([0.1, 0.5, 1.0], (800, 1))
TIMED = tt.fit(tt.Trace(PLAIN.signal, PLAIN.loss, PLAIN.cost, latency=LATENCY), tradeoff=0.95, deadline=True)
FINISHED = POLICY.start()
while FINISHED.next is not None:
    FINISHED.observe(1.0)


class Said:
    """A prediction that can only be compared."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Said) and self.value == other.value

    def __hash__(self) -> int:
        return self.value


class Serving(NamedTuple):
    """Something to call again and again."""

    call: Callable[[], Any]
    calls: int
    """How often a test calls it."""


def observing(*arguments: Any) -> Serving:
    """A report of these arguments, to a run that waits for its first stage."""

    def call() -> None:
        RUN.restart()
        RUN.observe(*arguments)

    return Serving(call, 40_000)


def beginning(*arguments: Any) -> Serving:
    """A first report of these arguments, which ends the request or goes on."""

    def call() -> None:
        run = POLICY.first(*arguments)
        assert run is None or run.next is not None

    return Serving(call, 40_000)


def refused_first(*arguments: Any) -> Serving:
    """A first report that raises."""

    def call() -> None:
        with suppress(Exception):
            POLICY.first(*arguments)
            raise AssertionError("it should be refused")

    return Serving(call, 40_000)


def refused(*arguments: Any, run: Any = RUN, **keywords: Any) -> Serving:
    """A call that raises."""

    def call() -> None:
        run.restart() if run is RUN else None
        with suppress(Exception):
            run.observe(*arguments, **keywords)
            raise AssertionError("it should be refused")

    return Serving(call, 40_000)


def objects() -> None:
    """A whole request of predictions that can only be compared."""
    run = POLICY.start()
    while run.next is not None:
        run.observe(0.5, Said(run.next))


def unfinished() -> None:
    """A request that is given up."""
    POLICY.start().observe(0.5, Said(1))


def batch(prediction: Any) -> Serving:
    """The first report of a batch of four."""
    return Serving(lambda: POLICY.start_batch(4).observe(ENTRY, [0.5] * 4, prediction), 4000)


def replay(prediction: Any) -> Serving:
    """A replay of two rows."""
    signal = np.full((2, 3), 0.5)
    return Serving(lambda: POLICY.replay(signal, prediction), 4000)


def cascade(label: Any) -> Serving:
    """A request through a cascade."""
    served: tt.Cascade[int, Any] = tt.Cascade(
        POLICY, [lambda x: (0.5, label)] * 3, signal=lambda y: y[0], prediction=lambda y: y[1]
    )
    return Serving(lambda: served(0), 4000)


def cut(way: str) -> Serving:
    """A request with an object kept, whose second stage does not report; as a run and in a batch."""

    def call() -> None:
        run = POLICY.start()
        run.observe(0.5, Said(1))
        while run.next is not None:
            getattr(run, way)()

    return Serving(call, 10_000)


def cut_batch(way: str) -> Serving:
    """A batch of four, some of which do not report."""

    def call() -> None:
        batch = POLICY.start_batch(4)
        batch.observe(ENTRY, [0.5] * 4, [Said(1)] * 4)
        while (pending := batch.pending()) is not None:
            stage, rows = pending
            batch.stop(rows) if way == "stop" else getattr(batch, way)(stage, rows)
        assert len(batch.expected_loss) == 4

    return Serving(call, 4000)


def refused_start() -> None:
    """Stages that there are not."""
    with suppress(tt.ValidationError):
        POLICY.start(barred=["nobody"])
        raise AssertionError("it should be refused")


def in_time() -> None:
    """A request that is told what is left, by what is no float too, and whose second stage fails."""
    run = TIMED.start(remaining=9.0, barred=[TIMED.stages[-1]])
    run.observe(0.01, Said(1), np.float32(1.5))
    while run.next is not None:
        run.fail(0.5)
    run.restart(2.0)
    with suppress(tt.ValidationError):
        run.fail("soon")  # type: ignore[arg-type]
        raise AssertionError("it should be refused")


def batch_in_time() -> None:
    """A batch of four that are told what is left."""
    batch = TIMED.start_batch(4, [1.0, 2.0, 3.0, 4.0], [2])
    stage, rows = batch.pending() or (0, [])
    batch.observe(stage, [0.5] * len(rows), None, 1.5)


SHADOW, COUNTERS = Shadow(POLICY), Counters(3, [1.0], [0.5])


def looked_on(said: Any) -> Serving:
    """A request, and a batch of two, that a shadow follows and that are counted; and one that is refused."""
    steps, down, none = [(0, 0.25, said), (1, 0.5, said)], {2: "down"}, dict[int, str]()
    reports: list[tuple[Any, ...]] = [
        (stage, np.arange(2), np.full(2, 0.5), [said, said], None, True, 0.25) for stage in range(2)
    ]
    reports.append((2, np.arange(2), None, None, ["open", "open"], False, None))
    columns = np.ones(2, np.int32), None, np.ones(2), np.ones(2)

    def call() -> None:
        SHADOW.follow(steps, 1, False, 3.0, 0.1, down, none)
        COUNTERS.count(steps, 1, False, 3.0, 0.1, down, none, {0: 0.25}, False)
        SHADOW.follow_batch(*columns, reports)
        COUNTERS.count_batch(*columns, reports, None)
        with suppress(tt.ValidationError):
            SHADOW.follow([(0, 0.25, [])], 0, False, 3.0, 0.1, {}, {7: "open"})  # type: ignore[list-item]
            raise AssertionError("it should be refused")
        assert (len(SHADOW.counts), len(COUNTERS.read().runs)) == (11, 3)

    return Serving(call, 4000)


def refused_logits() -> None:
    """Logits that raise."""
    with suppress(tt.ValidationError):
        tt.signals.margin([[1.0], [1.0, 2.0]])
        raise AssertionError("they should be refused")


PATHS: dict[str, Serving] = {
    "float": observing(0.5),
    "float, int": observing(0.5, 3),
    "int, bool": observing(1, True),
    "None": observing(None, None),
    "text": observing(0.5, "positive"),
    "wide text": observing(0.5, "αβγ"),
    "widest text": observing(0.5, "\U0001f600"),
    "bytes": observing(0.5, b"positive"),
    "tuple": observing(0.5, ("a", 1, (2.5, None))),
    "frozenset": observing(0.5, frozenset({"a", 1})),
    "wide int": observing(0.5, 2**63 + 12345),
    "widest int": observing(10**400, 2**200 + 1),
    "float said": observing(0.5, 0.25),
    "numpy": observing(np.float32(0.5), np.int64(3)),
    "numpy text": observing(np.float64(0.5), np.str_("a")),
    "numpy arrays": observing(np.array([[0.5]]), np.array(3)),
    "masked": observing(np.ma.masked, np.ma.masked),
    "objects": Serving(objects, 10_000),
    "objects, given up": Serving(unfinished, 10_000),
    "objects, failing": cut("fail"),
    "objects, barred": cut("bar"),
    "objects, stopped": cut("stop"),
    "first, ends": beginning(0.999, 1),
    "first, goes on": beginning(0.01, 1),
    "first, text": beginning(0.5, "positive"),
    "first, numpy": beginning(np.float32(0.5), np.int64(3)),
    "first, tuple": beginning(0.01, ("a", 1)),
    "first, object that ends": beginning(0.999, Said(1)),
    "first, object that goes on": beginning(0.01, Said(1)),
    "first, signal refused": refused_first("high", 1),
    "first, prediction refused": refused_first(0.5, []),
    "first, no argument": refused_first(),
    "signal refused": refused("high", 1),
    "prediction refused": refused(0.5, []),
    "no argument": refused(),
    "three arguments": refused(0.5, 1, 2),
    "keyword": refused(0.5, prediction=1),
    "finished": refused(0.5, 1, run=FINISHED),
    "restart": Serving(RUN.restart, 40_000),
    "restart, barred": Serving(lambda: RUN.restart(None, (ENTRY,)), 10_000),
    "start": Serving(POLICY.start, 40_000),
    "start, barred": Serving(lambda: POLICY.start(barred=[ENTRY]), 10_000),
    "start refused": Serving(refused_start, 10_000),
    "seconds": Serving(in_time, 4000),
    "seconds of a batch": Serving(batch_in_time, 4000),
    "seconds refused": refused(0.5, 1, -1.0),
    "attributes": Serving(lambda: (RUN.next, RUN.answer, RUN.cost, RUN.expected_loss, RUN.observe, repr(RUN)), 40_000),
    "batch, ints": batch(np.arange(4)),
    "batch, list": batch([1, 2, 3, 4]),
    "batch, text": batch(np.array(["a", "b", "c", "d"])),
    "batch, mixed": batch(["a", None, 2.5, (1,)]),
    "batch, objects": batch([Said(1), Said(2), Said(1), Said(3)]),
    "batch, failing": cut_batch("fail"),
    "batch, barred": cut_batch("bar"),
    "batch, stopped": cut_batch("stop"),
    "replay, ints": replay(np.arange(6).reshape(2, 3)),
    "replay, floats": replay(np.ones((2, 3))),
    "replay, uint64": replay(np.ones((2, 3), np.uint64)),
    "replay, text": replay(np.array([["a", "b", "c"]] * 2)),
    "replay, rows": replay([["a", None, 2.5], [(1,), Said(1), Said(1)]]),
    "codes": Serving(lambda: prediction_codes([["a", 1, Said(1)]]), 10_000),
    "looked on": looked_on(1),
    "looked on, text": looked_on("positive"),
    "looked on, objects": looked_on(Said(1)),
    "signal": Serving(lambda: tt.signals.margin(LOGITS[0], argmax=True), 40_000),
    "signals": Serving(lambda: tt.signals.margin(LOGITS, argmax=True), 10_000),
    "signals of a list": Serving(lambda: tt.signals.margin([[1.0, 2.0], [0.0, 1.0]]), 10_000),
    "signals refused": Serving(refused_logits, 4000),
    "log-probabilities": Serving(lambda: tt.signals.mean_logprob([[None, -1.0], [-0.5]]), 10_000),
    "cascade, text": cascade("positive"),
    "cascade, objects": cascade(Said(1)),
    **{name: Serving(call, 800) for name, call in CALLS.items()},
}


def resident() -> int:
    """Bytes in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def growth(name: str, calls: int) -> float:
    """Bytes that a call leaves in memory: the least of six tries, as other things grow now and then."""
    call = PATHS[name].call
    least = float("inf")
    for _ in range(calls // 8):
        call()
    for _ in range(6):
        gc.collect()
        before = resident()
        for _ in range(calls):
            call()
        least = min(least, (resident() - before) / calls)
        if least <= 0.0:
            break
    return least
