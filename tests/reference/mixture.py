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
        # Zeros of both signs are one signal, and so are all that say nothing.
        signal = (0.0 if reports[0].signal == 0.0 else reports[0].signal) if reports[0].is_known else float("nan")
        (bits,) = struct.unpack("<Q", struct.pack("<d", signal))
        toss = mixed(mixed(mixed(self.seed) ^ bits) ^ reports[0].prediction % WORD)
        return first if (toss >> 11) / 2**53 < self.share else second

    def begin(self) -> int | None:
        return self.components[0].begin()

    def observe(self, reports: Sequence[Report]) -> Choice:
        return self.component(reports).observe(reports)

    def expected_loss(self, reports: Sequence[Report]) -> float:
        return self.component(reports).expected_loss(reports)
