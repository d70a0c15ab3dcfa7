"""The policy in service: swapped, brought back, reloaded; what runs meanwhile keeps its own."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ttamer_fast as tt
from children import told_by_child
from conftest import make_trace

TRACE = make_trace(2000, 4)
QUICK = tt.fit(TRACE, tradeoff=0.8)
CAREFUL = tt.fit(TRACE, tradeoff=0.97)


def as_trace(kind: str, names: list[str]) -> tt.Trace:
    return tt.Trace(TRACE.signal, TRACE.loss, TRACE.cost, prediction=TRACE.prediction, kind=kind, stages=names)


assert TRACE.prediction is not None
LABELS = TRACE.prediction
OTHER = tt.fit(as_trace("models", [f"other {v}" for v in range(4)]), tradeoff=0.9)
EXITS = tt.fit(as_trace("exits", list(TRACE.stages)), tradeoff=0.9)


def refused(message: str) -> pytest.RaisesExc[tt.ValidationError]:
    return pytest.raises(tt.ValidationError, match=f"^{re.escape(message)}$")


def stages(during: Callable[[int], None] = lambda row: None) -> list[tt.Stage[int, tuple[float, int]]]:
    def stage(v: int) -> tt.Stage[int, tuple[float, int]]:
        def run(row: int) -> tuple[float, int]:
            during(row)
            return float(TRACE.signal[row, v]), int(LABELS[row, v])

        return tt.Stage(run, signal=lambda said: said[0], prediction=lambda said: said[1], name=TRACE.stages[v])

    return [stage(v) for v in range(4)]


def consulted(policy: tt.Policy, row: int) -> tuple[int, ...]:
    return tuple(np.flatnonzero(policy.replay(TRACE.signal[[row]], LABELS[[row]]).consulted[0]).tolist())


DIFFERENT = next(row for row in range(len(TRACE)) if len(consulted(QUICK, row)) < len(consulted(CAREFUL, row)))


def test_swapped_and_brought_back() -> None:
    slot = tt.PolicySlot(QUICK)
    cascade = tt.Cascade(slot, stages())
    assert slot.policy is QUICK
    assert cascade(DIFFERENT).digest == QUICK.digest
    slot.swap(CAREFUL)
    served = cascade(DIFFERENT)
    assert (served.digest, tuple(sorted(served.consulted))) == (CAREFUL.digest, consulted(CAREFUL, DIFFERENT))
    assert cascade.policy is CAREFUL
    assert cascade.batch([DIFFERENT, 0])[0].digest == CAREFUL.digest
    assert slot.earlier == (QUICK,)
    assert slot.rollback() is QUICK
    assert cascade(DIFFERENT).digest == QUICK.digest
    assert [change.what for change in slot.changes] == ["began", "swapped", "rolled back"]
    assert [change.digest for change in slot.changes] == [QUICK.digest, CAREFUL.digest, QUICK.digest]
    with refused("`rollback` must follow a swap: there is no earlier policy"):
        slot.rollback()


def test_the_same_policy_changes_nothing() -> None:
    slot = tt.PolicySlot(QUICK)
    slot.swap(tt.Policy.from_bytes(QUICK.to_bytes()))
    assert slot.earlier == ()
    assert slot.policy is QUICK


def test_only_so_many_earlier_ones_are_kept() -> None:
    slot = tt.PolicySlot(QUICK, history=2)
    for policy in (CAREFUL, QUICK, CAREFUL):
        slot.swap(policy)
    assert slot.earlier == (QUICK, CAREFUL)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (OTHER, r"`policy` must have the stages \['stage 0', .*\], in this order, got \['other 0', "),
        (EXITS, "`policy` must be of kind 'models', as the policy in service is, got 'exits'"),
        (3, "`policy` must be a Policy, got int"),
    ],
)
def test_what_does_not_fit_stays_out(policy: tt.Policy, message: str) -> None:
    slot = tt.PolicySlot(QUICK)
    with pytest.raises(tt.ValidationError, match=message):
        slot.swap(policy)
    assert slot.policy is QUICK
    assert len(slot.changes) == 1


def test_swapped_only_instead_of_the_policy_that_was_judged() -> None:
    slot = tt.PolicySlot(QUICK)
    slot.swap(CAREFUL, instead_of=QUICK)
    third = tt.fit(TRACE, tradeoff=0.9)
    with pytest.raises(tt.ValidationError, match="`instead_of` must be the policy in service"):
        slot.swap(third, instead_of=QUICK)
    assert slot.policy is CAREFUL


def test_a_request_keeps_the_policy_it_began_with() -> None:
    slot = tt.PolicySlot(QUICK)
    cascade = tt.Cascade(slot, stages(lambda row: slot.swap(CAREFUL)))
    served = cascade(DIFFERENT)
    assert (served.digest, tuple(sorted(served.consulted))) == (QUICK.digest, consulted(QUICK, DIFFERENT))
    assert slot.policy is CAREFUL


def test_a_batcher_serves_what_is_in_service() -> None:
    slot = tt.PolicySlot(QUICK)
    cascade = tt.Cascade(slot, stages())

    async def serve() -> list[str]:
        async with tt.Batcher(cascade) as batcher:
            first = await batcher(DIFFERENT)
            slot.swap(CAREFUL)
            return [first.digest, (await batcher(DIFFERENT)).digest]

    assert asyncio.run(serve()) == [QUICK.digest, CAREFUL.digest]


def test_swapped_under_load() -> None:
    slot = tt.PolicySlot(QUICK)
    cascade = tt.Cascade(slot, stages())
    want = {policy.digest: [consulted(policy, row) for row in range(50)] for policy in (QUICK, CAREFUL)}
    over, wrong, seen = threading.Event(), [], set()

    def serve(first: int) -> None:
        row = first
        while not over.is_set():
            served = cascade(row % 50)
            seen.add(served.digest)
            if tuple(sorted(served.consulted)) != want[served.digest][row % 50]:
                wrong.append(row)
            row += 1

    threads = [threading.Thread(target=serve, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(100):
        slot.swap((CAREFUL, QUICK)[turn % 2])
        over.wait(0.0005)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert seen == set(want)


def test_a_file_is_reloaded(tmp_path: Path) -> None:
    path = tmp_path / "a.policy"
    QUICK.save(path)
    slot = tt.PolicySlot(path)
    assert slot.path == path
    assert slot.reload()
    assert len(slot.changes) == 1
    CAREFUL.save(path)
    assert slot.reload()
    assert slot.policy == CAREFUL
    assert slot.rollback() == QUICK


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_bytes(CAREFUL.to_bytes()[:-9]), "policy"),
        (lambda path: path.write_bytes(b""), "policy"),
        (lambda path: path.write_bytes(OTHER.to_bytes()), "in this order, got"),
        (lambda path: path.unlink(), "No such file"),
    ],
)
def test_the_last_good_policy_stays(tmp_path: Path, damage: Callable[[Path], object], why: str) -> None:
    path = tmp_path / "a.policy"
    QUICK.save(path)
    slot = tt.PolicySlot(path)
    damage(path)
    with pytest.warns(tt.ServingWarning, match=f"stays in service: .*{why}"):
        assert not slot.reload()
    assert slot.policy == QUICK
    assert (slot.changes[-1].what, why in slot.changes[-1].reason) == ("refused", True)
    CAREFUL.save(path)
    assert slot.reload()
    assert slot.policy == CAREFUL


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        threading.Event().wait(0.01)
    pytest.fail("it has not come to that in 20 s")


def test_a_watched_file(tmp_path: Path) -> None:
    path = tmp_path / "a.policy"
    QUICK.save(path)
    slot = tt.PolicySlot(path, watch=0.01)
    CAREFUL.save(path)
    until(lambda: slot.policy == CAREFUL)
    slot.rollback()
    threading.Event().wait(0.1)
    assert slot.policy == QUICK
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path.write_bytes(b"half a fi")
        until(lambda: slot.changes[-1].what == "refused")
    assert slot.policy == QUICK
    CAREFUL.save(path)
    until(lambda: slot.policy == CAREFUL)
    slot.close()
    slot.close()
    QUICK.save(path)
    threading.Event().wait(0.1)
    assert slot.policy == CAREFUL


def watchers() -> int:
    return sum(thread.name == "ttamer-slot" for thread in threading.enumerate())


def test_nobody_watches_for_a_slot_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "a.policy"
    QUICK.save(path)
    before = watchers()
    slot = tt.PolicySlot(path, watch=0.01)
    assert watchers() == before + 1
    del slot
    until(lambda: watchers() == before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_watches_for_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.policy"
    QUICK.save(path)
    slot = tt.PolicySlot(path, watch=0.01)
    cascade = tt.Cascade(slot, stages())

    def child() -> list[str]:
        first = cascade(DIFFERENT).digest
        CAREFUL.save(path)
        until(lambda: slot.policy == CAREFUL)
        return [first, cascade(DIFFERENT).digest]

    assert told_by_child(child) == [QUICK.digest, CAREFUL.digest]
    slot.close()


def test_a_copy_by_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.policy"
    QUICK.save(path)
    slot = tt.PolicySlot(path)
    slot.swap(CAREFUL)
    copy = pickle.loads(pickle.dumps(slot))
    assert (copy.policy, copy.path, copy.earlier) == (CAREFUL, path, ())
    assert copy.reload()
    assert copy.policy == QUICK


def test_arguments(tmp_path: Path) -> None:
    with refused("`watch` must be False for a slot without a file"):
        tt.PolicySlot(QUICK, watch=True)
    with refused("`watch` must be a bool, or seconds above 0 and finite, got 0"):
        tt.PolicySlot(QUICK, watch=0)
    with refused("`history` must be an integer of at least 1, got 0"):
        tt.PolicySlot(QUICK, history=0)
    with refused("`reload` must be of a slot with a file, got none: PolicySlot(path)"):
        tt.PolicySlot(QUICK).reload()
    with refused("`policy` must be a path, got int"):
        tt.PolicySlot(3)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        tt.PolicySlot(tmp_path / "none.policy")
