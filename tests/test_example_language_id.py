"""`examples/language_id` runs on real engines and keeps its promises; without them it says what is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ttamer_fast as tt
from conftest import REPOSITORY

PROGRAM = REPOSITORY / "examples" / "language_id" / "identify.py"
ENGINES = ("cld2", "fasttext", "cld3", "lingua")


@pytest.mark.extra("language-id")
def test_the_policy_beats_every_engine_and_is_served_as_replayed(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), "--texts", "3000", "--trace", str(tmp_path / "trace.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    for engine in ENGINES:
        gaps = re.findall(rf"^{engine} alone +\S+ +(\S+) ± (\S+)", done.stdout, re.MULTILINE)
        assert len(gaps) == 4
        assert all(float(gap) > 2.0 * float(error) for gap, error in gaps), engine
    for rule in ("one threshold", "a threshold each"):
        gaps = re.findall(rf"^{rule} +\S+ +(\S+) ± (\S+)", done.stdout, re.MULTILINE)
        assert len(gaps) == 4
        assert all(float(gap) > 0.0 for gap, _ in gaps), rule
    same, count = re.findall(r"^same answering stage as the replay: (\d+) of (\d+)$", done.stdout, re.MULTILINE)[0]
    assert same == count
    assert int(count) > 1000
    nanoseconds = re.findall(r"^(?:policy.start\(\)|cascade\S*).* (\d+) +\S+% +\S+%$", done.stdout, re.MULTILINE)
    assert len(nanoseconds) == 3
    assert float(nanoseconds[0]) < 1000.0

    trace = tt.read_trace(tmp_path / "trace.npz", loss="loss")
    assert trace.stages == ENGINES
    assert trace.cost[3] > 20.0 * trace.cost[0]
    assert trace.group is not None
    assert len(np.unique(trace.group)) > 200


def test_a_package_that_is_missing_is_named() -> None:
    without = "import runpy, sys; sys.modules['gcld3'] = sys.modules['django'] = None; sys.argv = sys.argv[1:]; "
    without += "sys.path.insert(0, sys.argv[0].rpartition('/')[0]); runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", without, PROGRAM.as_posix()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 69, done.stderr
    assert done.stderr.startswith("not installed: pip install ")
    assert {"cld3-py", "Django"} <= set(done.stderr.split())
    assert done.stdout == ""
