"""The root of the package's own warnings."""

from __future__ import annotations


class TTamerWarning(UserWarning):
    """Base of all warnings of this package."""
