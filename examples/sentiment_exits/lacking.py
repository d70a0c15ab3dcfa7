"""What a program with these sentences needs and has not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from sentences import FILES

__all__ = ["MISSING", "folder_given", "missing"]

MISSING = 3
"""The exit status where something that a program needs is not there."""


def folder_given() -> Path | None:
    """The folder of sentences that the environment names."""
    data = os.environ.get("TTAMER_SST2")
    return None if data is None else Path(data)


def missing(data: Path | None, packages: Mapping[str, str], page: str) -> str | None:
    """What is not there, and what to do; None if all is there.

    `packages` are modules and what installs them; `page` has more.
    """
    if data is None:
        return f"needs a folder with sentences: --data FOLDER or TTAMER_SST2, see {page}"
    for name in FILES:
        if not (data / name).is_file():
            return f"needs {name} in the folder --data or TTAMER_SST2, got {str(data)!r}"
    for module, command in packages.items():
        if find_spec(module) is None:
            return f"needs {module}: {command}"
    return None
