"""The acceptance scripts and vectors beside the repository, where they are there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def run_script(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_robust(shared: Path) -> None:
    run_script(shared / "acceptance" / "robust.py")


@pytest.mark.parametrize("kind", ["line", "skip", "tree", "forest"])
def test_vectors(shared: Path, kind: str) -> None:
    run_script(shared / "acceptance" / "vectors.py", shared / "vectors" / "models.json", kind)
