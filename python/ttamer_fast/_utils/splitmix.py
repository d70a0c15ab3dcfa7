"""Uniform 64-bit words as a function of what they are for: SplitMix64's step and finaliser."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint64]

MASK = 2**64 - 1
STEP = 0x9E3779B97F4A7C15


def mix(word: Words) -> Words:
    """One uniform word for each; different words for different ones."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
