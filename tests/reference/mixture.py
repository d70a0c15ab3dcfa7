"""A coin between two rules, tossed on the first report."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from reference.rule import Choice, Report, Rule

WORD = 2**64


def mixed(counter: int) -> int:
    """Splitmix64: the next state of a counter, well mixed."""
    z = (counter + 1) * 0x9E3779B97F4A7C15 % WORD
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB % WORD
    return z ^ z >> 31


class Mixture(Rule):
    """A request follows the first rule where a hash of seed, first signal and first prediction is below the share."""

    def __init__(self, seed: int, share: float, components: tuple[Rule, Rule]) -> None:
        self.seed = seed
        self.share = share
        self.components = components

    def component(self, reports: Sequence[Report]) -> Rule:
        """The one that a request with these reports follows; the first while there is none."""
        first, second = self.components
        if not reports:
            return first
        return first if self.toss(self.seed, reports[0]) < self.share else second

    @staticmethod
    def toss(seed: int, report: Report) -> float:
        """A number in [0, 1) that seed, signal and prediction decide."""
        # Zeros of both signs are one signal, and so are all that say nothing.
        signal = (0.0 if report.signal == 0.0 else report.signal) if report.is_known else float("nan")
        (bits,) = struct.unpack("<Q", struct.pack("<d", signal))
        return float(mixed(mixed(mixed(seed) ^ bits) ^ report.prediction % WORD) >> 11) / 2**53

    def begin(self, remaining: float) -> int | None:
        return self.components[0].begin(remaining)

    def observe(self, reports: Sequence[Report]) -> Choice:
        return self.component(reports).observe(reports)

    def expected_loss(self, reports: Sequence[Report]) -> float:
        return self.component(reports).expected_loss(reports)

    def alone(self, report: Report) -> float | None:
        first, second = (component.alone(report) for component in self.components)
        return None if second is None else first
