"""Logs: what is written, by whom, and what becomes of it when something goes wrong."""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import logged
import ttamer_fast as tt
from children import told_by_child

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ttrec"))


def test_records_say_what_was_served(tmp_path: Path) -> None:
    begun = time.time()
    with tt.RecordLog(tmp_path) as log:
        cascade = logged.cascade(log, timing=True)
        served = [cascade(x) for x in range(100)]
    assert (log.written, log.pending, log.dropped, log.closed) == (100, 0, 0, True)
    records = logged.by_id(tmp_path, [one.request_id for one in served])
    said = logged.table().prediction
    assert said is not None
    for x, (one, record) in enumerate(zip(served, records, strict=True)):
        assert record.consulted == one.consulted
        assert (record.answer, record.cost, record.expected_loss) == (one.stage, one.cost, one.expected_loss)
        assert record.outcome == one.outcome
        np.testing.assert_array_equal(record.signal, one.signal)
        np.testing.assert_array_equal(record.seconds, one.seconds)
        ran = list(one.consulted)
        np.testing.assert_array_equal(record.prediction[ran], said[x, ran])
        assert (record.policy.digest, record.policy.stages) == (one.digest, logged.policy().stages)
        assert begun <= record.time.timestamp() <= time.time()
        assert (record.explored, record.capped, record.propensity) == (False, False, 0.0)
        assert (record.failures, record.barred, record.explored_stages) == ({}, {}, ())


def test_failures_and_requests_without_an_answer(tmp_path: Path) -> None:
    def broken(x: int) -> Any:
        raise OSError("no route")

    with tt.RecordLog(tmp_path) as log:
        first = logged.policy().start().next
        assert first is not None
        cascade = logged.cascade(log, {first: broken})
        served = cascade(0)
        everything = logged.cascade(log, dict.fromkeys(range(logged.K), broken))
        with pytest.raises(tt.NoAnswerError):
            everything(1)
        table = everything.batch([1, 2])
    assert (table.stage < 0).all()
    records = list(tt.read_records(tmp_path))
    assert len(records) == 4
    assert records[0].request_id == served.request_id
    assert records[0].failures == served.failures == {first: "OSError: no route"}
    assert np.isnan(records[0].signal[first])
    for one in records[1:]:
        assert (one.answer, one.outcome, one.expected_loss) == (None, "none", math.inf)
        assert one.failures == dict.fromkeys(range(logged.K), "OSError: no route")
    assert tt.read_records(tmp_path).counts().unanswered == 3


@pytest.mark.parametrize("said", [7, "a cat", "übergrößen", b"raw", 2.5, (1, "x"), frozenset({1, 2}), True, 10**30])
def test_truth_is_compared_as_predictions_are(tmp_path: Path, said: Any) -> None:
    with tt.RecordLog(tmp_path) as log:
        ids = []
        for prediction in (said, "something else"):
            stages = [logged.stage(v, prediction=lambda y, p=prediction: p) for v in range(logged.K)]
            cascade = tt.Cascade(logged.policy(), stages, record=log)
            ids += [one.request_id for one in (cascade(0), *cascade.batch([0, 1]))]
    truth = {one: Fraction(5, 2) if said == 2.5 else said for one in ids}
    trace = tt.read_records(tmp_path).trace(truth)
    known = trace.loss[~np.isnan(trace.loss)]
    assert set(known.tolist()) == {0.0, 1.0}
    assert np.nanmax(trace.loss[:3]) == 0.0
    assert np.nanmin(trace.loss[3:]) == 1.0


class Thing:
    """Compared by a part of it alone."""

    def __init__(self, part: int) -> None:
        self.part = part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and other.part == self.part

    def __hash__(self) -> int:
        return hash(("thing", self.part))


def test_objects_are_compared_within_their_request(tmp_path: Path) -> None:
    stages = [logged.stage(v, prediction=lambda y: Thing(y.stage % 2)) for v in range(logged.K)]
    with tt.RecordLog(tmp_path) as log:
        cascade = tt.Cascade(logged.policy(), stages, record=log, explore=1.0)
        ids = [cascade(x).request_id for x in range(20)]
        cascade.batch(list(range(20)))
    for one in tt.read_records(tmp_path):
        code = one.prediction
        assert code[0] == code[2] != code[1] == code[3]
    with pytest.raises(tt.ValidationError, match=r"`truth` of request .* must be a number, text, .* got Thing"):
        tt.read_records(tmp_path).trace({ids[0]: Thing(0)})


def test_files_are_begun_anew_by_size_and_by_time(tmp_path: Path) -> None:
    with tt.RecordLog(tmp_path / "size", max_bytes=2000) as log:
        cascade = logged.cascade(log)
        for x in range(60):
            cascade(x)
            if x % 10 == 9:
                log.flush()
    sizes = [file.stat().st_size for file in files(tmp_path / "size")]
    assert len(sizes) > 2
    assert max(sizes) <= 2000
    with tt.RecordLog(tmp_path / "time", max_seconds=0.05) as log:
        cascade = logged.cascade(log)
        for x in range(3):
            cascade(x)
            log.flush()
            time.sleep(0.06)
    assert len(files(tmp_path / "time")) == 3
    assert len(tt.read_records(tmp_path / "size")) == 60


def test_a_thread_writes_after_a_while_or_at_once_where_many_wait(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path, flush_seconds=0.05)
    cascade = logged.cascade(log)
    cascade(0)
    logged.wait_for(lambda: log.written == 1)
    cascade(1)
    logged.wait_for(lambda: log.written == 2)
    patient = tt.RecordLog(tmp_path, flush_seconds=1000.0, flush_records=10)
    cascade = logged.cascade(patient)
    for x in range(9):
        cascade(x)
    time.sleep(0.1)
    assert (patient.written, patient.pending) == (0, 9)
    cascade(9)
    logged.wait_for(lambda: patient.written == 10)


def test_memory_is_bounded_and_drops_are_counted(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path, flush_seconds=1000.0, max_pending=50)
    cascade = logged.cascade(log)
    for x in range(30):
        cascade(x)
    cascade.batch(list(range(30)))
    assert (log.pending, log.dropped) == (50, 10)
    with pytest.warns(tt.RecordsWarning, match="`max_pending` is 50"):
        log.flush()
    assert cascade(0).stage is not None
    log.close()
    assert (log.written, log.dropped) == (51, 10)
    assert len(tt.read_records(tmp_path)) == 51


def test_after_the_end_records_are_dropped_and_requests_go_on(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path)
    cascade = logged.cascade(log)
    cascade(0)
    log.close()
    log.close()
    assert cascade(1).stage is not None
    assert len(cascade.batch([1, 2])) == 2
    assert (log.written, log.dropped) == (1, 3)
    assert "closed" in repr(log)


def test_a_folder_that_is_gone_fails_no_request(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    log = tt.RecordLog(folder, flush_seconds=1000.0)
    cascade = logged.cascade(log)
    cascade(0)
    log.flush()
    for file in files(folder):
        file.unlink()
    folder.rmdir()
    cascade(1)
    with pytest.warns(tt.RecordsWarning, match=r"cannot be written to .*records: No such file .* wait"):
        log.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cascade(2)
        log.flush()  # once is enough
    assert (log.written, log.pending, log.dropped) == (1, 2, 0)
    folder.mkdir()
    log.flush()
    assert (log.written, log.pending) == (3, 0)
    assert len(tt.read_records(folder)) == 2
    log.close()


def test_what_cannot_be_written_at_the_end_is_dropped(tmp_path: Path) -> None:
    folder = tmp_path / "records"
    log = tt.RecordLog(folder, flush_seconds=1000.0)
    logged.cascade(log)(0)
    folder.rmdir()
    with pytest.warns(tt.RecordsWarning, match="they are lost"):
        log.close()
    assert (log.written, log.pending, log.dropped) == (0, 0, 1)


FULL = """
import resource, signal, sys, warnings
import logged, ttamer_fast as tt
warnings.simplefilter("ignore")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
log = tt.RecordLog(sys.argv[1], flush_seconds=1000.0, max_pending=200)
cascade = logged.cascade(log)
for x in range(300):
    assert cascade(x % 100).stage is not None
    if x % 20 == 19:
        log.flush()
log.close()
print(log.written, log.dropped)
"""


@fork
@pytest.mark.parametrize(("limit", "written"), [(3000, 300), (500, 0)])
def test_a_disk_that_is_full_fails_no_request(tmp_path: Path, limit: int, written: int) -> None:
    # No file may be longer: of 3000 bytes it takes two blocks, of 500 none.
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(limit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60.0,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(written), str(300 - written)]
    if written:
        records = tt.read_records(tmp_path)
        assert (len(records), records.counts().damaged, records.counts().torn) == (written, 0, 0)
        assert len(files(tmp_path)) > 1
    else:
        assert not files(tmp_path)


def test_many_threads_write_into_one_log(tmp_path: Path) -> None:
    ids: list[list[str]] = [[] for _ in range(8)]
    with tt.RecordLog(tmp_path, flush_seconds=0.01, flush_records=50) as log:
        cascade = logged.cascade(log, explore=0.2)

        def work(own: list[str]) -> None:
            own += [cascade(x).request_id for x in range(200)]

        threads = [threading.Thread(target=work, args=(own,)) for own in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (log.written, log.dropped) == (1600, 0)
    read = [one.request_id for one in tt.read_records(tmp_path)]
    assert sorted(read) == sorted(one for own in ids for one in own)


@fork
def test_a_forked_child_writes_files_of_its_own(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path, flush_seconds=0.02)
    cascade = logged.cascade(log, explore=0.5)
    first = cascade(0).request_id
    logged.wait_for(lambda: log.written == 1)
    waits = cascade(1).request_id

    def child() -> tuple[list[str], int, int]:
        ids = [cascade(x).request_id for x in range(50)]
        logged.wait_for(lambda: log.written == 50)
        return ids, log.written, log.dropped

    ids, written, dropped = told_by_child(child)
    assert (written, dropped) == (50, 0)
    own = [first, waits, *(cascade(x).request_id for x in range(20))]
    log.close()
    assert sorted(one.request_id for one in tt.read_records(tmp_path)) == sorted([*own, *ids])
    assert len(files(tmp_path)) == 2


@fork
def test_forks_while_others_write(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path, flush_seconds=0.001, flush_records=10)
    cascade = logged.cascade(log)
    is_over = threading.Event()

    def work() -> None:
        while not is_over.is_set():
            cascade(1)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()

    def child() -> int:
        for x in range(30):
            cascade(x)
        log.close()
        return log.written

    try:
        assert [told_by_child(child) for _ in range(8)] == [30] * 8
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    log.close()
    assert len(tt.read_records(tmp_path)) == log.written + 8 * 30
    assert log.dropped == 0


def serve_some(cascade: tt.Cascade[int, Any], count: int) -> None:
    for x in range(count):
        cascade(x)


@fork
def test_children_of_multiprocessing_write_at_their_end(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path, flush_seconds=1000.0)
    cascade = logged.cascade(log)
    process = multiprocessing.get_context("fork").Process(target=serve_some, args=(cascade, 25))
    process.start()
    process.join(60.0)
    assert process.exitcode == 0
    assert len(tt.read_records(tmp_path)) == 25


END = """
import sys
import logged, ttamer_fast as tt
log = tt.RecordLog(sys.argv[1], flush_seconds=1000.0)
cascade = logged.cascade(log)
for x in range(25):
    cascade(x)
if sys.argv[2] == "error":
    raise SystemExit(3)
"""


@pytest.mark.parametrize("how", ["end", "error"])
def test_what_waits_is_written_at_the_end_of_the_interpreter(tmp_path: Path, how: str) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    program = [sys.executable, "-c", END, str(tmp_path), how]
    done = subprocess.run(program, check=False, timeout=60.0, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == (3 if how == "error" else 0)
    assert len(tt.read_records(tmp_path)) == 25


@fork
def test_what_was_written_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path, flush_seconds=0.02)
    cascade = logged.cascade(log)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for x in range(10**9):
                cascade(x % 600)
                if x % 100 == 0:
                    os.write(writing, b"%d %d\n" % (x, log.written))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        written = 0
        while written < 2000:
            written = int(pipe.readline().split()[1])
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    records = tt.read_records(tmp_path)
    assert len(records) >= written
    assert records.counts().damaged == 0
    table, asked = logged.table().signal, logged.consulted()
    served = {np.where(ran, row, np.nan).tobytes() for row, ran in zip(table, asked, strict=True)}
    for chunk in records.chunks():
        assert {row.tobytes() for row in chunk.signal} <= served


def test_a_log_that_nobody_has_any_more_is_written(tmp_path: Path) -> None:
    before = threading.active_count()
    cascade = logged.cascade(tt.RecordLog(tmp_path, flush_seconds=1000.0))
    cascade(0)
    del cascade
    gc.collect()
    assert len(tt.read_records(tmp_path)) == 1
    logged.wait_for(lambda: threading.active_count() <= before)


def test_logs_and_their_cascades_are_pickled(tmp_path: Path) -> None:
    log = tt.RecordLog(tmp_path, max_pending=7)
    copy = pickle.loads(pickle.dumps(log))
    assert (copy.folder, copy._options) == (log.folder, log._options)
    stages: list[tt.Stage[Any, Any]] = [
        tt.Stage(abs, signal=float, prediction=int, name=name) for name in logged.policy().stages
    ]
    cascade = tt.Cascade(logged.policy(), stages, record=log, explore=tt.Exploration(1.0), seed=5)
    other = pickle.loads(pickle.dumps(cascade))
    assert other(3).explored
    other._recorder.log.close()
    assert len(tt.read_records(tmp_path)) == 1
    served = cascade(3)
    assert pickle.loads(pickle.dumps(served)).explored
    table = cascade.batch([1, 2, 3])
    assert pickle.loads(pickle.dumps(table)).explored.tolist() == [True] * 3


def test_records_of_runs_are_appended(tmp_path: Path) -> None:
    policy = logged.policy()
    record = tt.Record(
        request_id="7",
        digest=policy.digest,
        stages=policy.stages,
        consulted=[1, 0],
        signal=[0.25, 0.5, None, None],
        prediction=["cat", "dog", None, None],
        answer=1,
        cost=5.0,
        expected_loss=0.25,
        failures={0: "down"},
    )
    with tt.RecordLog(tmp_path) as log:
        log.append(record, policy)
        log.append(pickle.loads(pickle.dumps(record)), policy)
        with pytest.raises(tt.ValidationError, match="`record` must be a Record, got int"):
            log.append(7, policy)  # type: ignore[arg-type]
        with pytest.raises(tt.ValidationError, match="`policy` must be a Policy, got str"):
            log.append(record, "x")  # type: ignore[arg-type]
        other = tt.baselines.static(tt.Trace([[0.5]], [[0.0]], [1.0], stages=["only"]), 0.9)
        with pytest.raises(tt.ValidationError, match=r"`record` must have the stages \['only'\]"):
            log.append(record, other)
    one, again = tt.read_records(tmp_path)
    assert (one.request_id, one.consulted, one.answer, one.failures) == ("7", (1, 0), 1, {0: "down"})
    assert (one.cost, again.consulted, one.policy.cost) == (5.0, one.consulted, tuple(logged.table().cost))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_bytes": 0}, "`max_bytes` must be an integer of at least 1|from 1"),
        ({"max_seconds": 0.0}, "`max_seconds` must be above 0"),
        ({"max_seconds": math.nan}, "`max_seconds` must be above 0"),
        ({"flush_seconds": math.inf}, "`flush_seconds` must be above 0 and finite"),
        ({"flush_records": 0}, "`flush_records` must be an integer from 1 to 1048576"),
        ({"max_pending": 2**20 + 1}, "`max_pending` must be an integer from 1 to 1048576"),
    ],
)
def test_bad_arguments(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(tt.ValidationError, match=message):
        tt.RecordLog(tmp_path, **given)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(tt.ValidationError, match="`folder` must be a folder, got a file"):
        tt.RecordLog(file)
    with pytest.raises(tt.ValidationError, match="`folder` must be a path, got int"):
        tt.RecordLog(7)  # type: ignore[arg-type]


def test_exits_cost_what_they_cost_more() -> None:
    from ttamer_fast.records.log import prices_of

    signal = np.random.default_rng(0).random((400, 3))
    trace = tt.Trace(signal, np.random.default_rng(1).random((400, 3)) > signal, [1.0, 2.0, 4.0], kind="exits")
    for policy in (tt.fit(trace, tradeoff=0.9), tt.baselines.static(trace, 0.9)):
        _, _, kind, cost = prices_of(policy)
        assert kind == "exits"
        np.testing.assert_allclose(cost, [1.0, 2.0, 4.0])
