"""The recorded traces that quality is measured on."""

from __future__ import annotations

import argparse
from pathlib import Path

import ttamer_fast as tt

TRACES = Path(__file__).parents[2].parent / "shared" / "traces"


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with the folder of the traces as its first option."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--traces", type=Path, default=TRACES, help="folder of .npz files")
    return parser


def files_of(parser: argparse.ArgumentParser, folder: Path) -> list[Path]:
    """Every trace of the folder, by name; ends the program where there is none."""
    files = sorted(folder.glob("*.npz"))
    if not files:
        parser.error(f"no .npz files in {folder}")
    return files


def read(file: Path) -> tt.Trace:
    """A trace; those of the MiniLM have exits, the others separate models."""
    return tt.read_trace(file, kind="exits" if "minilm" in file.stem else "models")
