"""Solving exact models, beside bare matrix products and other solvers: prints markdown and may write it to a file.

usage: python benches/solve.py [--output FILE] [--rounds 5]

Every answer is checked before it is timed. What is compared runs in turns within one process, on all cores; a ratio is
that of the medians. `quantecon` and `markovianbandit` are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse

import ttamer_fast as tt
from ttamer_fast._utils.arrays import Floats

STAGES = 12
STATES = 1000
DISCOUNT = 1.0 - 1e-7
"""Of Gittins indices, which tend to Weitzman's as it tends to 1."""


def seconds(rounds: int, *programs: Callable[[], object]) -> list[float]:
    """Median time of each, taken in turns."""
    taken: list[list[float]] = [[] for _ in programs]
    for _ in range(rounds):
        for program, times in zip(programs, taken, strict=True):
            start = time.perf_counter()
            program()
            times.append(time.perf_counter() - start)
    return [median(times) for times in taken]


def losses(rng: np.random.Generator, stages: int, states: int) -> list[Floats]:
    """A common grid, in any order."""
    grid = rng.random(states)
    return [rng.permutation(grid) for _ in range(stages)]


def chain(states: int, stages: int = STAGES) -> tuple[list[Floats], Floats, list[Floats]]:
    """Loss, cost and transitions with rows of Dirichlet(1/2)."""
    rng = np.random.default_rng(7)
    rows = [rng.dirichlet(np.full(states, 0.5), size=states if v else 1) for v in range(stages)]
    return losses(rng, stages, states), 0.02 * rng.random(stages), rows


def jumps(stages: int = STAGES) -> Floats:
    rng = np.random.default_rng(8)
    i, j = np.indices((stages, stages))
    cost: Floats = np.triu(0.02 * rng.random((stages, stages)) + 0.005 * (j - i))
    return cost


def proven(model: tt.Model) -> tt.Policy:
    """The policy, its certificate checked."""
    policy = tt.solve(model)
    certificate = tt.verify(model, policy)
    assert certificate.exact, certificate
    return policy


def products(rounds: int) -> list[str]:
    """Lines and skip graphs against the matrix products that they are made of."""
    proven(tt.Model.line(*chain(60)))
    loss, cost, rows = chain(60)
    proven(tt.Model.skip(loss, jumps(), rows))
    loss, cost, rows = chain(STATES)
    line, skip = tt.Model.line(loss, cost, rows), tt.Model.skip(loss, jumps(), rows)
    stay = [rows[0], *[0.1 * P + 0.9 * np.eye(STATES) for P in rows[1:]]]
    slow = tt.Model.skip(loss, jumps(), stay)
    pairs = STAGES * (STAGES - 1) // 2

    def bare(count: int) -> None:
        for v in range(count):
            np.matmul(rows[1 + v % (STAGES - 1)], rows[1 + (v + 1) % (STAGES - 1)])

    own_line, bare_line = seconds(rounds, lambda: tt.solve(line), lambda: bare(STAGES - 1))
    own_skip, own_slow, bare_skip = seconds(
        max(rounds // 2, 2), lambda: tt.solve(skip), lambda: tt.solve(slow), lambda: bare(pairs)
    )
    return [
        "| K = 1000, n = 12, dense | solve | bare numpy products | ratio |",
        "| --- | --- | --- | --- |",
        f"| line, {STAGES - 1} products | {own_line:.3f} s | {bare_line:.3f} s | {own_line / bare_line:.2f} |",
        f"| skip, {pairs} products | {own_skip:.3f} s | {bare_skip:.3f} s | {own_skip / bare_skip:.2f} |",
        f"| skip, {pairs} products, states that stay with probability 0.9 | {own_slow:.3f} s | {bare_skip:.3f} s | "
        f"{own_slow / bare_skip:.2f} |",
    ]


def sparse(states: int, entries: int) -> tuple[list[Floats], Floats, list[Any]]:
    """A line whose transitions have so many non-zeros a row."""
    rng = np.random.default_rng(9)
    rows: list[Any] = [np.full((1, states), 1.0 / states)]
    for _ in range(STAGES - 1):
        place = rng.integers(0, states, size=(states, entries))
        first = np.arange(0, states * entries + 1, entries)
        P = scipy.sparse.csr_array((rng.dirichlet(np.ones(entries), states).ravel(), place.ravel(), first))
        P.resize((states, states))
        P.sum_duplicates()
        rows.append(P)
    return losses(rng, STAGES, states), 0.02 * rng.random(STAGES), rows


def large(rounds: int) -> list[str]:
    """Sparse transitions and large trees."""
    loss, cost, rows = sparse(STATES, 10)
    thin = tt.Model.line(loss, cost, rows)
    dense = tt.Model.line(loss, cost, [getattr(P, "toarray", lambda P=P: P)() for P in rows])
    gap = abs(tt.solve(thin).value - tt.solve(dense).value)
    assert gap < 1e-9, gap
    own, full = seconds(rounds, lambda: tt.solve(thin), lambda: tt.solve(dense))
    huge = tt.Model.line(*sparse(5 * STATES, 10))
    (own_huge,) = seconds(2, lambda: tt.solve(huge))

    def tree(stages: int, states: int) -> tt.Model:
        rng = np.random.default_rng(10)
        parent = [int(rng.integers(-1, v)) if v else -1 for v in range(stages)]
        chances = [rng.dirichlet(np.full(states, 0.5), size=1 if p < 0 else states) for p in parent]
        return tt.Model.tree(parent, losses(rng, stages, states), 0.02 * rng.random(stages), chances)

    proven(tree(30, 5))
    wide = tree(1000, 16)
    (own_tree,) = seconds(rounds, lambda: tt.solve(wide))
    return [
        "| large models | solve | |",
        "| --- | --- | --- |",
        f"| sparse line, K = 1000, 10 non-zeros a row | {own:.3f} s | the same, dense: {full:.3f} s; values differ by "
        f"{gap:.0e} |",
        f"| sparse line, K = 5000, 10 non-zeros a row | {own_huge:.2f} s | |",
        f"| tree of 1000 stages, K = 16 | {own_tree:.3f} s | |",
    ]


def aggregated(rounds: int) -> list[str]:
    """Meta-states against the dense model, and what is lost."""
    rng = np.random.default_rng(11)
    place = np.sort(rng.random(STATES))
    P = np.exp(-0.5 * ((0.8 * place[:, None] - place) / 0.15) ** 2)
    P = 0.9 * P / P.sum(axis=1, keepdims=True) + 0.1 * rng.dirichlet(np.full(STATES, 0.5), STATES)
    rows = [np.full((1, STATES), 1.0 / STATES)] + [P] * (STAGES - 1)
    loss, cost = (
        [np.clip(place + rng.normal(0.0, 0.1, STATES), 0.0, 1.0).round(3) for _ in range(STAGES)],
        np.full(STAGES, 0.01),
    )
    true = tt.Model.line(loss, cost, rows)
    best = tt.solve(true).value
    table = [
        f"| line, K = 1000, n = 12, value {best:.5f} | fit | mean distance of a row | solve | of the dense time | "
        "paid on the true model above the optimum |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for q, iterations in ((100, 50), (300, 20)):
        start = time.perf_counter()
        thin = tt.aggregate(loss, cost, rows, q, iterations=iterations)
        fitted = time.perf_counter() - start
        policy = tt.solve(thin.model)
        paid = tt.verify(true, policy).value
        assert best - 1e-9 <= paid < best + 0.02, (best, paid)
        own, full = seconds(rounds, lambda model=thin.model: tt.solve(model), lambda: tt.solve(true))  # type: ignore[misc]
        table.append(
            f"| q = {q} | {fitted:.1f} s | {max(thin.mean_error):.3f} | {own:.3f} s | {own / full:.2f} | "
            f"{paid - best:.1e} |"
        )
    return table


def discrete_dp(loss: list[Floats], cost: Floats, rows: list[Floats]) -> tuple[Any, int]:
    """The line as a `DiscreteDP` of (last stage, its state, loss in hand), and the number of its start."""
    from quantecon.markov import DiscreteDP

    k, states = len(loss), len(loss[0])
    hands = np.unique(np.concatenate(loss))
    G = len(hands)
    own = [np.searchsorted(hands, r) for r in loss]
    start, end = k * states * G, k * states * G + 1
    reward: list[float] = []
    where: list[int] = []
    action: list[int] = []
    row: list[Any] = []
    column: list[Any] = []
    chance: list[Any] = []

    def add(at: int, a: int, r: float, to: Any, p: Any) -> None:
        row.append(np.full(len(to), len(reward)))
        column.append(to)
        chance.append(p)
        reward.append(r)
        where.append(at)
        action.append(a)

    for v in range(k):
        for s in range(states):
            for x in range(G):
                at = (v * states + s) * G + x
                add(at, 0, -hands[x], [end], [1.0])
                if v + 1 < k:
                    to = ((v + 1) * states + np.arange(states)) * G + np.minimum(x, own[v + 1])
                    add(at, 1, -cost[v + 1], to, rows[v + 1][s])
    add(start, 1, -cost[0], np.arange(states) * G + own[0], rows[0][0])
    add(end, 0, 0.0, [end], [1.0])
    places = (np.concatenate(row), np.concatenate(column))
    Q = scipy.sparse.csr_matrix((np.concatenate(chance), places), shape=(len(reward), end + 1))
    return DiscreteDP(np.array(reward), Q, 1.0 - 1e-12, np.array(where), np.array(action)), start


def peers(rounds: int) -> list[str]:
    """Other solvers on the same models."""
    table = [
        "| the same model | solve | other | times as long | answers differ by |",
        "| --- | --- | --- | --- | --- |",
    ]
    if find_spec("quantecon"):
        for states, stages in ((10, 4), (30, 6)):
            loss, cost, rows = chain(states, stages)
            model = tt.Model.line(loss, cost, rows)
            dp, start = discrete_dp(loss, cost, rows)
            gap = abs(proven(model).value + dp.solve(method="policy_iteration", max_iter=1000).v[start])
            assert gap < 1e-8, gap
            own, other = seconds(
                rounds,
                lambda model=model: tt.solve(model),  # type: ignore[misc]
                lambda dp=dp: dp.solve(method="policy_iteration", max_iter=1000),  # type: ignore[misc]
            )
            table.append(
                f"| line, K = {states}, n = {stages}; quantecon DiscreteDP, policy iteration, {dp.num_states} states, "
                f"its set-up not counted | {1e3 * own:.3f} ms | {1e3 * other:.1f} ms | {other / own:.0f} | {gap:.0e} |"
            )
    if find_spec("markovianbandit"):
        import markovianbandit

        for states in (30, 200):
            rng = np.random.default_rng(12)
            prize, weight, price = rng.random(states), rng.dirichlet(np.ones(states)), 0.02
            model = tt.Model.tree([-1], [prize], [price], [weight[None]])
            # State 0 is the closed box; opening it costs, and an open one pays (1 − loss) for ever, per step.
            P, R = np.eye(states + 1), np.append(-price, (1.0 - DISCOUNT) * (1.0 - prize))
            P[0] = np.append(0.0, weight)

            def gittins(P: Floats = P, R: Floats = R) -> float:
                found = markovianbandit.rested_bandit_from_P1_R1(P, R).gittins_indices(discount=DISCOUNT)
                return float(1.0 - found[0] / (1.0 - DISCOUNT))

            gap = abs(proven(model).index[0][0] - gittins())
            assert gap < 1e-4, gap
            own, other = seconds(rounds, lambda model=model: tt.solve(model), gittins)  # type: ignore[misc]
            table.append(
                f"| one box, K = {states}; markovianbandit Gittins index, discount 1 − 1e-7 | {1e3 * own:.3f} ms | "
                f"{1e3 * other:.1f} ms | {other / own:.0f} | {gap:.0e} |"
            )
    table += [
        "",
        "`quantecon` knows no loss in hand: it becomes part of the state, K · G states a stage. `markovianbandit` has "
        "discounted indices of independent arms: one-stage boxes are the limit of discount 1, which it approaches but "
        "does not reach. An arm of several stages would need the loss in hand in its state, and trees, skip graphs and "
        "the value of a policy are outside what it can express.",
    ]
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    parser.add_argument("--rounds", type=int, default=5, help="of each timing")
    given = parser.parse_args()
    text = ["Written by `python benches/solve.py`. Seconds are of one shared machine; ratios are within one run.", ""]
    for part in (products, large, aggregated, peers):
        lines = part(given.rounds)
        print("\n".join(lines), end="\n\n", flush=True)
        text += [*lines, ""]
    if given.output is not None:
        given.output.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
