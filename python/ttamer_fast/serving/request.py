"""One request, as the stages see it that have something to leave for one another."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Generic, TypeVar

__all__ = ["Request"]

X = TypeVar("X")


class Request(Generic[X]):
    """The input of a request, and what its stages keep for one another: what a stage with `carries` is given.

    Attributes
    ----------
    x : object
        What the cascade was called with; of a batch the row.
    kept : dict
        Empty at first, and gone with the request. Stages that belong together keep what they know under one key, such
        as the object that made them.

    Notes
    -----
    A stage that was left behind by a time-out may still be running in its worker when the next one runs: put into
    `kept` whole values that nobody writes to, such as a new tuple, one assignment each.

    Examples
    --------
    >>> import ttamer_fast as tt
    >>> request = tt.Request("a long text")
    >>> request.kept["words"] = tuple(request.x.split())
    >>> request.x, request.kept
    ('a long text', {'words': ('a', 'long', 'text')})
    """

    __slots__ = ("kept", "x")

    def __init__(self, x: X) -> None:
        self.x = x
        self.kept: dict[Hashable, Any] = {}

    def __repr__(self) -> str:
        return f"Request({self.x!r}, kept={list(self.kept)})"
