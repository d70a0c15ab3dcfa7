"""What a cascade costs beside its stages: one by one, and in batches.

usage: python benches/serving.py [--rows 256] [--stages 4] [--repeats 25]

The stages do nothing but hand on the request's number. Prints a markdown table of microseconds of CPU time a consulted
stage, and of what is left of it without the calls of the stages; the least of several repeats, taken in turns so that
both sides of a ratio come from the same minutes. Answers are compared with those of a replay first.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt

TRADEOFF = 0.9

FAR = 60.0
"""Seconds that no request takes."""


def synthetic(n: int, k: int) -> tt.Trace:
    """Exits that get better and dearer, each as often right as it is sure; they take milliseconds."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=(n, 1))
    signal = 1.0 / (1.0 + np.exp(difficulty - rng.normal(size=(n, k)) - np.linspace(0.0, 2.0, k)))
    loss, cost = rng.random((n, k)) >= signal, np.geomspace(1.0, 8.0, k)
    return tt.Trace(signal, loss, cost, latency=1e-3 * cost * rng.gamma(4.0, size=(n, k)))


def same(x: Any) -> Any:
    """A stage that does nothing, to one request or to many."""
    return x


class Loops:
    """The same requests served in every way."""

    def __init__(self, policy: tt.Policy, timed: tt.Policy, signal: NDArray[np.float64]) -> None:
        self.policy, self.timed, self.signal = policy, timed, signal
        self.rows = np.arange(len(signal))
        self.requests: list[int] = self.rows.tolist()
        self.columns = [np.ascontiguousarray(column) for column in signal.T]
        self.readers: list[Callable[[int], float]] = [column.tolist().__getitem__ for column in self.columns]
        self.replay = policy.replay(signal)
        self.consulted: list[list[int]] = [run.nonzero()[0].tolist() for run in self.replay.consulted]
        self.waiting = [run.nonzero()[0] for run in self.replay.consulted.T]
        self.single = self._cascade(None, self.readers)
        self.vectorised = self._cascade(same, [column.__getitem__ for column in self.columns])
        self.planning = self._cascade(None, self.readers, timed)

    def _cascade(
        self,
        batch: Callable[[Any], Any] | None,
        readers: Sequence[Callable[[Any], Any]],
        policy: tt.Policy | None = None,
    ) -> tt.Cascade[int, int]:
        # In the caller's thread, deadlines or not.
        stages = [
            tt.Stage(same, batch=batch, signal=reader, name=name, threads=0)
            for reader, name in zip(readers, self.policy.stages, strict=True)
        ]
        return tt.Cascade(self.policy if policy is None else policy, stages)

    def calls(self) -> None:
        for x in self.requests:
            for stage in self.consulted[x]:
                self.readers[stage](same(x))

    def batch_calls(self) -> None:
        for column, rows in zip(self.columns, self.waiting, strict=True):
            column.__getitem__(same(rows))

    def calls_of_one(self) -> None:
        for x in self.requests:
            for stage in self.consulted[x]:
                self.columns[stage].__getitem__(same([x]))

    def by_hand(self) -> list[int]:
        answers = []
        for x in self.requests:
            run, outputs = self.policy.start(), {}
            stage = run.next
            while stage is not None:
                outputs[stage] = output = same(x)
                stage = run.observe(self.readers[stage](output))
            assert run.answer is not None
            answers.append(outputs[run.answer])
        return answers

    def one_by_one(self) -> list[tt.Served[int]]:
        return [self.single(x) for x in self.requests]

    def one_by_one_cut_off(self) -> list[tt.Served[int]]:
        return [self.single(x, FAR) for x in self.requests]

    def one_by_one_planned(self) -> list[tt.Served[int]]:
        return [self.planning(x, FAR) for x in self.requests]

    def clock(self) -> None:
        for x in self.requests:
            for _ in self.consulted[x]:
                time.monotonic()

    def batch_by_hand(self) -> list[int]:
        batch = self.policy.start_batch(len(self.rows))
        outputs = np.empty((len(self.columns), len(self.rows)), np.int64)
        for stage, column in enumerate(self.columns):
            rows = batch.rows(stage)
            if rows.size:
                outputs[stage, rows] = output = same(self.rows[rows])
                batch.observe(stage, column[output])
        answered: list[int] = outputs[batch.answer, self.rows].tolist()
        return answered

    def batch(self) -> tt.ServedBatch[int]:
        return self.vectorised.batch(self.rows)

    def batch_and_columns(self) -> None:
        table = self.batch()
        assert len(table.consulted) == len(table.outcome)

    def batch_and_objects(self) -> list[tt.Served[int]]:
        return list(self.batch())

    def batch_and_records(self) -> list[tt.Record]:
        return [served.record for served in self.batch()]

    def batch_of_plain_stages(self) -> tt.ServedBatch[int]:
        return self.single.batch(self.requests)

    def batches_of_one(self) -> list[tt.ServedBatch[int]]:
        return [self.vectorised.batch([x]) for x in self.requests]

    def check(self) -> None:
        """Every way gives the answers of the replay."""
        answer, requests = self.replay.answer.tolist(), self.requests
        assert self.by_hand() == self.batch_by_hand() == requests
        cut_off, planned = self.one_by_one_cut_off(), self.one_by_one_planned()
        for served in (
            cut_off,
            planned,
            self.one_by_one(),
            self.batch_and_objects(),
            [table[0] for table in self.batches_of_one()],
        ):
            assert [one.stage for one in served] == answer
            assert [one.output for one in served] == requests
        for table in (self.batch(), self.batch_of_plain_stages()):
            assert table.stage.tolist() == answer
            assert table.outputs == requests
            assert np.array_equal(table.consulted, self.replay.consulted)


async def asame(x: Any) -> Any:
    """The same, to be awaited."""
    return x


class AsyncLoops:
    """The same requests served by coroutines that never wait, one after the other in one task."""

    def __init__(self, loops: Loops) -> None:
        self._loops = loops
        self._loop = asyncio.new_event_loop()
        self._without = self._cascade()
        self._timely = self._cascade(timeout=60.0)
        self._guarded = self._cascade(timeout=60.0, retries=2, breaker=tt.Breaker())
        self._planning = self._cascade(loops.timed)

    def _cascade(self, policy: tt.Policy | None = None, **limits: Any) -> tt.Cascade[int, int]:
        stages = [
            tt.Stage(asame, signal=reader, name=name, **limits)
            for reader, name in zip(self._loops.readers, self._loops.policy.stages, strict=True)
        ]
        return tt.Cascade(self._loops.policy if policy is None else policy, stages)

    async def _calls(self) -> None:
        for x in self._loops.requests:
            for stage in self._loops.consulted[x]:
                self._loops.readers[stage](await asame(x))

    async def _serve(self, cascade: tt.Cascade[int, int], deadline: float | None) -> list[tt.Served[int]]:
        return [await cascade.acall(x, deadline) for x in self._loops.requests]

    def check(self) -> None:
        """Every way gives the answers of the replay."""
        for cascade in (self._without, self._timely, self._guarded, self._planning):
            for deadline in (None, FAR):
                served = self._loop.run_until_complete(self._serve(cascade, deadline))
                assert [one.stage for one in served] == self._loops.replay.answer.tolist()

    def ways(self) -> list[tuple[str, Callable[[], object], str, str]]:
        """Name, loop, what the stages alone are, and beside what it is to be put."""

        def way(
            name: str, made: Callable[[], Coroutine[Any, Any, object]]
        ) -> tuple[str, Callable[[], object], str, str]:
            return name, lambda: self._loop.run_until_complete(made()), "the stages awaited", "`await cascade.acall(x)`"

        return [
            ("the stages awaited", lambda: self._loop.run_until_complete(self._calls()), "the stages awaited", ""),
            way("`await cascade.acall(x)`", partial(self._serve, self._without, None)),
            way("the same, with a deadline", partial(self._serve, self._without, FAR)),
            way("the same, by a policy that knows time", partial(self._serve, self._planning, FAR)),
            way("the same, with a time-out for each stage", partial(self._serve, self._timely, None)),
            way("the same, with retries and a breaker too", partial(self._serve, self._guarded, None)),
        ]


def least(loops: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Seconds of CPU time of each, the least of several repeats in turns."""
    found = [float("inf")] * len(loops)
    for _ in range(repeats):
        for i, loop in enumerate(loops):
            started = time.process_time()
            loop()
            found[i] = min(found[i], time.process_time() - started)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=25)
    given = parser.parse_args()
    train, test = synthetic(4000 + given.rows, given.stages).split(test=given.rows / (4000 + given.rows))
    policy, timed = (tt.fit(train, tradeoff=TRADEOFF, graph="line", deadline=deadline) for deadline in (False, True))
    loops = Loops(policy, timed, test.signal)
    coroutines = AsyncLoops(loops)
    loops.check()
    coroutines.check()
    steps = int(loops.replay.consulted.sum())
    one, many, single = (f"the stages called, {rows}" for rows in ("a row", f"{len(test)} rows", "1 row in an array"))
    run, batch = "a hand-written loop around a run", f"a hand-written batch of {len(test)}"
    ways: list[tuple[str, Callable[[], object], str, str]] = [
        (one, loops.calls, one, ""),
        (run, loops.by_hand, one, ""),
        ("`cascade(x)`", loops.one_by_one, one, run),
        ("`cascade(x, deadline)`", loops.one_by_one_cut_off, one, "`cascade(x)`"),
        ("`cascade(x, deadline)`, a policy that knows time", loops.one_by_one_planned, one, "`cascade(x, deadline)`"),
        ("a look at the clock", loops.clock, "", ""),
        (many, loops.batch_calls, many, ""),
        (batch, loops.batch_by_hand, many, ""),
        (f"`cascade.batch`, {len(test)} rows", loops.batch, many, batch),
        ("the same, all columns read", loops.batch_and_columns, many, batch),
        ("the same, an object for each row", loops.batch_and_objects, many, batch),
        ("the same, and the record of each", loops.batch_and_records, many, batch),
        ("the same, stages without `batch`", loops.batch_of_plain_stages, one, batch),
        (single, loops.calls_of_one, single, ""),
        ("`cascade.batch`, 1 row", loops.batches_of_one, single, "`cascade(x)`"),
        *coroutines.ways(),
    ]
    taken = least([loop for _, loop, _, _ in ways], given.repeats)
    each = {name: 1e6 * seconds / steps for (name, *_), seconds in zip(ways, taken, strict=True)}
    print(f"{steps / len(test):.2f} of {given.stages} stages a request; µs of CPU time a consulted stage\n")
    print("| way | µs | without the stages | beside | ratio |\n| --- | --- | --- | --- | --- |")
    for name, _, stages, beside in ways:
        ratio = f"{each[name] / each[beside]:.2f}" if beside else ""
        print(f"| {name} | {each[name]:.3f} | {each[name] - each.get(stages, 0.0):.3f} | {beside} | {ratio} |")


if __name__ == "__main__":
    main()
