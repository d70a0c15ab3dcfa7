"""A candidate is put in service where explored requests show that it is better, and says why not."""

from __future__ import annotations

import dataclasses
import math
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import logged
import ttamer_fast as tt

pytestmark = pytest.mark.filterwarnings(
    "ignore::ttamer_fast.CalibrationWarning", "ignore::ttamer_fast.CensoredTraceWarning"
)


@cache
def population() -> tt.Trace:
    """Three models; the first is right where its signal says so."""
    rng = np.random.default_rng(1)
    n = 20_000
    signal = rng.random((n, 3))
    loss = rng.random((n, 3)) > signal ** np.array([1.0, 0.5, 0.1])
    return tt.Trace(signal, loss, [1.0, 2.0, 4.0], kind="models", stages=["small", "middle", "large"])


def rows(start: int, stop: int) -> tt.Trace:
    return population().rows(slice(start, stop))


@cache
def fitted() -> tt.Policy:
    return tt.fit(rows(0, 2000), tradeoff=0.9)


@cache
def poor() -> tt.Policy:
    """The first model alone."""
    found = tt.baselines.threshold(rows(0, 2000), tradeoff=0.9)
    return min(found, tt.baselines.static(rows(0, 2000), tradeoff=0.9), key=lambda one: -worth(one))


def worth(policy: tt.Policy) -> float:
    return tt.evaluate(policy, population(), 0.9).objective


def test_a_better_candidate_is_promoted_and_a_worse_one_is_not() -> None:
    assert worth(fitted()) < worth(poor())
    slot = tt.PolicySlot(poor())
    found = tt.promote(slot, fitted(), rows(2000, 6000))
    assert found.promoted
    assert slot.policy == fitted()
    assert found.reason == f"it is better, difference {found.difference:+.4g} on 4000 explored requests"
    assert found.difference == pytest.approx(
        tt.evaluate(fitted(), rows(2000, 6000)).objective - tt.evaluate(poor(), rows(2000, 6000)).objective
    )
    low, high = found.interval
    assert low < worth(fitted()) - worth(poor()) < high < 0.0
    assert (found.requests, found.left_out, found.capital > 20.0) == (4000, 0, True)
    assert (found.digest, found.incumbent) == (fitted().digest, poor().digest)
    back = tt.promote(slot, poor(), rows(2000, 6000))
    assert not back.promoted
    assert slot.policy == fitted()
    assert back.reason.startswith("it is worse, difference +")
    assert back.difference == pytest.approx(-found.difference)
    assert back.interval == pytest.approx((-high, -low))


def test_too_few_requests_say_how_many_more() -> None:
    slot = tt.PolicySlot(poor())
    tried = ((n, tt.promote(slot, fitted(), rows(2000, 2000 + n))) for n in range(30, 4000, 10))
    seen, few = next((n, found) for n, found in tried if found.difference < -0.01)
    assert not few.promoted
    assert slot.policy == poor()
    assert few.reason.startswith("too few explored requests: difference -")
    assert few.capital < 20.0
    assert few.interval[1] > 0.0
    more = float(few.reason.partition("about ")[2].partition(" more")[0])
    again = ((n, tt.promote(tt.PolicySlot(poor()), fitted(), rows(2000, 2000 + n))) for n in range(seen, 8000, 50))
    enough = next(n for n, found in again if found.promoted)
    assert 0.1 * enough < seen + more < 10.0 * enough


def test_a_margin_lets_pass_what_is_hardly_worse() -> None:
    found = tt.promote(tt.PolicySlot(fitted()), poor(), rows(2000, 6000), margin=0.3)
    assert found.promoted
    assert found.difference > 0.0
    assert found.interval[1] < 0.3
    assert found.reason.startswith("it is not worse by more than 0.3, difference +")
    at_margin = tt.promote(tt.PolicySlot(fitted()), poor(), rows(2000, 6000), margin=found.difference)
    assert not at_margin.promoted
    assert at_margin.reason.startswith(f"it is not better than the margin of {found.difference:g} allows, difference +")
    beyond = tt.promote(tt.PolicySlot(fitted()), poor(), rows(2000, 20_000), margin=1e-6)
    assert not beyond.promoted
    assert beyond.reason.startswith("it is worse by more than 1e-06, ")


def test_the_capital_is_at_the_limit_where_the_interval_is_below_the_margin() -> None:
    for stop in (2010, 2100, 2300, 3000, 5000):
        for margin in (0.0, 0.02):
            found = tt.promote(tt.PolicySlot(poor()), fitted(), rows(2000, stop), margin=margin)
            assert found.promoted == (found.interval[1] < margin) == (found.capital >= 1.0 / found.error)


@pytest.mark.rates
def test_equal_candidates_are_rarely_promoted_however_often_one_looks() -> None:
    """Two policies whose objectives are equal on average: each looks at one of two stages that are alike."""
    rng, tests, wrong = np.random.default_rng(5), 200, 0
    both = [
        tt.baselines.static(tt.Trace([[0.5, 0.5]], [[v, 1.0 - v]], [1.0, 1.0], kind="models"), 0.9) for v in (0.0, 1.0)
    ]
    assert {int(np.argmax(policy.replay(np.full((1, 2), 0.5)).consulted)) for policy in both} == {0, 1}
    for _ in range(tests):
        loss = rng.random((400, 2)) < 0.3
        whole = tt.Trace(np.full((400, 2), 0.5), loss, [1.0, 1.0], kind="models")
        slot = tt.PolicySlot(both[0])
        wrong += any(tt.promote(slot, both[1], whole.rows(slice(n)), error=0.2).promoted for n in range(20, 401, 20))
    assert 0 < wrong / tests <= 0.2 + 3.0 * math.sqrt(0.16 / tests)


def test_the_policy_in_service_and_other_stages() -> None:
    slot = tt.PolicySlot(fitted())
    same = tt.promote(slot, tt.Policy.from_bytes(fitted().to_bytes()), rows(2000, 3000))
    assert (same.promoted, same.reason) == (False, "the candidate is the policy in service")
    assert math.isnan(same.difference)
    assert same.interval == (-math.inf, math.inf)
    trace = population()
    renamed = tt.Trace(trace.signal, trace.loss, trace.cost, kind="models", stages=["a", "b", "c"])
    other = tt.promote(slot, tt.fit(renamed.rows(slice(2000)), tradeoff=0.9), rows(2000, 3000))
    assert other.reason == (
        "`candidate` must have the stages ['small', 'middle', 'large'], in this order, got ['a', 'b', 'c']"
    )
    assert not other.promoted
    assert slot.policy == fitted()


def test_a_policy_that_changed_meanwhile_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    slot, third = tt.PolicySlot(poor()), tt.fit(rows(0, 1000), tradeoff=0.9)
    whole = tt.PolicySlot.swap

    def late(self: tt.PolicySlot, policy: tt.Policy, **given: Any) -> None:
        monkeypatch.undo()
        self.swap(third)
        whole(self, policy, **given)

    monkeypatch.setattr(tt.PolicySlot, "swap", late)
    found = tt.promote(slot, fitted(), rows(2000, 6000))
    assert not found.promoted
    assert slot.policy == third
    assert found.reason.startswith("it is better, difference -")
    assert found.reason.endswith("; but the policy in service has changed meanwhile: test it against that one")


def test_prices_are_those_of_the_policy_in_service() -> None:
    trace = population()
    dear = tt.Trace(trace.signal, trace.loss, [4.0, 2.0, 1.0], kind="models", stages=trace.stages)
    slot = tt.PolicySlot(poor())
    found = tt.promote(slot, fitted(), dear.rows(slice(2000, 6000)))
    assert found.difference == tt.promote(tt.PolicySlot(poor()), fitted(), rows(2000, 6000)).difference


def test_nothing_as_an_answer_is_judged_alike_for_both() -> None:
    declines = tt.fit(rows(0, 2000), tradeoff=0.9, default_loss=0.2)
    found = tt.promote(tt.PolicySlot(poor()), declines, rows(2000, 8000))
    ours = tt.evaluate(declines, rows(2000, 8000), default_loss=0.2).objective
    assert found.difference == pytest.approx(ours - tt.evaluate(poor(), rows(2000, 8000)).objective)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"slot": 3}, "`slot` must be a PolicySlot, got int"),
        ({"candidate": "x"}, "`candidate` must be a Policy, got str"),
        ({"records": 3}, "`records` must be Records or a Trace, got int"),
        ({"error": 0.5}, "`error` must be above 0 and below 0.5, got 0.5"),
        ({"margin": -0.1}, "`margin` must be finite and at least 0, got -0.1"),
        ({"tradeoff": 1.1}, "`tradeoff` must be between 0 and 1, got 1.1"),
        ({"largest_loss": 0.5}, "`largest_loss` must be at least every loss, got 0.5, row 2 has 1"),
        ({"truth": {}}, "`truth`, `teacher` and `since` must come with records, not with a trace"),
        ({"since": 3.0}, "`truth`, `teacher` and `since` must come with records, not with a trace"),
        ({"records": "weighted"}, "`records` must be requests that count alike, got a trace with weights"),
        ({"records": "censored"}, "`records` must know every loss, or say with which chance"),
        ({"records": "asked"}, "`records` must be requests that were run through with one chance: give the log"),
        ({"records": "own"}, "`candidate` must be judged on other requests than those that it was fitted on"),
    ],
)
def test_what_is_not_allowed(given: dict[str, Any], text: str) -> None:
    some = rows(2000, 2100)
    loss = np.where(np.arange(100)[:, np.newaxis] % 3 == [0, 3, 3], np.nan, some.loss)
    chance = np.where(np.isnan(loss), np.nan, np.where(np.arange(100)[:, np.newaxis] % 2, 1.0, 0.02))
    made = {
        "weighted": some.weighted(np.arange(1.0, 101.0)),
        "censored": tt.Trace(some.signal, loss, some.cost, kind="models", stages=some.stages),
        "asked": tt.Trace(some.signal, loss, some.cost, kind="models", stages=some.stages, propensity=chance),
        "own": rows(0, 2000),
    }
    given = {name: made.get(value, value) if name == "records" else value for name, value in given.items()}
    arguments: dict[str, Any] = {"slot": tt.PolicySlot(poor()), "candidate": fitted(), "records": rows(2000, 3000)}
    arguments |= given
    with pytest.raises(tt.ValidationError) as caught:
        tt.promote(**arguments)
    assert str(caught.value).startswith(text)


def test_the_tradeoff_has_to_be_known() -> None:
    other = tt.fit(rows(0, 2000), tradeoff=0.8)
    with pytest.raises(tt.ValidationError, match=r"the policy in service is for 0\.9, the candidate for 0\.8"):
        tt.promote(tt.PolicySlot(poor()), other, rows(2000, 3000))
    assert tt.promote(tt.PolicySlot(poor()), other, rows(2000, 3000), tradeoff=0.85).tradeoff == 0.85


def test_a_governed_slot_refuses() -> None:
    governor = tt.BudgetGovernor(tt.fit_family(rows(0, 1000)), max_cost=3.0, window=100)
    with pytest.raises(tt.ValidationError, match="`slot` is moved by a governor"):
        tt.promote(governor.slot, fitted(), rows(2000, 3000))


def test_a_promotion_is_readable_and_frozen() -> None:
    found = tt.promote(tt.PolicySlot(poor()), fitted(), rows(2000, 6000))
    lines = str(found).splitlines()
    head = f"{fitted().digest[:12]} is in service instead of {poor().digest[:12]}: it is better, difference "
    assert lines[0].startswith(head)
    assert lines[1] == "explored requests  4000 judged, 0 left out"
    assert lines[2].startswith("difference         -")
    assert "(90 % interval -" in lines[2]
    assert lines[3].endswith(" of 20")
    assert lines[4] == "objective          of tradeoff 0.9, margin 0"
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.promoted = False  # type: ignore[misc]
    assert found.to_dict()["requests"] == 4000
    assert str(tt.promote(tt.PolicySlot(fitted()), fitted(), rows(2000, 6000))).count("\n") == 2


class Log:
    """A cascade of the look-ups of `logged`, whose log is judged on."""

    def __init__(self, folder: Path, explore: float = 0.5, **runs: Any) -> None:
        self.policy = tt.baselines.static(logged.table(), tradeoff=0.9)
        self.candidate = logged.policy()
        self.folder = folder
        said = logged.table().prediction
        assert said is not None
        self.said = said
        self.truth: dict[str, int] = {}
        self.explore, self.runs = explore, runs

    def serve(self, rows: range) -> list[tt.Served[Any]]:
        stages = [logged.stage(number, self.runs.get(f"stage_{number}")) for number in range(logged.K)]
        with tt.RecordLog(self.folder) as log:
            cascade = tt.Cascade(self.policy, stages, record=log, explore=self.explore)
            served = [cascade(row) for row in rows]
        losses = logged.table().loss
        for row, one in zip(rows, served, strict=True):
            right = np.flatnonzero(losses[row] == 0.0)
            self.truth[one.request_id] = int(self.said[row, right[0]]) if right.size else -5
        return served

    def promote(self, **given: Any) -> tt.Promotion:
        given = {"truth": self.truth} | given
        return tt.promote(tt.PolicySlot(self.policy), self.candidate, tt.read_records(self.folder), **given)


def test_explored_requests_of_a_log_judge(tmp_path: Path) -> None:
    log = Log(tmp_path)
    served = log.serve(range(600))
    explored = [row for row, one in enumerate(served) if one.explored]
    found = log.promote()
    assert (found.requests, found.left_out) == (len(explored), 0)
    # All that the records know is what the table has.
    records = tt.read_records(tmp_path)
    complete = tt.read_records(tmp_path, explored=True).trace(explored_of(records, log))
    direct = tt.promote(tt.PolicySlot(log.policy), log.candidate, complete.weighted(None))
    assert found.difference == pytest.approx(direct.difference, rel=1e-12)
    table = logged.table().rows(explored)
    np.testing.assert_array_equal(complete.signal, table.signal)
    ours, theirs = (tt.evaluate(one, table).objective for one in (log.candidate, log.policy))
    assert found.difference == pytest.approx(ours - theirs)
    taught = log.promote(truth=None, teacher=logged.policy().stages[-1])
    assert taught.teacher == logged.policy().stages[-1]
    assert taught.requests == len(explored)


def test_only_requests_since_a_time_judge(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.serve(range(200))
    between = time.time()
    late = sum(one.explored for one in log.serve(range(200, 600)))
    assert log.promote(since=between).requests == late < log.promote().requests
    none = log.promote(since=time.time() + 100.0)
    assert none.reason.startswith("there is no explored request of these stages")
    assert none.requests == 0


def test_records_of_several_policies_judge_together(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.serve(range(300))
    log.policy = tt.baselines.threshold(logged.table(), tradeoff=0.9)
    log.serve(range(300, 600))
    counts = tt.read_records(tmp_path).counts()
    assert len(counts.policies) == 2
    assert log.promote().requests == counts.explored


def test_what_is_not_known_is_left_out_and_counted(tmp_path: Path) -> None:
    def fails_at_times(row: int) -> logged.Spoken:
        if row % 5 == 0:
            raise ValueError
        return logged.Spoken(row, 2)

    log = Log(tmp_path, stage_2=fails_at_times)
    served = log.serve(range(600))
    unlabelled = {one.request_id for row, one in enumerate(served) if row % 7 == 0}
    log.truth = {name: label for name, label in log.truth.items() if name not in unlabelled}
    known = [row for row, one in enumerate(served) if one.explored and row % 5 and row % 7]
    found = log.promote()
    assert (found.requests, found.left_out) == (len(known), sum(one.explored for one in served) - len(known))


def test_nothing_labelled_and_nothing_explored(tmp_path: Path) -> None:
    log = Log(tmp_path / "some")
    served = log.serve(range(60))
    explored = sum(one.explored for one in served)
    found = log.promote(truth={one.request_id: 1 for one in served if not one.explored})
    assert found.reason == (
        f"of none of {explored} explored requests every loss is known: give `truth`, or wait for it"
    )
    assert (found.promoted, found.left_out) == (False, explored)
    without = Log(tmp_path / "none", explore=0.0)
    without.serve(range(60))
    assert without.promote().reason.startswith("there is no explored request of these stages")
    with pytest.raises(tt.ValidationError, match="`truth` or `teacher` must be given, got neither"):
        log.promote(truth=None)


def test_a_candidate_that_was_fitted_on_the_log_is_refused(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.serve(range(600))
    records = tt.read_records(tmp_path)
    for trace in (records.trace(log.truth), tt.read_records(tmp_path, explored=True).trace(explored_of(records, log))):
        log.candidate = tt.fit(trace, tradeoff=0.9)
        with pytest.raises(tt.ValidationError, match="say `since` when these ended"):
            log.promote()
    assert log.promote(since=time.time() + 100.0).requests == 0


def explored_of(records: tt.Records, log: Log) -> dict[str, int]:
    return {one.request_id: log.truth[one.request_id] for one in records if one.explored}


def test_requests_that_were_run_through_are_a_uniform_sample(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.policy = logged.policy()
    served = log.serve(range(600))
    explored = [row for row, one in enumerate(served) if one.explored]
    records = tt.read_records(tmp_path, explored=True)
    trace = records.trace({served[row].request_id: log.truth[served[row].request_id] for row in explored})
    last = tt.baselines.static(logged.table(), tradeoff=1.0)
    # Each counts alike, also where the policy itself asked for every stage.
    assert tt.evaluate(last, trace).loss == pytest.approx(tt.evaluate(last, logged.table().rows(explored)).loss)
