"""A policy in words: what `ttamer fit` and `ttamer inspect` print."""

from __future__ import annotations

import math
from typing import Any

from .._core import Policy
from .._utils.checks import listed
from .._utils.cost_ranges import cost_ranges

__all__ = ["policy_summary", "policy_text"]

MOST_DECISIONS = 40
MOST_INDICES = 8


def policy_summary(policy: Policy) -> dict[str, Any]:
    """What a policy is, as plain Python values; of a fitted one the objective on rows held back, where it is known, and
    on the trace that it was fitted to, of a solved one its value.
    """
    worth: dict[str, float] = {}
    if "tradeoff" in policy.provenance:
        held_out = [candidate["objective"] for candidate in policy.report if candidate["chosen"]]
        worth = {"held_out_objective": held_out[0]} if held_out else {}
        worth["in_sample_objective"] = policy.value
    return {
        "stages": list(policy.stages),
        "method": policy.method,
        "graph": policy.graph,
        "recall": policy.recall,
        **(worth or {"value": policy.value}),
        "bytes": len(policy.to_bytes()),
        "digest": policy.digest,
        "provenance": policy.provenance,
        "report": policy.report,
    }


def policy_text(policy: Policy) -> str:
    """The same in lines, and what the policy decides."""
    summary = policy_summary(policy)
    lines = [f"{len(policy.stages)} stages: {listed(policy.stages)}"]
    facts = {name.replace("_", " "): value for name, value in summary.items() if not isinstance(value, dict | list)}
    facts |= policy.provenance
    width = max(map(len, facts)) + 2
    lines += [f"{name:<{width}}{value}" for name, value in facts.items()]
    lines += [_candidate_text(candidate) for candidate in policy.report]
    lines += _recall_text(policy)
    rule = policy.describe()["rule"]
    if rule["type"] == "priced":
        for part, (low, high) in zip(rule["components"], cost_ranges(rule), strict=True):
            until = "" if high == math.inf else f" to {high:.4g}"
            lines += [f"for requests that cost from {low:.4g}{until} times the average:", *_rule_text(part)]
        return "\n".join(lines)
    if rule["type"] != "mixture":
        return "\n".join(lines + _rule_text(rule))
    for part, share in zip(rule["components"], (rule["share"], 1.0 - rule["share"]), strict=True):
        lines += [f"on {share:.1%} of requests, by a coin:", *_rule_text(part)]
    return "\n".join(lines)


def _rule_text(rule: dict[str, Any]) -> list[str]:
    lines = [_decision_text(row) for row in rule.get("decisions", [])]
    lines += [f"{name:<10}{rule[name]}" for name in ("threshold", "patience") if name in rule]
    if rule["type"] == "tree":
        lines += [_tree_text(v, parent, rule["index"][v]) for v, parent in enumerate(rule["parent"])]
    if rule["type"] == "dag":
        lines.append(f"{len(rule['action'])} situations, one action each: see --json")
    if len(lines) > MOST_DECISIONS:
        return [*lines[:MOST_DECISIONS], f"... and {len(lines) - MOST_DECISIONS} more: see --json"]
    return lines


def _candidate_text(candidate: dict[str, Any]) -> str:
    """One method that cross-validation compared: its objective, and how far that is from the default fit's."""
    mark = "chosen" if candidate["chosen"] else f"{candidate['difference']:+.4g} ± {candidate['standard_error']:.2g}"
    return f"candidate {candidate['name']}: {candidate['objective']:.4g} ({mark})"


def _recall_text(policy: Policy) -> list[str]:
    """What recall was worth, where the default fit was held against itself without it."""
    found = {candidate["name"]: candidate for candidate in policy.report}
    if not {"pathwise", "pathwise, no recall"} <= found.keys():
        return []
    # Differences are to the fit with recall.
    worth, error = (found["pathwise, no recall"][name] for name in ("difference", "standard_error"))
    verb = "worth" if worth >= 0.0 else "costs"
    return [f"recall: {verb} {abs(worth):.2g} ± {error:.2g} of the objective on rows held back"]


def _decision_text(row: dict[str, Any]) -> str:
    """One situation: the stages that have run, and what to do with which loss in hand."""
    where = "after " + ", ".join(map(str, row.get("after", [row["stage"]])))
    if "state" in row:
        where += " in an unknown state" if row["state"] is None else f" in state {row['state']}"
    steps = [f"stop up to {float(row['stop']):.4g}"]
    # -1: to stop, which may be best between limits too.
    steps += [f"{f'run {stage}' if stage >= 0 else 'stop'} up to {float(limit):.4g}" for limit, stage in row["next"]]
    return f"{where}: {'; '.join(steps)}"


def _tree_text(stage: int, parent: int, index: list[float | str]) -> str:
    """One stage of a tree: above which loss in hand to run it, by the parent's state (the unreadable one aside)."""
    known = [f"{float(x):.4g}" for x in index[:-1]]
    shown = ", ".join(known[:MOST_INDICES]) + (", ..." if len(known) > MOST_INDICES else "")
    return f"run {stage} above {shown}" if parent < 0 else f"run {stage} after {parent} above {shown} by its state"
