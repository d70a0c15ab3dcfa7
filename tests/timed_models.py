"""Small exact models whose stages take time, and what is best within a deadline by enumerating all that can happen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from hypothesis import strategies as st

import ttamer_fast as tt
from models import Small, smalls

State: TypeAlias = tuple[int | None, ...]
Ticks: TypeAlias = tuple[tuple[int, ...], tuple[float, ...]]
"""Latencies in ticks, whose sums are exact, and the probability of each."""


@dataclass(frozen=True)
class Timed:
    """A small model, how long each of its stages takes (one entry, or one per state), and how long a tick is."""

    small: Small
    latency: list[list[Ticks]]
    tick: float
    kind: str = "exits"

    def given(self) -> list[object]:
        """The latencies as models take them, each tick a float of its own rounding."""
        entries: list[object] = []
        for each in self.latency:
            pairs = [(np.array([t * self.tick for t in ticks]), np.array(chances)) for ticks, chances in each]
            entries.append(pairs[0] if len(pairs) == 1 else pairs)
        return entries

    def model(self) -> tt.Model:
        small, latency = self.small, self.given()
        if small.graph == "line":
            return tt.Model.line(small.loss, small.cost, small.transition, latency)
        if small.graph == "skip":
            return tt.Model.skip(small.loss, small.cost, small.transition, latency, self.kind)
        if small.graph == "dag":
            return tt.Model.dag(small.parents, small.loss, small.cost, small.transition, latency)
        parent = [p[0] if p else -1 for p in small.parents]
        return tt.Model.tree(parent, small.loss, small.cost, small.transition, latency)

    def nothing(self, default_loss: float) -> float:
        """What no answer loses."""
        return default_loss if default_loss < math.inf else max(float(loss.max()) for loss in self.small.loss)

    def took(self, v: int, state: int) -> list[tuple[int, float]]:
        """How long stage v takes where it is in this state."""
        each = self.latency[v]
        return list(zip(*each[state if len(each) > 1 else 0], strict=True))

    def outcomes(self, state: State, v: int) -> Iterator[tuple[float, int, int]]:
        """Everything that can happen when v runs now: chance, the state that is seen, ticks that pass."""
        small = self.small
        if small.graph != "skip":
            for s, p in enumerate(small.transition[v][small.row(v, state)]):
                for ticks, q in self.took(v, s):
                    yield float(p) * q, s, ticks
            return
        last = max((u for u in range(v) if state[u] is not None), default=-1)
        before = 0 if last < 0 else state[last]
        assert before is not None
        stages = range(last + 1, v + 1)
        timed = stages if self.kind == "exits" else range(v, v + 1)
        for path in itertools.product(*[range(len(small.loss[u])) for u in stages]):
            steps = zip(stages, (before, *path), path, strict=False)
            chance = math.prod(float(small.transition[u][a, b]) for u, a, b in steps)
            for took in itertools.product(*[self.took(u, path[u - stages.start]) for u in timed]):
                yield chance * math.prod(q for _, q in took), path[-1], sum(ticks for ticks, _ in took)

    def hand(self, state: State, nothing: float) -> float:
        return min([nothing, *(float(self.small.loss[v][s]) for v, s in enumerate(state) if s is not None)])

    def best(self, left: int, default_loss: float = math.inf) -> float:
        """The least expected total of a request that has so many ticks."""
        nothing = self.nothing(default_loss)

        @cache
        def value(state: State, left: int) -> float:
            hand = best = self.hand(state, nothing)
            for v, cost in self.small.open(state):
                total = float(cost)
                for p, s, ticks in self.outcomes(state, v):
                    if p > 0.0:
                        after = (*state[:v], s, *state[v + 1 :])
                        total += p * (hand if ticks > left else value(after, left - ticks))
                best = min(best, total)
            return best

        return value((None,) * len(self.small.loss), left)

    def paid(self, policy: tt.Policy, left: int, default_loss: float = math.inf) -> float:
        """Expected total of the policy for a request that has so many ticks, by running it on all that can happen."""
        nothing = self.nothing(default_loss)

        def run(history: list[tuple[int, float]]) -> tt.Run:
            run = policy.start(remaining=left * self.tick)
            for state, remaining in history:
                run.observe(state, None, remaining)
            return run

        def follow(history: list[tuple[int, float]], state: State, left: int) -> float:
            v = (now := run(history)).next
            answer = now.answer
            held = None if answer is None else state[answer]
            assert (answer is None) == (held is None)
            hand = nothing if answer is None or held is None else float(self.small.loss[answer][held])
            assert hand == self.hand(state, nothing)
            if v is None:
                return hand
            total = float(dict(self.small.open(state))[v])
            for p, s, ticks in self.outcomes(state, v):
                if p > 0.0 and ticks > left:
                    total += p * hand
                elif p > 0.0:
                    after = (*state[:v], s, *state[v + 1 :])
                    told = (s, (left - ticks) * self.tick)
                    total += p * follow([*history, told], after, left - ticks)
            return total

        return follow([], (None,) * len(self.small.loss), left)


@st.composite
def timed(draw: st.DrawFn, graph: str, most: int = 3) -> Timed:
    """Zero latencies, repeated ones, zero probabilities and such that no deadline allows are all frequent."""
    small = draw(smalls(graph, most))
    latency = []
    for loss in small.loss:
        each = []
        for _ in range(len(loss) if draw(st.booleans()) else 1):
            ticks = draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 5, 1000]), min_size=1, max_size=3))
            weight = np.array([draw(st.integers(0, 3)) for _ in ticks], dtype=float)
            weight[draw(st.integers(0, len(ticks) - 1))] += 1.0
            each.append((tuple(ticks), tuple(float(p) for p in weight / weight.sum())))
        latency.append(each)
    # Ticks of a tenth or a third have sums that differ by rounding.
    tick = draw(st.sampled_from([0.1, 1 / 3, 0.25, 0.007, 3600.0]))
    return Timed(small, latency, tick, draw(st.sampled_from(["exits", "models"])))
