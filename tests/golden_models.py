"""Exact models with known numbers: the shared vectors, and larger ones that are drawn at random."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import ttamer_fast as tt
from golden_traces import Floats, digest_of
from models import Small

ROWS = 24
"""Random joint states of which decisions are kept."""


@dataclass(frozen=True)
class Exact:
    """A model and joint states of its stages."""

    name: str
    small: Small
    states: Floats
    """(n, k) state numbers, as signals."""

    @property
    def digest(self) -> str:
        return digest_of([*self.small.loss, self.small.cost, *self.small.transition, self.states])

    def policies(self) -> Iterator[tuple[str, tt.Policy]]:
        """All that can be solved, with and without an answer for nothing."""
        model = self.small.model()
        best = tt.solve(model)
        yield "recall", best
        # Dear enough that stages are run, cheap enough that it is returned now and then.
        default_loss = 1.25 * best.value + 0.02
        yield "default loss", tt.solve(model, default_loss=default_loss)
        if self.small.graph in ("line", "skip"):
            yield "no recall", tt.solve(model, recall=False)
            yield "no recall, default loss", tt.solve(model, recall=False, default_loss=default_loss)


def exact_models(vectors: Path) -> Iterator[Exact]:
    """The shared vectors of a file, then the drawn ones."""
    rng = np.random.default_rng(3)
    counts: dict[str, int] = {}
    for entry in json.loads(vectors.read_text(encoding="utf-8")):
        kind = entry["kind"]
        counts[kind] = counts.get(kind, -1) + 1
        yield _vector(f"{kind} {counts[kind]}", entry, rng)
    for graph in ("line", "skip", "tree", "forest", "dag"):
        for number in range(5):
            yield drawn(f"drawn {graph} {number}", graph, rng)


def _vector(name: str, entry: dict[str, Any], rng: np.random.Generator) -> Exact:
    loss, transition = ([np.array(one, dtype=float) for one in entry[name]] for name in ("loss", "transition"))
    parents = [[] if p < 0 else [p] for p in entry["parent"]]
    small = Small(entry["kind"], parents, loss, np.array(entry["cost"], dtype=float), transition)
    return Exact(name, small, _states(rng, [len(one) for one in loss]))


def drawn(name: str, graph: str, rng: np.random.Generator) -> Exact:
    """A model of 5 stages with up to 8 states each, 4 with up to 3 on a dag; costs in 32ths, so that some tie."""
    k, most = (4, 3) if graph == "dag" else (5, 8)
    sizes = [1 + int(rng.random() * most) for _ in range(k)]
    parents = [_parents(graph, v, rng) for v in range(k)]
    loss = [np.round(4.0 * rng.random(size) ** 2, 2) for size in sizes]
    cost = np.triu(np.round(8.0 * rng.random((k, k))) / 32.0)
    if graph != "skip":
        cost = cost[0]
    transition = []
    for v, size in enumerate(sizes):
        weight = np.floor(5.0 * rng.random((math.prod(sizes[p] for p in parents[v]), size)))
        weight[:, int(rng.random() * size)] += 1.0
        transition.append(weight / weight.sum(axis=1, keepdims=True))
    return Exact(name, Small(graph, parents, loss, cost, transition), _states(rng, sizes))


def _parents(graph: str, v: int, rng: np.random.Generator) -> list[int]:
    if graph in ("line", "skip"):
        return [v - 1] if v else []
    if graph == "tree":
        return [int(rng.random() * v)] if v else []
    if graph == "forest":
        return [p] if (p := int(rng.random() * (v + 1)) - 1) >= 0 else []
    return [u for u in range(v) if rng.random() < 0.4]


def _states(rng: np.random.Generator, sizes: list[int]) -> Floats:
    states: Floats = np.floor(rng.random((ROWS, len(sizes))) * np.array(sizes))
    return states
