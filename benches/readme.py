"""Measures what README's section "Measured" says, keeps it in `benches/measured.json`, and writes the section from it.

usage: python benches/readme.py [FOLDER] [--only PART...]
       python benches/readme.py --check

FOLDER holds public traces for the table of quality, beside our own digits. Parts: demo, quality, speed, core; those
that are left out keep their figures. `core` needs cargo and valgrind. `--check` measures nothing and fails unless the
section is the one that the kept figures give.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "benches"), str(ROOT / "benches" / "quality")]

import table  # noqa: E402
from recorded import parser_of, traces_of  # noqa: E402

import fit as fitting  # noqa: E402
import instructions  # noqa: E402
import speed  # noqa: E402
import ttamer_fast as tt  # noqa: E402
from ttamer_fast.demo import DemoSettings, run_demo  # noqa: E402

README = ROOT / "README.md"
MEASURED = ROOT / "benches" / "measured.json"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->"
TRADEOFFS = (0.7, 0.87, 0.95, 0.985)
FOLDS = 5

Figures = dict[str, Any]


# Measuring


def measure_demo(_: Mapping[str, tt.Trace]) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        result = run_demo(folder)
    if not result.serving.as_replayed:
        raise SystemExit("the demo served other answers than its replay")
    return {"tradeoff": DemoSettings().tradeoff} | asdict(result.serving)


def measure_quality(traces: Mapping[str, tt.Trace]) -> Figures:
    judged = [table.judge(name, trace, FOLDS) for name, trace in traces.items()]
    best = {
        kind: [result for one in judged if one.trace.kind == kind for result in one.to_best]
        for kind in ("models", "exits")
    }
    return {
        "traces": [
            {
                "name": one.name,
                "kind": one.trace.kind,
                "cells": [
                    [result["fit"].objective, result["fit"].difference, result["fit"].difference_se]
                    for result in one.to_threshold
                    if result.tradeoff in TRADEOFFS
                ],
            }
            for one in judged
        ],
        "to_best": {
            kind: {"cells": len(found), "mean": table.geometric_mean(found), "worst": table.worst(found)}
            for kind, found in best.items()
            if found
        },
    }


def measure_speed(_: Mapping[str, tt.Trace]) -> Figures:
    return {
        "ratios": [asdict(part(7)) for part in speed.PARTS.values()],
        "fit": [asdict(one) for one in fitting.ratios(1_000_000, 8)],
    }


def measure_core(_: Mapping[str, tt.Trace]) -> Figures:
    return {
        "observe_ns": benched("observe, run reused"),
        "request_ns": benched("observe, start included"),
        "floor_ns": json.loads(command_line("bench", "--json"))["floor_ns"],
        "instructions": instructions.count(instructions.build()),
        "budget": instructions.budget(),
    }


def benched(name: str) -> float:
    """Nanoseconds an observation, by the throughput that criterion reports."""
    command = ["cargo", "bench", "-q", "--locked", "-p", "ttamer", "--bench", "observe", "--", name]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = re.search(r"thrpt:\s+\[\S+ \S+ (\S+) Melem/s", printed)
    if found is None:
        raise SystemExit(f"criterion reported no throughput of {name!r}:\n{printed}")
    return 1e3 / float(found[1])


def command_line(*arguments: str) -> str:
    command = [sys.executable, "-c", "from ttamer_fast.cli import main; main()", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def machine() -> Figures:
    model = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", information.read_text(encoding="utf-8"), re.MULTILINE)
        model = named[1] if named else model
    return {"cores": len(os.sched_getaffinity(0)), "model": model}


PARTS: Mapping[str, Callable[[Mapping[str, tt.Trace]], Figures]] = {
    "demo": measure_demo,
    "quality": measure_quality,
    "speed": measure_speed,
    "core": measure_core,
}


# Writing


def written(figures: Figures) -> str:
    """The section, markers included."""
    if missing := [name for name in PARTS if name not in figures]:
        raise SystemExit(f"not measured yet: {', '.join(missing)}")
    where = figures["machine"]
    start = wrapped(
        f"""Written by `python benches/readme.py`, on {where["cores"]} cores of {where["model"]}, not always idle.
        Ratios are of two things measured in one run; seconds are not portable."""
    )
    parts = [demo(figures["demo"]), quality(figures["quality"]), speeds(figures["speed"]), core(figures["core"])]
    return BEGIN + "\n\n".join("\n".join(lines) for lines in (start, *parts)) + f"\n{END}"


def wrapped(text: str) -> Iterator[str]:
    """Lines of a paragraph."""
    yield from textwrap.wrap(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False)


def demo(figures: Figures) -> Iterator[str]:
    yield from wrapped(
        f"""**The demo** (`make demo`; digits, trade-off {figures["tradeoff"]:g}; {figures["requests"]} held-out images,
        one by one through the real models; the four models and the trade-off were picked, on other images, so that a
        cascade makes sense):"""
    )
    yield from ("", "| way | accuracy | mean latency | p99 | models run |", "| --- | --- | --- | --- | --- |")
    for way in figures["ways"]:
        times = f"{way['mean_ms']:.2f} ms | {way['p99_ms']:.2f} ms"
        yield f"| {way['name']} | {100 * way['accuracy']:.2f} % | {times} | {way['models_run']:.2f} |"
    policy = next(way for way in figures["ways"] if way["name"] == "policy")
    share = 0.1 * figures["deciding_us"] / policy["mean_ms"]
    yield ""
    yield f"Deciding took the policy {figures['deciding_us']:.2f} µs a request, {share:.1g} % of its mean latency."


def quality(figures: Figures) -> Iterator[str]:
    yield from wrapped(
        f"""**Held-out quality** (`python benches/quality/table.py [FOLDER]`; digits are in the repository, other
        traces are those of the folder): 1000 · objective of the default fit, and its paired difference to the tuned
        single threshold ± standard error, {FOLDS}-fold cross-validation."""
    )
    yield ""
    yield from table.head("trace", TRADEOFFS)
    for trace in figures["traces"]:
        name = trace["name"] + (" (exits)" if trace["kind"] == "exits" else "")
        cells = [
            f"{1e3 * mean:.1f} ({1e3 * paired:+.1f} ± {1e3 * error:.1f})" for mean, paired, error in trace["cells"]
        ]
        yield f"| {name} | {' | '.join(cells)} |"
    yield ""
    yield from wrapped(
        "Objective of the default fit over that of the best simple rule, chosen in hindsight in each cell, at "
        f"{len(table.TRADEOFFS)} trade-offs from {table.TRADEOFFS[0]:g} to {table.TRADEOFFS[-1]:g}:"
    )
    yield from ("", "| kind | cells | geometric mean | worst cell |", "| --- | --- | --- | --- |")
    for kind, found in figures["to_best"].items():
        yield f"| {kind} | {found['cells']} | {found['mean']:.3f} | {found['worst']:.3f} |"


def speeds(figures: Figures) -> Iterator[str]:
    yield "**Speed** (`python benches/speed.py`, the last rows `python benches/fit.py`):"
    yield from ("", *speed.HEAD.split("\n"))
    for ratio in (*figures["ratios"], *figures["fit"][1:]):
        yield speed.Ratio(**ratio).line()


def core(figures: Figures) -> Iterator[str]:
    yield from wrapped(
        f"""A call with a policy that only compares with a threshold, the floor that the interpreter and the binding
        set, takes {figures["floor_ns"]:.0f} ns a stage (`ttamer bench`). In the Rust core an observation takes
        {figures["observe_ns"]:.1f} ns, {figures["request_ns"]:.1f} ns with the start of the request
        (`cargo bench -p ttamer --bench observe`), in {figures["instructions"]:.0f} instructions;
        `python benches/instructions.py` enforces a budget of {figures["budget"]:.0f} + 10 %. Nothing allocates."""
    )


def replaced(readme: str, section: str) -> str:
    """README with another section."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"README has no {BEGIN.strip()} and {END}")
    return before + section + after


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--check", action="store_true", help="fail unless README holds the kept figures")
    given = parser.parse_args()
    figures: Figures = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    readme = README.read_text(encoding="utf-8")
    if given.check:
        if replaced(readme, written(figures)) != readme:
            raise SystemExit(
                "README's section `Measured` is not what benches/readme.py writes from benches/measured.json"
            )
        return
    traces = traces_of(parser, given.folder)
    figures["machine"] = machine()
    for name in given.only:
        print(f"measuring {name}", flush=True)
        figures[name] = PARTS[name](traces)
        MEASURED.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    README.write_text(replaced(readme, written(figures)), encoding="utf-8")


if __name__ == "__main__":
    main()
