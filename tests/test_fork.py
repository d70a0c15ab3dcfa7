"""Forked children decide, fit and solve like their parent, whatever the parent's threads were doing."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import ttamer_fast as tt
from children import PATIENCE, told_by_child
from conftest import make_trace

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    # A fork of a process with threads is what is tested.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

ROWS = make_trace(n=10_000, seed=3)
POLICY = tt.fit(make_trace(seed=1), tradeoff=0.95)
MODEL = tt.Model.line(
    [np.linspace(1.0, 0.0, 90)] * 4, [0.01] * 4, [np.full((1, 90), 1 / 90)] + [np.full((90, 90), 1 / 90)] * 3
)


def batch() -> list[int]:
    rng = np.random.default_rng(0)
    requests = POLICY.start_batch(2 * 16_384)
    for stage in range(4):
        waiting = requests.rows(stage)
        requests.observe(stage, rng.random(len(waiting)))
    return [int(stage) for stage in requests.answer[:1000]]


def first() -> list[tuple[int, float]]:
    runs = (POLICY.first(signal, said) for signal, said in zip([0.1, 0.99] * 50, range(100), strict=True))
    return [(-1, 0.0) if run is None else (run.next or 0, run.cost) for run in runs]


WORKS: dict[str, Callable[[], object]] = {
    "first": first,
    "fit": lambda: tt.fit(ROWS, tradeoff=0.9).digest,
    "solve": lambda: tt.solve(MODEL).digest,
    "verify": lambda: tt.verify(MODEL, tt.solve(MODEL)).exact,
    "compare": lambda: repr(tt.compare(make_trace(n=400), tradeoff=0.9, folds=2)),
    "replay": lambda: POLICY.replay(ROWS.signal, ROWS.prediction).answer.tolist(),
    "batch": batch,
    "signals": lambda: tt.signals.margin(np.arange(1_200_000.0).reshape(-1, 6) % 7.0).tolist()[::1000],
    "trace": lambda: make_trace(n=50_000, k=2).mean_loss.tolist(),
    "evaluate": lambda: tt.evaluate(POLICY, ROWS).objective,
}


@pytest.mark.parametrize("name", WORKS)
def test_a_forked_child_gives_what_its_parent_gives(name: str) -> None:
    want = WORKS[name]()
    assert told_by_child(WORKS[name]) == want


def test_a_child_of_a_child() -> None:
    want = {name: WORKS[name]() for name in ("fit", "replay")}

    def child() -> object:
        return [WORKS["replay"]() == want["replay"], told_by_child(lambda: {name: WORKS[name]() for name in want})]

    assert told_by_child(child) == [True, want]


def test_a_child_of_a_child_that_only_forks() -> None:
    want = WORKS["replay"]()
    assert told_by_child(lambda: told_by_child(WORKS["replay"])) == want


def test_a_worker_of_multiprocessing() -> None:
    want = POLICY.replay(ROWS.signal).answer
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(POLICY.replay, [ROWS.signal] * 4).get(PATIENCE)
    assert all(np.array_equal(replay.answer, want) for replay in found)


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Two threads that fit and replay for as long as the test lasts."""
    is_over = threading.Event()

    def loop() -> None:
        while not is_over.is_set():
            tt.fit(make_trace(n=1000, k=2), tradeoff=0.9)
            POLICY.replay(ROWS.signal)

    threads = [threading.Thread(target=loop) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield
    is_over.set()
    for thread in threads:
        thread.join()


def test_children_forked_in_the_middle_of_the_work_of_other_threads(busy_threads: None) -> None:
    trace = make_trace(n=1000, k=2)

    def work() -> object:
        return tt.fit(trace, tradeoff=0.9).digest, WORKS["replay"]()

    want = work()
    for _ in range(8):
        assert told_by_child(work) == want


def run(code: str, **variables: str) -> str:
    """What a program says in a process of its own."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_children_forked_while_the_first_threads_start() -> None:
    # In every round a child starts with the package imported and no threads, starts some in one thread, and forks in
    # another.
    said = run(
        """
        import os, threading, warnings
        import numpy as np
        import ttamer_fast as tt
        warnings.simplefilter("ignore", DeprecationWarning)
        signal = np.random.default_rng(0).random((20_000, 2))
        model = tt.Model.line([[0.1, 0.9], [0.0, 0.2]], [0.05, 0.1], [[[0.5, 0.5]], [[0.3, 0.7], [0.6, 0.4]]])
        policy = tt.solve(model)
        states = (signal > 0.5).astype(float)
        for _ in range(60):
            if os.fork() == 0:
                other = threading.Thread(target=policy.replay, args=(states,))
                other.start()
                if os.fork() == 0:
                    os._exit(0 if len(policy.replay(states)) == 20_000 else 1)
                os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        print("done")
        """
    )
    assert said == "done\n"


def test_one_thread_is_enough() -> None:
    said = run(
        """
        import os, resource, threading
        import numpy as np
        import ttamer_fast as tt
        rng = np.random.default_rng(0)
        signal = rng.random((20_000, 3))
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        if os.geteuid() == 0:
            os.setuid(65534)  # limits do not bind the superuser
        try:
            threading.Thread(target=print).start()
        except RuntimeError:
            print("no threads")
        trace = tt.Trace(signal, rng.random((20_000, 3)) > signal, [1.0, 2.0, 8.0], kind="models")
        policy = tt.fit(trace, tradeoff=0.9)
        print(len(policy.replay(signal)), policy.digest)
        """
    )
    told, _, rest = said.partition("\n")
    if told != "no threads":
        pytest.skip("this system does not keep to RLIMIT_NPROC")
    rng = np.random.default_rng(0)
    signal = rng.random((20_000, 3))
    trace = tt.Trace(signal, rng.random((20_000, 3)) > signal, [1.0, 2.0, 8.0], kind="models")
    assert rest == f"20000 {tt.fit(trace, tradeoff=0.9).digest}\n"


def test_small_work_starts_no_threads() -> None:
    said = run(
        """
        import os
        import numpy as np
        import ttamer_fast as tt
        before = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
        model = tt.Model.line([[0.1, 0.9], [0.0, 0.2]], [0.05, 0.1], [[[0.5, 0.5]], [[0.3, 0.7], [0.6, 0.4]]])
        policy = tt.solve(model)
        policy.replay(np.zeros((4000, 2)))
        policy.start_batch(16_000).observe(0, np.zeros(16_000))
        trace = tt.Trace(np.zeros((1000, 2)), np.ones((1000, 2)), [0.05, 0.1], stages=policy.stages)
        tt.evaluate(policy, trace, tradeoff=0.5)
        after = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
        print(after - before)
        """
    )
    assert said == "0\n"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list threads")
def test_as_many_threads_as_asked_for_and_as_many_in_a_child() -> None:
    said = run(
        """
        import os, time
        import numpy as np
        import ttamer_fast as tt
        policy = tt.solve(tt.Model.line([[0.1, 0.9]], [0.05], [[[0.5, 0.5]]]))
        def named():
            names = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
            return sum(name.startswith("ttamer") for name in names)
        def ours():
            policy.replay(np.zeros((20_000, 1)))
            # A thread names itself when it gets to run.
            end = time.monotonic() + 20
            while named() < 3 and time.monotonic() < end:
                time.sleep(0.01)
            return named()
        print(ours(), flush=True)
        if os.fork() == 0:
            print(ours(), flush=True)
            os._exit(0)
        os.wait()
        """,
        RAYON_NUM_THREADS="3",
        PYTHONWARNINGS="ignore",
    )
    assert said == "3\n3\n"
