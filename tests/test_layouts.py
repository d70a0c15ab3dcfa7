"""Batches and replays read arrays of every type and layout alike; arrays of a replay are made once."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ttamer_fast as tt
from serving_policies import KINDS, policy_of

pytestmark = pytest.mark.filterwarnings("ignore::ttamer_fast.ServingWarning")

ROWS = 3000
COLUMNS = ("answer", "last", "consulted", "cost", "late")


def requests(policy: tt.Policy) -> tuple[np.ndarray, np.ndarray]:
    """Signals that are the same in 32 bits, some of them unknown, and predictions."""
    rng = np.random.default_rng(4)
    k = len(policy.stages)
    signal = rng.random((ROWS, k)).astype(np.float32).astype(np.float64)
    if policy.method == "exact":
        signal = rng.integers(-1, 3, (ROWS, k)).astype(np.float64)
    signal[rng.random((ROWS, k)) < 0.05] = np.nan
    return signal, rng.integers(-2, 4, (ROWS, k))


def layouts(array: np.ndarray, narrow: type) -> dict[str, Any]:
    """The same numbers elsewhere."""
    twice = array.repeat(2, 0).repeat(3, 1)
    unaligned = np.frombuffer(b"x" + array.tobytes(), np.uint8)[1:].view(array.dtype).reshape(array.shape)
    locked = array.copy()
    locked.flags.writeable = False
    return {
        "narrow": array.astype(narrow),
        "fortran": np.asfortranarray(array),
        "narrow fortran": np.asfortranarray(array.astype(narrow)),
        "strided": twice[::2, ::3],
        "narrow strided": twice.astype(narrow)[::2, ::3],
        "backwards": array[::-1, ::-1].copy()[::-1, ::-1],
        "unaligned": unaligned,
        "locked": locked,
        "swapped": array.astype(array.dtype.newbyteorder()),
        "lists": array.tolist(),
    }


def same(one: tt.Replay, other: tt.Replay) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)


@pytest.mark.parametrize("kind", KINDS)
def test_replays(kind: str) -> None:
    policy = policy_of(kind)
    signal, prediction = requests(policy)
    expected, without = policy.replay(signal, prediction), policy.replay(signal)
    narrow = layouts(prediction, np.int32)
    for name, given in layouts(signal, np.float32).items():
        assert same(policy.replay(given, narrow[name]), expected), name
        assert same(policy.replay(given), without), name


def decided(policy: tt.Policy, signal: Any, prediction: Any) -> tuple[Any, ...]:
    """A batch to its end; `signal` and `prediction` give the column of a stage, for some rows."""
    batch = policy.start_batch(ROWS)
    after = []
    while (pending := batch.first()) is not None:
        stage, rows = pending
        batch.observe(stage, signal(rows, stage), None if prediction is None else prediction(rows, stage))
        after.append((batch.next.tolist(), batch.expected_loss.tolist(), batch.rows(stage).tolist()))
    return after, batch.answer.tolist(), batch.cost.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_batches(kind: str) -> None:
    policy = policy_of(kind)
    signal, prediction = requests(policy)
    replay = policy.replay(signal, prediction)
    expected = decided(policy, lambda rows, v: signal[rows, v], lambda rows, v: prediction[rows, v])
    assert (expected[1], expected[2]) == (replay.answer.tolist(), replay.cost.tolist())
    without = decided(policy, lambda rows, v: signal[rows, v], None)
    narrow = layouts(prediction, np.int32)
    for name, given in layouts(signal, np.float32).items():
        if name == "lists":
            continue

        def column(table: Any, layout: str = name) -> Any:
            def of(rows: Any, stage: int) -> Any:
                # Picking rows copies them: the layout is made anew.
                return layouts(table[rows, stage][:, None], table.dtype.type)[layout][:, 0]

            return of

        assert decided(policy, column(given), column(narrow[name])) == expected, name
        assert decided(policy, column(given), None) == without, name


@pytest.mark.parametrize("kind", ["exits", "coin", "threshold", "tree"])
def test_each_request_of_a_batch_is_decided_as_it_is_alone(kind: str) -> None:
    policy = policy_of(kind)
    signal, prediction = requests(policy)
    batch = policy.start_batch(ROWS)
    stage, rows = batch.pending() or (0, np.arange(0))
    assert len(rows) == ROWS
    batch.observe(stage, signal[:, stage].astype(np.float32), prediction[:, stage].astype(np.int32))
    after, losses = batch.next.tolist(), batch.expected_loss.tolist()
    for row in range(0, ROWS, 7):
        run = policy.start()
        run.observe(float(signal[row, stage]), int(prediction[row, stage]))
        assert (-1 if run.next is None else run.next, run.expected_loss) == (after[row], losses[row])


def test_arrays_of_a_replay_are_made_once() -> None:
    policy = policy_of("exits")
    signal, prediction = requests(policy)
    replay = policy.replay(signal, prediction)
    assert len(replay) == ROWS
    for name in COLUMNS:
        assert getattr(replay, name) is getattr(replay, name)
    assert replay.consulted.shape == signal.shape
    assert [getattr(replay, name).dtype.name for name in COLUMNS] == ["int32", "int32", "bool", "float64", "bool"]


@pytest.mark.parametrize("made", [(), ("cost",), COLUMNS])
def test_replays_are_pickled_and_copied(made: tuple[str, ...]) -> None:
    policy = policy_of("models")
    signal, prediction = requests(policy)
    expected = policy.replay(signal, prediction)
    ways: list[Callable[[tt.Replay], tt.Replay]] = [
        copy.copy,
        copy.deepcopy,
        lambda one: pickle.loads(pickle.dumps(one)),
    ]
    for way in ways:
        replay = policy.replay(signal, prediction)
        for name in made:
            getattr(replay, name)
        again = way(way(replay))
        assert same(again, expected)
        assert (len(again), repr(again)) == (ROWS, repr(expected))


def test_replays_of_no_rows() -> None:
    policy = policy_of("exits")
    replay = policy.replay(np.empty((0, 4), np.float32), np.empty((0, 4), np.int32))
    assert (len(replay), replay.consulted.shape, replay.cost.tolist()) == (0, (0, 4), [])


def test_other_shapes_are_refused() -> None:
    policy = policy_of("exits")
    for dtype in ("float64", "float32"):
        with pytest.raises(tt.ValidationError, match=r"^`signal` must have shape \(n, 4\), got \[3, 5\]$"):
            policy.replay(np.zeros((3, 5), dtype))
        with pytest.raises(tt.ValidationError, match=r"^`signal` must have 3 entries, one per request waiting"):
            policy.start_batch(3).observe(0, np.zeros(4, dtype))
        policy.start_batch(3).observe(0, np.zeros((3, 1), dtype))
    for dtype in ("int64", "int32"):
        with pytest.raises(tt.ValidationError, match=r"^`prediction` must have shape \(n, 4\), got \[3, 3\]$"):
            policy.replay(np.zeros((3, 4)), np.zeros((3, 3), dtype))
        with pytest.raises(tt.ValidationError, match=r"^`prediction` must have the shape of `signal`, got 8 entries"):
            policy.replay(np.zeros((3, 4)), np.zeros((2, 4), dtype))
        with pytest.raises(tt.ValidationError, match=r"^`prediction` must have 3 entries, one per request waiting"):
            policy.start_batch(3).observe(0, np.zeros(3), np.zeros(2, dtype))
