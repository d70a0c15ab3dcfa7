"""A second policy beside the first: counted as replays say, and no request is any the wiser."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import make_trace

TRACE = make_trace(2000, 4)
assert TRACE.prediction is not None
SIGNAL, LABELS = TRACE.signal, TRACE.prediction
QUICK, CAREFUL = (tt.fit(TRACE, tradeoff=tradeoff) for tradeoff in (0.8, 0.97))
PAIRS = [(QUICK, CAREFUL), (CAREFUL, QUICK), (QUICK, QUICK), (CAREFUL, tt.baselines.threshold(TRACE, tradeoff=0.9))]
ROWS = range(120)


def first(said: tuple[float, int]) -> float:
    return said[0]


def second(said: tuple[float, int]) -> int:
    return said[1]


def stages(calls: Counter[tuple[int, int]], is_async: bool = False) -> list[tt.Stage[int, tuple[float, int]]]:
    def stage(v: int) -> tt.Stage[int, tuple[float, int]]:
        def run(row: int) -> tuple[float, int]:
            calls[row, v] += 1
            return float(SIGNAL[row, v]), int(LABELS[row, v])

        async def arun(row: int) -> tuple[float, int]:
            return run(row)

        if is_async:
            return tt.Stage(arun, signal=first, prediction=second, name=TRACE.stages[v])
        return tt.Stage(run, signal=first, prediction=second, name=TRACE.stages[v])

    return [stage(v) for v in range(4)]


def by_replay(main: tt.Policy, shadow: tt.Policy) -> tuple[int, int, int, int]:
    """What is to be counted of the requests, where both policies only go forward."""
    ran, other = (policy.replay(SIGNAL[ROWS], LABELS[ROWS]).consulted for policy in (main, shadow))
    inside = ~(other & ~ran).any(axis=1)
    agreed = (ran == other).all(axis=1)
    return len(ROWS), int(agreed.sum()), int((inside & ~agreed).sum()), int((~inside).sum())


def counts(report: tt.ShadowReport) -> tuple[int, int, int, int]:
    return report.compared, report.agreed, report.stopped_earlier, report.wanted_more


async def in_tasks(call: Callable[[int], Any]) -> list[Any]:
    return await asyncio.gather(*[call(row) for row in ROWS])


def served_by(door: str, cascade: tt.Cascade[int, Any]) -> list[tt.Served[Any]]:
    if door == "call":
        return [cascade(row) for row in ROWS]
    if door == "batch":
        return list(cascade.batch(list(ROWS)))
    if door == "rows":
        return [cascade.batch([row])[0] for row in ROWS]
    if door == "acall":
        return asyncio.run(in_tasks(cascade.acall))
    if door == "within":
        return asyncio.run(in_tasks(lambda row: cascade.acall(row, deadline=600.0)))

    async def batched() -> list[tt.Served[Any]]:
        async with tt.Batcher(cascade, max_batch=8) as batcher:
            return await in_tasks(batcher)

    return asyncio.run(batched())


def seen(served: Iterable[tt.Served[Any]]) -> list[tuple[Any, ...]]:
    return [(one.output, one.consulted, one.cost, one.expected_loss, one.outcome, one.digest) for one in served]


@pytest.mark.parametrize("door", ["call", "batch", "rows", "acall", "within", "batcher"])
@pytest.mark.parametrize("pair", range(len(PAIRS)))
def test_counted_as_replays_say(pair: int, door: str) -> None:
    main, shadow = PAIRS[pair]
    is_async = door in ("acall", "within", "batcher")
    alone, beside = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    plain = served_by(door, tt.Cascade(main, stages(alone, is_async)))
    cascade = tt.Cascade(main, stages(beside, is_async), shadow=shadow)
    served = served_by(door, cascade)
    assert seen(served) == seen(plain)
    assert alone == beside
    report = cascade.shadow_report()
    assert counts(report) == by_replay(main, shadow)
    assert (report.digest, report.left_out) == (shadow.digest, 0)


@pytest.mark.parametrize("door", ["call", "batch", "rows", "acall", "within", "batcher"])
def test_a_log_and_metrics_beside_it_change_no_count(door: str, tmp_path: Path) -> None:
    """Those who count and follow are told by the log where it is told of a request as it was decided."""
    is_async = door in ("acall", "within", "batcher")
    with tt.RecordLog(tmp_path) as log:
        cascade = tt.Cascade(QUICK, stages(Counter(), is_async), record=log, explore=0.3, shadow=CAREFUL)
        counters = cascade._counted().counters
        served = served_by(door, cascade)
    assert counts(cascade.shadow_report()) == by_replay(QUICK, CAREFUL)
    counted = counters.read()
    assert counted.runs.tolist() == [sum(v in one.consulted for one in served) for v in range(4)]
    outcomes = Counter(one.outcome for one in served)
    assert all(counted.outcomes[outcome] == count for outcome, count in outcomes.items())
    assert sum(counted.outcomes.values()) == len(served)
    assert counted.explored == sum(one.explored for one in served) > 0
    answers = Counter((one.stage, one.recalled) for one in served)
    assert counted.answers.tolist() == [[answers[v, False], answers[v, True]] for v in range(4)]
    assert len(tt.read_records(tmp_path)) == len(ROWS)


def test_what_it_would_have_cost() -> None:
    cascade = tt.Cascade(QUICK, stages(Counter()), shadow=CAREFUL)
    table = cascade.batch(list(ROWS))
    report = cascade.shadow_report()
    main, other = (policy.replay(SIGNAL[ROWS], LABELS[ROWS]) for policy in (QUICK, CAREFUL))
    inside = ~(other.consulted & ~main.consulted).any(axis=1)
    assert 0 < inside.sum() < len(ROWS)
    assert report.cost == pytest.approx(table.cost[inside].sum())
    assert report.shadow_cost == pytest.approx(other.cost[inside].sum())
    assert report.expected_loss == pytest.approx(table.expected_loss[inside].sum())
    assert report.other_answer == (main.answer != other.answer)[inside].sum()
    assert f"of {len(ROWS)} requests" in str(report)


def test_failures_are_told_to_it() -> None:
    begins = QUICK.start().next
    assert begins is not None

    def down(row: int) -> tuple[float, int]:
        raise RuntimeError("down")

    made = stages(Counter())
    made[begins] = tt.Stage(down, signal=first, name=TRACE.stages[begins])
    cascade = tt.Cascade(QUICK, made, shadow=QUICK)
    for row in ROWS:
        cascade(row)
    cascade.batch(list(ROWS))
    assert counts(cascade.shadow_report()) == (2 * len(ROWS), 2 * len(ROWS), 0, 0)


def test_a_request_that_a_deadline_ended_is_left_out() -> None:
    async def never(row: int) -> float:
        await asyncio.sleep(60.0)
        return 0.0

    stage: tt.Stage[int, float] = tt.Stage(never, signal=float)
    cascade = tt.Cascade(QUICK, [stage] * 4, shadow=CAREFUL)
    with pytest.raises(tt.NoAnswerError):
        asyncio.run(cascade.acall(0, deadline=0.01))
    report = cascade.shadow_report()
    assert (report.compared, report.left_out) == (0, 1)
    assert str(report).endswith("nothing compared")


def test_a_slot_as_the_shadow_begins_anew_with_each_policy() -> None:
    slot = tt.PolicySlot(QUICK)
    cascade = tt.Cascade(CAREFUL, stages(Counter()), shadow=slot)
    cascade(0)
    assert cascade.shadow_report().compared == 1
    slot.swap(CAREFUL)
    report = cascade.shadow_report()
    assert (report.compared, report.digest) == (0, CAREFUL.digest)
    cascade(0)
    assert cascade.shadow_report().agreed == 1


def test_arguments() -> None:
    with pytest.raises(tt.ValidationError, match=r"^`shadow` must be a Policy or a PolicySlot, got int$"):
        tt.Cascade(QUICK, stages(Counter()), shadow=3)  # type: ignore[arg-type]
    names = [f"other {v}" for v in range(4)]
    other = tt.fit(tt.Trace(SIGNAL, TRACE.loss, TRACE.cost, LABELS, "models", names), tradeoff=0.9)
    with pytest.raises(tt.ValidationError, match=r"`shadow` must have the stages \['stage 0', .* got \['other 0', "):
        tt.Cascade(QUICK, stages(Counter()), shadow=other)
    with pytest.raises(tt.ValidationError, match=r"^`shadow` must be given for a shadow report, got None$"):
        tt.Cascade(QUICK, stages(Counter())).shadow_report()


def test_a_cascade_keeps_its_shadow_in_a_pickle() -> None:
    cascade: tt.Cascade[float, float] = tt.Cascade(QUICK, [abs] * 4, signal=abs, shadow=tt.PolicySlot(CAREFUL))
    copy = pickle.loads(pickle.dumps(cascade))
    assert copy.shadow_report().digest == CAREFUL.digest
    assert isinstance(copy._listeners.shadow.given, tt.PolicySlot)


def test_what_comparing_predictions_raises_is_left_out() -> None:
    class Odd:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no comparing")

    odd = [Odd() for _ in range(4)]

    def stage(v: int) -> tt.Stage[int, float]:
        return tt.Stage(lambda row: 0.0, signal=float, prediction=lambda _: odd[v])

    cascade = tt.Cascade(QUICK, [stage(v) for v in range(4)], shadow=QUICK)
    with pytest.raises(RuntimeError, match="no comparing"):
        cascade(0)
    assert cascade.shadow_report().compared == 0
    assert np.isfinite(cascade.shadow_report().cost)
