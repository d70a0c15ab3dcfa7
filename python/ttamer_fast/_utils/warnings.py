"""Warnings, each a class of its own, so that one kind can be silenced or made an error."""

from __future__ import annotations

__all__ = ["EvaluationWarning", "TTamerWarning"]


class TTamerWarning(UserWarning):
    """Something that works, but hardly as meant."""


class EvaluationWarning(TTamerWarning):
    """A figure whose interval may not hold what it promises."""
