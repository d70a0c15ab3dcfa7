"""What a command prints, and the exit code that it ends with."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import typer

from .gates import Check
from .terminal import write

__all__ = ["CHECK_FAILED", "PIPE_CLOSED", "finite", "show"]

CHECK_FAILED, PIPE_CLOSED = 1, 141


def show(content: dict[str, Any], text: str, as_json: bool, checks: Sequence[Check] = ()) -> None:
    """Print what was found and what the checks say; a failed one ends the command with its exit code."""
    if checks:
        content = content | {"checks": [check.to_dict() for check in checks]}
        text = "\n".join([text, *map(str, checks)])
    written = write(json.dumps(finite(content), indent=2) if as_json else text)
    failed = [check for check in checks if not check.passed]
    for check in failed:
        print(f"check failed: {check.text}", file=sys.stderr)
    if failed:
        raise typer.Exit(CHECK_FAILED)
    if not written:
        raise typer.Exit(PIPE_CLOSED)


def finite(content: Any) -> Any:
    """JSON has no infinities: they become strings."""
    if isinstance(content, dict):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float) and not abs(content) < float("inf"):
        return str(content)
    return content
