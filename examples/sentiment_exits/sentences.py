"""Labelled sentences in a folder, and the tokens of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FILES", "Sentences", "read", "tokenized", "tokenizer_of"]

FILES = ("sst2_train.tsv", "sst2_dev.tsv", "sst2_test.tsv")
"""A sentence, a tab and its label a line: 1 positive, 0 negative."""


class Sentences(NamedTuple):
    """n sentences and their labels."""

    texts: list[str]
    label: NDArray[np.int64]

    def part(self, begin: int, end: int | None = None) -> Sentences:
        """Those from one place to another."""
        return Sentences(self.texts[begin:end], self.label[begin:end])


def read(path: Path) -> Sentences:
    """The sentences of a file, in its order."""
    lines = [line.rpartition("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]
    return Sentences([text for text, _, _ in lines], np.array([int(label) for _, _, label in lines]))


def tokenizer_of(folder: Path) -> Any:
    """What makes tokens of text, not padded."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=128)
    return tokenizer


def tokenized(folder: Path, sentences: Sentences) -> list[dict[str, Any]]:
    """What an encoder takes, a dict a sentence; not padded."""
    encodings = tokenizer_of(folder).encode_batch(sentences.texts)
    return [{"input_ids": one.ids, "attention_mask": one.attention_mask} for one in encodings]
