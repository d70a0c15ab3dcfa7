"""Results that are kept between runs: a file for each trace, method, fold and trade-off, named by a digest of these."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from rows import Floats, Ints

FOLDER = Path(__file__).resolve().parents[2] / "build" / "contest"


class Kept:
    """A folder of objectives: what is there is not computed again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, trace: str, part: Ints, fold: int, method: str, tradeoff: float) -> Path:
        """Where the objectives of the rows of a fold are: by the digests of trace, folds and method."""
        folds = hashlib.sha256(np.ascontiguousarray(part).tobytes()).hexdigest()
        key = "\n".join((trace, folds, str(fold), method, repr(tradeoff)))
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"

    def read(self, file: Path, rows: int) -> Floats | None:
        """(rows,) objectives, or None where none are kept."""
        if not file.exists():
            return None
        found = np.load(file, allow_pickle=False)
        return found if found.shape == (rows,) and found.dtype == np.float64 else None

    def write(self, file: Path, found: Floats) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        with part.open("wb") as out:
            np.save(out, found)
        part.replace(file)
