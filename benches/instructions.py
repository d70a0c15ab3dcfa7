"""Counts the instructions of one observation in the Rust core and holds them against the recorded budget.

usage: python benches/instructions.py [--record]
Exits 1 where the count exceeds the budget in `benches/instructions.json` by more than 10 %, or where a policy that is
told how much time is left takes more than 15 % more instructions than one that knows no time and is told too.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUDGET = ROOT / "benches" / "instructions.json"
ALLOWED = 1.10
ALLOWED_WITHIN = 1.15
PLENTY = 100.0
"""Seconds after which decisions are those without time."""


def build(name: str = "instructions") -> str:
    """Path of a compiled bench."""
    command = [
        "cargo",
        "bench",
        "-q",
        "--locked",
        "-p",
        "ttamer",
        "--bench",
        name,
        "--no-run",
        "--message-format=json",
    ]
    lines = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    built = (json.loads(line) for line in lines)
    return str(next(a["executable"] for a in built if a.get("executable") and a["target"]["name"] == name))


def count(binary: str, *arguments: str) -> float:
    """Instructions per observation, start of the request included, by a bench with these arguments."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no"]
        command += ["--toggle-collect=*answer_requests*", binary, *arguments]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if collected is None:
        raise SystemExit(f"callgrind reported no count:\n{run.stderr}")
    return int(collected[1]) / int(run.stdout)


def budget() -> float:
    """The recorded number of instructions."""
    recorded: float = json.loads(BUDGET.read_text())["instructions_per_observation"]
    return recorded


def main() -> int:
    """Counts, compares, reports."""
    measured, told = count(build()), build("instructions_within")
    timeless, timed = (count(told, kind, str(PLENTY)) for kind in ("timeless", "timed"))
    if "--record" in sys.argv:
        BUDGET.write_text(json.dumps({"instructions_per_observation": round(measured, 1)}) + "\n")
    print(f"{measured:.1f} instructions an observation, budget {budget()} + 10 %")
    print(
        f"{timed:.1f} of a policy that is told how much time is left, {timed / timeless:.3f} of one that knows no time "
        f"({timeless:.1f}), allowed {ALLOWED_WITHIN}"
    )
    return int(measured > ALLOWED * budget() or timed > ALLOWED_WITHIN * timeless)


if __name__ == "__main__":
    sys.exit(main())
