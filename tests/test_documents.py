"""Every example in docstrings, README and docs runs and prints what it says; links and commands lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from _pytest.mark import ParameterSet

import ttamer_fast
from conftest import REPOSITORY
from ttamer_fast.cli import USAGE, main

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
DOCSTRING_FLAGS = FLAGS | doctest.IGNORE_EXCEPTION_DETAIL
MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(ttamer_fast.__path__, "ttamer_fast.")
    if not name.endswith(("._core", ".__main__"))
)
DOCUMENTS = {
    str(path.relative_to(REPOSITORY)): path
    for path in sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
}
CALIBRATE = "docs/how-to/calibrate.md"
"""Writes the traces that the other pages beside it read."""
EXTRA_OF: dict[str, tuple[str, ...]] = {
    "docs/how-to/torch.md": ("torch",),
    "ttamer_fast.stages.torch_exits": ("torch",),
    "docs/how-to/onnx.md": ("onnx",),
    "ttamer_fast.stages.onnx_exits": ("onnx",),
    "ttamer_fast.stages.onnx_model": ("onnx",),
}
"""What the examples of a module or a page need beyond the packages of `make test`."""
LONG = ("demo", "bench")
"""Commands of `ttamer` that have tests of their own."""


def marked(names: Iterable[str]) -> list[ParameterSet]:
    """Names as parameters, with the extras that they need."""
    return [pytest.param(name, marks=[pytest.mark.extra(extra) for extra in EXTRA_OF.get(name, ())]) for name in names]


class Block(NamedTuple):
    """What stands between two fences."""

    language: str
    text: str
    line: int


def blocks(path: Path) -> Iterator[Block]:
    text = path.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)


def run(path: Path) -> int:
    """Runs the Python examples and `ttamer` commands of a document in order, in the current folder; counts them."""
    names: dict[str, object] = {}
    runner, count = doctest.DocTestRunner(optionflags=FLAGS), 0
    for block in blocks(path):
        if block.language == "python":
            assert block.text.startswith(">>> "), f"{path}:{block.line}: an example that is not run"
            test = doctest.DocTestParser().get_doctest(block.text, names, path.name, str(path), block.line)
            assert runner.run(test, clear_globs=False).failed == 0
            names.update(test.globs)
            count += len(test.examples)
        for words in (shlex.split(line, comments=True) for line in block.text.splitlines() if block.language == "sh"):
            if words[:1] == ["ttamer"] and words[1] not in LONG:
                assert main(words[1:]) != USAGE, f"{path}:{block.line}: {shlex.join(words)}"
                count += 1
    return count


@pytest.mark.parametrize("name", marked(["ttamer_fast", *MODULES]))
def test_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=DOCSTRING_FLAGS).failed == 0


@pytest.mark.parametrize("name", ["Model", "Policy", "Run", "Batch", "Replay", "Certificate", "solve", "verify"])
def test_docstrings_of_compiled_names(name: str) -> None:
    runner = doctest.DocTestRunner(optionflags=DOCSTRING_FLAGS)
    for example in doctest.DocTestFinder().find(getattr(ttamer_fast, name), name, module=False):
        assert runner.run(example).failed == 0


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the page about traces was followed."""
    folder = tmp_path_factory.mktemp("calibrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(DOCUMENTS[CALIBRATE]) > 0
    return folder


def test_the_page_about_traces(calibrated: Path) -> None:
    assert sorted(path.name for path in calibrated.iterdir()) == ["held_out.npz", "train.npz"]


@pytest.mark.parametrize(
    "name", marked(name for name in DOCUMENTS if name.startswith("docs/how-to/") and name != CALIBRATE)
)
def test_other_pages_for_users(name: str, calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(calibrated, tmp_path, dirs_exist_ok=True)
    (tmp_path / "benches").symlink_to(REPOSITORY / "benches")  # some are read in the root of a clone
    monkeypatch.chdir(tmp_path)
    assert run(DOCUMENTS[name]) > 0


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if not name.startswith("docs/how-to/")])
def test_other_documents(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    count = run(DOCUMENTS[name])
    assert count > 0 or name != "README.md"


def anchors(path: Path) -> set[str]:
    """What headings are called in links."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_to_files_of_the_repository(name: str) -> None:
    path = DOCUMENTS[name]
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{name}: {link}"
        assert target.is_relative_to(REPOSITORY.resolve()), f"{name}: {link}"
        assert not anchor or anchor in anchors(target), f"{name}: {link}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_programs_that_are_named_are_in_the_repository(name: str) -> None:
    text = DOCUMENTS[name].read_text(encoding="utf-8")
    for program in re.findall(r"\b(?:benches|examples|tests|docs|rust|python)/[\w/.-]+\.(?:py|md|rs|json|npz)\b", text):
        assert "NAME" in program or (REPOSITORY / program).exists(), f"{name}: {program}"
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([\w-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{name}: make {target}"


def test_every_public_name_exists_and_is_described() -> None:
    for name in ttamer_fast.__all__:
        described = getattr(ttamer_fast, name)
        assert name in ("__version__", "build_info") or described.__doc__
