"""The recorded traces that quality is measured on: our own digits, and those of a folder where one is given."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import ttamer_fast as tt

DIGITS = Path(__file__).parents[1] / "data" / "digits.npz"
"""Written by `digits.py`."""


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with a folder of further traces as its first argument."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="folder of .npz traces beside our own digits")
    return parser


def traces_of(parser: argparse.ArgumentParser, folder: Path | None) -> dict[str, tt.Trace]:
    """The digits and every trace of the folder, by name; ends the program where the folder has none."""
    found = {"digits": tt.read_trace(DIGITS)}
    if folder is not None:
        files = sorted(folder.glob("*.npz"))
        if not files:
            parser.error(f"no .npz files in {folder}")
        found |= {file.stem: _read(file) for file in files}
    return found


def _read(file: Path) -> tt.Trace:
    """A trace; those that do not say their kind are separate models, but for the exits of MiniLM."""
    with np.load(file) as arrays:
        says_kind = "kind" in arrays.files
    return tt.read_trace(file, kind=None if says_kind else "exits" if "minilm" in file.stem else "models")
