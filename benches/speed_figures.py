"""What the page of speed measures: every figure beside what limits it and what else does the same, in turns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

import ttamer_fast as tt
from speed import SERVED, THRESHOLD, exits, predictions, six_exits
from ttamer_fast.evaluation.overhead import measure_overhead
from ttamer_fast.evaluation.timing import Timings, taken_in_turns

sys.path.append(str(Path(__file__).resolve().parent / "contest"))

from cascade_routing import DRAWS, options_of, routed
from hands import Hands

Floats = NDArray[np.float64]
Work = Callable[[], object]


@dataclass(frozen=True)
class Beside:
    """Something that was done in the same rounds."""

    what: str
    value: float


@dataclass(frozen=True)
class Figure:
    """What one thing takes, its limit, and its peers; all in `unit`."""

    what: str
    unit: str
    value: float
    limit: Beside | None
    peers: tuple[Beside, ...]
    command: str
    noise: float


def figure(
    timings: Timings, ours: str, units: float, what: str, unit: str, names: Mapping[str, str], command: str
) -> Figure:
    """From what was timed: `names` says of the limit (first, if it is called `limit`) and the peers what they are."""
    scale = {"ns": 1e9, "µs": 1e6, "ms": 1e3, "s": 1.0}[unit] / units
    beside = {name: Beside(text, scale * timings[name].least) for name, text in names.items()}
    peers = tuple(found for name, found in beside.items() if name != "limit")
    noise = max(timings[name].noise for name in (ours, *names))
    return Figure(what, unit, scale * timings[ours].least, beside.get("limit"), peers, command, noise)


def calls(seconds: float) -> Iterator[Figure]:
    """Requests from a Python loop."""
    trace, policy = six_exits()
    found = measure_overhead(policy, trace, seconds)
    command = "python benches/speed_page.py --only calls"
    compares = Beside("a policy that only compares: interpreter and binding", found.floor_ns)
    function = Beside("a Python function `c >= t`", found.python_ns)
    what = "call: `start` and `observe`, a consulted stage"
    yield Figure("core: an observation, start included", "ns", found.core_ns, None, (), command, found.noise)
    yield Figure(what, "ns", found.call_ns, compares, (function,), command, found.noise)
    yield from first_calls(trace, policy, seconds)
    yield from tenants(seconds)


def first_calls(trace: tt.Trace, policy: tt.Policy, seconds: float) -> Iterator[Figure]:
    """Requests whose first report is given to `policy.first`, where there is one."""
    first = getattr(policy, "first", None)
    if first is None:
        return
    signals = [tuple(row) for row in trace.signal[:SERVED].tolist()]
    said = [tuple(row) for row in predictions(trace)[:SERVED].tolist()]
    depths = policy.replay(trace.signal[:SERVED], predictions(trace)[:SERVED]).consulted.sum(axis=1).tolist()

    def serve() -> None:
        for signal, prediction in zip(signals, said, strict=True):
            run = first(signal[0], prediction[0])
            if run is not None:
                stage, observe = run.next, run.observe
                while stage is not None:
                    stage = observe(signal[stage], prediction[stage])

    def is_sure(signal: float) -> bool:
        return signal >= THRESHOLD

    def functions() -> None:
        for signal, depth in zip(signals, depths, strict=True):
            stage = 0
            while stage < depth:
                is_sure(signal[stage])
                stage += 1

    timings = taken_in_turns({"ours": serve, "function": functions}, seconds)
    names = {"function": "a Python function `c >= t`"}
    what = "call: `first`, then `observe`, a consulted stage"
    yield figure(timings, "ours", sum(depths), what, "ns", names, "python benches/speed_page.py --only calls")


def tenants(seconds: float, count: int = 3_000) -> Iterator[Figure]:
    """Requests each of which is decided by another policy: caches are cold."""
    trace = exits(3_000, 6)
    stored = [
        tt.fit(
            trace.rows(np.random.default_rng(seed).permutation(3_000)[:1_500]), tradeoff=0.97, graph="line"
        ).to_bytes()
        for seed in range(20)
    ]
    many = [tt.Policy.from_bytes(stored[at % len(stored)]) for at in range(count)]
    signals, said = trace.signal.tolist(), predictions(trace).tolist()

    def serve(policies: Sequence[tt.Policy]) -> Work:
        def served() -> None:
            for policy, signal, prediction in zip(policies, signals, said, strict=False):
                run = policy.start()
                stage, observe = run.next, run.observe
                while stage is not None:
                    stage = observe(signal[stage], prediction[stage])

        return served

    timings = taken_in_turns({"ours": serve(many), "one": serve([many[0]] * count)}, seconds)
    names = {"one": "one policy for all"}
    what = f"cold: a request, {count:,} policies in turn"
    yield figure(timings, "ours", count, what, "ns", names, "python benches/speed_page.py --only calls")


def batches(seconds: float) -> Iterator[Figure]:
    """First observations of many requests."""
    _, policy = six_exits()
    n = 100_000
    rng = np.random.default_rng(2)
    signal, prediction = rng.random(n), rng.integers(0, 2, n)
    knots = np.linspace(0.0, 1.0, 20)
    curve = np.sort(rng.random(20))
    stage = policy.start().next
    assert stage is not None

    def observe(said: NDArray[np.int64] | None) -> Work:
        return lambda: policy.start_batch(n).observe(stage, signal, said)

    work: dict[str, Work] = {
        "with": observe(prediction),
        "without": observe(None),
        "limit": signal.sum,
        "numpy": lambda: (signal >= THRESHOLD).nonzero(),
        "calibrated": lambda: (np.interp(signal, knots, curve) >= THRESHOLD).nonzero(),
    }
    timings = taken_in_turns({name: often(each) for name, each in work.items()}, seconds)
    names = {
        "limit": "to read the signals once, `numpy.sum`",
        "numpy": "numpy `(s >= t).nonzero()`",
        "calibrated": "the same on a calibrated signal, `numpy.interp`",
    }
    command = "python benches/speed_page.py --only batches"
    for name, what in (("with", "predictions"), ("without", "no predictions")):
        yield figure(timings, name, n * 10, f"batch: a request's first observation, {what}", "ns", names, command)


def often(work: Work, times: int = 10) -> Work:
    """What is too short to be timed alone."""

    def repeated() -> None:
        for _ in range(times):
            work()

    return repeated


def replays(seconds: float) -> Iterator[Figure]:
    """Recorded traces on all cores, beside one threshold, a calibrated chain, and cascade routing."""
    _, policy = six_exits()
    n, k = 500_000, 6
    rng = np.random.default_rng(3)
    signal = rng.random((n, k))
    prediction = (signal > 0.5).astype(np.int64)
    knots = np.linspace(0.0, 1.0, 20)
    curves = np.sort(rng.random((k, 20)), axis=1)

    def exits_of(sure: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.where(sure.any(axis=1), sure.argmax(axis=1), k - 1)

    def calibrated() -> NDArray[np.int64]:
        columns = [np.interp(signal[:, stage], knots, curves[stage]) for stage in range(k)]
        return exits_of(np.stack(columns, axis=1) >= THRESHOLD)

    work: dict[str, Work] = {
        "ours": lambda: policy.replay(signal, prediction),
        "limit": lambda: (signal.sum(), prediction.sum()),
        "numpy": lambda: exits_of(signal >= THRESHOLD),
        "calibrated": calibrated,
    }
    timings = taken_in_turns(work, seconds, least_rounds=6)
    names = {
        "limit": "to read signals and predictions once, `numpy.sum`, one core",
        "numpy": "numpy, one threshold for all exits",
        "calibrated": "a calibrated chain: `numpy.interp` at each exit, then one threshold",
    }
    command = "python benches/speed_page.py --only replays"
    yield figure(timings, "ours", n, f"replay: a request, {k} exits", "ns", names, command)
    yield from routing(seconds)


def routing(seconds: float, n: int = 2_000) -> Iterator[Figure]:
    """Cascade routing decides anew after each answer by an expected maximum; estimates of quality are not counted."""
    trace = exits(n, 6)
    policy = tt.fit(trace, tradeoff=0.97, graph="line")
    signal, prediction = np.asarray(trace.signal), predictions(trace)
    hands = Hands.of(trace)
    noise = 0.1 * np.random.default_rng(0).standard_normal((DRAWS, trace.k))

    def route() -> object:
        options = {hand: options_of(hands, hand, signal, noise) for hand in hands.all}
        return routed(hands, options, 0.97, (1.0,) * len(hands.order), trace.k)

    timings = taken_in_turns(
        {"ours": lambda: policy.replay(signal, prediction), "routing": route}, seconds, least_rounds=6
    )
    names = {"routing": f"cascade routing in numpy, {DRAWS} draws, its estimates of quality not counted"}
    what = f"replay: a request, 6 exits, {n:,} requests"
    yield figure(timings, "ours", n, what, "ns", names, "python benches/speed_page.py --only replays")


def solves(seconds: float) -> Iterator[Figure]:
    """Exact models, beside the matrix products that a plain recursion takes."""
    rng = np.random.default_rng(4)
    stages, states = 12, 1_000
    grid = rng.random(states)
    loss = [rng.permutation(grid) for _ in range(stages)]
    rows = [rng.dirichlet(np.full(states, 0.5), size=states if v else 1) for v in range(stages)]
    stay = [rows[0], *[0.1 * P + 0.9 * np.eye(states) for P in rows[1:]]]
    i, j = np.indices((stages, stages))
    jumps = np.triu(0.02 * rng.random((stages, stages)) + 0.005 * (j - i))
    left, right = rng.random((states, states)), rng.random((states, states))
    pairs = stages * (stages - 1) // 2
    place = rng.integers(0, states, size=(states, 10))
    thin = scipy.sparse.csr_array(
        (rng.dirichlet(np.ones(10), states).ravel(), place.ravel(), np.arange(0, 10 * states + 1, 10)), (states, states)
    )
    thin.sum_duplicates()
    models = {
        f"line, {stages} stages, {states:,} states": (tt.Model.line(loss, jumps[0], rows), stages - 1),
        "the same, 10 non-zeros a row": (tt.Model.line(loss, jumps[0], [rows[0]] + [thin] * (stages - 1)), stages - 1),
        "skip graph of the same": (tt.Model.skip(loss, jumps, rows), pairs),
        "skip graph, states stay with probability 0.9": (tt.Model.skip(loss, jumps, stay), pairs),
    }
    for what, (model, products) in models.items():
        certificate = tt.verify(model, tt.solve(model))
        assert certificate.exact, certificate
        timings = taken_in_turns(
            {"ours": partial(tt.solve, model), "products": lambda: left @ right}, seconds, least_rounds=4
        )
        names = {"products": f"numpy's {products} bare matrix products"}
        found = figure(timings, "ours", 1, f"solve: {what}", "s", names, "python benches/speed_page.py --only solves")
        product = found.peers[0].value
        peers = (Beside(names["products"], products * product),)
        yield Figure(found.what, "s", found.value, None, peers, found.command, found.noise)


def fits(seconds: float) -> Iterator[Figure]:
    """From traces to policies."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    trace = exits(200_000, 8)
    assert len(trace.digest) == 64  # is found once for all fits
    signal = np.asarray(trace.signal)
    work: dict[str, Work] = {
        "ours": lambda: tt.fit(trace, tradeoff=0.95, graph="line", estimator="pathwise"),
        "limit": lambda: np.sort(signal, axis=0),
    }
    names = {"limit": "to sort the signals once"}
    timings = taken_in_turns(work, seconds, least_rounds=4)
    command = "python benches/speed_page.py --only fits"
    yield figure(timings, "ours", 1, f"fit: {trace.n:,} × {trace.k} exits, line", "s", names, command)
    few = exits(12_000, 5)
    inputs, wrong = np.hstack([few.signal, predictions(few)]), np.asarray(few.loss)[:, -1] > 0
    work = {
        "ours": lambda: tt.fit(few, tradeoff=0.95),
        "trees": lambda: HistGradientBoostingClassifier().fit(inputs, wrong),
    }
    names = {"trees": "one gradient-boosted classifier on the same rows"}
    timings = taken_in_turns(work, seconds, least_rounds=4)
    yield figure(timings, "ours", 1, f"fit: {few.n:,} × {few.k} exits, with all checks", "s", names, command)


PARTS: Mapping[str, Callable[[float], Iterator[Figure]]] = {
    part.__name__: part for part in (calls, batches, replays, solves, fits)
}
