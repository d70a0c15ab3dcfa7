"""Golden decisions: what every kind of policy decided when they were recorded, and what it decides now.

usage: python tests/golden.py --record SECTION... [--traces FOLDER]
       python tests/golden.py --check SECTION... [--traces FOLDER]

Sections: `synthetic` (seeded traces), `row_costs` (seeded traces whose costs vary by row), `mean_costs` (the same at
their mean costs), `exact` (solved models), `files` (stored policies) and `outside` (a folder of .npz traces that is not
in the repository, kept as digests).

Answers and consulted stages are compared exactly, costs and expected losses to nine digits. Signals of the seeded
traces are rounded, so that they are the same numbers on every machine; a digest of each trace says so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ttamer_fast as tt
from golden_models import drawn, exact_models
from golden_policies import CERTIFIED, POLICIES, Fit
from golden_traces import Floats, Ints, Recorded, digest_of, row_cost_traces, synthetic_traces

DATA = Path(__file__).parent / "data"
ONE_BY_ONE = 50
"""Rows of which the expected loss is kept."""
OUTSIDE_ROWS = slice(4_000), slice(10_000)
"""Rows of an outside trace that policies are fitted to, and rows that are decided."""
DIGITS = 1e-9

FILED_TRACE = "models of 4, graded losses"
FILED_FITS = {
    "belief": "auto 0.95",
    "threshold": "baseline threshold 0.95",
    "stage_thresholds": "baseline stage_thresholds 0.95",
    "patience": "baseline patience 0.95",
    "markov": "markov 0.95",
    "mixture": "max_cost 40 %, markov",
    "belief_mixture": "max_loss",
}


@dataclass(frozen=True)
class Decided:
    """What one policy decided on n requests."""

    answer: Ints
    """(n,) stage, or -1 for none."""
    consulted: Ints
    """(n,) bit j: stage j was run."""
    cost: Floats
    """(n,)."""
    expected_loss: Floats
    """(m,) of the final state of the first requests."""


@dataclass(frozen=True)
class Group:
    """What every policy of one trace or model decided on the same requests."""

    name: str
    digest: str
    """Of what the policies were made from and of the requests."""
    decided: Mapping[str, Decided]
    """By the name of the policy."""
    numbers: Mapping[str, Floats]
    """Further numbers to compare, such as the value and the indices of solved models."""


def decide(policy: tt.Policy, signal: Floats, prediction: Ints | None, kept: int = ONE_BY_ONE) -> Decided:
    """Decisions of all three ways, which must agree: one by one, in step, and as a replay."""
    replay = policy.replay(signal, prediction)
    n, k = signal.shape
    batch = policy.start_batch(n)
    while (waiting := np.unique(batch.next[batch.next >= 0])).size:
        for stage in waiting.tolist():
            rows = batch.rows(stage)
            batch.observe(stage, signal[rows, stage], None if prediction is None else prediction[rows, stage])
    answer, cost, consulted = np.empty(n, np.int64), np.empty(n), np.zeros((n, k), bool)
    expected = []
    for row in range(n):
        run = policy.start()
        while (stage := run.next) is not None:
            consulted[row, stage] = True
            run.observe(float(signal[row, stage]), None if prediction is None else int(prediction[row, stage]))
        answer[row], cost[row] = -1 if run.answer is None else run.answer, run.cost
        if row < kept:
            expected.append(run.expected_loss)
    for way, other in (("replay", replay), ("batch", batch)):
        if not (np.array_equal(other.answer, answer) and np.allclose(other.cost, cost, rtol=DIGITS, atol=1e-12)):
            raise AssertionError(f"one by one and the {way} decide differently")
    if not np.array_equal(replay.consulted, consulted):
        raise AssertionError("one by one and the replay consult different stages")
    return Decided(answer, consulted @ (1 << np.arange(k)), cost, np.array(expected))


def nudged_share(policy: tt.Policy, recorded: Recorded) -> float:
    """Share of requests that are decided otherwise when their first signal grows by the least possible amount.

    Nearly none are, unless a coin that is tossed on that signal decides.
    """
    first = policy.start().next
    if first is None:
        return 0.0
    signal = recorded.signal.copy()
    signal[:, first] = np.nextafter(signal[:, first], np.inf)
    before, after = (policy.replay(s, recorded.prediction).consulted for s in (recorded.signal, signal))
    return float((before != after).any(axis=1).mean())


def of_trace(recorded: Recorded, fits: Mapping[str, Fit]) -> Group:
    """Every kind of policy, fitted to a trace."""
    decided: dict[str, Decided] = {}
    for name, fit in fits.items():
        if fit.suits(recorded.train):
            decided[name] = decide(fit.policy(recorded.train), recorded.signal, recorded.prediction)
    return Group(recorded.name, recorded.digest, decided, {})


def synthetic() -> Iterator[Group]:
    return (of_trace(recorded, {**POLICIES, **CERTIFIED}) for recorded in synthetic_traces())


def row_costs() -> Iterator[Group]:
    return (of_trace(recorded, POLICIES) for recorded in row_cost_traces())


def mean_costs() -> Iterator[Group]:
    """The traces of `row_costs` with every row at the mean costs, where no budget is on the costs of rows.

    Recorded when a fit took costs by row as their means: that is all that has changed for such traces.
    """
    fits = {name: fit for name, fit in POLICIES.items() if not name.startswith("max_")}
    for recorded in row_cost_traces():
        train = recorded.train
        means = tt.Trace(
            train.signal, train.loss, train.mean_cost, train.prediction, train.kind, train.stages, train.weight
        )
        yield replace(of_trace(replace(recorded, train=means), fits), digest=recorded.digest)


def exact() -> Iterator[Group]:
    """The shared vectors and larger random models, with and without recall, and with an answer for nothing."""
    for case in exact_models(DATA / "models.json"):
        decided, numbers = {}, {}
        for name, policy in case.policies():
            decided[name] = decide(policy, case.states, None, kept=8)
            numbers[name] = np.concatenate([[policy.value], *map(np.ravel, policy.index)])
        yield Group(case.name, case.digest, decided, numbers)


def outside(folder: Path, names: Container[str] | None = None) -> Iterator[Group]:
    """Traces of a folder, of these names if given; MiniLM's have exits, the others separate models."""
    for file in (file for file in sorted(folder.glob("*.npz")) if names is None or file.stem in names):
        trace = tt.read_trace(file, kind="exits" if "minilm" in file.stem else "models")
        train, decided = (trace.rows(rows) for rows in OUTSIDE_ROWS)
        yield of_trace(Recorded(file.stem, train, decided.signal, decided.prediction), POLICIES)


SCHEMA = int(tt.build_info["schema"])


def file_of(name: str, schema: int = SCHEMA) -> Path:
    """A policy file of some schema."""
    return DATA / f"schema_{schema}_{name}.ttamer"


def schemas() -> list[int]:
    """Of the files that have been kept."""
    return sorted({int(path.name.split("_")[1]) for path in DATA.glob("schema_*.ttamer")})


def file_policies() -> Iterator[tuple[str, tt.Policy, Floats, Ints | None]]:
    """Small policies of every rule, with requests to decide on."""
    rng = np.random.default_rng(11)
    for name, graph in (("chain", "line"), ("skip", "skip"), ("tree", "forest"), ("dag", "dag")):
        case = drawn(name, graph, rng)
        for which, policy in case.policies():
            if which == ("default loss" if graph == "skip" else "recall"):
                yield name, policy, case.states, None
    recorded = next(one for one in synthetic_traces() if one.name == FILED_TRACE)
    for name, fit in FILED_FITS.items():
        yield name, POLICIES[fit].policy(recorded.train), recorded.signal, recorded.prediction


def of_file(name: str, policy: tt.Policy, signal: Floats, prediction: Ints | None) -> Group:
    return Group(name, digest_of([signal, prediction]), {"stored": decide(policy, signal, prediction)}, {})


def files() -> Iterator[Group]:
    """Decisions of the stored policies of every schema that this version reads; it refuses older ones by name."""
    for name, _, signal, prediction in file_policies():
        for schema in schemas():
            try:
                policy = tt.load(file_of(name, schema))
            except tt.PolicyFormatError as error:
                if schema == SCHEMA or f"schema {schema}" not in str(error):
                    raise
                continue
            yield of_file(name, policy, signal, prediction)


# Comparing


def differences(then: Group, now: Group) -> list[str]:
    """One line for each policy that decides otherwise."""
    if then.digest != now.digest:
        return [f"trace {then.name}: its numbers are not those that were recorded, so nothing can be compared"]
    lines = [f"trace {then.name}: policy {name!r} is missing" for name in then.decided.keys() - now.decided.keys()]
    lines += [f"trace {then.name}: policy {name!r} was not recorded" for name in now.decided.keys() - then.decided]
    for name in (name for name in then.decided if name in now.decided):
        lines += _differing(f"trace {then.name}, policy {name!r}", then.decided[name], now.decided[name])
    for name in (name for name in then.numbers if name in now.numbers):
        old, new = then.numbers[name], now.numbers[name]
        if old.shape != new.shape or not np.allclose(old, new, rtol=DIGITS, atol=1e-12):
            lines.append(f"model {then.name}, policy {name!r}: value or indices differ")
    return lines


def _differing(where: str, then: Decided, now: Decided) -> Iterator[str]:
    for what in ("answer", "consulted", "cost", "expected_loss"):
        old, new = getattr(then, what), getattr(now, what)
        if old.shape != new.shape:
            yield f"{where}: {what} of {len(new)} rows, recorded were {len(old)}"
            continue
        differs = ~np.isclose(old, new, rtol=DIGITS, atol=1e-12) if old.dtype == np.float64 else old != new
        if differs.any():
            row = int(np.flatnonzero(differs)[0])
            count = int(differs.sum())
            of = f"{what} of {count} of {len(old)} rows differs"
            yield f"{where}: {of}, first in row {row}: {new[row]}, was {old[row]}"


# Storing


def store(path: Path, groups: Iterable[Group]) -> None:
    """All groups in one small .npz file: arrays end to end, and an index that says where each begins."""
    index: list[dict[str, Any]] = []
    columns: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("answer", "consulted", "set", "price", "expected", "number")
    }
    for group in groups:
        consulted = np.array([one.consulted for one in group.decided.values()])
        cost = np.array([one.cost for one in group.decided.values()])
        # A request's cost follows from the stages that were run, so that it is enough to keep one of each set.
        sets, first, inverse = np.unique(consulted, return_index=True, return_inverse=True)
        price = cost.ravel()[first]
        assert np.allclose(price[inverse.reshape(cost.shape)], cost, rtol=1e-12, atol=1e-12)
        columns["answer"].append(np.array([one.answer for one in group.decided.values()], np.int8).ravel())
        columns["consulted"].append(consulted.astype(np.uint16).ravel())
        columns["set"].append(sets.astype(np.uint16))
        columns["price"].append(price)
        columns["expected"] += [one.expected_loss for one in group.decided.values()]
        columns["number"] += group.numbers.values()
        index.append(
            {
                "name": group.name,
                "digest": group.digest,
                "policies": list(group.decided),
                "rows": consulted.shape[1],
                "kept": len(next(iter(group.decided.values())).expected_loss),
                "sets": len(sets),
                "numbers": {name: len(values) for name, values in group.numbers.items()},
            }
        )
    arrays: dict[str, Any] = {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in columns.items()}
    np.savez_compressed(path, index=np.array(json.dumps(index)), **arrays)


def stored(path: Path) -> dict[str, Group]:
    """The groups of a file, by name."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    at = dict.fromkeys(arrays, 0)

    def take(name: str, count: int) -> NDArray[Any]:
        at[name] += count
        part: NDArray[Any] = arrays[name][at[name] - count : at[name]]
        return part

    groups = {}
    for entry in json.loads(str(arrays["index"])):
        policies, rows = entry["policies"], entry["rows"]
        answer, consulted = (
            take(name, len(policies) * rows).reshape(-1, rows).astype(np.int64) for name in ("answer", "consulted")
        )
        sets, price = take("set", entry["sets"]).astype(np.int64), take("price", entry["sets"])
        decided = {
            name: Decided(
                answer[i],
                consulted[i],
                price[np.searchsorted(sets, consulted[i])],
                take("expected", entry["kept"]),
            )
            for i, name in enumerate(policies)
        }
        numbers = {name: take("number", count) for name, count in entry["numbers"].items()}
        groups[entry["name"]] = Group(entry["name"], entry["digest"], decided, numbers)
    return groups


def outside_differences(then: Mapping[str, Mapping[str, Any]], group: Group) -> list[str]:
    """As `differences`, for a trace of which only digests are kept."""
    if group.digest != then[group.name]["trace"]:
        return [f"trace {group.name}: its numbers are not those that were recorded, so nothing can be compared"]
    old, new = then[group.name]["policies"], digests(group)
    return [
        f"trace {group.name}, policy {name!r}: decisions or mean cost differ: {new.get(name)}, were {old.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def digests(group: Group) -> dict[str, list[str]]:
    """By policy: SHA-256 of its answers and consulted stages, and its mean cost to twelve digits."""
    return {
        name: [
            hashlib.sha256(one.answer.astype("<i8").tobytes() + one.consulted.astype("<i8").tobytes()).hexdigest(),
            f"{one.cost.mean():.12g}",
        ]
        for name, one in group.decided.items()
    }


SECTIONS: Mapping[str, Callable[[], Iterator[Group]]] = {
    "synthetic": synthetic,
    "row_costs": row_costs,
    "mean_costs": mean_costs,
    "exact": exact,
    "files": files,
}


def path_of(section: str) -> Path:
    """Where the decisions of a section are kept."""
    return DATA / (f"golden_{section}.json" if section == "outside" else f"golden_{section}.npz")


def record(section: str, folder: Path | None) -> None:
    if section == "outside":
        assert folder is not None
        found = {group.name: {"trace": group.digest, "policies": digests(group)} for group in outside(folder)}
        path_of(section).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    if section == "files":
        for name, policy, _, _ in file_policies():
            policy.save(file_of(name))
    store(path_of(section), SECTIONS[section]())


def check(section: str, folder: Path | None) -> list[str]:
    """One line for each trace and policy that decides otherwise than recorded."""
    if section == "outside":
        assert folder is not None
        then = json.loads(path_of(section).read_text(encoding="utf-8"))
        return [line for group in outside(folder, then) for line in outside_differences(then, group)]
    recorded = stored(path_of(section))
    return [line for group in SECTIONS[section]() for line in differences(recorded[group.name], group)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--record", nargs="+", choices=[*SECTIONS, "outside"], metavar="SECTION")
    what.add_argument("--check", nargs="+", choices=[*SECTIONS, "outside"], metavar="SECTION")
    parser.add_argument("--traces", type=Path, help="folder of .npz traces, for the section `outside`")
    given = parser.parse_args()
    sections = given.record or given.check
    if "outside" in sections and given.traces is None:
        parser.error("the section `outside` needs --traces")
    if given.record:
        for section in sections:
            record(section, given.traces)
        return 0
    lines = [line for section in sections for line in check(section, given.traces)]
    print(*lines, f"{len(lines)} differences", sep="\n")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
