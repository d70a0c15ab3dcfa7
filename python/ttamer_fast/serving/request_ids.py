"""Names of requests, unique across threads, processes and forks."""

from __future__ import annotations

import itertools
import os

__all__ = ["new_request_id"]

_prefix = ""
_count = itertools.count()


def new_request_id() -> str:
    """16 random hexadecimal digits that this process drew once, a hyphen, and a count; O(1), no lock."""
    return f"{_prefix}{next(_count)}"


def _renew() -> None:
    global _prefix, _count
    _prefix, _count = f"{os.urandom(8).hex()}-", itertools.count()


_renew()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
