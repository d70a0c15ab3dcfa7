"""How well a governor holds a budget, and what holding it costs in answers.

usage: python benches/governor.py [--seeds 50] [--window 1000] [--picture FILE.png] [TRACE.npz ...]

Prints a markdown table for the trace of examples/llm_cascade, or for those given: over seeds, the mean cost over the
budget, how far windows are off after the first two, how long a step is felt, and the mean loss beside that of the best
single policy that costs no more, and of the best mixture at the same cost, both known afterwards. Then bursts for a
budget a second, and what a call takes beside an empty one.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import governed_traffic as traffic
import ttamer_fast as tt

REPOSITORY = Path(__file__).parent.parent
COLUMNS = "trace, traffic, cost / budget, windows off (rms), worst window, settled after, loss, best single, best mix"
HEAD = f"| {COLUMNS.replace(', ', ' | ')} |\n|{' --- |' * 9}"


def requests(name: str, replay: traffic.Replayed, window: int, count: int) -> Iterator[str]:
    """A row of the table for each kind of traffic, for a budget a request."""
    usual = float(replay.cost.mean(axis=0)[len(replay.expected) // 2])
    for kind, draw in traffic.TRAFFIC.items():
        found = []
        for rng in traffic.seeds(count):
            rows = draw(replay, window, rng)
            governor = tt.BudgetGovernor(replay.family, max_cost=usual, window=window)
            served = traffic.governed(replay, governor, rows, None, traffic.Clock())
            means = traffic.sliding(served.cost, window)
            late = means[2 * window :]
            cost = float(served.cost.mean())
            found.append(
                (
                    cost / usual,
                    np.sqrt(np.mean((late / usual - 1.0) ** 2)),
                    float(late.max() / usual),
                    traffic.settled(means, usual, 9 * window) if kind == "step" else np.nan,
                    float(served.loss.mean()),
                    traffic.best_fixed(replay, rows, max(usual, cost)),
                    traffic.on_frontier(replay, rows, cost),
                )
            )
        mean = np.mean(found, axis=0)
        after = f"{mean[3] / window:.1f} windows" if kind == "step" else "-"
        shares = f"{mean[0]:.3f} | {mean[1]:.3f} | {mean[2]:.2f} | {after}"
        yield f"| {name} | {kind} | {shares} | {mean[4]:.4f} | {mean[5]:.4f} | {mean[6]:.4f} |"


def bursts(name: str, replay: traffic.Replayed, count: int) -> str:
    """The same for a budget a second: five times as many requests for three windows."""
    rate, window = 20.0, 30.0
    cost = replay.cost.mean(axis=0)
    # What the cheapest policy costs in the burst, and a tenth more.
    budget = max(1.1 * 5.0 * rate * float(cost[0]), rate * float(cost[len(cost) // 2]))
    found = []
    for rng in traffic.seeds(count):
        clock = traffic.Clock()
        at = traffic.arrivals(window, rate, rng)
        rows = traffic.mixed(replay, np.full(len(at), 0.5), rng)
        governor = tt.BudgetGovernor(replay.family, max_rate=budget, window=window, clock=clock)
        served = traffic.governed(replay, governor, rows, at, clock)
        means = traffic.per_second(served, window)[20:]
        is_burst = slice(80, 110)
        spent = float(served.cost.sum() / served.second[-1])
        found.append((spent / budget, means.max() / budget, means[is_burst].mean() / budget, served.loss.mean()))
    whole, worst, during, loss = np.mean(found, axis=0)
    return (
        f"{name}: {rate:g} requests a second, a burst of five times as many, budget {budget:.4g} a second: "
        f"mean cost / budget {whole:.3f}, in the burst {during:.3f}, worst window {worst:.2f}; loss {loss:.4f}"
    )


def nanoseconds(call: Callable[[float], object], calls: int = 100_000) -> float:
    """CPU time of a call, the best of some passes."""
    best = float("inf")
    for _ in range(7):
        began = time.thread_time()
        for _ in range(calls):
            call(1.5)
        best = min(best, time.thread_time() - began)
    return 1e9 * best / calls


def calls(replay: traffic.Replayed) -> str:
    """What telling a governor takes."""
    most = float(replay.family.costs.mean())
    a_request = tt.BudgetGovernor(replay.family, max_cost=most, window=1000)
    a_second = tt.BudgetGovernor(replay.family, max_rate=most, window=60.0)
    empty = nanoseconds(lambda cost: None)
    return (
        f"a call: {nanoseconds(a_request._spent):.0f} ns for a budget a request, "
        f"{nanoseconds(a_second._spent):.0f} ns for one a second, an empty function {empty:.0f} ns"
    )


def picture(path: Path, name: str, replay: traffic.Replayed, window: int) -> None:
    """Means of windows and the level, one seed, and what the same traffic costs without a governor."""
    from ttamer_fast.plotting.canvas import new_figure, write_figure

    figure = new_figure(9.0, 8.0)
    middle = len(replay.expected) // 2
    usual = float(replay.cost.mean(axis=0)[middle])
    panels: Any = figure.subplots(4, 1)
    kinds = ("step", "drift", "waves")
    for axes, kind in zip(panels, kinds, strict=False):
        rng = np.random.default_rng(0)
        rows = traffic.TRAFFIC[kind](replay, window, rng)
        governor = tt.BudgetGovernor(replay.family, max_cost=usual, window=window)
        served = traffic.governed(replay, governor, rows, None, traffic.Clock())
        alone = traffic.sliding(replay.cost[rows, middle], window)
        at = np.arange(len(rows) - window + 1) / window + 1.0
        axes.plot(at, alone / usual, color="0.6", label="one policy for all")
        axes.plot(at, traffic.sliding(served.cost, window) / usual, color="C0", label="governed")
        axes.plot(
            at, traffic.sliding(served.expected, window) / usual, color="C1", lw=0.9, label="level (cost as calibrated)"
        )
        axes.axhline(1.0, color="k", lw=0.8, ls="--")
        axes.set_title(f"{kind}: mean of each window of {window:,} requests over the budget", loc="left", fontsize=10)
        axes.set_xlabel("windows since the start")
    rate, seconds = 20.0, 30.0
    cost = replay.cost.mean(axis=0)
    budget = max(1.1 * 5.0 * rate * float(cost[0]), rate * float(cost[middle]))
    clock, rng = traffic.Clock(), np.random.default_rng(0)
    at = traffic.arrivals(seconds, rate, rng)
    rows = traffic.mixed(replay, np.full(len(at), 0.5), rng)
    governor = tt.BudgetGovernor(replay.family, max_rate=budget, window=seconds, clock=clock)
    served = traffic.governed(replay, governor, rows, at, clock)
    fixed = traffic.Governed(rows, served.rung, replay.cost[rows, middle], served.loss, at, served.expected)
    axes = panels[3]
    places = np.arange(len(traffic.per_second(served, seconds))) / 10.0 + 1.0
    axes.plot(places, traffic.per_second(fixed, seconds) / budget, color="0.6", label="one policy for all")
    axes.plot(places, traffic.per_second(served, seconds) / budget, color="C0", label="governed")
    axes.axhline(1.0, color="k", lw=0.8, ls="--")
    title = f"burst: five times as many requests; mean of a second over the budget, windows of {seconds:g} s"
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("windows since the start")
    panels[0].legend(loc="upper left", fontsize=8, ncols=3)
    figure.suptitle(name)
    write_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("traces", nargs="*", type=Path)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--picture", type=Path, help="of the first trace")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore", tt.TTamerWarning)
    paths = given.traces or [REPOSITORY / "examples" / "llm_cascade" / "recorded.npz"]
    known = [(path.stem if given.traces else "llm_cascade", traffic.replayed(tt.read_trace(path))) for path in paths]
    print(f"{given.seeds} seeds, windows of {given.window:,} requests\n\n{HEAD}")
    for name, replay in known:
        for line in requests(name, replay, given.window, given.seeds):
            print(line, flush=True)
    print()
    for name, replay in known:
        print(f"* {bursts(name, replay, given.seeds)}", flush=True)
    print(f"* {calls(known[0][1])}")
    if given.picture is not None:
        picture(given.picture, known[0][0], known[0][1], given.window)


if __name__ == "__main__":
    main()
