"""What a drift monitor has seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Drift:
    """One watched quantity of one stage."""

    stage: str
    """Its name."""
    watched: str
    """"signal", "agreement", "answer", "consulted", "expected loss" or "difficulty"."""
    evidence: float
    """Largest e-value so far over the one that alarms: 1 and more is an alarm."""
    reference_rows: int
    rows: int
    """Requests that have the quantity, in the reference and in the stream."""
    reference_mean: float
    """Of the signal or the expected loss where it is finite, in its unit (of the difficulty: of the expected loss after
    the first report); else the share that agree, are answered, or reach the stage. NaN if there is none."""
    mean: float
    """The same, of the stream so far."""
    direction: str
    """"higher", "lower" or "spread": how its values differ from the reference of late."""
    since: int
    """Requests that had been taken in when the evidence began to grow; means nothing where there is little."""


@dataclass(frozen=True)
class DriftReport:
    """What a monitor has seen; `components` in descending order of the evidence."""

    alpha: float
    """Probability of ever raising a false alarm."""
    requests: int
    """How many have been taken in."""
    alarm: bool
    alarmed_at: int | None
    """Requests that had been taken in when the alarm was raised."""
    since: int | None
    """Requests, about, that had been taken in when what raised the alarm began to change."""
    stage: str | None
    watched: str | None
    """What raised the alarm."""
    direction: str | None
    """How its values differed then: "higher", "lower" or "spread"."""
    advice: str | None
    """What to look at, and what to do."""
    stages: tuple[str, ...]
    """Names of all stages with a quantity that would have."""
    components: tuple[Drift, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values that are JSON: None for what is not a number."""
        fields = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__}
        components = [{name: _plain(value) for name, value in vars(one).items()} for one in self.components]
        return fields | {"stages": list(self.stages), "components": components}

    def __str__(self) -> str:
        head = f"{self.requests} requests, false-alarm rate {self.alpha:g}: "
        head += f"drift of the {self.watched} of {self.stage!r}" if self.alarm else "no drift"
        lines = [head + (f", alarm after {self.alarmed_at} requests" if self.alarm else "")]
        if self.alarm:
            how = "spread differently" if self.direction == "spread" else f"{self.direction} than in the reference"
            lines += [f"{how}, since about request {self.since}", f"what to do: {self.advice}"]
        stage = max([len("stage"), *(len(one.stage) for one in self.components)])
        watched = max([len("watched"), *(len(one.watched) for one in self.components)])
        lines.append(f"{'stage':<{stage}}  {'watched':<{watched}}  evidence  reference       now")
        for one in self.components:
            lines.append(
                f"{one.stage:<{stage}}  {one.watched:<{watched}}  {one.evidence:>8.3g}  {one.reference_mean:>9.4g}"
                f"  {one.mean:>8.4g}"
            )
        return "\n".join(lines)


def advice(watched: str, direction: str, stage: str) -> str:
    """What to look at, and what to do, where a quantity has drifted."""
    again = "if it stays, fit anew on recent requests"
    if watched == "signal":
        return f"compare version, input and scale of the signal of {stage!r} with those of the trace; {again}"
    if watched == "agreement":
        return f"label requests in which {stage!r} and the stage before it differ: one of them has changed; {again}"
    if watched == "difficulty" and direction == "lower":
        return f"requests became easier for {stage!r}: nothing is lost, but a policy for them may cost less; {again}"
    if watched == "difficulty":
        return f"requests became harder for {stage!r}: label some recent ones and look at their loss; {again}"
    if watched == "expected loss":
        return f"label some recent answers of {stage!r} and look at their loss; {again}"
    return f"look at which requests now reach {stage!r} and whether it runs the policy as fitted; {again}"


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
