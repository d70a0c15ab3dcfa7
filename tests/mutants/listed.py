"""The mutants: what `cargo mutants --list` says, and some that it does not know."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tree_sitter import Language, Node, Parser
from tree_sitter_rust import language

ROOT = Path(__file__).parent.parent.parent
PARSER = Parser(Language(language()))


@dataclass(frozen=True)
class Mutant:
    """One small change of one place."""

    number: int
    file: str
    """From the root of the repository."""
    name: str
    """File and change, with the number of the place where a function has several such; the same in every version."""
    genre: str
    """`FnValue`, `BinaryOperator`, `UnaryOperator`, `MatchArm`, `MatchArmGuard`, or `Whole`: any other."""
    start: int
    """First byte of what is replaced."""
    end: int
    replacement: str


def walk(node: Node) -> Iterator[Node]:
    """All nodes but tests, in the order of the text."""
    name = node.child_by_field_name("name")
    if node.type == "mod_item" and name is not None and name.text == b"tests":
        return
    yield node
    for child in node.children:
        yield from walk(child)


def offset(lines: list[str], line: int, column: int) -> int:
    """The byte of a place that is counted in lines and letters from 1."""
    before = sum(len(text.encode()) + 1 for text in lines[: line - 1])
    return before + len(lines[line - 1][: column - 1].encode())


def mutants() -> list[Mutant]:
    """All of them, as `.cargo/mutants.toml` chooses files."""
    found = subprocess.run(
        ["cargo", "mutants", "--list", "--json"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    rows = []
    for one in json.loads(found.stdout):
        lines = (ROOT / one["file"]).read_text(encoding="utf-8").split("\n")
        start, end = (offset(lines, **one["span"][side]) for side in ("start", "end"))
        change, replacement = one["name"].split(": ", 1)[1], one["replacement"]
        if one["genre"] == "FnValue" and one["function"]["return_type"] == "-> Checked":
            change, replacement = change.rsplit(" with ", 1)[0] + " with Ok(())", "Ok(())"
        rows.append((one["file"], change, one["genre"], start, end, replacement))
    rows += [row for file in sorted({row[0] for row in rows}) for row in ours(file)]
    seen: Counter[str] = Counter()
    result = []
    for number, (file, change, genre, start, end, replacement) in enumerate(rows, 1):
        name = f"{file.removeprefix('rust/core/src/')}: {change}"
        seen[name] += 1
        name += f" #{seen[name]}" if seen[name] > 1 else ""
        result.append(Mutant(number, file, name, genre, start, end, replacement))
    return result


STRICT = {b"<=": "<", b">=": ">"}


def ours(file: str) -> Iterator[tuple[str, str, str, int, int, str]]:
    """A check that is left out, a limit that is not within any more, a difference that takes nothing off."""
    text = (ROOT / file).read_bytes()
    for node in walk(PARSER.parse(text).root_node):
        operator = node.child_by_field_name("operator") if node.type == "binary_expression" else None
        if node.type == "call_expression" and node.children[0].text == b"check":
            problem = " ".join(text[node.start_byte : node.end_byte].decode().split()).split(', "')[-1].split('"')[0]
            yield file, f'leave out the check of "{problem}"', "Whole", node.start_byte, node.end_byte, "Ok(())"
        elif operator is not None and operator.text in STRICT:
            change = f"replace {operator.text.decode()} with {STRICT[operator.text]}"
            place = (operator.start_byte, operator.end_byte)
            yield file, f"{change} in line of `{line(text, node)}`", "BinaryOperator", *place, STRICT[operator.text]
        elif operator is not None and operator.text == b"-":
            left = text[node.start_byte : operator.start_byte].decode()
            change = f"take nothing off in line of `{line(text, node)}`"
            yield file, change, "Whole", node.start_byte, node.end_byte, left


def line(text: bytes, node: Node) -> str:
    """The first words of the line that a node is on."""
    start = text.rfind(b"\n", 0, node.start_byte) + 1
    return " ".join(text[start:].split(b"\n", 1)[0].decode().split())[:60]
