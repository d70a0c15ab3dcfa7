"""Reading records: what is damaged, what is asked for, and what a trace of them holds."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import logged
import ttamer_fast as tt
from ttamer_fast.records.filling import Filling
from ttamer_fast.records.log import RecordLog


def only(folder: Path) -> Path:
    (file,) = folder.glob("*.ttrec")
    return file


def served(folder: Path, rows: int = 120, blocks: int = 1, **given: Any) -> list[str]:
    """Names of requests 0, 1, …, written in so many blocks of one file."""
    # Without the thread that writes too, when it comes to it.
    with mock.patch.object(Filling, "wake"), tt.RecordLog(folder, flush_seconds=1000.0) as log:
        cascade = logged.cascade(log, **given)
        ids = []
        for x in range(rows):
            ids.append(cascade(x).request_id)
            if (x + 1) % (rows // blocks) == 0:
                log.flush()
    return ids


def expected(ids: list[str], explored: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Which stages ran of requests 0, 1, …, and what each said."""
    n = len(ids)
    ran = logged.consulted()[:n] | explored[:, np.newaxis]
    said = logged.table().prediction
    assert said is not None
    return ran, np.where(ran, logged.table().signal[:n], np.nan)


def test_a_trace_of_truth(tmp_path: Path) -> None:
    ids = served(tmp_path, explore=0.2, seed=3)
    records = tt.read_records(tmp_path)
    explored = np.array([one.explored for one in logged.by_id(tmp_path, ids)])
    ran, signal = expected(ids, explored)
    said = logged.table().prediction
    assert said is not None
    truth = {one: int(said[x, 1]) for x, one in enumerate(ids) if x % 3}
    trace = records.trace(truth)
    np.testing.assert_array_equal(trace.signal, signal)
    known = ran & (np.arange(len(ids)) % 3 > 0)[:, np.newaxis]
    loss = np.where(known, said[: len(ids)] != said[: len(ids), [1]], np.nan)
    np.testing.assert_array_equal(trace.loss, loss)
    assert (trace.stages, trace.kind, trace.teacher) == (logged.policy().stages, logged.table().kind, None)
    np.testing.assert_allclose(trace.cost, logged.table().cost)
    assert trace.latency is None
    asked = logged.consulted()[: len(ids)]
    np.testing.assert_array_equal(trace.propensity, np.where(known, np.where(asked, 1.0, 0.2), np.nan))


def test_a_trace_of_a_teacher(tmp_path: Path) -> None:
    ids = served(tmp_path, explore=0.2, timing=True)
    teacher = logged.policy().stages[3]
    trace = tt.read_records(tmp_path).trace(teacher=teacher)
    explored = np.array([one.explored for one in logged.by_id(tmp_path, ids)])
    ran, signal = expected(ids, explored)
    said = logged.table().prediction
    assert said is not None
    known = ran & ran[:, [3]]
    np.testing.assert_array_equal(trace.signal, signal)
    np.testing.assert_array_equal(trace.loss, np.where(known, said[: len(ids)] != said[: len(ids), [3]], np.nan))
    assert trace.teacher == teacher
    assert trace.latency is not None
    np.testing.assert_array_equal(np.isnan(trace.latency), ~ran)
    asked = logged.consulted()[: len(ids)]
    by_chance = known & ~(asked & asked[:, [3]])
    assert trace.propensity is not None
    assert set(trace.propensity[by_chance].tolist()) == {0.2}
    assert set(trace.propensity[known & ~by_chance].tolist()) <= {1.0}


@pytest.mark.filterwarnings("ignore::ttamer_fast.CalibrationWarning")
def test_a_policy_is_fitted_to_a_log(tmp_path: Path) -> None:
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, explore=0.3)
        ids = [cascade(x).request_id for x in range(600)]
    said = logged.table().prediction
    assert said is not None
    trace = tt.read_records(tmp_path).trace({one: int(said[x, 3]) for x, one in enumerate(ids)})
    assert trace.is_censored
    one, other = (tt.fit(trace, tradeoff=0.9) for _ in range(2))
    assert one.to_bytes() == other.to_bytes()
    assert one.stages == logged.policy().stages
    # Of the policy that served all is known that it asks for: the interval is around what it lost.
    evaluation = tt.evaluate(logged.policy(), trace)
    answers = logged.policy().replay(logged.table().signal, said).answer
    lost = (said[np.arange(600), answers] != said[:, 3]).mean()
    assert evaluation.loss_ci[0] <= lost <= evaluation.loss_ci[1]


def test_capped_requests_lower_the_chance_of_the_others(tmp_path: Path) -> None:
    explore = tt.Exploration(0.5, per_second=1.0)
    served(tmp_path, explore=explore)
    records = tt.read_records(tmp_path)
    counts = records.counts()
    assert counts.explored >= 1
    assert counts.capped > 30
    trace = records.trace(teacher=logged.policy().stages[0])
    assert trace.propensity is not None
    chances = np.unique(trace.propensity[~np.isnan(trace.propensity)])
    np.testing.assert_allclose(chances, [0.5 * counts.explored / (counts.explored + counts.capped), 1.0])
    for one in records:
        assert one.propensity == 0.5
        assert not (one.explored and one.capped)


def test_without_exploration_there_is_no_propensity(tmp_path: Path) -> None:
    served(tmp_path / "none")
    trace = tt.read_records(tmp_path / "none").trace(teacher=logged.policy().stages[0])
    assert trace.propensity is None
    served(tmp_path / "some", explore=0.5)
    served(tmp_path / "some")
    assert tt.read_records(tmp_path / "some").trace(teacher=logged.policy().stages[0]).propensity is None


def test_samples_depend_on_names_and_seed_alone(tmp_path: Path) -> None:
    served(tmp_path / "a", explore=0.2, blocks=4)
    teacher = logged.policy().stages[0]
    records = tt.read_records(tmp_path / "a")
    one = records.trace(teacher=teacher, sample=30, seed=1)
    again = records.trace(teacher=teacher, sample=30, seed=1)
    other = records.trace(teacher=teacher, sample=30, seed=2)
    assert len(one) == len(other) == 30
    assert one.signal.tobytes() == again.signal.tobytes() != other.signal.tobytes()
    whole = {row.tobytes() for row in records.trace(teacher=teacher).signal}
    assert {row.tobytes() for row in one.signal} <= whole
    assert len(records.trace(teacher=teacher, sample=1000)) == 120


def test_chunks_hold_all_records_once(tmp_path: Path) -> None:
    ids = served(tmp_path, blocks=6, explore=0.2)
    records = tt.read_records(tmp_path)
    chunks = list(records.chunks(rows=30))
    assert [len(chunk) for chunk in chunks] == [40, 40, 40]
    assert [one for chunk in chunks for one in chunk.request_id] == ids
    for chunk in chunks:
        tables = chunk.signal, chunk.prediction, chunk.seconds, chunk.ran, chunk.ran_for_record
        assert {table.shape for table in tables} == {(40, logged.K)}
        np.testing.assert_array_equal(chunk.explored, [one.explored for one in chunk])
        np.testing.assert_array_equal(chunk.exploration_cost, [one.exploration_cost for one in chunk])
        assert (np.diff(chunk.time) >= 0.0).all()
    assert "n=40" in repr(chunks[0])
    with pytest.raises(tt.ValidationError, match="`rows` must be an integer of at least 1"):
        next(records.chunks(rows=0))


def test_counts(tmp_path: Path) -> None:
    begun = datetime.now(UTC)
    served(tmp_path, explore=0.2)
    records = tt.read_records(tmp_path)
    counts, all_ = records.counts(), list(records)
    assert counts.requests == len(records) == len(all_) == 120
    assert counts.explored == sum(one.explored for one in all_) > 0
    assert counts.complete == sum(not np.isnan(one.signal).any() for one in all_)
    assert counts.cost == pytest.approx(math.fsum(one.cost for one in all_))
    assert counts.exploration_cost == pytest.approx(math.fsum(one.exploration_cost for one in all_))
    assert (counts.capped, counts.unanswered, counts.damaged, counts.torn) == (0, 0, 0, 0)
    assert counts.first is not None
    assert counts.last is not None
    assert begun <= counts.first <= counts.last <= datetime.now(UTC)
    ((policy, requests),) = counts.policies.items()
    assert (policy.digest, requests) == (logged.policy().digest, 120)
    assert records.folder == tmp_path
    assert records.files == (only(tmp_path),)


def test_only_some_times_and_requests(tmp_path: Path) -> None:
    ids = served(tmp_path, explore=0.2)
    all_ = logged.by_id(tmp_path, ids)
    middle = all_[60].time
    before, after = tt.read_records(tmp_path, until=middle), tt.read_records(tmp_path, since=middle.timestamp())
    assert len(before) + len(after) == 120
    assert len(before) >= 30
    explored, others = (tt.read_records(tmp_path, explored=which) for which in (True, False))
    assert (len(explored), len(others)) == (sum(one.explored for one in all_), sum(not one.explored for one in all_))
    assert not explored.trace(teacher=logged.policy().stages[0]).is_censored
    assert len(tt.read_records(tmp_path, since=middle, until=middle)) == 0
    with pytest.raises(tt.ValidationError, match="`folder` must have records that are wanted, got none"):
        tt.read_records(tmp_path, since=1e12).trace(teacher=logged.policy().stages[0])


def two_policies(folder: Path) -> tuple[tt.Policy, tt.Policy, tt.Policy]:
    """Records of two policies with the same stages, and of one with others."""
    table = logged.table()
    same = tt.baselines.threshold(table, tradeoff=0.9)
    names = [f"other {stage}" for stage in table.stages]
    renamed = tt.Trace(table.signal, table.loss, table.cost, kind=table.kind, stages=names)
    other = tt.baselines.threshold(renamed, tradeoff=0.9)
    with RecordLog(folder) as log:
        for policy in (logged.policy(), same, other):
            stages = [
                tt.Stage(logged.stage(v).run, signal=logged.signal_of, prediction=logged.said_by, name=name)
                for v, name in enumerate(policy.stages)
            ]
            cascade = tt.Cascade(policy, stages, record=log)
            for x in range(20):
                cascade(x)
    return logged.policy(), same, other


def test_records_of_other_policies_have_to_be_chosen(tmp_path: Path) -> None:
    one, same, other = two_policies(tmp_path)
    assert len(tt.read_records(tmp_path)) == 60
    teacher = one.stages[0]
    with pytest.raises(tt.ValidationError, match=r"`policy` must choose records of the same stages, got .*other"):
        tt.read_records(tmp_path).trace(teacher=teacher)
    alike = tt.read_records(tmp_path, stages=one.stages)
    with pytest.raises(tt.ValidationError) as error:
        alike.trace(teacher=teacher)
    assert one.digest[:12] in str(error.value)
    assert same.digest[:12] in str(error.value)
    with pytest.raises(tt.ValidationError, match="`policy` must choose one policy, or several by a list"):
        alike.into(tt.TraceBuilder(one), teacher=teacher)
    assert len(tt.read_records(tmp_path, policy=one).trace(teacher=teacher)) == 20
    assert len(tt.read_records(tmp_path, policy=other.digest).trace(teacher=other.stages[0])) == 20
    both = tt.read_records(tmp_path, policy=[one, same.digest]).trace(teacher=teacher)
    assert len(both) == 40
    np.testing.assert_allclose(both.cost, one_cost := logged.table().cost)
    assert one_cost.shape == (logged.K,)
    assert len(tt.read_records(tmp_path, policy="no such policy")) == 0


def test_policies_of_other_prices_have_costs_by_row(tmp_path: Path) -> None:
    table = logged.table()
    costs = table.cost * 2.0
    dear = tt.baselines.threshold(tt.Trace(table.signal, table.loss, costs, kind=table.kind), tradeoff=0.9)
    with tt.RecordLog(tmp_path) as log:
        for policy in (logged.policy(), dear):
            stages = [logged.stage(v) for v in range(logged.K)]
            cascade = tt.Cascade(policy, stages, record=log)
            for x in range(5):
                cascade(x)
    records = tt.read_records(tmp_path, policy=[logged.policy(), dear])
    trace = records.trace(teacher=table.stages[0])
    np.testing.assert_allclose(trace.cost, np.repeat([table.cost, table.cost * 2.0], 5, axis=0))


def change(at: int, how: Callable[[bytearray], None]) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        how(content)
        file.write_bytes(content)

    return damage


def blocks_of(file: Path) -> list[int]:
    """Where blocks begin."""
    content, starts, at = file.read_bytes(), [], 0
    while (at := content.find(b"\x89TTREC\r\n", at)) >= 0:
        starts.append(at)
        at += 1
    return starts


def test_damaged_blocks_are_passed_over_and_named(tmp_path: Path) -> None:
    ids = served(tmp_path, blocks=6)
    file = only(tmp_path)
    content, starts = bytearray(file.read_bytes()), blocks_of(file)
    assert len(starts) == 6
    content[starts[1] + 100] ^= 1  # the columns of one
    content[starts[3] + 3] ^= 1  # the head of another
    file.write_bytes(content)
    records = tt.read_records(tmp_path)
    with pytest.warns(tt.RecordsWarning) as told:
        assert len(records) == 80
    messages = [str(one.message) for one in told]
    assert [f"{file} is damaged at byte {starts[v]}" in messages[i] for i, v in enumerate((1, 3))] == [True, True]
    assert (records.counts().damaged, records.counts().torn) == (2, 0)
    left = [one.request_id for one in records]  # each place is told of once
    assert left == [one for x, one in enumerate(ids) if x // 20 not in (1, 3)]


@pytest.mark.filterwarnings("ignore::ttamer_fast.RecordsWarning")
def test_whatever_happens_to_a_file_no_record_changes(tmp_path: Path) -> None:
    ids = served(tmp_path, blocks=6)
    file, rng = only(tmp_path), np.random.default_rng(0)
    content = file.read_bytes()
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            start, end = np.sort(rng.integers(0, len(changed), 2))
            how = rng.integers(4)
            if how == 0:
                changed[start] ^= 1 << int(rng.integers(8))
            elif how == 1:
                del changed[start:end]
            elif how == 2:
                changed[start:start] = changed[start:end]
            else:
                changed[start:end] = bytes(int(end - start))
        file.write_bytes(changed)
        records = tt.read_records(tmp_path)
        left = [one.request_id for one in records]
        assert len(left) == len(records)
        assert set(left) <= set(ids)
        counts = records.counts()
        assert counts.damaged or counts.torn or len(left) % 20 == 0


def test_torn_blocks_are_left_out_wherever_they_end(tmp_path: Path) -> None:
    served(tmp_path, blocks=2)
    file = only(tmp_path)
    content, start = file.read_bytes(), blocks_of(file)[-1]
    os.truncate(file, start)
    whole = len(tt.read_records(tmp_path))
    assert 0 < whole < 120
    file.write_bytes(content)
    for end in {start + 1, start + 8, start + 43, start + 44, start + 45, len(content) - 1}:
        os.truncate(file, end)
        records = tt.read_records(tmp_path)
        assert len(records) == whole
        assert (records.counts().torn, records.counts().damaged) == (1, 0)
        file.write_bytes(content)


def test_what_is_written_later_is_not_read(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path, flush_seconds=1000.0)
    cascade = logged.cascade(log)
    cascade(0)
    log.flush()
    records = tt.read_records(tmp_path)
    cascade(1)
    log.close()
    assert len(records) == len(list(records)) == 1
    assert len(tt.read_records(tmp_path)) == 2


def test_other_files_are_no_records(tmp_path: Path) -> None:
    served(tmp_path, rows=10)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "empty.ttrec").write_bytes(b"")
    assert len(tt.read_records(tmp_path)) == 10
    (tmp_path / "text.ttrec").write_text("a text that somebody has given the wrong name, and that is long enough")
    with pytest.warns(tt.RecordsWarning, match=r"text.ttrec is damaged at byte 0: it does not begin as a block does"):
        assert len(tt.read_records(tmp_path)) == 10


def test_a_request_that_is_there_twice_is_named(tmp_path: Path) -> None:
    ids = served(tmp_path, rows=10)
    shutil.copy(only(tmp_path), tmp_path / "copy.ttrec")
    records = tt.read_records(tmp_path)
    teacher = logged.policy().stages[0]
    builder = tt.TraceBuilder(logged.policy(), teacher=teacher)
    for read in (lambda: records.trace(teacher=teacher), lambda: records.into(builder, teacher=teacher)):
        with pytest.raises(tt.ValidationError, match=r"must have each request once, got '(.*)' twice") as error:
            read()
        assert any(one in str(error.value) for one in ids)


def test_a_builder_is_fed(tmp_path: Path) -> None:
    ids = served(tmp_path, blocks=4, explore=0.2, timing=True)
    records, teacher = tt.read_records(tmp_path), logged.policy().stages[0]
    whole = records.trace(teacher=teacher)
    builder = tt.TraceBuilder(logged.policy(), teacher=teacher)
    assert records.into(builder, teacher=teacher, latency=True) == builder.n == 120
    built = builder.build()
    for name in ("signal", "loss", "prediction", "latency", "propensity"):
        np.testing.assert_array_equal(getattr(built, name), getattr(whole, name), err_msg=name)
    assert (built.teacher, built.kind, built.stages) == (whole.teacher, whole.kind, whole.stages)
    np.testing.assert_allclose(builder.mean_loss, np.nanmean(whole.loss, axis=0))
    np.testing.assert_allclose(builder.mean_cost, logged.table().cost)
    builder.save(tmp_path / "builder.npz")
    loaded = tt.TraceBuilder.load(tmp_path / "builder.npz")
    assert loaded.build().loss.tobytes() == built.loss.tobytes()
    assert loaded.teacher == teacher
    np.testing.assert_array_equal(loaded.mean_loss, builder.mean_loss)
    sampled = [tt.TraceBuilder(logged.policy(), capacity=30, seed=seed) for seed in (1, 1, 2)]
    truth = dict.fromkeys(ids, 1)
    for one in sampled:
        records.into(one, truth)
    same, again, other = (one.build().signal.tobytes() for one in sampled)
    assert same == again != other
    assert len(sampled[0].build()) == 30


def test_builders_have_to_fit(tmp_path: Path) -> None:
    served(tmp_path)
    records, teacher = tt.read_records(tmp_path), logged.policy().stages[0]
    with pytest.raises(
        tt.ValidationError, match=r"`builder` must have the stages .* as the records have, got \['a', 'b'\]"
    ):
        records.into(tt.TraceBuilder(["a", "b"], "models", teacher=teacher), teacher=teacher)
    with pytest.raises(tt.ValidationError, match="`builder` must have the teacher 'stage 0', got None"):
        records.into(tt.TraceBuilder(logged.policy()), teacher=teacher)
    with pytest.raises(tt.ValidationError, match="`builder` must be a TraceBuilder, got Trace"):
        records.into(logged.table(), teacher=teacher)  # type: ignore[arg-type]


def test_truth_of_requests_that_are_not_there(tmp_path: Path) -> None:
    ids = served(tmp_path, rows=10)
    records = tt.read_records(tmp_path)
    message = "2 of 3 requests in `truth` are not among the records, the first is 'x'"
    with pytest.warns(tt.RecordsWarning, match=message):
        trace = records.trace({ids[0]: 1, "x": 2, "y": 3})
    assert (~np.isnan(trace.loss)).any(axis=1).sum() == 1
    with pytest.raises(
        tt.ValidationError, match="`truth` must be of requests that are recorded, got 2 others, the first"
    ):
        records.trace({"x": 2, "y": 3})
    # Those that the sample leaves out are there.
    assert len(records.trace(dict.fromkeys(ids, 1), sample=2)) == 2


def test_labels_have_to_be_given_once(tmp_path: Path) -> None:
    ids = served(tmp_path, rows=10)
    records = tt.read_records(tmp_path)
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "`truth` or `teacher` must be given, got neither"),
        ({"truth": {}, "teacher": "x"}, "`truth` or `teacher` must be given, got both"),
        ({"truth": [1, 2]}, "`truth` must be a mapping of names of requests to labels, got list"),
        ({"truth": {7: 1}}, "`truth` must have names of requests as keys, got 7"),
        ({"truth": {ids[0]: [1]}}, "must be hashable"),
        ({"teacher": 3}, "`teacher` must be the name of a stage, got int"),
        ({"teacher": "huge"}, "`teacher` must be one of stage 0, stage 1, stage 2, stage 3, got 'huge'"),
        ({"teacher": "stage 0", "sample": 0}, "`sample` must be an integer of at least 1"),
    ]
    for given, message in cases:
        with pytest.raises(tt.ValidationError, match=message):
            records.trace(**given)


def test_stages_without_predictions_cannot_be_compared(tmp_path: Path) -> None:
    stages = [logged.stage(v, prediction=None) for v in range(logged.K)]
    with tt.RecordLog(tmp_path) as log:
        tt.Cascade(logged.policy(), stages, record=log)(0)
    with pytest.raises(tt.ValidationError, match="must have records with predictions, got none: a Stage needs"):
        tt.read_records(tmp_path).trace(teacher=logged.policy().stages[0])


def test_bad_folders_and_filters(tmp_path: Path) -> None:
    with pytest.raises(tt.ValidationError, match=r"`folder` must have files of records, \*.ttrec, got none"):
        tt.read_records(tmp_path)
    with pytest.raises(FileNotFoundError):
        tt.read_records(tmp_path / "absent")
    file = tmp_path / "x.ttrec"
    file.write_bytes(b"")
    with pytest.raises(tt.ValidationError, match="`folder` must be a folder, got a file"):
        tt.read_records(file)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"policy": 7}, "`policy` must be a Policy, a digest or a sequence of these, got int"),
        ({"policy": [7]}, "`policy` entry 0 must be a Policy or a digest, got 7"),
        ({"stages": "small"}, "`stages` must be a sequence of names, got str"),
        ({"stages": [1]}, "`stages` entry 0 must be a name, got 1"),
        ({"since": "yesterday"}, "`since` must be a number"),
        ({"since": datetime(2026, 1, 1)}, "`since` must have a time zone"),
        ({"until": math.nan}, "`until` must be seconds since 1970 or a datetime, got nan"),
        ({"explored": 1}, "`explored` must be True or False"),
    ]
    for given, message in cases:
        with pytest.raises(tt.ValidationError, match=message):
            tt.read_records(tmp_path, **given)
    assert len(tt.read_records(tmp_path)) == 0
    with pytest.raises(tt.ValidationError, match="`folder` must have records that are wanted, got none"):
        tt.read_records(tmp_path).into(tt.TraceBuilder(logged.policy()), teacher="stage 0")
