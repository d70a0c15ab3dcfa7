"""What a drift monitor has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Drift:
    """One watched quantity of one stage."""

    stage: str
    """Its name."""
    watched: str
    """"signal", "agreement", "answer" or "consulted"."""
    evidence: float
    """Largest e-value so far over the one that alarms: 1 and more is an alarm."""
    reference_rows: int
    rows: int
    """Requests that have the quantity, in the reference and in the stream."""
    reference_mean: float
    """Of the signal where it is finite, on its scale; else the share that agree, are answered, or reach the stage."""
    mean: float
    """The same, of the stream so far; NaN if there is none."""


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
    stage: str | None
    watched: str | None
    """What raised the alarm."""
    stages: tuple[str, ...]
    """Names of all stages with a quantity that would have."""
    components: tuple[Drift, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain Python values."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"stages": list(self.stages), "components": [vars(one).copy() for one in self.components]}

    def __str__(self) -> str:
        head = f"{self.requests} requests, false-alarm rate {self.alpha:g}: "
        head += f"drift of the {self.watched} of {self.stage!r}" if self.alarm else "no drift"
        lines = [head + (f", alarm after {self.alarmed_at} requests" if self.alarm else "")]
        width = max([len("stage"), *(len(one.stage) for one in self.components)])
        lines.append(f"{'stage':<{width}}  {'watched':<9}  evidence  reference       now")
        for one in self.components:
            lines.append(
                f"{one.stage:<{width}}  {one.watched:<9}  {one.evidence:>8.3g}  {one.reference_mean:>9.4g}"
                f"  {one.mean:>8.4g}"
            )
        return "\n".join(lines)
