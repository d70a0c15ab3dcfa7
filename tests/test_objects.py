"""Objects of the binding as Python expects them: copied, pickled, referred to weakly, made from any buffer or path."""

from __future__ import annotations

import copy
import mmap
import os
import pickle
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

import ttamer_fast as tt

LOSS = [[0.1, 0.9], [0.0, 0.4], [0.2, 0.3]]
NEXT = [[0.6, 0.4], [0.3, 0.7]]
BOTH = [[0.6, 0.4], [0.3, 0.7], [0.5, 0.5], [0.9, 0.1]]
FIRST = [[0.5, 0.5]]
FACTORS = (np.array([[1.0, 0.0], [0.25, 0.75]]), np.array(NEXT))

MODELS: dict[str, Callable[[], tt.Model]] = {
    "line": lambda: tt.Model.line(LOSS, [0.01, 0.02, 0.03], [FIRST, NEXT, sparse.csr_array(NEXT)]),
    "skip": lambda: tt.Model.skip(LOSS, [[0.01, np.inf, 0.03], [0, 0.01, 0.02], [0, 0, 0.01]], [FIRST, FACTORS, NEXT]),
    "tree": lambda: tt.Model.tree([-1, 0, -1], LOSS, [0.01, 0.02, 0.03], [FIRST, NEXT, FIRST]),
    "dag": lambda: tt.Model.dag([[], [], [0, 1]], LOSS, [0.01, 0.02, 0.03], [FIRST, FIRST, BOTH]),
}

COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("graph", MODELS)
def test_copied_models_are_solved_alike(graph: str, way: str) -> None:
    model = MODELS[graph]()
    copied = COPIES[way](model)
    assert repr(copied) == repr(model)
    assert tt.solve(copied) == tt.solve(model)
    assert pickle.dumps(copied) == pickle.dumps(model)


@pytest.mark.parametrize("way", COPIES)
def test_copied_replays_are_the_same(way: str, policy: tt.Policy, trace: tt.Trace) -> None:
    replay = policy.replay(trace.signal, trace.prediction)
    copied = COPIES[way](replay)
    assert type(copied) is tt.Replay
    for name in ("answer", "last", "consulted", "cost"):
        one, other = getattr(replay, name), getattr(copied, name)
        assert np.array_equal(one, other)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)


def test_policies_are_equal_where_their_bytes_are(policy: tt.Policy) -> None:
    same = tt.Policy.from_bytes(policy.to_bytes())
    other = tt.solve(MODELS["line"]())
    assert same == policy
    assert (hash(same), same.digest) == (hash(policy), policy.digest)
    assert other not in (policy, "policy")
    assert len({policy, same, copy.copy(policy), copy.deepcopy(policy), other}) == 2


def test_weak_references(policy: tt.Policy, trace: tt.Trace) -> None:
    things = [
        tt.Policy.from_bytes(policy.to_bytes()),
        policy.replay(trace.signal),
        policy.start_batch(3),
        MODELS["line"](),
        trace.split(test=0.5)[0],
    ]
    references = [weakref.ref(thing) for thing in things]
    assert [reference() for reference in references] == things
    assert len(weakref.WeakValueDictionary(enumerate(things))) == len(things)
    things.clear()
    assert [reference() for reference in references] == [None] * 5


def test_policies_come_from_any_buffer_and_do_not_hold_it(policy: tt.Policy, tmp_path: Path) -> None:
    content = policy.to_bytes()
    changing = bytearray(content)
    assert tt.Policy.from_bytes(changing) == policy
    changing.clear()  # refused while a buffer is held
    path = tmp_path / "policy.ttamer"
    path.write_bytes(content)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert tt.Policy.from_bytes(mapped) == policy
    every_other = memoryview(bytes(byte for one in content for byte in (one, 0)))[::2]
    buffers: list[Any] = [memoryview(content), every_other, np.frombuffer(content, np.uint8)]
    for buffer in buffers:
        assert tt.Policy.from_bytes(buffer) == policy


@pytest.mark.parametrize("given", [None, 5, "policy", [1, 2]])
def test_what_is_no_buffer_is_refused(given: Any) -> None:
    message = f"^`data` must be bytes or another buffer, got {type(given).__name__}$"
    with pytest.raises(tt.ValidationError, match=message):
        tt.Policy.from_bytes(given)


@pytest.mark.parametrize("given", [None, 5, 1.5, ["a"]])
def test_what_is_no_path_is_refused(given: Any, policy: tt.Policy) -> None:
    for use in (tt.load, tt.Policy.load, policy.save):
        with pytest.raises(tt.ValidationError, match=f"^`path` must be a path, got {type(given).__name__}$"):
            use(given)


def test_paths_of_any_kind_are_read(policy: tt.Policy, tmp_path: Path) -> None:
    path = tmp_path / "policy.ttamer"
    for form in (path, str(path), os.fsencode(path)):
        policy.save(form)
        assert tt.load(form) == policy
    with pytest.raises(tt.ValidationError, match=r"^`path` must be a path, got 'a.x00b'$"):
        tt.load("a\0b")


def test_what_the_system_refuses_keeps_its_number(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        tt.load(tmp_path / "none")
    assert missing.value.filename == str(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        tt.load(tmp_path)


def test_a_file_without_an_end_is_no_policy(tmp_path: Path) -> None:
    hole = tmp_path / "hole"
    with hole.open("wb") as file:
        file.truncate(2**30 + 1)
    with pytest.raises(tt.PolicyFormatError, match="hole: not a policy file"):
        tt.load(hole)


def single(rows: int, columns: int) -> NDArray[np.float32]:
    """Rows that sum to 1 as well as float32 can tell."""
    weights = np.random.default_rng(0).random((rows, columns)).astype(np.float32)
    weights /= weights.sum(1, keepdims=True)
    return weights


def test_rows_in_single_precision_count_as_normalised() -> None:
    loss = [np.linspace(0.0, 1.0, 50), np.linspace(0.5, 0.0, 50)]
    step = single(50, 50)
    assert np.abs(step.astype(float).sum(1) - 1).max() > 2e-8
    exact = step.astype(float)
    exact /= exact.sum(1, keepdims=True)
    first = np.full((1, 50), 0.02)

    def value(transition: Any) -> float:
        return tt.solve(tt.Model.line(loss, [0.05, 0.1], [first, transition])).value

    want = value(exact)
    assert value(step) == pytest.approx(want, abs=1e-15)
    assert value(np.asfortranarray(step)) == value(step)
    assert value(sparse.csr_array(step)) == pytest.approx(want, abs=1e-15)
    assert value((step, np.eye(50))) == pytest.approx(want, abs=1e-15)


def test_other_rows_must_sum_to_one() -> None:
    for off in (2e-5, -2e-5, 0.1):
        with pytest.raises(tt.ValidationError, match=r"`transition\[0\]` row 0 must sum to 1, got "):
            tt.Model.line([[0.1, 0.9]], [0.1], [[[0.5, 0.5 + off]]])


def test_transitions_by_their_entries() -> None:
    entries = ([0, 0, 1, 1], [0, 1, 0, 1], [0.6, 0.4, 0.3, 0.7], (2, 2))
    made = tt.Model.line(LOSS[:2], [0.01, 0.02], [FIRST, entries])
    assert tt.solve(made).value == tt.solve(tt.Model.line(LOSS[:2], [0.01, 0.02], [FIRST, NEXT])).value
    for bad in (([-1], [0], [1.0], (2, 2)), ([2], [0], [1.0], (2, 2)), ([0], [0], [1.0], "ab")):
        with pytest.raises(tt.ValidationError, match=r"`transition\[1\]`"):
            tt.Model.line(LOSS[:2], [0.01, 0.02], [FIRST, bad])


def test_a_state_that_is_none_of_the_model_could_not_be_read() -> None:
    policy = tt.solve(tt.Model.line([[0.1, 0.9], [0.0, 0.2]], [0.05, 0.1], [FIRST, NEXT]))
    unread = policy.start()
    unread.observe(float("nan"))
    for state in (7, 0.5, -1, 2**40):
        run = policy.start()
        run.observe(state)
        assert (run.next, run.answer, run.cost) == (unread.next, unread.answer, unread.cost)
