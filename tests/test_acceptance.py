"""Acceptance scripts that are not in the repository, where a folder of them is given."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY

pytestmark = pytest.mark.outside("acceptance")


def run_script(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_robust(outside_acceptance: Path) -> None:
    run_script(outside_acceptance / "robust.py")


@pytest.mark.parametrize("kind", ["line", "skip", "tree", "forest"])
def test_vectors(outside_acceptance: Path, kind: str) -> None:
    run_script(outside_acceptance / "vectors.py", REPOSITORY / "tests" / "data" / "models.json", kind)
