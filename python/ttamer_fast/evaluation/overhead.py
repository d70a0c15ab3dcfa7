"""What deciding costs on this machine, measured beside what limits it and what a user would write without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .._core import Policy, ValidationError
from ..baselines import threshold as threshold_policy
from ..fitting.fit import fit
from ..traces.trace import Trace
from .timing import STEADY, taken_in_turns

__all__ = ["Overhead", "comparing", "measure_overhead", "synthetic_trace"]

SECONDS = 15.0
"""Of all rounds, where the machine does not come to rest."""
CALL_ROWS = 2_000
MOST_ROWS = 100_000
"""Requests of a batch and of a replay: enough for a figure a request."""
BATCHES = 10
"""First observations of a batch in one round: one alone is too short to be timed well."""
FLOOR_TRADEOFF = 0.97


@dataclass(frozen=True)
class Overhead:
    """Nanoseconds of deciding: the least of several rounds, in each of which everything was done once.

    stages_run : stages that are consulted a request, on average.
    core_ns : an observation in the Rust core, start of the request included.
    call_ns : a consulted stage, by `start` and `observe` from a Python loop.
    floor_ns : the same with a single threshold of the signal that stops where the policy does: what the interpreter and
        the binding take.
    python_ns : a stage of the same loop around a Python function that compares with one threshold, called as often.
    batch_ns : a request, its first observation in a batch.
    batch_read_ns : a request, its signal read from memory once by ``numpy.sum``.
    numpy_ns : a request of numpy's ``(signal >= threshold).nonzero()``.
    replay_ns : a request, all stages, on all cores.
    replay_read_ns : a request, the signals of all stages read from memory once by ``numpy.sum``, on one core.
    replay_numpy_ns : a request of numpy's ``(signal >= threshold).argmax(1)``.
    median_ns : the medians of the same, by name.
    call_ratio : calls of the engine over calls of the Python threshold function.
    call_ratio_quartiles : of that ratio in each round.
    rounds : how often everything was done.
    noise : how far the least times of the first and second half of the rounds are apart, at most: 0.02 is 2 %.
    """

    requests: int
    stages: int
    stages_run: float
    core_ns: float
    call_ns: float
    floor_ns: float
    python_ns: float
    batch_ns: float
    batch_read_ns: float
    numpy_ns: float
    replay_ns: float
    replay_read_ns: float
    replay_numpy_ns: float
    median_ns: dict[str, float]
    call_ratio: float
    call_ratio_quartiles: tuple[float, float]
    rounds: int
    noise: float

    @property
    def is_noisy(self) -> bool:
        """Whether this machine is too busy for the figures to say anything."""
        return self.noise > STEADY or self.floor_ns > self.call_ns

    @property
    def verdict(self) -> str:
        """Whether the figures can be trusted, in words."""
        apart = f"the least times of the two halves of {self.rounds} rounds are up to {100 * self.noise:.1f} % apart"
        if self.noise > STEADY:
            return f"TOO NOISY to tell: {apart}, at most {100 * STEADY:g} % are allowed; repeat it on a quiet machine"
        if self.floor_ns > self.call_ns:
            return "TOO NOISY to tell: the floor came out above the call; repeat it on a quiet machine"
        return f"steady: {apart}"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        return asdict(self) | {"call_ratio_quartiles": list(self.call_ratio_quartiles), "is_noisy": self.is_noisy}

    def __str__(self) -> str:
        low, high = self.call_ratio_quartiles
        batch, replay = self.batch_ns / self.numpy_ns, self.replay_ns / self.replay_numpy_ns
        rows = [
            ("core", "core_ns", "an observation in the Rust core, start of the request included"),
            ("call", "call_ns", "a consulted stage, start of the request included"),
            ("  limit", "floor_ns", "with a policy that only compares with a threshold and stops where this one does"),
            (
                "  peer",
                "python_ns",
                f"a Python threshold function; ratio {self.call_ratio:.2f} ({low:.2f} to {high:.2f})",
            ),
            ("batch", "batch_ns", "a request, first observation"),
            ("  limit", "batch_read_ns", "to read the signals once"),
            ("  peer", "numpy_ns", f"numpy's (signal >= threshold).nonzero(); ratio {batch:.2f}"),
            ("replay", "replay_ns", "a request, all stages, all cores"),
            ("  limit", "replay_read_ns", "to read the signals once, one core"),
            ("  peer", "replay_numpy_ns", f"numpy's (signal >= threshold).argmax(1); ratio {replay:.2f}"),
        ]
        lines = [f"{name:8}{getattr(self, key):10.2f}{self.median_ns[key]:10.2f}  {text}" for name, key, text in rows]
        head = f"{self.requests} requests, {self.stages} stages, {self.stages_run:.2f} consulted a request"
        return "\n".join([head, "ns           least    median", *lines, self.verdict])


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


def measure_overhead(policy: Policy | None = None, trace: Trace | None = None, seconds: float = SECONDS) -> Overhead:
    """Time the decisions of `policy` on the signals of `trace`, its first 100,000 requests.

    Everything is done in turns, until two halves of the rounds agree or `seconds` have passed.

    Parameters
    ----------
    policy : Policy, optional
        Default: fitted to the trace at trade-off 0.97.
    trace : Trace, optional
        Default: :func:`synthetic_trace`.
    seconds : float
        At most about so long, but for 30 rounds.

    Raises
    ------
    ValidationError
        If the stages or kinds of policy and trace do not match, or the policy consults nothing.
    """
    trace = synthetic_trace() if trace is None else trace
    policy = fit(trace, tradeoff=0.97) if policy is None else policy
    trace = trace.matching(policy)
    if trace.n > MOST_ROWS:
        trace = trace.rows(slice(MOST_ROWS))
    if policy.start().next is None:
        raise ValidationError("`policy` must consult a stage, got one that ends every request before the first")
    consulted = policy.replay(trace.signal, trace.prediction).consulted.sum(axis=1)
    depths = consulted[:CALL_ROWS].tolist()
    said = np.zeros(trace.signal.shape, np.int64) if trace.prediction is None else trace.prediction
    core: list[float] = []
    timings = taken_in_turns(
        _loops(policy, trace.rows(slice(CALL_ROWS)), depths)
        | _arrays(policy, trace)
        | {"core": lambda: core.append(policy._observe_ns(trace.signal, said, 1))},
        seconds,
    )
    requests = BATCHES * trace.n
    per = dict.fromkeys(("call", "floor", "python"), sum(depths))
    per |= dict.fromkeys(("batch", "batch_read", "numpy"), requests)
    per |= dict.fromkeys(("replay", "replay_read", "replay_numpy"), trace.n)
    least = {f"{name}_ns": 1e9 * timings[name].least / units for name, units in per.items()}
    median = {f"{name}_ns": 1e9 * timings[name].median / units for name, units in per.items()}
    ratio, low, high = timings.ratios("call", "python")
    return Overhead(
        requests=trace.n,
        stages=trace.k,
        stages_run=float(consulted.mean()),
        core_ns=min(core[1:]),
        **least,
        median_ns=median | {"core_ns": float(np.median(core[1:]))},
        call_ratio=ratio,
        call_ratio_quartiles=(low, high),
        rounds=timings.rounds,
        noise=timings.noise,
    )


def _loops(policy: Policy, trace: Trace, depths: list[int]) -> dict[str, Callable[[], None]]:
    """Loops of one shape over the requests of a trace, each of which takes as many steps as `depths` say."""
    signals = [tuple(row) for row in trace.signal.tolist()]
    said = trace.prediction
    predictions = [(None,) * trace.k] * trace.n if said is None else [tuple(row) for row in said.tolist()]
    compares = comparing(trace.k)
    sure = [tuple(float(stage == depth - 1) for stage in range(trace.k)) for depth in depths]
    threshold = float(np.median(trace.signal))

    def served(by: Policy, reports: list[tuple[float, ...]]) -> None:
        for signal, prediction in zip(reports, predictions, strict=True):
            run = by.start()
            stage, observe = run.next, run.observe
            while stage is not None:
                stage = observe(signal[stage], prediction[stage])

    def rule(signal: float) -> bool:
        return signal >= threshold

    def python() -> None:
        for signal, depth in zip(signals, depths, strict=True):
            stage = 0
            while stage < depth:
                rule(signal[stage])
                stage += 1

    return {"call": lambda: served(policy, signals), "floor": lambda: served(compares, sure), "python": python}


def comparing(k: int) -> Policy:
    """A policy that runs k stages one after the other until one reports 1 and not 0."""
    signal = np.random.default_rng(0).integers(0, 2, (64, k)).astype(np.float64)
    return threshold_policy(Trace(signal, 1.0 - signal, np.ones(k), kind="exits"), FLOOR_TRADEOFF)


def _arrays(policy: Policy, trace: Trace) -> dict[str, Callable[[], object]]:
    """A batch and a replay, each with what reads the same arrays once, and what compares them with a threshold."""
    signal, prediction = trace.signal, trace.prediction
    entry = policy.start().next or 0
    first = np.ascontiguousarray(signal[:, entry])
    first_prediction = None if prediction is None else np.ascontiguousarray(prediction[:, entry])
    threshold = float(np.median(first))

    def observed() -> None:
        requests = policy.start_batch(trace.n)
        requests.rows(entry)
        requests.observe(entry, first, first_prediction)

    def often(work: Callable[[], object]) -> Callable[[], None]:
        def repeated() -> None:
            for _ in range(BATCHES):
                work()

        return repeated

    return {
        "batch": often(observed),
        "batch_read": often(first.sum),
        "numpy": often(lambda: (first >= threshold).nonzero()),
        "replay": lambda: policy.replay(signal, prediction),
        "replay_read": signal.sum,
        "replay_numpy": lambda: (signal >= threshold).argmax(axis=1),
    }
