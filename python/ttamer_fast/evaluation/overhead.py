"""What deciding costs on this machine, measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from timeit import repeat
from typing import Any

import numpy as np

from .._core import Policy
from ..baselines import threshold as threshold_policy
from ..fitting.fit import fit
from ..traces.trace import Trace

__all__ = ["Overhead", "measure_overhead", "synthetic_trace"]

REPEATS = 7
CORE_REPEATS = 20
CALL_ROWS = 2_000
FLOOR_TRADEOFF = 0.97


@dataclass(frozen=True)
class Overhead:
    """Nanoseconds of deciding, the best of several repeats.

    core_ns : an observation in the Rust core, start of the request included.
    call_ns : a consulted stage, by `start` and `observe` from a Python loop.
    floor_ns : the same with a single threshold of the signal: what the interpreter and the binding cost.
    python_ns : a stage of the same loop around a Python function that compares with one threshold.
    batch_ns : a request, its first observation in a batch.
    numpy_ns : a request of numpy's ``(signal >= threshold).nonzero()``.
    replay_ns : a request, all stages, on all cores.
    """

    requests: int
    stages: int
    core_ns: float
    call_ns: float
    floor_ns: float
    python_ns: float
    batch_ns: float
    numpy_ns: float
    replay_ns: float

    @property
    def call_ratio(self) -> float:
        """Calls of the engine over calls of the Python threshold function."""
        return self.call_ns / self.python_ns

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        return asdict(self) | {"call_ratio": self.call_ratio}

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.requests} requests, {self.stages} stages",
                f"core    {self.core_ns:8.1f} ns an observation in the Rust core, start of the request included",
                f"call    {self.call_ns:8.1f} ns a consulted stage",
                f"        {self.floor_ns:8.1f} ns with a policy that only compares with a threshold: the floor",
                f"        {self.python_ns:8.1f} ns for a Python threshold function (ratio {self.call_ratio:.2f})",
                f"batch   {self.batch_ns:8.2f} ns a request, first observation",
                f"        {self.numpy_ns:8.2f} ns for numpy's (signal >= threshold).nonzero()",
                f"replay  {self.replay_ns:8.2f} ns a request, all stages, all cores",
            ]
        )


def synthetic_trace(n: int = 20_000, k: int = 6, seed: int = 0) -> Trace:
    """n requests of varying difficulty at k stages of rising accuracy and cost: losses 0 or 1, costs 1 to 3, no unit.

    Examples
    --------
    >>> synthetic_trace(n=100, k=3).mean_cost.tolist()
    [1.0, 2.0, 3.0]
    """
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(size=(n, 1))
    signal = 1.0 / (1.0 + np.exp(difficulty - rng.normal(size=(n, k)) - np.linspace(0.0, 1.5, k)))
    right = rng.random((n, k)) < signal
    return Trace(signal, ~right, np.linspace(1.0, 3.0, k), prediction=right)


def measure_overhead(policy: Policy | None = None, trace: Trace | None = None) -> Overhead:
    """Time the decisions of `policy` on the signals of `trace`.

    Parameters
    ----------
    policy : Policy, optional
        Default: fitted to the trace at trade-off 0.97.
    trace : Trace, optional
        Default: :func:`synthetic_trace`.

    Raises
    ------
    ValidationError
        If the stages or kinds of policy and trace do not match.
    """
    trace = synthetic_trace() if trace is None else trace
    policy = fit(trace, tradeoff=0.97) if policy is None else policy
    trace = trace.matching(policy)
    call, python = _calls(policy, trace)
    prediction = trace.prediction
    entry = policy.start().next or 0
    first = np.ascontiguousarray(trace.signal[:, entry])
    first_prediction = None if prediction is None else np.ascontiguousarray(prediction[:, entry])
    core_prediction = np.zeros(trace.signal.shape, np.int64) if prediction is None else prediction
    threshold = float(np.median(first))

    def batch() -> None:
        requests = policy.start_batch(trace.n)
        requests.rows(entry)
        requests.observe(entry, first, first_prediction)

    return Overhead(
        requests=trace.n,
        stages=trace.k,
        core_ns=policy._observe_ns(trace.signal, core_prediction, CORE_REPEATS),
        call_ns=call,
        floor_ns=_calls(threshold_policy(trace, FLOOR_TRADEOFF), trace)[0],
        python_ns=python,
        batch_ns=_best(batch, 5) / trace.n,
        numpy_ns=_best(lambda: (first >= threshold).nonzero(), 20) / trace.n,
        replay_ns=_best(lambda: policy.replay(trace.signal, prediction), 3) / trace.n,
    )


def _calls(policy: Policy, trace: Trace) -> tuple[float, float]:
    """Nanoseconds a consulted stage, of the engine and of a Python threshold function in a loop of the same shape."""
    part = trace.rows(slice(CALL_ROWS))
    signals = [tuple(row) for row in part.signal.tolist()]
    said = part.prediction
    predictions = [(None,) * part.k] * part.n if said is None else [tuple(row) for row in said.tolist()]
    consulted = int(policy.replay(part.signal, said).consulted.sum())
    threshold, last = float(np.median(part.signal)), part.k - 1

    def engine() -> None:
        for signal, prediction in zip(signals, predictions, strict=True):
            run = policy.start()
            stage, observe = run.next, run.observe
            while stage is not None:
                stage = observe(signal[stage], prediction[stage])

    def rule(signal: float) -> bool:
        return signal >= threshold

    def python() -> None:
        for signal in signals:
            stage = 0
            while not rule(signal[stage]) and stage < last:
                stage += 1

    first = (part.signal >= threshold).argmax(axis=1)
    first[~(part.signal >= threshold).any(axis=1)] = last
    return _best(engine, 10) / consulted, _best(python, 10) / int((first + 1).sum())


def _best(work: Callable[[], object], number: int) -> float:
    """Nanoseconds of one call."""
    return 1e9 * min(repeat(work, number=number, repeat=REPEATS)) / number
