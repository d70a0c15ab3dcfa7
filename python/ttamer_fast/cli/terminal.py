"""Standard output that may be closed, and that may not know every sign."""

from __future__ import annotations

import codecs
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from .._utils.warnings import TTamerWarning

__all__ = ["terminal", "write"]

SIGNS = {"±": "+/-", "µ": "u", "−": "-", "–": "-", "×": "x", "·": "*", "…": "...", "λ": "lambda", "≤": "<=", "≥": ">="}
"""What stands for a sign where the encoding of the terminal does not have it."""
ERRORS = "ttamer"


@contextmanager
def terminal() -> Iterator[None]:
    """In the block, signs that an encoding lacks are replaced, and warnings of this package are one line each."""
    codecs.register_error(ERRORS, _in_ascii)
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    errors = [stream.errors for stream in streams]
    show = warnings.showwarning

    def shown(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, TTamerWarning):
            print(f"warning: {message}", file=sys.stderr)
        else:
            show(message, category, filename, lineno, file, line)

    for stream in streams:
        stream.reconfigure(errors=ERRORS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", TTamerWarning)
            warnings.showwarning = shown
            yield
    finally:
        for stream, before in zip(streams, errors, strict=True):
            with suppress(OSError, ValueError):  # closed, or its reader is gone
                stream.reconfigure(errors=before)


def write(text: str) -> bool:
    """Print to standard output; false where its reader has gone, which is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _discard()
        return False
    except OSError:
        _discard()
        raise
    return True


def _discard() -> None:
    """What is left in the buffer goes nowhere, so that the end of the process does not fail on it again."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lost), error.end
