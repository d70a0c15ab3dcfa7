"""The day on one page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from asking import Answer
from feeling import COST, NAMES
from operating import Day, Part

import ttamer_fast as tt

__all__ = ["page_of"]


def page_of(day: Day) -> str:
    """What happened, part by part, and whether it should have."""
    assert day.loaded is not None
    loaded, costs = day.loaded, costs_of(day)
    lines = [
        "A DAY OF THE SERVER",
        f"load, by {loaded.by}: {loaded.requests} requests of 16 callers, {loaded.per_second:.0f} a second, "
        f"p50 {loaded.p50:.1f} ms, p99 {loaded.p99:.1f} ms, {loaded.lost} lost",
        "",
        f"{'part':<32}{'requests':>9}{'lost':>6}{'right':>8}{'cost':>7}{'p50 ms':>8}{'p95 ms':>8}  answered by",
    ]
    lines += [row(name, answers, costs) for name, answers in grouped(day.parts).items()]
    lines += [
        f"(cost in layers of the encoder, of {sum(COST):.2f}; answered by: the list of words, layers 1, 3, 5, in %)",
        "",
    ]
    lines += [f"{event.time:7.1f} s  {event.text}" for event in day.events]
    if day.promotion is not None:
        found = day.promotion
        low, high = found.interval
        lines += [
            "",
            f"the test: {found.requests} explored requests, objective {found.difference:+.3f} "
            f"({1 - 2 * found.error:.0%} interval {low:+.3f} to {high:+.3f}); {found.reason}",
            f"the {day.shadow}",
        ]
    lines += ["", *(f"{'yes' if is_so else 'NO ':<4}{what}" for what, is_so in day.found.items())]
    lines.append(f"{'yes' if not day.lost else 'NO ':<4}no request was lost: {day.asked} asked, {day.lost} lost")
    return "\n".join(lines)


def grouped(parts: Sequence[Part]) -> dict[str, list[Answer]]:
    """Answers by what their parts are called, in the order of the day."""
    found: dict[str, list[Answer]] = {}
    for part in parts:
        found.setdefault(part.name, []).extend(part.answers)
    return found


def costs_of(day: Day) -> dict[str, float]:
    """What requests cost, by their names, as the log has it."""
    return {one.request_id: one.cost for one in tt.read_records(day.folder / "records")}


def row(name: str, answers: Sequence[Answer], costs: dict[str, float]) -> str:
    """One part of the day."""
    answered = [answer for answer in answers if answer.status == 200]
    right = np.mean([answer.is_right for answer in answered])
    cost = np.mean([costs[answer.request_id] for answer in answered])
    p50, p95 = np.percentile([1e3 * answer.seconds for answer in answered], [50, 95])
    shares = [100 * np.mean([answer.stage == stage for answer in answered]) for stage in NAMES]
    lost = len(answers) - len(answered)
    text = " ".join(f"{share:3.0f}" for share in shares)
    return f"{name:<32}{len(answers):>9}{lost:>6}{right:>8.3f}{cost:>7.2f}{p50:>8.1f}{p95:>8.1f}  {text}"
