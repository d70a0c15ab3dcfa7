"""Categories of the warnings of this package."""

from __future__ import annotations

__all__ = ["TTamerWarning", "UnknownKindWarning"]


class TTamerWarning(UserWarning):
    """Base of all warnings of this package."""


class UnknownKindWarning(TTamerWarning):
    """A trace file does not say whether its stages are exits of one network or separate models."""
