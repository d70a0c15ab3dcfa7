"""Predictions of any kind: equal where ``==`` says so, alike at every door and in every process."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
import os
import subprocess
import sys
import uuid
from collections.abc import Hashable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast._core import prediction_codes

NOTHING = -(2**63)


class Word(str):
    """Text that compares as text does."""


class Caseless(str):
    """Text of which the class says what it is equal to."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Caseless) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


class Modulo(int):
    """A number of which the class says what it is equal to."""

    def __eq__(self, other: object) -> bool:
        return int(self) % 5 == (int(other) % 5 if isinstance(other, Modulo) else other)

    def __hash__(self) -> int:
        return int(self) % 5


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Name(enum.StrEnum):
    YES = "yes"


class Number(enum.IntEnum):
    ONE = 1


class Point(NamedTuple):
    x: float
    y: str


@dataclasses.dataclass(frozen=True)
class Answer:
    text: str
    lines: tuple[int, ...] = ()


class Index:
    def __index__(self) -> int:
        return 4


EQUAL: list[list[Any]] = [
    [0, False, 0.0, -0.0, np.int8(0), np.float32(0), Decimal(0), Fraction(0), 0j, np.bool_(False)],
    [1, True, 1.0, np.uint8(1), np.float16(1), Decimal("1.0"), Fraction(2, 2), 1 + 0j, Number.ONE, np.complex64(1)],
    [4, np.array(4), np.array(4.0), Index(), np.longdouble(4), pa.scalar(4)],
    [-1, np.int64(-1), Decimal(-1)],
    [-2],
    [2**53 + 1, Decimal(2**53 + 1), Fraction(2**53 + 1)],
    [2**61 - 1],
    [2**63 - 1],
    [2**63, float(2**63), np.uint64(2**63), np.float32(2**63), Decimal(2**63)],
    [2**63 + 5, np.uint64(2**63 + 5), Fraction(2**63 + 5)],
    [2**64 - 1, np.uint64(2**64 - 1), Decimal(2**64 - 1)],
    [2**64, float(2**64), np.longdouble(2**64)],
    [2**64 + 1, Fraction(2**64 + 1)],
    [-(2**63) - 1, Decimal(-(2**63) - 1)],
    [2**200, 2.0**200, Fraction(2**200)],
    [2**200 + 1, Decimal(2**200 + 1)],
    [-(2**200) - 1],
    [10**400, Decimal("1e400"), Fraction(10**400)],
    [Decimal("1e-400"), Fraction(1, 10**400)],
    [Decimal("-1e-400")],
    [0.5, np.float32(0.5), Decimal("0.5"), Fraction(1, 2), np.longdouble(0.5), 0.5 + 0j, np.array(0.5)],
    [0.1, np.float64(0.1), Fraction(0.1)],
    [np.float32(0.1), float(np.float32(0.1))],
    [Decimal("0.1"), Fraction(1, 10)],
    [Fraction(1, 3)],
    [Fraction(-1, 3)],
    [math.inf, np.float32("inf"), Decimal("inf")],
    [-math.inf],
    [1e300, Decimal(1e300)],
    [5e-324],
    [1j, np.complex128(1j)],
    [1 + 1j],
    ["", np.str_(""), Word("")],
    ["1", np.str_("1")],
    ["a", np.str_("a"), Word("a"), pa.scalar("a")],
    ["a\0"],
    ["yes", Name.YES, "".join(["y", "es"])],
    ["α", np.str_("α")],
    ["\U0001f600"],
    ["\ud800"],
    ["positive" * 9],
    ["positive" * 9 + "!"],
    [b"", np.bytes_(b"")],
    [b"a", np.bytes_(b"a")],
    [b"1"],
    [()],
    [(1,), (1.0,), (True,)],
    [("1",)],
    [(1, ("a", None)), (1.0, (Word("a"), None))],
    [(None,)],
    [((),)],
    [(0.5, "a"), Point(0.5, "a")],
    [frozenset()],
    [frozenset({1, "a"}), frozenset({"a", 1.0})],
    [frozenset({1})],
    [frozenset({frozenset({1})})],
    [Colour.RED],
    [Colour.BLUE],
    [Answer("a"), Answer("a", ())],
    [Answer("a", (1,))],
    [(Answer("a"), 1), (Answer("a"), True)],
    [Caseless("Yes"), Caseless("yes")],
    [3, Modulo(3), Modulo(8)],
    [uuid.UUID(int=7), uuid.UUID(int=7)],
    [datetime.date(2020, 1, 1), datetime.date(2020, 1, 1)],
    [np.datetime64("2020-01-02"), np.datetime64("2020-01-02T00")],
    [np.timedelta64(5, "s"), np.timedelta64(5000, "ms")],
    [range(3), range(0, 3, 1)],
    [Answer, Answer],
]
"""Predictions that are equal, in a list each; those of different lists are different."""

MISSING: list[Any] = [
    None,
    math.nan,
    np.float32("nan"),
    Decimal("nan"),
    Decimal("snan"),
    complex(0, math.nan),
    np.datetime64("NaT"),
    np.ma.masked,
    np.ma.array(3, mask=True),
    pd.NA,
    pd.NaT,
    pa.scalar(None),
    -(2**63),
    np.int64(-(2**63)),
]


def test_codes_are_equal_exactly_where_predictions_are() -> None:
    every = [(number, value) for number, values in enumerate(EQUAL) for value in values]
    codes = prediction_codes([value for _, value in every], 1).tolist()
    assert NOTHING not in codes
    for (one, value), code in zip(every, codes, strict=True):
        for (other, another), other_code in zip(every, codes, strict=True):
            assert (code == other_code) == (one == other), (value, another)


@pytest.mark.parametrize("value", MISSING, ids=repr)
def test_what_is_missing_is_no_prediction(value: Any) -> None:
    assert prediction_codes([value], 1).tolist() == [NOTHING]
    assert prediction_codes([[value, 1]]).tolist() == [[NOTHING, 1]]


def test_objects_are_told_apart_within_their_row_alone() -> None:
    red, blue = Colour.RED, Colour.BLUE
    codes = prediction_codes([[red, blue, red], [blue, red, blue], [1, blue, blue]])
    assert codes[0, 0] == codes[0, 2] == codes[1, 0] == codes[2, 1] == codes[2, 2]
    assert codes[0, 1] == codes[1, 1] != codes[0, 0]


OBJECTS = [Colour.RED, Answer("a"), Answer("b"), Caseless("Yes"), Caseless("yes"), (Answer("a"), 1)]

values: st.SearchStrategy[Hashable] = st.recursive(
    st.one_of(
        st.sampled_from([value for group in EQUAL for value in group if not isinstance(value, np.ndarray)]),
        st.sampled_from([None, math.nan, *OBJECTS]),
        st.integers(-3, 3),
        st.integers(),
        st.floats(),
        st.text(max_size=3),
        st.binary(max_size=3),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.fractions(),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=2)),
    max_leaves=4,
)


@given(values, values)
def test_any_two_values_have_equal_codes_where_they_are_equal(one: Hashable, other: Hashable) -> None:
    first, second, again = prediction_codes([one, other, one], 1).tolist()
    assert first == again
    if NOTHING not in (first, second):
        assert (first == second) == bool(one == other)


TRACE = make_trace(n=400, k=4, seed=3)
POLICIES = {
    "pathwise": tt.fit(TRACE, tradeoff=0.95),
    "patience": tt.baselines.patience(TRACE, 0.9),
    "mixture": tt.fit(TRACE, max_cost=1.6),
}


def by_run(policy: tt.Policy, signal: list[float], said: list[Any]) -> tuple[int | None, float]:
    run = policy.start()
    while run.next is not None:
        run.observe(signal[run.next], said[run.next])
    return run.answer, run.cost


def by_batch(policy: tt.Policy, signals: list[list[float]], rows: list[list[Any]]) -> list[tuple[int | None, float]]:
    batch = policy.start_batch(len(rows))
    while (batch.next >= 0).any():
        stage = int(batch.next.max())
        waiting = batch.rows(stage).tolist()
        batch.observe(stage, [signals[row][stage] for row in waiting], [rows[row][stage] for row in waiting])
    return list(zip(batch.answer.tolist(), batch.cost.tolist(), strict=True))


def by_replay(policy: tt.Policy, signals: list[list[float]], rows: Any) -> list[tuple[int | None, float]]:
    replay = policy.replay(signals, rows)
    return list(zip(replay.answer.tolist(), replay.cost.tolist(), strict=True))


def test_the_policies_are_of_every_kind() -> None:
    assert POLICIES["mixture"].describe()["rule"]["type"] == "mixture"


@pytest.mark.parametrize("kind", POLICIES)
@given(st.data())
def test_every_door_decides_alike(kind: str, data: st.DataObject) -> None:
    policy = POLICIES[kind]
    n, k = data.draw(st.integers(1, 4)), TRACE.k
    pool = data.draw(st.lists(values, min_size=1, max_size=3))
    rows = data.draw(st.lists(st.lists(st.sampled_from(pool), min_size=k, max_size=k), min_size=n, max_size=n))
    signals = data.draw(
        st.lists(st.lists(st.floats(0, 1) | st.just(math.nan), min_size=k, max_size=k), min_size=n, max_size=n)
    )
    alone = [by_run(policy, signal, said) for signal, said in zip(signals, rows, strict=True)]
    assert by_batch(policy, signals, rows) == alone
    assert by_replay(policy, signals, rows) == alone
    trace = tt.Trace(signals, np.zeros((n, k)), TRACE.cost, rows, kind=TRACE.kind)
    assert trace.prediction is not None
    assert by_replay(policy, signals, trace.prediction) == alone
    stages = [lambda row, v=v: (signals[row][v], rows[row][v]) for v in range(k)]  # type: ignore[misc]
    cascade: tt.Cascade[int, Any] = tt.Cascade(policy, stages, signal=lambda y: y[0], prediction=lambda y: y[1])
    assert [(served.stage, served.cost) for served in map(cascade, range(n))] == alone
    assert [(served.stage, served.cost) for served in cascade.batch(range(n))] == alone


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, ttamer_fast as tt
from test_predictions import EQUAL, POLICIES, OBJECTS, TRACE, by_batch, by_replay, by_run
from ttamer_fast._core import prediction_codes
rng = np.random.default_rng(0)
words = [value for group in EQUAL for value in group if not isinstance(value, np.ndarray)] + OBJECTS
print(prediction_codes(words, 1).tolist())
signals = np.round(rng.random((600, TRACE.k)), 1).tolist()
rows = [[words[i] for i in row] for row in rng.integers(0, len(words), (600, TRACE.k))]
for policy in POLICIES.values():
    print(by_replay(policy, signals, rows), by_batch(policy, signals, rows) == by_replay(policy, signals, rows))
    print([by_run(policy, *both) for both in zip(signals, rows)] == by_replay(policy, signals, rows))
"""


def test_every_process_decides_alike() -> None:
    tests = str(Path(__file__).parent)

    def told(salt: str) -> str:
        command = [sys.executable, "-c", CHILD, tests]
        environment = dict(os.environ, PYTHONHASHSEED=salt)
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    one, other = told("1"), told("2")
    assert one == other
    assert "False" not in one


WORDS = [["yes", "no", "yes"], ["", "α", "\U0001f600"], ["no", "no", "longer than that"]]
NUMBERS = [[1, 0, 2], [3, 3, 1], [0, 7, 7]]
BIG = [[2**63 + 5, 7, 2**64 - 1], [1, 2**63, 2**63 + 5]]
MIXED: list[list[Any]] = [["a", 1, None], [0.5, ("a", 1), "a"]]

ARRAYS: dict[str, tuple[Any, list[list[Any]]]] = {
    "lists": (MIXED, MIXED),
    "tuples": (tuple(map(tuple, MIXED)), MIXED),
    "int64": (np.array(NUMBERS), NUMBERS),
    "int16": (np.array(NUMBERS, np.int16), NUMBERS),
    "big endian": (np.array(NUMBERS, ">i8"), NUMBERS),
    "columns first": (np.asfortranarray(NUMBERS), NUMBERS),
    "every other column": (np.repeat(NUMBERS, 2, axis=1)[:, ::2], NUMBERS),
    "misaligned": (
        np.frombuffer(b"x" + np.array(NUMBERS, np.int64).tobytes(), np.uint8)[1:].view(np.int64).reshape(3, 3),
        NUMBERS,
    ),
    "bool": (np.array([[True, False, True]]), [[True, False, True]]),
    "uint64": (np.array(BIG, np.uint64), BIG),
    "float64": (np.array([[1.0, 0.5, math.nan]]), [[1, 0.5, None]]),
    "float16": (np.array([[1.0, 0.5, math.nan]], np.float16), [[1, 0.5, None]]),
    "longdouble": (np.array([[1.0, 0.5, math.nan]], np.longdouble), [[1, 0.5, None]]),
    "complex": (np.array([[1.0, 1j, 0.5]]), [[1, 1j, 0.5]]),
    "text": (np.array(WORDS), WORDS),
    "text, big endian": (np.array(WORDS).astype(">U20"), WORDS),
    "bytes": (np.array([[b"a", b"", b"bc"]]), [[b"a", b"", b"bc"]]),
    "objects": (np.array(MIXED, object), MIXED),
    "times": (np.array([["2020-01-01", "NaT", "2020-01-01"]], "M8[D]"), [["x", None, "x"]]),
    "masked": (np.ma.array(NUMBERS, mask=np.eye(3, dtype=bool)), [[None, 0, 2], [3, None, 1], [0, 7, None]]),
    "masked text": (np.ma.array(WORDS[:1], mask=[[0, 1, 0]]), [["yes", None, "yes"]]),
    "frame": (pd.DataFrame(WORDS), WORDS),
    "frame of several types": (pd.DataFrame({"a": [2**62 + 1, 2], "b": [1.5, math.nan]}), [[2**62 + 1, 1.5], [2, None]]),
    "frame of categories": (pd.DataFrame(WORDS).astype("category"), WORDS),
    "frame with gaps": (pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [3, 4]}), [[1, 3], [None, 4]]),
    "frame of text with gaps": (pd.DataFrame({"a": pd.array(["x", None], "string")}), [["x"], [None]]),
    "frame of Arrow's types": (
        pd.DataFrame({"a": pd.array([2**62 + 1, None], pd.ArrowDtype(pa.int64()))}),
        [[2**62 + 1], [None]],
    ),
    "Arrow table": (pa.table({"a": ["x", None], "b": pa.array([2**62 + 1, None])}), [["x", 2**62 + 1], [None, None]]),
    "rows of arrays": ([np.array([1, 2]), pd.Series(["a", "b"])], [[1, 2], ["a", "b"]]),
    "nothing": (np.zeros((0, 3)), []),
}
if hasattr(np.dtypes, "StringDType"):
    ARRAYS["text of any length"] = (np.array(WORDS, np.dtypes.StringDType()), WORDS)


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_as_their_entries(name: str) -> None:
    given, rows = ARRAYS[name]
    codes = prediction_codes(given)
    assert codes.dtype == np.int64
    if name == "times":
        codes = np.where(codes == NOTHING, NOTHING, prediction_codes(["x"], 1)[0])
    assert codes.tolist() == [prediction_codes(row, 1).tolist() for row in rows]
    assert codes.tolist() == [[prediction_codes([value], 1)[0] for value in row] for row in rows]


COLUMNS: dict[str, Any] = {
    "list": ["a", "b", "a"],
    "array": np.array(["a", "b", "a"]),
    "series": pd.Series(["a", "b", "a"]),
    "categories": pd.Categorical(["a", "b", "a"]),
    "index": pd.Index(["a", "b", "a"]),
    "Arrow array": pa.array(["a", "b", "a"]),
    "Arrow dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
    "Arrow chunks": pa.chunked_array([["a"], ["b", "a"]]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_as_their_entries(name: str) -> None:
    assert prediction_codes(COLUMNS[name], 1).tolist() == [prediction_codes([word], 1)[0] for word in "aba"]


def test_integers_of_arrow_with_gaps_are_not_rounded() -> None:
    assert prediction_codes(pa.array([2**62 + 1, None]), 1).tolist() == [2**62 + 1, NOTHING]


def test_codes_are_their_own_codes() -> None:
    codes = prediction_codes([value for group in EQUAL for value in group], 1)
    assert np.array_equal(prediction_codes(codes, 1), codes)
    assert np.array_equal(prediction_codes(codes.tolist(), 1), codes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("yes", "`prediction` must be an array or a sequence of predictions, got str"),
        ({1: 2}, "`prediction` must be an array or a sequence of predictions, got dict"),
        ({1, 2}, "`prediction` must be an array or a sequence of predictions, got set"),
        (7, "`prediction` must be an array or a sequence of predictions, got int"),
        ([[1, 2], [3]], "`prediction` row 1 must have 2 entries, as row 0 has, got 1"),
        ([[1, [2]]], "`prediction` row 0 column 1 must be hashable, got list"),
        ([[1, ("a", {})]], "`prediction` row 0 column 1 must be hashable, got dict"),
        (np.array([[1, {}]], object), "`prediction` row 0 column 1 must be hashable, got dict"),
        ([[np.zeros(2)]], "`prediction` row 0 column 0 must be one hashable value, got an array of shape (2,)"),
        ([1, 2], "`prediction` must be an array or a sequence of predictions, got int"),
    ],
)
def test_what_is_refused(given: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        prediction_codes(given)
    assert str(raised.value) == message


def test_what_the_methods_of_predictions_raise_passes() -> None:
    class Broken:
        def __init__(self, method: str, error: type[BaseException]) -> None:
            self.method, self.error = method, error

        def __hash__(self) -> int:
            return self.fail("hash")

        def __eq__(self, other: object) -> bool:
            return self.fail("eq") == 0

        def fail(self, method: str) -> int:
            if method == self.method:
                raise self.error
            return 0

    class BrokenIndex:
        def __index__(self) -> int:
            raise KeyboardInterrupt

    policy = POLICIES["pathwise"]
    for broken, error in ((Broken("hash", MemoryError), MemoryError), (Broken("eq", KeyError), KeyError)):
        for call in (
            lambda broken=broken: policy.start().observe(0.5, broken),
            lambda broken=broken: prediction_codes([[broken]]),
            lambda broken=broken: policy.start_batch(1).observe(0, [0.5], [broken]),
        ):
            with pytest.raises(error):
                call()
    with pytest.raises(KeyboardInterrupt):
        policy.start().observe(0.5, BrokenIndex())  # type: ignore[arg-type]


def test_a_batch_lets_go_of_objects_when_their_request_is_decided() -> None:
    class Said:
        alive = 0

        def __init__(self) -> None:
            Said.alive += 1

        def __del__(self) -> None:
            Said.alive -= 1

    policy = POLICIES["pathwise"]
    batch = policy.start_batch(2)
    entry = policy.start().next
    assert entry is not None
    batch.observe(entry, [0.5, 0.5], [Said(), Said()])
    assert Said.alive == int((batch.next >= 0).sum()) > 0
    while (batch.next >= 0).any():
        stage = int(batch.next.max())
        batch.observe(stage, [0.5] * len(batch.rows(stage)))
    assert Said.alive == 0


def test_a_batch_is_not_observed_by_what_it_compares() -> None:
    policy = POLICIES["pathwise"]
    entry = policy.start().next
    assert entry is not None
    batch = policy.start_batch(1)

    class Meddler:
        def __eq__(self, other: object) -> bool:
            if len(batch.rows(entry)):
                batch.observe(entry, [0.0])
            return False

        def __ne__(self, other: object) -> bool:
            return False

        def __hash__(self) -> int:
            return 0

    with pytest.raises(tt.ValidationError):
        batch.observe(entry, [0.5], [Meddler()])


def test_class_curves_see_numbers_in_whatever_type() -> None:
    rng = np.random.default_rng(0)
    said = rng.integers(0, 3, (3000, 2))
    signal = rng.random((3000, 2))
    loss = rng.random((3000, 2)) < np.where(said == 1, 0.7, 0.1)
    plain = tt.fit(tt.Trace(signal, loss, [1.0, 2.0], said, kind="models"), tradeoff=0.9)
    for dtype in (np.uint8, np.float32, object, np.uint64):
        trace = tt.Trace(signal, loss, [1.0, 2.0], said.astype(dtype), kind="models")
        assert tt.fit(trace, tradeoff=0.9).digest == plain.digest
