"""Work in other processes: forked, or started for it."""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60.0
"""Seconds that a child may take; each needs few on an idle machine."""


def told_by_child(work: Callable[[], object]) -> Any:
    """What `work` gives in a forked child; fails where the child does not end in time."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = pickle.dumps(work())
        except BaseException as error:  # whatever happens, the child must not run the parent's tests
            said = pickle.dumps(repr(error))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(said)
        os._exit(0)
    os.close(writing)
    said = b""
    end = time.monotonic() + PATIENCE
    try:
        while select.select([reading], [], [], max(0.0, end - time.monotonic()))[0]:
            piece = os.read(reading, 1 << 16)
            if not piece:
                return pickle.loads(said)
            said += piece
        return pytest.fail(f"the child did not end within {PATIENCE} s")
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def in_another_process(work: Callable[[Any], Any], given: Any) -> Any:
    """What a function of this module gives in a process that is started for it."""
    program = "import pickle, sys; f, x = pickle.load(sys.stdin.buffer); pickle.dump(f(x), sys.stdout.buffer)"
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((work, given)),
        capture_output=True,
        check=False,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)
