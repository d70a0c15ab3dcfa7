from __future__ import annotations

import copy
import math
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from serving_policies import policy_of
from ttamer_fast._utils.checks import shown
from ttamer_fast.serving.request_ids import new_request_id

REAL = "`signal` must be real numbers, got dtype"
PARTS: dict[str, Any] = {
    "request_id": "7",
    "digest": "abc",
    "stages": ["small", "medium", "large"],
    "consulted": [2, 0],
    "signal": [0.4, 0.9, math.nan],
    "prediction": ["cat", "dog", None],
    "answer": 0,
    "cost": 5.0,
    "expected_loss": 0.3,
}


def test_a_record_holds_what_was_run() -> None:
    record = tt.Record(**PARTS)
    assert record.steps[1] == (0, 0.4, "cat")
    assert record.steps[0][0] == 2
    assert math.isnan(record.steps[0][1])
    assert record.consulted == (2, 0)
    np.testing.assert_array_equal(record.signal, [0.4, math.nan, math.nan])
    assert record.prediction == ("cat", None, None)
    assert (record.request_id, record.digest, record.stages) == ("7", "abc", ("small", "medium", "large"))
    assert (record.answer, record.cost, record.expected_loss, record.outcome) == (0, 5.0, 0.3, "stopped")
    assert tt.Record(**PARTS | {"answer": 2}).outcome == "recalled"
    assert tt.Record(**PARTS | {"answer": None}).outcome == "abstained"
    assert tt.Record(**PARTS | {"answer": None, "consulted": []}).outcome == "abstained"
    assert tt.Record(**PARTS | {"prediction": None}).prediction == (None, None, None)
    assert repr(record) == (
        "Record(request_id='7', outcome='stopped', consulted=['large', 'small'], answer='small', cost=5, "
        "expected_loss=0.3)"
    )


def test_a_record_of_a_deadline() -> None:
    """The large model was cut off; the medium one was not tried, as its circuit is open."""
    parts = PARTS | {"consulted": [0, 2], "seconds": [0.1, 3.0, math.nan]}
    record = tt.Record(**parts, failures={2: "cut off"}, barred={1: "not tried"}, late=True)
    assert (record.outcome, record.late, record.recalled) == ("deadline", True, False)
    assert (record.failures, record.barred) == ({2: "cut off"}, {1: "not tried"})
    assert record.seconds is not None
    np.testing.assert_array_equal(record.seconds, [0.1, math.nan, math.nan])
    record.seconds[0], record.barred[0] = 9.0, "changed"
    assert record.barred == {1: "not tried"}
    assert record.seconds[0] == 0.1
    assert repr(record) == (
        "Record(request_id='7', outcome='deadline', consulted=['small', 'large'], answer='small', cost=5, "
        "expected_loss=0.3, failed=['large'], barred=['medium'])"
    )
    assert record == pickle.loads(pickle.dumps(record)) == copy.deepcopy(record)
    assert tt.Record(**PARTS | {"answer": None}, late=True).outcome == "deadline"


def test_a_stage_that_was_not_tried_changes_no_outcome() -> None:
    for answer, outcome in ((0, "stopped"), (2, "recalled"), (None, "abstained")):
        record = tt.Record(**PARTS | {"answer": answer}, barred={1: "not tried"})
        assert (record.outcome, record.barred, record.late, record.seconds) == (outcome, {1: "not tried"}, False, None)
    unrun = tt.Record(**PARTS | {"consulted": [], "answer": None}, seconds=[0.1, 0.2, 0.3])
    assert unrun.seconds is not None
    assert np.isnan(unrun.seconds).all()


def test_equal_in_all_fields() -> None:
    record = tt.Record(**PARTS)
    assert record == tt.Record(**PARTS)
    assert hash(record) == hash(tt.Record(**PARTS))
    assert record == pickle.loads(pickle.dumps(record)) == copy.deepcopy(record)
    for name, other in (
        ("request_id", "8"),
        ("digest", "abd"),
        ("stages", ["a", "b", "c"]),
        ("consulted", [0, 2]),
        ("signal", [0.5, 0.9, math.nan]),
        ("prediction", ["dog", "dog", None]),
        ("answer", 2),
        ("cost", 6.0),
        ("expected_loss", math.inf),
        ("failures", {2: "late"}),
        ("barred", {1: "not tried"}),
        ("late", True),
        ("seconds", [0.1, 0.2, 0.3]),
        ("seconds", [math.nan, math.nan, math.nan]),
    ):
        assert record != tt.Record(**PARTS | {name: other}), name
    assert record != "7"
    endless = tt.Record(**PARTS | {"expected_loss": math.inf})
    assert endless == tt.Record(**PARTS | {"expected_loss": math.inf})


@pytest.mark.parametrize("make", [lambda: float("nan"), lambda: np.float64("nan"), lambda: ("a", float("nan"))])
def test_unknown_predictions_are_equal(make: Callable[[], Any]) -> None:
    one, other = (tt.Record(**PARTS | {"prediction": [make(), None, make()]}) for _ in range(2))
    assert one == other
    assert one != tt.Record(**PARTS | {"prediction": [0.0, None, 0.0]})


class Moody:
    """Hashable, but not to be compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not with me")

    def __hash__(self) -> int:
        return 0


def test_comparing_never_raises() -> None:
    one, other = (tt.Record(**PARTS | {"prediction": [Moody(), None, None]}) for _ in range(2))
    assert one != other


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled(protocol: int) -> None:
    record = tt.Record(**PARTS | {"prediction": [float("nan"), None, "a"]})
    again = pickle.loads(pickle.dumps(record, protocol))
    assert again == record
    assert again.digest == record.digest
    served = pickle.loads(pickle.dumps(tt.Cascade(policy_of("static"), [abs] * 4, signal=float)(1.0), protocol))
    assert served.output == 1.0


def test_frozen() -> None:
    record = tt.Record(**PARTS)
    with pytest.raises(AttributeError):
        record.cost = 1.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        record.note = "seen"  # type: ignore[attr-defined]
    record.signal[0] = 9.0
    assert record.signal[0] == 0.4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"consulted": [0, 3]}, "`consulted` entry 1 must be another stage from 0 to 2, got 3"),
        ({"consulted": [0, 0]}, "`consulted` entry 1 must be another stage from 0 to 2, got 0"),
        ({"consulted": [-1]}, "`consulted` entry 0 must be another stage from 0 to 2, got -1"),
        ({"signal": [0.4, 0.9]}, "`signal` must have shape (3,), got (2,)"),
        ({"prediction": ["cat"]}, "`prediction` must have 3 entries, got 1"),
        ({"request_id": 7}, "`request_id` must be a string, got int"),
        ({"digest": None}, "`digest` must be a string, got NoneType"),
        ({"stages": "abc"}, "`stages` must be a sequence of names, got str"),
        ({"stages": {"a", "b", "c"}}, "`stages` must be a sequence of names, got set"),
        ({"stages": []}, "`stages` must have at least one name, got none"),
        ({"stages": ["a", 1, "b"]}, "`stages` entry 1 must be another name that is not empty, got 1"),
        ({"stages": ["a", "b", ""]}, "`stages` entry 2 must be another name that is not empty, got ''"),
        ({"stages": ["a", "b", "a"]}, "`stages` entry 2 must be another name that is not empty, got 'a'"),
        ({"consulted": 2}, "`consulted` must be a sequence of stage numbers, got int"),
        ({"consulted": [0.5]}, "`consulted` entry 0 must be another stage from 0 to 2, got 0.5"),
        ({"consulted": [2, "0"]}, "`consulted` entry 1 must be another stage from 0 to 2, got '0'"),
        ({"consulted": [True]}, "`consulted` entry 0 must be another stage from 0 to 2, got True"),
        ({"signal": None}, "`signal` must be an array of real numbers, got NoneType"),
        ({"signal": ["0.1", "0.2", "0.3"]}, f"{REAL} <U3: text is not read as numbers"),
        ({"signal": [0.1, 1j, 0.3]}, f"{REAL} complex128: complex numbers have no order"),
        ({"signal": [[0.1], 0.2, 0.3]}, "`signal` row 1 must have 1 entry as row 0 has, got a number"),
        ({"prediction": {1, 2, 3}}, "`prediction` must be a sequence of 3 hashables, got set"),
        ({"prediction": "cat"}, "`prediction` must be a sequence of 3 hashables, got str"),
        ({"prediction": [1, [2], 3]}, "`prediction` entry 1 must be hashable, got list"),
        ({"barred": [1]}, "`barred` must be a dict of stages and texts, got list"),
        ({"barred": {0: "late"}}, "`barred` must have stages not run, [1], as keys, got 0"),
        ({"barred": {3: "late"}}, "`barred` must have stages not run, [1], as keys, got 3"),
        ({"barred": {True: "late"}}, "`barred` must have stages not run, [1], as keys, got True"),
        ({"barred": {1: None}}, "`barred` must be a string, got NoneType"),
        ({"late": 1}, "`late` must be True or False, got 1"),
        ({"seconds": [0.1]}, "`seconds` must have shape (3,), got (1,)"),
        ({"seconds": [-0.1, 0.1, 0.1]}, "`seconds[0]` must be finite and at least 0, or NaN, got -0.1"),
        ({"seconds": [0.1, 0.1, math.inf]}, "`seconds[2]` must be finite and at least 0, or NaN, got inf"),
        ({"answer": 0.5}, "`answer` must be None or one of the stages that answered, [2, 0], got 0.5"),
        ({"answer": False}, "`answer` must be None or one of the stages that answered, [2, 0], got False"),
        ({"cost": "5"}, "`cost` must be a number, got '5'"),
        ({"cost": None}, "`cost` must be a number, got None"),
        ({"cost": 10**400}, f"`cost` must be a number that a float can hold, got {shown(10**400)}"),
        ({"cost": math.inf}, "`cost` must be finite and at least 0, got inf"),
        ({"expected_loss": "low"}, "`expected_loss` must be a number, got 'low'"),
        ({"expected_loss": -0.1}, "`expected_loss` must be at least 0, got -0.1"),
        ({"expected_loss": math.nan}, "`expected_loss` must be at least 0, got nan"),
        ({"answer": 1}, "`answer` must be None or one of the stages that answered, [2, 0], got 1"),
        ({"cost": -1.0}, "`cost` must be finite and at least 0, got -1.0"),
        ({"cost": math.nan}, "`cost` must be finite and at least 0, got nan"),
    ],
)
def test_parts_that_do_not_fit(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError) as caught:
        tt.Record(**PARTS | changed)
    assert str(caught.value) == message


def test_a_record_by_hand_is_that_of_a_cascade() -> None:
    policy = policy_of("models")
    signal, prediction = [0.3, 0.6, 0.4, 0.7], ["a", "b", "a", "c"]

    def model(v: int) -> Callable[[int], int]:
        return lambda x: x + v

    cascade = tt.Cascade(
        policy, [model(v) for v in range(4)], signal=signal.__getitem__, prediction=prediction.__getitem__
    )
    record = cascade(0).record
    run = policy.start()
    consulted = []
    while (stage := run.next) is not None:
        consulted.append(stage)
        run.observe(signal[stage], prediction[stage])
    assert record == tt.Record(
        request_id=record.request_id,
        digest=policy.digest,
        stages=policy.stages,
        consulted=consulted,
        signal=signal,
        prediction=prediction,
        answer=run.answer,
        cost=run.cost,
        expected_loss=run.expected_loss,
    )


def test_request_ids_differ_between_threads() -> None:
    found: list[list[str]] = [[] for _ in range(4)]

    def draw(ids: list[str]) -> None:
        ids.extend(new_request_id() for _ in range(5000))

    threads = [threading.Thread(target=draw, args=(ids,)) for ids in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for ids in found for one in ids}) == 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_request_ids_differ_between_a_process_and_its_fork() -> None:
    before = new_request_id()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_request_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    ours = new_request_id()
    assert len({before, theirs, ours}) == 3
    assert before.split("-")[0] == ours.split("-")[0] != theirs.split("-")[0]
