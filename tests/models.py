"""Small exact models of every graph, and what must be true of them by brute force over all that can be known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

import ttamer_fast as tt

Floats: TypeAlias = NDArray[np.float64]
GRAPHS = ("line", "skip", "tree", "forest", "dag")


@dataclass(frozen=True)
class Small:
    """What `tt.Model.line`, `skip`, `tree` or `dag` is made from; a forest is a tree with several roots."""

    graph: str
    parents: list[list[int]]
    loss: list[Floats]
    cost: Floats
    transition: list[Floats]

    def model(self) -> tt.Model:
        if self.graph == "line":
            return tt.Model.line(self.loss, self.cost, self.transition)
        if self.graph == "skip":
            return tt.Model.skip(self.loss, self.cost, self.transition)
        if self.graph == "dag":
            return tt.Model.dag(self.parents, self.loss, self.cost, self.transition)
        return tt.Model.tree([p[0] if p else -1 for p in self.parents], self.loss, self.cost, self.transition)

    def row(self, v: int, state: tuple[int | None, ...]) -> int:
        """Row of the transition into v."""
        row = 0
        for p in self.parents[v]:
            seen = state[p]
            assert seen is not None
            row = row * len(self.loss[p]) + seen
        return row

    def paths(self) -> Iterator[tuple[tuple[int, ...], float]]:
        """Every joint state of all stages, with its probability."""
        for state in itertools.product(*[range(len(loss)) for loss in self.loss]):
            chance = math.prod(float(P[self.row(v, state), state[v]]) for v, P in enumerate(self.transition))
            if chance > 0.0:
                yield state, chance

    def after(self, state: tuple[int | None, ...], v: int) -> Floats:
        """Distribution of the state of v; on a skip graph the stages that were jumped over are summed out."""
        if self.graph != "skip":
            row: Floats = self.transition[v][self.row(v, state)]
            return row
        last = max((u for u in range(v) if state[u] is not None), default=None)
        seen = None if last is None else state[last]
        product: Floats = self.transition[0 if last is None else last + 1][seen or 0]
        for u in range(1 if last is None else last + 2, v + 1):
            product = product @ self.transition[u]
        return product

    def open(self, state: tuple[int | None, ...]) -> list[tuple[int, float]]:
        """Stages that may be next and their costs."""
        k = len(self.loss)
        if self.graph == "skip":
            last = max((u for u in range(k) if state[u] is not None), default=-1)
            return [(v, self.cost[last + 1, v]) for v in range(last + 1, k) if np.isfinite(self.cost[last + 1, v])]
        waiting = [v for v in range(k) if state[v] is None]
        return [(v, self.cost[v]) for v in waiting if all(state[p] is not None for p in self.parents[v])]

    def best(self, recall: bool = True, default_loss: float = math.inf) -> float:
        """The least expected total: Bellman's recursion over everything that can be known."""

        @cache
        def value(state: tuple[int | None, ...]) -> float:
            run = [v for v, s in enumerate(state) if s is not None]
            if not run:
                best = default_loss
            elif recall:
                best = min(default_loss, *[float(self.loss[v][s]) for v, s in enumerate(state) if s is not None])
            else:
                best = float(self.loss[run[-1]][state[run[-1]]])
            for v, cost in self.open(state):
                later = [(s, p) for s, p in enumerate(self.after(state, v)) if p > 0.0]
                best = min(best, cost + sum(p * value((*state[:v], s, *state[v + 1 :])) for s, p in later))
            return best

        return value((None,) * len(self.loss))

    def paid(self, policy: tt.Policy, default_loss: float = math.inf) -> float:
        """Expected total of the policy, by running it on every joint state."""
        total = 0.0
        for state, chance in self.paths():
            run = policy.start()
            while run.next is not None:
                run.observe(state[run.next])
            loss = default_loss if run.answer is None else self.loss[run.answer][state[run.answer]]
            total += chance * (loss + run.cost)
        return total


@st.composite
def smalls(draw: st.DrawFn, graph: str, most: int = 4) -> Small:
    """Ties, zero costs, zero probabilities, one-state stages and repeated losses are all frequent."""
    k = draw(st.integers(1, most))
    sizes = [draw(st.integers(1, 3)) for _ in range(k)]
    tenths = st.integers(0, 10).map(lambda x: x / 10)
    losses = st.one_of(tenths, st.floats(0.0, 1.0))
    if graph in ("line", "skip"):
        parents = [[v - 1] if v else [] for v in range(k)]
    elif graph == "tree":
        parents = [[draw(st.integers(0, v - 1))] if v else [] for v in range(k)]
    elif graph == "forest":
        parents = [[p] if (p := draw(st.integers(-1, v - 1))) >= 0 else [] for v in range(k)]
    else:
        parents = [sorted(draw(st.sets(st.integers(0, v - 1), max_size=2))) if v else [] for v in range(k)]
    loss = [np.array([draw(losses) for _ in range(size)]) for size in sizes]
    costs = st.one_of(st.just(0.0), st.integers(0, 4).map(lambda x: x / 20), st.floats(0.0, 0.3))
    if graph == "skip":
        jumps = st.one_of(costs, st.just(math.inf))
        cost = np.array([[draw(costs if i == j else jumps) if j >= i else 0.0 for j in range(k)] for i in range(k)])
    else:
        cost = np.array([draw(costs) for _ in range(k)])
    transition = []
    for v, size in enumerate(sizes):
        rows = []
        for _ in range(math.prod(sizes[p] for p in parents[v])):
            weight = np.array([draw(st.integers(0, 4)) for _ in range(size)], dtype=float)
            weight[draw(st.integers(0, size - 1))] += 1.0
            rows.append(weight / weight.sum())
        transition.append(np.array(rows))
    return Small(graph, parents, loss, cost, transition)
