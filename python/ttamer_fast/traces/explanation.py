"""A served request in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .._core import Policy, Run
from .._utils.checks import shown
from .record import Record

__all__ = ["Explanation", "explained"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a request was decided, a line a step. ``str`` is the text.

    Attributes
    ----------
    lines : tuple of str
        First what the request came to; then what each stage said, and what the policy made of it; last what was not
        tried.
    """

    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


class _Made(NamedTuple):
    """What a policy made of the report of a stage."""

    expected_loss: float
    answer: int | None
    following: int | None


def explained(record: Record, policy: Policy | None) -> Explanation:
    """A request in words; with the policy that decided, also what it made of each report. O(k) decisions."""
    made = [] if policy is None else list(_retraced(record, policy))
    name = record.stages.__getitem__
    lines = [_ended(record)]
    for at, (stage, signal, prediction) in enumerate(record._steps):
        text = f"{at + 1}. {name(stage)}"
        if stage in record._failures:
            text += f" failed: {record._failures[stage]}"
        else:
            text += ": no signal" if math.isnan(signal) else f": signal {signal:.6g}"
            text += "" if prediction is None else f", prediction {shown(prediction)}"
        if record._seconds is not None and stage in record._seconds:
            text += f", after {record._seconds[stage]:.4g} s"
        if at < len(made):
            lost, answer, following = made[at]
            holds = "nothing" if answer is None else f"the answer of {name(answer)}"
            text += f"; in hand {holds}, expected loss {lost:.4g}; "
            text += "ended" if following is None else f"asked {name(following)}"
        lines.append(text)
    lines += [f"not tried: {name(stage)}: {reason}" for stage, reason in record._barred.items()]
    return Explanation(tuple(lines))


def _ended(record: Record) -> str:
    answer = "no answer" if record._answer is None else f"the answer of {record.stages[record._answer]}"
    if record.recalled:
        answer += ", which an earlier stage gave"
    by = {
        "stopped": "the policy stopped",
        "recalled": "the policy stopped",
        "deadline": "the deadline ended it",
        "failed": "the stage run last failed",
        "abstained": "the policy prefers to answer with nothing",
    }[record.outcome]
    if record._answer is None and record._expected_loss == math.inf:
        by = "no stage answered" if record._steps else "no stage could be asked"
    text = f"request {record.request_id}: {answer}; {by}; cost {record._cost:.6g}"
    if record._expected_loss < math.inf:
        text += f", expected loss {record._expected_loss:.4g}"
    return text + f"; policy {record.digest[:12]}"


def _relative_cost(record: Record, policy: Policy) -> float:
    """What the stages of a request cost over what they cost the average one: that follows from what they cost."""
    if not policy.knows_cost or record._cost == 0.0:
        return 1.0
    prices, before, usual = policy._prices(), -1, 0.0
    for stage, _, _ in record._steps:
        usual += float(prices[before + 1, stage])
        before = stage
    return record._cost / usual if usual > 0.0 else 1.0


def _retraced(record: Record, policy: Policy) -> Iterator[_Made]:
    """The decisions once more, as far as they follow from the record: a policy that was told of time, or of a stage
    that was barred on the way, may have asked for another stage."""
    run: Run = policy.start(None, tuple(record._barred), _relative_cost(record, policy))
    for stage, signal, prediction in record._steps:
        if run.next != stage:
            return
        following = run.fail() if stage in record._failures else run.observe(signal, prediction)
        yield _Made(run.expected_loss, run.answer, following)
