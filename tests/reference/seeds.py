"""What the fuzz targets begin with: small policies of every kind, and reports.

python tests/reference/seeds.py     # writes fuzz/seeds anew
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from reference import crafted
from reference.stored import CHECKSUM, HEADER, SCHEMA, sealed

ROOT = Path(__file__).parent.parent.parent
MOST_BYTES = 7000
"""Of one policy."""
EACH = 5
"""Policies of each kind."""


def body(data: bytes) -> bytes:
    """A policy file without its frame, which the target puts around again."""
    return data[HEADER.size : -CHECKSUM]


def policies() -> dict[str, bytes]:
    """Bodies by name: crafted ones, and the small ones among those that the tests keep."""
    found = {}
    for path in sorted((ROOT / "tests" / "data").glob(f"schema_{SCHEMA}_*.ttamer")):
        found[path.stem.removeprefix(f"schema_{SCHEMA}_")] = body(path.read_bytes())
    for kind in crafted.KINDS:
        made = (body(sealed(crafted.policy(kind, np.random.default_rng(seed)))) for seed in range(100))
        for at, small in enumerate([one for one in made if 300 < len(one) < MOST_BYTES // 2][:EACH]):
            found[f"crafted-{kind}-{at}"] = small
    return {name: data for name, data in found.items() if len(data) < MOST_BYTES}


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    reports = {f"reports-{at}": rng.bytes(40 * (at + 1)) for at in range(8)}
    for target, files in {"policy_bytes": policies(), "decide": reports}.items():
        folder = ROOT / "fuzz" / "seeds" / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
