"""What forgets, in a forked child, the threads and calls of its parent."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["renew_after_fork"]


class Renewed(Protocol):
    """What has locks, or counts what is under way."""

    def renew(self) -> None:
        """Begin anew: a lock may have been taken, and nothing that was under way goes on in this process."""


_known: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_after_fork(one: Renewed) -> None:
    """Call ``one.renew()`` in every child that is forked while `one` is there."""
    _known.add(one)


def _renew() -> None:
    for one in list(_known):
        one.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
