"""Times of several pieces of work, taken in turns, and whether the machine is quiet enough for them to say anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["STEADY", "Timing", "Timings", "taken_in_turns"]

STEADY = 0.05
"""Largest relative distance between the least times of the two halves of the rounds on a machine that is quiet."""
CLOSE = 0.01
"""Distance at which more rounds would tell nothing new."""
LEAST_ROUNDS = 30
MOST_ROUNDS = 400


@dataclass(frozen=True)
class Timing:
    """Seconds of one piece of work, round by round."""

    seconds: tuple[float, ...]

    @property
    def least(self) -> float:
        """What it takes where nothing disturbs it, if it was ever undisturbed."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """What it takes on this machine as it is now."""
        return float(np.median(self.seconds))

    @property
    def noise(self) -> float:
        """How far apart the least times of the first and of the second half of the rounds are; 0.02 is 2 %."""
        half = len(self.seconds) // 2
        if half == 0:
            return float("inf")
        least, other = sorted((min(self.seconds[:half]), min(self.seconds[half:])))
        return other / least - 1.0 if least > 0.0 else float("inf")


@dataclass(frozen=True)
class Timings:
    """What was timed, by name."""

    by_name: Mapping[str, Timing]

    def __getitem__(self, name: str) -> Timing:
        return self.by_name[name]

    @property
    def rounds(self) -> int:
        """How often each was done."""
        return min(len(timing.seconds) for timing in self.by_name.values())

    @property
    def noise(self) -> float:
        """That of the noisiest piece of work."""
        return max(timing.noise for timing in self.by_name.values())

    def ratios(self, name: str, other: str) -> tuple[float, float, float]:
        """Least time of one over that of the other; then the quartiles of the ratios in each round."""
        each = np.array(self[name].seconds) / np.array(self[other].seconds)
        low, high = np.quantile(each, [0.25, 0.75]).tolist()
        return self[name].least / self[other].least, low, high


def taken_in_turns(
    work: Mapping[str, Callable[[], object]],
    most_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    least_rounds: int = LEAST_ROUNDS,
) -> Timings:
    """Do each piece of `work` once a round, so that what disturbs one disturbs the others, and time it.

    Rounds end where the least times of both halves agree within 1 %, after 400 rounds, or when `most_seconds` have
    passed, but not before there are `least_rounds` of them, an even number. A first round warms up and is not counted.

    Examples
    --------
    >>> found = taken_in_turns({"sum": lambda: sum(range(100)), "len": lambda: len(range(100))}, most_seconds=0.1)
    >>> found["len"].least < found["sum"].least, found.rounds >= 30
    (True, True)
    """
    for each in work.values():
        each()
    seconds: dict[str, list[float]] = {name: [] for name in work}
    begun = clock()
    for done in range(1, MOST_ROUNDS + 1):
        for name, each in work.items():
            started = clock()
            each()
            seconds[name].append(clock() - started)
        if done < least_rounds or done % 2:
            continue
        found = Timings({name: Timing(tuple(times)) for name, times in seconds.items()})
        if found.noise <= CLOSE or clock() - begun > most_seconds:
            return found
    return Timings({name: Timing(tuple(times)) for name, times in seconds.items()})
