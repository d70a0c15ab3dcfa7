"""What array-likes are taken, what they come to, and why others are refused: the same at every door."""

from __future__ import annotations

import array
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import ttamer_fast as tt
from conftest import make_trace
from ttamer_fast._utils.arrays import float_array
from ttamer_fast._utils.checks import check_flag, check_integer, check_number, check_seed

NAN = math.nan
TABLE: Any = np.array([[0.5, 2.0, 1.0], [0.25, 0.0, 3.0]])


class Lends:
    """Has DLPack and nothing else, as a tensor of another package."""

    def __init__(self, content: np.ndarray[Any, Any]) -> None:
        self.content = content

    def __dlpack__(self, **options: Any) -> Any:
        return self.content.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.content.__dlpack_device__()


class Fails:
    """A tensor that numpy cannot read."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise self.error


def misaligned(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same numbers one byte into a message."""
    return np.frombuffer(b"\1" + values.tobytes(), values.dtype, offset=1).reshape(values.shape)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (misaligned(TABLE), TABLE),
        (TABLE.astype(">f8"), TABLE),
        (np.asfortranarray(TABLE), TABLE),
        (np.repeat(TABLE, 2, axis=1)[:, ::2], TABLE),
        (TABLE[::-1], TABLE[::-1]),
        (TABLE.astype(np.float16), TABLE),
        (TABLE.astype(np.float32), TABLE),
        (TABLE.astype(np.longdouble), TABLE),
        ((4 * TABLE).astype(np.int8), 4 * TABLE),
        ((4 * TABLE).astype(np.uint64), 4 * TABLE),
        (TABLE > 0.5, np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])),
        (TABLE.tolist(), TABLE),
        (list(TABLE), TABLE),
        (Lends(TABLE), TABLE),
        (memoryview(TABLE), TABLE),
        (array.array("f", [0.5, 0.25]), np.array([0.5, 0.25])),
        (np.ma.masked_greater(TABLE, 1.5), np.array([[0.5, NAN, 1.0], [0.25, 0.0, NAN]])),
        ([np.ma.masked_greater(row, 1.5) for row in TABLE], np.array([[0.5, NAN, 1.0], [0.25, 0.0, NAN]])),
        (np.ma.masked_equal([3, 7], 7), np.array([3.0, NAN])),
        (pd.DataFrame(TABLE), TABLE),
        (pd.DataFrame({"a": [0.5, 0.25], "b": [True, False]}), np.array([[0.5, 1.0], [0.25, 0.0]])),
        (pd.DataFrame({"a": [0.5, None], "b": [True, None]}).convert_dtypes(), np.array([[0.5, 1.0], [NAN, NAN]])),
        (pd.DataFrame({"a": [0.5, pd.NA]}), np.array([[0.5], [NAN]])),
        (pd.Series([1, None], dtype="Int64"), np.array([1.0, NAN])),
        (pd.array([1.5, None], dtype="Float32"), np.array([1.5, NAN])),
        (pd.DataFrame({"a": pd.array([1.5, None], pd.ArrowDtype(pa.float64()))}), np.array([[1.5], [NAN]])),
        (pa.table({"a": [1.5, None], "b": [1, 2]}), np.array([[1.5, 1.0], [NAN, 2.0]])),
        (pa.array([True, None]), np.array([1.0, NAN])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_taken(given: Any, expected: np.ndarray[Any, Any]) -> None:
    taken = float_array("x", given)
    np.testing.assert_array_equal(taken, expected, strict=True)
    assert taken.flags.c_contiguous
    assert taken.flags.aligned


def test_nothing_is_copied_without_need() -> None:
    assert float_array("x", TABLE) is TABLE


REFUSED: list[tuple[Any, str]] = [
    (TABLE + 1j, "must be real numbers, got dtype complex128: complex numbers have no order"),
    ([["0.5", "0.25"]], "must be real numbers, got dtype <U4: text is not read as numbers"),
    ([[0.5, "0.25"]], "must be real numbers, got dtype <U32: text is not read as numbers"),
    (np.array([[b"0.5"]]), "must be real numbers, got dtype |S3: bytes are not read as numbers"),
    (b"0.5", "must be real numbers, got dtype |S3: bytes are not read as numbers"),
    (bytearray(b"0.5"), "must be real numbers, got dtype |S3: bytes are not read as numbers"),
    (np.array([["2020-01-01"]], "M8[D]"), "must be real numbers, got dtype datetime64[D]: dates are no numbers"),
    (np.array([[3]], "m8[s]"), "must be real numbers, got dtype timedelta64[s]: durations are no numbers"),
    (np.zeros(2, [("a", float)]), "must be real numbers, got dtype [('a', '<f8')]: records are no numbers"),
    (np.ma.array(["a"]), "must be real numbers, got dtype <U1: text is not read as numbers"),
    (TABLE.astype(object), "must be real numbers, got dtype object: convert it with astype(float)"),
    ([[0.5, None]], "row 0 column 1 must be a real number, got None (dtype object): write nan for what is unknown"),
    ([[0.5, 2.0], [0.5, 10**400]], "row 1 column 1 must be a real number, got 100000000000000000...0"),
    (pd.DataFrame({"a": [0.5], "b": ["0.5"]}), "row 0 column 1 must be a real number, got '0.5' (dtype object)"),
    ([[0.5, 2.0], [0.5]], "row 1 must have 2 entries as row 0 has, got 1 entry"),
    ([[0.5], 2.0], "row 1 must have 1 entry as row 0 has, got a number"),
    ({0.5}, "must be an array of real numbers, got set"),
    (iter([0.5]), "must be an array of real numbers, got list_iterator"),
    (None, "must be an array of real numbers, got NoneType"),
    (Fails(RuntimeError("call\ndetach() first")), "cannot be read as an array: RuntimeError: call detach() first"),
    (Fails(TypeError("copy it to the host")), "cannot be read as an array: TypeError: copy it to the host"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_is_refused(given: Any, message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        float_array("x", given)
    assert str(raised.value).startswith(f"`x` {message}")
    assert "\n" not in str(raised.value)


DOORS: dict[str, Callable[[Any], object]] = {
    "signal": lambda given: tt.Trace(given, [[0, 1]], [1.0, 2.0]),
    "loss": lambda given: tt.Trace([[0.5, 0.5]], given, [1.0, 2.0]),
    "cost": lambda given: tt.Trace([[0.5, 0.5]], [[0, 1]], given),
    "weight": lambda given: tt.Trace([[0.5, 0.5]], [[0, 1]], [1.0, 2.0], weight=given),
    "replay": lambda given: tt.baselines.static(make_trace(n=20, k=2), 0.9).replay(given),
    "batch": lambda given: tt.baselines.static(make_trace(n=20, k=2), 0.9).start_batch(1).observe(0, given),
    "model": lambda given: tt.Model.line([[0.5]], given, [[[1.0]]]),
    "builder": lambda given: tt.TraceBuilder(["a", "b"]).append(given, [[0, 1]], [1.0, 2.0]),
    "states": lambda given: tt.Model.line([given], [1.0], [[[1.0]]]),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_refuses_alike(door: str) -> None:
    name = {"replay": "signal", "batch": "signal", "builder": "signal", "model": "cost", "states": "loss[0]"}
    for given, reason in (
        (np.array(["0.5", "0.25"]), "must be real numbers, got dtype <U4: text is not read as numbers"),
        (np.array([0.5, 2j]), "must be real numbers, got dtype complex128: complex numbers have no order"),
        (Fails(RuntimeError("detach()")), "cannot be read as an array: RuntimeError: detach()"),
    ):
        with pytest.raises(tt.ValidationError) as raised:
            DOORS[door](given)
        assert str(raised.value) == f"`{name.get(door, door)}` {reason}"


def test_what_is_masked_is_unknown_at_every_door() -> None:
    trace = make_trace(n=300, k=2, kind="models")
    policy = tt.fit(trace, tradeoff=0.9)
    hidden = trace.signal > 0.8
    masked, unknown = np.ma.array(trace.signal, mask=hidden), np.where(hidden, NAN, trace.signal)
    np.testing.assert_array_equal(tt.Trace(masked, trace.loss, trace.cost).signal, unknown)
    np.testing.assert_array_equal(policy.replay(masked).answer, policy.replay(unknown).answer)
    batches = [policy.start_batch(trace.n) for _ in range(2)]
    for batch, signal in zip(batches, (masked, unknown), strict=True):
        stage = int(batch.next[0])
        batch.observe(stage, signal[:, stage])
    np.testing.assert_array_equal(batches[0].next, batches[1].next)
    lost = np.ma.array([[0, 1], [1, 0]], mask=[[False, False], [True, False]])
    np.testing.assert_array_equal(tt.Trace([[0.5, 0.5]] * 2, lost, [1.0, 2.0]).loss, [[0.0, 1.0], [NAN, 0.0]])
    with pytest.raises(tt.ValidationError, match="`cost` entry 1 must be finite and at least 0, got nan"):
        tt.Trace([[0.5, 0.5]], [[0, 1]], np.ma.array([1.0, 2.0], mask=[False, True]))


def test_scores_from_the_middle_of_a_message() -> None:
    policy = tt.fit(make_trace(n=300, k=3, kind="models"), tradeoff=0.9)
    scores = np.array([0.1, 0.5, 0.9, 0.99])
    batches = [policy.start_batch(4) for _ in range(3)]
    stage = int(batches[0].next[0])
    for batch, given in zip(batches, (scores, misaligned(scores), scores.astype(">f8")), strict=True):
        batch.observe(stage, given)
    assert batches[0].next.tolist() == batches[1].next.tolist() == batches[2].next.tolist()


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_scalars_of_numpy_are_numbers() -> None:
    trace = make_trace(n=60, k=2)
    plain = tt.fit(trace, tradeoff=0.5, seed=3, recall=True)
    for seed in (np.int64(3), np.uint8(3), np.array(3)):
        assert tt.fit(trace, tradeoff=np.float32(0.5), seed=seed, recall=np.True_) == plain  # type: ignore[arg-type]
    assert tt.fit(trace, tradeoff=np.array(0.5), seed=3, recall=True) == plain  # type: ignore[arg-type]
    assert tt.TraceBuilder(["a"], capacity=np.int64(5)).n == 0  # type: ignore[arg-type]
    assert tt.compare(trace, folds=np.int16(2)).to_dict()["folds"] == 2  # type: ignore[arg-type]
    assert len(trace.split(test=np.float32(0.25), seed=np.int32(1))[1]) == 15  # type: ignore[arg-type]
    assert (check_number("x", np.float16(0.5)), check_integer("x", np.int8(2), 0), check_flag("x", np.False_)) == (
        0.5,
        2,
        False,
    )


@pytest.mark.parametrize("value", [True, np.True_, "3", b"3", None, 1j, [3], np.array([3]), np.array(True)])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(tt.ValidationError, match="`x` must be a number, got "):
        check_number("x", value)
    with pytest.raises(tt.ValidationError, match="`x` must be an integer from 1 to 9, got "):
        check_integer("x", value, 1, 9)
    with pytest.raises(tt.ValidationError, match=r"`seed` must be an integer in \[0, 2\*\*64\), got "):
        check_seed(value)


def test_numbers_that_are_no_integers_or_flags() -> None:
    for value in (3.0, np.float64(3), 0, 10):
        with pytest.raises(tt.ValidationError, match="`x` must be an integer from 1 to 9, got "):
            check_integer("x", value, 1, 9)
    with pytest.raises(tt.ValidationError, match="`x` must be a number that a float can hold, got 1000"):
        check_number("x", 10**400)
    for flag in (0, 1, "yes", None, np.int8(1)):
        with pytest.raises(tt.ValidationError, match="`x` must be True or False, got "):
            check_flag("x", flag)
    for seed in (-1, 2**64):
        with pytest.raises(tt.ValidationError, match=r"`seed` must be an integer in \[0, 2\*\*64\), got "):
            tt.fit(make_trace(n=20), tradeoff=0.5, seed=seed)
