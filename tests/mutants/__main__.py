"""Every mutant of the rules must fail a test of the core, or be listed as one that changes nothing.

    PYTHONPATH=tests python -m mutants [PART OF A NAME ...]

Needs cargo-mutants, which lists the mutants, and the packages tree-sitter and tree-sitter-rust; `make mutants` installs
all three. One build holds all mutants (`sources.py`); each is turned on for one run of the test binaries, those that
notice most first. Survivors that change nothing are in `equivalent.toml`, with reasons
(`docs/research/mutants.md`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants.listed import ROOT, Mutant, mutants
from mutants.sources import prepare

TREE = ROOT / "build" / "mutants"
FIRST = ("reference", "refusals", "situations", "frames", "lib", "describe", "many", "mixtures", "runs", "certificate")
"""Test binaries that notice most mutants, and quickly."""
PATIENCE = 10.0
"""So many times as long as without a mutant, and so many seconds besides: then a test goes round in circles."""
SETTINGS = {"PROPTEST_RNG_SEED": "1", "PROPTEST_CASES": "20", "RAYON_NUM_THREADS": "1"}
PROFILE = {"LTO": "off", "CODEGEN_UNITS": "16", "OPT_LEVEL": "1", "DEBUG": "0"}


def built() -> list[Path]:
    """The test binaries, in the order in which they are run."""
    command = [
        "cargo",
        "test",
        "--release",
        "-p",
        "ttamer",
        "--lib",
        "--tests",
        "--no-run",
        "--message-format",
        "short",
    ]
    done = subprocess.run(command, cwd=TREE, check=True, capture_output=True, text=True)
    found = re.findall(r"Executable (?:unittests )?(\S+) \((\S+)\)", done.stderr)
    names = {"lib" if source.startswith("src") else Path(source).stem: TREE / path for source, path in found}
    assert set(FIRST) <= names.keys()
    return [names[name] for name in (*FIRST, *sorted(names.keys() - set(FIRST)))]


def passes(test: Path, mutant: int, limit: float | None) -> bool:
    """Whether a test binary passes, and in time."""
    environment = {**os.environ, **SETTINGS, "MUTANT": str(mutant)}
    folder = TREE / "rust" / "core"
    try:
        done = subprocess.run(
            [test, "-q"], cwd=folder, env=environment, capture_output=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def limits(tests: list[Path]) -> dict[Path, float]:
    """Seconds that each test binary gets."""
    found = {}
    for test in tests:
        start = time.monotonic()
        assert passes(test, 0, None), f"{test.name} fails without a mutant"
        found[test] = PATIENCE * (time.monotonic() - start) + PATIENCE
    return found


def main(*parts: str) -> int:
    os.environ |= {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in PROFILE.items()}
    made = prepare(TREE, mutants())
    chosen = [mutant for mutant in made if not parts or any(part in mutant.name for part in parts)]
    tests = limits(built())

    def survives(mutant: Mutant) -> bool:
        survived = all(passes(test, mutant.number, limit) for test, limit in tests.items())
        if survived:
            print(f"survived: {mutant.name}", flush=True)
        return survived

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        alive = list(pool.map(survives, chosen))
    return report(made, chosen, [mutant.name for mutant, is_alive in zip(chosen, alive, strict=True) if is_alive])


def report(made: list[Mutant], chosen: list[Mutant], survivors: list[str]) -> int:
    """Says what survived though it should not have, and what is listed that does not survive or is no mutant."""
    listed = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text(encoding="utf-8"))
    equivalent = {name for group in listed["group"] for name in group["names"]}
    names = {mutant.name for mutant in chosen}
    wrong = [f"survives: {name}" for name in survivors if name not in equivalent]
    wrong += [f"is listed, and does not survive: {name}" for name in sorted(equivalent & names - {*survivors})]
    wrong += [f"is listed, and is no mutant: {name}" for name in sorted(equivalent - {one.name for one in made})]
    print("\n".join(wrong))
    print(f"{len(chosen)} mutants, {len(chosen) - len(survivors)} killed, {len(survivors)} survive, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
