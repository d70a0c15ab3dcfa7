"""In which direction the rooms of the Rust core may know each other, and that nothing goes round in circles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

RUST = Path(__file__).parent.parent / "rust"
MOST_LINES = 500

BELOW = {
    "digits": set(),
    "error": set(),
    "files": {"error", "parallel"},
    "mean": set(),
    "parallel": {"error"},
    "random": set(),
    "plan": {"error"},
    "price": {"error", "plan"},
    "signals": {"error", "mean", "parallel"},
    "model": {"error", "parallel"},
    "solve": {"error", "model", "parallel", "plan"},
    "rules": {"error", "parallel", "plan", "price", "random"},
    "policy": {"digits", "error", "files", "model", "parallel", "plan", "price", "rules", "solve"},
    "decide": {"error", "parallel", "plan", "policy", "price", "rules"},
    "trace": {"digits", "error", "mean", "parallel", "price", "random"},
    "records": {"error", "parallel", "policy", "random", "rules", "trace"},
    "evaluate": {"decide", "error", "mean", "parallel", "plan", "policy", "trace"},
    "monitor": {"decide", "error", "plan", "policy", "random", "rules", "trace"},
    "operate": {"decide", "error", "plan", "policy", "random", "rules"},
    "learn": {
        "error",
        "evaluate",
        "model",
        "parallel",
        "plan",
        "policy",
        "price",
        "random",
        "rules",
        "signals",
        "solve",
        "trace",
    },
}
"""What each room of rust/core/src may import."""


def code(file: Path) -> str:
    """The file without comments and without its tests, which may use anything."""
    text = re.sub(r"//.*", "", file.read_text(encoding="utf-8"))
    return re.sub(r"#\[cfg\(test\)\]\s*mod \w+ \{.*\Z", "", text, flags=re.DOTALL)


def paths(tree: str, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path of a use tree such as `a::{b, c::{d, e}}`."""
    head, brace, rest = tree.strip().partition("{")
    here = prefix + tuple(part.strip() for part in head.split("::") if part.strip())
    if not brace:
        yield here
        return
    depth, item = 0, ""
    for letter in rest.rpartition("}")[0] + ",":
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            if item.strip():
                yield from paths(item, here)
            item = ""
        else:
            item += letter


def imports(file: Path) -> Iterator[tuple[str, ...]]:
    """Absolute paths of what a file uses of its own crate, wherever it says so."""
    root = next(parent for parent in file.parents if parent.name == "src")
    here = file.relative_to(root).with_suffix("").parts
    here = here[:-1] if here[-1] in ("mod", "lib") else here
    text = code(file)
    for tree in re.findall(r"\buse ([^;]+);", text):
        for path in paths(tree):
            if path[0] == "crate":
                yield path[1:]
            elif path[0] == "super":
                ups = next((i for i, part in enumerate(path) if part != "super"), len(path))
                yield here[: len(here) - ups] + path[ups:]
            elif path[0] == "self":
                yield here + path[1:]
    for path in re.findall(r"\bcrate::((?:\w+::)*\w+)", re.sub(r"\buse [^;]+;", "", text)):
        yield tuple(path.split("::"))


def files(source: Path) -> dict[tuple[str, ...], Path]:
    """Every file of a crate, by its module path."""
    found = {}
    for file in source.rglob("*.rs"):
        parts = file.relative_to(source).with_suffix("").parts
        found[parts[:-1] if parts[-1] in ("mod", "lib") else parts] = file
    return found


def module_of(path: tuple[str, ...], known: dict[tuple[str, ...], Path]) -> tuple[str, ...]:
    return next(path[:n] for n in range(len(path), -1, -1) if path[:n] in known)


@pytest.mark.parametrize("crate", ["core", "python"])
def test_no_circles(crate: str) -> None:
    known = files(RUST / crate / "src")
    assert len(known) > 5
    graph: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for module, file in known.items():
        used = {module_of(path, known) for path in imports(file)}
        declared = {(*module, name) for name in re.findall(r"\bmod (\w+);", code(file))}
        graph[module] = (used | declared) - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join("::".join(("crate", *module)) for module in error.args[1]))


def test_rooms_know_only_those_below() -> None:
    source = RUST / "core" / "src"
    known = files(source)
    rooms = {module[0] for module in known if module}
    assert rooms == BELOW.keys()
    for module, file in known.items():
        if module:
            above = {path[0] for path in imports(file)} - {module[0]} - BELOW[module[0]]
            assert not above, f"{file.relative_to(source)} imports {sorted(above)}"


def test_one_room_knows_of_threads() -> None:
    knows = re.compile(r"\brayon\b|\bthread::|\bCondvar\b")
    for folder in ("core", "python"):
        source = RUST / folder / "src"
        named = {file.relative_to(source).parts[0] for file in source.rglob("*.rs") if knows.search(code(file))}
        assert named <= {"parallel"}, named


def test_no_file_is_long() -> None:
    root = RUST.parent
    sources = [
        file for folder in ("rust", "python", "tests", "benches", "examples") for file in (root / folder).rglob("*")
    ]
    long = {
        str(file.relative_to(root)): lines
        for file in sources
        if file.suffix in (".rs", ".py", ".pyi")
        and (lines := len(file.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert not long, long
