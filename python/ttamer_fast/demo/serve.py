"""Requests served one by one through the real models, and the time that each takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from .._core import Policy
from ..serving.cascade import Cascade
from .digits import Answer, Images, Stage

__all__ = ["ServedWay", "ServingResult", "deciding_time", "serve"]


@dataclass(frozen=True)
class ServedWay:
    """How one way of serving did, over all requests: accuracy as a share, milliseconds and models run per request."""

    name: str
    accuracy: float
    mean_ms: float
    p99_ms: float
    models_run: float


@dataclass(frozen=True)
class ServingResult:
    """Every way of serving, microseconds a request that deciding takes, and whether it decided as its replay says."""

    requests: int
    ways: tuple[ServedWay, ...]
    deciding_us: float
    as_replayed: bool

    def __getitem__(self, name: str) -> ServedWay:
        return next(way for way in self.ways if way.name == name)


def serve(
    images: Images, models: tuple[Stage, ...], policies: Mapping[str, Policy], progress: Callable[[float], None]
) -> ServingResult:
    """Serve every image in every way: always the last model, and under each policy; the first one is examined."""
    cascades = {
        name: Cascade(policy, models, confidence=lambda y: y.confidence, label=lambda y: y.digit)
        for name, policy in policies.items()
    }
    names = ["always the last model", *cascades]
    taken = np.empty((len(images), len(names)))
    right = np.empty(taken.shape, bool)
    count = np.empty(taken.shape, np.int64)
    stage = np.zeros(taken.shape, np.int64)
    for row, pixels in enumerate(images.pixels):
        # Each way comes first in turn, so that none gains from warm caches.
        for turn in range(len(names)):
            way = (row + turn) % len(names)
            start = perf_counter()
            if way == 0:
                answer = models[-1](pixels)
            else:
                served = cascades[names[way]](pixels)
                answer = served.answer
            taken[row, way] = 1e3 * (perf_counter() - start)
            right[row, way] = answer.digit == images.digit[row]
            count[row, way] = 1 if way == 0 else len(served.consulted)
            stage[row, way] = len(models) - 1 if way == 0 else served.stage
        progress((row + 1) / len(images))
    ways = tuple(
        ServedWay(
            name=name,
            accuracy=float(right[:, i].mean()),
            mean_ms=float(taken[:, i].mean()),
            p99_ms=float(np.quantile(taken[:, i], 0.99)),
            models_run=float(count[:, i].mean()),
        )
        for i, name in enumerate(names)
    )
    policy = next(iter(policies.values()))
    said = [[stage(pixels) for stage in models] for pixels in images.pixels]
    signal = np.array([[y.confidence for y in answers] for answers in said])
    prediction = np.array([[y.digit for y in answers] for answers in said])
    replayed = policy.replay(signal, prediction)
    return ServingResult(
        requests=len(images),
        ways=ways,
        deciding_us=deciding_time(policy, said),
        as_replayed=bool(np.array_equal(replayed.answer, stage[:, 1])),
    )


def deciding_time(policy: Policy, said: list[list[Answer]], repeats: int = 7) -> float:
    """Microseconds a request of `start` and `observe`, answers already known; the median of some repeats."""
    rows = [[(y.confidence, y.digit) for y in answers] for answers in said]
    taken: list[float] = []
    for _ in range(repeats):
        start = perf_counter()
        for row in rows:
            run = policy.start()
            stage, observe = run.next, run.observe
            while stage is not None:
                signal, prediction = row[stage]
                stage = observe(signal, prediction)
        taken.append(perf_counter() - start)
    return 1e6 * sorted(taken)[repeats // 2] / len(rows)
