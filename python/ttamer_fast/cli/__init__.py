"""Entry point of the command `ttamer`; the commands themselves are in `commands`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .._utils.extras import MissingExtraError, require

__all__ = ["main"]

USAGE, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ttamer`.

    Returns 0 if all went well, 1 if a check failed, and only then, 2 for wrong usage, bad input and files that the
    system refuses, 70 for a fault of the program itself, 130 if interrupted, 141 if nobody reads the output any more.
    """
    try:
        require("typer", "cli")
        require("rich", "cli")
    except MissingExtraError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    try:
        from .commands import run

        return run(arguments)
    except KeyboardInterrupt:  # while modules are loaded
        return INTERRUPTED
