"""A copy of the sources that holds all mutants at once: the environment variable MUTANT turns one of them on.

Building the core for each of a thousand mutants takes many hours; building one copy that holds them takes minutes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tree_sitter import Node

from mutants.listed import PARSER, ROOT, Mutant

SWITCH = """//! Which mutant is on.
use std::sync::OnceLock;

static ID: OnceLock<u32> = OnceLock::new();

pub(crate) fn id() -> u32 {
    *ID.get_or_init(|| std::env::var("MUTANT").ok().and_then(|id| id.parse().ok()).unwrap_or(0))
}
"""


class File:
    """One source file with its mutants."""

    def __init__(self, text: bytes, mutants: Iterable[Mutant]) -> None:
        self.text = text
        self.root = PARSER.parse(text).root_node
        self.bodies: dict[int, list[Mutant]] = defaultdict(list)
        self.places: dict[tuple[str, int], list[Mutant]] = defaultdict(list)
        self.placed: set[int] = set()
        for mutant in mutants:
            if mutant.genre == "FnValue":
                body = self._body(mutant)
                if body is not None:
                    self.bodies[body].append(mutant)
            else:
                self.places[mutant.genre, mutant.start].append(mutant)

    def _body(self, mutant: Mutant) -> int | None:
        """Where the body of the function begins."""
        node = self.root.descendant_for_byte_range(mutant.start, max(mutant.start, mutant.end - 1))
        while node is not None and node.type != "function_item":
            node = node.parent
        body = node and node.child_by_field_name("body")
        if node is None or body is None or self._is_constant(node):
            return None
        start: int = body.start_byte
        return start + 1

    def _is_constant(self, node: Node) -> bool:
        """Whether it is a function that the compiler may run, which cannot ask for the switch."""
        body = node.child_by_field_name("body") if node.type == "function_item" else None
        return body is not None and b"const fn" in self.text[node.start_byte : body.start_byte]

    def written(self) -> str:
        """The file with a switch at every place."""
        return self.text[: self.root.start_byte].decode() + self._node(self.root)

    def _between(self, start: int, end: int) -> str:
        """Text between two nodes, and what functions return instead of running their bodies."""
        result = ""
        for at in sorted(at for at in self.bodies if start <= at < end or start == at == end):
            result += self.text[start:at].decode()
            start = at
            for mutant in self.bodies.pop(at):
                result += f" if crate::mutant::id() == {mutant.number} {{ return {mutant.replacement}; }} "
                self.placed.add(mutant.number)
        return result + self.text[start:end].decode()

    def _node(self, node: Node) -> str:
        if node.type in ("const_item", "static_item") or self._is_constant(node):
            return self.text[node.start_byte : node.end_byte].decode()
        variants = self._variants(node)
        body, at = "", node.start_byte
        for child in node.children:
            body += self._between(at, child.start_byte) + self._node(child)
            at = child.end_byte
        body += self._between(at, node.end_byte)
        if node.type == "match_arm":
            body = self._arm(node, body)
        if variants:
            arms = " ".join(f"{mutant.number} => {{ {text} }}" for mutant, text in variants)
            self.placed |= {mutant.number for mutant, _ in variants}
            return f"(match crate::mutant::id() {{ {arms} _ => {{ {body} }} }})"
        return body

    def _variants(self, node: Node) -> list[tuple[Mutant, str]]:
        """What the expression becomes under each of its own mutants."""
        start, end = node.start_byte, node.end_byte
        whole = [*self.places[("MatchArmGuard", start)], *self.places[("Whole", start)]]
        found = [(one, one.replacement) for one in whole if one.end == end and one.number not in self.placed]
        if node.type in ("binary_expression", "compound_assignment_expr"):
            operator = node.child_by_field_name("operator")
            assert operator is not None
            left, right = self.text[start : operator.start_byte].decode(), self.text[operator.end_byte : end].decode()
            for one in self.places[("BinaryOperator", operator.start_byte)]:
                found.append((one, left + one.replacement + right))
        if node.type == "unary_expression":
            without = self.text[start + 1 : end].decode()
            found += [(one, without) for one in self.places[("UnaryOperator", start)]]
        return found

    def _arm(self, node: Node, body: str) -> str:
        """An arm that is left out is one whose guard is false."""
        pattern = node.child_by_field_name("pattern")
        assert pattern is not None
        for one in self.places[("MatchArm", node.start_byte)]:
            if pattern.child_by_field_name("condition") is None:
                head = self.text[node.start_byte : pattern.end_byte].decode()
                body = f"{head} if crate::mutant::id() != {one.number} {body[len(head) :]}"
                self.placed.add(one.number)
        return body


def prepare(tree: Path, mutants: list[Mutant]) -> list[Mutant]:
    """Writes the copy; returns the mutants that are in it. Not all of them make a program: those are left out."""
    copy_repository(tree)
    left_out: set[int] = set()
    while True:
        placed: set[int] = set()
        for name in {mutant.file for mutant in mutants}:
            of_file = [one for one in mutants if one.file == name and one.number not in left_out]
            file = File((ROOT / name).read_bytes(), of_file)
            (tree / name).write_text(file.written(), encoding="utf-8")
            placed |= file.placed
        wrong = compile_errors(tree)
        if not wrong:
            return [one for one in mutants if one.number in placed]
        left_out |= wrong


def copy_repository(tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    for name in ("Cargo.toml", "Cargo.lock", "rust/core", "tests/data"):
        source, target = ROOT / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    workspace = tree / "Cargo.toml"
    workspace.write_text(workspace.read_text(encoding="utf-8").replace(', "rust/python"', ""), encoding="utf-8")
    library = tree / "rust" / "core" / "src" / "lib.rs"
    text = library.read_text(encoding="utf-8")
    library.write_text(text.replace("pub mod decide;", "mod mutant;\npub mod decide;", 1), encoding="utf-8")
    library.with_name("mutant.rs").write_text(SWITCH, encoding="utf-8")


def compile_errors(tree: Path) -> set[int]:
    """The mutants that the compiler does not accept."""
    command = ["cargo", "check", "--release", "-p", "ttamer", "--message-format", "short"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    wrong = set()
    for name, line, column in re.findall(r"^(\S+?\.rs):(\d+):(\d+): error", done.stderr, re.MULTILINE):
        lines = (tree / name).read_text(encoding="utf-8").split("\n")
        before = "\n".join([*lines[: int(line) - 1], lines[int(line) - 1][: int(column) - 1]])
        # An error that stands before every mutant of its file follows from another one.
        for number, arm in re.findall(r"mutant::id\(\) == (\d+) \{|(\d+) => \{", before)[-1:]:
            wrong.add(int(number or arm))
    assert wrong or done.returncode == 0, done.stderr[-2000:]
    return wrong
