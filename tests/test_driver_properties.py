"""Drivers under any fate of their stages: answers, failures, stages that cannot be tried, deadlines in between."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from serving_policies import DEFAULTS, KINDS, policy_of, price_of, walked
from ttamer_fast.serving.batch_driver import BatchDriver
from ttamer_fast.serving.driver import Driver
from ttamer_fast.serving.one_driver import OneDriver
from ttamer_fast.serving.opening import Opening
from ttamer_fast.traces.record import PolicyIdentity

MOST = 4
"""Stages of the largest policy."""

Fate: TypeAlias = Literal["answered", "failed", "barred", "cut_off", "stopped"]
FATES: tuple[Fate, ...] = ("answered", "failed", "barred", "cut_off", "stopped")

Request: TypeAlias = tuple[list[float], list[Hashable], list[Fate]]
"""What each stage says, and what becomes of it when it is asked."""

often = st.sampled_from([*["answered"] * 6, *["failed"] * 3, *["barred"] * 3, "cut_off", "stopped"])
lasting = st.sampled_from([*["answered"] * 2, "failed", "barred"])
signals = st.one_of(st.sampled_from([0.0, 1.0, math.nan]), st.floats(0.0, 1.0))
predictions = st.one_of(st.none(), st.integers(0, 2), st.sampled_from(["cat", ("a", 1), 2**70]))


def requests_of(fates: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Requests, with a signal, a prediction and a fate for each stage."""
    return st.tuples(*[st.lists(one, min_size=MOST, max_size=MOST) for one in (signals, predictions, fates)])


requests = requests_of(st.one_of(often, often, lasting))


def reason(fate: Fate, stage: int) -> str:
    return f"{fate} at {stage}"


def tell(driver: Driver[str], request: Request, seconds: Mapping[int, float]) -> Fate:
    """The stage asked meets its fate."""
    stage = driver.ask
    assert stage is not None
    signal, prediction, fates = request
    fate = fates[stage]
    if stage in seconds:
        driver.took(seconds[stage])
    if fate == "answered":
        assert driver.answered(signal[stage], prediction[stage], f"output {stage}") == driver.ask
    elif fate == "failed":
        assert driver.failed(reason(fate, stage)) == driver.ask
    elif fate == "barred":
        assert driver.barred(reason(fate, stage)) == driver.ask
    elif fate == "cut_off":
        driver.cut_off(reason(fate, stage))
    else:
        driver.stopped(reason(fate, stage))
    return fate


def driven(kind: str, request: Request, seconds: Mapping[int, float]) -> tuple[Driver[str], dict[int, Fate]]:
    """A driver that has gone through a request, and what became of the stages asked, in this order."""
    policy = policy_of(kind)
    driver: Driver[str] = Driver(policy, PolicyIdentity.of(policy))
    met: dict[int, Fate] = {}
    while (stage := driver.ask) is not None:
        assert stage not in met
        met[stage] = tell(driver, request, seconds)
        assert driver.ask is None or met[stage] not in ("cut_off", "stopped")
    return driver, met


def alone(kind: str, request: Request) -> tuple[int | None, float, float]:
    """Answer, expected loss and cost of a run that meets the same."""
    run = policy_of(kind).start()
    while (stage := run.next) is not None:
        fate = request[2][stage]
        if fate == "answered":
            run.observe(request[0][stage], request[1][stage])
        elif fate == "failed":
            run.fail()
        elif fate == "barred":
            run.bar()
        else:
            before = run.cost
            run.stop()
            return run.answer, run.expected_loss, before if fate == "stopped" else run.cost
    return run.answer, run.expected_loss, run.cost


def lost(met: Mapping[int, Fate], fates: Sequence[Fate]) -> dict[int, str]:
    return {stage: reason(fate, stage) for stage, fate in met.items() if fate in fates}


@given(st.sampled_from(KINDS), requests, st.dictionaries(st.integers(0, MOST - 1), st.floats(0.0, 9.0)))
def test_any_request_ends_with_the_best_answer_in_hand(kind: str, request: Request, seconds: dict[int, float]) -> None:
    driver, met = driven(kind, request, seconds)
    begun = [stage for stage, fate in met.items() if fate not in ("barred", "stopped")]
    failures, barred = lost(met, ("failed", "cut_off")), lost(met, ("barred", "stopped"))
    answer, expected_loss, cost = alone(kind, request)
    prices = [price_of(kind, before, stage) for before, stage in zip([None, *begun], begun, strict=False)]
    assert cost == pytest.approx(sum(prices))
    if answer is None and kind not in DEFAULTS:
        assert all(fate != "answered" for fate in met.values())
        with pytest.raises(tt.NoAnswerError) as caught:
            driver.served()
        assert caught.value.failures == failures | barred
        assert len(caught.value.failures) == len(met) > 0
        return
    served = driver.served()
    assert (served.stage, served.expected_loss, served.cost) == (answer, expected_loss, cost)
    assert served.output == (None if answer is None else f"output {answer}")
    assert served.consulted == tuple(begun)
    assert (served.failures, served.barred) == (failures, barred)
    assert answer is None or met[answer] == "answered"
    is_late = any(fate in ("cut_off", "stopped") for fate in met.values())
    assert served.record.late == is_late
    if is_late:
        assert served.outcome == "deadline"
    elif begun and begun[-1] in failures:
        assert served.outcome == "failed"
    elif answer is None:
        assert served.outcome == "abstained"
    else:
        assert served.outcome == ("stopped" if answer == begun[-1] else "recalled")
    said = [math.nan if met.get(v) != "answered" else request[0][v] for v in range(len(served.signal))]
    np.testing.assert_array_equal(served.signal, said)
    timed = {stage: seconds[stage] for stage in begun if stage in seconds}
    if timed:
        np.testing.assert_array_equal(served.seconds, [timed.get(v, math.nan) for v in range(len(said))])
    else:
        assert served.seconds is None


def one_by_one(
    kind: str, requests: Sequence[Request], times: Sequence[Mapping[int, float]]
) -> list[tt.Served[str] | tt.NoAnswerError]:
    found: list[tt.Served[str] | tt.NoAnswerError] = []
    for request, seconds in zip(requests, times, strict=True):
        driver, _ = driven(kind, request, seconds)
        try:
            found.append(driver.served())
        except tt.NoAnswerError as error:
            found.append(error)
    return found


def tell_rows(
    driver: BatchDriver[str] | OneDriver[str],
    requests: Sequence[Request],
    order: Sequence[Fate],
    listed: Callable[[Any], Any] = list,
) -> None:
    """All rows asked meet their fates, one kind of them after the other."""
    assert driver.ask is not None
    stage, rows = driver.ask
    left = rows.tolist()
    for fate in order:
        at = [position for position, row in enumerate(left) if requests[row][2][stage] == fate]
        if not at:
            continue
        if fate in ("failed", "cut_off"):
            (driver.failed if fate == "failed" else driver.cut_off)(dict.fromkeys(at, reason(fate, stage)))
        else:
            (driver.barred if fate == "barred" else driver.stopped)(reason(fate, stage), at)
        left = [row for position, row in enumerate(left) if position not in at]
        assert not left or (driver.ask is not None and driver.ask[1].tolist() == left)
    if left:
        signal = np.array([requests[row][0][stage] for row in left])
        said = [requests[row][1][stage] for row in left]
        driver.answered(signal, said, listed([f"output {stage}" for _ in left]))


@given(
    st.sampled_from(KINDS),
    st.lists(requests, max_size=6),
    st.permutations(FATES[1:]),
    st.dictionaries(st.integers(0, MOST - 1), st.floats(0.0, 9.0)),
    st.one_of(st.just(-1), st.integers(0, MOST)),
)
def test_many_in_step_are_decided_one_by_one(
    kind: str, given: list[Request], order: list[Fate], seconds: dict[int, float], ends_at: int
) -> None:
    policy = policy_of(kind)
    k = len(policy.stages)
    driver: BatchDriver[str] = BatchDriver(policy, PolicyIdentity.of(policy), len(given))
    times: list[dict[int, float]] = [{} for _ in given]
    open_stages = [set(range(k)) for _ in given]
    asked = 0
    while driver.ask is not None:
        stage, rows = driver.ask
        assert rows.tolist() == sorted(set(rows.tolist()))
        if asked == ends_at:
            driver.stopped("stopped at all")
            # Whatever a row waits for now, and has not met before, it is stopped at.
            for request, still in zip(given, open_stages, strict=True):
                for other in still:
                    request[2][other] = "stopped"
            break
        asked += 1
        for row in rows.tolist():
            open_stages[row].remove(stage)
            if stage in seconds and given[row][2][stage] not in ("barred", "stopped"):
                times[row][stage] = seconds[stage]
        if stage in seconds:
            driver.took(seconds[stage])
        tell_rows(driver, given, order)
    table, singly = driver.served(), one_by_one(kind, given, times)
    ended = asked == ends_at
    for i, one in enumerate(singly):
        if isinstance(one, tt.NoAnswerError):
            assert (table.stage[i], table.outputs[i]) == (-1, None)
            with pytest.raises(tt.NoAnswerError) as caught:
                table[i]
            assert sorted(caught.value.failures) == sorted(one.failures)
            assert sorted({**table.failures.get(i, {}), **table.barred.get(i, {})}) == sorted(one.failures)
            assert np.flatnonzero(table.consulted[i]).tolist() == sorted(table.failures.get(i, {}))
            continue
        served = table[i]
        assert facts(served, ended) == facts(one, ended)
        assert (served.output, served.outcome) == (table.outputs[i], table.outcome[i])
        assert (table.stage[i], table.cost[i]) == (-1 if served.stage is None else served.stage, served.cost)
        assert table.expected_loss[i] == served.expected_loss
        assert np.flatnonzero(table.consulted[i]).tolist() == sorted(served.consulted)
        assert (table.failures.get(i, {}), table.barred.get(i, {})) == (served.failures, served.barred)
        if table.seconds is not None:
            none = np.full(k, math.nan)
            np.testing.assert_array_equal(table.seconds[i], none if served.seconds is None else served.seconds)
    check_iterated(table, singly)


def one_of(policy: tt.Policy) -> OneDriver[str]:
    identity = PolicyIdentity.of(policy)
    return OneDriver(Driver(policy, identity), identity)


@given(
    st.sampled_from(KINDS),
    requests,
    st.permutations(FATES[1:]),
    st.dictionaries(st.integers(0, MOST - 1), st.floats(0.0, 9.0)),
    st.sampled_from([list, np.asarray]),
)
def test_one_in_step_is_served_as_one_of_many(
    kind: str, request: Request, order: list[Fate], seconds: dict[int, float], listed: Callable[[Any], Any]
) -> None:
    policy = policy_of(kind)
    identity = PolicyIdentity.of(policy)
    one_of_one = Opening(policy, identity, (), None, None).many(["x"], lambda: 0.0, math.inf, 1)
    drivers: list[BatchDriver[str] | OneDriver[str]] = [BatchDriver(policy, identity, 1), one_of_one]
    assert isinstance(drivers[1], OneDriver)
    for driver in drivers:
        while driver.ask is not None:
            if driver.ask[0] in seconds:
                driver.took(seconds[driver.ask[0]])
            tell_rows(driver, [request], order, listed)
    many, one = (driver.served() for driver in drivers)
    for name in ("stage", "cost", "expected_loss", "consulted", "outcome", "seconds"):
        theirs, ours = getattr(many, name), getattr(one, name)
        assert (theirs is None) == (ours is None)
        if theirs is not None:
            assert (theirs.dtype, theirs.shape, theirs.flags.writeable) == (
                ours.dtype,
                ours.shape,
                ours.flags.writeable,
            )
            np.testing.assert_array_equal(theirs, ours)
    assert (many.outputs, many.failures, many.barred) == (one.outputs, one.failures, one.barred)
    assert (len(many), repr(many)) == (len(one), repr(one))
    if many.stage[0] < 0 and kind not in DEFAULTS:
        for table in (many, one):
            with pytest.raises(tt.NoAnswerError) as caught:
                table[0]
            assert caught.value.failures == {**many.failures.get(0, {}), **many.barred.get(0, {})}
            with pytest.raises(tt.NoAnswerError):
                list(table)
        return
    assert facts(many[0], False) == facts(one[0], False) == facts(next(iter(one)), False)
    assert one[0].request_id.endswith(".0")
    again = pickle.loads(pickle.dumps(one))
    assert (again[0].record, again.outputs) == (one[0].record, one.outputs)


def facts(served: tt.Served[str], ended: bool) -> tuple[Any, ...]:
    """All but the name of the request; where all were stopped at once, of the stages not tried only which they are."""
    record = served.record
    barred = sorted(record.barred) if ended else list(record.barred.items())
    seconds = None if record.seconds is None else record.seconds.tobytes()
    said = [(stage, repr(signal), prediction) for stage, signal, prediction in record.steps]
    ending = record.answer, record.cost, record.expected_loss, record.outcome, record.late
    return served.output, said, ending, list(record.failures.items()), barred, seconds


def check_iterated(table: tt.ServedBatch[str], singly: Sequence[tt.Served[str] | tt.NoAnswerError]) -> None:
    """Iterating gives what indexing gives, up to a row without an answer."""
    unanswered = [i for i, one in enumerate(singly) if isinstance(one, tt.NoAnswerError)]
    until = min(unanswered, default=len(singly))
    served = iter(table)
    for i in range(until):
        one, indexed = next(served), table[i]
        assert (one.output, one.record) == (indexed.output, indexed.record)
    if unanswered:
        with pytest.raises(tt.NoAnswerError):
            next(served)
    else:
        assert next(served, None) is None


@pytest.mark.parametrize("verb", ["failed", "barred", "cut_off", "stopped"])
def test_nothing_is_told_of_a_decided_request(verb: str) -> None:
    policy = policy_of("exits")
    driver: Driver[str] = Driver(policy, PolicyIdentity.of(policy))
    while driver.ask is not None:
        driver.answered(1.0, 0, "output")
    before = driver.served().record
    with pytest.raises(tt.RunFinishedError, match=f"`{verb}` must follow a question: the request is decided"):
        getattr(driver, verb)("late")
    with pytest.raises(tt.RunFinishedError, match="`took` must follow a question"):
        driver.took(1.0)
    assert walked(driver.served().record) == walked(before)

    batch: BatchDriver[str] = BatchDriver(policy, PolicyIdentity.of(policy), 0)
    with pytest.raises(tt.RunFinishedError, match=f"`{verb}` must follow a question: all requests are decided"):
        getattr(batch, verb)({0: "late"} if verb in ("failed", "cut_off") else "late")
    with pytest.raises(tt.RunFinishedError, match="`took` must follow a question"):
        batch.took(1.0)


@pytest.mark.parametrize(
    ("positions", "wrong"),
    [
        ([2], 2),
        ([-1], -1),
        ([1, 0], 0),
    ],
)
@pytest.mark.parametrize("verb", ["failed", "barred", "cut_off", "stopped"])
def test_positions_that_were_not_asked(verb: str, positions: list[int], wrong: int) -> None:
    policy = policy_of("exits")
    driver: BatchDriver[str] = BatchDriver(policy, PolicyIdentity.of(policy), 2)
    allowed = "positions from 0 to 1, each larger than the one before"
    told = ("late", positions) if verb in ("barred", "stopped") else (dict.fromkeys(positions, "late"),)
    with pytest.raises(tt.ValidationError, match=f"^`{verb}` must be told {allowed}, got {wrong}$"):
        getattr(driver, verb)(*told)
    assert driver.ask is not None
    assert driver.ask[1].tolist() == [0, 1]
    one: OneDriver[str] = one_of(policy)
    with pytest.raises(tt.ValidationError, match=f"^`{verb}` must be told position 0, of the only row, or none, got "):
        getattr(one, verb)(*told)
    assert one.ask is not None


def test_answers_for_one_row_are_one() -> None:
    policy = policy_of("exits")
    one: OneDriver[str] = one_of(policy)
    for outputs, signal in ((["a", "b"], np.ones(1)), (["a"], np.ones(2)), ([], np.ones(0))):
        with pytest.raises(tt.ValidationError, match="`outputs` and `signal` must have 1 entry, got "):
            one.answered(signal, None, outputs)
    one.failed({})
    one.cut_off({})
    one.barred("not tried", [])
    one.stopped("late", [])
    assert one.ask is not None
    assert (one.ask[0], one.ask[1].tolist()) == (0, [0])
