"""Errors of the Python layer; those that the core raises too are in the core."""

from __future__ import annotations

from .._core import FormatError, ValidationError

__all__ = ["TraceFormatError"]


class TraceFormatError(FormatError, ValidationError):
    """A file that is damaged, or no .npz, .parquet or .csv: nothing in it can be read."""
