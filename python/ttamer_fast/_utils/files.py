"""Files opened for reading: what the system refuses keeps its number, and nothing waits for the end of a pipe."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .._core import FormatError, ValidationError
from .checks import shown

__all__ = ["decoding", "folder_of", "open_file", "path_of"]


def path_of(value: Any, name: str = "path") -> Path:
    """`value` as a path, or a ValidationError."""
    try:
        text = os.fsdecode(value)
    except TypeError:
        raise ValidationError(f"`{name}` must be a path, got {type(value).__name__}") from None
    if not text or "\0" in text:
        raise ValidationError(f"`{name}` must be a path, got {shown(value)}")
    return Path(text)


def folder_of(value: Any, name: str) -> Path:
    """`value` as the path of a folder, which need not be there; or a ValidationError."""
    path = path_of(value, name)
    if path.exists() and not path.is_dir():
        raise ValidationError(f"`{name}` must be a folder, got a file, {path}")
    return path


def open_file(path: Path) -> BinaryIO:
    """A file, opened.

    Raises
    ------
    OSError
        Of the class that goes with its number, as the system says: FileNotFoundError, IsADirectoryError,
        PermissionError.
    ValidationError
        For a pipe, a device or a socket, which might never end.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise ValidationError(f"`path` must be a file, got a pipe or a device, {path}")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


@contextmanager
def decoding(path: Path, kind: str, error: type[FormatError]) -> Iterator[None]:
    """What goes wrong in the block is of the file: `error` where it is damaged, an OSError where reading failed.

    `kind` says what the file was read as.
    """
    try:
        yield
    except (FormatError, ValidationError, MemoryError):
        raise
    except Exception as raised:  # parsers of other packages, fed with damaged bytes, raise errors of every kind
        if isinstance(raised, OSError) and raised.errno is not None:
            raise OSError(raised.errno, raised.strerror, str(path)) from raised
        reason = " ".join((str(raised) or type(raised).__name__).split())
        raise error(f"cannot read {path} as {kind}: {reason[:MOST_REASON]}") from raised


MOST_REASON = 300
"""Letters of what another package says that are kept in a message."""
