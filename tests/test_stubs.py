"""The hand-written stub of the compiled module says what is there, without exceptions."""

from __future__ import annotations

import subprocess
import sys


def test_stubtest() -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "ttamer_fast._core"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
