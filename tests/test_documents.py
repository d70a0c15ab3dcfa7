"""Every example in a docstring or in the README runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import ttamer_fast
from conftest import REPOSITORY

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(ttamer_fast.__path__, "ttamer_fast.")
    if not name.endswith(("._core", ".__main__"))
)


@pytest.mark.parametrize("name", ["ttamer_fast", *MODULES])
def test_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=FLAGS).failed == 0


@pytest.mark.parametrize("name", ["Model", "Policy", "Run", "Batch", "Replay", "Certificate", "solve", "verify"])
def test_docstrings_of_compiled_names(name: str) -> None:
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in doctest.DocTestFinder().find(getattr(ttamer_fast, name), name, module=False):
        assert runner.run(example).failed == 0


def test_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = doctest.testfile(str(REPOSITORY / "README.md"), module_relative=False, optionflags=FLAGS)
    assert done.attempted > 0
    assert done.failed == 0


def test_every_public_name_exists_and_is_described() -> None:
    for name in ttamer_fast.__all__:
        described = getattr(ttamer_fast, name)
        assert name in ("__version__", "build_info") or described.__doc__
