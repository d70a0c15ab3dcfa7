from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ttamer_fast as tt

SIGNAL = [[0.9, 0.8], [0.3, 0.7], [0.5, 0.6]]
LOSS = [[0.0, 1.0], [1.0, 0.0], [0.5, 0.25]]
COST = [1.0, 4.0]


def made(**changes: object) -> tt.Trace:
    return tt.Trace(**{"signal": SIGNAL, "loss": LOSS, "cost": COST, **changes})  # type: ignore[arg-type]


def test_arrays_are_read_only_views_of_one_copy() -> None:
    signal = np.asfortranarray(np.array(SIGNAL, np.float32))
    trace = made(signal=signal, prediction=np.array([[0, 1], [1, 1], [2, 2]], np.int16))
    signal[0, 0] = 0.0
    assert trace.signal[0, 0] == np.float32(0.9)
    assert trace.prediction is not None
    for array, dtype in (
        (trace.signal, np.float64),
        (trace.loss, np.float64),
        (trace.cost, np.float64),
        (trace.prediction, np.int64),
    ):
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    assert np.shares_memory(trace.signal, trace.signal)
    assert (trace.n, trace.k, len(trace)) == (3, 2, 3)


def test_boolean_losses_and_names() -> None:
    trace = made(loss=[[True, False]] * 3, stages=["small", "large"])
    assert trace.loss.tolist() == [[1.0, 0.0]] * 3
    assert trace.stages == ("small", "large")


def test_costs_by_row() -> None:
    trace = made(cost=[[1.0, 2.0], [3.0, 4.0], [2.0, 6.0]])
    assert trace.mean_cost.tolist() == [2.0, 4.0]
    assert trace.full_cost == 6.0
    assert made(cost=[COST] * 3).cost.tolist() == COST


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signal": [0.1, 0.2]}, "`signal` must have shape (n, k) with at least one row and one stage, got (2,)"),
        (
            {"signal": np.empty((0, 2))},
            "`signal` must have shape (n, k) with at least one row and one stage, got (0, 2)",
        ),
        ({"signal": [["a", "b"]]}, "`signal` must be real numbers, got dtype <U1: text is not read as numbers"),
        ({"signal": [[1.0], [1.0, 2.0]]}, "`signal` row 1 must have 1 entry as row 0 has, got 2 entries"),
        ({"loss": LOSS[:2]}, "`loss` must have shape (3, 2), got (2, 2)"),
        ({"loss": [[0, 1], [1, -0.5], [0, 0]]}, "`loss` row 1 column 1 must be finite and at least 0, got -0.5"),
        ({"cost": [1.0]}, "`cost` must have shape (2,) or (3, 2), got (1,)"),
        ({"cost": [1.0, math.inf]}, "`cost` entry 1 must be finite and at least 0, got inf"),
        ({"prediction": [[0, 1], [1, []], [0, 0]]}, "`prediction` row 1 column 1 must be hashable, got list"),
        ({"prediction": "abc"}, "`prediction` must be an array or a sequence of predictions, got str"),
        ({"prediction": [[0, 1]]}, "`prediction` must have shape (3, 2), got (1, 2)"),
        ({"kind": "tree"}, "`kind` must be 'exits' or 'models', got 'tree'"),
        ({"stages": ["a"]}, "`stages` must have 2 names, got 1"),
        ({"stages": "ab"}, "`stages` must be a sequence of names, got a string"),
        ({"stages": ["a", ""]}, "`stages` entry 1 must not be empty"),
        ({"stages": ["a", "a"]}, "`stages` entry 1 must differ from the others, got 'a' again"),
        ({"weight": [1.0, 2.0]}, "`weight` must have shape (3,), got (2,)"),
        ({"weight": [1.0, 2.0, -0.5]}, "`weight` entry 2 must be finite and at least 0, got -0.5"),
        ({"weight": [0, 0, 0]}, "`weight` must have a positive entry, got zeros only"),
        ({"latency": [0.1, 0.2]}, "`latency` must have shape (3, 2), got (2,)"),
        ({"latency": [[0.1, 0.2]]}, "`latency` must have shape (3, 2), got (1, 2)"),
        (
            {"latency": [[0, math.nan], [1, -0.5], [-1, 0]]},
            "`latency[1, 1]` must be finite and at least 0, or NaN, got -0.5",
        ),
        (
            {"latency": [[0, 1], [1, 0], [math.inf, 0]]},
            "`latency[2, 0]` must be finite and at least 0, or NaN, got inf",
        ),
    ],
)
def test_refusals(changes: dict[str, object], message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        made(**changes)
    assert str(raised.value) == message


def test_unsigned_hashes_keep_their_bits() -> None:
    trace = made(prediction=np.array([[2**63 + 5, 0]] * 3, np.uint64))
    assert trace.prediction is not None
    assert trace.prediction[0].tolist() == [5 - 2**63, 0]


@given(n=st.integers(2, 40), share=st.floats(0.01, 0.99), seed=st.integers(0, 2**32 - 1))
def test_split_is_a_partition(n: int, share: float, seed: int) -> None:
    trace = tt.Trace(np.arange(n, dtype=float)[:, None], np.zeros((n, 1)), [1.0])
    train, test = trace.split(test=share, seed=seed)
    assert sorted([*train.signal[:, 0], *test.signal[:, 0]]) == list(range(n))
    again, _ = trace.split(test=share, seed=seed)
    assert again.digest == train.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": "half"}, "`test` must be a number, got 'half'"),
        ({"test": None}, "`test` must be a number, got None"),
        ({"test": True}, "`test` must be a number, got True"),
        ({"test": 1.0}, "`test` must be between 0 and 1, exclusive, got 1.0"),
        ({"test": math.nan}, "`test` must be between 0 and 1, exclusive, got nan"),
        ({"seed": -1}, "`seed` must be an integer in [0, 2**64), got -1"),
        ({"seed": None}, "`seed` must be an integer in [0, 2**64), got None"),
        ({"seed": 0.5}, "`seed` must be an integer in [0, 2**64), got 0.5"),
    ],
)
def test_splits_that_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError) as raised:
        made().split(**changes)
    assert str(raised.value) == message


def test_rows() -> None:
    trace = made(cost=[[1.0, 2.0], [3.0, 4.0], [2.0, 6.0]], prediction=[[0, 1], [1, 1], [2, 2]])
    assert trace[1:].signal.tolist() == SIGNAL[1:]
    assert trace.rows([True, False, True]).cost.tolist() == [[1.0, 2.0], [2.0, 6.0]]
    assert trace.rows([2, 0]).loss.tolist() == [LOSS[2], LOSS[0]]
    for bad in ([3], [True], [], [0.5], [[0]]):
        with pytest.raises(tt.ValidationError, match="`index`"):
            trace.rows(bad)
    with pytest.raises(tt.ValidationError, match="`index` must leave at least one row"):
        trace.rows(slice(5, None))
    with pytest.raises(tt.ValidationError, match="`test`"):
        trace.split(test=1.0)
    with pytest.raises(tt.ValidationError, match="one row"):
        trace[:1].split()


def test_pickle_and_digest() -> None:
    trace = made(prediction=[[0, 1], [1, 1], [2, 2]], kind="models")
    copy = pickle.loads(pickle.dumps(trace))
    assert copy.digest == trace.digest
    assert not copy.signal.flags.writeable
    assert made().digest != trace.digest
    assert made(kind="models").digest != made().digest


def test_weights_belong_to_the_trace() -> None:
    plain = made(cost=[[1.0, 2.0], [3.0, 4.0], [2.0, 6.0]], prediction=[[0, 1], [1, 1], [2, 2]])
    assert plain.weight is None
    trace = plain.weighted([2, 1, 1])
    assert plain.weight is None
    assert trace.weight is not None
    assert trace.weight.tolist() == [2.0, 1.0, 1.0]
    assert not trace.weight.flags.writeable
    assert np.shares_memory(trace.signal, plain.signal)
    assert plain.prediction is not None
    assert np.shares_memory(trace.prediction, plain.prediction)
    assert trace.mean_cost.tolist() == [1.75, 3.5]
    assert "mean loss=[0.375, 0.5625]" in repr(trace)
    assert repr(trace).endswith("weight=yes)")
    assert "weight" not in repr(plain)
    assert trace.weighted(None).digest == plain.digest
    assert trace.weighted(None).weight is None


def test_weights_are_kept_by_parts_and_copies() -> None:
    weight = np.arange(50.0)
    trace = tt.Trace(weight[:, None], np.zeros((50, 1)), [1.0], weight=weight)
    for part in (trace.rows([4, 2]), trace[10:], *trace.split(0.3, seed=1), pickle.loads(pickle.dumps(trace))):
        assert part.weight is not None
        assert not part.weight.flags.writeable
        assert part.weight.tolist() == part.signal[:, 0].tolist()
    assert pickle.loads(pickle.dumps(trace)).digest == trace.digest
    digests = {trace.weighted(other).digest for other in (None, weight, np.ones(50), 2.0 * np.ones(50))}
    assert len(digests) == 4
    with pytest.raises(tt.ValidationError, match="`weight` must have a positive entry in every part of a trace"):
        trace.rows([0])


def test_latencies_belong_to_their_rows() -> None:
    plain = made()
    assert (plain.latency, plain.expected_latency) == (None, None)
    seconds = [[0.5, 1.0], [0.25, math.nan], [2.0, 4.0]]
    trace = made(latency=seconds)
    assert trace.latency is not None
    assert trace.latency.dtype == np.float64
    assert trace.latency.flags.c_contiguous
    assert not trace.latency.flags.writeable
    np.testing.assert_array_equal(trace.latency, seconds)
    assert trace.expected_latency is not None
    assert trace.expected_latency.tolist() == [0.5, 1.0]
    assert repr(trace).endswith("prediction=no, latency=yes)")
    assert trace.digest not in (plain.digest, made(latency=np.nan_to_num(seconds)).digest)
    again = pickle.loads(pickle.dumps(trace))
    assert again.digest == trace.digest
    np.testing.assert_array_equal(again.latency, seconds)
    np.testing.assert_array_equal(trace.rows([2, 1]).latency, [seconds[2], seconds[1]])
    for part in trace.split(0.4):
        rows = [SIGNAL.index(signal) for signal in part.signal.tolist()]
        np.testing.assert_array_equal(part.latency, [seconds[row] for row in rows])
    weighted = trace.weighted([1, 1, 3])
    assert weighted.expected_latency is not None
    assert weighted.expected_latency.tolist() == [2.0, 4.0]
    np.testing.assert_array_equal(weighted.latency, seconds)
    nobody = made(latency=[[0.5, math.nan]] * 3)
    assert nobody.expected_latency is not None
    assert nobody.expected_latency.tolist() == [0.5, math.inf]


def test_latencies_are_matched_by_name() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"large": [4.0, 5.0, 6.0], "small": [1.0, 2.0, 3.0]})
    trace = made(stages=["small", "large"], latency=frame)
    assert trace.latency is not None
    assert trace.latency.tolist() == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
    policy = tt.baselines.static(made(stages=["large", "small"]), 0.9)
    matched = trace.matching(policy)
    assert matched.latency is not None
    assert matched.latency.tolist() == [[4.0, 1.0], [5.0, 2.0], [6.0, 3.0]]
    assert matched.expected_latency is not None
    assert matched.expected_latency.tolist() == [5.0, 2.0]


def test_rows_of_other_latencies_are_other_requests() -> None:
    signal, loss = [[0.9, 0.8], [0.3, 0.7], [0.9, 0.8]], [[0, 0], [1, 0], [0, 0]]
    timed = [tt.Trace(signal, loss, COST, latency=[[1, 2], [3, 4], row]) for row in ([1, 2], [1, 2.5])]
    repeated, different = (trace.core.units for trace in timed)
    assert repeated is not None
    assert [repeated.tolist().index(unit) for unit in repeated.tolist()] == [0, 1, 0]
    assert different is None


def test_the_digest_stays() -> None:
    assert made().digest == "5ab7ddca8046b57aeab999e6e4002e91b6d4c6896afe7208261e7bbc9ad01035"
