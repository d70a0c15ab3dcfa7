"""Entry point of the command `ttamer`; the commands themselves are in `commands`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .._utils.extras import MissingExtraError, require

__all__ = ["main"]

USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ttamer`; returns 0 if all went well, 1 if a check failed, 2 for wrong usage or bad input."""
    try:
        require("typer", "cli")
        require("rich", "cli")
    except MissingExtraError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    from .commands import run

    return run(arguments)
