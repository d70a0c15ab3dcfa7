"""Two probes for texts: how hard a text looks, and a rough guess at its language; both from a bag of hashed letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttamer_fast._utils.arrays import Floats
from ttamer_fast._utils.extras import require

__all__ = ["Guess", "Router", "groups_of"]

BITS = 15
"""Groups of letters are hashed to 2^15 rows of a table of weights."""
FACTOR, SPREAD = np.uint32(40503), np.uint32(2654435769)
"""Of the hash: odd numbers near 2^16 and 2^32 over the golden ratio."""


def groups_of(text: str) -> NDArray[np.uint32]:
    """Numbers below 2^15 of all groups of two, three and four letters that follow each other."""
    letters = np.frombuffer(f" {text.lower()} ".encode("utf-16-le"), np.uint16).astype(np.uint32)
    two = letters[:-1] * FACTOR + letters[1:]
    three = two[:-1] * FACTOR + letters[2:]
    four = three[:-1] * FACTOR + letters[3:]
    return (np.concatenate((two, three, four)) * SPREAD) >> np.uint32(32 - BITS)


class Router:
    """From a text to how easy it looks: the log-odds that the small model is right about it."""

    def __init__(self, texts: Sequence[str], right: NDArray[np.bool_]) -> None:
        """Learn from texts and whether the small model was right about them."""
        found = _regression(3.0).fit(_table(texts), right)
        self._weight: Floats = found.coef_[0]
        self._bias = float(found.intercept_[0])

    def __call__(self, text: str) -> float:
        """O(letters)."""
        groups = groups_of(text)
        return float(self._weight[groups].sum() / len(groups) ** 0.5) + self._bias


class Guess:
    """From a text to its likeliest language, and by how much its log-odds lead those of the next one."""

    def __init__(self, texts: Sequence[str], languages: Sequence[str]) -> None:
        """Learn from texts whose languages are known."""
        found = _regression(30.0).fit(_table(texts), languages)
        self._weight = found.coef_.T.astype(np.float32)
        self._bias = found.intercept_.astype(np.float32)
        self._language: list[str] = found.classes_.tolist()

    def __call__(self, text: str) -> tuple[str, float]:
        """O(letters · languages)."""
        groups = groups_of(text)
        score = self._weight[groups].sum(axis=0) / np.float32(len(groups) ** 0.5) + self._bias
        first = int(score.argmax())
        lead = float(score[first])
        score[first] = -np.inf
        return self._language[first], lead - float(score.max())


def _regression(strength: float) -> Any:
    return require("sklearn.linear_model", "fit").LogisticRegression(C=strength, max_iter=300)


def _table(texts: Sequence[str]) -> Any:
    """(n, 2^15) sparse: how often each group is in each text, over the root of how many groups it has."""
    rows = [groups_of(text) for text in texts]
    size = np.array([len(row) for row in rows])
    value = np.repeat(1.0 / np.sqrt(size), size)
    ends = np.concatenate(([0], np.cumsum(size)))
    return require("scipy.sparse", "fit").csr_matrix((value, np.concatenate(rows), ends), shape=(len(rows), 1 << BITS))
